"""The driver of one container: the child of the unit's shim that stands for the container.

It makes and starts the container, writes its output to its own, passes SIGTERM on, kills when the
unit's grace is over, and ends with the container's exit code. `container-end.json` says that it
came to that: without it the shim takes the driver for dead and has the container removed.
Run as `python -m loopwright.compute.driver FOLDER`; with `--end` before it, only removes.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3

from loopwright.compute.engine import docker
from loopwright.compute.folder import UnitFolder
from loopwright.compute.oom import OutOfMemoryWatch
from loopwright.compute.relay import RelayError, lend, reach
from loopwright.compute.sandbox import SHIM_DIED

SERVE_PORT: Final = 8080
SHM_BYTES_MIN: Final = 64 * 2**20
RETRY_S: Final = 0.2
WAIT_S: Final = 1.0
"""How long an end is awaited before the log is read for what came meanwhile."""
END: Final = "container-end.json"
NOT_FOUND: Final = "executable file not found"
# What requests raises is an OSError too.
BROKEN: Final = (OSError, urllib3.exceptions.HTTPError)


class Driver:
    """One run of one container."""

    def __init__(self, folder: UnitFolder) -> None:
        self._folder = folder
        self._program = folder.read("program.json") or {}
        self._wanted: dict[str, Any] = self._program["container"]
        self._client = _client(self._wanted)
        self._stopping = threading.Event()
        self._begun = threading.Event()
        self._over = threading.Event()
        self._watch: OutOfMemoryWatch | None = None
        self._taken = 0
        """Bytes of the output that are written."""
        signal.signal(signal.SIGTERM, lambda *_: self._on_stop())
        signal.signal(SHIM_DIED, lambda *_: self._apart(self._abandon))

    def run(self) -> int:
        """Run the container to its end, and return the unit's exit code."""
        if os.getppid() != (self._folder.read("started") or {}).get("pid"):
            return 1  # The shim died before the kernel was asked to tell of it.
        container = None
        try:
            container = self._client.containers.create(**self._options())
            if self._stopping.is_set():
                return self._end(143)
            # Before the start, so that it has the first byte; `logs(follow=True)` of podman 4.3
            # drops up to a third of what a busy container writes.
            output = container.attach(stdout=True, stderr=True, stream=True, logs=False)
            container.start()
            self._begun.set()
            self._tell(container)
        except docker.errors.APIError as error:
            return self._end(*_refusal(self._program, error))
        except RelayError as error:
            return self._end(1, f"InternalServerError: the container has no way in: {error}")
        else:
            code = self._follow(container, output)
            short = self._watch is not None and self._watch.seen()
            return self._end(code, out_of_memory=short or self._killed_for_memory(container))
        finally:
            self._over.set()
            if container is not None:
                with contextlib.suppress(*BROKEN):
                    container.remove(force=True)

    def _options(self) -> dict[str, Any]:
        """The arguments of the engine's create call."""
        program, base = self._program, str(self._folder.base)
        environment = program.get("environment", {})
        options: dict[str, Any] = {
            "image": self._wanted["id"],
            "command": self._wanted.get("command"),
            "entrypoint": self._wanted.get("entrypoint"),
            "name": self._wanted["name"],
            "labels": {"loopwright.home": self._wanted["home"]},
            "environment": {name: str(value) for name, value in environment.items()},
            "hostname": program.get("hostname", "algo-1"),
            "volumes": {
                base: {"bind": "/opt/ml", "mode": "rw"},
                str(self._folder.path / "hosts"): {"bind": "/etc/hosts", "mode": "ro"},
            },
            "network_mode": "host" if program.get("network", True) else "none",
        }
        if program.get("serves") and program.get("network", True):
            options |= {
                "network_mode": "bridge",
                "ports": {f"{SERVE_PORT}/tcp": ("127.0.0.1", None)},
            }
        memory_bytes = int(program.get("memory_bytes") or 0)
        if memory_bytes and not program.get("memory_unlimited"):
            options["mem_limit"] = memory_bytes
            options["shm_size"] = max(SHM_BYTES_MIN, memory_bytes // 2)
        if program.get("cpus"):
            options["nano_cpus"] = int(float(program["cpus"]) * 1e9)
        return options

    def _tell(self, container: Any) -> None:
        """Write down where the container is found, and open its ways in and out."""
        container.reload()
        state = container.attrs
        pid = int(state["State"]["Pid"])
        told: dict[str, Any] = {"pid": pid}
        if pid:
            self._watch = OutOfMemoryWatch(pid)
        if self._program.get("serves") and pid:
            if self._program.get("network", True):
                ports = state["NetworkSettings"]["Ports"][f"{SERVE_PORT}/tcp"]
                told["address"] = f"tcp:127.0.0.1:{ports[0]['HostPort']}"
                self._lend_own(pid)
            else:
                os.chdir(self._folder.path)
                reach(pid, SERVE_PORT, self._folder.path / "serve.sock")
                told["address"] = f"units/{self._folder.path.name}/serve.sock"
        self._folder.write("container.json", told)

    def _lend_own(self, pid: int) -> None:
        """Let the container reach Loopwright, and an object store, on this machine's loopback.

        Port 8080 is the container's own there: an object store at it stays out of reach.
        """
        environment = self._program.get("environment", {})
        ports = set()
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            own = urlsplit(environment.get(name, ""))
            if own.hostname in ("127.0.0.1", "localhost") and own.port:
                ports.add(own.port)
        for port in sorted(ports - {SERVE_PORT}):
            lend(pid, port)

    def _follow(self, container: Any, output: Iterable[bytes]) -> int:
        """Copy the output until the end; the exit code. Goes on when the engine comes back."""
        with contextlib.suppress(*BROKEN):
            for piece in output:
                self._write(piece)
        while True:
            began = time.monotonic()
            try:
                code = int(container.wait(timeout=WAIT_S)["StatusCode"])
                self._catch_up(container)
                return code
            except docker.errors.NotFound:
                os.write(2, b"the container was removed by somebody else\n")
                return 137
            except BROKEN:
                # The stream broke, or the container closed its output: it may run on for long.
                with contextlib.suppress(*BROKEN):
                    self._catch_up(container)
            time.sleep(max(RETRY_S, 2 * (time.monotonic() - began - WAIT_S)))

    def _catch_up(self, container: Any) -> None:
        """Write what the stream missed: the engine's file has the same bytes, in order."""
        seen = 0
        for piece in container.logs(stream=True, follow=False):
            missed = piece[max(0, self._taken - seen) :]
            seen += len(piece)
            self._write(missed)

    def _write(self, piece: bytes) -> None:
        self._taken += len(piece)
        while piece:
            piece = piece[os.write(1, piece) :]

    def _killed_for_memory(self, container: Any) -> bool:
        try:
            container.reload()
            return bool(container.attrs["State"].get("OOMKilled"))
        except BROKEN:
            return False

    def _end(self, code: int, message: str = "", out_of_memory: bool = False) -> int:
        told: dict[str, Any] = {"exit_code": code}
        if message:
            told["staging"] = message
        if out_of_memory and code != 0:
            told["out_of_memory"] = True
        self._folder.write(END, told)
        return code

    # Signals, each handled in a thread of its own: the main one is inside a call of the engine

    def _on_stop(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            self._apart(self._stop)

    def _stop(self) -> None:
        """SIGTERM, and SIGKILL when the grace is over."""
        asked_at = time.monotonic()
        sent = ""
        while not self._over.wait(RETRY_S):
            # Read again: `loopwright stop` shortens the grace.
            request = self._folder.read("stop.json") or {"grace_s": 0.0}
            late = time.monotonic() - asked_at >= float(request["grace_s"])
            name = "SIGKILL" if late else "SIGTERM"
            if self._begun.is_set() and name != sent and self._kill(name):
                sent = name

    def _kill(self, name: str) -> bool:
        """Send a signal to the container; whether the engine took it."""
        client = _client(self._wanted)
        try:
            client.containers.get(self._wanted["name"]).kill(signal=name)
        except BROKEN:
            return False
        finally:
            client.close()
        return True

    def _abandon(self) -> None:
        """The shim is dead: the container must not outlive it."""
        while not _gone(self._wanted):
            time.sleep(RETRY_S)
        os._exit(1)

    @staticmethod
    def _apart(work: Any) -> None:
        threading.Thread(target=work, daemon=True).start()


def _client(wanted: dict[str, Any]) -> Any:
    return docker.DockerClient(base_url=wanted["engine"], timeout=300)


def _gone(wanted: dict[str, Any]) -> bool:
    """Remove the container; whether it is gone."""
    try:
        client = _client(wanted)
        try:
            client.containers.get(wanted["name"]).remove(force=True)
        finally:
            client.close()
    except docker.errors.NotFound:
        return True
    except BROKEN:
        return False
    return True


def _refusal(program: dict[str, Any], error: Any) -> tuple[int, str]:
    """Exit code and reason of a container that the engine did not start."""
    words = str(error.explanation or error)
    if NOT_FOUND in words:
        wanted = program["container"]
        command = [*(wanted.get("entrypoint") or ()), *(wanted.get("command") or ())]
        program_name = command[0] if command else "its own command"
        return 127, (
            f"ClientError: the image {wanted['image']} has no program {program_name!r} on its "
            f"PATH that can be run. An image for training needs `train`, one for endpoints "
            f"`serve`. The engine says: {words}"
        )
    return 126, f"ClientError: the container could not be started: {words}"


def main(arguments: list[str]) -> int:
    """Run or end the container of a unit's folder."""
    folder = UnitFolder(Path(arguments[-1]))
    if arguments[0] == "--end":
        wanted = (folder.read("program.json") or {})["container"]
        return 0 if _gone(wanted) else 1
    return Driver(folder).run()


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # Threads of relays and watches are still there; nothing is left to do for them.
    os._exit(code)
