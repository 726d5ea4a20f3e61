"""One client's connection: HTTP in, answers out in the order of the requests.

Plain invocations are read by `heads.read_invocation`; everything else by the full parser, and
what is no invocation is passed on to the control plane.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, cast

import httptools

from loopwright.router.answers import error_response, text_response
from loopwright.router.heads import Asked, Body, read_invocation
from loopwright.router.invoke import BODY_BYTES_MAX, STREAM_SUFFIX, Exchange, Invoker
from loopwright.router.passing import Passing
from loopwright.router.prometheus import CONTENT_TYPE, PATH, allowed, page
from loopwright.router.streamed import StreamExchange
from loopwright.wire.errors import ApiError
from loopwright.wire.http import PEER

HEAD_BYTES_MAX: Final = 65_536
HEAD_TIMEOUT_S: Final = 30.0
BODY_TIMEOUT_S: Final = 60.0
IDLE_TIMEOUT_S: Final = 120.0
LINGER_S: Final = 2.0
PIPELINE_MAX: Final = 64
COPIED_BYTES_MAX: Final = 8192
PLAIN: Final = b"POST /endpoints/"
INVOCATIONS: Final = (b"/invocations", b"/invocations-response-stream")
NEVER: Final = float("inf")


@dataclass
class Door:
    """What all connections of one gateway share. `control` is the control plane's socket."""

    loop: asyncio.AbstractEventLoop
    invoker: Invoker
    control: str
    clients: "set[Client]" = field(default_factory=set)


