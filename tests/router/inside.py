"""A gateway's connections inside the test's own loop, and model servers that do as they are told.

So the order of events is the test's: nothing here sleeps, and time passes by calling `sweep`.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from loopwright.router.client import Client, Door
from loopwright.router.invoke import Invoker
from loopwright.router.journal import Journal
from loopwright.router.routes import Instance, Routes, route_file
from loopwright.router.tallies import Tallies, Tally
from loopwright.router.upstream import Pool
from loopwright.router.watch import Watch

KEY = ("AKIDEXAMPLE", "secret")
SECONDS = 10.0
WIRES: "list[Wire]" = []


def ok(body: bytes) -> bytes:
    """A plain answer."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


class Wire:
    """One end of a connection; every wait has an end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        WIRES.append(self)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        """Up to and with the empty line."""
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), SECONDS)

    async def message(self) -> tuple[bytes, bytes]:
        """(head, body) of a message with a length."""
        head = await self.head()
        (length,) = [
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ]
        return head, await asyncio.wait_for(self.reader.readexactly(length), SECONDS)

    async def answer(self) -> tuple[int, bytes]:
        """(status, body) of an answer."""
        head, body = await self.message()
        return int(head.split(b" ")[1]), body

    async def ended(self) -> bytes:
        """What came before the other side closed."""
        try:
            return await asyncio.wait_for(self.reader.read(), SECONDS)
        except ConnectionError:
            return b""

    def abort(self) -> None:
        """Close without a word: the other side reads an end."""
        self.writer.transport.abort()

    def reset(self) -> None:
        """Close so that the other side's connection is no more."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    """A server on a Unix socket: the test takes its connections one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.accepted: asyncio.Queue[Wire] = asyncio.Queue()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._take, str(self.path))

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.put_nowait(Wire(reader, writer))

    async def next(self) -> Wire:
        """The next connection."""
        return await asyncio.wait_for(self.accepted.get(), SECONDS)

    def stop(self) -> None:
        self._server.close()
        self.path.unlink(missing_ok=True)


class Gateway:
    """Routes, pool and connections of a gateway, without its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        loop = asyncio.get_running_loop()
        (folder / "routes").mkdir()
        self.pool = Pool(loop)
        self.tallies = Tallies(folder)
        self.routes = Routes(folder / "routes", self.tallies)
        watch = Watch(self.pool, Journal(folder, loop))
        invoker = Invoker(self.routes, dict([KEY]), self.pool, watch, "123456789012")
        self.door = Door(loop, invoker, str(folder / "control.sock"))

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Client(self.door), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def route(self, *servers: Server, **more: object) -> list[Instance]:
        """Endpoint `e` before these servers; `more` is what else its document says."""
        instances = [{"id": one.path.stem, "address": str(one.path)} for one in servers]
        document = {
            "endpoint": "e", "region": "us-east-1", "arn": "a:b:c:d:1:f",
            "variants": [
                {"name": "A", "weight": 1, "strategy": "RANDOM", "instances": instances}
            ],
            **more,
        }  # fmt: skip
        route_file(self.folder / "routes", "us-east-1/e").write_bytes(orjson.dumps(document))
        self.routes.refresh()
        route = self.routes.get("us-east-1", "e")
        assert route is not None
        return list(route.variants[0].instances)

    def tally(self) -> Tally:
        """What is counted of the endpoint's variant."""
        return self.tallies.of(("us-east-1", "e", "", "A"), 1)

    async def connect(self) -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", self.port))

    def request(self, body: bytes, path: str = "invocations", **headers: str) -> bytes:
        """A signed invocation of `e`."""
        url = f"http://127.0.0.1:{self.port}/endpoints/e/{path}"
        sent = AWSRequest(method="POST", url=url, data=body, headers=headers)
        SigV4Auth(Credentials(*KEY), "sagemaker", "us-east-1").add_auth(sent)
        lines = [f"POST /endpoints/e/{path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{key}: {value}" for key, value in sent.headers.items()]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}"])
        return head.encode() + b"\r\n\r\n" + body

    def stream(self, body: bytes, **headers: str) -> bytes:
        """A signed invocation of `e` that wants its answer as a stream."""
        return self.request(body, "invocations-response-stream", **headers)

    async def warm(self, client: Wire, server: Server, count: int = 1) -> list[Wire]:
        """Answer some requests, so that this many connections to the server are kept."""
        client.send(b"".join(self.request(b"warm") for _ in range(count)))
        wires = [await server.next() for _ in range(count)]
        for wire in wires:
            await wire.message()
        for wire in wires:
            wire.send(ok(b"warm"))
        for _ in range(count):
            assert await client.answer() == (200, b"warm")
        return wires

    async def stop(self) -> None:
        """Close all that is open in this loop, and see it closed."""
        self._server.close()
        for wire in WIRES:
            wire.abort()
            with contextlib.suppress(OSError):
                await wire.writer.wait_closed()
        WIRES.clear()
        while self.door.clients or self.pool._all:
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(folder: Path, count: int = 1) -> AsyncIterator[tuple[Gateway, list[Server]]]:
    """A gateway before some servers; in the end no instance may be thought busy."""
    gateway = Gateway(folder)
    servers = [Server(folder / f"s{number}.sock") for number in range(count)]
    for server in servers:
        await server.start()
    await gateway.start()
    instances = gateway.route(*servers)
    try:
        yield gateway, servers
        assert [one.outstanding for one in instances] == [0] * count
    finally:
        for server in servers:
            server.stop()
        await gateway.stop()
