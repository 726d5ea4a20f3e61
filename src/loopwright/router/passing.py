"""A request that is the control plane's: passed on as it comes, its answer passed back.

Bodies stream in both directions with back-pressure. Each request has its own connection, which
the control plane closes after its answer, so the end of an answer needs no second parser.
"""

import asyncio
import time
from typing import Final, Protocol, cast

from loopwright.router.answers import away_health, away_page, error_response
from loopwright.wire.errors import ApiError

RETURN_WAIT_S: Final = 8.0
HEALTH_WAIT_S: Final = 5.0
"""Who asks whether the control plane is ready waits no longer for its word."""
BUFFER_BYTES_MAX: Final = 1_048_576
SIGNED: Final = ("authorization", "x-amz-date", "x-amz-content-sha256")
HOP_HEADERS: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Side(Protocol):
    """What the passing needs of the client's connection."""

    def write(self, chunk: bytes) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...
    def passed(self, keep: bool) -> None: ...


class Passing(asyncio.Protocol):
    """One request on its way to the control plane and back."""

    def __init__(
        self, client: Side, address: str, method: str, url: bytes, headers: dict[str, str]
    ) -> None:
        self._client = client
        self._address = address
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self._asks_health = _asks_health(method, url, headers)
        self._shows_page = _shows_page(method, headers)
        self._length = headers.get("content-length")
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(_head(method, url, headers, self._chunked))
        self._answer_head = b""
        self._head_done = False
        self._any_answer = False
        self._keep = True
        self._gone = False
        self._paused = False
        self.request_done = False
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._connect())
        self._timer = loop.call_later(HEALTH_WAIT_S, self._late) if self._asks_health else None

    # From the client

    def body(self, chunk: bytes) -> None:
        if self._chunked:
            chunk = f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
        self._send(chunk)

    def end(self, keep: bool) -> None:
        self.request_done = True
        self._keep = keep
        if self._chunked:
            self._send(b"0\r\n\r\n")

    def client_gone(self) -> None:
        self._gone = True
        self._untimed()
        self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def pause_answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _send(self, chunk: bytes) -> None:
        if self._transport is not None:
            self._transport.write(chunk)
            return
        self._buffer += chunk
        if len(self._buffer) > BUFFER_BYTES_MAX:
            self._client.pause()

    # To the control plane

    async def _connect(self) -> None:
        """Connect; while the control plane starts again, wait for it a little."""
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + (0.0 if self._asks_health else RETURN_WAIT_S)
        while True:
            try:
                await loop.create_unix_connection(lambda: self, self._address)
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    self._unavailable(error)
                    return
                await asyncio.sleep(0.05)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio's, but not its class.
        self._transport = cast(asyncio.Transport, transport)
        if self._gone:
            self._transport.abort()
            return
        self._transport.write(bytes(self._buffer))
        self._buffer.clear()
        self._client.resume()

    def pause_writing(self) -> None:
        self._paused = True
        self._client.pause()

    def resume_writing(self) -> None:
        self._paused = False
        self._client.resume()

    def data_received(self, data: bytes) -> None:
        self._any_answer = True
        self._untimed()
        if self._head_done:
            self._client.write(data)
            return
        self._answer_head += data
        while not self._head_done:
            end = self._answer_head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, rest = self._answer_head[: end + 4], self._answer_head[end + 4 :]
            if head.startswith(b"HTTP/1.1 100"):
                self._client.write(head)
                self._answer_head = rest
                continue
            self._head_done = True
            self._client.write(self._rewritten(head) + rest)

    def _rewritten(self, head: bytes) -> bytes:
        """The answer's head without the word that ends only our own connection."""
        lines = head[:-4].split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(b"connection:")]
        framed = any(
            line.lower().startswith((b"content-length:", b"transfer-encoding:")) for line in kept
        )
        status = lines[0].split(b" ", 2)[1]
        if not framed and status not in (b"204", b"304"):
            self._keep = False
        if not self.request_done:
            # Answered before the body was read: the rest of the body is not wanted.
            self._keep = False
        if not self._keep:
            kept.append(b"connection: close")
        return b"\r\n".join(kept) + b"\r\n\r\n"

    def connection_lost(self, error: Exception | None) -> None:
        if self._gone:
            return
        if self._head_done:
            if error is not None:
                self._client.close()
                return
            self._client.passed(self._keep)
            return
        self._unavailable(error)

    def _late(self) -> None:
        """The control plane has said nothing: it hangs."""
        self._timer = None
        if not self._head_done and not self._gone:
            self._gone = True
            self._task.cancel()
            if self._transport is not None:
                self._transport.abort()
            self._refuse(f"The control plane has not answered within {HEALTH_WAIT_S:g} s.")

    def _untimed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _unavailable(self, error: Exception | None) -> None:
        """No answer: the client may repeat the request when the control plane is back."""
        self._untimed()
        self._refuse(
            "Loopwright's control plane does not answer; it may be starting again. "
            "Endpoints go on serving. Start it with `loopwright serve`."
        )

    def _refuse(self, text: str) -> None:
        """Say so in the way that whoever asks understands."""
        if self._asks_health:
            answer = away_health(text)
        elif self._shows_page:
            answer = away_page(text)
        else:
            answer = error_response(ApiError("ServiceUnavailable", text, 503))
        self._client.write(answer)
        self._client.close()


def _asks_health(method: str, url: bytes, headers: dict[str, str]) -> bool:
    """Whether this is `GET /health`; a signed one is for a bucket of that name."""
    if method not in ("GET", "HEAD") or url.partition(b"?")[0] != b"/health":
        return False
    return not any(name in headers for name in SIGNED) and b"X-Amz-Signature=" not in url


def _shows_page(method: str, headers: dict[str, str]) -> bool:
    """Whether a browser asks for a page."""
    wanted = "text/html" in headers.get("accept", "")
    return method == "GET" and wanted and not any(name in headers for name in SIGNED)


def _head(method: str, url: bytes, headers: dict[str, str], chunked: bool) -> bytes:
    lines = [f"{method} ".encode() + url + b" HTTP/1.1"]
    for name, value in headers.items():
        if name not in HOP_HEADERS:
            lines.append(f"{name}: {value}".encode("latin-1"))
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    elif "content-length" in headers:
        lines.append(f"content-length: {headers['content-length']}".encode())
    lines.append(b"connection: close\r\n\r\n")
    return b"\r\n".join(lines)
