"""The server of one process: an event loop, the container contract's paths, start and drain."""

import asyncio
import logging
import signal
import socket
from dataclasses import dataclass

import orjson

from loopwright.runtime.server.connection import Connection, Site
from loopwright.runtime.server.exchange import JSON, TEXT, Answer, Exchange
from loopwright.runtime.server.turns import Model, Turns

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]  # asyncio's own loop serves too, more slowly

BACKLOG = 2048
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    Attributes:
        body_bytes_max: Larger request bodies are refused.
        timeout_s: A call of the model may take this long.
        idle_s: A connection without request is closed after this.
        stall_s: A request that stops arriving is refused after this.
        drain_s: After SIGTERM, requests under way have this long.
    """

    body_bytes_max: int
    timeout_s: float
    idle_s: float
    stall_s: float
    drain_s: float


def serve(listening: socket.socket, model: Model, limits: Limits, workers: int) -> None:
    """Answer requests on a bound socket until SIGTERM, then drain and return.

    Args:
        listening: Bound; starts to listen here.
        model: What answers /invocations.
        limits: Bounds.
        workers: How many processes serve this socket, for /execution-parameters.
    """
    loop = uvloop.new_event_loop() if uvloop is not None else asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_Server(loop, model, limits, workers).run(listening))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class _Server:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, model: Model, limits: Limits, workers: int
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._turns = Turns(loop, model, limits.timeout_s)
        self._site = Site(self._handle, loop, limits.body_bytes_max)
        self._stopping = asyncio.Event()
        body_mb = max(1, limits.body_bytes_max // 1024**2)
        self._parameters = orjson.dumps(
            {
                "MaxConcurrentTransforms": workers,
                "BatchStrategy": "MULTI_RECORD",
                # The platform demands that concurrency times payload stays within 100 MB.
                "MaxPayloadInMB": max(1, min(body_mb, 100 // workers)),
            }
        )

    async def run(self, listening: socket.socket) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        if listening.family == socket.AF_UNIX:
            server = await self._loop.create_unix_server(
                self._connection, sock=listening, backlog=BACKLOG
            )
        else:
            server = await self._loop.create_server(
                self._connection, sock=listening, backlog=BACKLOG
            )
        sweeper = self._loop.create_task(self._sweep())
        await self._stopping.wait()
        server.close()
        self._site.drain()
        await self._drained()
        sweeper.cancel()

    def _connection(self) -> Connection:
        return Connection(self._site)

    def _handle(self, method: bytes, path: bytes, exchange: Exchange) -> None:
        if path == b"/invocations":
            if method == b"POST":
                self._turns.submit(exchange)
                return
            answer = Answer(405, b"Use POST.", TEXT, {"allow": "POST"})
        elif path not in (b"/ping", b"/execution-parameters"):
            paths = "/ping, /invocations, /execution-parameters"
            answer = Answer(404, f"There is no such path; use {paths}.".encode(), TEXT)
        elif method not in (b"GET", b"HEAD"):
            answer = Answer(405, b"Use GET.", TEXT, {"allow": "GET"})
        elif path == b"/ping":
            # A model that does not come back answers nobody: the platform shall replace it.
            answer = Answer(503 if self._turns.stuck else 200, b"", TEXT)
        else:
            answer = Answer(200, b"" if method == b"HEAD" else self._parameters, JSON)
        exchange.connection.reply(exchange, answer)

    async def _sweep(self) -> None:
        limits = self._limits
        pause_s = max(0.05, min(limits.idle_s, limits.stall_s, 20.0) / 4)
        while True:
            await asyncio.sleep(pause_s)
            self._site.sweep(limits.idle_s, limits.stall_s)

    async def _drained(self) -> None:
        ends = self._loop.time() + self._limits.drain_s
        while self._site.open:
            if self._loop.time() > ends:
                _log.warning("%d connections were still busy at the end.", len(self._site.open))
                return
            await asyncio.sleep(0.01)