class Client(asyncio.Protocol):
    """One client's connection, also the callbacks of its parser."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        # Whether the next byte begins a request.
        self._between = True
        self._queue: deque[Exchange] = deque()
        self._passing: Passing | None = None
        # A plain invocation of whose body bytes are missing.
        self._asked: Asked | None = None
        self._missing = 0
        self._due = NEVER
        self._reading = True
        self._full = False
        self._held = b""
        # Of the control plane's answer, while earlier requests wait for theirs.
        self._after: list[bytes] = []
        self._passed: bool | None = None
        self._last = False
        self._deaf = False
        # Whether the client has sent all.
        self._ended = False
        # Bytes of answers that it had not taken when it was last found idle.
        self._unread = 0
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        # Bytes of the body that are missing; None: not known, or within the head.
        self._left: int | None = None

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio's, but not its class.
        self._transport = cast(asyncio.Transport, transport)
        self._door.clients.add(self)
        self._expect(IDLE_TIMEOUT_S)

    def _peer(self) -> str:
        """The client's address, which the control plane cannot see."""
        found = self._transport.get_extra_info("peername") if self._transport else None
        return str(found[0]) if found else ""

    def connection_lost(self, error: Exception | None) -> None:
        self._door.clients.discard(self)
        self._deaf = True
        if self._passing is not None:
            self._passing.client_gone()
        for exchange in self._queue:
            exchange.leave()
        self._queue.clear()
        # It refers to this one, so both would stay in memory until a collection.
        self._parser = None

    def pause_writing(self) -> None:
        self._full = True
        if self._queue:
            self._queue[0].hold()
        if self._passing is not None:
            self._passing.pause_answer()
        else:
            # A client that does not read its answers may not send more requests.
            self.pause()

    def resume_writing(self) -> None:
        self._full = False
        if self._passing is not None:
            if not self._queue:
                self._passing.resume_answer()
        elif len(self._queue) < PIPELINE_MAX:
            self.resume()
        if self._queue:
            self._queue[0].flow()

    def eof_received(self) -> bool:
        # A client that ends within its body is gone; one that has sent all may half-close.
        self._ended = True
        if self._queue and self._queue[0].streams:
            self._abort()
            return False
        if self._passing is not None:
            return self._passing.request_done
        self._last = True
        return bool(self._queue)

    def _finish_now(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        """Close at once. Who closes while a stream of his runs is nearly always gone, and its
        model would go on."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._asked is not None:
            data = self._more_of(self._asked, data)
        if self._between and self._passing is None:
            data = self._plainly(data)
        if not data:
            return
        try:
            self._parse(data)
        except httptools.HttpParserUpgrade:
            self._refuse(ApiError("ValidationError", "Upgrade is not served here.", 400))
        except httptools.HttpParserError as error:
            self._refuse(ApiError("BadRequest", f"The request is no HTTP/1.1: {error}.", 400))

    def _parse(self, data: bytes) -> None:
        """Let the parser have the data, but nothing behind a request that is passed on.

        That has to wait for the answer, and the parser itself does not stop between requests. A
        request ends with a line, or with the last byte of a body whose length is known.
        """
        start = 0
        while start < len(data) and not self._deaf:
            if self._passing is not None and self._passing.request_done:
                self._held += data[start:]
                if len(self._held) > HEAD_BYTES_MAX:
                    self.pause()
                return
            end = data.find(b"\n", start) + 1 if self._left is None else start + self._left
            piece = data[start:end] if 0 < end < len(data) else data[start:]
            if self._left is not None:
                self._left -= len(piece)
            start += len(piece)
            self._parser.feed_data(piece)

    # Plain invocations

    def _plainly(self, data: bytes) -> bytes:
        """Begin the plain invocations at the start of the data; what is left of it."""
        while data.startswith(PLAIN) and not self._last:
            asked = read_invocation(data)
            if asked is None or asked[3] > BODY_BYTES_MAX:
                break
            path, query, headers, length, start = asked
            end = start + length
            if len(data) < end:
                self._asked, self._missing = asked, end - len(data)
                self._body = [data[start:]]
                self._expect(BODY_TIMEOUT_S)
                return b""
            if length < COPIED_BYTES_MAX:
                self._invoke(path, query, headers, data[start:end])
            else:
                self._invoke(path, query, headers, memoryview(data)[start:end])
            if len(data) == end:
                return b""
            data = data[end:]
        return data

    def _more_of(self, asked: Asked, data: bytes) -> bytes:
        """Further bytes of a plain invocation's body; what follows it."""
        missing = self._missing
        if len(data) < missing:
            self._body.append(data)
            self._missing = missing - len(data)
            return b""
        self._body.append(data[:missing])
        self._asked = None
        body, self._body = b"".join(self._body), []
        self._invoke(asked[0], asked[1], asked[2], body)
        return data[missing:]

    def _invoke(
        self, path: str, query: str, headers: Mapping[str, str], body: Body, chunked: bool = True
    ) -> None:
        self._due = NEVER
        if path.endswith(STREAM_SUFFIX):
            exchange: Exchange = StreamExchange(self, path, query, headers, body, chunked)
        else:
            exchange = Exchange(self, path, query, headers, body)
        self._queue.append(exchange)
        if len(self._queue) >= PIPELINE_MAX:
            self.pause()
        self._door.invoker.begin(exchange)

    # httptools

    def on_message_begin(self) -> None:
        self._between = False

    def on_url(self, url: bytes) -> None:
        if not self._url:
            self._expect(HEAD_TIMEOUT_S)
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        key = _lower(name)
        text = value.decode("latin-1")
        held = self._headers.get(key)
        self._headers[key] = text if held is None else f"{held}, {text}"

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(ApiError("RequestHeaderSectionTooLarge", "The head is over 64 KiB.", 431))

    def on_headers_complete(self) -> None:
        if self._deaf or self._last:
            return
        length = self._headers.get("content-length", "")
        self._left = int(length) or None if length.isdecimal() else None
        method = self._parser.get_method().decode()
        path = self._url.partition(b"?")[0]
        self._expect(BODY_TIMEOUT_S)
        if method == "POST" and path.startswith(b"/endpoints/") and path.endswith(INVOCATIONS):
            if length.isdecimal() and int(length) > BODY_BYTES_MAX:
                self._refuse(_too_large(int(length)))
            elif self._headers.get("expect", "").lower() == "100-continue":
                self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        if path == PATH and method == "GET":
            authorization = self._headers.get("authorization", "")
            if authorization.lower().startswith("basic "):
                self._counts(authorization)
                return
        headers = {**self._headers, PEER: self._peer()}
        self._passing = Passing(self, self._door.control, method, self._url, headers)
        if self._queue:
            self.pause()

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        if self._passing is not None:
            self._passing.body(body)
            return
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            self._refuse(_too_large(self._body_bytes))
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._between = True
        self._due = NEVER
        keep = self._parser.should_keep_alive()
        if self._passing is not None:
            self._passing.end(keep)
        elif not self._last:
            raw, _, rest = self._url.partition(b"?")
            path, query = raw.decode("latin-1"), rest.decode("latin-1")
            chunked = self._parser.get_http_version() != "1.0"
            # A streamed answer to a client that knows no chunks ends with the connection.
            self._last = not keep or (not chunked and path.endswith(STREAM_SUFFIX))
            body = b"".join(self._body)
            headers = self._headers
            self._begin()
            self._invoke(path, query, headers, body, chunked)
            return
        self._begin()

    def _counts(self, authorization: str) -> None:
        """Answer with the page for Prometheus, in its turn; the connection ends with it."""
        self._last = True
        invoker = self._door.invoker
        exchange = Exchange(self, "", "", {}, b"")
        self._queue.append(exchange)
        if not allowed(authorization, invoker.keys):
            text = "User and password must be an access key and its secret."
            exchange.finish(error_response(ApiError("AccessDenied", text, 403)))
        elif invoker.routes.tallies is not None:
            body = page(invoker.routes.tallies, invoker.routes)
            exchange.finish(text_response(body, CONTENT_TYPE))

    # Answers

    def answered(self, exchange: Exchange) -> None:
        """An answer is ready; write all that are next in order."""
        queue = self._queue
        if not queue or queue[0] is not exchange:
            return
        while queue and (wire := queue[0].wire) is not None:
            queue.popleft()
            self._send(wire)
        if queue:
            if self._ended and queue[0].streams:
                # As in `eof_received`, but the answers so far shall leave.
                self._finish_now()
            queue[0].flow()
            return
        if self._passing is not None:
            self._after_queue()
        elif self._last:
            self._finish()
        else:
            if self._due == NEVER:
                self._expect(IDLE_TIMEOUT_S)
            if not (self._reading or self._full):
                self.resume()

    def _after_queue(self) -> None:
        """Give what the control plane said while earlier requests waited for their answers."""
        after, self._after = self._after, []
        for chunk in after:
            self._send(chunk)
        if self._passing is not None and not self._full:
            self._passing.resume_answer()
        if self._last:
            self._finish()
        elif self._passed is not None:
            keep, self._passed = self._passed, None
            self.passed(keep)
        else:
            self.resume()

    def passed(self, keep: bool) -> None:
        """The control plane's answer is complete."""
        if self._queue:
            self._passed = keep
            return
        self._passing = None
        if not keep:
            self.close()
            return
        self._expect(IDLE_TIMEOUT_S)
        self.resume()
        if self._held:
            held, self._held = self._held, b""
            self.data_received(held)
        if self._ended and self._passing is None:
            self._last = True
            self.close()

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error and close: what follows on the connection cannot be trusted."""
        if self._deaf or self._last:
            return
        self._last = self._deaf = True
        if self._passing is not None:
            self._passing.client_gone()
            self._passing = None
        exchange = Exchange(self, "", "", {}, b"")
        self._queue.append(exchange)
        exchange.finish(error_response(error))

    def _finish(self) -> None:
        """Close after the last answer; a reset by bytes still unread would destroy that answer."""
        if self._transport is None or self._transport.is_closing():
            return
        if not self._deaf:
            self.close()
            return
        self._transport.write_eof()
        self._expect(LINGER_S)
        self.resume()

    def _send(self, chunk: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(chunk)

    def may_write(self, exchange: Exchange) -> bool:
        """Whether the answer may go on: its turn has come, and the client takes more."""
        return not self._full and bool(self._queue) and self._queue[0] is exchange

    def write_part(self, part: bytes) -> None:
        """A part of the answer whose turn it is."""
        self._send(part)

    def stop(self) -> None:
        """The gateway ends: end the stream that is under way, so that its end is seen."""
        if self._queue:
            self._queue[0].stop()

    # What the passing calls

    def write(self, chunk: bytes) -> None:
        """A part of the control plane's answer, which waits for those to earlier requests."""
        if self._queue:
            # One read of it is held: what it waits for may be a stream of minutes.
            self._after.append(chunk)
            if self._passing is not None:
                self._passing.pause_answer()
        else:
            self._send(chunk)

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._reading or self._transport is None or self._transport.is_closing():
            return
        self._reading = True
        self._transport.resume_reading()

    def close(self) -> None:
        if self._queue:
            self._last = True
        elif self._transport is not None:
            self._transport.close()

    @property
    def idle(self) -> bool:
        """Whether no request waits for its answer."""
        return not self._queue and self._passing is None

    def _expect(self, seconds: float) -> None:
        """Close the connection when the next step takes longer than this."""
        self._due = self._door.loop.time() + seconds

    def check(self, now: float) -> None:
        """Called now and then: a timer for each step would cost more than the step."""
        if now > self._due:
            self._due = NEVER
            self._slow()

    def _slow(self) -> None:
        if self._passing is not None:
            self._expect(BODY_TIMEOUT_S)
        elif (self._between and self._asked is None) or self._deaf:
            self._close_idle()
        else:
            self._refuse(ApiError("RequestTimeout", "The request came too slowly.", 408))

    def _close_idle(self) -> None:
        """Close, but not within an answer that the client still takes: a close would wait for it
        for ever, so a client that takes nothing more is cut off."""
        unread = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if unread == 0:
            self.close()
        elif unread == self._unread:
            self._abort()
        else:
            self._unread = unread
            self._expect(IDLE_TIMEOUT_S)


@lru_cache(maxsize=512)
def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


def _too_large(size: int) -> ApiError:
    return ApiError(
        "ValidationError",
        f"The body has {size} bytes or more; the most is {BODY_BYTES_MAX}.",
        413,
    )
