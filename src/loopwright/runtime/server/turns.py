"""When the model is called, and with how many requests at once.

All that one turn of the event loop has read is answered in the next callback, together where the
model can do that. Nothing ever waits for more to come. A model whose calls are short runs in the
loop itself; a slow one in a single thread, so that /ping still answers, and then the requests
that arrive meanwhile form the next call.

Answers that are made while they are sent (`streams.py`) go on slice by slice in that thread, in
turn with the calls: the model is never in two of its functions at once.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from loopwright.runtime.server.exchange import JSON, Answer, Exchange, Streamed
from loopwright.runtime.server.streams import Stream

SLOW_S = 0.005
TOGETHER_MAX = 256
_WEIGHT = 0.2
_log = logging.getLogger(__name__)


class Model(Protocol):
    """What is called. It answers every request; a failure is an answer, not an exception."""

    @property
    def together(self) -> bool:
        """Whether answer_many may be given more than one request."""

    def answer_many(self, exchanges: list[Exchange]) -> list[Answer]:
        """One answer for each request, in order."""


class Turns:
    """Collects requests and calls the model, one call at a time. Lives in the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, model: Model, timeout_s: float) -> None:
        self._loop = loop
        self._model = model
        self._timeout_s = timeout_s
        self._waiting: deque[Exchange] = deque()
        self._scheduled = False
        self._busy = False
        self._streams: deque[Stream] = deque()
        # Whether the next turn is a stream's.
        self._owed = False
        # The first call is taken to be slow: warming up often is.
        self._call_s = 10 * SLOW_S
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.stuck = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not (self._waiting or self._streams or self._busy)

    def submit(self, exchange: Exchange) -> None:
        """Answer this request at the end of this turn of the loop, or as soon as possible."""
        if self.stuck:
            self._refuse([exchange], 503)
            return
        self._waiting.append(exchange)
        if not self._scheduled and not self._busy:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._streams and (self._owed or not self._waiting):
            self._owed = False
            self._advance(self._streams.popleft())
            return
        self._owed = True
        started = time.perf_counter()
        while chunk := self._take():
            if self._call_s > SLOW_S:
                self._call_in_thread(chunk)
                return
            answers = self._timed(chunk)
            self._deliver(chunk, answers)
            if time.perf_counter() - started > SLOW_S:
                break
        # The loop reads and answers /ping before it goes on.
        self._schedule()

    def _schedule(self) -> None:
        if (self._waiting or self._streams) and not self._scheduled and not self._busy:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _take(self) -> list[Exchange]:
        waiting = self._waiting
        bound = TOGETHER_MAX if self._model.together else 1
        chunk: list[Exchange] = []
        while waiting and len(chunk) < bound:
            exchange = waiting.popleft()
            # Nobody would read the answer of a client that is gone.
            if not exchange.connection.gone:
                chunk.append(exchange)
        return chunk

    def _timed(self, chunk: list[Exchange]) -> list[Answer]:
        started = time.perf_counter()
        answers = self._model.answer_many(chunk)
        self._call_s += _WEIGHT * (time.perf_counter() - started - self._call_s)
        return answers

    def _call_in_thread(self, chunk: list[Exchange]) -> None:
        self._busy = True
        late = self._loop.call_later(self._timeout_s, self._give_up, chunk)
        future = self._loop.run_in_executor(self._thread, self._timed, chunk)
        future.add_done_callback(self._finished(chunk, late))

    def _finished(
        self, chunk: list[Exchange], late: asyncio.TimerHandle
    ) -> Callable[[asyncio.Future[list[Answer]]], None]:
        def finish(future: asyncio.Future[list[Answer]]) -> None:
            late.cancel()
            self._busy = False
            if self.stuck:
                # These were answered when the time was over.
                self.stuck = False
            else:
                self._deliver(chunk, future.result())
            self._schedule()

        return finish

    # Streams

    def _stream(self, exchange: Exchange, answer: Streamed) -> None:
        """Begin an answer that is made while it is sent."""
        connection = exchange.connection
        if connection.gone:
            return
        if answer.status in (204, 304):
            # These have no body.
            whole = Answer(answer.status, b"", answer.content_type, answer.headers)
            connection.reply(exchange, whole)
            return
        exchange.stream = Stream(exchange, answer, self._loop, self._ready)
        connection.stream(exchange)

    def _ready(self, stream: Stream) -> None:
        """A stream wants its next slice."""
        if stream not in self._streams:
            self._streams.append(stream)
        self._schedule()

    def _advance(self, stream: Stream) -> None:
        self._busy = True
        late = self._loop.call_later(self._timeout_s, self._give_up_stream, stream)
        future = self._loop.run_in_executor(self._thread, stream.advance)

        def finish(future: asyncio.Future[None]) -> None:
            late.cancel()
            self._busy = self.stuck = False
            stream.advanced(future.exception())
            self._schedule()

        future.add_done_callback(finish)

    def _give_up_stream(self, stream: Stream) -> None:
        self.stuck = True
        _log.error("The next part of an answer did not come within %g s.", self._timeout_s)
        if not stream.begun:
            self._refuse([stream.exchange], 504)
        stream.give_up()
        self._refuse(list(self._waiting), 504)
        self._waiting.clear()

    def _give_up(self, chunk: list[Exchange]) -> None:
        self.stuck = True
        _log.error("A call of the model is not back after %g s.", self._timeout_s)
        self._refuse([*chunk, *self._waiting], 504)
        self._waiting.clear()

    def _refuse(self, exchanges: list[Exchange], status: int) -> None:
        bound = f"{self._timeout_s:g} s (SAGEMAKER_MODEL_SERVER_TIMEOUT)"
        body = f'{{"error":"The model did not answer within {bound}."}}'.encode()
        for exchange in exchanges:
            exchange.connection.reply(exchange, Answer(status, body, JSON))

    def _deliver(self, chunk: list[Exchange], answers: list[Answer]) -> None:
        for exchange, answer in zip(chunk, answers, strict=True):
            if type(answer) is Streamed:
                self._stream(exchange, answer)
            else:
                exchange.connection.reply(exchange, answer)
