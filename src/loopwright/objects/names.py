"""What S3 allows as names: buckets, keys, tags, user metadata; and its most common refusals."""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from loopwright.wire.errors import ApiError

KEY_BYTES_MAX: Final = 1024
METADATA_BYTES_MAX: Final = 2048
OBJECT_TAGS_MAX: Final = 10
BUCKET_TAGS_MAX: Final = 50
TAG_KEY_MAX: Final = 128
TAG_VALUE_MAX: Final = 256
BUCKET_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ADDRESS_PATTERN: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
RESERVED_STARTS: Final = ("xn--", "sthree-", "amzn-s3-demo-")
RESERVED_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
NOT_IN_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def no_such_bucket(bucket: str) -> ApiError:
    return ApiError("NoSuchBucket", "The specified bucket does not exist", 404, BucketName=bucket)


def no_such_key(key: str) -> ApiError:
    return ApiError("NoSuchKey", "The specified key does not exist.", 404, Key=key)


def no_such_upload(upload: str) -> ApiError:
    return ApiError(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may "
        "have been aborted or completed.",
        404,
        UploadId=upload,
    )


def precondition_failed(condition: str) -> ApiError:
    return ApiError(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        412,
        Condition=condition,
    )


def invalid_argument(name: str, value: object, message: str) -> ApiError:
    return ApiError("InvalidArgument", message, 400, ArgumentName=name, ArgumentValue=value)


def make_readable(error: ApiError) -> None:
    """Replace in an error what no XML document can hold: clients could not read its code."""
    error.message = NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", error.message)
    error.members = {
        name: NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", str(value))
        for name, value in error.members.items()
        if value is not None
    }


def header_text(name: str, text: str) -> str:
    """A text as a header's value: UTF-8 as it goes on the wire, and no second header in it.

    Raises:
        ApiError: `InvalidArgument`.
    """
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise invalid_argument(name, text, "A header's value has no control characters.")
    return text.encode().decode("latin-1")


def refuse_nul(name: str, text: str) -> str:
    """The text itself; PostgreSQL cannot compare one that holds a NUL.

    Raises:
        ApiError: `InvalidArgument`.
    """
    if "\0" in text:
        raise invalid_argument(name, text, f"{name} must not hold a NUL.")
    return text


def check_bucket(bucket: str) -> None:
    """Refuse a name that S3 would refuse for a new bucket.

    Raises:
        ApiError: `InvalidBucketName`.
    """
    if (
        not BUCKET_PATTERN.fullmatch(bucket)
        or ".." in bucket
        or ADDRESS_PATTERN.fullmatch(bucket)
        or bucket.startswith(RESERVED_STARTS)
        or bucket.endswith(RESERVED_ENDS)
    ):
        raise ApiError(
            "InvalidBucketName",
            f"The bucket name {bucket!r} is not valid: 3 to 63 of a-z, 0-9, dot and hyphen, "
            "beginning and ending with a letter or digit, and no IP address.",
            400,
            BucketName=bucket,
        )


def key_bytes(key: str) -> bytes:
    """The key as it is stored and ordered.

    Raises:
        ApiError: `KeyTooLongError`, `InvalidURI` (no UTF-8), `InvalidArgument` (empty).
    """
    if not key:
        raise invalid_argument("Key", key, "The key is empty; it needs at least one character.")
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        raise ApiError("InvalidURI", "The key is not valid UTF-8.", 400) from None
    if len(raw) > KEY_BYTES_MAX:
        raise ApiError(
            "KeyTooLongError",
            "Your key is too long",
            400,
            Size=len(raw),
            MaxSizeAllowed=KEY_BYTES_MAX,
        )
    return raw


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Refuse user metadata of more than 2 KB.

    Raises:
        ApiError: `MetadataTooLarge`.
    """
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > METADATA_BYTES_MAX:
        raise ApiError(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            400,
            Size=size,
            MaxSizeAllowed=METADATA_BYTES_MAX,
        )


def read_tags(pairs: Iterable[tuple[str, str]], tags_max: int) -> dict[str, str]:
    """Tags checked by S3's rules.

    Raises:
        ApiError: `InvalidTag`, `BadRequest` (too many).
    """
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not 1 <= len(key) <= TAG_KEY_MAX:
            raise ApiError("InvalidTag", "The TagKey you have provided is invalid", 400, TagKey=key)
        if len(value) > TAG_VALUE_MAX:
            raise ApiError(
                "InvalidTag", "The TagValue you have provided is invalid", 400, TagKey=key
            )
        if key in tags:
            raise ApiError(
                "InvalidTag", "Cannot provide multiple Tags with the same key", 400, TagKey=key
            )
        tags[key] = value
    if len(tags) > tags_max:
        raise ApiError("BadRequest", f"There can be at most {tags_max} tags.", 400)
    return tags


def read_tagging_header(text: str) -> dict[str, str]:
    """The tags of an `x-amz-tagging` header: `key=value&…`, percent-encoded.

    Raises:
        ApiError: `InvalidTag`, `BadRequest`.
    """
    return read_tags(parse_qsl(text, keep_blank_values=True), OBJECT_TAGS_MAX)
