"""The gateway's client of model servers: HTTP/1.1 over Unix sockets, kept connections, no copies.

One connection carries one request at a time. A connection that the server closed before it took
the request is told apart (`NeverAccepted`) from one that broke while the model was working.
"""

import asyncio
from collections import deque
from typing import Any, Final, cast

import httptools

IDLE_MAX: Final = 256


class NeverAccepted(Exception):
    """The instance did not take the request: it is safe to ask another one."""


class Broken(Exception):
    """The instance went away after it took the request and before it answered.

    `silent` says that no byte of an answer came back, so that another may compute it once.
    """

    def __init__(self, message: str, silent: bool = True) -> None:
        super().__init__(message)
        self.silent = silent


class Answer:
    """A model server's answer."""

    __slots__ = ("body", "content_type", "custom_attributes", "status")

    def __init__(self) -> None:
        self.status = 0
        self.content_type = b""
        self.custom_attributes = b""
        self.body = b""


class Connection(asyncio.Protocol):
    """One connection to one instance."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._answer = Answer()
        self._parts: list[bytes] = []
        self._fresh = True
        self._answered_bytes = False
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio's, but not its class.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, head: bytes, body: bytes) -> "asyncio.Future[Answer]":
        """Send one request; the future brings its answer."""
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._parts = []
        self._answered_bytes = False
        self._waiting = self._pool.loop.create_future()
        self._transport.write(head + body if len(body) < 65536 else head)
        if len(body) >= 65536:
            self._transport.write(body)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.abort()
            return
        self._answered_bytes = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(Broken(f"the model server's answer is no HTTP: {error}", silent=False))
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"content-type":
            self._answer.content_type = value
        elif lowered == b"x-amzn-sagemaker-custom-attributes":
            self._answer.custom_attributes = value

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        answer = self._answer
        answer.status = self._parser.get_status_code()
        if answer.status == 100:
            return
        answer.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        waiting, self._waiting = self._waiting, None
        self._fresh = False
        if not self._parser.should_keep_alive():
            self.abort()
        elif not self.closed:
            self._pool.give_back(self)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._waiting is not None:
            if self._answered_bytes or self._fresh:
                silent = not self._answered_bytes
                text = "the model server closed the connection while it worked"
                self._fail(Broken(text, silent))
            else:
                # A kept connection that was closed before a byte came back: the server had ended
                # it before this request reached it.
                self._fail(NeverAccepted("the kept connection was closed"))

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()


class Pool:
    """Kept connections by address."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._idle: dict[str, deque[Connection]] = {}
        self._address: dict[Connection, str] = {}

    async def take(self, address: str) -> Connection:
        """A connection to an instance.

        Raises:
            NeverAccepted: nobody listens there.
        """
        idle = self._idle.get(address)
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
            self._address.pop(connection, None)
        try:
            _, connection = await self.loop.create_unix_connection(
                lambda: Connection(self), address
            )
        except OSError as error:
            raise NeverAccepted(f"the instance does not listen: {error}") from error
        self._address[connection] = address
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose request is answered."""
        address = self._address.get(connection)
        if address is None:
            connection.abort()
            return
        idle = self._idle.setdefault(address, deque())
        if len(idle) < IDLE_MAX:
            idle.append(connection)
        else:
            self._address.pop(connection, None)
            connection.abort()

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is of no more use."""
        self._address.pop(connection, None)
        connection.abort()

    def keep_only(self, addresses: set[str]) -> None:
        """Close the kept connections to instances that are gone from every route."""
        for address in [name for name in self._idle if name not in addresses]:
            for connection in self._idle.pop(address):
                self.forget(connection)
