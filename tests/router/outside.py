"""A gateway process of the test's own, and model servers whose answers the test decides."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer

from loopwright.keys import KeyFile
from loopwright.router.routes import route_file
from tests.server import await_that

HOME_FILES = ("run", "routes")


class Model:
    """A model server on a Unix socket whose answers the test decides."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.requests = 0
        self.seen: list[bytes] = []
        self.dies_after_request = False
        self._writers: set[Any] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        self._ready.wait(10)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await asyncio.start_unix_server(self._serve, str(self.path))
        self._ready.set()
        await self._stopping.wait()
        server.close()
        for writer in list(self._writers):
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def _serve(self, reader: Any, writer: Any) -> None:
        self._writers.add(writer)
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            self.seen.append(head)
            headers = dict(
                line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line
            )
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests += 1
            if self.dies_after_request:
                break
            delay = json.loads(body or b"{}").get("sleep", 0)
            await asyncio.sleep(delay)
            answer = orjson.dumps({"by": self.name, "got": body.decode(), "headers": headers})
            if b'"parts"' in body:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for part in (answer[:9], answer[9:]):
                    writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write(b"0\r\n\r\n")
                continue
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                % len(answer)
                + answer
            )
        self._writers.discard(writer)
        writer.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(5)


class Gateway:
    """A gateway process with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in HOME_FILES:
            (home / name).mkdir(parents=True)
        self.access_key, self.secret = KeyFile(home / "keys.json").ensure()
        with (home / "gateway.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "loopwright.router.gateway",
                    str(home),
                    "127.0.0.1",
                    "0",
                    "123456789012",
                ],
                stderr=log,
            )
        path = home / "run" / "gateway.json"
        await_that(lambda: path.exists() or None, "the gateway")
        self.port = int(json.loads(path.read_text())["port"])

    def route(self, name: str, variants: list[dict[str, Any]], **members: Any) -> None:
        document = {"endpoint": name, "region": "us-east-1", "arn": "a:b:c:d:1:f", **members}
        path = route_file(self.home / "routes", f"us-east-1/{name}")
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(orjson.dumps({**document, "variants": variants}))
        temporary.rename(path)

    def request(
        self, endpoint: str, body: bytes, call: str = "invocations", **headers: str
    ) -> bytes:
        """A signed invocation as bytes, its body not included."""
        url = f"http://127.0.0.1:{self.port}/endpoints/{endpoint}/{call}"
        sent = AWSRequest(method="POST", url=url, data=body, headers=headers)
        SigV4Auth(Credentials(self.access_key, self.secret), "sagemaker", "us-east-1").add_auth(
            sent
        )
        lines = [f"POST /endpoints/{endpoint}/{call} HTTP/1.1"]
        lines += [f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{key}: {value}" for key, value in sent.headers.items()]
        return "\r\n".join(lines).encode()

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.settimeout(20)
        return connection

    def ask(self, endpoint: str, body: bytes = b"{}", **headers: str) -> tuple[int, Any]:
        return self.ask_whole(endpoint, body, **headers)[::2]

    def ask_whole(
        self, endpoint: str, body: bytes = b"{}", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON body)."""
        with self.connect() as connection:
            head = self.request(endpoint, body, **headers)
            connection.sendall(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            with connection.makefile("rb") as stream:
                return read_whole(stream)

    def stream(self, endpoint: str, body: bytes = b"{}") -> bytes:
        """The parts of a streamed answer that came to its end.

        Raises:
            OSError, ValueError, IndexError, AssertionError: it did not.
        """
        with self.connect() as connection:
            head = self.request(endpoint, body, "invocations-response-stream")
            connection.sendall(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            with connection.makefile("rb") as stream:
                status = int(stream.readline().split()[1])
                while stream.readline().strip():
                    pass
                assert status == 200
                buffer, parts = EventStreamBuffer(), []
                while size := int(stream.readline(), 16):
                    buffer.add_data(stream.read(size + 2)[:size])
                    parts += [event.payload for event in buffer]
                assert stream.read(2) == b"\r\n"
                return b"".join(parts)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)


def read_answer(stream: Any) -> tuple[int, Any]:
    """(status, JSON body) of one answer."""
    return read_whole(stream)[::2]


def read_whole(stream: Any) -> tuple[int, dict[str, str], Any]:
    """(status, headers, JSON body) of one answer."""
    status = int(stream.readline().split()[1])
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(": ")
        headers[name.lower()] = value
    length = int(headers.get("content-length", 0))
    return status, headers, json.loads(stream.read(length) or b"null")


def one(name: str, weight: float, *models: Model, strategy: str = "RANDOM") -> dict[str, Any]:
    """A variant's document."""
    instances = [{"id": m.name, "address": str(m.path)} for m in models]
    return {"name": name, "weight": weight, "strategy": strategy, "instances": instances}
