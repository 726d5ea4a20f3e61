"""The gateway's worker processes beside the control plane: started, taken over, watched, stopped.

Each is a session of its own: when the control plane is killed, endpoints go on serving, and the
next `serve` on the same home takes the workers over. All listen on one port, over which the kernel
spreads new connections (SO_REUSEPORT of socket(7)); a worker that dies takes only its own along.
"""

import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import orjson

from loopwright.compute.daemon import is_process
from loopwright.config import Settings
from loopwright.router.tallies import COUNTS

LOG = logging.getLogger(__name__)
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 35.0
MODULE: Final = "loopwright.router.gateway"


class StartError(Exception):
    """The server cannot start; the text says why and what to do."""


class Gateways:
    """The workers of a home's gateway. One per control plane, used by one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._run = settings.home / "run"
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self.port = settings.port

    def check(self) -> None:
        """Refuse an address that cannot be had; nothing is started or stopped.

        Raises:
            StartError: the port is taken or not allowed, or the host is not this machine's.
        """
        wanted = (self._settings.host, self.port)
        if not any((state["host"], state["port"]) == wanted for state in self._live().values()):
            self._check_port()

    def ensure(self) -> None:
        """Have all workers on the wanted address.

        Raises:
            StartError: the port is taken, or a worker does not come up.
        """
        live = self._live()
        if live:
            state = live[min(live)]
            if (state["host"], state["port"]) == (self._settings.host, self.port) or not self.port:
                self.port = state["port"]
            else:
                self.stop()
        self._end([number for number in self._live() if number >= self._settings.gateway_workers])
        self._complete()

    def watch(self) -> None:
        """Start again the workers that are gone."""
        try:
            self._complete()
        except StartError as error:
            LOG.error("%s", error)

    def stop(self) -> None:
        """End all workers after the requests under way."""
        self._end(list(self._live()))

    def _live(self) -> dict[int, dict[str, Any]]:
        """What the running workers wrote about themselves, by number."""
        found = {}
        for path in self._run.glob("gateway*.json"):
            try:
                state = dict(orjson.loads(path.read_bytes()))
            except (FileNotFoundError, orjson.JSONDecodeError):
                continue
            if is_process(state["pid"], MODULE):
                found[int(state.get("number", 0))] = state
        return found

    def _complete(self) -> None:
        for child in self._children.values():
            child.poll()
        live = self._live()
        if not live:
            self._check_port()
            # What killed workers had counted is gone on with while any of them lives.
            for path in self._run.glob(COUNTS.format("*")):
                path.unlink(missing_ok=True)
        for number in range(self._settings.gateway_workers):
            if number not in live:
                if number in self._children:
                    LOG.warning("worker %d of the gateway is gone; starting it again", number)
                self._start(number)

    def _check_port(self) -> None:
        """Refuse a port on which others listen: the workers themselves would share it with them."""
        host = self._settings.host
        for family, kind, _, _, address in socket.getaddrinfo(
            host, self.port, type=socket.SOCK_STREAM
        ):
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(address)
                except OSError as error:
                    raise StartError(self._refused(error)) from None

    def _refused(self, error: OSError) -> str:
        """Why an address cannot be had, and what to do."""
        host = self._settings.host
        if error.errno == errno.EADDRINUSE:
            return self._explain("address already in use")
        if error.errno == errno.EADDRNOTAVAIL:
            return (
                f"--host is {host!r}, which is no address of this machine; give one of its own, "
                "127.0.0.1, or 0.0.0.0 for all."
            )
        if error.errno == errno.EACCES:
            return f"Port {self.port} may not be used by this user; choose one above 1023."
        return f"Port {self.port} on {host} cannot be had: {error.strerror}."

    def _start(self, number: int) -> None:
        home = self._settings.home
        path = state_file(self._run, number)
        path.unlink(missing_ok=True)
        words = [str(home), self._settings.host, str(self.port), self._settings.account]
        with (home / "gateway.log").open("ab") as log:
            position = log.tell()
            child = self._children[number] = subprocess.Popen(
                [sys.executable, "-m", MODULE, *words, str(number)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            state = self._live().get(number)
            if state is not None and state["pid"] == child.pid:
                self.port = state["port"]
                return
            if child.poll() is not None:
                told = (home / "gateway.log").read_bytes()[position:].decode()
                raise StartError(self._explain(told))
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

    def _end(self, numbers: list[int]) -> None:
        live = self._live()
        pids = [live[number]["pid"] for number in numbers if number in live]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for pid in pids:
            while is_process(pid, MODULE):
                for child in self._children.values():
                    child.poll()
                if time.monotonic() > deadline:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    break
                time.sleep(0.02)


def state_file(folder: Path, number: int) -> Path:
    """Where a worker writes what it is; the first one's name is the oldest."""
    return folder / ("gateway.json" if number == 0 else f"gateway-{number}.json")
