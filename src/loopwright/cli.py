"""The command `loopwright`. Errors are one sentence with the way out, and exit code 1 or 2."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from loopwright import commands
from loopwright.config import ACCOUNT_DEFAULT, REGION_DEFAULT, Settings
from loopwright.server import StartError
from loopwright.wire.errors import ApiError

HOME_DEFAULT: Final = "~/.loopwright"
# argparse has no public name for what add_subparsers returns.
Verbs = Any
Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; the process ends with its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.home = Path(arguments.home).expanduser().resolve()
    try:
        code = arguments.run(arguments)
    except (StartError, commands.CommandError) as error:
        code = _refuse(str(error))
    except ApiError as error:
        code = _refuse(error.message)
    except ClientError as error:
        code = _refuse(error.response["Error"].get("Message", str(error)))
    except BotoCoreError as error:
        code = _refuse(f"{error} Is `loopwright serve --home {arguments.home}` running?")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _refuse(text: str) -> int:
    sys.stderr.write(f"loopwright: {text}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="loopwright",
        description="SageMaker's whole loop on your own machines, at one URL.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--home",
        default=os.environ.get("LOOPWRIGHT_HOME", HOME_DEFAULT),
        help=f"folder of all state (default: $LOOPWRIGHT_HOME or {HOME_DEFAULT})",
    )
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(verbs, common)
    _add_small(verbs, common)
    _add_jobs(verbs, common)
    _add_tuning(verbs, common)
    _add_looks(verbs, common)
    return parser


def _command(
    verbs: Verbs, common: argparse.ArgumentParser, name: str, run: Run, text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = verbs.add_parser(
        name, parents=[common], help=text, description=text
    )
    command.set_defaults(run=run)
    return command


def _add_serve(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    serve = _command(verbs, common, "serve", run_serve, "Serve at one URL until it is stopped.")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on")
    serve.add_argument("--port", type=int, default=8017, help="port; 0 takes a free one")
    serve.add_argument("--database", default="", help="SQLAlchemy URL (default: SQLite in home)")
    serve.add_argument(
        "--objects", default="", help="external S3: s3://ACCESS:SECRET@HOST[:PORT], s3+http://…"
    )
    serve.add_argument("--compute", default="process", choices=["process"], help="where units run")
    serve.add_argument(
        "--allow-reset", action="store_true", help="let POST /loopwright/reset empty everything"
    )
    serve.add_argument("--account", default=ACCOUNT_DEFAULT, help="account id of every ARN")
    serve.add_argument("--region", default=REGION_DEFAULT, help="region that clients are told")
    serve.add_argument("--time-scale", type=float, default=1.0, help="platform s per real s")
    serve.add_argument("--cpus", type=float, default=0.0, help="CPUs for units (0: the machine's)")
    serve.add_argument(
        "--spot-interruptions",
        default="",
        metavar="SEED:MEAN_S",
        help="interrupt managed spot jobs at random, every MEAN_S platform s on average",
    )
    serve.add_argument(
        "--engine",
        default="",
        metavar="ENGINE",
        help="container engine: podman, docker, none, or unix://SOCKET (default: what is there)",
    )
    serve.add_argument(
        "--page-source",
        action="append",
        default=[],
        metavar="URL",
        help="let task pages load from there, such as https://cdn.example.org; repeatable",
    )
    serve.add_argument(
        "--gateway-workers", type=int, default=1, help="processes that share the public port"
    )
    serve.add_argument("--cold", action="store_true", help="keep no warm interpreter")


def run_serve(arguments: argparse.Namespace) -> int:
    """`loopwright serve`."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for name in ("uvicorn", "botocore", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not arguments.account.isdigit() or len(arguments.account) != 12:
        raise commands.CommandError(f"--account is {arguments.account!r}; it must be 12 digits.")
    if not 0 <= arguments.port <= 65_535:
        raise commands.CommandError(f"--port is {arguments.port}; it must be 0 to 65535.")
    if arguments.time_scale <= 0:
        raise commands.CommandError(f"--time-scale is {arguments.time_scale}; it must be above 0.")
    if not 1 <= arguments.gateway_workers <= 64:
        raise commands.CommandError(
            f"--gateway-workers is {arguments.gateway_workers}; it must be 1 to 64."
        )
    seed, mean_s = _schedule(arguments.spot_interruptions)
    settings = Settings(
        home=arguments.home,
        host=arguments.host,
        port=arguments.port,
        database=arguments.database,
        objects=arguments.objects,
        compute=arguments.compute,
        allow_reset=arguments.allow_reset,
        account=arguments.account,
        region=arguments.region,
        time_scale=arguments.time_scale,
        cpus=arguments.cpus,
        spot_seed=seed,
        spot_mean_s=mean_s,
        engine=arguments.engine,
        warm=not arguments.cold,
        page_sources=_sources(arguments.page_source),
        gateway_workers=arguments.gateway_workers,
    )
    return commands.serve(settings)


def _sources(given: Sequence[str]) -> tuple[str, ...]:
    """The addresses of `--page-source`, as a content-security policy takes them."""
    for address in given:
        if re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~/-]*)?", address) is None:
            raise commands.CommandError(
                f"--page-source is {address!r}; it must be like https://cdn.example.org."
            )
    return tuple(given)


