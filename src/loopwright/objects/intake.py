"""A body on its way in: decoded, measured, hashed, and compared with what its head promised."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

from starlette.requests import ClientDisconnect

from loopwright.objects.checksums import (
    HEADER_START,
    NOT_VALUES,
    Hasher,
    algorithm_of,
    as_text,
    from_text,
    header_of,
    new_hasher,
)
from loopwright.wire.chunked import STREAMING, UNSIGNED_TRAILER, ChunkedDecoder
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request
from loopwright.wire.sigv4 import UNSIGNED, Signed

PIECE_BYTES: Final = 512 * 1024
OBJECT_BYTES_MAX: Final = 5 * 1024**4
DOCUMENT_BYTES_MAX: Final = 2 * 1024 * 1024

DRAIN_BYTES_MAX: Final = 16 * 1024 * 1024
GONE: Final = (ClientDisconnect, ConnectionError, EOFError)
NUMBER: Final = re.compile(r"[0-9]{1,19}")

Hop = Callable[..., Awaitable[Any]]


class Incoming(AsyncIterator[bytes]):
    """A body that knows whether it was read to its end."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._is_ended = False

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._body)
        except BaseException:
            self._is_ended = True
            raise

    async def drain(self, request: Request) -> None:
        """Read what nobody wanted, if the head promises a short body."""
        text = request.headers.get("content-length", "0")
        if self._is_ended or not NUMBER.fullmatch(text) or not 0 < int(text) <= DRAIN_BYTES_MAX:
            return
        try:
            async for _ in self:
                pass
        except GONE:
            return  # The client left, so no request follows on its connection.


class Sink(Protocol):
    """Where the decoded bytes go."""

    def write(self, piece: bytes) -> None: ...


class Document:
    """A sink for bodies that are read whole: XML of at most 2 MiB."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, piece: bytes) -> None:
        """Append.

        Raises:
            ApiError: `MaxMessageLengthExceeded`.
        """
        if len(self.content) + len(piece) > DOCUMENT_BYTES_MAX:
            raise ApiError(
                "MaxMessageLengthExceeded",
                f"The document is larger than {DOCUMENT_BYTES_MAX} bytes.",
                400,
            )
        self.content += piece


class Intake:
    """Checks one body while it passes to a sink. Feed it, then `finish`; not thread-safe.

    Args:
        has_checksum: Whether a checksum header speaks of this body; that of a completion of an
            upload speaks of the object.

    Raises:
        ApiError: `InvalidDigest`, `InvalidRequest`, `MissingContentLength`, `NotImplemented`:
            the head promises what cannot be checked.
    """

    def __init__(
        self, request: Request, signed: Signed, sink: Sink, has_checksum: bool = True
    ) -> None:
        headers = request.headers
        self._sink = sink
        payload = signed.payload
        if payload == UNSIGNED and headers.get("x-amz-content-sha256") == UNSIGNED_TRAILER:
            # A presigned address signs no payload, but its body may come in chunks all the same.
            payload = UNSIGNED_TRAILER
        is_chunked = payload.startswith(STREAMING)
        self._decoder = ChunkedDecoder(payload, signed) if is_chunked else None
        self._sha256: str | None = None if is_chunked or payload == UNSIGNED else payload.lower()
        self._md5 = _md5_of(headers.get("content-md5"))
        self._length = _length_of(headers, is_chunked)
        self._size = 0
        self._header, self._value = _checksum_of(headers) if has_checksum else (None, None)
        self._hashers: dict[str, Hasher] = {}
        if self._sha256 is not None:
            self._hashers["sha256"] = hashlib.sha256()
        if self._md5 is not None:
            self._hashers["md5"] = hashlib.md5(usedforsecurity=False)
        if self._header is not None:
            self._hashers["checksum"] = new_hasher(algorithm_of(self._header))

    @property
    def length(self) -> int | None:
        """Of the decoded body as its head says, in bytes; None when it does not."""
        return self._length

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body as sent.

        Raises:
            ApiError: see `ChunkedDecoder.feed`; `EntityTooLarge`; what the sink raises.
        """
        for part in [piece] if self._decoder is None else self._decoder.feed(piece):
            self._size += len(part)
            for hasher in self._hashers.values():
                hasher.update(part)
            self._sink.write(part)

    def finish(self) -> dict[str, str]:
        """Compare all with the head; returns the additional checksum by algorithm, if one came.

        Raises:
            ApiError: `IncompleteBody`, `XAmzContentSHA256Mismatch`, `BadDigest`,
                `MalformedTrailerError`.
        """
        trailers = {} if self._decoder is None else self._decoder.finish()
        if self._length is not None and self._size != self._length:
            raise ApiError(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP "
                f"header: {self._size} instead of {self._length}.",
                400,
            )
        if self._sha256 is not None:
            actual = self._hashers["sha256"].digest().hex()
            if not hmac.compare_digest(actual.encode(), self._sha256.encode()):
                raise ApiError(
                    "XAmzContentSHA256Mismatch",
                    "The provided 'x-amz-content-sha256' header does not match what was computed.",
                    400,
                    ClientComputedContentSHA256=self._sha256,
                    S3ComputedContentSHA256=actual,
                )
        if self._md5 is not None and self._hashers["md5"].digest() != self._md5:
            raise ApiError(
                "BadDigest",
                "The Content-MD5 you specified did not match what we received.",
                400,
            )
        return self._compare_checksum(trailers)

    def _compare_checksum(self, trailers: dict[str, str]) -> dict[str, str]:
        if self._header is None:
            return {}
        text = self._value if self._value is not None else trailers.get(self._header)
        if text is None:
            raise ApiError(
                "MalformedTrailerError",
                f"The trailing header {self._header} that X-Amz-Trailer announces is missing.",
                400,
            )
        algorithm = algorithm_of(self._header)
        actual = self._hashers["checksum"].digest()
        given = from_text(text, self._header)
        if len(given) != len(actual):
            raise ApiError("InvalidRequest", f"Value for {self._header} header is invalid.", 400)
        if given != actual:
            raise ApiError(
                "BadDigest",
                f"The {algorithm} you specified did not match the calculated checksum.",
                400,
            )
        return {algorithm: as_text(actual)}


