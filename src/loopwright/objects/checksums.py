"""S3's additional checksums. What the standard library lacks is computed here by tables.

The cyclic codes take 16 bits a step (slicing, after Kounavis and Berry, "A Systematic Approach to
Building High Performance Software-Based CRC Generators", 2005): 20 to 40 MB/s in plain Python.
"""

import base64
import binascii
import hashlib
import zlib
from array import array
from collections.abc import Callable
from functools import cache
from typing import Final, Protocol

from loopwright.wire.errors import ApiError

CRC32C_POLYNOMIAL: Final = 0x82F63B78
CRC64NVME_POLYNOMIAL: Final = 0x9A6C9329AC4BC9B5
HEADER_START: Final = "x-amz-checksum-"
NOT_VALUES: Final = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type"})


class Hasher(Protocol):
    """Something that takes bytes and gives a digest."""

    def update(self, piece: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc32:
    """CRC-32, big-endian digest."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, piece: bytes, /) -> None:
        self._value = zlib.crc32(piece, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class TableCrc:
    """A reflected cyclic code of 32 or 64 bits with inverted start and end, big-endian digest."""

    def __init__(self, polynomial: int, bits: int) -> None:
        self._bits = bits
        self._mask = (1 << bits) - 1
        self._value = self._mask
        self._polynomial = polynomial
        self._bytes = _byte_table(polynomial)

    def update(self, piece: bytes, /) -> None:
        step = self._bits // 8
        whole = len(piece) - len(piece) % step
        view = memoryview(piece)
        if whole:
            words = array("I" if step == 4 else "Q", view[:whole].tobytes())
            if not _LITTLE:
                words.byteswap()
            run = _run32 if step == 4 else _run64
            self._value = run(self._value, words, _word_tables(self._polynomial, step // 2))
        value, table = self._value, self._bytes
        for byte in view[whole:]:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        self._value = value

    def digest(self) -> bytes:
        return (self._value ^ self._mask).to_bytes(self._bits // 8, "big")


_LITTLE: Final = array("H", [1]).tobytes()[0] == 1


def _run32(value: int, words: "array[int]", tables: list["array[int]"]) -> int:
    low, high = tables[1], tables[0]
    for word in words:
        value ^= word
        value = low[value & 0xFFFF] ^ high[value >> 16]
    return value


def _run64(value: int, words: "array[int]", tables: list["array[int]"]) -> int:
    t0, t1, t2, t3 = tables
    for word in words:
        value ^= word
        value = (
            t3[value & 0xFFFF]
            ^ t2[(value >> 16) & 0xFFFF]
            ^ t1[(value >> 32) & 0xFFFF]
            ^ t0[value >> 48]
        )
    return value


@cache
def _byte_table(polynomial: int) -> list[int]:
    table = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    return table


@cache
def _word_tables(polynomial: int, count: int) -> list["array[int]"]:
    """For 16 bits of input, the register after 2, 4, … bytes."""
    single = _byte_table(polynomial)
    first = array("Q", bytes(8 * 65536))
    for number in range(65536):
        value = single[number & 0xFF] ^ (number >> 8)
        first[number] = single[value & 0xFF] ^ (value >> 8)
    tables = [first]
    for _ in range(count - 1):
        last = tables[-1]
        tables.append(array("Q", [first[v & 0xFFFF] ^ (v >> 16) for v in last]))
    return tables


ALGORITHMS: Final[dict[str, Callable[[], Hasher]]] = {
    "CRC32": Crc32,
    "CRC32C": lambda: TableCrc(CRC32C_POLYNOMIAL, 32),
    "CRC64NVME": lambda: TableCrc(CRC64NVME_POLYNOMIAL, 64),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
}
FULL_OBJECT_ONLY: Final = frozenset({"CRC64NVME"})
COMPOSITE_ONLY: Final = frozenset({"SHA1", "SHA256", "SHA512", "MD5"})


def new_hasher(algorithm: str) -> Hasher:
    """A hasher by S3's name of the algorithm.

    Raises:
        ApiError: `InvalidRequest`, the algorithm is not one of `ALGORITHMS`.
    """
    found = ALGORITHMS.get(algorithm)
    if found is None:
        raise ApiError(
            "InvalidRequest",
            f"The checksum algorithm {algorithm} is not supported here; "
            f"use one of {', '.join(ALGORITHMS)}.",
            400,
        )
    return found()


def as_text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def from_text(text: str, name: str) -> bytes:
    """The digest of a header.

    Raises:
        ApiError: `InvalidRequest`, it is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError("InvalidRequest", f"Value for {name} header is invalid.", 400) from None


def algorithm_of(header: str) -> str:
    """`CRC32` of `x-amz-checksum-crc32`.

    Raises:
        ApiError: `InvalidRequest`, no such algorithm here.
    """
    algorithm = header[len(HEADER_START) :].upper()
    new_hasher(algorithm)
    return algorithm


def header_of(algorithm: str) -> str:
    """`x-amz-checksum-crc32` of `CRC32`."""
    return HEADER_START + algorithm.lower()


def member_of(algorithm: str) -> str:
    """`ChecksumCRC32` of `CRC32`, the member in S3's shapes."""
    return f"Checksum{algorithm}"


def composite(algorithm: str, parts: list[str]) -> str:
    """The checksum of checksums of an upload in parts, with the count of parts."""
    hasher = new_hasher(algorithm)
    for part in parts:
        hasher.update(base64.b64decode(part))
    return f"{as_text(hasher.digest())}-{len(parts)}"
