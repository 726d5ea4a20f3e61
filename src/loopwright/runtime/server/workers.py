"""Several server processes on one listening socket, watched by their parent.

They are forked before anything is loaded, so that no library has threads yet; each loads the
model itself, and the first to be ready makes the socket listen.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from loopwright.runtime.failure import UnitFailure

_POLL_S = 0.02
_READY = b"\0"
_REASON_BYTES_MAX = 4096

# Serves until SIGTERM; calls its argument once the model is loaded.
Work = Callable[[Callable[[], None]], None]


@dataclass
class _Worker:
    """A child and the pipe on which it says that it is ready, or else why it ended."""

    pid: int
    pipe: int


def run(count: int, work: Work, grace_s: float) -> None:
    """Keep `count` processes running `work` until SIGTERM.

    A process that dies after it was ready is replaced; one that never got ready ends all, since
    the next would do the same.

    Args:
        count: Number of processes.
        work: See Work; an exception ends its process with exit code 1.
        grace_s: After SIGTERM, how long processes may take before they are killed.
    Raises:
        UnitFailure: a process ended before it was ready; with that process's reason.
    """
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    workers = [_fork(work) for _ in range(count)]
    try:
        while not stopping:
            for worker, code in _reap(workers):
                if stopping:
                    continue
                _refuse_unready(worker, code)
                sys.stderr.write(f"Server process {worker.pid} ended with code {code}; replaced.\n")
                workers.append(_fork(work))
            time.sleep(_POLL_S)
    finally:
        _end_all(workers, grace_s)


def _fork(work: Work) -> _Worker:
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return _Worker(pid, reading)
    code = 1
    try:
        os.close(reading)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        work(lambda: _tell(writing, _READY))
        code = 0
    except UnitFailure as failed:
        _tell(writing, failed.reason.encode()[:_REASON_BYTES_MAX])
        code = failed.exit_code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # The parent's cleanup must not run a second time in its child.
        os._exit(code)


def _tell(pipe: int, words: bytes) -> None:
    os.write(pipe, words)


def _refuse_unready(worker: _Worker, code: int) -> None:
    # The child is gone, so this reads all it said and does not wait.
    said = os.read(worker.pipe, _REASON_BYTES_MAX)
    if not said.startswith(_READY):
        unsaid = f"A server process ended with code {code} before its model was loaded."
        raise UnitFailure(said.decode() or unsaid)


def _reap(workers: list[_Worker]) -> list[tuple[_Worker, int]]:
    """Take the ended ones out of the list."""
    ended: list[tuple[_Worker, int]] = []
    for worker in list(workers):
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        if pid:
            ended.append((worker, os.waitstatus_to_exitcode(status)))
            workers.remove(worker)
    return ended


def _end_all(workers: list[_Worker], grace_s: float) -> None:
    for worker in workers:
        os.kill(worker.pid, signal.SIGTERM)
    ends = time.monotonic() + grace_s
    while workers:
        _reap(workers)
        if workers and time.monotonic() > ends:
            for worker in workers:
                os.kill(worker.pid, signal.SIGKILL)
            ends = float("inf")
        time.sleep(_POLL_S)
