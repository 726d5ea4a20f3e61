"""Event-stream answers: AWS's binary framing of `vnd.amazon.eventstream`.

A message is: total length, header length, CRC-32 of both (prelude), headers, payload, CRC-32 of
all before it; all numbers big-endian, 32 bits. Source: the AWS documentation, "Event stream
encoding"; botocore's decoder is the other side.
"""

import struct
import zlib
from functools import lru_cache
from typing import Final

STRING: Final = 7
CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"


def event(kind: str, payload: bytes, content_type: str = "application/octet-stream") -> bytes:
    """An event of a modelled kind, such as `PayloadPart`."""
    return _framed(_headers("event", kind, content_type), payload)


def exception(kind: str, payload: bytes) -> bytes:
    """A modelled exception inside a stream, such as `ModelStreamError`; ends the stream.

    Args:
        payload: Its members as a JSON object.
    """
    return _framed(_headers("exception", kind, "application/json"), payload)


def _framed(headers: bytes, payload: bytes) -> bytes:
    total = 4 + 4 + 4 + len(headers) + len(payload) + 4
    prelude = struct.pack("!II", total, len(headers))
    body = b"".join((prelude, struct.pack("!I", zlib.crc32(prelude)), headers, payload))
    return body + struct.pack("!I", zlib.crc32(body))


@lru_cache(maxsize=64)
def _headers(message: str, kind: str, content_type: str) -> bytes:
    """The headers of an event or an exception, all strings; alike from message to message."""
    headers = {":message-type": message, f":{message}-type": kind, ":content-type": content_type}
    return b"".join(_header(name, value) for name, value in headers.items())


def _header(name: str, value: str) -> bytes:
    encoded, text = name.encode(), value.encode()
    return struct.pack("!B", len(encoded)) + encoded + struct.pack("!BH", STRING, len(text)) + text
