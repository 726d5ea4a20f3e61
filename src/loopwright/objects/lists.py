"""Operations that list: objects, versions, uploads, parts."""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final

from loopwright.objects.call import Call, moment, owner, quoted, url_encoded
from loopwright.objects.checksums import member_of
from loopwright.objects.listing import Page, after_marker
from loopwright.objects.names import invalid_argument, refuse_nul
from loopwright.objects.tables import Stored, stored
from loopwright.objects.uploads import Scope, Upload
from loopwright.wire.http import Response

PAGE_MAX: Final = 1000

Encode = Callable[[str], str]


def list_objects(call: Call) -> Response:
    encode = _encoding(call)
    marker = call.params.get("Marker", "")
    prefix, delimiter, limit = _scope(call, "MaxKeys")
    low = after_marker(marker.encode(), prefix.encode(), delimiter.encode())
    page = _page(call, prefix, delimiter, low, limit)
    result = _shown(call, page, encode, is_owned=True)
    result |= {"Marker": encode(marker), "MaxKeys": limit}
    if page.next is not None and delimiter and page.entries:
        result["NextMarker"] = encode(page.entries[-1].name.decode())
    return call.reply(result)


def list_objects_v2(call: Call) -> Response:
    encode = _encoding(call)
    start, token = call.params.get("StartAfter", ""), call.params.get("ContinuationToken")
    prefix, delimiter, limit = _scope(call, "MaxKeys")
    if token is not None:
        low = _read_token(token)
    else:
        low = after_marker(start.encode(), prefix.encode(), delimiter.encode())
    page = _page(call, prefix, delimiter, low, limit)
    result = _shown(call, page, encode, is_owned=bool(call.params.get("FetchOwner")))
    result |= {"MaxKeys": limit, "KeyCount": len(page.entries)}
    if start:
        result["StartAfter"] = encode(start)
    if token is not None:
        result["ContinuationToken"] = token
    if page.next is not None:
        result["NextContinuationToken"] = base64.urlsafe_b64encode(page.next).decode()
    return call.reply(result)


def list_object_versions(call: Call) -> Response:
    """Without versioning every object is its one version, `null`."""
    encode = _encoding(call)
    marker = call.params.get("KeyMarker", "")
    prefix, delimiter, limit = _scope(call, "MaxKeys")
    low = after_marker(marker.encode(), prefix.encode(), delimiter.encode())
    page = _page(call, prefix, delimiter, low, limit)
    result = _shown(call, page, encode, is_owned=True)
    versions = result.pop("Contents", [])
    for version in versions:
        version |= {"VersionId": "null", "IsLatest": True}
    result |= {"Versions": versions, "KeyMarker": encode(marker), "MaxKeys": limit}
    if page.next is not None and page.entries:
        result["NextKeyMarker"] = encode(page.entries[-1].name.decode())
        result["NextVersionIdMarker"] = "null"
    return call.reply(result)


def _page(call: Call, prefix: str, delimiter: str, low: bytes, limit: int) -> Page:
    if limit == 0:
        call.objects.buckets.get(call.bucket)
        return Page([], None)
    return call.objects.page(call.bucket, prefix.encode(), delimiter.encode(), low, limit)


def _scope(call: Call, limit_name: str) -> tuple[str, str, int]:
    """Prefix, delimiter and the most entries of a page."""
    limit = int(call.params.get(limit_name, PAGE_MAX))
    if limit < 0:
        raise invalid_argument(
            limit_name, limit, f"Argument {limit_name} must be an integer between 0 and 2147483647"
        )
    prefix, delimiter = call.params.get("Prefix", ""), call.params.get("Delimiter", "")
    return prefix, delimiter, min(limit, PAGE_MAX)


def _encoding(call: Call) -> Encode:
    kind = call.params.get("EncodingType")
    if kind not in (None, "url"):
        raise invalid_argument(
            "encoding-type", kind, "Invalid Encoding Method specified in Request"
        )
    return url_encoded if kind == "url" else str


def _shown(call: Call, page: Page, encode: Encode, *, is_owned: bool) -> dict[str, Any]:
    """What all listings of objects have in common."""
    contents = [
        _content(call, stored(entry.row), encode, is_owned)
        for entry in page.entries
        if entry.row is not None
    ]
    groups = [
        {"Prefix": encode(entry.name.decode())} for entry in page.entries if entry.row is None
    ]
    return _frame(call, encode) | {
        "IsTruncated": page.next is not None,
        "Contents": contents,
        "CommonPrefixes": groups,
    }


