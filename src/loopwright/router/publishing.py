"""Routes on their way from the control plane to the gateway's workers, and what came of it.

The control plane writes a file a route (`Publisher`). A worker holds a lock as long as it lives,
from before it first looks at the routes, and writes down which versions it goes by (`Reader`). So
the control plane knows, after any kill, when a route is that of all workers: what a worker read
before its lock could be seen, it read before the route was written.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson

from loopwright.compute.folder import is_locked, write_durably
from loopwright.router.routes import route_file

LOG = logging.getLogger(__name__)
PATIENCE_S: Final = 10.0
"""A worker that lives but did not look at its routes for so long is stuck: nobody waits for it."""
PREFIX: Final = "route/"


class Reader:
    """A worker's word, for as long as its process lives."""

    def __init__(self, home: Path) -> None:
        self._path = home / "run" / f"reader-{uuid4().hex}.json"
        self._told: dict[str, str] | None = None
        lock = self._path.with_suffix(".lock")
        temporary = lock.with_suffix(".new")
        # Kept open: the lock ends with the process. Visible once it is held.
        self._lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        temporary.rename(lock)

    def tell(self, versions: Mapping[str, str]) -> None:
        """Of each route's file, the version by which requests go from now on."""
        if versions != self._told:
            temporary = self._path.with_suffix(".new")
            temporary.write_bytes(orjson.dumps(versions))
            temporary.rename(self._path)
            self._told = dict(versions)

    def close(self) -> None:
        """No request goes by any route any more."""
        self._path.with_suffix(".lock").unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)
        os.close(self._lock)


class Publisher:
    """Writes the routes. Used by one thread."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "routes"
        self._run = home / "run"
        self._written: dict[str, str] | None = None
        # By file: the version (None: there is none any more) that not all workers are known to
        # go by, since when, and the record that it is of.
        self._awaited: dict[str, tuple[str | None, float, str]] = {}

    @property
    def waits(self) -> bool:
        """Whether a worker's word is missing."""
        return bool(self._awaited)

    def taken(self, key: str, version: str | None) -> bool:
        """Whether all workers go by this version of a published document, see `engine.Taken`."""
        if self._written is None:
            return False
        name = route_file(self._folder, key.removeprefix(PREFIX)).name
        return self._written.get(name) == version and name not in self._awaited

    def publish(self, documents: Mapping[str, tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Bring the files in line with the documents; uids of records whose last version has now
        been taken by all workers."""
        wanted = {
            route_file(self._folder, key.removeprefix(PREFIX)).name: item
            for key, item in documents.items()
        }
        if self._written is None:
            self._written = {path.name: "" for path in self._folder.glob("*.json")}
        for name, (version, document) in wanted.items():
            if self._written.get(name) != version:
                content = orjson.dumps({**document, "version": version})
                write_durably(self._folder / name, content)
                self._note(name, version, version)
                self._written[name] = version
        for name in set(self._written) - set(wanted):
            (self._folder / name).unlink(missing_ok=True)
            self._note(name, None, self._written.pop(name))
        return self._look() if self._awaited else []

    def _note(self, name: str, version: str | None, owner: str) -> None:
        self._awaited[name] = (version, time.monotonic(), owner.rpartition(".")[0])

    def _look(self) -> list[str]:
        """Take note of what the workers go by."""
        readers = list(self._readers())
        late = time.monotonic() - PATIENCE_S
        found = []
        for name, (version, since, uid) in list(self._awaited.items()):
            if any(versions.get(name) != version for versions in readers):
                if since > late:
                    continue
                LOG.warning("a worker of the gateway does not look at its routes (%s)", name)
            del self._awaited[name]
            found.append(uid)
        return found

    def _readers(self) -> Iterator[Mapping[str, str]]:
        """What each living worker goes by; what dead ones left is removed."""
        for lock in self._run.glob("reader-*.lock"):
            path = lock.with_suffix(".json")
            if is_locked(lock):
                with contextlib.suppress(FileNotFoundError):
                    yield orjson.loads(path.read_bytes())
                    continue
                yield {}
            else:
                path.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
