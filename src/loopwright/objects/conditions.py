"""The conditions and ranges of reads, by RFC 9110 as S3 applies it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from loopwright.objects.names import precondition_failed
from loopwright.objects.rows import WriteConditions
from loopwright.wire.errors import ApiError

RANGE_PATTERN: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
COPY_RANGE_PATTERN: Final = re.compile(r"bytes=(\d{1,19})-(\d{1,19})")


@dataclass(frozen=True, slots=True)
class ReadConditions:
    """When to answer; times in seconds since the epoch, None asks nothing."""

    match: str | None
    none_match: str | None
    modified_since: float | None
    unmodified_since: float | None

    def holds(self, etag: str, modified: float) -> bool:
        """Whether to answer with the content; False means it is not modified.

        Raises:
            ApiError: `PreconditionFailed`.
        """
        second = int(modified)
        if self.match is not None:
            if not _has_etag(self.match, etag):
                raise precondition_failed("If-Match")
        elif self.unmodified_since is not None and second > self.unmodified_since:
            raise precondition_failed("If-Unmodified-Since")
        if self.none_match is not None:
            return not _has_etag(self.none_match, etag)
        return self.modified_since is None or second > self.modified_since


def read_conditions(headers: Mapping[str, str], start: str = "") -> ReadConditions:
    """The conditions in a request's headers, whose names begin with `start`."""
    return ReadConditions(
        headers.get(f"{start}if-match"),
        headers.get(f"{start}if-none-match"),
        _seconds(headers.get(f"{start}if-modified-since")),
        _seconds(headers.get(f"{start}if-unmodified-since")),
    )


def write_conditions(headers: Mapping[str, str]) -> WriteConditions:
    """The conditions of a write.

    Raises:
        ApiError: `NotImplemented`, If-None-Match with anything but `*`.
    """
    none_match = headers.get("if-none-match")
    if none_match not in (None, "*"):
        raise ApiError(
            "NotImplemented",
            "A header you provided implies functionality that is not implemented: "
            "If-None-Match of a write must be *.",
            501,
            Header="If-None-Match",
        )
    match = headers.get("if-match")
    return WriteConditions(bare_etag(match) if match else None, none_match == "*")


def bare_etag(text: str) -> str:
    """An ETag without quotes."""
    return text.strip().removeprefix("W/").strip('"')


def read_range(text: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last; None for the whole content.

    A range in another form, or several, is ignored, as S3 does.

    Raises:
        ApiError: `InvalidRange`, no byte of it exists.
    """
    match = RANGE_PATTERN.fullmatch(text.replace(" ", "")) if text else None
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= size:
        raise invalid_range(text or "", size)
    return start, end


def read_copy_range(text: str, size: int) -> tuple[int, int]:
    """Like `read_range`, for the source of a part: both ends are needed and must exist.

    Raises:
        ApiError: `InvalidArgument`.
    """
    match = COPY_RANGE_PATTERN.fullmatch(text)
    if match is None or not int(match[1]) <= int(match[2]) < size:
        raise ApiError(
            "InvalidArgument",
            f"The x-amz-copy-source-range {text!r} is not valid: it must be bytes=first-last "
            f"within the source's {size} bytes.",
            400,
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    return int(match[1]), int(match[2]) + 1


def invalid_range(text: str, size: int) -> ApiError:
    return ApiError(
        "InvalidRange",
        "The requested range is not satisfiable",
        416,
        RangeRequested=text,
        ActualObjectSize=size,
    )


def _has_etag(wanted: str, etag: str) -> bool:
    return any(bare_etag(item) in ("*", etag) for item in wanted.split(","))


def _seconds(text: str | None) -> float | None:
    """A date in seconds; a date that cannot be read asks nothing, by the RFC."""
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return None