def _schedule(text: str) -> tuple[int, float]:
    """Seed and mean of `--spot-interruptions`; (0, 0.0) for none."""
    if not text:
        return 0, 0.0
    seed, _, mean_s = text.partition(":")
    try:
        found = int(seed), float(mean_s)
    except ValueError:
        found = (0, -1.0)
    if found[1] <= 0:
        raise commands.CommandError(
            f"--spot-interruptions is {text!r}; it must be SEED:MEAN_S, such as 7:30."
        )
    return found


def _add_small(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    _command(verbs, common, "env", commands.env, "Print the shell lines that point clients here.")
    keys = _command(verbs, common, "keys", commands.keys, "Add, list or revoke key pairs.")
    keys.add_argument("action", choices=["add", "list", "revoke"])
    keys.add_argument("access_key", nargs="?", help="the key to revoke")
    for name, run, text in (
        ("images", commands.images, "List the image repositories that run here."),
        ("doctor", commands.doctor, "Say what this machine offers, and what is missing."),
        ("ps", commands.ps, "List what runs: the server, jobs, endpoints, units."),
    ):
        command = _command(verbs, common, name, run, text)
        command.add_argument("--json", action="store_true", help="for machines")
    demo = _command(verbs, common, "demo", commands.demo, "Train, deploy and predict on real data.")
    demo.add_argument("--keep", action="store_true", help="leave the server running at the end")


def _add_jobs(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    describe = _command(verbs, common, "describe", commands.describe, "Show a job or endpoint.")
    describe.add_argument("name")
    describe.add_argument("--json", action="store_true", help="for machines")
    logs = _command(verbs, common, "logs", commands.logs, "Print the log of a job or endpoint.")
    logs.add_argument("name")
    logs.add_argument("-f", "--follow", action="store_true", help="until the job is over")
    stop = _command(
        verbs,
        common,
        "stop",
        commands.stop,
        "Stop a job; without a name, the server and all units.",
    )
    stop.add_argument("name", nargs="?")
    invoke = _command(verbs, common, "invoke", commands.invoke, "Send a body to an endpoint.")
    invoke.add_argument("name")
    invoke.add_argument("body", help="the text, @FILE, or - for standard input")
    invoke.add_argument("--content-type", default="application/json")
    invoke.add_argument("--accept", default="*/*")
    invoke.add_argument("--variant", help="a production variant by name")


def _add_tuning(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    text = "Say what a request's figures mean before it runs."
    advise = verbs.add_parser("advise", help=text, description=text)
    subjects = advise.add_subparsers(title="subjects", required=True, metavar="SUBJECT")
    tuning = _command(
        subjects, common, "tuning", commands.advise_tuning, "Advice on a tuning request."
    )
    tuning.add_argument("request", help="JSON file: a request of CreateHyperParameterTuningJob")
    tuning.add_argument("--json", action="store_true", help="for machines")
    spread = _command(
        subjects,
        common,
        "distribution",
        commands.advise_distribution,
        "Measure a training job in short runs on one host, and say whether it needs more.",
    )
    spread.add_argument("request", help="JSON file: a request of CreateTrainingJob")
    spread.add_argument("--seconds", type=int, default=60, help="at most for one dry run")
    spread.add_argument("--json", action="store_true", help="for machines")
    text = "Managed spot training."
    spots = verbs.add_parser("spot", help=text, description=text).add_subparsers(
        title="acts", required=True, metavar="ACT"
    )
    interrupt = _command(
        spots,
        common,
        "interrupt",
        commands.interrupt,
        "Take back the capacity of a spot job; it goes on from its checkpoint.",
    )
    interrupt.add_argument("name")


def _add_looks(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """`SUBJECT show NAME`, live with `--follow`."""
    looks = (
        ("tuning", commands.show_tuning, "Progress, best so far, trials, history."),
        ("endpoint", commands.show_endpoint, "Variants, instances, rates, latency, updates."),
        ("experiment", commands.show_experiment, "Figures, effects and guards of variants."),
        ("bandit", commands.show_bandit, "What the bandit of an endpoint knows, its weights."),
    )
    for subject, act, text in looks:
        parser = verbs.add_parser(subject, help=text, description=text)
        shows = parser.add_subparsers(title="looks", required=True, metavar="LOOK")
        show = _command(shows, common, "show", act, text)
        show.add_argument("name")
        show.add_argument("-f", "--follow", action="store_true", help="live")
        show.add_argument("--json", action="store_true", help="for machines")
        if subject in ("experiment", "bandit"):
            show.add_argument("--html", metavar="FILE", help="write a report that needs no network")
    people = _command(
        verbs, common, "workers", commands.workers, "Invite people to work; see how it goes."
    )
    people.add_argument("action", choices=["invite", "show"])
    people.add_argument("email", nargs="*", help="whom to invite")
    people.add_argument("--team", default="", help="the workteam, made when it is new")
    people.add_argument("--link", action="store_true", help="print a link to the owner's page")
    people.add_argument("--json", action="store_true", help="for machines")


if __name__ == "__main__":
    main()
