"""What the rest of Loopwright asks of an object store, whichever one stands behind it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loopwright.wire.errors import validation


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """One object without its content.

    Attributes:
        bucket: The bucket's name.
        key: Any text of 1 to 1024 bytes in UTF-8.
        size: Of the content, in bytes.
        etag: Without quotes: the MD5 in hex, or `MD5-N` of an upload in N parts.
        modified: Seconds since the epoch.
        content_type: As given by the writer, else `binary/octet-stream`.
        metadata: The writer's own names (lower case, without `x-amz-meta-`) and values. A listing
            of an external store leaves it empty, as S3 does; `head` fills it.
    """

    bucket: str
    key: str
    size: int
    etag: str
    modified: float
    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class Objects(Protocol):
    """An object store. Every method is synchronous and thread-safe.

    Errors are `ApiError` with S3's codes: `NoSuchBucket`, `NoSuchKey`, `InvalidBucketName`,
    `KeyTooLongError` and so on. What `put` and `put_file` have returned is durable.
    """

    def head(self, bucket: str, key: str) -> ObjectSummary | None:
        """The object, or None when the bucket or the key does not exist."""

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectSummary]:
        """Every object whose key begins with `prefix`, ordered by the keys' bytes in UTF-8.

        Pages internally: objects written or deleted meanwhile may or may not appear.

        Raises:
            ApiError: `NoSuchBucket`.
        """

    def open(
        self, bucket: str, key: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """The bytes `start` (inclusive) to `end` (exclusive; None is the end) in chunks.

        What is read is one version of the object, whatever is written meanwhile.

        Raises:
            ApiError: `NoSuchKey`, `NoSuchBucket`; at the call, not at the first chunk.
        """

    def link(self, bucket: str, key: str, path: Path) -> None:
        """Make the content appear at `path`, sharing its storage where the disk allows it.

        Parents are made and an existing file is replaced in one step. The file may be shared with
        the store: never write to it in place.

        Raises:
            ApiError: `NoSuchKey`, `NoSuchBucket`.
        """

    def copy_to(self, bucket: str, key: str, path: Path) -> None:
        """Like `link`, but always an own copy with mode 0644.

        Raises:
            ApiError: `NoSuchKey`, `NoSuchBucket`.
        """

    def put(
        self,
        bucket: str,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectSummary:
        """Write an object whole; readers see the old one or the new one, nothing between.

        Raises:
            ApiError: `NoSuchBucket`, `KeyTooLongError`.
        """

    def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectSummary:
        """Like `put`, with the content of a file.

        Raises:
            ApiError: `NoSuchBucket`, `KeyTooLongError`.
            OSError: the file cannot be read.
        """

    def replace_files(self, bucket: str, files: Mapping[str, Path], gone: Sequence[str]) -> None:
        """Write objects with the content of files by key, and delete others, all in one step.

        Readers see either all of it or nothing. An external store cannot do that: there the
        objects are written in the order of `files`, and what is gone is deleted last.

        Raises:
            ApiError: `NoSuchBucket`, `KeyTooLongError`.
            OSError: a file cannot be read, or the disk is full.
        """

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; a key that does not exist is no error.

        Raises:
            ApiError: `NoSuchBucket`.
        """

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket; one's own existing bucket is no error.

        Raises:
            ApiError: `InvalidBucketName`.
        """

    def bucket_exists(self, bucket: str) -> bool:
        """Whether the bucket exists."""


def parse_uri(uri: str) -> tuple[str, str]:
    """The bucket and key of `s3://bucket/key`; the key may be empty.

    Raises:
        ApiError: `ValidationException`, the text is no S3 URI.
    """
    scheme, separator, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not separator or not bucket:
        raise validation(f"{uri!r} is no S3 URI; it must have the form s3://bucket/key.")
    return bucket, key
