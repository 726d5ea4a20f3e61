"""Starting shims: from a warm interpreter where one is kept, else each from a fresh one."""

import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from loopwright.compute import zygote
from loopwright.compute.folder import UnitFolder

LOG = logging.getLogger(__name__)
FORK_WAIT_S: Final = 10.0
READY_WAIT_S: Final = 60.0
LAUNCHES_MAX: Final = 3


class Launcher:
    """Starts the shims of a home. Thread-safe; one per control plane.

    Args:
        home: Loopwright's home folder.
        warm: Whether to keep a warm interpreter to fork from.
    """

    def __init__(self, home: Path, warm: bool) -> None:
        self._home = home
        self._warm = warm
        self._zygote: subprocess.Popen[bytes] | None = None
        self._keeper: socket.socket | None = None
        self._zygote_lock = threading.Lock()

    def warm_up(self) -> None:
        """Start the warm interpreter, so that the first job need not wait for it."""
        if self._warm:
            with self._zygote_lock:
                self._ensure_zygote()

    def close(self) -> None:
        """Let the warm interpreter go; shims run on."""
        if self._keeper is not None:
            self._keeper.close()
        if self._zygote is not None:
            self._zygote.terminate()
            self._zygote.wait(5)

    def launch(self, folder: UnitFolder) -> None:
        """Have a shim take the unit in this folder; returns when it has."""
        if self._warm and self._fork(folder.path):
            return
        shim = self._spawn("shim", str(folder.path), "shims.log")
        self._await_start(folder)
        # Nobody else waits for this child; without it its entry would stay in the process table.
        threading.Thread(target=shim.wait, daemon=True, name="shim").start()

    def _spawn(self, module: str, argument: str, log: str, *kept: int) -> "subprocess.Popen[bytes]":
        """Start a module of this package in a session of its own; it inherits the `kept` files."""
        with (self._home / log).open("ab") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", f"loopwright.compute.{module}", argument],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                start_new_session=True,
                cwd=self._home,
                pass_fds=kept,
            )

    def _await_start(self, folder: UnitFolder) -> None:
        """Until the shim has the unit, so that nothing is asked to start it in between."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if (folder.path / "started").exists() or (folder.path / "exit.json").exists():
                return
            time.sleep(0.01)
        self._give_up_after(folder, LAUNCHES_MAX)

    def _give_up_after(self, folder: UnitFolder, launches_max: int) -> None:
        """Count a launch that led to nothing; end the unit when there were too many."""
        launches = (folder.read("launches.json") or {}).get("count", 0) + 1
        folder.write("launches.json", {"count": launches})
        if launches < launches_max:
            LOG.warning("the shim of %s did not start; it is tried again", folder.path)
            return
        lock = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # With the lock held no shim can start the unit while its end is written.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not (folder.path / "started").exists():
                reason = (
                    f"InternalServerError: the unit's supervising process did not start in "
                    f"{launches} attempts; see shims.log and zygote.log in Loopwright's home"
                )
                folder.write("exit.json", {"staging": reason, "ended": time.time()})
        except BlockingIOError:
            LOG.info("the shim of %s started after all", folder.path)
        finally:
            os.close(lock)

    def _fork(self, path: Path) -> bool:
        """Have the warm interpreter fork the shim; False when there is none in time."""
        with self._zygote_lock:
            keeper = self._ensure_zygote()
            if keeper is None:
                return False
            try:
                keeper.settimeout(FORK_WAIT_S)
                keeper.sendall(f"{path}\n".encode())
                answered = keeper.recv(16) == zygote.DONE
            except OSError:
                answered = False
            if not answered:
                LOG.warning("the warm interpreter did not answer; starting cold")
                self._end_zygote()
                return False
        self._await_start(UnitFolder(path))
        return True

    def _ensure_zygote(self) -> socket.socket | None:
        """The connection to the warm interpreter, which is started if there is none.

        It is a pair of sockets that both were born with, not one that is looked up: so the
        interpreter learns of the end of this process whenever that comes.
        """
        if self._keeper is not None and self._zygote is not None and self._zygote.poll() is None:
            return self._keeper
        self._end_zygote()
        keeper, other = socket.socketpair()
        with other:
            number = other.fileno()
            self._zygote = self._spawn("zygote", str(number), "zygote.log", number)
        self._keeper = keeper
        try:
            keeper.settimeout(READY_WAIT_S)
            if keeper.recv(16) == zygote.DONE:
                return keeper
        except OSError:
            LOG.warning("the warm interpreter was not ready within %g s", READY_WAIT_S)
        self._end_zygote()
        return None

    def _end_zygote(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._zygote is not None:
            with contextlib.suppress(ProcessLookupError):
                self._zygote.send_signal(signal.SIGKILL)
            self._zygote.wait(5)
            self._zygote = None


def connect_unix(connection: socket.socket, path: Path) -> None:
    """Connect to a Unix socket, by its folder's handle when the path is too long for one."""
    if len(str(path)) < 100:
        connection.connect(str(path))
        return
    handle = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{handle}/{path.name}")
    finally:
        os.close(handle)
