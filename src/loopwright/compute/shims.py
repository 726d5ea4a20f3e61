"""What backends of this machine share: a folder and a shim for each unit.

Nothing of a unit is kept in memory but what can be read again: the folder tells whether it was
prepared, started, runs or is over. See `compute.folder` for its files. What differs between
backends is what a unit's folder is made ready for, and where a server in it is reached.
"""

import contextlib
import http.client
import logging
import os
import shutil
import signal
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import orjson

from loopwright.compute import limits
from loopwright.compute.checkpoints import mark_restored
from loopwright.compute.folder import UnitFolder, log_path, unit_folder, write_durably
from loopwright.compute.launcher import Launcher, connect_unix
from loopwright.compute.points import PointReader
from loopwright.compute.staging import StagingError
from loopwright.kernel.records import Observation
from loopwright.kernel.units import Capacity, Program
from loopwright.runtime.failure import OUT_OF_MEMORY, last_words, told
from loopwright.runtime.versions import MARK

LOG = logging.getLogger(__name__)
PROBE_S: Final = 1.0
PING_TIMEOUT_S: Final = 2.0
UNIT_FILE_BYTES_MAX: Final = 4096
TOLD_CHARS_MAX: Final = 1024
TAIL_BYTES_MAX: Final = 8192
END_WAIT_S: Final = 60.0
END_POLL_S: Final = 0.05
TCP: Final = "tcp:"
"""How the address of a server begins that listens on a port, not on a Unix socket."""
Stager = Callable[[Program, Path], None]


