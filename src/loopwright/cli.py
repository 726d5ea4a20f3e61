"""The command `loopwright`: what can be said on the command line, and how a refusal is told.

A declaration here costs nothing; what a command does is a function of `loopwright.commands`, whose
module is imported when the command runs, and not for `--help` or a completion (`_act`).
"""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import get_completion_class

from loopwright.commands.arguments import Arguments, CommandError
from loopwright.config import ACCOUNT_DEFAULT, REGION_DEFAULT

HOME_DEFAULT: Final = "~/.loopwright"
COMPLETE: Final = "_LOOPWRIGHT_COMPLETE"


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; the process ends with its exit code: 0, 1 refused, 2 not understood."""
    try:
        code = program.main(argv, prog_name="loopwright", complete_var=COMPLETE,
                            standalone_mode=False)  # fmt: skip
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        code = _refuse(_usage(error), error.exit_code)
    except CommandError as error:
        code = _refuse(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except Exception as error:
        # Only now: what else can be refused is known to modules that the command has imported.
        told = importlib.import_module("loopwright.commands.failures").sentence(error)
        if told is None:
            raise
        code = _refuse(told)
        if isinstance(error, OSError):
            # What could not be written is not tried again at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _refuse(text: str, code: int = 1) -> int:
    sys.stderr.write(f"loopwright: {text}\n")
    return code


def _usage(error: click.ClickException) -> str:
    """Why words were not understood, in one line, and where it says what would be."""
    text = " ".join(error.format_message().split())
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return text
    return f"{text} `{context.command_path} --help` says what it takes."


def home_of(context: click.Context) -> Path:
    """The home: `--home` of the innermost command that was given one, else the variable's."""
    found: click.Context | None = context
    while found is not None:
        if found.params.get("home"):
            return Path(found.params["home"]).expanduser().resolve()
        found = found.parent
    return Path(os.environ.get("LOOPWRIGHT_HOME") or HOME_DEFAULT).expanduser().resolve()


def _act(target: str, arguments: Arguments) -> int:
    """Import `module.function` of `loopwright.commands` and call it: the one lazy seam."""
    module, _, function = target.partition(".")
    found = getattr(importlib.import_module(f"loopwright.commands.{module}"), function)
    return int(found(arguments))


# Words for declarations


def _option(*names: str, **more: Any) -> click.Option:
    return click.Option(list(names), **more)


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(list(names), is_flag=True, help=help)


def _home() -> click.Option:
    text = f"Folder of all state (default: $LOOPWRIGHT_HOME or {HOME_DEFAULT})."
    return _option("--home", metavar="DIR", help=text)


JSON: Final = _flag("--json", help="JSON, for machines.")
NAME: Final = click.Argument(["name"])
HTML: Final = _option("--html", metavar="FILE", help="Write a report that needs no network.")
WORDS: Final[dict[str, Any]] = {"context_settings": {"help_option_names": ["-h", "--help"]}}


def _group(parent: click.Group | None, name: str, text: str) -> click.Group:
    made = click.Group(name, params=[_home()], help=text, **WORDS)
    if parent is not None:
        parent.add_command(made)
    return made


def _command(
    group: click.Group, name: str, target: str, text: str, *parameters: click.Parameter
) -> None:
    """Declare a command.

    Args:
        target: `module.function` of `loopwright.commands`.
    """

    def run(**given: Any) -> int:
        given["home"] = home_of(click.get_current_context())
        return _act(target, Arguments(**given))

    made = click.Command(name, callback=run, params=[*parameters, _home()], help=text, **WORDS)
    group.add_command(made)


# The commands

program: Final = _group(
    None, "loopwright", "SageMaker's whole loop on your own machines, at one URL."
)
program.params.append(
    _option("--version", is_flag=True, is_eager=True, expose_value=False, help="Print the version.",
            callback=lambda context, _option, given: _version(context) if given else None)
)  # fmt: skip


def _version(context: click.Context) -> None:
    click.echo(f"loopwright {importlib.import_module('importlib.metadata').version('loopwright')}")
    context.exit()


def _add_serve(group: click.Group) -> None:
    _command(
        group, "serve", "serving.serve", "Serve at one URL until it is stopped.",
        _option("--host", default="127.0.0.1", help="Address to listen on."),
        _option("--port", type=int, default=8017, help="Port; 0 takes a free one."),
        _option("--database", default="", help="SQLAlchemy URL (default: SQLite in the home)."),
        _option("--objects", default="",
                help="External S3: s3://ACCESS:SECRET@HOST[:PORT], s3+http://…"),
        _option("--compute", default="process", type=click.Choice(["process"]),
                help="Where units run."),
        _flag("--allow-reset", help="Let POST /loopwright/reset empty everything."),
        _option("--account", default=ACCOUNT_DEFAULT, help="Account id of every ARN."),
        _option("--region", default=REGION_DEFAULT, help="Region that clients are told."),
        _option("--time-scale", type=float, default=1.0, help="Platform seconds a real second."),
        _option("--cpus", type=float, default=0.0, help="CPUs for units (0: the machine's)."),
        _option("--spot-interruptions", default="", metavar="SEED:MEAN_S",
                help="Interrupt managed spot jobs at random, every MEAN_S platform seconds on "
                     "average."),
        _option("--engine", default="", metavar="ENGINE",
                help="Container engine: podman, docker, none, or unix://SOCKET (default: what is "
                     "there)."),
        _option("--page-source", multiple=True, metavar="URL",
                help="Let task pages load from there, such as https://cdn.example.org; "
                     "repeatable."),
        _option("--gateway-workers", type=int, default=1,
                help="Processes that share the public port."),
        _flag("--cold", help="Keep no warm interpreter."),
    )  # fmt: skip


