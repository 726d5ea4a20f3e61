"""Which bucket, key and operation an S3 request asks for.

The table is made from the service model: an operation is told by its method, by whether its path
names a key, and by the sub-resource in its query (`?tagging`). What the model cannot say (copies,
parts, configurations by id) stands in `_refine`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final
from urllib.parse import unquote_to_bytes

from loopwright.objects.names import header_text, refuse_nul
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request
from loopwright.wire.services import service

HOST_PATTERN: Final = re.compile(
    r"(?P<bucket>.+)\.(?:localhost|s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com)"
)
# Superseded by operations of the same method and sub-resource.
SUPERSEDED: Final = frozenset(
    "GetBucketLifecycle PutBucketLifecycle GetBucketNotification PutBucketNotification "
    "ListObjectAnnotations GetObjectAnnotation ListDirectoryBuckets WriteGetObjectResponse "
    "CopyObject UploadPart UploadPartCopy ListParts CompleteMultipartUpload "
    "AbortMultipartUpload ListObjectsV2 SelectObjectContent".split()
)
WITHOUT_SUB_RESOURCE: Final = ""
SIGNATURES: Final = ("X-Amz-Signature", "Signature")
# Of the signature itself, or (the last) of what the signer meant to send, which nobody has sent.
NOT_HEADERS: Final = frozenset(
    "x-amz-algorithm x-amz-credential x-amz-date x-amz-expires x-amz-signedheaders "
    "x-amz-signature x-amz-security-token x-amz-content-sha256 "
    "x-amz-sdk-checksum-algorithm".split()
)


@dataclass(frozen=True, slots=True)
class Route:
    """What a request asks for.

    Attributes:
        operation: The name in botocore's model.
        bucket: Empty for ListBuckets.
        key: Empty for operations on buckets.
        request: The request in path style, whatever its host was.
    """

    operation: str
    bucket: str
    key: str
    request: Request


def find_route(request: Request) -> Route:
    """The operation of a request.

    Raises:
        ApiError: `MethodNotAllowed`, `InvalidURI` (no UTF-8).
    """
    styled = _with_signed_query(path_style(request))
    bucket, key = bucket_and_key(styled.path)
    level = "key" if key else "bucket" if bucket else "root"
    arguments = styled.arguments
    name = _refine(styled, level, arguments)
    if name is None:
        table = _table()
        for argument in arguments:
            name = name or table.get((styled.method, level, argument))
        name = name or table.get((styled.method, level, WITHOUT_SUB_RESOURCE))
    if name is None:
        raise ApiError(
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            405,
            Method=request.method,
            ResourceType={"key": "OBJECT", "bucket": "BUCKET", "root": "SERVICE"}[level],
        )
    return Route(name, bucket, key, styled)


def path_style(request: Request) -> Request:
    """The request with the bucket in its path, also when its host names the bucket."""
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    match = HOST_PATTERN.fullmatch(host.lower())
    if match is None:
        return request
    return replace(request, path=f"/{match['bucket']}{request.path}")


def _with_signed_query(request: Request) -> Request:
    """A presigned request with the `x-amz-…` of its query as headers, which is what they mean.

    Signers move headers there that a bearer of the address could not know. They are signed, so
    they go before headers of the same names.

    Raises:
        ApiError: `InvalidArgument`, a control character.
    """
    arguments = request.arguments
    if not any(name in arguments for name in SIGNATURES):
        return request
    moved = {
        name.lower(): header_text(name, text)
        for name, text in arguments.items()
        if name.lower().startswith("x-amz-") and name.lower() not in NOT_HEADERS
    }
    return replace(request, headers={**request.headers, **moved})


def bucket_and_key(path: str) -> tuple[str, str]:
    """The decoded bucket and key of a raw path.

    Raises:
        ApiError: `InvalidURI`; `InvalidArgument`, the bucket holds a NUL.
    """
    bucket, _, key = path.removeprefix("/").partition("/")
    try:
        name = unquote_to_bytes(bucket).decode()
        return refuse_nul("Bucket", name), unquote_to_bytes(key).decode()
    except UnicodeDecodeError:
        raise ApiError("InvalidURI", "Couldn't parse the specified URI.", 400) from None


def _refine(request: Request, level: str, arguments: Iterable[str]) -> str | None:
    """The operations that the model's paths do not tell apart."""
    is_copy = "x-amz-copy-source" in request.headers
    if level == "key" and "uploadId" in arguments:
        if request.method == "PUT" and "partNumber" in arguments:
            return "UploadPartCopy" if is_copy else "UploadPart"
        return {
            "GET": "ListParts",
            "POST": "CompleteMultipartUpload",
            "DELETE": "AbortMultipartUpload",
        }.get(request.method)
    if level == "key" and "select" in arguments and request.method == "POST":
        return "SelectObjectContent"
    if level == "bucket" and request.method == "GET" and "list-type" in arguments:
        return "ListObjectsV2"
    found = _table().get((request.method, level, WITHOUT_SUB_RESOURCE))
    has_sub_resource = any((request.method, level, name) in _table() for name in arguments)
    if found == "PutObject" and is_copy and not has_sub_resource:
        return "CopyObject"
    for kind in ("analytics", "inventory", "metrics", "intelligent-tiering"):
        if level == "bucket" and request.method == "GET" and kind in arguments:
            name = "".join(word.capitalize() for word in kind.split("-"))
            one = f"GetBucket{name}Configuration"
            return one if "id" in arguments else f"ListBucket{name}Configurations"
    return None


@cache
def _table() -> dict[tuple[str, str, str], str]:
    table: dict[tuple[str, str, str], str] = {}
    model = service("s3")
    for name in model.operation_names:
        if name in SUPERSEDED:
            continue
        http = model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        level = "key" if "{Key+}" in path else "bucket" if "{Bucket}" in path else "root"
        table[http["method"], level, query.partition("=")[0]] = name
    return table