class ShimBackend(ABC):
    """Runs units below `home/units`, each under a shim. Thread-safe.

    Args:
        home: Loopwright's home folder.
        stage: Lays out a program's inputs below a folder; raises StagingError.
        launcher: Starts the shims.
        capacity: What units may occupy; None takes the machine's CPUs and 90 % of its memory.
        platform: The platform's time of a real one, for what shims write down.
    """

    def __init__(
        self,
        home: Path,
        stage: Stager,
        launcher: Launcher,
        *,
        capacity: Capacity | None = None,
        platform: Callable[[float], float] = float,
    ) -> None:
        self._home = home
        self._stage = stage
        self._launcher = launcher
        self._platform = platform
        self._capacity = capacity or Capacity(
            float(limits.machine_cpus()), int(limits.machine_memory_bytes() * 0.9)
        )
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="stage")
        self._probes = ThreadPoolExecutor(4, thread_name_prefix="probe")
        self._points = PointReader()
        self.before_stop: Callable[[str], None] = lambda unit_id: None
        """Called once before a running unit is told to end."""
        self._preparing: set[str] = set()
        self._ready: dict[str, tuple[bool, float]] = {}
        self._probing: set[str] = set()
        self._lock = threading.Lock()
        (home / "units").mkdir(parents=True, exist_ok=True)

    # What differs

    @abstractmethod
    def dress(self, folder: UnitFolder, program: Program) -> dict[str, Any]:
        """Make the laid-out folder ready for its unit; members of `program.json` that say how.

        Raises:
            StagingError: what the unit needs cannot be had; the text is for FailureReason.
        """

    def laid_out(self, program: Program) -> Program:
        """The program whose inputs are laid out."""
        return program

    def address(self, folder: UnitFolder) -> str:
        """Where a serving unit listens: a Unix socket below home, or `tcp:HOST:PORT`; empty yet."""
        return str(folder.socket.relative_to(self._home))

    def bury(self, folder: UnitFolder) -> bool:
        """See that nothing is left running of a unit whose shim died; False: ask again."""
        return True

    # The contract

    def capacity(self) -> Capacity:
        """CPUs and bytes of memory that units may occupy together."""
        return self._capacity

    def start(self, unit_id: str, program: Program) -> None:
        """Prepare and start the unit in the background, unless it was started before."""
        with self._lock:
            if unit_id in self._preparing:
                return
            self._preparing.add(unit_id)
        self._pool.submit(self._prepare, unit_id, program)

    def observe(self, unit_id: str, program: Program) -> Observation | None:
        """What the unit's folder tells; None when it was never started."""
        folder = unit_folder(self._home, unit_id)
        end = folder.read("exit.json")
        if end is None:
            with self._lock:
                if unit_id in self._preparing:
                    return Observation("preparing")
            started = folder.read("started")
            if started is None:
                return None
            if folder.is_alive():
                return self._running(unit_id, folder, program, started)
            end = folder.read("exit.json")
            if end is None and not self.bury(folder):
                return self._running(unit_id, folder, program, started)
            end = end or {"lost": True, "ended": time.time()}
        return self._over(folder, end, program)

    def stop(self, unit_id: str, grace_s: float, notice: str = "") -> None:
        """Ask the shim to stop the unit; repeatable. A notice lies there before the signal."""
        folder = unit_folder(self._home, unit_id)
        if folder.path.is_dir() and folder.read("stop.json") is None:
            if folder.is_alive():
                self.before_stop(unit_id)
            if notice and folder.base.is_dir():
                self._give_notice(folder, grace_s, notice)
            folder.write("stop.json", {"grace_s": grace_s})

    def end(self, units: Mapping[str, Program], wait_s: float = END_WAIT_S) -> list[str]:
        """End units at once, without grace, and wait for it: their shims are killed.

        Nobody else may start units meanwhile.

        Returns:
            The ids of those that were not over after `wait_s` seconds.
        """
        pending = dict(units)
        deadline = time.monotonic() + wait_s
        while True:
            for unit_id, program in list(pending.items()):
                seen = self.observe(unit_id, program)
                if seen is None or seen.over:
                    del pending[unit_id]
                else:
                    self._end(unit_folder(self._home, unit_id))
            if not pending or time.monotonic() > deadline:
                return list(pending)
            time.sleep(END_POLL_S)

    def _end(self, folder: UnitFolder) -> None:
        """Kill the shim, with which its unit dies; one that has none yet gets none."""
        started = folder.read("started")
        if started is None:
            if folder.path.is_dir() and folder.read("stop.json") is None:
                with contextlib.suppress(FileNotFoundError):
                    folder.write("stop.json", {"grace_s": 0.0})
        elif folder.is_alive():
            # While it holds the lock its number is its own.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(started["pid"]), signal.SIGKILL)

    def _give_notice(self, folder: UnitFolder, grace_s: float, reason: str) -> None:
        """Write `/opt/ml/.loopwright/interruption.json`, unless the unit put a link in its way."""
        parent = folder.base / ".loopwright"
        if parent.is_symlink() or not parent.is_dir():
            return
        content = orjson.dumps({"reason": reason, "ends_at": time.time() + grace_s})
        write_durably(parent / "interruption.json", content)
        (parent / "interruption.json").chmod(0o644)

    def discard(self, unit_id: str) -> None:
        """Remove the unit's folder; its logs lie elsewhere and stay."""
        folder = unit_folder(self._home, unit_id)
        # The end is kept until the rest is gone, so that a crash in between restarts nothing.
        for path in (folder.base, folder.path / "tmp"):
            _remove_tree(path)
        _remove_tree(folder.path)
        self._ready.pop(unit_id, None)
        self._points.forget(folder)

    def close(self) -> None:
        """Stop preparing; units run on."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._probes.shutdown(wait=False, cancel_futures=True)

    # Starting

    def _prepare(self, unit_id: str, program: Program) -> None:
        folder = unit_folder(self._home, unit_id)
        try:
            if folder.read("started") is None and folder.read("exit.json") is None:
                if not (folder.path / "prepared").exists():
                    self._lay_out(unit_id, folder, program)
                if folder.read("stop.json") is not None:
                    folder.write("exit.json", {"exit_code": 143, "ended": time.time()})
                else:
                    self._launcher.launch(folder)
        except StagingError as error:
            folder.write("exit.json", {"staging": str(error), "ended": time.time()})
        except Exception as error:
            LOG.exception("unit %s could not be started", unit_id)
            folder.path.mkdir(parents=True, exist_ok=True)
            reason = f"InternalServerError: the unit could not be started: {error}"
            folder.write("exit.json", {"staging": reason, "ended": time.time()})
        finally:
            with self._lock:
                self._preparing.discard(unit_id)

    def _lay_out(self, unit_id: str, folder: UnitFolder, program: Program) -> None:
        """Fill the folder from nothing; repeated from the start after a crash."""
        if folder.path.exists():
            _remove_tree(folder.path)
        (folder.path / "tmp").mkdir(parents=True)
        folder.base.mkdir()
        (folder.base / ".loopwright").mkdir()
        self._stage(self.laid_out(program), folder.base)
        (folder.path / "tmp").chmod(0o1777)
        if kept := program.get("checkpoints"):
            mark_restored(self._home, unit_id, kept["folder"], kept["uri"])
        (folder.path / "hosts").write_text(_hosts(program))
        (folder.path / "hosts").chmod(0o644)
        log = program["log"]
        log_file = str(log_path(self._home, log["group"], log["stream"]))
        dressed = self.dress(folder, program)
        folder.write("program.json", {**program, "log_path": log_file, **dressed})
        (folder.path / "prepared").touch()

    # Observing

    def _running(
        self, unit_id: str, folder: UnitFolder, program: Program, started: Mapping[str, Any]
    ) -> Observation:
        address = ""
        ready = False
        if program.get("serves"):
            address = self.address(folder)
            ready = bool(address) and self._probe(unit_id, address)
        return Observation(
            "running",
            started=self._platform(started["at"]),
            ready=ready,
            address=address,
            **self._seen(folder, program),
        )

    def _seen(self, folder: UnitFolder, program: Program) -> dict[str, Any]:
        """The metrics and the objective's curve of an observation."""
        points = self._points.read(folder, program)
        return {
            # Copies: what is remembered goes on growing.
            "metrics": {name: list(point) for name, point in points.metrics.items()},
            "curve": [list(report) for report in points.curve],
            "numbered": points.numbered,
        }

    def _over(self, folder: UnitFolder, end: Mapping[str, Any], program: Program) -> Observation:
        started = folder.read("started") or {}
        code = end.get("exit_code")
        message = end.get("staging") or end.get("why", "")
        if not message and code != 0:
            message = failure_text(folder, code or 1, end)
        return Observation(
            "lost" if end.get("lost") else "exited",
            exit_code=code if code is not None or end.get("lost") else 1,
            message=message,
            started=self._platform(started["at"]) if "at" in started else None,
            ended=self._platform(end["ended"]) if "ended" in end else None,
            **self._seen(folder, program),
            signalled=bool(end.get("stopped")),
            cut=bool(end.get("cut")),
            told=read_unit_file(folder, "output", "message")[:TOLD_CHARS_MAX],
        )

    def _probe(self, unit_id: str, address: str) -> bool:
        """The last answer of `/ping`; asks again in the background when it is old."""
        ready, at = self._ready.get(unit_id, (False, 0.0))
        old = PROBE_S if ready else 0.05
        with self._lock:
            if time.monotonic() - at > old and unit_id not in self._probing:
                self._probing.add(unit_id)
                self._probes.submit(self._ask, unit_id, address)
        return ready

    def _ask(self, unit_id: str, address: str) -> None:
        ready = False
        try:
            ready = ping(self._home, address)
        finally:
            self._ready[unit_id] = (ready, time.monotonic())
            with self._lock:
                self._probing.discard(unit_id)


