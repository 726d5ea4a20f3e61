"""The shim of a unit: starts it once, streams its log, stops it on request, writes its end.

A shim is its own session and outlives the control plane. It holds a lock on the unit's folder
while it lives, and dies together with the unit: when the shim is killed the kernel kills the unit.
Run as `python -m loopwright.compute.shim FOLDER`, or forked from a warm interpreter.
"""

import contextlib
import fcntl
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson

from loopwright.compute import sandbox
from loopwright.compute.disk import write_end
from loopwright.compute.folder import UnitFolder, write_once
from loopwright.compute.job import run_job
from loopwright.compute.limits import MemoryLimit
from loopwright.compute.usage import Usage

STEP: Final = re.compile(
    r"\b(?:epoch|iteration|iter|round|step)s?\b[^\d\-+.]{0,3}(\d{1,9})|^\s*\[(\d{1,9})\]",
    re.IGNORECASE,
)
"""How logs name the step of a report: `epoch 3`, `Step: 3`, or XGBoost's `[3]`."""
POLL_S: Final = 0.1
LINE_BYTES_MAX: Final = 256 * 1024
LAST_LINES: Final = 8
LAST_CHARS_MAX: Final = 400
DRAIN_S: Final = 2.0
DRIVER_SPARE_S: Final = 30.0


def main(path: Path) -> None:
    """Run the unit in this folder to its end, unless it was ever started before."""
    folder = UnitFolder(path)
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if folder.read("exit.json") is not None:
        return
    try:
        content = orjson.dumps({"at": time.time(), "pid": os.getpid()})
        write_once(path / "started", content)
    except FileExistsError:
        folder.write("exit.json", {"lost": True, "ended": time.time()})
        return
    program = folder.read("program.json") or {}
    end = Shim(folder, program).run()
    write_end(folder, end)


