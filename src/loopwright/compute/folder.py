"""The folder of one unit: what the backend, its shim and the readers of its traces agree on."""

import fcntl
import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson


@dataclass(frozen=True)
class UnitFolder:
    """Files of a unit.

    - `program.json`: what to run. `base/`: becomes `/opt/ml`; `tmp/`: becomes `/tmp`.
    - `lock`: held by the shim while it lives. `started`: written once, before the start, and whole.
    - `stop.json`: by rename, asks the shim to stop. `exit.json`: by rename, the end.
    - `metrics.jsonl`: one line a metric seen on the log.
    """

    path: Path

    @property
    def base(self) -> Path:
        return self.path / "base"

    @property
    def socket(self) -> Path:
        """Where a serving unit listens, seen from outside."""
        return self.base / ".loopwright" / "serve.sock"

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the folder, or None when there is none, or an empty one.

        Only a kill of an earlier version could leave an empty one: a `started` without its content.
        """
        try:
            content = (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        return dict(orjson.loads(content)) if content else None

    def write(self, name: str, document: Any) -> None:
        """Write a JSON file durably and all at once."""
        write_durably(self.path / name, orjson.dumps(document))

    def is_alive(self) -> bool:
        """Whether a shim holds the lock."""
        return is_locked(self.path / "lock")


def is_locked(path: Path) -> bool:
    """Whether a process that lives holds the lock on a file."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def write_durably(path: Path, content: bytes) -> None:
    """Temp file, fsync, rename: readers see the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)


def write_once(path: Path, content: bytes) -> None:
    """Make a file with its content, both at once and durably, unless there is one.

    Raises:
        FileExistsError: there is one, whatever it holds; it is left alone.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink()


def unit_folder(home: Path, unit_id: str) -> UnitFolder:
    """The folder of a unit id: hashed, because ids hold slashes and socket paths must be short."""
    name = hashlib.blake2b(unit_id.encode(), digest_size=8).hexdigest()
    return UnitFolder(home / "units" / name)


def log_path(home: Path, group: str, stream: str) -> Path:
    """The file of a log stream: lines of `MILLISECONDS TAB TEXT`, only ever appended."""
    return home / "logs" / quote(group, safe="") / (quote(stream, safe="") + ".log")
