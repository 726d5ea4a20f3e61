"""Whether the kernel killed a process of a container for want of memory.

Engines do not always tell: podman 4.3 with runc leaves `OOMKilled` false on control groups of
version 1. There the kernel signals an event descriptor at each shortage, and once more when the
group is removed (cgroup-v1/memory.rst, "OOM Control"); on version 2 the engines' word is right.
"""

import contextlib
import os
import threading
from pathlib import Path

from loopwright.compute.limits import ROOT


class OutOfMemoryWatch:
    """Watches the memory group of a running process; nothing where there is none of version 1.

    Args:
        pid: The container's first process, as this machine numbers it.
    """

    def __init__(self, pid: int) -> None:
        self._signals = 0
        self._thread: threading.Thread | None = None
        folder = _memory_group(pid)
        if folder is None:
            return
        self._file = folder / "memory.oom_control"
        with contextlib.suppress(OSError):
            self._event = os.eventfd(0, os.EFD_CLOEXEC)
            handle = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                (folder / "cgroup.event_control").write_text(f"{self._event} {handle}")
            finally:
                os.close(handle)
            self._thread = threading.Thread(target=self._listen, daemon=True, name="memory")
            self._thread.start()

    def _listen(self) -> None:
        while self._file.exists():
            self._signals += os.eventfd_read(self._event)

    def seen(self) -> bool:
        """Whether memory was short; asked once the container is over."""
        if self._thread is None:
            return False
        # The group goes a moment after its last process, and its going is one of the signals.
        self._thread.join(2.0)
        return self._signals > (0 if self._file.exists() else 1)


def _memory_group(pid: int) -> Path | None:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        folder = ROOT / "memory" / path.lstrip("/")
        if controllers == "memory" and (folder / "cgroup.event_control").exists():
            return folder
    return None
