"""`loopwright serve`: the control plane in this process, and a gateway beside it.

The gateway is a session of its own: when this process is killed, endpoints go on serving, and the
next `serve` on the same home takes the gateway over.
"""

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
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
import uvicorn

from loopwright.compute.daemon import is_process as is_process
from loopwright.config import Settings
from loopwright.control import ControlPlane, write_state

LOG = logging.getLogger(__name__)
START_TIMEOUT_S: Final = 30.0
WATCH_S: Final = 0.5


class StartError(Exception):
    """The server cannot start; the text says why and what to do."""


class GatewayProcess:
    """The gateway of a home: started, taken over, watched, stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._child: subprocess.Popen[bytes] | None = None
        self.port = settings.port

    def ensure(self) -> None:
        """Have a gateway on the wanted address.

        Raises:
            StartError: the port is taken, or the gateway does not come up.
        """
        state = self.state()
        if state is not None:
            wanted = (self._settings.host, self.port)
            if (state["host"], state["port"]) == wanted or not self.port:
                self.port = state["port"]
                return
            self.stop()
        self._start()

    def state(self) -> dict[str, Any] | None:
        """What the running gateway wrote about itself; None when none runs."""
        try:
            state = orjson.loads((self._settings.home / "run" / "gateway.json").read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        return dict(state) if is_process(state["pid"], "loopwright.router.gateway") else None

    def _start(self) -> None:
        home = self._settings.home
        (home / "run" / "gateway.json").unlink(missing_ok=True)
        with (home / "gateway.log").open("ab") as log:
            position = log.tell()
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "loopwright.router.gateway",
                    str(home),
                    self._settings.host,
                    str(self.port),
                    self._settings.account,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            state = self.state()
            if state is not None:
                self.port = state["port"]
                return
            if self._child.poll() is not None:
                words = (home / "gateway.log").read_bytes()[position:].decode()
                raise StartError(self._explain(words))
            time.sleep(0.02)
        raise StartError(f"The gateway did not start; see {home / 'gateway.log'}.")

    def _explain(self, words: str) -> str:
        if "address already in use" in words.lower():
            return (
                f"Port {self.port} on {self._settings.host} is in use; choose another with "
                "--port, or stop what listens there (`loopwright stop --home DIR` stops a "
                "Loopwright)."
            )
        last = words.strip().splitlines()[-1:] or ["it said nothing"]
        return f"The gateway ended at its start: {last[0]}"

    def watch(self) -> None:
        """Start the gateway again when it is gone."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        if self.state() is None:
            LOG.warning("the gateway is gone; starting it again")
            try:
                self._start()
            except StartError as error:
                LOG.error("%s", error)

    def stop(self) -> None:
        """End the gateway after the requests under way."""
        state = self.state()
        if state is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["pid"], signal.SIGTERM)
        deadline = time.monotonic() + 35
        while is_process(state["pid"], "loopwright.router.gateway"):
            if self._child is not None:
                self._child.poll()
            if time.monotonic() > deadline:
                os.kill(state["pid"], signal.SIGKILL)
                return
            time.sleep(0.02)


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
        StartError: another process serves the home, or the port is taken.
    """
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    (home / "run").mkdir(exist_ok=True)
    lock = _lock(home)
    plane = ControlPlane(settings)
    listener = _listen(home)
    config = uvicorn.Config(
        plane.app, log_config=None, access_log=False, lifespan="off", http="httptools",
        timeout_keep_alive=5, timeout_graceful_shutdown=10,
    )  # fmt: skip
    server = _Server(config)
    web = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web")
    gateway = GatewayProcess(settings)
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
