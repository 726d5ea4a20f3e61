"""InvokeEndpointWithResponseStream: a model's answer as events, sent while the model makes it.

Until the first bytes of the answer's body all is as for the plain call: other instances are asked,
and a failure is a `ModelError`. From then on the client has its status, and a failure is an event
that ends the stream. The model server is read no faster than the client takes.

Source: the API reference on `ResponseStream` (events and codes), and "Adapt your own inference
container" on the time of streamed answers.
"""

from collections.abc import Mapping
from time import perf_counter
from typing import ClassVar, Final, Protocol

from loopwright.router.answers import (
    chunk,
    internal_stream_failure,
    model_stream_error,
    payload_parts,
    stream_head,
)
from loopwright.router.heads import Body, Head
from loopwright.router.invoke import (
    Asker,
    Exchange,
    Invoker,
    Waiter,
    head_of,
    internal,
    with_session,
)
from loopwright.router.routes import Instance, Route, Variant
from loopwright.router.source import Source
from loopwright.router.upstream import ANSWER_BYTES_MAX, NEVER, Broken, Connection, Late

STREAM_TIME_S: Final = 480.0
"""Of a streamed answer, to its end: "60 seconds for regular responses and 8 minutes for streaming
responses"."""
LAST_CHUNK: Final = b"0\r\n\r\n"


class StreamAsker(Asker, Protocol):
    """The client's connection, as a streamed exchange sees it."""

    def may_write(self, exchange: Exchange) -> bool:
        """Whether it is this answer's turn, and the client takes more."""

    def write_part(self, part: bytes) -> None:
        """Send a part of the answer whose turn it is."""


class Stopping(Exception):
    """The gateway ends."""


