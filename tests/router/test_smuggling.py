"""Requests that two parsers may read differently: none of them brings a second one past the door.

What a model server gets is one request, whose signature was right, or nothing; what the control
plane gets is one request that ends where the gateway says.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.router.outside import Gateway, Model, one

NAME = "guarded"
SECOND = (
    b"POST /endpoints/guarded/invocations HTTP/1.1\r\nHost: evil\r\nContent-Length: 2\r\n\r\n{}"
)
CHUNKED = b"2\r\n{}\r\n0\r\n\r\n"
ENDS = b"0\r\n\r\n"
# Further lines of a head, and what follows the head; the signature is of the body `{}`.
EVIL: dict[str, tuple[bytes, bytes]] = {
    "length and chunked": (b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"{}" + SECOND),
    "chunked and length": (b"Transfer-Encoding: chunked\r\nContent-Length: 5", ENDS + SECOND),
    "chunked twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", CHUNKED + SECOND),
    "chunked and identity": (b"Transfer-Encoding: chunked, identity", CHUNKED + SECOND),
    "nearly chunked": (b"Transfer-Encoding: xchunked\r\nContent-Length: 2", b"{}" + SECOND),
    "chunked after a tab": (b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 2", b"{}" + SECOND),
    "chunked before a colon": (
        b"Transfer-Encoding : chunked\r\nContent-Length: 2",
        b"{}" + SECOND,
    ),
    "lengths that differ": (b"Content-Length: 2\r\nContent-Length: 90", b"{}" + SECOND),
    "lengths that do not": (b"Content-Length: 2\r\nContent-Length: 2", b"{}" + SECOND),
    "a list of lengths": (b"Content-Length: 2, 2", b"{}" + SECOND),
    "a length with a sign": (b"Content-Length: +2", b"{}" + SECOND),
    "a negative length": (b"Content-Length: -1", b"{}" + SECOND),
    "a length in hex": (b"Content-Length: 0x2", b"{}" + SECOND),
    "a length with a space": (b"Content-Length: 2 2", b"{}" + SECOND),
    "a length too long": (b"Content-Length: 1" + b"0" * 40, b"{}" + SECOND),
    "a space before the colon": (b"Content-Length : 2", b"{}" + SECOND),
    "a folded line": (b"X-Own: 1\r\n Content-Length: 0\r\nContent-Length: 2", b"{}" + SECOND),
    "a folded length": (b"Content-Length:\r\n 2", b"{}" + SECOND),
    "a bare line feed": (
        b"X-Own: 1\nTransfer-Encoding: chunked\r\nContent-Length: 2",
        b"{}" + SECOND,
    ),
    "a bare return": (b"X-Own: 1\rTransfer-Encoding: chunked\r\nContent-Length: 2", b"{}" + SECOND),
    "a null byte": (b"X-Own: \x00\r\nContent-Length: 2", b"{}" + SECOND),
    "a null byte in a name": (b"Content-Length\x00: 90\r\nContent-Length: 2", b"{}" + SECOND),
    "a line without a colon": (b"Content-Length 90\r\nContent-Length: 2", b"{}" + SECOND),
    "an empty name": (b": 90\r\nContent-Length: 2", b"{}" + SECOND),
    "a chunk too large": (b"Transfer-Encoding: chunked", b"FFFFFFFFFFFFFFFFF\r\n{}" + SECOND),
    "a negative chunk": (b"Transfer-Encoding: chunked", b"-1\r\n{}\r\n" + ENDS + SECOND),
    "a chunk and more": (b"Transfer-Encoding: chunked", b"2\r\n{}XX\r\n" + ENDS + SECOND),
    "a chunk's extension": (b"Transfer-Encoding: chunked", b"2;a=\n\r\n{}\r\n" + ENDS + SECOND),
    "a trailer": (
        b"Transfer-Encoding: chunked",
        b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n" + SECOND,
    ),
    "a head too large": (b"X-Own: " + b"a" * 70_000 + b"\r\nContent-Length: 2", b"{}" + SECOND),
    "too many lines": (b"X-Own: a\r\n" * 9_000 + b"Content-Length: 2", b"{}" + SECOND),
    "an upgrade": (b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2", b"{}" + SECOND),
    "no length": (b"X-Own: 1", SECOND),
    "one after the other": (b"Content-Length: 2", b"{}" + SECOND),
}


class Control:
    """In the control plane's place: keeps all that it gets, and answers after the head."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.got: list[bytearray] = []
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self.got.append(kept)
        with contextlib.suppress(ConnectionError):
            while b"\r\n\r\n" not in kept and (piece := await reader.read(65_536)):
                kept += piece
            with contextlib.suppress(TimeoutError):
                # What else comes for this request comes at once.
                while piece := await asyncio.wait_for(reader.read(65_536), 0.05):
                    kept += piece
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        writer.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(5)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("smuggling"))
    yield running
    running.stop()


