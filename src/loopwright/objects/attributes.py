"""What a writer says about an object in headers, and how it is said again to readers."""

from collections.abc import Mapping
from email.utils import formatdate
from typing import Final

from loopwright.objects.checksums import header_of
from loopwright.objects.names import check_metadata, invalid_argument, read_tagging_header
from loopwright.objects.tables import DEFAULT_TYPE, Attributes, Stored
from loopwright.wire.errors import ApiError

METADATA_START: Final = "x-amz-meta-"
KEPT: Final = (
    "Content-Type",
    "Cache-Control",
    "Content-Disposition",
    "Content-Language",
    "Expires",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-context",
)
ENCRYPTION: Final = tuple(name for name in KEPT if "encryption" in name)
STORAGE_CLASS: Final = "x-amz-storage-class"
STANDARD: Final = "STANDARD"
STORAGE_CLASSES: Final = (
    "STANDARD REDUCED_REDUNDANCY STANDARD_IA ONEZONE_IA INTELLIGENT_TIERING GLACIER_IR".split()
)
ENCRYPTIONS: Final = ("AES256", "aws:kms", "aws:kms:dsse")
CONTEXT: Final = "x-amz-server-side-encryption-context"
# Conditions that S3 knows for other kinds of buckets only: a write must not go on without them.
NOT_DONE: Final = frozenset(
    "x-amz-write-offset-bytes x-amz-if-match-size x-amz-if-match-last-modified-time "
    "x-amz-if-match-initiated-time".split()
)
ONLY_VALUES: Final = {
    "x-amz-object-ownership": "BucketOwnerEnforced",
    "x-amz-bucket-namespace": "global",
}
PRIVATE_ACLS: Final = ("private", "bucket-owner-full-control", "bucket-owner-read")
OVERRIDES: Final = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}


def read_attributes(headers: Mapping[str, str]) -> Attributes:
    """The attributes in a writer's headers.

    Raises:
        ApiError: `InvalidStorageClass`, `InvalidArgument` (encryption), `MetadataTooLarge`,
            `InvalidTag`.
    """
    kept = {name: headers[name.lower()] for name in KEPT if headers.get(name.lower())}
    encodings = [
        part.strip()
        for part in headers.get("content-encoding", "").split(",")
        if part.strip() not in ("", "aws-chunked")
    ]
    if encodings:
        kept["Content-Encoding"] = ", ".join(encodings)
    if kept.get(STORAGE_CLASS, STANDARD) not in STORAGE_CLASSES:
        raise ApiError(
            "InvalidStorageClass",
            f"The storage class {kept[STORAGE_CLASS]!r} is not valid here; "
            f"use one of {', '.join(STORAGE_CLASSES)}.",
            400,
        )
    encryption = kept.get("x-amz-server-side-encryption", "AES256")
    if encryption not in ENCRYPTIONS:
        raise invalid_argument(
            "x-amz-server-side-encryption",
            encryption,
            f"The encryption method specified is not supported: {encryption!r}.",
        )
    metadata = {
        name[len(METADATA_START) :]: value
        for name, value in headers.items()
        if name.startswith(METADATA_START)
    }
    check_metadata(metadata)
    tags = read_tagging_header(headers.get("x-amz-tagging", ""))
    return Attributes(kept, metadata, tags)


def refuse_unsupported(headers: Mapping[str, str]) -> None:
    """Refuse headers that ask for what this store does not do.

    Raises:
        ApiError: `AccessControlListNotSupported`, `NotImplemented`, `InvalidRequest`.
    """
    for name, value in headers.items():
        if name.startswith("x-amz-grant-") or (name == "x-amz-acl" and value not in PRIVATE_ACLS):
            raise ApiError(
                "AccessControlListNotSupported", "The bucket does not allow ACLs", 400, Header=name
            )
        if name.startswith("x-amz-object-lock-") or name == "x-amz-bucket-object-lock-enabled":
            if value.lower() != "false":
                raise ApiError("InvalidRequest", "Bucket is missing Object Lock Configuration", 400)
        elif (
            "server-side-encryption-customer-" in name
            or name in NOT_DONE
            or value != ONLY_VALUES.get(name, value)
        ):
            raise ApiError(
                "NotImplemented",
                f"A header you provided implies functionality that is not implemented: {name}.",
                501,
                Header=name,
            )


def object_headers(stored: Stored) -> dict[str, str]:
    """The headers of an object for its readers, without length, range and checksums."""
    headers = dict(stored.attributes.headers)
    headers.setdefault("Content-Type", DEFAULT_TYPE)
    headers.pop(CONTEXT, None)  # Only writers are told it.
    if headers.get(STORAGE_CLASS) == STANDARD:
        del headers[STORAGE_CLASS]
    headers["ETag"] = f'"{stored.etag}"'
    headers["Last-Modified"] = formatdate(int(stored.modified), usegmt=True)
    headers["Accept-Ranges"] = "bytes"
    for name, value in stored.attributes.metadata.items():
        headers[METADATA_START + name] = value
    if stored.attributes.tags:
        headers["x-amz-tagging-count"] = str(len(stored.attributes.tags))
    return headers


def checksum_headers(checksums: Mapping[str, str], checksum_type: str) -> dict[str, str]:
    """Checksums as headers."""
    headers = {header_of(algorithm): text for algorithm, text in checksums.items()}
    if headers and checksum_type:
        headers["x-amz-checksum-type"] = checksum_type
    return headers


def encryption_headers(attributes: Attributes) -> dict[str, str]:
    """What a writer asked about encryption, to be echoed."""
    return {name: attributes.headers[name] for name in ENCRYPTION if name in attributes.headers}
