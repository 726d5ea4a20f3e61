"""Changes of object rows within a transaction, with the conditions that guard them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from loopwright.objects.buckets import lock_bucket
from loopwright.objects.names import key_bytes, no_such_key, precondition_failed
from loopwright.objects.tables import OBJECTS, Attributes, Part, Stored


@dataclass(frozen=True, slots=True)
class WriteConditions:
    """What must hold of the old object for a write or a deletion.

    Attributes:
        match: The ETag it must have, `*` for any; None asks nothing.
        absent: There must be no old object.
    """

    match: str | None = None
    absent: bool = False

    def check(self, key: str, etag: str | None) -> None:
        """Compare with the old object's ETag, None for no object.

        Raises:
            ApiError: `PreconditionFailed`, `NoSuchKey`.
        """
        if self.absent and etag is not None:
            raise precondition_failed("If-None-Match")
        if self.match is None:
            return
        if etag is None:
            raise no_such_key(key)
        if self.match not in ("*", etag):
            raise precondition_failed("If-Match")


NO_CONDITIONS: Final = WriteConditions()


@dataclass(frozen=True, slots=True)
class Content:
    """A content in its place, for a row to name. Members as in `Stored`."""

    file: str
    size: int
    etag: str
    checksums: Mapping[str, str] = field(default_factory=dict)
    checksum_type: str = ""
    parts: tuple[Part, ...] = ()


def put_row(
    connection: sa.Connection,
    place: tuple[str, str],
    content: Content,
    attributes: Attributes,
    conditions: WriteConditions,
) -> tuple[Stored, str | None]:
    """Make the object at `place` (bucket, key) this content; returns it and the old content's id.

    Raises:
        ApiError: `NoSuchBucket`, `PreconditionFailed`, `NoSuchKey` (by `conditions.match`).
    """
    bucket, key = place
    lock_bucket(connection, bucket)
    here = sa.and_(OBJECTS.c.bucket == bucket, OBJECTS.c.key == key_bytes(key))
    old = connection.execute(sa.select(OBJECTS.c.file, OBJECTS.c.etag).where(here)).one_or_none()
    conditions.check(key, None if old is None else old.etag)
    modified = time.time()
    values = {
        "file": content.file,
        "size": content.size,
        "etag": content.etag,
        "modified": modified,
        "checksums": dict(content.checksums),
        "headers": attributes.headers,
        "user_metadata": attributes.metadata,
        "tags": attributes.tags,
        "checksum_type": content.checksum_type,
        "parts": [[part.number, part.size, part.checksum] for part in content.parts],
    }
    if old is None:
        connection.execute(OBJECTS.insert().values(bucket=bucket, key=key_bytes(key), **values))
    else:
        connection.execute(OBJECTS.update().where(here).values(**values))
    result = Stored(
        bucket,
        key,
        content.file,
        content.size,
        content.etag,
        modified,
        attributes,
        dict(content.checksums),
        content.checksum_type,
        content.parts,
    )
    return result, None if old is None else old.file


def delete_row(
    connection: sa.Connection, bucket: str, key: str, conditions: WriteConditions
) -> str | None:
    """Delete the object if it exists; returns its content's id.

    Raises:
        ApiError: `NoSuchBucket`, `PreconditionFailed`, `NoSuchKey` (by `conditions.match`).
    """
    lock_bucket(connection, bucket)
    here = sa.and_(OBJECTS.c.bucket == bucket, OBJECTS.c.key == key_bytes(key))
    old = connection.execute(sa.select(OBJECTS.c.file, OBJECTS.c.etag).where(here)).one_or_none()
    conditions.check(key, None if old is None else old.etag)
    if old is None:
        return None
    connection.execute(OBJECTS.delete().where(here))
    return str(old.file)
