"""env, keys: how clients reach a server."""

import math
import shlex
import time
from pathlib import Path
from typing import Any, Final

from loopwright.aws.registry import Registry
from loopwright.client import shell_lines, variables
from loopwright.commands.arguments import Arguments, CommandError
from loopwright.commands.output import say, say_json
from loopwright.compute.daemon import DaemonError
from loopwright.compute.engine import Engine, NoEngine
from loopwright.keys import KeyFile
from loopwright.running import NotRunning, server_state

KEYS: Final = "keys.json"
ASK_S: Final = 0.1


def env(arguments: Arguments) -> int:
    """Print shell lines; writes the client's files into the home."""
    state = _awaited(arguments.home, arguments.wait)
    where = (arguments.home, state["url"], state["region"], state.get("objects", ""))
    if arguments.json:
        say_json(variables(*where))
        return 0
    say(shell_lines(*where))
    for line in _docker_lines(arguments.home, state.get("engine", "")):
        say(line)
    return 0


def _awaited(home: Path, seconds: float) -> dict[str, Any]:
    """What the running server wrote about itself; one that is just being started is waited for.

    Raises:
        NotRunning: none runs when the time is up.
        CommandError: the time is none.
    """
    if not 0 <= seconds < math.inf:
        raise CommandError(f"--wait is {seconds}; it must be 0 or more seconds.")
    deadline = time.monotonic() + seconds
    while True:
        try:
            return server_state(home)
        except NotRunning:
            if time.monotonic() >= deadline:
                raise
            time.sleep(ASK_S)


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


def add_key(arguments: Arguments) -> int:
    """A new key pair; a running server takes it at once."""
    access_key, secret = KeyFile(arguments.home / KEYS).add()
    if arguments.json:
        say_json({"AccessKeyId": access_key, "SecretAccessKey": secret})
    else:
        say(f"{access_key}\t{secret}")
    return 0


def list_keys(arguments: Arguments) -> int:
    """The access keys, without their secrets."""
    found = list(KeyFile(arguments.home / KEYS).read())
    if arguments.json:
        say_json(found)
        return 0
    for access_key in found:
        say(access_key)
    return 0


def revoke_keys(arguments: Arguments) -> int:
    """Remove key pairs, all or none; a running server refuses them at once."""
    file = KeyFile(arguments.home / KEYS)
    missing = [key for key in arguments.access_keys if key not in file.read()]
    if missing:
        raise CommandError(
            f"There is no key {', '.join(missing)}; `loopwright keys list` lists them."
        )
    for access_key in arguments.access_keys:
        file.revoke(access_key)
        if not arguments.json:
            say(f"Revoked {access_key}")
    if arguments.json:
        say_json({"revoked": list(arguments.access_keys)})
    return 0
