"""Programs of others that a home runs beside itself: the container engine, the image registry.

A daemon is a session of its own and outlives the control plane. Whoever needs it calls `ensure`:
it is started when it is gone, once, however many ask at the same time.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from loopwright.compute.folder import write_durably

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0


class DaemonError(Exception):
    """A daemon does not come up; the text says what it said last."""


class Daemon:
    """One program of a home.

    Args:
        home: Loopwright's home folder; the log is `NAME.log` there, the state `run/NAME.json`.
        name: Of the files.
        command: What to run.
        answers: Whether it is ready; must not raise.
        environment: Variables besides this process's own.
    """

    def __init__(
        self,
        home: Path,
        name: str,
        command: Sequence[str],
        answers: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._home = home
        self.name = name
        self._command = list(command)
        self._answers = answers
        self._environment = dict(environment or {})

    def pid(self) -> int | None:
        """Its process, if it lives."""
        try:
            pid = int(orjson.loads(self._state.read_bytes())["pid"])
        except (FileNotFoundError, orjson.JSONDecodeError):
            # Its starter may have been killed before it could write down what it had started.
            return process_of(self._command)
        return pid if is_process(pid, self._command[0]) else process_of(self._command)

    def ensure(self) -> None:
        """Have it running and ready.

        Raises:
            DaemonError: it does not come up in 30 s.
        """
        if self.pid() is not None and self._answers():
            return
        (self._home / "run").mkdir(parents=True, exist_ok=True)
        lock = os.open(self._home / "run" / f"{self.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.pid() is None:
                self._start()
            self._wait()
        finally:
            os.close(lock)

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL after ten seconds."""
        pid = self.pid()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.pid() == pid:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.02)
        self._state.unlink(missing_ok=True)

    @property
    def _state(self) -> Path:
        return self._home / "run" / f"{self.name}.json"

    def _start(self) -> None:
        with (self._home / f"{self.name}.log").open("ab") as log:
            child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._home,
                env={**os.environ, **self._environment},
            )
        write_durably(self._state, orjson.dumps({"pid": child.pid}))
        # Nobody else waits for it; without this its entry would stay in the process table.
        threading.Thread(target=child.wait, daemon=True, name=self.name).start()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.pid() is None or time.monotonic() > deadline:
                raise DaemonError(f"{self._command[0]} does not come up: {self._last_words()}")
            time.sleep(0.02)

    def _last_words(self) -> str:
        try:
            lines = (self._home / f"{self.name}.log").read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return lines[-1][-500:] if lines else f"see {self.name}.log in Loopwright's home"


def process_of(command: Sequence[str]) -> int | None:
    """The process that was started with exactly these words, if there is one."""
    wanted = "\0".join(command).encode() + b"\0"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes() == wanted:
                return int(path.parent.name)
    return None


def is_process(pid: int, words: str) -> bool:
    """Whether this process lives and was started with these words."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return words in text
    except OSError:
        pass
    if Path("/proc/self/cmdline").exists():
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
