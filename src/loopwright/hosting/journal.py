"""Takes what gateways wrote of single requests: captured records to objects, the rest to tables.

How far a file is taken is kept for each purpose. Objects are written before that, under names
that follow from where their frames stand, so a crash in between writes the same objects again;
everything in tables changes in the same transaction.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.compute.staging import split_uri
from loopwright.contract.frames import CAPTURED, COMPARED, FOLDER, read_frames
from loopwright.database import Database
from loopwright.hosting.capture import Frame, captured_objects
from loopwright.hosting.comparison import add, empty_summary
from loopwright.hosting.tables import COMPARISONS, TAKEN
from loopwright.objects.base import Objects
from loopwright.wire.errors import ApiError

LOG = logging.getLogger(__name__)
CAPTURE_S: Final = 5.0
"""A captured record is an object after this time at the latest, or when there are enough."""
CAPTURE_BYTES: Final = 4_194_304
CHUNK_BYTES_MAX: Final = 16_777_216
FRAMES_MAX: Final = 10_000
"""What one transaction takes: others wait for it some tenths of a second at most."""
HELD_S: Final = 600.0
"""How long records wait for a bucket that does not exist."""
Take = Callable[[sa.Connection, list[Frame]], None]


class JournalTaker:
    """One per control plane; called by one thread.

    Args:
        takes: Called with the frames of a chunk, within the transaction that takes it.
    """

    def __init__(
        self, home: Path, database: Database, objects: Objects, takes: tuple[Take, ...] = ()
    ) -> None:
        self._folder = home / FOLDER
        self._database = database
        self._objects = objects
        self._takes = (take_comparisons, *takes)
        self._sizes: dict[str, int] = {}
        self._due: dict[str, float] = {}

    def round(self, now: float) -> None:
        """Take what is new. `now` is real time, seconds since the epoch."""
        paths = sorted(self._folder.glob("*.frames"))
        for path in paths:
            size = path.stat().st_size
            complete = _is_complete(path, paths)
            if self._sizes.get(path.name) != size:
                if self._take(path):
                    continue
                self._sizes[path.name] = size
                self._due.setdefault(path.name, now)
            if path.name in self._due and (now >= self._due[path.name] or complete):
                self._capture(path, now, complete)
            if complete and path.name not in self._due:
                self._forget(path)

    def _position(self, file: str, purpose: str) -> int:
        statement = sa.select(TAKEN.c.bytes).where(TAKEN.c.file == file, TAKEN.c.purpose == purpose)
        with self._database.read() as connection:
            return connection.execute(statement).scalar() or 0

    def _take(self, path: Path) -> bool:
        """Take observations and comparisons; whether there may be more at once."""
        start = self._position(path.name, "rest")
        content = _read(path, start)
        read = islice(read_frames(content), FRAMES_MAX)
        found = [(end, (head, one, two)) for end, head, one, two in read]
        if not found:
            return False
        frames = [item for _, item in found if item[0][0] != CAPTURED]
        end = start + found[-1][0]

        def work(connection: sa.Connection) -> None:
            for take in self._takes:
                take(connection, frames)
            _set(connection, path.name, "rest", end)

        self._database.write(work)
        return len(content) == CHUNK_BYTES_MAX or len(found) == FRAMES_MAX

    def _capture(self, path: Path, now: float, complete: bool) -> None:
        """Write captured records as objects, once they are old enough or many."""
        start = self._position(path.name, CAPTURED)
        content = _read(path, start)
        found = [(end, (head, one, two)) for end, head, one, two in read_frames(content)]
        if not found:
            self._due.pop(path.name, None)
            return
        oldest = min((f[0][3] for _, f in found if f[0][0] == CAPTURED), default=now - CAPTURE_S)
        if now - oldest < CAPTURE_S and len(content) < CAPTURE_BYTES and not complete:
            self._due[path.name] = oldest + CAPTURE_S
            return
        origin = f"{path.name}@{start}"
        frames = _with_requests(path, (item for _, item in found))
        for uri, lines, first in captured_objects(frames, origin):
            if not self._put(uri, lines) and now - first < HELD_S:
                self._due[path.name] = now + CAPTURE_S
                return
        end = start + found[-1][0]
        self._database.write(lambda connection: _set(connection, path.name, CAPTURED, end))
        self._due[path.name] = now if len(content) == CHUNK_BYTES_MAX else now + CAPTURE_S

    def _put(self, uri: str, lines: bytes) -> bool:
        bucket, key = split_uri(uri)
        try:
            self._objects.put(bucket, key, [lines], content_type="application/jsonlines")
        except ApiError as error:
            LOG.warning("captured records wait for %s: %s", uri, error.message)
            return False
        return True

    def _forget(self, path: Path) -> None:
        """A file that is complete and taken."""
        size = path.stat().st_size
        if min(self._position(path.name, purpose) for purpose in ("rest", CAPTURED)) < size:
            content = _read(path, self._position(path.name, CAPTURED))
            if next(read_frames(content), None) is not None:
                self._due[path.name] = 0.0
                return
        path.unlink()
        self._sizes.pop(path.name, None)
        statement = sa.delete(TAKEN).where(TAKEN.c.file == path.name)
        self._database.write(lambda connection: connection.execute(statement))


def _read(path: Path, start: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(start)
        return stream.read(CHUNK_BYTES_MAX)


def _with_requests(path: Path, frames: Iterable[Frame]) -> Iterator[Frame]:
    """The captured records, with the requests that stand elsewhere in their file."""
    with path.open("rb") as stream:
        for head, request, answer in frames:
            if head[0] != CAPTURED:
                continue
            place = head[12] if len(head) > 12 else None
            if place is not None:
                stream.seek(place[0])
                request = stream.read(place[1])
            yield head, request, answer


def _is_complete(path: Path, paths: list[Path]) -> bool:
    """Whether nothing will be appended: its gateway has begun another one, or is gone."""
    pid, _, number = path.stem.partition("-")
    later = any(
        other.stem.partition("-")[0] == pid and other.stem.partition("-")[2] > number
        for other in paths
    )
    return later or not Path(f"/proc/{pid}").exists()


def _set(connection: sa.Connection, file: str, purpose: str, size: int) -> None:
    where = (TAKEN.c.file == file, TAKEN.c.purpose == purpose)
    connection.execute(sa.delete(TAKEN).where(*where))
    connection.execute(sa.insert(TAKEN).values(file=file, purpose=purpose, bytes=size))


def take_comparisons(connection: sa.Connection, frames: list[Frame]) -> None:
    """Count the comparisons of a chunk into their summaries."""
    summaries: dict[tuple[str, ...], dict[str, Any]] = {}
    columns = (
        COMPARISONS.c.region, COMPARISONS.c.endpoint, COMPARISONS.c.config, COMPARISONS.c.live,
        COMPARISONS.c.shadow,
    )  # fmt: skip
    for head, live, shadow in frames:
        if head[0] != COMPARED:
            continue
        key = tuple(head[1:6])
        if key not in summaries:
            where = [column == value for column, value in zip(columns, key, strict=True)]
            held = connection.execute(sa.select(COMPARISONS.c.summary).where(*where)).scalar()
            summaries[key] = orjson.loads(held) if held else empty_summary()
        add(summaries[key], head[1:], live, shadow)
    for key, summary in summaries.items():
        where = [column == value for column, value in zip(columns, key, strict=True)]
        connection.execute(sa.delete(COMPARISONS).where(*where))
        values = {column.name: value for column, value in zip(columns, key, strict=True)}
        text = orjson.dumps(summary).decode()
        connection.execute(sa.insert(COMPARISONS).values(**values, summary=text))


def comparisons(database: Database, region: str, endpoint: str) -> Iterator[dict[str, Any]]:
    """The summaries of an endpoint's shadows, with their names."""
    statement = sa.select(COMPARISONS).where(
        COMPARISONS.c.region == region, COMPARISONS.c.endpoint == endpoint
    )
    with database.read() as connection:
        rows = connection.execute(statement.order_by(COMPARISONS.c.config)).all()
    for row in rows:
        yield {
            "EndpointConfigName": row.config,
            "ProductionVariantName": row.live,
            "ShadowVariantName": row.shadow,
            "summary": orjson.loads(row.summary),
        }
