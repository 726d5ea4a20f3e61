"""What a gateway remembers of single requests: frames in files, which the control plane takes.

A frame is written before the answer that it tells of is sent, by one write for all answers of a
turn of the event loop: once a client has its answer, the kernel has the frame, and a killed
gateway loses none. (A machine that loses power may: nothing is synced.)

A file `journal/PID-START-NUMBER.frames` is only ever appended to (`contract/frames.py`). A frame
that is cut off was never told of to any client.
"""

import asyncio
import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loopwright.contract.frames import FOLDER, Part

FILE_BYTES_MAX: Final = 67_108_864
FREE_BYTES_MIN: Final = 268_435_456
FREE_SHARE_MIN: Final = 0.02
"""No new file is begun when less than both of these is free: what is captured while the control
plane is down shall not take the disk from the state of everything else."""
LOG_S: Final = 10.0
"""Losses are told of once in this time."""
PARTS_MAX: Final = 1024
"""The most that one `writev` takes (IOV_MAX of Linux)."""


class Journal:
    """The frames of one gateway. Belongs to one event loop."""

    def __init__(self, home: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._folder = home / FOLDER
        # No name comes twice, also where processes get the same ids after each boot: what was
        # taken of a file is known by its name.
        self._process = f"{os.getpid()}-{time.time_ns():x}"
        self._loop = loop
        self._fd = -1
        self._number = 0
        self._size = 0
        self._posted = 0
        self._lost = 0
        self._log_due = 0.0
        self._frames: list[Part] = []
        self._then: list[Callable[[], None]] = []

    def post(self, parts: list[Part], then: Callable[[], None] | None = None) -> None:
        """Write frames at the end of this turn, and call `then` after it was written.

        `then` is called too when it could not be (the disk is full): a client gets its answer
        all the same, and the gateway's log tells of the loss.
        """
        if not self._frames and not self._then:
            self._loop.call_soon(self.flush)
        self._frames += parts
        self._posted += sum(map(len, parts))
        if then is not None:
            self._then.append(then)

    @property
    def next(self) -> tuple[int, int]:
        """The number of the file, and the byte there, at which the next posted frame will stand.

        A frame that could not be written leaves a number that no later frame meets.
        """
        if self._fd < 0 or self._size > FILE_BYTES_MAX:
            return self._number + 1, self._posted
        return self._number, self._size + self._posted

    def flush(self) -> None:
        """Write what was posted."""
        frames, self._frames = self._frames, []
        then, self._then = self._then, []
        self._posted = 0
        if frames:
            try:
                self._write(frames)
            except OSError as error:
                self._close()
                self._number += 1
                self._tell(error)
        for call in then:
            call()

    def _tell(self, error: OSError) -> None:
        self._lost += 1
        if time.monotonic() < self._log_due:
            return
        sys.stderr.write(
            f"{time.strftime('%FT%T')} captured records or observations of {self._lost} moments "
            f"are lost: {error}\n"
        )
        sys.stderr.flush()
        self._lost, self._log_due = 0, time.monotonic() + LOG_S

    def _write(self, parts: list[Part]) -> None:
        if self._fd < 0 or self._size > FILE_BYTES_MAX:
            self._open()
        for start in range(0, len(parts), PARTS_MAX):
            some = parts[start : start + PARTS_MAX]
            size = sum(len(part) for part in some)
            written = os.writev(self._fd, some)
            self._size += written
            if written < size:
                self._rest(b"".join(some)[written:])

    def _rest(self, data: bytes) -> None:
        """What one write left, which is rare."""
        while data:
            written = os.write(self._fd, data)
            self._size += written
            data = data[written:]

    def _open(self) -> None:
        """Begin a new file; its number tells the control plane that the one before is complete."""
        self._close()
        self._folder.mkdir(parents=True, exist_ok=True)
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if free < min(FREE_BYTES_MIN, FREE_SHARE_MIN * disk.f_blocks * disk.f_frsize):
            reason = f"only {free // 2**20} MiB are free, which are left to other state"
            raise OSError(errno.ENOSPC, reason, str(self._folder))
        while True:
            self._number += 1
            path = self._folder / f"{self._process}-{self._number:09d}.frames"
            try:
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            except FileExistsError:
                continue
            self._size = 0
            return

    def _close(self) -> None:
        """After a failed write the file may end in a cut frame: nothing may follow that."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
