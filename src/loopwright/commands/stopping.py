"""stop: a job, an endpoint, or the server with all that it has started."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import orjson

from loopwright.aws.registry import Registry
from loopwright.commands.arguments import Arguments
from loopwright.commands.names import call, find, unknown
from loopwright.commands.output import client, say, say_json
from loopwright.compute.daemon import DaemonError, is_process
from loopwright.compute.engine import Engine, NoEngine
from loopwright.compute.folder import UnitFolder


def stop(arguments: Arguments) -> int:
    """A job by name; without one the gateway, the server and every unit of the home."""
    home = arguments.home
    if arguments.name:
        there = find(home, arguments.name)
        if there is None:
            raise unknown(home, arguments.name)
        kind = there[0]
        verb = "delete" if kind == "Endpoint" else "stop"
        call(client(home, "sagemaker"), verb, kind, **{f"{kind}Name": arguments.name})
        doing = "Deleting" if kind == "Endpoint" else "Stopping"
        if arguments.json:
            say_json({"kind": kind, "name": arguments.name, "status": doing})
        else:
            say(f"{doing} {kind} {arguments.name}")
        return 0
    ended = _stop_all(home)
    if arguments.json:
        say_json({"home": str(home), "processes": ended})
    else:
        say(f"Stopped {ended} process{'es' if ended != 1 else ''} of {home}")
    return 0


def _stop_all(home: Path) -> int:
    """End everything of a home; how many processes that were."""
    ended = 0
    for names, words in (("control.json", "loopwright"), ("gateway*.json", "router.gateway")):
        for path in sorted((home / "run").glob(names)):
            with contextlib.suppress(FileNotFoundError):
                ended += _end(int(orjson.loads(path.read_bytes())["pid"]), words)
            path.unlink(missing_ok=True)
    return ended + _end_units(home) + _end_daemons(home)


def _end(pid: int, words: str) -> int:
    """SIGTERM, and SIGKILL when it takes too long; 1 when there was such a process."""
    if not is_process(pid, words):
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 45
    while is_process(pid, words):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    return 1


def _end_units(home: Path) -> int:
    found = [UnitFolder(path) for path in (home / "units").glob("*")]
    live = [folder for folder in found if folder.is_alive()]
    for folder in live:
        folder.write("stop.json", {"grace_s": 10.0})
    deadline = time.monotonic() + 20
    while any(folder.is_alive() for folder in live) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(live)


def _end_daemons(home: Path) -> int:
    """The registry and the own container engine, which a killed server has left running."""
    registry = Registry(home)
    engine = Engine(home, "podman", lambda: registry.address)
    daemons = [daemon for daemon in (registry.daemon, engine.daemon) if daemon.pid() is not None]
    for end in (registry.stop, engine.stop):
        try:
            end()
        except (NoEngine, DaemonError, OSError) as error:
            sys.stderr.write(f"loopwright: {error}\n")
    return len(daemons)
