"""serve, env, keys."""

import argparse
import shlex
import sys
from pathlib import Path

from loopwright.aws.registry import Registry
from loopwright.client import shell_lines
from loopwright.commands.output import CommandError, say, server_state
from loopwright.compute.daemon import DaemonError
from loopwright.compute.engine import Engine, NoEngine
from loopwright.config import Settings
from loopwright.keys import KeyFile
from loopwright.server import serve as run_server


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C; units run on and the next `serve` takes them up again."""
    run_server(settings, _announce)
    sys.stderr.write(
        "Stopped. Units that were running go on; `loopwright serve` takes them up again, "
        "`loopwright stop` ends them.\n"
    )
    return 0


def _announce(url: str, settings: Settings) -> None:
    say(f"Loopwright is ready at {url}")
    say(f'Point clients at it:  eval "$({_program()} env --home {settings.home})"')


def _program() -> str:
    return sys.argv[0] if sys.argv and sys.argv[0].endswith("loopwright") else "loopwright"


def env(arguments: argparse.Namespace) -> int:
    """Print shell lines; writes the client's files into the home."""
    state = server_state(arguments.home)
    say(shell_lines(arguments.home, state["url"], state["region"]))
    for line in _docker_lines(arguments.home, state.get("engine", "")):
        say(line)
    return 0


def _docker_lines(home: Path, choice: str) -> list[str]:
    """What the docker command needs, where there is an engine; podman's service is started."""
    registry = Registry(home)
    engine = Engine(home, choice, lambda: registry.address)
    try:
        engine.ensure()
    except (NoEngine, DaemonError, OSError) as error:
        return [f"# No containers: {' '.join(str(error).split())}"]
    lines = [f"export DOCKER_HOST={shlex.quote(engine.url)}"]
    # Podman's service does not speak BuildKit's protocol.
    return [*lines, "export DOCKER_BUILDKIT=0"] if engine.own else lines


def keys(arguments: argparse.Namespace) -> int:
    """Key pairs: a running server sees changes at once."""
    file = KeyFile(arguments.home / "keys.json")
    if arguments.action == "add":
        access_key, secret = file.add()
        say(f"{access_key}\t{secret}")
    elif arguments.action == "list":
        for access_key in file.read():
            say(access_key)
    else:
        if not arguments.access_key:
            raise CommandError("`loopwright keys revoke` needs the access key to revoke.")
        if not file.revoke(arguments.access_key):
            raise CommandError(
                f"There is no key {arguments.access_key}; `loopwright keys list` lists them."
            )
        say(f"Revoked {arguments.access_key}")
    return 0
