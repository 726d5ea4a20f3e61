"""Uploads in parts: begun, filled part by part, joined into one content, or given up."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa

from loopwright.database import Database
from loopwright.objects.buckets import lock_bucket, require_bucket
from loopwright.objects.checksums import as_text, composite, new_hasher
from loopwright.objects.files import PIECE_BYTES, ContentFiles, Writing
from loopwright.objects.listing import group_of
from loopwright.objects.names import key_bytes, no_such_upload, refuse_nul
from loopwright.objects.rows import Content, WriteConditions, put_row
from loopwright.objects.tables import PARTS, UPLOADS, Attributes, Part
from loopwright.wire.errors import ApiError

PART_BYTES_MIN: Final = 5 * 1024 * 1024
PART_NUMBER_MAX: Final = 10_000
COMPLETED_KEPT_S: Final = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in parts.

    Attributes:
        created: Seconds since the epoch.
        algorithm: Of the parts' checksums, such as `CRC32`; empty for none.
        checksum_type: `COMPOSITE` or `FULL_OBJECT`; empty without an algorithm.
        answer: Of the completion, kept for clients that lost it; None before.
    """

    id: str
    bucket: str
    key: str
    created: float
    attributes: Attributes
    algorithm: str
    checksum_type: str
    answer: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as stored; `etag` without quotes, `modified` in seconds since the epoch."""

    number: int
    file: str
    size: int
    etag: str
    modified: float
    checksums: dict[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part as the client names it at completion; checksums by algorithm, maybe none."""

    number: int
    etag: str
    checksums: dict[str, str]


@dataclass(frozen=True, slots=True)
class Whole:
    """What the client expects of the joined object; checksums by algorithm, size in bytes.

    `checksum_type` is that of the upload, or empty for no expectation.
    """

    checksums: dict[str, str]
    size: int | None = None
    checksum_type: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """A joined content and the parts it was made of."""

    content: Content
    parts: Sequence[StoredPart]

    def answer(self) -> dict[str, Any]:
        return {
            "etag": self.content.etag,
            "checksums": dict(self.content.checksums),
            "checksum_type": self.content.checksum_type,
        }


@dataclass(frozen=True, slots=True)
class Scope:
    """What to list: from `key` on, of that key only ids greater than `after`."""

    prefix: bytes
    delimiter: bytes
    key: bytes
    after: str
    limit: int


