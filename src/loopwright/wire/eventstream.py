"""Event-stream answers: AWS's binary framing of `vnd.amazon.eventstream`.

A message is: total length, header length, CRC-32 of both (prelude), headers, payload, CRC-32 of
all before it; all numbers big-endian, 32 bits. Source: the AWS documentation, "Event stream
encoding"; botocore's decoder is the other side.
"""

import struct
import zlib
from typing import Final

STRING: Final = 7
CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message with string headers."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    total = 4 + 4 + 4 + len(packed) + len(payload) + 4
    prelude = struct.pack("!II", total, len(packed))
    body = prelude + struct.pack("!I", zlib.crc32(prelude)) + packed + payload
    return body + struct.pack("!I", zlib.crc32(body))


def event(kind: str, payload: bytes, content_type: str = "application/octet-stream") -> bytes:
    """An event of a modelled kind, such as `PayloadPart`."""
    headers = {":message-type": "event", ":event-type": kind, ":content-type": content_type}
    return message(headers, payload)


def exception(kind: str, payload: bytes) -> bytes:
    """A modelled exception inside a stream, such as `ModelStreamError`; ends the stream."""
    headers = {
        ":message-type": "exception",
        ":exception-type": kind,
        ":content-type": "application/json",
    }
    return message(headers, payload)


def _header(name: str, value: str) -> bytes:
    encoded, text = name.encode(), value.encode()
    return struct.pack("!B", len(encoded)) + encoded + struct.pack("!BH", STRING, len(text)) + text
