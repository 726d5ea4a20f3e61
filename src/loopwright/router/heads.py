"""Heads of HTTP messages as almost everybody writes them, read without a parser.

Both readers take only what is plain beyond doubt and say None to all else, which then goes to the
full parser: other line ends, control characters, folded or repeated headers, chunked bodies,
`Expect`, other methods, other versions. So they need not know what such things mean.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

HEAD_BYTES_MAX: Final = 16_384
SHORT_BYTES_MAX: Final = 512
NAMES_MAX: Final = 512
_VISIBLE: Final = bytes(range(0x20, 0x7F))
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_TARGET: Final = re.compile(
    r"POST (/endpoints/[!-\"$->@-~]+/invocations(?:-response-stream)?)(?:\?([!-\"$-~]*))? HTTP/1\.1"
)
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)(?: [\t -\xff]*)?")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
# What these ask for is done by the full parser and what stands behind it.
_ASKING: Final = frozenset({"transfer-encoding", "expect", "upgrade", "proxy-connection", "te"})
_WITHOUT_BODY: Final = (204, 205, 304)


# A part of what was read, copied or not.
Body = bytes | memoryview
# Of an invocation: path and query as sent, headers by lower-case name, the body's length, and
# where in the data it begins. A tuple because it is made for every request.
Asked = tuple[str, str, dict[str, str], int, int]


class Head(NamedTuple):
    """What the gateway wants of the head of a model server's answer."""

    status: int
    content_type: bytes
    custom_attributes: bytes
    length: int


class _Names(dict[str, str]):
    """Lower-case names by names as written; KeyError for what is no name or asks for more."""

    def __missing__(self, name: str) -> str:
        lowered = name.lower()
        if _TOKEN.fullmatch(name) is None or lowered in _ASKING:
            raise KeyError(name)
        # Bounded, because clients choose the names.
        if len(self) < NAMES_MAX:
            self[name] = lowered
        return lowered


_names: Final = _Names()


def read_invocation(data: bytes) -> Asked | None:
    """The invocation at the start of the data, if its head is whole and plain."""
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    if end < 0:
        return None
    raw = data[:end]
    lines = raw.decode("latin-1").split("\r\n")
    first = lines.pop(0)
    # All that is not visible must be the line ends: two bytes a line.
    if len(raw.translate(None, _VISIBLE)) != 2 * len(lines) or len(first) > SHORT_BYTES_MAX:
        return None
    target = _target(first)
    headers: dict[str, str] = {}
    try:
        for line in lines:
            name, _, value = line.partition(": ")
            headers[_names[name]] = value.strip()
        length = headers["content-length"]
    except KeyError:
        return None
    if (
        target is None
        or len(headers) != len(lines)
        or not length.isdigit()
        or len(length) > 9
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
    ):
        return None
    return target[0], target[1], headers, int(length), end + 4


@lru_cache(maxsize=1024)
def _target(line: str) -> tuple[str, str] | None:
    match = _TARGET.fullmatch(line)
    return None if match is None else (match[1], match[2] or "")


@lru_cache(maxsize=512)
def read_answer(raw: bytes) -> Head | None:
    """The head of an answer, without the empty line, if it is plain and has a length."""
    first, *lines = raw.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None or int(status[1]) in _WITHOUT_BODY:
        return None
    headers: dict[bytes, bytes] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            return None
        name = field[1].lower()
        if name in headers:
            return None
        headers[name] = field[2].strip(b"\t ")
    length = headers.get(b"content-length", b"")
    if (
        not length.isdigit()
        or len(length) > 12
        or b"transfer-encoding" in headers
        or b"upgrade" in headers
        or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive"
    ):
        return None
    attributes = headers.get(b"x-amzn-sagemaker-custom-attributes", b"")
    return Head(int(status[1]), headers.get(b"content-type", b""), attributes, int(length))
