"""The frames by which a gateway tells of single requests, and the control plane takes them.

A frame is the length of all that follows it and the length of its head (4 bytes each,
little-endian; the first counts the second), the head as a JSON list, then two bodies whose lengths
end the list. What the lists hold, after the kind:

- capture: what the route told, variant, time, event id, inference id, custom attributes of the
  request and of the answer, content type of the request and of the answer, whether each is there,
  where in the same file the request stands if it is not here (its first byte and its length), so
  that a shadow's record does not write again what the live one's has;
- observation: region, endpoint, configuration, variant, the chances of all variants by name (None:
  it was not chosen by chance), status (0: no answer), microseconds, time, inference id, the user's
  place or None;
- review: region, endpoint, variant, time, event id (as of the captured record of the same request),
  inference id, content type of the request and of the answer;
- comparison: region, endpoint, configuration, live variant, shadow variant, both statuses (of the
  shadow 0: no answer, -1: not asked), both microseconds, time, whether the answers are the same
  bytes, both content types.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

import orjson

FOLDER: Final = "journal"
CAPTURED: Final = "capture"
OBSERVED: Final = "observation"
COMPARED: Final = "comparison"
REVIEWED: Final = "review"
_LENGTHS: Final = struct.Struct("<II")


Part = bytes | memoryview


def frame(head: list[Any], first: Part = b"", second: Part = b"") -> list[Part]:
    """The parts of one frame; the lengths of the bodies, which are not copied, end the head."""
    encoded = orjson.dumps([*head, len(first), len(second)])
    size = 4 + len(encoded) + len(first) + len(second)
    parts: list[Part] = [_LENGTHS.pack(size, len(encoded)) + encoded]
    parts += [body for body in (first, second) if body]
    return parts


def read_frames(content: bytes) -> Iterator[tuple[int, list[Any], bytes, bytes]]:
    """The whole frames of a file: where each ends, its head without the lengths, its bodies."""
    at, total = 0, len(content)
    while at + 8 <= total:
        size, head_bytes = _LENGTHS.unpack_from(content, at)
        end = at + 4 + size
        if end > total:
            return
        start = at + 8
        head = orjson.loads(content[start : start + head_bytes])
        *told, first_bytes, second_bytes = head
        start += head_bytes
        middle = start + first_bytes
        yield end, told, content[start:middle], content[middle : middle + second_bytes]
        at = end