async def pour(body: AsyncIterator[bytes], intake: Intake, hop: Hop) -> bytes:
    """Feed a body to an intake in pieces of half a MiB, each in a thread; returns the last piece.

    The last piece is left to the caller, who feeds it in the hop that also finishes: a small
    object costs one hop.

    Raises:
        ApiError: `IncompleteBody`, the client went away; what the intake raises.
    """
    buffer = bytearray()
    try:
        async for chunk in body:
            buffer += chunk
            if len(buffer) >= PIECE_BYTES:
                piece, buffer = bytes(buffer), bytearray()
                await hop(intake.feed, piece)
    except GONE as error:
        raise ApiError(
            "IncompleteBody", "The request body terminated unexpectedly.", 400
        ) from error
    return bytes(buffer)


def _md5_of(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise ApiError("InvalidDigest", "The Content-MD5 you specified was invalid.", 400)
    return digest


def _length_of(headers: Any, is_chunked: bool) -> int | None:
    """The decoded length that the head promises."""
    name = "x-amz-decoded-content-length" if is_chunked else "content-length"
    text = headers.get(name)
    if text is None:
        if is_chunked:
            raise ApiError(
                "MissingContentLength", "You must provide x-amz-decoded-content-length.", 411
            )
        return None
    if not NUMBER.fullmatch(text):
        raise ApiError("InvalidArgument", f"{name} must be a number; it is {text!r}.", 400)
    if int(text) > OBJECT_BYTES_MAX:
        raise ApiError(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            400,
            ProposedSize=text,
            MaxSizeAllowed=OBJECT_BYTES_MAX,
        )
    return int(text)


def _checksum_of(headers: Any) -> tuple[str | None, str | None]:
    """The header or trailer that carries the additional checksum; its value if a header."""
    given = [n for n in headers if n.startswith(HEADER_START) and n not in NOT_VALUES]
    trailing = [
        name
        for part in headers.get("x-amz-trailer", "").split(",")
        if (name := part.strip().lower()).startswith(HEADER_START)
    ]
    if len(given) + len(trailing) > 1:
        raise ApiError(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            400,
        )
    announced = headers.get("x-amz-sdk-checksum-algorithm")
    if announced is not None and header_of(announced) not in (*given, *trailing):
        raise ApiError(
            "InvalidRequest",
            f"x-amz-sdk-checksum-algorithm is {announced}, but there is no header or trailer "
            f"{header_of(announced)}.",
            400,
        )
    if given:
        return given[0], headers[given[0]]
    return (trailing[0], None) if trailing else (None, None)
