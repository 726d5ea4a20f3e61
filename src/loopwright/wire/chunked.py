"""Bodies in S3's `aws-chunked` encoding, decoded as they arrive, with their signatures checked.

Formulas: the AWS documentation, "Signature calculations for the authorization header: transferring
payload in multiple chunks" and "… including trailing headers". Data is handed out before the
signature of its chunk is known, so that a chunk of any size needs no memory: the caller must
make nothing of it visible before `finish` has returned.
"""

import hashlib
import hmac
import re
from enum import Enum, auto
from typing import Final

from loopwright.wire.errors import ApiError
from loopwright.wire.sigv4 import Signed

STREAMING: Final = "STREAMING-"
SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
FORMS: Final = (SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER)
LINE_BYTES_MAX: Final = 4096
TRAILERS_MAX: Final = 16
HEAD_PATTERN: Final = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-fA-F]{64}))?")
TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()


class _State(Enum):
    HEAD = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    TRAILERS = auto()
    DONE = auto()


class ChunkedDecoder:
    """Decodes one body. Feed it pieces of any size, then call `finish`.

    Args:
        form: `x-amz-content-sha256`, one of `FORMS`.
        signed: The signature of the request's head, the start of the chain of signatures.

    Raises:
        ApiError: `NotImplemented`, another form.
    """

    def __init__(self, form: str, signed: Signed) -> None:
        if form not in FORMS:
            raise ApiError(
                "NotImplemented",
                f"The payload form {form} is not supported; use one of {', '.join(FORMS)}.",
                501,
            )
        self._signed = signed
        self._has_signatures = form != UNSIGNED_TRAILER
        self._has_trailers = form != SIGNED
        self._state = _State.HEAD
        self._buffer = bytearray()
        self._left = 0
        self._previous = signed.signature
        self._given = ""
        self._digest = hashlib.sha256()
        self._trailers: dict[str, str] = {}
        self._trailer_text = ""

    def feed(self, piece: bytes) -> list[bytes]:
        """The decoded content of the next piece of the body.

        Raises:
            ApiError: `SignatureDoesNotMatch`, `InvalidRequest`, `MalformedTrailerError`.
        """
        out: list[bytes] = []
        view = memoryview(piece)
        while view:
            if self._state is _State.CONTENT:
                part = bytes(view[: self._left])
                view = view[len(part) :]
                self._left -= len(part)
                if self._has_signatures:
                    self._digest.update(part)
                out.append(part)
                if not self._left:
                    self._state = _State.CONTENT_END
            elif self._state is _State.DONE:
                raise _malformed("bytes follow the last chunk")
            else:
                view = self._take_line(view)
        return out

    def finish(self) -> dict[str, str]:
        """The trailing headers (lower case), without their signature.

        Raises:
            ApiError: `IncompleteBody`, the body ended before its last chunk.
        """
        if self._state is not _State.DONE:
            raise ApiError(
                "IncompleteBody",
                "The request body terminated unexpectedly: its last chunk is missing.",
                400,
            )
        return self._trailers

    def _take_line(self, view: memoryview) -> memoryview:
        """Collect up to a line feed; bytes after it are left."""
        found = bytes(view[: LINE_BYTES_MAX + 1]).find(b"\n")
        take = len(view) if found < 0 else found + 1
        if len(self._buffer) + take > LINE_BYTES_MAX:
            raise _malformed(f"a line is longer than {LINE_BYTES_MAX} bytes")
        self._buffer += view[:take]
        if found >= 0:
            line = bytes(self._buffer).removesuffix(b"\n").removesuffix(b"\r")
            self._buffer.clear()
            self._read_line(line)
        return view[take:]

    def _read_line(self, line: bytes) -> None:
        if self._state is _State.HEAD:
            self._read_head(line)
        elif self._state is _State.CONTENT_END:
            if line:
                raise _malformed("a chunk is longer than its head says")
            self._check_chunk()
            self._state = _State.HEAD
        elif line:
            self._read_trailer(line)
        else:
            self._end()

    def _read_head(self, line: bytes) -> None:
        match = HEAD_PATTERN.fullmatch(line)
        if match is None:
            raise _malformed(f"{line[:80]!r} is no head of a chunk")
        self._left = int(match[1], 16)
        self._given = (match[2] or b"").decode().lower()
        if self._has_signatures and not self._given:
            raise _malformed("a chunk has no chunk-signature")
        if self._left:
            self._state = _State.CONTENT
        else:
            self._check_chunk()
            self._state = _State.TRAILERS

    def _read_trailer(self, line: bytes) -> None:
        name, separator, value = line.decode("utf-8", "replace").partition(":")
        name, value = name.strip().lower(), value.strip()
        if not separator or not name or not self._has_trailers:
            raise ApiError("MalformedTrailerError", f"{line[:80]!r} is no trailing header.", 400)
        if len(self._trailers) == TRAILERS_MAX or name in self._trailers:
            raise ApiError(
                "MalformedTrailerError", f"Too many trailing headers, or {name} twice.", 400
            )
        if name != TRAILER_SIGNATURE:
            self._trailer_text += f"{name}:{value}\n"
        self._trailers[name] = value

    def _check_chunk(self) -> None:
        """Compare the chunk's signature with the chain's, and take it as the chain's next link."""
        if not self._has_signatures:
            return
        text = "\n".join(
            (
                "AWS4-HMAC-SHA256-PAYLOAD",
                self._signed.timestamp,
                self._signed.scope,
                self._previous,
                EMPTY_SHA256,
                self._digest.hexdigest(),
            )
        )
        self._compare(text, self._given)
        self._previous = self._given
        self._digest = hashlib.sha256()

    def _end(self) -> None:
        given = self._trailers.pop(TRAILER_SIGNATURE, "")
        if self._has_signatures and self._has_trailers:
            digest = hashlib.sha256(self._trailer_text.encode()).hexdigest()
            signed = self._signed
            text = "\n".join(
                (
                    "AWS4-HMAC-SHA256-TRAILER",
                    signed.timestamp,
                    signed.scope,
                    self._previous,
                    digest,
                )
            )
            self._compare(text, given.lower())
        self._state = _State.DONE

    def _compare(self, text: str, given: str) -> None:
        wanted = hmac.digest(self._signed.signing_key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(wanted.encode(), given.encode()):
            raise ApiError(
                "SignatureDoesNotMatch",
                "The signature of a chunk of the body does not match the signature you provided.",
                403,
            )


def _malformed(why: str) -> ApiError:
    return ApiError("InvalidRequest", f"The body is not in the aws-chunked encoding: {why}.", 400)
