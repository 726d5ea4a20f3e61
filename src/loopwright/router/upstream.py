"""The gateway's client of model servers: HTTP/1.1 over Unix sockets or TCP, kept connections.

One connection carries one request at a time, and its answer or failure goes to the request's
`Taker` by a plain call. A connection that the server closed before it took the request is told
apart (`NeverAccepted`) from one that broke while the model was working.
"""

import asyncio
from typing import Any, Final, Protocol, cast

import httptools

from loopwright.router.heads import SHORT_BYTES_MAX, Body, Head, read_answer

IDLE_MAX: Final = 256
JOINED_BYTES_MAX: Final = 8192
HEAD_BYTES_MAX: Final = 65_536
ANSWER_BYTES_MAX: Final = 26_214_400
"""An answer is held until it is whole, so an endless one must not take all memory: SageMaker's
quota, "Maximum payload size for endpoint invocation" of 25 MB."""
NEVER: Final = float("inf")
FRAMING: Final = (b"content-length", b"transfer-encoding")
"""One of these headers says where an answer ends; without, it ends with the connection."""
TCP: Final = "tcp:"
"""How the address of an instance begins that listens on a port, not on a Unix socket."""


class NeverAccepted(Exception):
    """The instance did not take the request: it is safe to ask again."""


class NotListening(NeverAccepted):
    """Nobody takes connections there: ask another instance."""


class Broken(Exception):
    """The instance went away after it took the request and before it answered.

    `silent` says that no byte of an answer came back, so that another may compute it once.
    """

    def __init__(self, message: str, silent: bool = True) -> None:
        super().__init__(message)
        self.silent = silent


class Late(Exception):
    """No whole answer came in time."""


class Taker(Protocol):
    """Who waits for an answer. Exactly one of the two is called, once, unless it left before."""

    def answered(self, head: Head, body: bytes) -> None: ...
    def failed(self, error: Exception) -> None: ...