@pytest.fixture
def model(gateway: Gateway, tmp_path: Path) -> Iterator[Model]:
    made = Model(tmp_path / "m.sock", f"m-{tmp_path.name}")
    gateway.route(NAME, [one("A", 1, made)])
    yield made
    made.stop()


@pytest.fixture(scope="module")
def control(gateway: Gateway) -> Iterator[Control]:
    made = Control(gateway.home / "run" / "control.sock")
    yield made
    made.stop()


def _all_answers(gateway: Gateway, data: bytes) -> bytes:
    """What comes back on one connection whose client has said all it will say."""
    with gateway.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        found = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65_536):
                found += piece
        return found


@pytest.mark.parametrize("case", EVIL)
def test_no_second_request_reaches_a_model(gateway: Gateway, model: Model, case: str) -> None:
    lines, rest = EVIL[case]
    assert gateway.ask(NAME)[0] == 200  # A connection to the model server is kept.
    model.seen.clear()
    before = model.requests
    head = gateway.request(NAME, b"{}")
    answers = _all_answers(gateway, head + b"\r\n" + lines + b"\r\n\r\n" + rest)
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses.count(200) <= 1
    assert model.requests - before <= 1
    assert len(model.seen) <= 1
    assert all(b"evil" not in head and b"x-own" not in head.lower() for head in model.seen)
    if case == "one after the other":
        assert statuses == [200, 403]
    # Whoever comes next on the kept connection gets an answer of their own.
    for number in range(3):
        status, answer = gateway.ask(NAME, b'{"n": %d}' % number)
        assert (status, answer["got"]) == (200, f'{{"n": {number}}}')


@pytest.mark.parametrize("case", EVIL)
def test_what_is_passed_on_is_one_request(
    gateway: Gateway, control: Control, model: Model, case: str
) -> None:
    lines, rest = EVIL[case]
    control.got.clear()
    data = b"PUT /bucket/key HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n\r\n" + rest
    _all_answers(gateway, data)
    assert model.requests == 0
    for got in control.got:
        head, _, body = bytes(got).partition(b"\r\n\r\n")
        first, *fields = head.split(b"\r\n")
        assert first == b"PUT /bucket/key HTTP/1.1"
        names = [field.partition(b":")[0].lower() for field in fields]
        framing = [name for name in names if name in (b"content-length", b"transfer-encoding")]
        assert len(framing) <= 1
        assert not any(byte in head for byte in (b"\x00", b"\n ", b"\n\t"))
        assert head.count(b"\n") == head.count(b"\r") == len(fields)
        if framing == [b"content-length"]:
            assert len(body) <= int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
        elif framing:
            assert body.endswith(ENDS) or ENDS not in body
        else:
            assert body == b""


FIRST_LINES = (
    b"POST  /endpoints/guarded/invocations HTTP/1.1",
    b"POST\t/endpoints/guarded/invocations HTTP/1.1",
    b"POST /endpoints/guarded/invocations HTTP/1.1 ",
    b"POST /endpoints/guarded/invocations HTTP/1.0",
    b"POST /endpoints/guarded/invocations HTTP/2.0",
    b"POST /endpoints/guarded/invocations",
    b"post /endpoints/guarded/invocations HTTP/1.1",
    b"POST /endpoints/guarded/\x00/invocations HTTP/1.1",
    b"POST http://evil/endpoints/guarded/invocations HTTP/1.1",
    b"PRI * HTTP/2.0\r\n\r\nSM",
)


@pytest.mark.parametrize("number", range(len(FIRST_LINES)))
def test_odd_first_lines(gateway: Gateway, model: Model, number: int) -> None:
    head = gateway.request(NAME, b"{}").partition(b"\r\n")[2]
    data = FIRST_LINES[number] + b"\r\n" + head + b"\r\nContent-Length: 2\r\n\r\n{}" + SECOND
    answers = _all_answers(gateway, data)
    assert answers.count(b"HTTP/1.1 200") <= 1
    assert model.requests <= 1
    assert all(b"evil" not in head for head in model.seen)
    assert gateway.ask(NAME)[0] == 200
