"""One request on its way through the face, and the tools that operations share."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from loopwright.objects.files import Reading
from loopwright.objects.names import no_such_bucket
from loopwright.objects.routes import Route
from loopwright.objects.store import LocalObjects
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request, Response
from loopwright.wire.protocols import serialize_response
from loopwright.wire.services import operation

SPACE: Final = b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
# The names of S3's documents where botocore's shapes are called otherwise.
ROOTS: Final = {
    "ListObjectsOutput": "ListBucketResult",
    "ListObjectsV2Output": "ListBucketResult",
    "ListObjectVersionsOutput": "ListVersionsResult",
    "ListBucketsOutput": "ListAllMyBucketsResult",
    "CreateMultipartUploadOutput": "InitiateMultipartUploadResult",
    "CompleteMultipartUploadOutput": "CompleteMultipartUploadResult",
    "ListPartsOutput": "ListPartsResult",
    "ListMultipartUploadsOutput": "ListMultipartUploadsResult",
    "DeleteObjectsOutput": "DeleteResult",
    "GetObjectTaggingOutput": "Tagging",
    "GetBucketTaggingOutput": "Tagging",
    "GetBucketCorsOutput": "CORSConfiguration",
    "GetBucketAclOutput": "AccessControlPolicy",
    "GetObjectAclOutput": "AccessControlPolicy",
    "GetBucketVersioningOutput": "VersioningConfiguration",
    "GetBucketLoggingOutput": "BucketLoggingStatus",
    "GetBucketRequestPaymentOutput": "RequestPaymentConfiguration",
    "GetBucketAccelerateConfigurationOutput": "AccelerateConfiguration",
    "GetObjectAttributesOutput": "GetObjectAttributesResponse",
}
ROOT_PATTERN: Final = re.compile(rb"\A<([A-Za-z0-9]+)([^>]*?)(/?)>")
CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b-\x1f]")


@dataclass(slots=True)
class Call:
    """A request with its route; `params` are the modelled parameters, once they are read."""

    route: Route
    objects: LocalObjects
    executor: Executor
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        return self.route.bucket

    @property
    def key(self) -> str:
        return self.route.key

    @property
    def request(self) -> Request:
        return self.route.request

    @property
    def headers(self) -> Mapping[str, str]:
        return self.route.request.headers

    def reply(self, result: dict[str, Any] | None = None) -> Response:
        """The response with the operation's modelled result."""
        model = operation("s3", self.route.operation)
        response = serialize_response(model, result or {})
        if isinstance(response.body, bytes) and response.body:
            response.body = document(response.body)
        elif model.output_shape is not None and _is_document(model.output_shape):
            root = ROOTS.get(model.output_shape.name, model.output_shape.name).encode()
            response.body = DECLARATION + b"<" + root + b" " + SPACE + b"/>"
        if response.body:
            response.headers["Content-Type"] = "application/xml"
        return response


def document(body: bytes) -> bytes:
    """A serialized document with S3's root name, and with characters that XML would change."""
    match = ROOT_PATTERN.match(body)
    if match is None:
        return body
    name = match[1].decode()
    root = ROOTS.get(name, name).encode()
    rest = body[match.end() :]
    if not match[3]:
        end = rest.rfind(b"</")
        rest = rest[:end] + b"</" + root + b">"
    space = match[2] if b"xmlns=" in match[2] else match[2] + b" " + SPACE
    head = DECLARATION + b"<" + root + space + match[3] + b">"
    return head + CONTROLS.sub(lambda found: b"&#%d;" % found[0][0], rest)


def _is_document(shape: Any) -> bool:
    """Whether an empty result is still a document: some member stands in the body."""
    if "payload" in shape.serialization:
        return bool(shape.members[shape.serialization["payload"]].type_name == "structure")
    return any("location" not in member.serialization for member in shape.members.values())


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def url_encoded(text: str) -> str:
    """A key as `encoding-type=url` gives it."""
    return quote(text, safe="/*-._")


def quoted(etag: str) -> str:
    return f'"{etag}"'


def owner(account: str) -> dict[str, str]:
    """The one owner of all; S3's canonical ids are 64 hex digits."""
    return {"ID": account.rjust(64, "0"), "DisplayName": account}


def check_owner(call: Call) -> None:
    """Refuse a request that expects another owner.

    Raises:
        ApiError: `AccessDenied`; `NoSuchBucket` when the bucket does not exist at all.
    """
    names = ("x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner")
    for name in names:
        expected = call.headers.get(name)
        if expected is not None and expected != call.objects.account:
            if name == names[0] and not call.objects.bucket_exists(call.bucket):
                raise no_such_bucket(call.bucket)
            raise ApiError(
                "AccessDenied", f"The bucket does not belong to the account {expected}.", 403
            )


class FileBody(AsyncIterator[bytes]):
    """A part of a content as a response's body, read in threads.

    The file is closed at the end, by `aclose`, or when the body is dropped with its client.
    """

    def __init__(self, file: BinaryIO, span: tuple[int, int], executor: Executor) -> None:
        self._reading = Reading(file, span[0], span[1] - span[0])
        self._executor = executor

    async def __anext__(self) -> bytes:
        loop = asyncio.get_running_loop()
        piece = await loop.run_in_executor(self._executor, next, self._reading, b"")
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Close the file."""
        self._reading.close()
