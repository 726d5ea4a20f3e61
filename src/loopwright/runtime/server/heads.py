"""Heads of requests as almost everybody writes them, read without the parser and remembered.

A client sends the same head again and again. What is not plain beyond doubt (chunked bodies,
`Expect`, repeated or folded headers, other versions) is None here and goes to the full parser.
"""

import re
from functools import lru_cache
from typing import NamedTuple

HEAD_BYTES_MAX = 1024
_FIRST = re.compile(rb"(POST) (/[!-\"$->@-~]*)(?:\?[!-\"$-~]*)? HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
# What these ask for is done by the full parser and what stands behind it.
_ASKING = (b"transfer-encoding", b"expect", b"upgrade")


class Head(NamedTuple):
    """A request's head.

    Attributes:
        method, path: As sent, the path without its query.
        headers: By lower-case name. Shared by all requests with this head.
        length: Of the body.
    """

    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    length: int


@lru_cache(maxsize=256)
def read(raw: bytes) -> Head | None:
    """The head of a POST with a body of known length, without its empty line."""
    first, *lines = raw.split(b"\r\n")
    match = _FIRST.fullmatch(first)
    if match is None:
        return None
    headers: dict[bytes, bytes] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            return None
        headers[field[1].lower()] = field[2].strip(b"\t ")
    length = headers.get(b"content-length", b"")
    if (
        len(headers) != len(lines)
        or not length.isdigit()
        or len(length) > 12
        or any(name in headers for name in _ASKING)
        or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive"
    ):
        return None
    return Head(match[1], match[2], headers, int(length))
