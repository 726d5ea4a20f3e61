"""`loopwright serve`: the control plane in this process, and the gateway beside it."""

import contextlib
import fcntl
import logging
import os
import shlex
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn
from sqlalchemy.exc import DBAPIError

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
    made = not home.exists()
    empty = made or not any(home.iterdir())
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    (home / "run").mkdir(exist_ok=True)
    lock = _lock(home)
    ready: list[str] = []

    def tell(url: str) -> None:
        ready.append(url)
        announce(url, settings)

    try:
        gateway = Gateways(settings)
        gateway.check()
        _serve(settings, _plane(settings), gateway, tell)
    finally:
        if empty and not ready:
            _clear(home, made)
        os.close(lock)


def _serve(
    settings: Settings, plane: ControlPlane, gateway: Gateways, tell: Callable[[str], None]
) -> None:
    """Run the control plane and watch the gateway, until a signal."""
    home = settings.home
    listener = _listen(home)
    config = uvicorn.Config(
        plane.app, log_config=None, access_log=False, lifespan="off", http="httptools",
        timeout_keep_alive=5, timeout_graceful_shutdown=10,
    )  # fmt: skip
    server = _Server(config)
    web = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        plane.start()
        web.start()
        gateway.ensure()
        url = f"http://{_bracketed(settings.host)}:{gateway.port}"
        plane.announce(url)
        state = {"pid": os.getpid(), "url": url, "region": settings.region}
        write_state(home, {**state, "engine": settings.engine, "objects": settings.objects_url})
        tell(url)
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


def _bracketed(host: str) -> str:
    """A host as URLs have it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _clear(home: Path, made: bool) -> None:
    """Remove what a server that did not start has put into a home that was empty before."""
    for path in home.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if made:
        with contextlib.suppress(OSError):
            home.rmdir()


def _plane(settings: Settings) -> ControlPlane:
    try:
        return ControlPlane(settings)
    except Exception as error:
        if is_away(error):
            raise StartError(
                f"The database of --database does not answer: {_first_line(error)}. Start it, or "
                "correct the URL."
            ) from None
        if isinstance(error, DBAPIError):
            raise StartError(
                f"The database cannot be used: {_first_line(error)}. Name another with --database, "
                "or another --home."
            ) from None
        raise


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _lock(home: Path) -> int:
    handle = os.open(home / "run" / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartError(
            f"Another `loopwright serve` uses {home}; stop it with `loopwright stop "
            f"--home {shlex.quote(str(home))}` "
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
