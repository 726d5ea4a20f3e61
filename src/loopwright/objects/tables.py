"""The tables of the object tree. Keys are bytes, so both databases order them as S3 does."""

from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from loopwright.objects.base import ObjectSummary

METADATA: Final = sa.MetaData()
DEFAULT_TYPE: Final = "binary/octet-stream"

BUCKETS: Final = sa.Table(
    "object_buckets",
    METADATA,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("cors", sa.JSON, nullable=False),
)


def _content_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("file", sa.String(32), nullable=False, index=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.String(64), nullable=False),
        sa.Column("modified", sa.Double, nullable=False),
        sa.Column("checksums", sa.JSON, nullable=False),
    ]


def _attribute_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("user_metadata", sa.JSON, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
    ]


OBJECTS: Final = sa.Table(
    "object_keys",
    METADATA,
    sa.Column("bucket", sa.String(63), primary_key=True),
    sa.Column("key", sa.LargeBinary, primary_key=True),
    *_content_columns(),
    *_attribute_columns(),
    sa.Column("checksum_type", sa.String(16), nullable=False),
    sa.Column("parts", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)
UPLOADS: Final = sa.Table(
    "object_uploads",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("bucket", sa.String(63), nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    *_attribute_columns(),
    sa.Column("algorithm", sa.String(16), nullable=False),
    sa.Column("checksum_type", sa.String(16), nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
    sa.Column("answer", sa.JSON, nullable=False),
    sa.Index("object_uploads_by_key", "bucket", "key", "id"),
)
PARTS: Final = sa.Table(
    "object_parts",
    METADATA,
    sa.Column("upload", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    *_content_columns(),
)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a writer says about an object besides its content.

    Attributes:
        headers: To be sent again with the object, by their names on the wire.
        metadata: The writer's own, without `x-amz-meta-`.
        tags: Value by key.
    """

    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an object that was uploaded in parts; `size` in bytes."""

    number: int
    size: int
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the object table: everything about one version of an object.

    Attributes:
        checksums: In base64 by algorithm, as the writer gave them; `…-N` for a composite one.
        checksum_type: `FULL_OBJECT` or `COMPOSITE`; empty without checksums.
        parts: Of a multipart upload, in order; else empty.
    """

    bucket: str
    key: str
    file: str
    size: int
    etag: str
    modified: float
    attributes: Attributes
    checksums: dict[str, str]
    checksum_type: str
    parts: tuple[Part, ...]

    @property
    def content_type(self) -> str:
        return self.attributes.headers.get("Content-Type", DEFAULT_TYPE)

    def summary(self) -> ObjectSummary:
        return ObjectSummary(
            self.bucket,
            self.key,
            self.size,
            self.etag,
            self.modified,
            self.content_type,
            self.attributes.metadata,
        )


def stored(row: sa.Row[Any]) -> Stored:
    """A full row of `OBJECTS` as a value."""
    return Stored(
        row.bucket,
        row.key.decode(),
        row.file,
        row.size,
        row.etag,
        row.modified,
        Attributes(row.headers, row.user_metadata, row.tags),
        row.checksums,
        row.checksum_type,
        tuple(Part(*part) for part in row.parts),
    )
