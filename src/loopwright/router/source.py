"""A model server's answer that is handed on while it comes, with back-pressure.

A `Source` stands between a connection of the pool and who asked, for one answer: it reads in the
connection's stead and gives it back when the answer is complete. Nothing is handed on before the
first bytes of the body are there, so until then another instance may still be asked.
"""

import asyncio
from typing import Any, Final, Protocol

import httptools

from loopwright.router.heads import Body, Head
from loopwright.router.upstream import (
    ANSWER_BYTES_MAX,
    FRAMING,
    HEAD_BYTES_MAX,
    Broken,
    Connection,
    too_large,
)

PIECES_MAX: Final = 64
"""So many chunks of one read are handed on as they were; more are joined, as each costs time."""


class Listener(Protocol):
    """Who asked. Exactly one of these is called, once, unless it left before."""

    def started(self, source: "Source") -> None:
        """The answer is a good one and its body begins; nothing more is read before `attach`."""

    def answered(self, head: Head, body: bytes) -> None:
        """The answer is an error (status 400 and above); `body` is the whole one."""

    def failed(self, error: Exception) -> None:
        """As `upstream.Taker.failed`."""


class Sink(Protocol):
    """Where the body goes."""

    def parts(self, pieces: list[bytes], last: bool) -> None:
        """Further pieces of the body, none of them empty. `last`: the answer is complete."""

    def broke(self, error: Exception) -> None:
        """The answer will not be complete; nothing follows."""


class Source(asyncio.Protocol):
    """One answer, also the callbacks of its parser."""

    def __init__(self, connection: Connection, listener: Listener) -> None:
        self._connection = connection
        self._listener: Listener | None = listener
        self._parser: Any = httptools.HttpResponseParser(self)
        self._sink: Sink | None = None
        self._pieces: list[bytes] = []
        # Of the head, once it is whole.
        self._status = 0
        self._content_type = self._custom_attributes = b""
        self._framed = False
        # Bytes since the last piece, or of all pieces of an error.
        self._bytes = 0
        self._begun = self._started = self._complete = self._paused = False
        # Whether the connection is no longer this one's.
        self._over = False
        self._keep = True
        self._error: Exception | None = None

    @property
    def head(self) -> Head:
        """The answer's head; its length is not known."""
        return Head(self._status, self._content_type, self._custom_attributes, 0)

    # What who asked may do

    def send(self, head: bytes, body: Body, due: float) -> None:
        """Send the request; the answer must be complete at the loop's time `due`."""
        self._connection.lend(self)
        self._connection.send(head, body, self, due)

    def expect(self, due: float) -> None:
        """Set another time by which the answer must be complete."""
        if not self._over:
            self._connection.due = due

    def attach(self, sink: Sink) -> None:
        """Hand on what is there and all that comes."""
        self._sink = sink
        # First, because the sink may want a pause at once.
        self.resume()
        self._hand_on(sink)

    def pause(self) -> None:
        """Read no more for now: the model server has to wait."""
        if not self._over and not self._paused:
            self._paused = True
            self._connection.pause()

    def resume(self) -> None:
        """Read on."""
        if not self._over and self._paused:
            self._paused = False
            self._connection.resume()

    def leave(self) -> None:
        """Nobody wants the rest: close the connection, so that the model can stop."""
        if not self._over:
            self._end()
            self._listener = self._sink = None
            self._connection.leave()

    def _end(self) -> None:
        """The connection is no longer this one's. What refers to each other here would stay in
        memory, with all that it holds, until the collector comes."""
        self._over = True
        self._parser = None

    # The connection

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._begun = True
        count = len(self._pieces)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keep = False
            if not self._complete:
                text = f"the model server's answer is no HTTP: {error}"
                self._error = Broken(text, silent=False)
        self._bound(data, len(self._pieces) > count)
        self._advance()

    def _bound(self, data: bytes, any_piece: bool) -> None:
        """An error's body, a head and trailers must not take all memory."""
        failed = self._status >= 400
        self._bytes = 0 if any_piece and not failed else self._bytes + len(data)
        most = ANSWER_BYTES_MAX if failed else HEAD_BYTES_MAX
        if self._bytes > most and not self._complete and self._error is None:
            self._error = too_large(most)

    def eof_received(self) -> None:
        if self._over:
            return
        self._connection.closed = True
        if self._status and not self._framed and not self._complete and self._error is None:
            # The answer of a server that says its end by closing (HTTP/1.0's way).
            self._complete = True
            self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        if self._over:
            return
        if self._begun:
            text = "the model server closed the connection while it worked"
            self.failed(Broken(text, silent=False))
        else:
            self._connection.connection_lost(error)

    def failed(self, error: Exception) -> None:
        """The connection's word that no more will come (see `upstream.Taker`)."""
        if not self._over:
            self._error = error
            self._advance()

    def answered(self, head: Head, body: bytes) -> None:
        """Never called: the connection reads nothing while it is lent."""
        raise AssertionError("a connection that is lent has read an answer")

    # The parser

    def on_message_begin(self) -> None:
        if self._complete:
            self._keep = False  # More than one answer to a request.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:
            return  # A trailer, or of an answer too many.
        lowered = name.lower()
        if lowered == b"content-type":
            self._content_type = value
        elif lowered == b"x-amzn-sagemaker-custom-attributes":
            self._custom_attributes = value
        elif lowered in FRAMING:
            self._framed = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._complete:
            return
        if status >= 200:
            self._status = status
        else:
            # The real answer follows.
            self._content_type = self._custom_attributes = b""
            self._framed = False

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._status and not self._complete:
            self._complete = True
            self._keep = self._keep and self._parser.should_keep_alive()

    # Handing on

    def _advance(self) -> None:
        """Do what the state asks for."""
        if self._complete:
            self._end()
            self._connection.returned(self._keep)
        elif self._error is not None:
            self._end()
            self._connection.leave()
        if self._started:
            if self._sink is not None:
                self._hand_on(self._sink)
        elif self._listener is not None:
            self._begin(self._listener)

    def _begin(self, listener: Listener) -> None:
        """Tell who asked, once there is something to tell."""
        if self._status < 400 and (self._pieces or self._complete):
            self._listener, self._started = None, True
            self.pause()
            listener.started(self)
        elif self._complete:
            self._listener = None
            body = b"".join(self._pieces)
            head = Head(self._status, self._content_type, self._custom_attributes, len(body))
            listener.answered(head, body)
        elif self._error is not None:
            self._listener = None
            listener.failed(self._error)

    def _hand_on(self, sink: Sink) -> None:
        pieces, self._pieces = self._pieces, []
        if len(pieces) > PIECES_MAX:
            pieces = [b"".join(pieces)]
        if self._over:
            self._sink = None
        try:
            if pieces or self._complete:
                sink.parts(pieces, self._complete)
        except Exception as error:  # noqa: BLE001  # the sink knows what the client must be told
            self.leave()
            self._error = error
        if self._error is not None:
            sink.broke(self._error)
