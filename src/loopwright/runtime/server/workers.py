"""Several server processes on one listening socket, watched by their parent.

They are forked before anything is loaded, so that no library has threads yet; each loads the
model itself, and the first to be ready makes the socket listen.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from loopwright.runtime.failure import UnitFailure

_POLL_S = 0.05
_MIN_LIFE_S = 5.0


def run(count: int, work: Callable[[], None], grace_s: float) -> None:
    """Keep `count` processes running `work` until SIGTERM.

    A process that dies is replaced; one that dies within its first seconds ends all, since the
    next would do the same.

    Args:
        count: Number of processes.
        work: Serves until SIGTERM; an exception ends its process with exit code 1.
        grace_s: After SIGTERM, how long processes may take before they are killed.
    Raises:
        UnitFailure: a process died young.
    """
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    started = {_fork(work): time.monotonic() for _ in range(count)}
    try:
        while not stopping:
            ended = _reap(started)
            for pid, code in ended.items():
                life_s = time.monotonic() - started.pop(pid)
                if stopping:
                    continue
                if life_s < _MIN_LIFE_S:
                    raise UnitFailure(
                        f"A server process ended with code {code} after {life_s:.1f} s; the log "
                        "says why."
                    )
                sys.stderr.write(f"Server process {pid} ended with code {code}; replaced.\n")
                started[_fork(work)] = time.monotonic()
            time.sleep(_POLL_S)
    finally:
        _end_all(started, grace_s)


def _fork(work: Callable[[], None]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        work()
        code = 0
    except UnitFailure as failed:
        sys.stderr.write(f"{failed.reason}\n")
        code = failed.exit_code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # The parent's cleanup must not run a second time in its child.
        os._exit(code)


def _reap(started: dict[int, float]) -> dict[int, int]:
    ended: dict[int, int] = {}
    for pid in started:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def _end_all(started: dict[int, float], grace_s: float) -> None:
    for pid in started:
        os.kill(pid, signal.SIGTERM)
    ends = time.monotonic() + grace_s
    while started:
        for pid in _reap(started):
            del started[pid]
        if started and time.monotonic() > ends:
            for pid in started:
                os.kill(pid, signal.SIGKILL)
            ends = float("inf")
        time.sleep(_POLL_S)
