"""The durable object store of one machine or one shared folder: files plus rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import uuid4

import sqlalchemy as sa

from loopwright.database import Database
from loopwright.objects.base import ObjectSummary
from loopwright.objects.buckets import Buckets, lock_bucket, require_bucket
from loopwright.objects.files import (
    PIECE_BYTES,
    ContentFiles,
    Reading,
    Writing,
    copy_atomically,
    link_or_copy,
)
from loopwright.objects.listing import Page, scan
from loopwright.objects.names import check_metadata, key_bytes, no_such_key
from loopwright.objects.rows import (
    NO_CONDITIONS,
    Content,
    WriteConditions,
    delete_row,
    put_row,
)
from loopwright.objects.tables import METADATA, OBJECTS, PARTS, Attributes, Stored, stored
from loopwright.objects.uploads import Uploads
from loopwright.wire.errors import ApiError

PAGE: Final = 1000
TRIES_MAX: Final = 100


class LocalObjects:
    """Buckets and objects in a database and a folder. Implements `Objects`; thread-safe.

    Args:
        database: Holds the rows; call `create_tables` once before use.
        folder: Holds the contents. Every process that shares the database shares it too.
        account: The owner of all buckets, twelve digits.
        region: Of buckets that name none.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        account: str = "123456789012",
        region: str = "us-east-1",
    ) -> None:
        self.database = database
        self.account = account
        self.region = region
        self.files = ContentFiles(folder)
        self.buckets = Buckets(database, self.files, region)
        self.uploads = Uploads(database, self.files)

    def create_tables(self) -> None:
        """Make the tables that are missing."""
        METADATA.create_all(self.database.engine)

    def sweep(self) -> int:
        """Remove what crashes left behind; returns the number of files removed."""
        self.uploads.forget_completed()
        return self.files.sweep(self._named)

    def reset(self) -> None:
        """Remove every bucket, object and upload."""

        def work(connection: sa.Connection) -> None:
            for table in METADATA.sorted_tables:
                connection.execute(table.delete())

        self.database.write(work)
        self.files.clear()

    def close(self) -> None:
        """Give back the store's folder of temporary names; the database stays open."""
        self.files.close()

    def find(self, bucket: str, key: str) -> Stored:
        """The row of an object.

        Raises:
            ApiError: `NoSuchBucket`, `NoSuchKey`.
        """
        with self.database.read() as connection:
            row = connection.execute(
                OBJECTS.select().where(OBJECTS.c.bucket == bucket, OBJECTS.c.key == key_bytes(key))
            ).one_or_none()
            if row is None:
                require_bucket(connection, bucket)
                raise no_such_key(key)
            return stored(row)

    def open_file(self, bucket: str, key: str) -> tuple[Stored, BinaryIO]:
        """An object's row with its content opened; later writes do not change it.

        Raises:
            ApiError: `NoSuchBucket`, `NoSuchKey`.
        """
        return self.with_content(bucket, key, lambda found: self.files.open(found.file))

    def with_content(
        self, bucket: str, key: str, use: Callable[[Stored], Any]
    ) -> tuple[Stored, Any]:
        """Use the content of an object, again with its next version when it is replaced meanwhile.

        Raises:
            ApiError: `NoSuchBucket`, `NoSuchKey`.
            FileNotFoundError: the row names a content that is not there.
        """
        for _ in range(TRIES_MAX):
            found = self.find(bucket, key)
            try:
                return found, use(found)
            except FileNotFoundError:
                # Either replaced since the row was read, or lost: the row tells which.
                if self.find(bucket, key).file == found.file:
                    raise
        raise ApiError("SlowDown", f"The object {key!r} is replaced too often to be read.", 503)

    def commit(
        self,
        place: tuple[str, str],
        writing: Writing,
        attributes: Attributes,
        checksums: Mapping[str, str],
        conditions: WriteConditions = NO_CONDITIONS,
    ) -> Stored:
        """Make a written content the object at `place` (bucket, key), durably.

        Raises:
            ApiError: `NoSuchBucket`, `PreconditionFailed`, `NoSuchKey`; the content is discarded.
        """
        writing.place()
        kind = "FULL_OBJECT" if checksums else ""
        content = Content(writing.id, writing.size, writing.md5, checksums, kind)
        try:
            found = self.name(place, content, attributes, conditions)
        except ApiError:
            writing.discard()
            raise
        except BaseException:
            # The commit's outcome is unknown: a row may name the content, so the sweep decides.
            writing.keep()
            raise
        writing.keep()
        return found

    def name(
        self,
        place: tuple[str, str],
        content: Content,
        attributes: Attributes,
        conditions: WriteConditions,
    ) -> Stored:
        """Commit a row for a content that is in its place, then remove the old content.

        Raises:
            ApiError: `NoSuchBucket`, `PreconditionFailed`, `NoSuchKey`.
        """
        found, old = self.database.write(
            lambda connection: put_row(connection, place, content, attributes, conditions)
        )
        if old is not None:
            self.files.remove(old)
        return found

    def duplicate(
        self,
        source: Stored,
        place: tuple[str, str],
        attributes: Attributes,
        conditions: WriteConditions,
    ) -> Stored:
        """Make the object at `place` the content of another without reading it.

        Raises:
            ApiError: `NoSuchBucket`, `PreconditionFailed`, `NoSuchKey`.
            FileNotFoundError: the source was deleted or replaced since it was found.
        """
        file = self.files.duplicate(source.file)
        content = Content(file, source.size, source.etag, source.checksums, source.checksum_type)
        try:
            return self.name(place, content, attributes, conditions)
        except ApiError:
            self.files.remove(file)
            raise

    def delete_if(self, bucket: str, key: str, conditions: WriteConditions) -> None:
        """Delete an object under conditions.

        Raises:
            ApiError: `NoSuchBucket`, `PreconditionFailed`, `NoSuchKey`.
        """
        old = self.database.write(
            lambda connection: delete_row(connection, bucket, key, conditions)
        )
        if old is not None:
            self.files.remove(old)

    def delete_many(
        self, bucket: str, wanted: Sequence[tuple[str, WriteConditions]]
    ) -> list[ApiError | None]:
        """Delete objects by key in one transaction; a refusal of one stops no other.

        Returns:
            For each of `wanted` its refusal, or None.

        Raises:
            ApiError: `NoSuchBucket`.
        """

        def work(connection: sa.Connection) -> tuple[list[ApiError | None], list[str]]:
            lock_bucket(connection, bucket)
            refusals: list[ApiError | None] = []
            files: list[str] = []
            for key, conditions in wanted:
                try:
                    old = delete_row(connection, bucket, key, conditions)
                except ApiError as error:
                    refusals.append(error)
                    continue
                refusals.append(None)
                if old is not None:
                    files.append(old)
            return refusals, files

        refusals, files = self.database.write(work)
        self.files.remove(*files)
        return refusals

    def set_tags(self, bucket: str, key: str, tags: dict[str, str]) -> None:
        """Replace the tags of an object.

        Raises:
            ApiError: `NoSuchBucket`, `NoSuchKey`.
        """

        def work(connection: sa.Connection) -> None:
            lock_bucket(connection, bucket)
            here = sa.and_(OBJECTS.c.bucket == bucket, OBJECTS.c.key == key_bytes(key))
            if connection.execute(OBJECTS.update().where(here).values(tags=tags)).rowcount == 0:
                raise no_such_key(key)

        self.database.write(work)

    def page(self, bucket: str, prefix: bytes, delimiter: bytes, low: bytes, limit: int) -> Page:
        """One page of a listing, see `listing.scan`; rows are full rows of the object table.

        Raises:
            ApiError: `NoSuchBucket`.
        """
        with self.database.read() as connection:
            require_bucket(connection, bucket)

            def fetch(least: bytes, count: int) -> Sequence[sa.Row[Any]]:
                rows = OBJECTS.select().where(OBJECTS.c.bucket == bucket, OBJECTS.c.key >= least)
                return connection.execute(rows.order_by(OBJECTS.c.key).limit(count)).all()

            return scan(fetch, low, prefix, delimiter, limit)

    def head(self, bucket: str, key: str) -> ObjectSummary | None:
        """See `Objects.head`."""
        try:
            return self.find(bucket, key).summary()
        except ApiError as error:
            if error.code in ("NoSuchKey", "NoSuchBucket"):
                return None
            raise

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectSummary]:
        """See `Objects.list`."""
        page = self.page(bucket, prefix.encode(), b"", b"", PAGE)
        return self._summaries(bucket, prefix.encode(), page)

    def _summaries(self, bucket: str, prefix: bytes, page: Page) -> Iterator[ObjectSummary]:
        while True:
            for entry in page.entries:
                if entry.row is not None:
                    yield stored(entry.row).summary()
            if page.next is None:
                return
            page = self.page(bucket, prefix, b"", page.next, PAGE)

    def open(
        self, bucket: str, key: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """See `Objects.open`."""
        found, file = self.open_file(bucket, key)
        last = found.size if end is None else min(end, found.size)
        return Reading(file, start, max(0, last - start))

    def link(self, bucket: str, key: str, path: Path) -> None:
        """See `Objects.link`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid4().hex}")
        self.with_content(
            bucket, key, lambda found: link_or_copy(self.files.path(found.file), temporary)
        )
        try:
            temporary.replace(path)
        finally:
            # A rename between two links of one content does nothing and leaves both names.
            temporary.unlink(missing_ok=True)

    def copy_to(self, bucket: str, key: str, path: Path) -> None:
        """See `Objects.copy_to`."""
        _, source = self.open_file(bucket, key)
        with source:
            copy_atomically(source, path)

    def put(
        self,
        bucket: str,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectSummary:
        """See `Objects.put`."""
        key_bytes(key)
        attributes = Attributes(
            {"Content-Type": content_type} if content_type else {},
            {name.lower(): value for name, value in (metadata or {}).items()},
        )
        check_metadata(attributes.metadata)
        writing = self.files.begin()
        try:
            for chunk in chunks:
                writing.write(chunk)
            return self.commit((bucket, key), writing, attributes, {}).summary()
        finally:
            writing.discard()

    def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectSummary:
        """See `Objects.put_file`."""
        with path.open("rb") as file:
            pieces = iter(lambda: file.read(PIECE_BYTES), b"")
            return self.put(bucket, key, pieces, content_type=content_type, metadata=metadata)

    def replace_files(self, bucket: str, files: Mapping[str, Path], gone: Sequence[str]) -> None:
        """See `Objects.replace_files`."""
        written: dict[str, Writing] = {}
        try:
            for key, path in files.items():
                key_bytes(key)
                writing = written[key] = self.files.begin()
                with path.open("rb") as file:
                    while piece := file.read(PIECE_BYTES):
                        writing.write(piece)
                writing.place()
            old = self._replace(bucket, written, gone)
        finally:
            for writing in written.values():
                writing.discard()
        self.files.remove(*old)

    def _replace(
        self, bucket: str, written: Mapping[str, Writing], gone: Sequence[str]
    ) -> Sequence[str]:
        """Name placed contents and delete rows in one transaction; ids of the old contents."""

        def work(connection: sa.Connection) -> Sequence[str]:
            found = []
            for key, writing in written.items():
                content = Content(writing.id, writing.size, writing.md5)
                none = Attributes({}, {})
                found.append(put_row(connection, (bucket, key), content, none, NO_CONDITIONS)[1])
            found += [delete_row(connection, bucket, key, NO_CONDITIONS) for key in gone]
            return [file for file in found if file is not None]

        try:
            old = self.database.write(work)
        except ApiError:
            raise
        except BaseException:
            # The commit's outcome is unknown: rows may name the contents, so the sweep decides.
            for writing in written.values():
                writing.keep()
            raise
        for writing in written.values():
            writing.keep()
        return old

    def delete(self, bucket: str, key: str) -> None:
        """See `Objects.delete`."""
        self.delete_if(bucket, key, NO_CONDITIONS)

    def create_bucket(self, bucket: str) -> None:
        """See `Objects.create_bucket`."""
        try:
            self.buckets.create(bucket)
        except ApiError as error:
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def bucket_exists(self, bucket: str) -> bool:
        """See `Objects.bucket_exists`."""
        return self.buckets.exists(bucket)

    def _named(self, file_ids: Sequence[str]) -> set[str]:
        """Of these contents, those that a row names."""
        found: set[str] = set()
        with self.database.read() as connection:
            for table in (OBJECTS, PARTS):
                rows = connection.execute(sa.select(table.c.file).where(table.c.file.in_(file_ids)))
                found.update(rows.scalars())
        return found
