"""workers: invite people into a workteam, and see how their work goes."""

from typing import Any

from rich.console import Group
from rich.table import Table

from loopwright.commands.arguments import Arguments
from loopwright.commands.output import client, moment, say, say_json, say_screen


def invite(arguments: Arguments) -> int:
    """`loopwright workers invite --team NAME EMAIL…`: a link for each person."""
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


def show(arguments: Arguments) -> int:
    """`loopwright workers show`: how the work goes, or a link to a page that says so."""
    own = client(arguments.home, "loopwright")
    if arguments.link:
        link = own.create_owner_link()["Url"]
        if arguments.json:
            say_json({"Url": link})
        else:
            say(link)
        return 0
    found = own.describe_workers()
    found.pop("ResponseMetadata", None)
    if arguments.json:
        say_json(found)
        return 0
    say_screen(Group(_jobs(found["Jobs"]), _workers(found["Workers"])))
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