def ping(home: Path, address: str) -> bool:
    """Whether `GET /ping` of a unit answers 200 within two seconds."""
    try:
        with _connected(home, address) as connection:
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: unit\r\nConnection: close\r\n\r\n")
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False


def _connected(home: Path, address: str) -> socket.socket:
    if address.startswith(TCP):
        host, _, port = address.removeprefix(TCP).rpartition(":")
        return socket.create_connection((host, int(port)), PING_TIMEOUT_S)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PING_TIMEOUT_S)
    try:
        connect_unix(connection, home / address)
    except OSError:
        connection.close()
        raise
    return connection


def failure_text(folder: UnitFolder, exit_code: int, end: Mapping[str, Any]) -> str:
    """Why a unit failed: what it wrote to `output/failure`, else its last words on the log.

    Args:
        end: Its `exit.json`: `last` holds its last lines where they could not be written to the
            log, `out_of_memory` says that it used up its memory.
    """
    extra = OUT_OF_MEMORY if end.get("out_of_memory") else ""
    written = read_unit_file(folder, "output", "failure").strip()
    if written:
        return f"{extra}: {written}" if extra else written
    words = str(end.get("last", "")) or last_words(_tail(folder))
    return told(read_unit_file(folder, ".loopwright", "running.json"), exit_code, words, extra)


def read_unit_file(folder: UnitFolder, *parts: str) -> str:
    """The beginning of a file of the unit's, empty if there is none; no link leads elsewhere."""
    path = folder.base
    try:
        for part in parts:
            path = path / part
            if path.is_symlink():
                return ""
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            return stream.read(UNIT_FILE_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        LOG.warning("%s could not be read", path)
        return ""


def _tail(folder: UnitFolder) -> list[str]:
    """The last lines of the unit's log."""
    program = folder.read("program.json") or {}
    try:
        with open(program["log_path"], "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - TAIL_BYTES_MAX))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except (OSError, KeyError):
        return []
    said = [line.partition("\t")[2] if "\t" in line else line for line in lines]
    return [line for line in said if not line.startswith(MARK)]


def _hosts(program: Program) -> str:
    """The machine's own host table, and the job's hosts, which are all on this machine."""
    table = program.get("addresses")
    try:
        own = Path("/etc/hosts").read_text()
    except OSError:
        own = "127.0.0.1 localhost\n"
    if table:
        lines = "".join(f"{address} {name}\n" for name, address in table.items())
        return f"{own.rstrip()}\n{lines}"
    names = " ".join({program.get("hostname", "algo-1"), *program.get("hosts", ())})
    return f"{own.rstrip()}\n127.0.0.1 {names}\n"


def _remove_tree(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