def _add_small(group: click.Group) -> None:
    _command(group, "env", "access.env", "Print the shell lines that point clients here.",
             _option("--wait", type=float, default=0.0, metavar="SECONDS",
                     help="Wait for a server that is just being started."), JSON)  # fmt: skip
    keys = _group(group, "keys", "Add, list or revoke key pairs.")
    _command(keys, "add", "access.add_key", "Print a new pair: access key, secret.", JSON)
    _command(keys, "list", "access.list_keys", "The access keys.", JSON)
    _command(keys, "revoke", "access.revoke_keys", "Remove key pairs.",
             click.Argument(["access_keys"], nargs=-1, required=True, metavar="ACCESS_KEY..."),
             JSON)  # fmt: skip
    _command(group, "images", "machine.images", "List the image repositories that run here.", JSON)
    _command(group, "doctor", "machine.doctor",
             "Say what this machine offers, and what is missing.", JSON)  # fmt: skip
    _command(group, "ps", "jobs.ps", "List what runs: the server, jobs, endpoints, units.", JSON)
    _command(group, "demo", "demo.demo", "Train, deploy and predict on real data.",
             _flag("--keep", help="Leave the server running at the end."))  # fmt: skip
    group.add_command(
        click.Command(
            "completion", callback=_completion, help="Print the completion script of a shell.",
            params=[click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))], **WORDS,
        )
    )  # fmt: skip


def _completion(shell: str) -> int:
    """`loopwright completion SHELL`: the script asks the command itself at each key."""
    found = get_completion_class(shell)
    assert found is not None, "click has these three"
    click.echo(found(program, {}, "loopwright", COMPLETE).source())
    return 0


def _add_jobs(group: click.Group) -> None:
    _command(group, "describe", "jobs.describe", "Show a job or endpoint.", NAME, JSON)
    _command(group, "logs", "logs.logs", "Print the log of a job or endpoint.", NAME,
             _flag("-f", "--follow", help="Until the job is over."), JSON)  # fmt: skip
    _command(group, "stop", "stopping.stop",
             "Stop a job; without a name, the server and all units.",
             click.Argument(["name"], required=False), JSON)  # fmt: skip
    _command(
        group, "invoke", "jobs.invoke",
        "Send BODY to an endpoint: text, @FILE, or - (stdin).", NAME,
        click.Argument(["body"]),
        _option("--content-type", default="application/json", help="Of the body."),
        _option("--accept", default="*/*", help="What the answer shall be."),
        _option("--variant", help="A production variant by name."), JSON,
    )  # fmt: skip


def _add_tuning(group: click.Group) -> None:
    advise = _group(group, "advise", "Say what a request's figures mean before it runs.")
    _command(advise, "tuning", "tuning.advise_tuning",
             "Advice on a tuning request: REQUEST is a JSON file for "
             "CreateHyperParameterTuningJob.", click.Argument(["request"]), JSON)  # fmt: skip
    _command(
        advise, "distribution", "distribution.advise_distribution",
        "Measure a training job in short runs on one host, and say whether it needs more: REQUEST "
        "is a JSON file for CreateTrainingJob.", click.Argument(["request"]),
        _option("--seconds", type=int, default=60, help="At most for one dry run."), JSON,
    )  # fmt: skip
    spot = _group(group, "spot", "Managed spot training.")
    _command(spot, "interrupt", "jobs.interrupt",
             "Take back the capacity of a spot job; it goes on from its checkpoint.",
             NAME)  # fmt: skip


def _add_looks(group: click.Group) -> None:
    """`SUBJECT show NAME`, live with `--follow`."""
    looks = (
        ("tuning", "tuning.show_tuning", "Progress, best so far, trials, history.", (HTML,)),
        ("endpoint", "endpoints.show_endpoint", "Variants, instances, rates, latency, updates.",
         ()),
        ("experiment", "endpoints.show_experiment", "Figures, effects and guards of variants.",
         (HTML,)),
        ("bandit", "endpoints.show_bandit", "What an endpoint's bandit knows, its weights.",
         (HTML,)),
    )  # fmt: skip
    for subject, target, text, more in looks:
        parent = _group(group, subject, text)
        follow = _flag("-f", "--follow", help="Live, until Ctrl-C.")
        _command(parent, "show", target, text, NAME, follow, *more, JSON)
    workers = _group(group, "workers", "Invite people to work; see how it goes.")
    _command(workers, "invite", "workers.invite", "Print a link for each person.",
             click.Argument(["email"], nargs=-1, required=True, metavar="EMAIL..."),
             _option("--team", required=True, metavar="NAME",
                     help="The workteam, made when it is new."), JSON)  # fmt: skip
    _command(workers, "show", "workers.show", "Tasks by job; answers and agreement by worker.",
             _flag("--link", help="Print a link to the owner's page."), JSON)  # fmt: skip


_add_serve(program)
_add_small(program)
_add_jobs(program)
_add_tuning(program)
_add_looks(program)

if __name__ == "__main__":
    main()
