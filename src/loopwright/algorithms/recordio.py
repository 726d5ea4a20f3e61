"""RecordIO-wrapped protobuf, `application/x-recordio-protobuf`: a codec of its own, by numpy alone.

A file is a row of frames: a magic number, a length, the payload, zeros up to a multiple of four. A
payload is the message aialgs.data.Record: maps of named tensors, for features and labels.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-training.html (the message),
https://mxnet.apache.org/versions/1.9.1/api/faq/recordio (the frames).
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

import numpy as np

MEDIA: Final = "application/x-recordio-protobuf"
VALUES: Final = "values"
_MAGIC_BYTES: Final = struct.pack("<I", 0xCED7230A)
_LENGTH_BITS: Final = 29
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field number in Value -> numpy type of its values.
_KINDS: Final[dict[int, np.dtype[Any]]] = {
    2: np.dtype("<f4"),
    3: np.dtype("<f8"),
    7: np.dtype("<i4"),
}

Array = np.ndarray[Any, np.dtype[Any]]
_Field = tuple[int, int, Any]


class RecordError(ValueError):
    """The bytes are not RecordIO-wrapped protobuf; the text says what was found instead."""


@dataclass(frozen=True)
class Tensor:
    """A vector, dense or sparse.

    Attributes:
        values: Shape (n,), float32, float64 or int32.
        keys: Positions of the values in a sparse vector, shape (n,); None for a dense one.
        shape: Of the whole tensor; required for a sparse one, () if not given.
    """

    values: Array
    keys: Array | None = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Record:
    """One observation: features and labels by name; the usual name is `values`."""

    features: dict[str, Tensor] = field(default_factory=dict)
    labels: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """Many dense records of one layout, read at once.

    Attributes:
        features: Shape (rows, columns).
        labels: Shape (rows, label columns), or None.
    """

    features: Array
    labels: Array | None


def frames(stream: BinaryIO) -> Iterator[bytes]:
    """The payloads of a stream, which may be a pipe.

    Raises:
        RecordError: a frame does not begin with the magic number, or ends too early.
    """
    parts: list[bytes] = []
    while head := _exactly(stream, 4, at_start=True):
        if head != _MAGIC_BYTES:
            raise RecordError(f"a frame begins with {head.hex()}, not {_MAGIC_BYTES.hex()}")
        (word,) = struct.unpack("<I", _exactly(stream, 4))
        part, length = word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)
        payload = _exactly(stream, length)
        _exactly(stream, -length % 4)
        if part == 0:
            yield payload
            continue
        # A payload that holds the magic number is cut there: first part 1, middle 2, last 3.
        parts.append(payload)
        if part == 3:
            yield _MAGIC_BYTES.join(parts)
            parts = []
    if parts:
        raise RecordError("the last record misses its end")


def read(stream: BinaryIO) -> Iterator[Record]:
    """The records of a stream; raises RecordError."""
    return map(decode, frames(stream))


def frame(payload: bytes) -> bytes:
    """A payload of less than 512 MiB, framed."""
    return _MAGIC_BYTES + struct.pack("<I", len(payload)) + payload + b"\0" * (-len(payload) % 4)


def decode(payload: bytes) -> Record:
    """One Record message.

    Raises:
        RecordError: it is not such a message, or a tensor has another number of keys than values.
    """
    record = Record()
    for number, wire, content in _fields(payload):
        if number in (1, 2) and wire == _BYTES:
            name, tensor = _entry(content)
            (record.features if number == 1 else record.labels)[name] = tensor
    return record


def encode(record: Record) -> bytes:
    """The message of a record, without a frame."""
    return _map(1, record.features) + _map(2, record.labels)


def dense_block(content: bytes) -> Block | None:
    """All records of a file at once, if they are dense and differ in nothing but their numbers.

    That is what the SDK writes for an array of floats; it is a hundred times faster than
    `read`. None means: use `read`.
    """
    if len(content) < 8 or content[:4] != _MAGIC_BYTES:
        return None
    length = int.from_bytes(content[4:8], "little")
    stride = 8 + length + -length % 4
    if length >> _LENGTH_BITS or len(content) % stride:
        return None
    try:
        first = decode(content[8 : 8 + length])
    except RecordError:
        return None
    found = [first.features.get(VALUES), first.labels.get(VALUES)]
    if found[0] is None or any(t is not None and not _plain(t) for t in found):
        return None
    rows = np.frombuffer(content, np.uint8).reshape(-1, stride)
    same = np.ones(stride, bool)
    columns: list[Array | None] = []
    for tensor in found:
        if tensor is None:
            columns.append(None)
            continue
        raw = tensor.values.tobytes()
        start = content.find(raw, 8, 8 + length)
        if start < 0 or content.find(raw, start + 1, 8 + length) >= 0:
            # Features and label could be the same bytes; which is which would be a guess.
            return None
        same[start : start + len(raw)] = False
        columns.append(rows[:, start : start + len(raw)].copy().view(tensor.values.dtype))
    if not (rows[:, same] == rows[0, same]).all() or columns[0] is None:
        return None
    return Block(columns[0], columns[1])


def _plain(tensor: Tensor) -> bool:
    # The length of an int32 depends on its value.
    return tensor.keys is None and tensor.values.dtype.kind == "f" and len(tensor.values) > 0


def _exactly(stream: BinaryIO, count: int, *, at_start: bool = False) -> bytes:
    content = stream.read(count) if count else b""
    while 0 < len(content) < count:
        # A pipe gives what there is.
        more = stream.read(count - len(content))
        if not more:
            break
        content += more
    if len(content) != count and not (at_start and not content):
        raise RecordError(f"the file ends {count - len(content)} bytes too early")
    return content


def _fields(message: bytes) -> Iterator[_Field]:
    """Number, wire type and content of each field of a message."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == _BYTES:
            size, at = _varint(message, at)
            content: Any = message[at : at + size]
            if len(content) != size:
                raise RecordError("a field is longer than its message")
            at += size
        elif wire == _VARINT:
            content, at = _varint(message, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
            content, at = message[at : at + size], at + size
            if at > end:
                raise RecordError("a number is cut off")
        else:
            raise RecordError(f"wire type {wire} is unknown")
        yield tag >> 3, wire, content


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise RecordError("a number is cut off")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _entry(content: bytes) -> tuple[str, Tensor]:
    name, tensor = "", Tensor(np.empty(0, np.float32))
    for number, wire, part in _fields(content):
        if number == 1 and wire == _BYTES:
            name = part.decode("utf-8", "replace")
        elif number == 2 and wire == _BYTES:
            tensor = _value(part)
    return name, tensor


def _value(content: bytes) -> Tensor:
    for number, wire, part in _fields(content):
        if number in _KINDS and wire == _BYTES:
            return _tensor(part, _KINDS[number])
        if number == 9:
            raise RecordError("a value holds bytes; only tensors of numbers are supported")
    return Tensor(np.empty(0, np.float32))


def _tensor(content: bytes, kind: np.dtype[Any]) -> Tensor:
    """The fields 1 values, 2 keys, 3 shape; packed or, as older writers do it, one by one."""
    found: dict[int, list[Array]] = {1: [], 2: [], 3: []}
    for number, wire, part in _fields(content):
        if number not in found:
            continue
        if number == 1 and kind.kind == "f":
            if len(part) % kind.itemsize:
                raise RecordError("the values of a tensor are cut off")
            found[1].append(np.frombuffer(part, kind))
        elif wire == _BYTES:
            found[number].append(_varints(part))
        else:
            found[number].append(np.array([part], np.uint64))
    values = _joined(found[1], kind if kind.kind == "f" else np.dtype(np.uint64))
    if kind.kind != "f":
        # Negative numbers are written as 64 bits; the lower half is the int32.
        values = values.astype(np.uint32).view(np.int32)
    keys = _joined(found[2], np.dtype(np.uint64)).astype(np.int64) if found[2] else None
    shape = tuple(int(size) for part in found[3] for size in part)
    if keys is not None and len(keys) != len(values):
        raise RecordError(f"a tensor has {len(keys)} keys, but {len(values)} values")
    if keys is None and shape and not len(values):
        # A sparse vector of zeros alone has neither keys nor values.
        keys = np.empty(0, np.int64)
    return Tensor(values, keys, shape)


def _joined(parts: list[Array], kind: np.dtype[Any]) -> Array:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _varints(packed: bytes) -> Array:
    """Packed variable-length integers as uint64."""
    raw = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(raw) and (not len(ends) or ends[-1] != len(raw) - 1):
        raise RecordError("a number is cut off")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if len(ends) else ends
    lengths = ends - starts + 1
    if len(lengths) and lengths.max() > 10:
        raise RecordError("a number has more than 64 bits")
    values = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max()) if len(lengths) else 0):
        there = lengths > place
        bits = (raw[starts[there] + place] & 0x7F).astype(np.uint64)
        values[there] |= bits << np.uint64(7 * place)
    return values


def _map(number: int, tensors: Mapping[str, Tensor]) -> bytes:
    entries = (
        _sized(1, name.encode()) + _sized(2, _value_of(tensor)) for name, tensor in tensors.items()
    )
    return b"".join(_sized(number, entry) for entry in entries)


def _value_of(tensor: Tensor) -> bytes:
    values = np.asarray(tensor.values)
    if values.dtype == np.float32:
        number, packed = 2, values.astype("<f4").tobytes()
    elif values.dtype.kind == "f":
        number, packed = 3, values.astype("<f8").tobytes()
    else:
        # int32 is sign-extended to 64 bits.
        number, packed = 7, _packed(int(value) & (1 << 64) - 1 for value in values)
    content = _sized(1, packed) if packed else b""
    if tensor.keys is not None and len(tensor.keys):
        content += _sized(2, _packed(int(key) for key in tensor.keys))
    if tensor.shape:
        content += _sized(3, _packed(iter(tensor.shape)))
    return _sized(number, content)


def _packed(numbers: Iterator[int]) -> bytes:
    return b"".join(map(_varint_of, numbers))


def _sized(number: int, content: bytes) -> bytes:
    return _varint_of(number << 3 | _BYTES) + _varint_of(len(content)) + content


def _varint_of(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
