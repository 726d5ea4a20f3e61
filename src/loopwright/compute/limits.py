"""Memory limits of a unit: a control group (version 1 or 2) where writable, else an rlimit."""

import contextlib
import os
import resource
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


class MemoryLimit:
    """The memory control group of one unit; nothing when no hierarchy is writable.

    Args:
        name: Of the group, below `loopwright/`.
        bytes_max: Resident memory and page cache of the unit's processes together.
    """

    def __init__(self, name: str, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._version = 0
        self._folder = Path()
        for version, parent in ((1, ROOT / "memory"), (2, ROOT)):
            folder = parent / "loopwright" / name
            try:
                if version == 2 and not (ROOT / "cgroup.controllers").exists():
                    continue
                folder.mkdir(parents=True, exist_ok=True)
                limit = "memory.limit_in_bytes" if version == 1 else "memory.max"
                (folder / limit).write_text(str(bytes_max))
            except OSError:
                with contextlib.suppress(OSError):
                    folder.rmdir()
                continue
            self._version, self._folder = version, folder
            return

    def apply_in_child(self) -> None:
        """The fallback, called by the unit's first process: a limit on its own allocations."""
        if self._version == 0:
            resource.setrlimit(resource.RLIMIT_DATA, (self.bytes_max, self.bytes_max))

    def add(self, pid: int) -> None:
        """Count a process and all that it starts later."""
        if self._version:
            (self._folder / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """How often the kernel killed a process of the unit for want of memory."""
        if not self._version:
            return 0
        name = "memory.oom_control" if self._version == 1 else "memory.events"
        try:
            lines = (self._folder / name).read_text().splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self) -> None:
        """Remove the group; it is empty once the unit is over."""
        if self._version:
            with contextlib.suppress(OSError):
                self._folder.rmdir()


def machine_memory_bytes() -> int:
    """Memory of this machine, or of the control group that Loopwright itself runs in."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in (ROOT / "memory" / "memory.limit_in_bytes", ROOT / "memory.max"):
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return int(total)


def machine_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
