"""The events of a streamed answer, read with botocore's own decoder, and both ends of a stream."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import orjson
from botocore.eventstream import EventStreamBuffer

from tests.router.inside import SECONDS, Gateway, Server, Wire, ok

CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A chunk of a model server's answer."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass
class Events:
    """One answer, read from a connection; `chunked` as the answer's head says."""

    wire: Wire
    head: bytes = b""
    whole: bool = False
    _buffer: Any = field(default_factory=EventStreamBuffer)
    _ready: deque[tuple[str, bytes]] = field(default_factory=deque)

    async def begin(self) -> int:
        """Read the head; the status."""
        self.head = await self.wire.head()
        return int(self.head.split(b" ")[1])

    async def next(self) -> tuple[str, bytes] | None:
        """(kind, payload) of the next event; None after a complete answer's last."""
        while not self._ready:
            data = await self._read()
            if not data:
                self.whole = True
                return None
            self._buffer.add_data(data)
            for event in self._buffer:
                headers = event.headers
                kind = headers.get(":event-type") or headers[":exception-type"]
                self._ready.append((kind, event.payload))
        return self._ready.popleft()

    async def _read(self) -> bytes:
        reader = self.wire.reader
        if b"transfer-encoding: chunked" not in self.head.lower():
            return await asyncio.wait_for(reader.read(65_536), SECONDS)
        line = await asyncio.wait_for(reader.readuntil(b"\r\n"), SECONDS)
        data = await asyncio.wait_for(reader.readexactly(int(line, 16) + 2), SECONDS)
        return data[:-2]

    async def part(self) -> bytes:
        """The bytes of the next event, which must be a part."""
        found = await self.next()
        assert found is not None
        assert found[0] == "PayloadPart", found
        return found[1]

    async def rest(self) -> bytes:
        """All parts up to the end, which must come."""
        found = []
        while (event := await self.next()) is not None:
            assert event[0] == "PayloadPart", event
            found.append(event[1])
        return b"".join(found)

    async def error(self) -> tuple[str, dict[str, Any]]:
        """(kind, members) of the exception that ends the stream after what parts there are."""
        while (event := await self.next()) is not None:
            if event[0] != "PayloadPart":
                assert await self.next() is None
                return event[0], orjson.loads(event[1])
        raise AssertionError("the stream ended well")


async def begun(gateway: Gateway, server: Server) -> tuple[Wire, Wire]:
    """A client whose stream was asked of a model server: both ends."""
    client = await gateway.connect()
    (wire,) = await gateway.warm(client, server)
    client.send(gateway.stream(b"stream"))
    assert (await wire.message())[1] == b"stream"
    return client, wire


async def asked_again(gateway: Gateway, client: Wire, wire: Wire) -> None:
    """The client's and the model server's connection go on with a plain call."""
    client.send(gateway.request(b"next"))
    assert (await wire.message())[1] == b"next"
    wire.send(ok(b"plain"))
    assert await client.answer() == (200, b"plain")


async def held_back(wire: Wire) -> int:
    """Send chunks until nobody reads any more; how many bytes that took."""
    transport, size = wire.writer.transport, 65_536
    sent = quiet = 0
    while quiet < 200:
        if transport.get_write_buffer_size() < 2 * size:
            wire.send(chunk(b"z" * size))
            sent, quiet = sent + size, 0
        else:
            await asyncio.sleep(0)
            quiet += 1
        assert sent < 64_000_000
    return sent