class StreamExchange(Exchange):
    """One invocation whose answer is streamed.

    Args:
        chunked: Whether the client knows chunked answers (HTTP/1.1).
    """

    __slots__ = ("_chunked", "_first_s", "_first_sent_s", "_flowing", "_kept", "_kept_bytes",
                 "_ready", "_source", "_stream")  # fmt: skip
    streams: ClassVar[bool] = True

    def __init__(
        self,
        asker: StreamAsker,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: Body,
        chunked: bool,
    ) -> None:
        super().__init__(asker, path, query, headers, body)
        self._stream = asker
        self._chunked = chunked
        self._source: Source | None = None
        # Whether the answer has begun, and whether it goes to the client.
        self._ready = self._flowing = False
        # Seconds of the model to its first bytes; None until the client has its status.
        self._first_s: float | None = None
        self._first_sent_s = 0.0
        # For what follows an answer: all of it, up to a bound.
        self._kept: list[bytes] | None = None
        self._kept_bytes = 0

    @property
    def model_time(self) -> float:
        return STREAM_TIME_S

    # Asking

    def send(
        self,
        invoker: Invoker,
        route: Route,
        variant: Variant,
        instance: Instance,
        connection: Connection,
    ) -> None:
        self._invoker, self._route, self._variant = invoker, route, variant
        self.take(Source(connection, self), instance)
        self.began = perf_counter()
        self.due = invoker.loop.time() + self.model_time
        assert self._source is not None
        self._source.send(head_of(self), self.body, self.due)

    def take(self, source: Source, instance: Instance) -> None:
        """The answer comes from here."""
        self._source, self._instance = source, instance
        instance.outstanding += 1

    def give_up(self, source: Source) -> None:
        """Nobody waits for this answer any more."""
        source.leave()
        if self._source is source:
            self._release()

    def waiter(self, connection: Connection, instance: Instance) -> "StreamWaiter":
        return StreamWaiter(self, connection, instance)

    def leave(self) -> None:
        if self._source is not None:
            self._source.leave()
            if self._first_s is not None:
                self._variant.tally.left()
                self._count_first()
            self._release()
        super().leave()

    def _release(self) -> None:
        """The answer has come or never will."""
        if self._source is not None:
            self._source = None
            self._instance.outstanding -= 1

    # What the source says

    def started(self, source: Source) -> None:
        self.conclude(self._invoker, self._route, self._variant, source.head, b"")

    def answered(self, head: Head, body: bytes) -> None:
        self._source = None
        super().answered(head, body)

    def failed(self, error: Exception) -> None:
        self._source = None
        super().failed(error)

    def conclude(
        self, invoker: Invoker, route: Route, variant: Variant, head: Head, body: bytes
    ) -> None:
        if self._source is None:
            super().conclude(invoker, route, variant, head, body)
            return
        self._invoker, self._route, self._variant = invoker, route, variant
        if route.shadows or route.reviewed or (route.capture and route.capture.answers):
            self._kept = []
        self._ready = True
        self.flow()

    # Passing on

    def flow(self) -> None:
        if self._source is None or not self._ready or not self._stream.may_write(self):
            return
        if self._flowing:
            self._source.resume()
        else:
            self._flowing = True
            self._source.attach(self)

    def hold(self) -> None:
        if self._source is not None and self._flowing:
            self._source.pause()

    def parts(self, pieces: list[bytes], last: bool) -> None:
        """See `source.Sink`."""
        assert self._source is not None
        head = self._source.head
        wire = self._head(head) + self._framed(payload_parts(pieces))
        if self._kept is not None:
            self._keep(self._kept, pieces)
        if not last:
            self._stream.write_part(wire)
            return
        self._release()
        self._variant.tally.answered(
            head.status, perf_counter() - self.began, self.began - self.arrived
        )
        self._count_first()
        wire = self._ended(wire)
        route, variant = self._route, self._variant
        if route.plain:
            self.finish(wire)
        else:
            whole = b"".join(self._kept or ())
            self._kept = None
            answer = head._replace(length=len(whole)), whole
            self._invoker.watched(self, route, variant, answer, wire)

    def broke(self, error: Exception) -> None:
        """See `source.Sink`."""
        self._release()
        self._kept = None
        self._invoker.lost(self, self._route, self._variant)
        if self._first_s is None:
            self.finish(internal(error))
            return
        self._count_first(broken=True)
        self.finish(self._ended(self._framed(_event(error))))

    def stop(self) -> None:
        """The gateway ends: the client shall know that there would be more."""
        if self._source is not None and self._flowing:
            self._source.leave()
            self.broke(Stopping())

    # The wire

    def _head(self, head: Head) -> bytes:
        """The head of the answer, before its first part."""
        if self._first_s is not None:
            return b""
        now = perf_counter()
        self._first_s, self._first_sent_s = now - self.began, now - self.arrived
        wire = stream_head(head, self._variant.name, self._chunked)
        return with_session(wire, self.session or "") if self.opened else wire

    def _framed(self, events: bytes) -> bytes:
        return chunk(events) if self._chunked else events

    def _ended(self, wire: bytes) -> bytes:
        return wire + LAST_CHUNK if self._chunked else wire

    # What follows

    def _keep(self, kept: list[bytes], pieces: list[bytes]) -> None:
        for piece in pieces:
            room = ANSWER_BYTES_MAX - self._kept_bytes
            if room > 0:
                kept.append(piece[:room])
                self._kept_bytes += len(kept[-1])

    def _count_first(self, broken: bool = False) -> None:
        if self._first_s is not None:
            self._variant.tally.streamed(self._first_s, self._first_sent_s, broken)


class StreamWaiter(Waiter):
    """The listener of an answer for whose first bytes a task waits."""

    __slots__ = ("_instance", "_origin", "_streamed")

    def __init__(
        self, exchange: StreamExchange, connection: Connection, instance: Instance
    ) -> None:
        super().__init__(exchange, connection)
        self._streamed = exchange
        self._instance = instance
        self._origin = Source(connection, self)

    def send(self) -> None:
        exchange = self._streamed
        self._origin.send(head_of(exchange), exchange.body, NEVER)

    def leave(self) -> None:
        self._streamed.give_up(self._origin)

    def started(self, source: Source) -> None:
        if self.future.done():
            source.leave()
            return
        source.expect(self._streamed.due)
        self._streamed.take(source, self._instance)
        self.future.set_result((source.head, b""))


def _event(error: Exception) -> bytes:
    if isinstance(error, Late):
        text = f"The model did not send the whole response within {STREAM_TIME_S:g} s."
        return model_stream_error("ModelInvocationTimeExceeded", text)
    if isinstance(error, Broken):
        return model_stream_error("StreamBroken", f"The response is not complete: {error}.")
    if isinstance(error, Stopping):
        return internal_stream_failure("The gateway is stopping; send the request again.")
    internal(error)
    text = "An internal error occurred; the gateway's log has it."
    return internal_stream_failure(text)