class Shim:
    """One run of one unit."""

    def __init__(self, folder: UnitFolder, program: dict[str, Any]) -> None:
        self._folder = folder
        self._program = program
        self._patterns = [
            (metric["Name"], re.compile(metric["Regex"])) for metric in program.get("metrics", ())
        ]
        self._objective = (program.get("objective") or {}).get("metric")
        self._limit: MemoryLimit | None = None
        self._stop_at: float | None = None
        self._why = ""
        self._container = bool(program.get("container"))
        self._spare_s = DRIVER_SPARE_S if self._container else 0.0
        self._pending = b""
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._lost = False
        log = Path(program["log_path"])
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._metrics = os.open(
            folder.path / "metrics.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        )

    def run(self) -> dict[str, Any]:
        """Start the process, stream what it says, and return the content of `exit.json`."""
        reader, writer = os.pipe()
        go_reader, go_writer = os.pipe()
        limited = self._program.get("memory_bytes") and not self._program.get("memory_unlimited")
        if limited and not self._container:
            self._limit = MemoryLimit(self._folder.path.name, int(self._program["memory_bytes"]))
        if self._program.get("sandbox"):
            sandbox.unshare_processes()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.close(go_writer)
            self._become_unit(writer, go_reader)
        os.close(writer)
        os.close(go_reader)
        if self._limit is not None:
            self._limit.add(child)
        os.write(go_writer, b"g")
        os.close(go_writer)
        network = bool(self._program.get("network", True))
        self._usage = Usage(self._folder, int(self._program.get("memory_bytes") or 0), network)
        began = time.monotonic()
        status, used = self._stream(reader, child)
        if not self._container:
            self._usage.finish(used, time.monotonic() - began)
        code = os.waitstatus_to_exitcode(status)
        end: dict[str, Any] = {"exit_code": 128 - code if code < 0 else code, "ended": time.time()}
        if self._limit is not None:
            if self._limit.kills():
                end["out_of_memory"] = True
            self._limit.remove()
        if self._container:
            end |= self._container_end()
        if self._lost:
            end["last"] = "\n".join(line[:LAST_CHARS_MAX] for line in self._last)
        if self._why:
            end["why"] = self._why
        elif self._stop_at is not None:
            end["stopped"] = True
            end["cut"] = time.monotonic() >= self._stop_at - self._spare_s
        return end

    def _container_end(self) -> dict[str, Any]:
        """What the driver wrote of the end; when it did not come to that, end its container."""
        told = self._folder.read("container-end.json")
        if told is not None:
            return told
        words = [sys.executable, "-m", "loopwright.compute.driver", "--end", str(self._folder.path)]
        while subprocess.run(words, check=False, stdin=subprocess.DEVNULL).returncode:
            time.sleep(1.0)
        # Stopped before it had made a container, it had nothing to tell.
        return {} if self._stop_at is not None else {"lost": True}

    def _become_unit(self, writer: int, go_reader: int) -> NoReturn:
        """In the child: wait to be counted, then be the unit's first process."""
        sandbox.die_with_parent(sandbox.SHIM_DIED if self._container else signal.SIGKILL)
        os.read(go_reader, 1)
        os.close(go_reader)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.close(writer)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        if self._limit is not None:
            self._limit.apply_in_child()
        run_job(self._folder, self._program)

    def _stream(self, reader: int, child: int) -> "tuple[int, resource.struct_rusage]":
        """Copy the unit's output to its log until it is over; the wait status, and what it used."""
        status: int | None = None
        ended_at = 0.0
        while True:
            ready, _, _ = select.select([reader], [], [], POLL_S)
            if ready:
                chunk = os.read(reader, 65536)
                if chunk:
                    self._take(chunk)
                else:
                    break
            if status is None:
                pid, found, used = os.wait4(child, os.WNOHANG)
                if pid:
                    status, ended_at = found, time.monotonic()
                else:
                    self._obey(child)
                    self._usage.look(self._first_process(child))
            elif not ready and time.monotonic() - ended_at > DRAIN_S:
                break  # A process that left the unit's group holds the pipe; the unit is over.
        self._take(b"\n" if self._pending else b"")
        while status is None:
            pid, found, used = os.wait4(child, os.WNOHANG)
            if pid:
                status = found
            else:
                self._obey(child)
                time.sleep(POLL_S / 10)
        return status, used

    def _first_process(self, child: int) -> int:
        """The process whose tree is the unit: of a container its first one."""
        if not self._container:
            return child
        return int((self._folder.read("container.json") or {}).get("pid") or child)

    def _obey(self, child: int) -> None:
        """SIGTERM when a stop was asked for, SIGKILL when its grace is over."""
        if self._stop_at is None:
            request = self._folder.read("stop.json")
            if request is not None:
                # The driver keeps to the grace itself; the shim only ends one that does not.
                self._stop_at = time.monotonic() + float(request["grace_s"]) + self._spare_s
                self._why = str(request.get("why", ""))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)
        elif time.monotonic() > self._stop_at:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def _take(self, chunk: bytes) -> None:
        text = self._pending + chunk
        lines = re.split(rb"\r\n|\n|\r(?!\n)", text)
        self._pending = lines.pop()
        if len(self._pending) > LINE_BYTES_MAX:
            lines.append(self._pending)
            self._pending = b""
        if not lines:
            return
        now_ms = int(time.time() * 1000)
        shown = [line.decode("utf-8", "replace") for line in lines if line]
        if shown:
            stamped = "".join(f"{now_ms}\t{line[:LINE_BYTES_MAX]}\n" for line in shown)
            self._append(self._log, stamped.encode())
            self._last.extend(shown)
        for line in shown:
            self._match(line, now_ms)

    def _match(self, line: str, now_ms: int) -> None:
        for name, pattern in self._patterns:
            match = pattern.search(line)
            if match is None:
                continue
            try:
                value = float(match.group(1) if match.groups() else match.group(0))
            except (ValueError, TypeError):
                continue
            point: list[Any] = [name, value, now_ms / 1000]
            if name == self._objective and (step := STEP.search(line)):
                point.append(int(step[1] or step[2]))
            self._append(self._metrics, orjson.dumps(point) + b"\n")

    def _append(self, file: int, content: bytes) -> None:
        """Write lines; on a full disk they are lost, which must not end the unit."""
        try:
            written = os.write(file, content)
        except OSError:
            written = 0
        self._lost = self._lost or written < len(content)


if __name__ == "__main__":
    # Its starter has made it a session of its own already.
    main(Path(sys.argv[1]))
