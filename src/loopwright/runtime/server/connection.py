"""HTTP/1.1 by hand on httptools: one asyncio protocol per connection.

Requests with a plain head are read by `heads.read`, all others by the full parser.

Knows bytes, limits and order. Must not know what a model is: complete requests go to the `site`,
answers come back in any order and leave in the order of the requests.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

from loopwright.runtime.server import heads
from loopwright.runtime.server.exchange import (
    LAST_CHUNK,
    TEXT,
    Answer,
    Exchange,
    render,
    render_head,
)

HEAD_BYTES_MAX = 64 * 1024
PENDING_MAX = 64
LINGER_S = 2.0
_PLAIN = b"POST /"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass
class Site:
    """What all connections of one server share.

    Attributes:
        handle: Takes (method, path, exchange) and sees to it that `connection.reply` is called.
        loop: The event loop.
        body_bytes_max: Larger bodies are refused with 413.
        open: The connections that exist.
        draining: No further requests after those already begun.
    """

    handle: Callable[[bytes, bytes, Exchange], None]
    loop: asyncio.AbstractEventLoop
    body_bytes_max: int
    open: "set[Connection]" = field(default_factory=set)
    draining: bool = False

    def sweep(self, idle_s: float, stall_s: float) -> None:
        """Close connections idle for `idle_s`; refuse requests that stopped for `stall_s`."""
        now = self.loop.time()
        for connection in list(self.open):
            connection.expire(now, idle_s, stall_s)

    def drain(self) -> None:
        """Close what is idle; let what is under way finish."""
        self.draining = True
        for connection in list(self.open):
            connection.close_if_idle()


class Connection(asyncio.Protocol):
    """One client's connection, also the callbacks of its parser."""

    __slots__ = (
        "_active_at",
        "_body",
        "_body_bytes",
        "_continue_due",
        "_deaf",
        "_full",
        "_head_bytes",
        "_headers",
        "_method",
        "_mid_request",
        "_missing",
        "_old",
        "_parser",
        "_paused",
        "_pending",
        "_plain",
        "_site",
        "_transport",
        "_url",
        "gone",
    )

    def __init__(self, site: Site) -> None:
        self._site = site
        self._parser = httptools.HttpRequestParser(self)
        self._pending: deque[Exchange] = deque()
        self._transport: asyncio.Transport
        self._active_at = 0.0
        self._head_bytes = 0
        self._mid_request = False
        # A plain request of whose body bytes are missing.
        self._plain: heads.Head | None = None
        self._missing = 0
        self._deaf = False
        self._paused = False
        # Whether the client takes no more for now.
        self._full = False
        # Whether the client speaks HTTP/1.0, which knows no chunks.
        self._old = False
        self._continue_due = False
        self._begin()
        self.gone = False

    def _begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._url = b""
        self._method = b""

    # -- asyncio's callbacks --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._active_at = self._site.loop.time()
        self._site.open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        self._site.open.discard(self)
        for exchange in self._pending:
            if exchange.stream is not None:
                exchange.stream.leave()
        self._pending.clear()

    def data_received(self, data: bytes) -> None:
        self._active_at = self._site.loop.time()
        if self._deaf:
            return
        if self._plain is not None:
            data = self._more_of(self._plain, data)
        if not self._mid_request:
            data = self._plainly(data)
        if not data or self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request itself is answered as any other, and the connection closed.
            self._deaf = True
        except httptools.HttpParserError as error:
            # Errors raised by our own callbacks arrive wrapped; those are not the client's.
            if error.__context__ is not None and not isinstance(
                error.__context__, httptools.HttpParserError
            ):
                raise error.__context__ from None
            self._refuse(400, f"The request is not HTTP: {error}.")
        if self._mid_request and not self._method:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(431, f"The headers exceed {HEAD_BYTES_MAX} bytes.")

    def pause_writing(self) -> None:
        # A client that does not read its answers may not send more requests.
        self._full = True
        self._pause()
        if self._pending and (stream := self._pending[0].stream) is not None:
            stream.hold()

    def resume_writing(self) -> None:
        self._full = False
        self._resume()
        self._flow()

    # -- the parser's callbacks -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._mid_request = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._method = self._parser.get_method()
        self._head_bytes = 0
        headers = self._headers
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._site.body_bytes_max:
            self._refuse_large()
        elif b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            self._continue_due = True
            self._continue_if_due()

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._site.body_bytes_max:
            self._refuse_large()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        parts = self._body
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        # A wish to change protocols is not granted; what follows it is then not for this parser.
        stays = self._parser.should_keep_alive() and b"upgrade" not in self._headers
        keep_alive = stays and not self._site.draining
        self._old = self._parser.get_http_version() == "1.0"
        method, path, headers = self._method, self._url.partition(b"?")[0], self._headers
        self._mid_request = self._continue_due = False
        self._begin()
        self._submit(method, path, Exchange(self, headers, body, keep_alive))

    def _submit(self, method: bytes, path: bytes, exchange: Exchange) -> None:
        self._pending.append(exchange)
        if not exchange.keep_alive:
            self._deaf = True
        elif len(self._pending) >= PENDING_MAX:
            self._pause()
        self._site.handle(method, path, exchange)

    # -- plain requests -------------------------------------------------------------------------

    def _plainly(self, data: bytes) -> bytes:
        """Submit the plain requests at the start of the data; what is left of it."""
        while data.startswith(_PLAIN) and not self._deaf:
            end = data.find(b"\r\n\r\n", 0, heads.HEAD_BYTES_MAX)
            head = heads.read(data[:end]) if end > 0 else None
            if head is None or head.length > self._site.body_bytes_max:
                break
            start, end = end + 4, end + 4 + head.length
            if len(data) < end:
                self._plain, self._missing = head, end - len(data)
                self._mid_request = True
                self._body = [data[start:]]
                return b""
            keep_alive = not self._site.draining
            exchange = Exchange(self, head.headers, data[start:end], keep_alive)
            self._submit(head.method, head.path, exchange)
            if len(data) == end:
                return b""
            data = data[end:]
        return data

    def _more_of(self, head: heads.Head, data: bytes) -> bytes:
        """Further bytes of a plain request's body; what follows it."""
        missing = self._missing
        self._body.append(data[:missing])
        self._missing -= len(data)
        if self._missing > 0:
            return b""
        body = b"".join(self._body)
        self._plain, self._mid_request = None, False
        self._begin()
        keep_alive = not self._site.draining
        self._submit(head.method, head.path, Exchange(self, head.headers, body, keep_alive))
        return data[missing:]

    # -- answers --------------------------------------------------------------------------------

    def reply(self, exchange: Exchange, answer: Answer) -> None:
        """Answer one request; its bytes leave once all earlier requests are answered."""
        if self.gone:
            return
        exchange.keep_alive = exchange.keep_alive and not self._site.draining
        self._complete(exchange, render(answer, exchange.keep_alive))

    def _complete(self, exchange: Exchange, last: bytes) -> None:
        """These are the (last) bytes of an answer."""
        exchange.wire = last
        pending = self._pending
        if pending[0] is not exchange:
            return
        while pending and (wire := pending[0].wire) is not None:
            done = pending.popleft()
            self._transport.write(wire)
            if not done.keep_alive:
                self._close_gently()
                return
        if self._continue_due:
            self._continue_if_due()
        if self._paused and len(pending) < PENDING_MAX // 4:
            self._resume()
        if pending:
            self._flow()

    def stream(self, exchange: Exchange) -> None:
        """The answer is made by `exchange.stream`, which may begin once it is its turn."""
        if self._pending[0] is exchange:
            self._flow()

    def _flow(self) -> None:
        """Let the answer whose turn it is go on, if it is made while it is sent."""
        if self._pending and not self._full and (stream := self._pending[0].stream) is not None:
            stream.flow()

    def send_head(self, exchange: Exchange, answer: Answer) -> None:
        """The head of an answer that follows in parts."""
        exchange.keep_alive = exchange.keep_alive and not (self._site.draining or self._old)
        self._transport.write(render_head(answer, exchange.keep_alive, not self._old))

    def send_part(self, part: bytes) -> None:
        """A part, not empty, of the answer whose turn it is."""
        self._transport.write(part if self._old else b"%x\r\n%b\r\n" % (len(part), part))

    def end(self, exchange: Exchange) -> None:
        """The last part is sent."""
        exchange.keep_alive = exchange.keep_alive and not self._site.draining
        self._complete(exchange, b"" if self._old else LAST_CHUNK)

    def break_off(self) -> None:
        """End the connection so that the client sees that its answer is not complete."""
        if self._old:
            self._transport.abort()
        else:
            self._transport.close()

    def expire(self, now: float, idle_s: float, stall_s: float) -> None:
        """See Site.sweep."""
        quiet_s = now - self._active_at
        if self._pending:
            return
        if self._mid_request and not self._deaf and quiet_s > stall_s:
            self._refuse(408, f"The request was not complete after {stall_s:g} s of silence.")
        elif not self._mid_request and quiet_s > idle_s:
            self._transport.close()

    def close_if_idle(self) -> None:
        """Close unless a request is under way."""
        if not self._pending and not self._mid_request:
            self._transport.close()

    # -- inside ---------------------------------------------------------------------------------

    def _continue_if_due(self) -> None:
        # The interim answer must not overtake answers to earlier requests.
        if self._continue_due and not self._pending:
            self._continue_due = False
            self._transport.write(_CONTINUE)

    def _refuse_large(self) -> None:
        bound = self._site.body_bytes_max
        self._refuse(413, f"The body exceeds {bound} bytes (SAGEMAKER_MAX_PAYLOAD_IN_MB).")

    def _refuse(self, status: int, sentence: str) -> None:
        if self._deaf:
            return
        self._deaf = True
        self._mid_request = False
        exchange = Exchange(self, {}, b"", keep_alive=False)
        self._pending.append(exchange)
        self.reply(exchange, Answer(status, sentence.encode(), TEXT))

    def _close_gently(self) -> None:
        """Close after the last answer, but go on reading: a reset would destroy that answer."""
        self._deaf = True
        self._pending.clear()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._site.loop.call_later(LINGER_S, self._transport.close)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self.gone:
            self._paused = False
            self._transport.resume_reading()
