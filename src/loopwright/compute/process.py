"""The process backend: units as sandboxed processes of this machine.

Nothing of a unit is kept in memory but what can be read again: the folder tells whether it was
prepared, started, runs or is over. See `compute.folder` for its files.
"""

import contextlib
import fcntl
import http.client
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import orjson

from loopwright.compute import limits, sandbox
from loopwright.compute.checkpoints import mark_restored
from loopwright.compute.folder import UnitFolder, log_path, unit_folder, write_durably
from loopwright.compute.points import PointReader
from loopwright.compute.staging import StagingError, give_to
from loopwright.kernel.records import Observation
from loopwright.kernel.units import Capacity, Program

LOG = logging.getLogger(__name__)
PROBE_S: Final = 1.0
PING_TIMEOUT_S: Final = 2.0
ZYGOTE_WAIT_S: Final = 0.05
LAUNCHES_MAX: Final = 3
Stager = Callable[[Program, Path], None]


class ProcessBackend:
    """Runs units below `home/units`. Thread-safe; one per control plane.

    Args:
        home: Loopwright's home folder.
        stage: Lays out a program's inputs below a folder; raises StagingError.
        capacity: What units may occupy; None takes the machine's CPUs and 90 % of its memory.
        warm: Whether to keep a warm interpreter to fork from.
        environment: Variables that every unit gets besides its program's own.
        platform: The platform's time of a real one, for what shims write down.
    """

    def __init__(
        self,
        home: Path,
        stage: Stager,
        *,
        capacity: Capacity | None = None,
        warm: bool = True,
        environment: Callable[[], Mapping[str, str]] = dict,
        platform: Callable[[float], float] = float,
    ) -> None:
        self._home = home
        self._stage = stage
        self._environment = environment
        self._platform = platform
        self._capacity = capacity or Capacity(
            float(limits.machine_cpus()), int(limits.machine_memory_bytes() * 0.9)
        )
        self.unsandboxed = sandbox.available()
        self._box: tuple[tuple[Path, ...], tuple[Path, ...]] = ((), ())
        if self.unsandboxed is None:
            hidden, visible = sandbox.hidden_and_visible(home)
            (home / "client").mkdir(parents=True, exist_ok=True)
            self._box = (hidden, (*visible, (home / "client").resolve()))
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="stage")
        self._probes = ThreadPoolExecutor(4, thread_name_prefix="probe")
        self._points = PointReader()
        self.before_stop: Callable[[str], None] = lambda unit_id: None
        """Called once before a running unit is told to end."""
        self._preparing: set[str] = set()
        self._ready: dict[str, tuple[bool, float]] = {}
        self._probing: set[str] = set()
        self._lock = threading.Lock()
        self._warm = warm
        self._zygote: subprocess.Popen[bytes] | None = None
        self._keeper: socket.socket | None = None
        self._zygote_lock = threading.Lock()
        (home / "units").mkdir(parents=True, exist_ok=True)

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
            end = folder.read("exit.json") or {"lost": True, "ended": time.time()}
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
        """Stop preparing and let the warm interpreter go; units run on."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._probes.shutdown(wait=False, cancel_futures=True)
        if self._keeper is not None:
            self._keeper.close()
        if self._zygote is not None:
            self._zygote.terminate()
            self._zygote.wait(5)

    def warm_up(self) -> None:
        """Start the warm interpreter, so that the first job need not wait for it."""
        if self._warm:
            with self._zygote_lock:
                self._ensure_zygote()

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
                    self._launch(folder)
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
        self._stage(program, folder.base)
        (folder.path / "tmp").chmod(0o1777)
        if kept := program.get("checkpoints"):
            mark_restored(self._home, unit_id, kept["folder"], kept["uri"])
        if self.unsandboxed is None and os.getuid() == 0:
            give_to(folder.base, sandbox.NOBODY)
        (folder.path / "hosts").write_text(_hosts(program))
        (folder.path / "hosts").chmod(0o644)
        log = program["log"]
        folder.write(
            "program.json",
            {
                **program,
                "environment": {**self._environment(), **program.get("environment", {})},
                "log_path": str(log_path(self._home, log["group"], log["stream"])),
                "sandbox": self.unsandboxed is None,
                "hidden": [str(path) for path in self._box[0]],
                "visible": [str(path) for path in self._box[1]],
            },
        )
        (folder.path / "prepared").touch()

    def _launch(self, folder: UnitFolder) -> None:
        if self._warm and self._fork(folder.path):
            return
        shim = self._spawn("shim", str(folder.path), "shims.log")
        self._await_start(folder)
        # Nobody else waits for this child; without it its entry would stay in the process table.
        threading.Thread(target=shim.wait, daemon=True, name="shim").start()

    def _spawn(self, module: str, argument: str, log: str) -> "subprocess.Popen[bytes]":
        """Start a module of this package in a session of its own."""
        with (self._home / log).open("ab") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", f"loopwright.compute.{module}", argument],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                start_new_session=True,
                cwd=self._home,
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
            if not self._ensure_zygote():
                return False
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(10)
                    _connect(connection, self._home / "run" / "zygote.sock")
                    connection.sendall(f"{path}\n".encode())
                    answered = connection.recv(16) == b"ok\n"
            except OSError:
                LOG.warning("the warm interpreter did not answer; starting cold", exc_info=True)
                self._end_zygote()
                return False
        if answered:
            self._await_start(UnitFolder(path))
        return answered

    def _ensure_zygote(self) -> bool:
        """Start the warm interpreter if there is none, and wait for one that is starting."""
        if self._zygote is not None and self._zygote.poll() is not None:
            self._end_zygote()
        if self._keeper is not None:
            return True
        path = self._home / "run" / "zygote.sock"
        if self._zygote is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._zygote = self._spawn("zygote", str(path), "zygote.log")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._zygote.poll() is None:
            keeper = socket.socket(socket.AF_UNIX)
            try:
                _connect(keeper, path)
            except OSError:
                keeper.close()
                time.sleep(ZYGOTE_WAIT_S)
                continue
            self._keeper = keeper
            return True
        self._end_zygote()
        return False

    def _end_zygote(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._zygote is not None:
            with contextlib.suppress(ProcessLookupError):
                self._zygote.send_signal(signal.SIGKILL)
            self._zygote.wait(5)
            self._zygote = None

    # Observing

    def _running(
        self, unit_id: str, folder: UnitFolder, program: Program, started: Mapping[str, Any]
    ) -> Observation:
        address = ""
        ready = False
        if program.get("serves"):
            address = str(folder.socket.relative_to(self._home))
            ready = self._probe(unit_id, folder.socket)
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
        message = end.get("staging", "")
        if not message and end.get("out_of_memory"):
            message = "OutOfMemory: the unit used more memory than its instance type has"
        if not message and code != 0:
            message = failure_text(folder)
        return Observation(
            "lost" if end.get("lost") else "exited",
            exit_code=code if code is not None or end.get("lost") else 1,
            message=message,
            started=self._platform(started["at"]) if "at" in started else None,
            ended=self._platform(end["ended"]) if "ended" in end else None,
            **self._seen(folder, program),
            signalled=bool(end.get("stopped")),
        )

    def _probe(self, unit_id: str, path: Path) -> bool:
        """The last answer of `/ping`; asks again in the background when it is old."""
        ready, at = self._ready.get(unit_id, (False, 0.0))
        old = PROBE_S if ready else 0.05
        with self._lock:
            if time.monotonic() - at > old and unit_id not in self._probing:
                self._probing.add(unit_id)
                self._probes.submit(self._ask, unit_id, path)
        return ready

    def _ask(self, unit_id: str, path: Path) -> None:
        ready = False
        try:
            ready = path.exists() and ping(path)
        finally:
            self._ready[unit_id] = (ready, time.monotonic())
            with self._lock:
                self._probing.discard(unit_id)


def ping(path: Path) -> bool:
    """Whether `GET /ping` on a Unix socket answers 200 within two seconds."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PING_TIMEOUT_S)
            _connect(connection, path)
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: unit\r\nConnection: close\r\n\r\n")
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False


def failure_text(folder: UnitFolder) -> str:
    """What the unit wrote to `output/failure`, else the last lines of its log."""
    path = folder.base / "output" / "failure"
    try:
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                return stream.read(4096).decode("utf-8", "replace").strip()
    except OSError:
        LOG.warning("%s could not be read", path)
    program = folder.read("program.json") or {}
    try:
        with open(program["log_path"], "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 4096))
            tail = stream.read().decode("utf-8", "replace").splitlines()[-5:]
    except (OSError, KeyError):
        return ""
    return "\n".join(line.partition("\t")[2] for line in tail)


def _connect(connection: socket.socket, path: Path) -> None:
    """Connect to a Unix socket, by its folder's handle when the path is too long for one."""
    if len(str(path)) < 100:
        connection.connect(str(path))
        return
    handle = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{handle}/{path.name}")
    finally:
        os.close(handle)


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
