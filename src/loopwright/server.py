"""`loopwright serve`: the control plane in this process, and the gateway beside it."""

import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn

from loopwright.compute.daemon import is_process as is_process
from loopwright.config import Settings
from loopwright.control import ControlPlane, write_state
from loopwright.database import is_away
from loopwright.gateways import Gateways
from loopwright.gateways import StartError as StartError

LOG = logging.getLogger(__name__)
WATCH_S: Final = 0.5


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: `serve` decides what a signal means."""

    def install_signal_handlers(self) -> None:
        return

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def serve(settings: Settings, announce: Callable[[str, Settings], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        announce: Called with the URL once everything answers.

    Raises:
        StartError: another process serves the home, the port is taken, or the database is away.
    """
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    (home / "run").mkdir(exist_ok=True)
    lock = _lock(home)
    plane = _plane(settings)
    listener = _listen(home)
    config = uvicorn.Config(
        plane.app, log_config=None, access_log=False, lifespan="off", http="httptools",
        timeout_keep_alive=5, timeout_graceful_shutdown=10,
    )  # fmt: skip
    server = _Server(config)
    web = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web")
    gateway = Gateways(settings)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        plane.start()
        web.start()
        gateway.ensure()
        url = f"http://{settings.host}:{gateway.port}"
        plane.announce(url)
        state = {"pid": os.getpid(), "url": url, "region": settings.region}
        write_state(home, {**state, "engine": settings.engine})
        announce(url, settings)
        while not stopping.wait(WATCH_S):
            gateway.watch()
    finally:
        gateway.stop()
        server.should_exit = True
        if web.is_alive():
            web.join(15)
        (home / "run" / "control.sock").unlink(missing_ok=True)
        (home / "run" / "control.json").unlink(missing_ok=True)
        plane.close()
        os.close(lock)


def _plane(settings: Settings) -> ControlPlane:
    try:
        return ControlPlane(settings)
    except Exception as error:
        if not is_away(error):
            raise
        last = str(error).splitlines()[0]
        raise StartError(
            f"The database of --database does not answer: {last}. Start it, or correct the URL."
        ) from None


def _lock(home: Path) -> int:
    handle = os.open(home / "run" / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartError(
            f"Another `loopwright serve` uses {home}; stop it with `loopwright stop --home {home}` "
            "or choose another --home."
        ) from None
    return handle


def _listen(home: Path) -> socket.socket:
    """The control plane's own socket; through the folder's handle, as paths must be short."""
    folder = home / "run"
    (folder / "control.sock").unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        short = len(str(folder)) < 90 or sys.platform != "linux"
        where = str(folder) if short else f"/proc/self/fd/{handle}"
        listener.bind(f"{where}/control.sock")
    finally:
        os.close(handle)
    (folder / "control.sock").chmod(0o600)
    listener.listen(1024)
    return listener
