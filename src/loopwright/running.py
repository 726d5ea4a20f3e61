"""What a home tells of the processes that serve it, and what of them has outlived a server.

Knows the files of a home's folders `run` and `units`; asks no server.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from loopwright.compute.daemon import is_process
from loopwright.compute.folder import UnitFolder

GATEWAY: Final = "loopwright.router.gateway"
CONTROL: Final = "loopwright"


class NotRunning(Exception):
    """No server runs on a home; the text says what does, and how to start one."""


def server_state(home: Path, needed: str = "control.json") -> dict[str, Any]:
    """What the running server wrote about itself.

    Args:
        needed: File of the process that must live; invocations need only the gateway.

    Returns:
        `pid`, `url`, `region`, `engine`.

    Raises:
        NotRunning: the process does not live.
    """
    state = read_state(home / "run" / "control.json")
    process = read_state(home / "run" / needed)
    words = CONTROL if needed == "control.json" else GATEWAY
    if not state or not process or not is_process(process["pid"], words):
        raise NotRunning(why_not(home))
    return state


def why_not(home: Path) -> str:
    """That no server runs on a home, what of it lives on, and what to do."""
    found, typed = list(survivors(home)), shlex.quote(str(home))
    if not found:
        return f"No server runs on {home}; start one with `loopwright serve --home {typed}`."
    counts = {what: sum(item["what"] == what for item in found) for what in ("gateway", "unit")}
    told = " and ".join(
        f"{count} {what}{'s' if count > 1 else ''}" for what, count in counts.items() if count
    )
    return (
        f"No server runs on {home}, but {told} of it lived on: `loopwright serve --home {typed}` "
        f"takes them up again, `loopwright stop --home {typed}` ends them."
    )


def survivors(home: Path) -> Iterator[dict[str, Any]]:
    """The living gateways and units of a home: `what`, `pid`, and `detail` (address, log)."""
    for path in sorted((home / "run").glob("gateway*.json")):
        state = read_state(path)
        if state and is_process(state["pid"], GATEWAY):
            detail = f"{state['host']}:{state['port']}"
            yield {"what": "gateway", "pid": state["pid"], "detail": detail}
    for path in sorted((home / "units").glob("*")):
        folder = UnitFolder(path)
        started = folder.read("started")
        if started is not None and folder.is_alive():
            program = folder.read("program.json") or {}
            log = program.get("log", {})
            detail = f"{log.get('group', '')}:{log.get('stream', '')}"
            yield {"what": "unit", "pid": started["pid"], "detail": detail}


def read_state(path: Path) -> dict[str, Any]:
    """What a process wrote about itself; empty when there is nothing."""
    try:
        return dict(orjson.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return {}