class Uploads:
    """The uploads in parts of a store. Thread-safe."""

    def __init__(self, database: Database, files: ContentFiles) -> None:
        self._database = database
        self._files = files

    def begin(
        self, place: tuple[str, str], attributes: Attributes, algorithm: str, checksum_type: str
    ) -> str:
        """Begin an upload to `place` (bucket, key); returns its id.

        Raises:
            ApiError: `NoSuchBucket`.
        """
        bucket, key = place
        # Ids sort by time within a key, as S3 lists them.
        upload = f"{time.time_ns():016x}{uuid4().hex}"

        def work(connection: sa.Connection) -> None:
            lock_bucket(connection, bucket)
            connection.execute(
                UPLOADS.insert().values(
                    id=upload,
                    bucket=bucket,
                    key=key_bytes(key),
                    created=time.time(),
                    headers=attributes.headers,
                    user_metadata=attributes.metadata,
                    tags=attributes.tags,
                    algorithm=algorithm,
                    checksum_type=checksum_type,
                    done=False,
                    answer={},
                )
            )

        self._database.write(work)
        return upload

    def get(self, bucket: str, key: str, upload: str) -> Upload:
        """An upload that is not completed.

        Raises:
            ApiError: `NoSuchUpload`, `NoSuchBucket`.
        """
        with self._database.read() as connection:
            found = _find(connection, bucket, key, upload)
        if found.answer is not None:
            raise no_such_upload(upload)
        return found

    def add_part(
        self,
        place: tuple[str, str, str],
        number: int,
        writing: Writing,
        checksums: dict[str, str],
    ) -> str:
        """Make a written content part `number` of the upload at `place` (bucket, key, id).

        Returns the ETag.

        Raises:
            ApiError: `NoSuchUpload`, `NoSuchBucket`; the content is discarded.
        """
        writing.place()
        values = {
            "file": writing.id,
            "size": writing.size,
            "etag": writing.md5,
            "modified": time.time(),
            "checksums": checksums,
        }

        def work(connection: sa.Connection) -> str | None:
            return _put_part(connection, place, number, values)

        try:
            old = self._database.write(work)
        except ApiError:
            writing.discard()
            raise
        except BaseException:
            # The commit's outcome is unknown: a row may name the content, so the sweep decides.
            writing.keep()
            raise
        writing.keep()
        if old is not None:
            self._files.remove(old)
        return writing.md5

    def parts(self, upload: str, after: int = 0, limit: int | None = None) -> list[StoredPart]:
        """Parts with a number greater than `after`, in order."""
        query = PARTS.select().where(PARTS.c.upload == upload, PARTS.c.number > after)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(PARTS.c.number).limit(limit)).all()
        return [
            StoredPart(row.number, row.file, row.size, row.etag, row.modified, row.checksums)
            for row in rows
        ]

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """Give an upload up and remove its parts.

        Raises:
            ApiError: `NoSuchUpload`, `NoSuchBucket`.
        """

        def work(connection: sa.Connection) -> list[str]:
            _find_open(connection, (bucket, key, upload))
            files = _remove_parts(connection, upload)
            connection.execute(UPLOADS.delete().where(UPLOADS.c.id == upload))
            return files

        self._files.remove(*self._database.write(work))

    def complete(
        self,
        place: tuple[str, str, str],
        wanted: Sequence[Wanted],
        conditions: WriteConditions,
        whole: Whole,
    ) -> dict[str, Any]:
        """Join the wanted parts into the object at `place` (bucket, key, id).

        Returns:
            `etag`, `checksums` and `checksum_type`; the same again when called again.

        Raises:
            ApiError: `NoSuchUpload`, `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`,
                `BadDigest`, `InvalidRequest` (size, checksum type), `PreconditionFailed`.
        """
        with self._database.read() as connection:
            upload = _find(connection, *place)
        if upload.answer is not None:
            return upload.answer
        if whole.checksum_type not in ("", upload.checksum_type):
            raise ApiError(
                "InvalidRequest",
                f"The upload's checksum type is {upload.checksum_type or 'none'}, not "
                f"{whole.checksum_type}.",
                400,
            )
        chosen = _choose(self.parts(upload.id), wanted)
        writing = self._files.begin()
        try:
            joined = self._join(upload, chosen, writing)
            _check_whole(joined, whole)
            writing.place()
            return self._finish(upload, joined, writing, conditions)
        finally:
            writing.discard()

    def _finish(
        self, upload: Upload, joined: Joined, writing: Writing, conditions: WriteConditions
    ) -> dict[str, Any]:
        try:
            other, files = self._database.write(
                lambda connection: _commit(connection, upload, joined, conditions)
            )
        except ApiError:
            raise
        except BaseException:
            # The commit's outcome is unknown: a row may name the content, so the sweep decides.
            writing.keep()
            raise
        if other is not None:
            return other
        writing.keep()
        self._files.remove(*files)
        return joined.answer()

    def _join(self, upload: Upload, parts: Sequence[StoredPart], writing: Writing) -> Joined:
        whole = new_hasher(upload.algorithm) if upload.checksum_type == "FULL_OBJECT" else None
        for part in parts:
            try:
                file = self._files.open(part.file)
            except FileNotFoundError:
                # Aborted, completed or uploaded again since the rows were read.
                raise _invalid_part(part.number) from None
            with file:
                while piece := file.read(PIECE_BYTES):
                    writing.write(piece)
                    if whole is not None:
                        whole.update(piece)
        md5s = b"".join(bytes.fromhex(part.etag) for part in parts)
        etag = f"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{len(parts)}"
        given = [part.checksums.get(upload.algorithm, "") for part in parts]
        checksums = {}
        if whole is not None:
            checksums[upload.algorithm] = as_text(whole.digest())
        elif upload.algorithm and all(given):
            checksums[upload.algorithm] = composite(upload.algorithm, given)
        shown = tuple(
            Part(part.number, part.size, text) for part, text in zip(parts, given, strict=True)
        )
        kind = upload.checksum_type if checksums else ""
        content = Content(writing.id, writing.size, etag, checksums, kind, shown)
        return Joined(content, parts)

    def page(self, bucket: str, scope: Scope) -> tuple[list[Upload | bytes], bool]:
        """Unfinished uploads ordered by key and id, and groups of them (as bytes).

        Returns:
            The entries, and whether there are more.

        Raises:
            ApiError: `NoSuchBucket`.
        """
        low = max(scope.key, scope.prefix)
        after = scope.after if low == scope.key else ""
        later = sa.or_(UPLOADS.c.key > low, sa.and_(UPLOADS.c.key == low, UPLOADS.c.id > after))
        query = UPLOADS.select().where(UPLOADS.c.bucket == bucket, UPLOADS.c.done.is_(False), later)
        entries: list[Upload | bytes] = []
        with self._database.read() as connection:
            require_bucket(connection, bucket)
            for row in connection.execute(query.order_by(UPLOADS.c.key, UPLOADS.c.id)):
                if not row.key.startswith(scope.prefix):
                    break
                group = group_of(row.key, scope.prefix, scope.delimiter)
                if group is not None and entries and entries[-1] == group:
                    continue
                if len(entries) == scope.limit:
                    return entries, True
                entries.append(_upload(row) if group is None else group)
        return entries, False

    def forget_completed(self) -> None:
        """Forget completions that no client will ask about again."""
        before = time.time() - COMPLETED_KEPT_S
        old = sa.and_(UPLOADS.c.created < before, UPLOADS.c.done.is_(True))
        self._database.write(lambda connection: connection.execute(UPLOADS.delete().where(old)))


