"""A full disk: room kept back in the home, so that it can be told of, and an end to what fills it.

Once nothing can be written, neither the end of a unit nor a change of a record can. So a little is
kept in files that are given up piece by piece: by a shim that has to write its unit's end, and by
the control plane, which ends the unit that holds most of the disk when it stays full.
"""

import errno
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loopwright.compute.folder import UnitFolder

LOG = logging.getLogger(__name__)
PIECE_BYTES: Final = 2 * 2**20
PIECES: Final = 4
FULL_BYTES: Final = 2**20
"""Less than this is free on a disk that counts as full."""
PATIENCE_S: Final = 3.0
"""How long a disk may be full before a unit is ended: most end by themselves."""
SHARE: Final = 0.05
"""A unit is ended only if it holds this part of the disk: it may be others who fill it."""
RETRY_S: Final = 0.2
REASON: Final = (
    "OutOfDisk: the disk of Loopwright's home was full, and of all units this one held the most of "
    "it, {size} MiB; write less, or give the home a larger disk"
)


def release(home: Path) -> bool:
    """Give up a piece of what is kept back; False when nothing is left."""
    for number in range(PIECES):
        try:
            (home / "run" / f"reserve-{number}").unlink()
        except FileNotFoundError:
            continue
        return True
    return False


def write_end(folder: UnitFolder, end: dict[str, object]) -> None:
    """Write a unit's end, with the room that is kept back if need be; waits until there is some."""
    while True:
        try:
            folder.write("exit.json", end)
            return
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if not release(folder.path.parent.parent):
                time.sleep(RETRY_S)


class DiskGuard:
    """Watches the disk of a home. One per control plane, called by one thread."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._full_since: float | None = None
        self._asked: dict[str, float] = {}

    def look(self) -> None:
        """Keep room back; when the disk stays full, make some."""
        now = time.monotonic()
        disk = os.statvfs(self._home)
        free = (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail) * disk.f_frsize
        if free >= FULL_BYTES:
            self._full_since = None
            if free > 4 * PIECES * PIECE_BYTES:
                self._keep()
            return
        if self._full_since is None:
            LOG.error("the disk of %s is full", self._home)
            self._full_since = now
        if now - self._full_since < PATIENCE_S:
            return
        release(self._home)
        self._end_largest(disk.f_blocks * disk.f_frsize, now)
        self._full_since = now - PATIENCE_S / 2

    def _keep(self) -> None:
        """Take what is to be kept back; a disk that cannot has none."""
        for number in range(PIECES):
            path = self._home / "run" / f"reserve-{number}"
            if path.exists() or not hasattr(os, "posix_fallocate"):
                continue
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(handle, 0, PIECE_BYTES)
                finally:
                    os.close(handle)
            except OSError:
                path.unlink(missing_ok=True)
                return

    def _end_largest(self, disk_bytes: int, now: float) -> None:
        sizes = [(size_of(folder), folder) for folder in _running(self._home)]
        size, folder = max(sizes, key=lambda item: item[0], default=(0, None))
        if folder is None or size < SHARE * disk_bytes:
            return
        LOG.error("%s holds %d bytes of the full disk and is ended", folder.path, size)
        key = folder.path.name
        asked = self._asked.setdefault(key, now)
        try:
            if folder.read("stop.json") is None:
                why = REASON.format(size=size // 2**20)
                folder.write("stop.json", {"grace_s": 0.0, "why": why})
                return
        except OSError:
            LOG.exception("%s could not be asked to end", folder.path)
        if now - asked > PATIENCE_S:
            # With its shim the kernel ends the unit.
            shim = int((folder.read("started") or {})["pid"])
            os.kill(shim, signal.SIGKILL)


def _running(home: Path) -> Iterator[UnitFolder]:
    for path in (home / "units").iterdir():
        folder = UnitFolder(path)
        if folder.read("started") is not None and folder.is_alive():
            yield folder


def size_of(folder: UnitFolder) -> int:
    """Bytes of the disk that a unit's own files take; links to the store's content are not its."""
    total = 0
    for top in (folder.base, folder.path / "tmp"):
        for root, _, names in os.walk(top):
            for name in names:
                try:
                    found = os.lstat(os.path.join(root, name))
                except FileNotFoundError:
                    continue
                if found.st_nlink == 1:
                    total += found.st_blocks * 512
    return total
