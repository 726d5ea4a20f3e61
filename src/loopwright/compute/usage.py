"""What a unit uses while it runs: CPU, memory, disk, network, GPU, read from the system.

The shim samples its unit's process tree and appends to `usage.jsonl`; the control plane takes the
samples into CloudWatch. Names and units are SageMaker's: percentages, where 100 is one whole CPU,
all of the instance's memory, or the disk.
"""

import contextlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson

from loopwright.compute.folder import UnitFolder

FIRST_S: Final = 1.0
LONGEST_S: Final = 30.0
GROWTH: Final = 1.3
"""Samples come at 1 s, then ever more seldom up to every 30 s: short jobs are seen, long ones are
cheap."""
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Usage:
    """Samples of one unit's process tree.

    Args:
        folder: Of the unit.
        memory_bytes: Of its instance; 0 when it has no limit.
        network: Whether the unit shares this machine's network, whose traffic is then counted.
    """

    def __init__(self, folder: UnitFolder, memory_bytes: int, network: bool) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes or os.sysconf("SC_PHYS_PAGES") * PAGE
        self._network = network
        self._cpu_s: float | None = None
        self._bytes: tuple[int, int] | None = None
        self._at = time.monotonic()
        self._wait_s = FIRST_S
        self._sampled = False
        self._gpu = shutil.which("nvidia-smi")
        self._file = os.open(
            folder.path / "usage.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        )

    def look(self, pid: int) -> None:
        """Take a sample of the processes from `pid` down, if it is time for one."""
        now = time.monotonic()
        if now - self._at < self._wait_s:
            return
        cpu_s, resident = tree_of(pid)
        sample = {
            "MemoryUtilization": 100 * resident / self._memory_bytes,
            "DiskUtilization": self._disk(),
        }
        if self._cpu_s is not None:
            sample["CPUUtilization"] = 100 * max(0.0, cpu_s - self._cpu_s) / (now - self._at)
        elif cpu_s > 0:
            sample["CPUUtilization"] = 100 * cpu_s / (now - self._at)
        sample |= self._traffic(now - self._at)
        sample |= self._graphics()
        self._cpu_s, self._at = cpu_s, now
        self._wait_s = min(LONGEST_S, self._wait_s * GROWTH)
        self._write(sample)

    def finish(self, used: "resource.struct_rusage", seconds: float) -> None:
        """Of a unit that ended before its first sample: what it used in the mean, and at most."""
        if self._sampled or seconds <= 0:
            return
        sample = {
            "CPUUtilization": 100 * (used.ru_utime + used.ru_stime) / seconds,
            "MemoryUtilization": 100 * used.ru_maxrss * 1024 / self._memory_bytes,
            "DiskUtilization": self._disk(),
        }
        self._write(sample)

    def _write(self, sample: dict[str, float]) -> None:
        self._sampled = True
        at = time.time()
        lines = b"".join(orjson.dumps([name, value, at]) + b"\n" for name, value in sample.items())
        with contextlib.suppress(OSError):  # A full disk; a missing sample must not end the unit.
            os.write(self._file, lines)

    def _disk(self) -> float:
        found = os.statvfs(self._folder.path)
        return 100 * (1 - found.f_bavail / found.f_blocks) if found.f_blocks else 0.0

    def _traffic(self, seconds: float) -> dict[str, float]:
        """Bytes a second in and out of this machine; only where the unit may use the network."""
        if not self._network:
            return {}
        now = traffic()
        before, self._bytes = self._bytes, now
        if before is None or now is None:
            return {}
        return {
            "NetworkIn": max(0, now[0] - before[0]) / seconds,
            "NetworkOut": max(0, now[1] - before[1]) / seconds,
        }

    def _graphics(self) -> dict[str, float]:
        """Utilisation of the GPUs together, as `nvidia-smi` says; {} without any."""
        if self._gpu is None:
            return {}
        query = "--query-gpu=utilization.gpu,memory.used,memory.total"
        try:
            told = subprocess.run(
                [self._gpu, query, "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            ).stdout
            rows = [[float(cell) for cell in line.split(",")] for line in told.splitlines()]
        except (OSError, subprocess.SubprocessError, ValueError):
            return {}
        if not rows:
            return {}
        return {
            "GPUUtilization": sum(row[0] for row in rows),
            "GPUMemoryUtilization": sum(100 * row[1] / row[2] for row in rows),
        }


def tree_of(pid: int) -> tuple[float, int]:
    """CPU seconds (ended children included) and resident bytes of a process and all below it."""
    cpu_s, resident = 0.0, 0
    for one in descendants(pid):
        try:
            # The name in parentheses may hold spaces; what follows it does not.
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        cpu_s += sum(int(field) for field in fields[11:15]) / TICKS
        resident += int(fields[21]) * PAGE
    return cpu_s, resident


def descendants(pid: int) -> Iterator[int]:
    """A process and all below it."""
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        try:
            tasks = os.listdir(f"/proc/{one}/task")
        except OSError:
            continue
        for task in tasks:
            try:
                children = Path(f"/proc/{one}/task/{task}/children").read_text().split()
            except OSError:
                continue
            waiting += [int(child) for child in children]


def traffic() -> tuple[int, int] | None:
    """Bytes received and sent by this machine, the loopback included; None where not told."""
    try:
        lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    except OSError:
        return None
    fields = [line.partition(":")[2].split() for line in lines]
    return sum(int(row[0]) for row in fields), sum(int(row[8]) for row in fields)