class Connection(asyncio.Protocol):
    """One connection to one instance."""

    __slots__ = (
        "_begun",
        "_bound",
        "_content_type",
        "_custom_attributes",
        "_framed",
        "_fresh",
        "_head",
        "_missing",
        "_parser",
        "_parts",
        "_pool",
        "_seen",
        "_taker",
        "_transport",
        "_unsent",
        "address",
        "closed",
        "due",
    )

    def __init__(self, pool: "Pool", address: str) -> None:
        self._pool = pool
        self.address = address
        self._transport: asyncio.Transport
        self._parser: Any = None
        self._taker: Taker | None = None
        # Of a plain answer whose body has not all come: its head and the bytes that are missing.
        self._head: Head | None = None
        self._missing = 0
        # Of any other answer: its bytes so far, and how many there may be.
        self._seen, self._bound = 0, HEAD_BYTES_MAX
        self._parts: list[bytes] = []
        self._content_type = self._custom_attributes = b""
        # Whether that answer says where it ends; else it ends with the connection.
        self._framed = False
        self._fresh = True
        self._begun = False
        self._unsent = False
        self.closed = False
        self.due = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio's, but not its class.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, head: bytes, body: Body, taker: Taker, due: float) -> None:
        """Send one request. `taker` hears of it, at the loop's time `due` at the latest."""
        self._taker = taker
        self.due = due
        self._unsent = True
        self._pool.post(self, head, body)

    def write(self, head: bytes, body: Body) -> None:
        """Called by the pool for what was given to `send`."""
        if self.closed:
            return
        self._unsent = False
        if len(body) < JOINED_BYTES_MAX:
            self._transport.write(b"".join((head, body)))
        else:
            self._transport.writelines((head, body))

    def leave(self) -> None:
        """Nobody waits any more; the answer that may come must not meet another request."""
        self._taker = None
        self.drop()

    # An answer that another protocol reads (`source.py`)

    def lend(self, reader: asyncio.Protocol) -> None:
        """Let `reader` have what comes, until it calls `returned` or `leave`."""
        self._transport.set_protocol(reader)

    def returned(self, keep: bool) -> None:
        """The reader's answer is complete; see `_done`."""
        self._taker = None
        self._fresh = False
        self.due = NEVER
        self._transport.set_protocol(self)
        if self._unsent or self._transport.get_write_buffer_size() or self.closed or not keep:
            self.drop()
        else:
            self._pool.give_back(self)

    def pause(self) -> None:
        """Read no more for now."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on after `pause`."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # The answer

    def data_received(self, data: bytes) -> None:
        if self._taker is None:
            self.drop()
        elif self._begun:
            self._more(data)
        else:
            raw, end, body = data.partition(b"\r\n\r\n")
            head = read_answer(raw) if len(raw) < SHORT_BYTES_MAX else None
            if head is None or not end:
                self._begun = True
                self._parser = httptools.HttpResponseParser(self)
                self._more(data)
            elif head.length > ANSWER_BYTES_MAX:
                self._begun = True
                self._fail(too_large(ANSWER_BYTES_MAX))
            elif len(body) == head.length:
                self._done(head, body, True)
            elif len(body) > head.length:
                self._done(head, body[: head.length], False)
            else:
                self._begun = True
                self._head, self._missing = head, head.length - len(body)
                self._parts.append(body)

    def _more(self, data: bytes) -> None:
        """Further bytes of an answer that came in pieces, or one for the full parser."""
        head = self._head
        if head is None:
            self._parse(data)
            return
        self._missing -= len(data)
        self._parts.append(data)
        if self._missing <= 0:
            self._done(head, b"".join(self._parts)[: head.length], self._missing == 0)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(Broken(f"the model server's answer is no HTTP: {error}", silent=False))
            return
        self._seen += len(data)
        if self._seen > self._bound:
            self._fail(too_large(self._bound))

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._bound = ANSWER_BYTES_MAX + HEAD_BYTES_MAX

    def on_message_begin(self) -> None:
        if self._taker is None:
            self.drop()  # More than one answer to a request.

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"content-type":
            self._content_type = value
        elif lowered == b"x-amzn-sagemaker-custom-attributes":
            self._custom_attributes = value
        elif lowered in FRAMING:
            self._framed = True

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._taker is None:
            return
        if status < 200:
            # The real answer follows.
            self._parts.clear()
            self._content_type = self._custom_attributes = b""
            self._framed = False
            return
        self._whole(status, self._parser.should_keep_alive())

    def _whole(self, status: int, keep: bool) -> None:
        body = b"".join(self._parts)
        head = Head(status, self._content_type, self._custom_attributes, len(body))
        self._done(head, body, keep)

    def _done(self, head: Head, body: bytes, keep: bool) -> None:
        """Hand over the answer; keep the connection if it is certain where the next one begins."""
        taker, self._taker = self._taker, None
        self._fresh = False
        self.due = NEVER
        if self._begun:
            self._begun = False
            self._parser = self._head = None
            self._seen, self._bound = 0, HEAD_BYTES_MAX
            self._parts = []
            self._content_type = self._custom_attributes = b""
            self._framed = False
        # Answered before it was asked to the end: what is left would be taken for a request.
        early = self._unsent or self._transport.get_write_buffer_size()
        if early or self.closed or not keep:
            self.drop()
        else:
            self._pool.give_back(self)
        if taker is not None:
            taker.answered(head, body)

    # The end

    def eof_received(self) -> None:
        self.closed = True
        in_body = self._parser is not None and self._bound != HEAD_BYTES_MAX
        if in_body and not self._framed and self._taker is not None:
            # The answer of a server that says its end by closing (HTTP/1.0's way).
            self._whole(self._parser.get_status_code(), keep=False)

    def connection_lost(self, error: Exception | None) -> None:
        if self._taker is None:
            self.drop()
        elif self._begun or self._fresh:
            text = "the model server closed the connection while it worked"
            self._fail(Broken(text, silent=not self._begun))
        else:
            # A kept connection that was closed before a byte came back: the server had ended
            # it before this request reached it.
            self._fail(NeverAccepted("the kept connection was closed"))

    def expire(self, now: float) -> None:
        """Give up a request whose time is over."""
        if now > self.due:
            self._fail(Late())

    def _fail(self, error: Exception) -> None:
        taker, self._taker = self._taker, None
        self.drop()
        if taker is not None:
            taker.failed(error)

    def drop(self) -> None:
        """Close at once, for good."""
        self.closed = True
        self.due = NEVER
        # It refers to this one, so both would stay, with all that was read, until a collection.
        self._parser = None
        self._parts = []
        self._pool.lost(self)
        self._transport.abort()


def too_large(most: int) -> Broken:
    """An answer has more bytes than `most`, in its head or in all."""
    what = "the head of " if most == HEAD_BYTES_MAX else ""
    return Broken(f"{what}the model server's answer has over {most} bytes", silent=False)


class Pool:
    """All connections, and by address those that are free."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._idle: dict[str, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._outbox: list[tuple[Connection, bytes, Body]] = []

    def post(self, connection: Connection, head: bytes, body: Body) -> None:
        """Write a request once all that the loop has read is read: requests that go out together
        wake their server once, and a model that can answers them by one call."""
        if not self._outbox:
            self.loop.call_soon(self._flush)
        self._outbox.append((connection, head, body))

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        for connection, head, body in outbox:
            connection.write(head, body)

    def kept(self, address: str) -> Connection | None:
        """A free connection to an instance, if there is one."""
        idle = self._idle.get(address)
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
        return None

    async def take(self, address: str) -> Connection:
        """A connection to an instance, a new one where none is free.

        Raises:
            NotListening: nobody listens there.
        """
        connection = self.kept(address)
        if connection is not None:
            return connection
        try:
            connection = await self._open(address)
        except OSError as error:
            raise NotListening(f"the instance does not listen: {error}") from error
        if connection.closed:
            raise NotListening("the instance closed the connection at once")
        self._all.add(connection)
        return connection

    async def _open(self, address: str) -> Connection:
        """A new connection: to a Unix socket, or to `tcp:HOST:PORT`."""

        def made() -> Connection:
            return Connection(self, address)

        if address.startswith(TCP):
            host, _, port = address.removeprefix(TCP).rpartition(":")
            return (await self.loop.create_connection(made, host, int(port)))[1]
        return (await self.loop.create_unix_connection(made, address))[1]

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose request is answered."""
        idle = self._idle.get(connection.address)
        if idle is None:
            idle = self._idle[connection.address] = []
        if len(idle) < IDLE_MAX:
            idle.append(connection)
        else:
            connection.drop()

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        if connection in self._all:
            self._all.remove(connection)
            idle = self._idle.get(connection.address, [])
            if connection in idle:
                idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Give up requests whose time is over: a timer for each would cost more than the rest."""
        for connection in list(self._all):
            connection.expire(now)

    def keep_only(self, addresses: set[str]) -> None:
        """Close the kept connections to instances that are gone from every route."""
        for address in [name for name in self._idle if name not in addresses]:
            for connection in self._idle.pop(address):
                connection.drop()
