"""workers: invite people into a workteam, and see how their work goes."""

import argparse
from typing import Any

from rich.console import Console
from rich.table import Table

from loopwright.commands.output import CommandError, client, moment, say, say_json

PIPED_WIDTH = 140


def workers(arguments: argparse.Namespace) -> int:
    """`loopwright workers invite --team NAME EMAIL…`, `loopwright workers show`."""
    if arguments.action == "invite":
        return _invite(arguments)
    if arguments.email:
        raise CommandError("`workers show` takes no addresses; it shows everybody.")
    return _show(arguments)


def _invite(arguments: argparse.Namespace) -> int:
    if not arguments.team or not arguments.email:
        raise CommandError("Say whom and where: loopwright workers invite --team NAME EMAIL.")
    own = client(arguments.home, "loopwright")
    found = [own.invite_worker(WorkteamName=arguments.team, Email=to) for to in arguments.email]
    for item in found:
        item.pop("ResponseMetadata", None)
    if arguments.json:
        say_json({"Invitations": found})
        return 0
    for item in found:
        say(f"{item['Username']}  {item['InvitationUrl']}")
    until = moment(found[0]["ExpirationTime"])
    say(f"Send each person their link; it lets them choose a password once, until {until}.")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    own = client(arguments.home, "loopwright")
    if arguments.link:
        say(own.create_owner_link()["Url"])
        return 0
    found = own.describe_workers()
    found.pop("ResponseMetadata", None)
    if arguments.json:
        say_json(found)
        return 0
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    console.print(_jobs(found["Jobs"]))
    console.print(_workers(found["Workers"]))
    return 0


def _jobs(jobs: list[dict[str, Any]]) -> Table:
    table = Table(title="Work", title_justify="left")
    for name in ("job", "team", "tasks", "open", "answered", "answers"):
        table.add_column(name, justify="left" if name in ("job", "team") else "right")
    for job in jobs:
        team = job["WorkteamArn"].rpartition("/")[2]
        counts = [str(job[name]) for name in ("Tasks", "OpenTasks", "AnsweredTasks")]
        table.add_row(job["Job"], team, *counts, f"{job['Answers']} of {job['WantedAnswers']}")
    return table


def _workers(found: list[dict[str, Any]]) -> Table:
    table = Table(title="Workers", title_justify="left")
    for name in ("worker", "answers", "median time", "agreement", "late", "declined"):
        table.add_column(name, justify="left" if name == "worker" else "right")
    for worker in found:
        agreed = f"{worker['Agreement']:.1%}" if "Agreement" in worker else "-"
        table.add_row(
            worker["Name"],
            str(worker["Answers"]),
            f"{worker['MedianSeconds']:g} s",
            agreed,
            str(worker["LateAnswers"]),
            str(worker["Declined"]),
        )
    return table
