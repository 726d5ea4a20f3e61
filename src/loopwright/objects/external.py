"""An object store behind any S3 endpoint, for teams that have one."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.session import Session

from loopwright.objects.base import ObjectSummary
from loopwright.objects.tables import DEFAULT_TYPE
from loopwright.wire.errors import ApiError, validation

PIECE_BYTES: Final = 1024 * 1024
PART_BYTES: Final = 8 * 1024 * 1024
PARTS_OF_ONE_SIZE: Final = 1000
CONNECTIONS_MAX: Final = 32
FIRST_REGION: Final = "us-east-1"
# What a HEAD says without a body to name it.
CODES: Final = {"404": "NoSuchKey", "403": "AccessDenied", "400": "BadRequest"}
ABSENT: Final = frozenset({"NoSuchKey", "NoSuchBucket"})


class ExternalObjects:
    """Objects of an S3 endpoint. Implements `Objects`; thread-safe.

    What cannot be reached after retries raises `ApiError` `ServiceUnavailable`.

    Args:
        endpoint_url: Such as `https://s3.example.com`.
        region: Of the endpoint; buckets are made there.
        access_key: Of a key pair that may read and write the buckets.
        secret: The key pair's secret.
    """

    def __init__(self, endpoint_url: str, region: str, access_key: str, secret: str) -> None:
        self._region = region
        self._client: Any = Session().create_client(
            "s3",
            region_name=region,
            endpoint_url=endpoint_url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"mode": "standard", "max_attempts": 5},
                max_pool_connections=CONNECTIONS_MAX,
            ),
        )

    def head(self, bucket: str, key: str) -> ObjectSummary | None:
        """See `Objects.head`."""
        try:
            with _translated():
                found = self._client.head_object(Bucket=bucket, Key=key)
        except ApiError as error:
            if error.code in ABSENT:
                return None
            raise
        return ObjectSummary(
            bucket,
            key,
            found["ContentLength"],
            found["ETag"].strip('"'),
            found["LastModified"].timestamp(),
            found.get("ContentType", DEFAULT_TYPE),
            found.get("Metadata", {}),
        )

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectSummary]:
        """See `Objects.list`; content types are not known here and show as the default."""
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        )
        with _translated():
            first = next(pages)
        return _summaries(bucket, first, pages)

    def open(
        self, bucket: str, key: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """See `Objects.open`."""
        arguments: dict[str, str] = {"Bucket": bucket, "Key": key}
        is_empty = end is not None and start >= end
        if is_empty:
            arguments["Range"] = "bytes=0-0"
        elif start or end is not None:
            arguments["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        try:
            with _translated():
                body = self._client.get_object(**arguments)["Body"]
        except ApiError as error:
            if error.code == "InvalidRange":
                return iter(())
            raise
        if is_empty:
            body.close()
            return iter(())
        return _chunks(body)

    def link(self, bucket: str, key: str, path: Path) -> None:
        """See `Objects.link`; the content is always copied here."""
        self.copy_to(bucket, key, path)

    def copy_to(self, bucket: str, key: str, path: Path) -> None:
        """See `Objects.copy_to`."""
        chunks = self.open(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

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
        lower = {name.lower(): value for name, value in (metadata or {}).items()}
        about: dict[str, Any] = {"Bucket": bucket, "Key": key, "Metadata": lower}
        if content_type:
            about["ContentType"] = content_type
        pieces = _pieces(chunks)
        first = next(pieces, b"")
        second = next(pieces, None)
        if second is None:
            size = len(first)
            with _translated():
                answer = self._client.put_object(Body=first, **about)
        else:
            answer, size = self._put_parts(about, chain((first, second), pieces))
        return ObjectSummary(
            bucket,
            key,
            size,
            answer["ETag"].strip('"'),
            _answered(answer),
            content_type or DEFAULT_TYPE,
            lower,
        )

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
        for key, path in files.items():
            self.put_file(bucket, key, path)
        for key in gone:
            self.delete(bucket, key)

    def delete(self, bucket: str, key: str) -> None:
        """See `Objects.delete`."""
        with _translated():
            self._client.delete_object(Bucket=bucket, Key=key)

    def create_bucket(self, bucket: str) -> None:
        """See `Objects.create_bucket`."""
        arguments: dict[str, Any] = {"Bucket": bucket}
        if self._region != FIRST_REGION:
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": self._region}
        try:
            with _translated():
                self._client.create_bucket(**arguments)
        except ApiError as error:
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def bucket_exists(self, bucket: str) -> bool:
        """See `Objects.bucket_exists`."""
        try:
            with _translated():
                self._client.head_bucket(Bucket=bucket)
        except ApiError as error:
            if error.code in ABSENT:
                return False
            raise
        return True

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _put_parts(
        self, about: dict[str, Any], pieces: Iterator[bytes]
    ) -> tuple[dict[str, Any], int]:
        """Upload in parts; an upload that fails is given up, so that nothing stays behind."""
        place = {"Bucket": about["Bucket"], "Key": about["Key"]}
        with _translated():
            created = self._client.create_multipart_upload(ChecksumAlgorithm="CRC32", **about)
        place["UploadId"] = created["UploadId"]
        try:
            parts = [self._put_part(place, number, piece) for number, piece in enumerate(pieces, 1)]
            named = [{k: v for k, v in part.items() if k != "Size"} for part in parts]
            with _translated():
                answer: dict[str, Any] = self._client.complete_multipart_upload(
                    MultipartUpload={"Parts": named}, **place
                )
        except BaseException:
            with _translated():
                self._client.abort_multipart_upload(**place)
            raise
        return answer, sum(part["Size"] for part in parts)

    def _put_part(self, place: dict[str, Any], number: int, piece: bytes) -> dict[str, Any]:
        with _translated():
            answer = self._client.upload_part(
                PartNumber=number, Body=piece, ChecksumAlgorithm="CRC32", **place
            )
        part = {"PartNumber": number, "ETag": answer["ETag"], "Size": len(piece)}
        if "ChecksumCRC32" in answer:
            part["ChecksumCRC32"] = answer["ChecksumCRC32"]
        return part


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content in pieces of a part's size, which doubles every thousand parts."""
    buffer = bytearray()
    count = 0
    for chunk in chunks:
        buffer += chunk
        size = PART_BYTES << (count // PARTS_OF_ONE_SIZE)
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
            count += 1
    if buffer:
        yield bytes(buffer)


def _chunks(body: Any) -> Iterator[bytes]:
    try:
        with _translated():
            yield from body.iter_chunks(PIECE_BYTES)
    finally:
        body.close()


def _summaries(bucket: str, page: Any, pages: Iterator[Any]) -> Iterator[ObjectSummary]:
    while page is not None:
        for found in page.get("Contents", []):
            yield ObjectSummary(
                bucket,
                found["Key"],
                found["Size"],
                found["ETag"].strip('"'),
                found["LastModified"].timestamp(),
                DEFAULT_TYPE,
            )
        with _translated():
            page = next(pages, None)


def _answered(answer: dict[str, Any]) -> float:
    """When the endpoint answered, by its own clock where it says so."""
    text = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(text).timestamp() if text else time.time()


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the client as `ApiError`."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"].get("Code", "Unknown")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        message = error.response["Error"].get("Message") or str(error)
        raise ApiError(CODES.get(code, code), message, status) from error
    except ParamValidationError as error:
        raise validation(str(error)) from error
    except BotoCoreError as error:
        raise ApiError("ServiceUnavailable", f"The object store: {error}", 503) from error
