"""Content files: immutable, named by id, visible only when whole and on the disk.

A new content is written to a temporary name, flushed to the disk, and moved to its place; a row
names it only after that. The temporary names of a process stand in a folder of its own, which it
keeps locked as long as it lives, so that a sweep can tell the leavings of the dead from the work
of the living.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

PIECE_BYTES: Final = 512 * 1024
ORPHAN_AGE_S: Final = 3600
SWEEP_BATCH: Final = 500
COPY_INSTEAD: Final = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES)


class Writing:
    """One new content on its way to its place. Thread-safe; call `keep` or `discard` at the end.

    Attributes:
        id: The content's name.
        size: Bytes written so far.
    """

    def __init__(self, files: "ContentFiles", file_id: str, path: Path) -> None:
        self.id = file_id
        self.size = 0
        self._files = files
        self._path = path
        self._file: BinaryIO | None = path.open("xb")
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._lock = threading.Lock()
        self._ended = False

    @property
    def md5(self) -> str:
        """Of what was written so far, in hex."""
        return self._md5.hexdigest()

    def write(self, piece: bytes) -> None:
        """Append a piece.

        Raises:
            OSError: the disk is full or broken.
            ValueError: the writing was discarded.
        """
        with self._lock:
            if self._file is None:
                raise ValueError("this content was placed or discarded; it takes no more bytes")
            self._file.write(piece)
            self._md5.update(piece)
            self.size += len(piece)

    def place(self) -> None:
        """Flush the content to the disk and move it to its place; nothing names it yet.

        Raises:
            OSError: the disk is full or broken.
            ValueError: the writing was discarded.
        """
        with self._lock:
            if self._file is None:
                raise ValueError("this content was placed or discarded already")
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o444)
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            target = self._files.path(self.id)
            self._path.rename(target)
            self._path = target
            fsync_folder(target.parent)

    def keep(self) -> None:
        """A row names the content now: `discard` does nothing any more."""
        with self._lock:
            self._ended = True

    def discard(self) -> None:
        """Remove the content unless it is kept."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            if self._file is not None:
                self._file.close()
                self._file = None
            self._path.unlink(missing_ok=True)


class Reading(Iterator[bytes]):
    """A part of a content in chunks; the file is closed at the end, by `close`, or when dropped."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._left = length
        file.seek(start)

    def __next__(self) -> bytes:
        piece = self._file.read(min(PIECE_BYTES, self._left)) if self._left else b""
        if not piece:
            self.close()
            if self._left:
                raise OSError(f"the content ended {self._left} bytes early; was the file damaged?")
            raise StopIteration
        self._left -= len(piece)
        if not self._left:
            self._file.close()
        return piece

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


class ContentFiles:
    """The folder of contents, `folder/<aa>/<id>`; `aa` are the first two digits of the id.

    Args:
        folder: Made when missing. Several processes may share it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for number in range(256):
            (folder / f"{number:02x}").mkdir(exist_ok=True)
        fsync_folder(folder)
        self._own, self._lock_file = _claim(self._incoming)

    def path(self, file_id: str) -> Path:
        """Where a content stands."""
        return self.folder / file_id[:2] / file_id

    def begin(self) -> Writing:
        """A new content, empty so far."""
        file_id = uuid4().hex
        return Writing(self, file_id, self._own / file_id)

    def open(self, file_id: str) -> BinaryIO:
        """A content for reading; it stays readable after a deletion.

        Raises:
            FileNotFoundError: it was deleted or replaced.
        """
        return self.path(file_id).open("rb")

    def duplicate(self, file_id: str) -> str:
        """The same content under a new id, sharing its storage where the disk allows it.

        Raises:
            FileNotFoundError: it was deleted or replaced.
        """
        new_id = uuid4().hex
        link_or_copy(self.path(file_id), self.path(new_id))
        fsync_folder(self.path(new_id).parent)
        return new_id

    def remove(self, *file_ids: str) -> None:
        """Remove contents that no row names any more."""
        for file_id in file_ids:
            self.path(file_id).unlink(missing_ok=True)

    def sweep(self, named: Callable[[Sequence[str]], set[str]]) -> int:
        """Remove what dead processes left, and contents without a row; returns how many.

        Args:
            named: Of a list of ids, those which some row names.
        """
        removed = _sweep_incoming(self._incoming, self._own)
        for number in range(256):
            removed += self._sweep_folder(self.folder / f"{number:02x}", named)
        return removed

    def _sweep_folder(self, folder: Path, named: Callable[[Sequence[str]], set[str]]) -> int:
        # The change time, since a duplicate shares its modification time with an old content.
        before = time.time() - ORPHAN_AGE_S
        old = [entry.name for entry in os.scandir(folder) if entry.stat().st_ctime < before]
        removed = 0
        for start in range(0, len(old), SWEEP_BATCH):
            batch = old[start : start + SWEEP_BATCH]
            for name in set(batch) - named(batch):
                (folder / name).unlink(missing_ok=True)
                removed += 1
        return removed

    def clear(self) -> None:
        """Remove every content."""
        for number in range(256):
            for path in (self.folder / f"{number:02x}").iterdir():
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give back the folder of temporary names."""
        shutil.rmtree(self._own, ignore_errors=True)
        self._lock_file.close()

    def __del__(self) -> None:
        if hasattr(self, "_lock_file"):
            self._lock_file.close()


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy with the same mode where links are not possible.

    Raises:
        FileNotFoundError: the source does not exist.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in COPY_INSTEAD:
            raise
        temporary = target.with_name(f".{uuid4().hex}")
        try:
            shutil.copy(source, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def copy_atomically(source: BinaryIO, path: Path) -> None:
    """Copy an open file to `path` with mode 0644, in one step for readers; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}")
    try:
        with temporary.open("xb") as target:
            shutil.copyfileobj(source, target, PIECE_BYTES)
            os.fchmod(target.fileno(), 0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _claim(incoming: Path) -> tuple[Path, BinaryIO]:
    """A new folder for temporary names, and the open lock that says its owner lives."""
    while True:
        own = incoming / uuid4().hex
        own.mkdir()
        try:
            lock = (own / "lock").open("wb")
        except FileNotFoundError:
            continue  # A sweep took the folder before it was locked.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (own / "lock").exists():
            return own, lock
        lock.close()


def _sweep_incoming(incoming: Path, own: Path) -> int:
    removed = 0
    for folder in incoming.iterdir():
        if folder != own:
            try:
                removed += _sweep_dead(folder)
            except FileNotFoundError:
                continue  # Its owner or another sweep was faster.
    return removed


def _sweep_dead(folder: Path) -> int:
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        removed = len(list(folder.iterdir())) - 1
        shutil.rmtree(folder)
        return removed