def _upload(row: sa.Row[Any]) -> Upload:
    return Upload(
        row.id,
        row.bucket,
        row.key.decode(),
        row.created,
        Attributes(row.headers, row.user_metadata, row.tags),
        row.algorithm,
        row.checksum_type,
        row.answer if row.done else None,
    )


def _find(connection: sa.Connection, bucket: str, key: str, upload: str) -> Upload:
    refuse_nul("uploadId", upload)
    row = connection.execute(
        UPLOADS.select().where(
            UPLOADS.c.id == upload, UPLOADS.c.bucket == bucket, UPLOADS.c.key == key_bytes(key)
        )
    ).one_or_none()
    if row is None:
        require_bucket(connection, bucket)
        raise no_such_upload(upload)
    return _upload(row)


def _find_open(connection: sa.Connection, place: tuple[str, str, str]) -> Upload:
    """The upload, with its bucket locked so that nothing changes it before the commit."""
    lock_bucket(connection, place[0])
    found = _find(connection, *place)
    if found.answer is not None:
        raise no_such_upload(found.id)
    return found


def _put_part(
    connection: sa.Connection, place: tuple[str, str, str], number: int, values: dict[str, Any]
) -> str | None:
    """Write a part's row; returns the content it replaces."""
    upload = _find_open(connection, place)
    here = sa.and_(PARTS.c.upload == upload.id, PARTS.c.number == number)
    old = connection.execute(sa.select(PARTS.c.file).where(here)).scalar_one_or_none()
    if old is None:
        connection.execute(PARTS.insert().values(upload=upload.id, number=number, **values))
        return None
    connection.execute(PARTS.update().where(here).values(**values))
    return str(old)


def _remove_parts(connection: sa.Connection, upload: str) -> list[str]:
    of_upload = PARTS.c.upload == upload
    files = connection.execute(sa.select(PARTS.c.file).where(of_upload)).scalars().all()
    connection.execute(PARTS.delete().where(of_upload))
    return list(files)


def _commit(
    connection: sa.Connection,
    upload: Upload,
    joined: Joined,
    conditions: WriteConditions,
) -> tuple[dict[str, Any] | None, list[str]]:
    """Name the joined content, unless another completion was faster: then its answer.

    Returns:
        The other completion's answer or None, and the contents that no row names any more.
    """
    lock_bucket(connection, upload.bucket)
    now = _find(connection, upload.bucket, upload.key, upload.id)
    if now.answer is not None:
        return now.answer, []
    rows = connection.execute(
        sa.select(PARTS.c.number, PARTS.c.file).where(PARTS.c.upload == upload.id)
    )
    current = {row.number: row.file for row in rows}
    for part in joined.parts:
        if current.get(part.number) != part.file:
            raise _invalid_part(part.number)
    place = (upload.bucket, upload.key)
    _, old = put_row(connection, place, joined.content, upload.attributes, conditions)
    files = _remove_parts(connection, upload.id)
    done = UPLOADS.update().where(UPLOADS.c.id == upload.id)
    connection.execute(done.values(done=True, answer=joined.answer()))
    return None, files if old is None else [*files, old]


def _choose(there: Sequence[StoredPart], wanted: Sequence[Wanted]) -> list[StoredPart]:
    """The wanted parts as stored.

    Raises:
        ApiError: `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`.
    """
    by_number = {part.number: part for part in there}
    chosen: list[StoredPart] = []
    for want in wanted:
        if chosen and want.number <= chosen[-1].number:
            raise ApiError(
                "InvalidPartOrder",
                "The list of parts was not in ascending order. The parts list must be specified "
                "in order by part number.",
                400,
            )
        part = by_number.get(want.number)
        if part is None or part.etag != want.etag:
            raise _invalid_part(want.number)
        if any(part.checksums.get(name) != text for name, text in want.checksums.items()):
            raise _invalid_part(want.number)
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < PART_BYTES_MIN:
            raise ApiError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                400,
                PartNumber=part.number,
                ProposedSize=part.size,
                MinSizeAllowed=PART_BYTES_MIN,
            )
    return chosen


def _check_whole(joined: Joined, whole: Whole) -> None:
    """Compare with what the client expects of the whole.

    Raises:
        ApiError: `BadDigest`, `InvalidRequest` (size).
    """
    if whole.size is not None and whole.size != joined.content.size:
        raise ApiError(
            "InvalidRequest",
            f"The parts are {joined.content.size} bytes together, not {whole.size} as "
            "x-amz-mp-object-size says.",
            400,
        )
    for algorithm, text in whole.checksums.items():
        if joined.content.checksums.get(algorithm) != text:
            raise ApiError(
                "BadDigest",
                f"The {algorithm} you specified did not match the calculated checksum.",
                400,
            )


def _invalid_part(number: int) -> ApiError:
    return ApiError(
        "InvalidPart",
        "One or more of the specified parts could not be found. The part may not have been "
        "uploaded, or the specified entity tag may not match the part's entity tag.",
        400,
        PartNumber=number,
    )
