"""Buckets: their rows, their tags and their cross-origin rules."""

import time
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from loopwright.database import Database
from loopwright.objects.files import ContentFiles
from loopwright.objects.names import check_bucket, no_such_bucket
from loopwright.objects.tables import BUCKETS, OBJECTS, PARTS, UPLOADS
from loopwright.wire.errors import ApiError

FIRST_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket; `created` in seconds since the epoch, `cors` as S3's `CORSRules`."""

    name: str
    created: float
    region: str
    tags: dict[str, str]
    cors: list[dict[str, Any]]


def require_bucket(connection: sa.Connection, bucket: str) -> None:
    """Refuse a bucket that does not exist.

    Raises:
        ApiError: `NoSuchBucket`.
    """
    found = connection.execute(sa.select(BUCKETS.c.name).where(BUCKETS.c.name == bucket))
    if found.one_or_none() is None:
        raise no_such_bucket(bucket)


def lock_bucket(connection: sa.Connection, bucket: str) -> None:
    """Like `require_bucket`; other processes change nothing in the bucket until the commit.

    PostgreSQL would otherwise let two writers of one key both see no old object.

    Raises:
        ApiError: `NoSuchBucket`.
    """
    found = connection.execute(
        sa.select(BUCKETS.c.name).where(BUCKETS.c.name == bucket).with_for_update()
    )
    if found.one_or_none() is None:
        raise no_such_bucket(bucket)


class Buckets:
    """The buckets of a store. Thread-safe."""

    def __init__(self, database: Database, files: ContentFiles, region: str) -> None:
        self._database = database
        self._files = files
        self._region = region

    def create(self, bucket: str, region: str | None = None) -> None:
        """Make a bucket.

        Raises:
            ApiError: `InvalidBucketName`; `BucketAlreadyOwnedByYou`, it exists, unless it exists in
                us-east-1, where S3 takes a repeated creation for a success.
        """
        check_bucket(bucket)
        home = region or self._region

        def work(connection: sa.Connection) -> bool:
            row = connection.execute(BUCKETS.select().where(BUCKETS.c.name == bucket)).one_or_none()
            if row is not None:
                return bool(row.region == home == FIRST_REGION)
            values = {"name": bucket, "created": time.time(), "region": home}
            connection.execute(BUCKETS.insert().values(**values, tags={}, cors=[]))
            return True

        try:
            fresh = self._database.write(work)
        except sa.exc.IntegrityError:
            fresh = False  # Another process made it between our look and our row.
        if not fresh:
            raise ApiError(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own "
                "it.",
                409,
                BucketName=bucket,
            )

    def get(self, bucket: str) -> Bucket:
        """A bucket.

        Raises:
            ApiError: `NoSuchBucket`.
        """
        with self._database.read() as connection:
            row = connection.execute(BUCKETS.select().where(BUCKETS.c.name == bucket)).one_or_none()
        if row is None:
            raise no_such_bucket(bucket)
        return Bucket(row.name, row.created, row.region, row.tags, row.cors)

    def exists(self, bucket: str) -> bool:
        with self._database.read() as connection:
            found = sa.select(BUCKETS.c.name).where(BUCKETS.c.name == bucket)
            return connection.execute(found).one_or_none() is not None

    def all(self) -> list[Bucket]:
        """Every bucket by name, in the order of bytes (names are ASCII)."""
        with self._database.read() as connection:
            rows = connection.execute(BUCKETS.select()).all()
        buckets = [Bucket(row.name, row.created, row.region, row.tags, row.cors) for row in rows]
        return sorted(buckets, key=lambda bucket: bucket.name)

    def change(self, bucket: str, **columns: Any) -> None:
        """Replace `tags` or `cors`.

        Raises:
            ApiError: `NoSuchBucket`.
        """

        def work(connection: sa.Connection) -> None:
            lock_bucket(connection, bucket)
            connection.execute(BUCKETS.update().where(BUCKETS.c.name == bucket).values(**columns))

        self._database.write(work)

    def delete(self, bucket: str) -> None:
        """Delete a bucket without objects; its unfinished uploads go with it.

        Raises:
            ApiError: `NoSuchBucket`, `BucketNotEmpty`.
        """

        def work(connection: sa.Connection) -> list[str]:
            lock_bucket(connection, bucket)
            some = sa.select(OBJECTS.c.size).where(OBJECTS.c.bucket == bucket).limit(1)
            if connection.execute(some).first() is not None:
                raise ApiError(
                    "BucketNotEmpty",
                    "The bucket you tried to delete is not empty",
                    409,
                    BucketName=bucket,
                )
            uploads = sa.select(UPLOADS.c.id).where(UPLOADS.c.bucket == bucket)
            of_bucket = PARTS.c.upload.in_(uploads)
            files = connection.execute(sa.select(PARTS.c.file).where(of_bucket)).scalars().all()
            connection.execute(PARTS.delete().where(of_bucket))
            connection.execute(UPLOADS.delete().where(UPLOADS.c.bucket == bucket))
            connection.execute(BUCKETS.delete().where(BUCKETS.c.name == bucket))
            return list(files)

        self._files.remove(*self._database.write(work))