def _frame(call: Call, encode: Encode) -> dict[str, Any]:
    """The request's own members, which every listing repeats."""
    result: dict[str, Any] = {"Prefix": encode(call.params.get("Prefix", ""))}
    if call.params.get("Delimiter"):
        result["Delimiter"] = encode(call.params["Delimiter"])
    if "EncodingType" in call.params:
        result["EncodingType"] = call.params["EncodingType"]
    result["Bucket" if call.route.operation == "ListMultipartUploads" else "Name"] = call.bucket
    return result


def _content(call: Call, found: Stored, encode: Encode, is_owned: bool) -> dict[str, Any]:
    content: dict[str, Any] = {
        "Key": encode(found.key),
        "LastModified": moment(found.modified),
        "ETag": quoted(found.etag),
        "Size": found.size,
        "StorageClass": found.attributes.headers.get("x-amz-storage-class", "STANDARD"),
    }
    if found.checksums:
        content["ChecksumAlgorithm"] = list(found.checksums)
        content["ChecksumType"] = found.checksum_type
    if is_owned:
        content["Owner"] = owner(call.objects.account)
    return content


def _read_token(token: str) -> bytes:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise invalid_argument(
            "continuation-token", token, "The continuation token provided is incorrect"
        ) from None


def list_multipart_uploads(call: Call) -> Response:
    encode = _encoding(call)
    prefix, delimiter, limit = _scope(call, "MaxUploads")
    marker = call.params.get("KeyMarker", "")
    after = refuse_nul("upload-id-marker", call.params.get("UploadIdMarker", ""))
    key = marker.encode()
    if not after or not key:
        key, after = after_marker(key, prefix.encode(), delimiter.encode()), ""
    scope = Scope(prefix.encode(), delimiter.encode(), key, after, limit)
    entries, is_truncated = call.objects.uploads.page(call.bucket, scope)
    result = _frame(call, encode) | {
        "KeyMarker": encode(marker),
        "UploadIdMarker": after,
        "MaxUploads": limit,
        "IsTruncated": is_truncated,
        "Uploads": [_upload(call, e, encode) for e in entries if isinstance(e, Upload)],
        "CommonPrefixes": [{"Prefix": encode(e.decode())} for e in entries if isinstance(e, bytes)],
    }
    if is_truncated and entries:
        last = entries[-1]
        key, upload = (last.key, last.id) if isinstance(last, Upload) else (last.decode(), "")
        result |= {"NextKeyMarker": encode(key), "NextUploadIdMarker": upload}
    return call.reply(result)


def _upload(call: Call, upload: Upload, encode: Encode) -> dict[str, Any]:
    shown = {
        "UploadId": upload.id,
        "Key": encode(upload.key),
        "Initiated": moment(upload.created),
        "StorageClass": upload.attributes.headers.get("x-amz-storage-class", "STANDARD"),
        "Owner": owner(call.objects.account),
        "Initiator": owner(call.objects.account),
    }
    if upload.algorithm:
        shown |= {"ChecksumAlgorithm": upload.algorithm, "ChecksumType": upload.checksum_type}
    return shown


def list_parts(call: Call) -> Response:
    upload = call.objects.uploads.get(call.bucket, call.key, call.request.arguments["uploadId"])
    limit = min(int(call.params.get("MaxParts", PAGE_MAX)), PAGE_MAX)
    marker = int(call.params.get("PartNumberMarker", 0))
    if limit < 0 or marker < 0:
        raise invalid_argument("max-parts", limit, "Numbers of a listing must not be negative.")
    parts = call.objects.uploads.parts(upload.id, marker, limit + 1)
    shown = parts[:limit]
    result: dict[str, Any] = {
        "Bucket": call.bucket,
        "Key": call.key,
        "UploadId": upload.id,
        "PartNumberMarker": marker,
        "NextPartNumberMarker": shown[-1].number if shown else marker,
        "MaxParts": limit,
        "IsTruncated": limit > 0 and len(parts) > limit,
        "StorageClass": upload.attributes.headers.get("x-amz-storage-class", "STANDARD"),
        "Owner": owner(call.objects.account),
        "Initiator": owner(call.objects.account),
        "Parts": [
            {
                "PartNumber": part.number,
                "LastModified": moment(part.modified),
                "ETag": quoted(part.etag),
                "Size": part.size,
                **{member_of(name): text for name, text in part.checksums.items()},
            }
            for part in shown
        ],
    }
    if upload.algorithm:
        result |= {"ChecksumAlgorithm": upload.algorithm, "ChecksumType": upload.checksum_type}
    return call.reply(result)


OPERATIONS: Final = {
    "ListObjects": list_objects,
    "ListObjectsV2": list_objects_v2,
    "ListObjectVersions": list_object_versions,
    "ListMultipartUploads": list_multipart_uploads,
    "ListParts": list_parts,
}
