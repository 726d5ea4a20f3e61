"""Operations that read objects: GetObject, HeadObject, GetObjectAttributes, GetObjectTagging."""

from collections.abc import Callable
from email.utils import formatdate
from itertools import islice
from typing import Any, Final

from loopwright.objects.attributes import OVERRIDES, checksum_headers, object_headers
from loopwright.objects.call import Call, FileBody, moment, quoted
from loopwright.objects.checksums import member_of
from loopwright.objects.conditions import read_conditions, read_range
from loopwright.objects.names import header_text, invalid_argument
from loopwright.objects.tables import Part, Stored
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Response

INLINE_BYTES_MAX: Final = 256 * 1024
PARTS_PAGE: Final = 1000


def head_object(call: Call) -> Response:
    check_version(call)
    stored = call.objects.find(call.bucket, call.key)
    return _head(call, stored)[0]


def get_object(call: Call) -> Response:
    check_version(call)
    stored, file = call.objects.open_file(call.bucket, call.key)
    try:
        response, span = _head(call, stored)
        if response.status == 304:
            file.close()
        elif span[1] - span[0] <= INLINE_BYTES_MAX:
            with file:
                file.seek(span[0])
                response.body = file.read(span[1] - span[0])
        else:
            response.body = FileBody(file, span, call.executor)
    except BaseException:
        file.close()
        raise
    return response


def check_version(call: Call) -> None:
    """Refuse a version: without versioning there is one, called `null`.

    Raises:
        ApiError: `NoSuchVersion`.
    """
    version = call.request.arguments.get("versionId", "null")
    if version != "null":
        raise ApiError(
            "NoSuchVersion",
            "The specified version does not exist.",
            404,
            Key=call.key,
            VersionId=version,
        )


def _head(call: Call, stored: Stored) -> tuple[Response, tuple[int, int]]:
    """The response without its body, and the bytes that the body has."""
    if not read_conditions(call.headers).holds(stored.etag, stored.modified):
        kept = {"ETag": quoted(stored.etag)}
        kept["Last-Modified"] = formatdate(int(stored.modified), usegmt=True)
        return Response(304, kept), (0, 0)
    headers = object_headers(stored)
    arguments = call.request.arguments
    for argument, name in OVERRIDES.items():
        if argument in arguments:
            headers[name] = header_text(argument, arguments[argument])
    number = arguments.get("partNumber")
    if number is not None:
        span, partial = _part_span(stored, number, "range" in call.headers), stored.size > 0
        if stored.parts:
            headers["x-amz-mp-parts-count"] = str(len(stored.parts))
    else:
        found = read_range(call.headers.get("range"), stored.size)
        span, partial = found or (0, stored.size), found is not None
    if partial:
        headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{stored.size}"
    whole = span == (0, stored.size)
    if whole and call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers |= checksum_headers(stored.checksums, stored.checksum_type)
    headers["Content-Length"] = str(span[1] - span[0])
    return Response(206 if partial else 200, headers), span


def _part_span(stored: Stored, text: str, has_range: bool) -> tuple[int, int]:
    """The bytes of a part; an object that was written whole has one part."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise invalid_argument("partNumber", text, "Part number must be 1 to 10000.")
    if has_range:
        raise ApiError("InvalidRequest", "Cannot specify both Range and partNumber", 400)
    parts = stored.parts or (Part(1, stored.size),)
    number = int(text)
    if number > len(parts):
        raise ApiError(
            "InvalidPartNumber", "The requested partnumber is not satisfiable", 416, PartNumber=text
        )
    start = sum(part.size for part in islice(parts, number - 1))
    return start, start + parts[number - 1].size


def get_object_attributes(call: Call) -> Response:
    check_version(call)
    stored = call.objects.find(call.bucket, call.key)
    wanted = call.params.get("ObjectAttributes", [])
    unknown = set(wanted) - ATTRIBUTES.keys()
    if unknown or not wanted:
        raise invalid_argument(
            "x-amz-object-attributes",
            ",".join(sorted(unknown)),
            "Invalid attribute name specified.",
        )
    result: dict[str, Any] = {"LastModified": moment(stored.modified)}
    for name in wanted:
        value = ATTRIBUTES[name](call, stored)
        if value is not None:
            result[name] = value
    return call.reply(result)


def _checksums(_: Call, stored: Stored) -> dict[str, Any] | None:
    if not stored.checksums:
        return None
    found: dict[str, Any] = {member_of(name): text for name, text in stored.checksums.items()}
    return found | {"ChecksumType": stored.checksum_type}


def _parts(call: Call, stored: Stored) -> dict[str, Any] | None:
    if not stored.parts:
        return None
    limit = min(int(call.params.get("MaxParts", PARTS_PAGE)), PARTS_PAGE)
    marker = int(call.params.get("PartNumberMarker", 0))
    shown = [(n, part) for n, part in enumerate(stored.parts, 1) if n > marker][:limit]
    last = shown[-1][0] if shown else marker
    result: dict[str, Any] = {
        "TotalPartsCount": len(stored.parts),
        "PartNumberMarker": marker,
        "NextPartNumberMarker": last,
        "MaxParts": limit,
        "IsTruncated": last < len(stored.parts) and bool(shown),
    }
    algorithm = next(iter(stored.checksums), "")
    if any(part.checksum for part in stored.parts):
        result["Parts"] = [
            {"PartNumber": n, "Size": part.size, member_of(algorithm): part.checksum}
            for n, part in shown
        ]
    return result


ATTRIBUTES: Final[dict[str, Callable[[Call, Stored], Any]]] = {
    "ETag": lambda _, stored: stored.etag,
    "Checksum": _checksums,
    "ObjectParts": _parts,
    "StorageClass": lambda _, stored: stored.attributes.headers.get(
        "x-amz-storage-class", "STANDARD"
    ),
    "ObjectSize": lambda _, stored: stored.size,
}


def get_object_tagging(call: Call) -> Response:
    check_version(call)
    tags = call.objects.find(call.bucket, call.key).attributes.tags
    return call.reply({"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]})


OPERATIONS: Final = {
    "HeadObject": head_object,
    "GetObject": get_object,
    "GetObjectAttributes": get_object_attributes,
    "GetObjectTagging": get_object_tagging,
}
