"""The short way of an invocation, by plain calls on kept connections, and its every way out."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path

import orjson
import pytest
import uvloop

from loopwright.router import invoke
from loopwright.router.client import IDLE_TIMEOUT_S
from loopwright.router.invoke import BODY_BYTES_MAX, MODEL_TIME_S
from tests.router.inside import Server, Wire, ok, running

Test = Callable[[Path], Awaitable[None]]


def looped(test: Test) -> Callable[[Path], None]:
    """Run a test in the gateway's own kind of loop."""

    @wraps(test)
    def run(tmp_path: Path) -> None:
        uvloop.run(test(tmp_path))

    return run


async def turns(count: int = 5) -> None:
    """Let the loop read what is there."""
    for _ in range(count):
        await asyncio.sleep(0)


@looped
async def test_answers_leave_in_the_order_of_the_requests(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        wires = await gateway.warm(client, server, 3)
        client.send(b"".join(gateway.request(b"%d" % number) for number in range(3)))
        asked = {(await wire.message())[1]: wire for wire in wires}
        for name in (b"2", b"1", b"0"):
            asked[name].send(ok(name))
            await turns()
        assert [await client.answer() for _ in range(3)] == [(200, b"%d" % n) for n in range(3)]
        assert server.accepted.empty()


@looped
async def test_a_bad_signature_is_refused_in_its_turn(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        forged = gateway.request(b"good").replace(b"good", b"evil")
        client.send(gateway.request(b"first") + forged)
        assert (await wire.message())[1] == b"first"
        await turns()
        wire.send(ok(b"first"))
        assert await client.answer() == (200, b"first")
        status, body = await client.answer()
        assert (status, orjson.loads(body)["__type"]) == (403, "InvalidSignatureException")


@looped
async def test_a_client_that_leaves_takes_its_answer_with_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.request(b"mine"))
        assert (await wire.message())[1] == b"mine"
        client.reset()
        assert await wire.ended() == b""
        wire.send(ok(b"of the one who left"))
        other = await gateway.connect()
        other.send(gateway.request(b"next"))
        wire = await server.next()
        assert (await wire.message())[1] == b"next"
        wire.send(ok(b"right"))
        assert await other.answer() == (200, b"right")


@looped
async def test_an_answer_for_a_client_that_has_closed_is_read_to_its_end(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.request(b"mine"))
        await wire.message()
        client.abort()
        await turns()
        other = await gateway.connect()
        other.send(gateway.request(b"next"))
        second = await server.next()
        await second.message()
        wire.send(ok(b"of the one who left"))
        second.send(ok(b"right"))
        assert await other.answer() == (200, b"right")


@looped
async def test_a_half_closed_client_gets_its_answer_and_the_end(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.request(b"last"))
        client.writer.write_eof()
        await wire.message()
        await turns()
        wire.send(ok(b"answer"))
        assert await client.answer() == (200, b"answer")
        assert await client.ended() == b""


@looped
async def test_a_kept_connection_closed_in_silence_is_no_failure(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.request(b"again"))
        await wire.message()
        wire.abort()
        wire = await server.next()
        assert (await wire.message())[1] == b"again"
        wire.send(ok(b"second"))
        assert await client.answer() == (200, b"second")


@looped
async def test_an_instance_that_ends_leaves_its_request_to_another(tmp_path: Path) -> None:
    async with running(tmp_path, 2) as (gateway, (one, two)):
        gateway.route(one)
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, one)
        client.send(gateway.request(b"work"))
        await wire.message()
        gateway.route(one, two)
        one.stop()
        wire.abort()
        # Its route is the one it began with, so the other instance is met by the new route.
        other = await two.next()
        assert (await other.message())[1] == b"work"
        other.send(ok(b"by two"))
        assert await client.answer() == (200, b"by two")


GARBAGE = {
    "no HTTP": b"hello, this is no answer at all\r\n\r\n",
    "binary": bytes(range(256)) * 4,
    "no status": b"HTTP/1.1 \r\nContent-Length: 0\r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nab\r\n0\r\n\r\n",
    "a length beyond all bounds": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nab",
    "an endless body": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"100000\r\n" + b"z" * 2**20 + b"\r\n") * 26,
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * 200_000,
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_an_error_and_harms_nobody_else(name: str, tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as (gateway, (server,)):
            client = await gateway.connect()
            (wire,) = await gateway.warm(client, server)
            client.send(gateway.request(b"asked"))
            assert (await wire.message())[1] == b"asked"
            wire.send(GARBAGE[name])
            status, body = await client.answer()
            assert status == 424, body
            # The connection that spoke so is not used again; the next request is answered.
            client.send(gateway.request(b"next"))
            wire = await server.next()
            assert (await wire.message())[1] == b"next"
            wire.send(ok(b"right"))
            assert await client.answer() == (200, b"right")

    uvloop.run(test())


@looped
async def test_an_answer_cut_off_is_an_error_and_never_asked_again(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        for cut in (ok(b"whole answer")[:-5], b"HTTP/1.1 200 OK\r\ncont"):
            (wire,) = await gateway.warm(client, server)
            client.send(gateway.request(b"once"))
            await wire.message()
            wire.send(cut)
            await wire.writer.drain()
            wire.writer.close()
            status, body = await client.answer()
            assert (status, orjson.loads(body)["OriginalStatusCode"]) == (424, 0)
            assert b"Worker died" in body
            assert server.accepted.empty()


@looped
async def test_a_late_answer_is_an_error_and_meets_nobody(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.request(b"slow"))
        await wire.message()
        now = asyncio.get_running_loop().time()
        gateway.pool.sweep(now + MODEL_TIME_S - 1)
        wire.send(b"HTTP/1.1 200 OK\r\n")
        await turns()
        gateway.pool.sweep(now + MODEL_TIME_S + 1)
        status, body = await client.answer()
        assert status == 424
        assert b"timed out" in body
        assert await wire.ended() == b""
        await gateway.warm(client, server)


def test_a_late_answer_on_a_new_connection_is_an_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invoke, "MODEL_TIME_S", 0.05)

    async def test(folder: Path) -> None:
        async with running(folder) as (gateway, (server,)):
            client = await gateway.connect()
            client.send(gateway.request(b"slow"))
            wire = await server.next()
            await wire.message()
            status, body = await client.answer()
            assert status == 424
            assert b"timed out" in body
            assert await wire.ended() == b""

    uvloop.run(test(tmp_path))


@looped
async def test_an_answer_may_come_byte_by_byte(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        whole = ok(b"0123456789")
        for first in (1, len(whole) - 9):
            client.send(gateway.request(b"drip"))
            await wire.message()
            wire.send(whole[:first])
            for byte in whole[first:]:
                await turns(2)
                wire.send(bytes([byte]))
            assert await client.answer() == (200, b"0123456789")
        assert server.accepted.empty()


UNUSUAL = {
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "continue first": b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n" + ok(b"ab"),
    "folded by case": b"HTTP/1.1 200 Fine\r\nCONTENT-LENGTH:2\r\nDate: now\r\n\r\nab",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_answers_are_read_too(tmp_path: Path, name: str) -> None:
    async def test(folder: Path) -> None:
        async with running(folder) as (gateway, (server,)):
            client = await gateway.connect()
            (wire,) = await gateway.warm(client, server)
            for _ in range(2):
                client.send(gateway.request(b"odd"))
                await wire.message()
                wire.send(UNUSUAL[name])
                assert await client.answer() == (200, b"ab")
            client.send(gateway.request(b"plain"))
            await wire.message()
            wire.send(ok(b"plain"))
            assert await client.answer() == (200, b"plain")

    uvloop.run(test(tmp_path))


@looped
async def test_an_answer_may_end_with_its_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        for head in (b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"):
            (wire,) = await gateway.warm(client, server)
            client.send(gateway.request(b"once"))
            await wire.message()
            wire.send(head)
            await turns()
            wire.send(b"all of it")
            wire.writer.close()
            assert await client.answer() == (200, b"all of it")
        for cut in (b"HTTP/1.1 100 Go\r\n\r\n", b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nX: "):
            (wire,) = await gateway.warm(client, server)
            client.send(gateway.request(b"once"))
            await wire.message()
            wire.send(cut)
            wire.writer.close()
            assert (await client.answer())[0] == 424


@looped
async def test_who_leaves_as_the_answer_comes_takes_no_other_s_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        client.send(gateway.request(b"mine"))
        wire = await server.next()
        await wire.message()
        (connection,) = gateway.pool._all
        (left,) = gateway.door.clients
        # The answer frees the connection; before the task goes on, its client leaves.
        connection.data_received(ok(b"mine"))
        left._queue.popleft().leave()
        await turns()
        assert not connection.closed
        other = await gateway.connect()
        other.send(gateway.request(b"next"))
        assert (await wire.message())[1] == b"next"
        wire.send(ok(b"right"))
        assert await other.answer() == (200, b"right")


LAST = {
    "says close": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: close\r\n\r\nab",
    "says too much": ok(b"ab") + b"more",
    "answers twice": ok(b"ab") + ok(b"cd"),
    "twice, in chunks": UNUSUAL["chunked"] + UNUSUAL["chunked"],
}


@pytest.mark.parametrize("name", LAST)
def test_a_connection_of_doubtful_state_is_not_kept(tmp_path: Path, name: str) -> None:
    async def test(folder: Path) -> None:
        async with running(folder) as (gateway, (server,)):
            client = await gateway.connect()
            (wire,) = await gateway.warm(client, server)
            client.send(gateway.request(b"x"))
            await wire.message()
            wire.send(LAST[name])
            assert await client.answer() == (200, b"ab")
            assert await wire.ended() == b""
            await gateway.warm(client, server)

    uvloop.run(test(tmp_path))


@looped
async def test_an_answer_before_the_request_is_read_costs_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.request(b"x" * 4_000_000))
        await wire.head()
        wire.send(ok(b"no need to read that"))
        assert await client.answer() == (200, b"no need to read that")
        await gateway.warm(client, server)


@looped
async def test_an_error_of_the_model_leaves_the_connection_well(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        for _ in range(2):
            client.send(gateway.request(b"x"))
            await wire.message()
            wire.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad")
            status, body = await client.answer()
            assert (status, orjson.loads(body)["OriginalMessage"]) == (424, "bad")
        assert server.accepted.empty()


@looped
async def test_what_is_no_http_is_an_error(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.request(b"x"))
        await wire.message()
        wire.send(b"SSH-2.0-OpenSSH\r\n\r\n")
        status, body = await client.answer()
        assert status == 424
        assert b"no HTTP" in body
        assert await wire.ended() == b""


@looped
async def test_a_request_may_come_byte_by_byte(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        whole = gateway.request(b"0123456789" * 3)
        for first in (1, whole.index(b"\r\n\r\n") + 2, len(whole) - 20):
            client.send(whole[:first])
            for byte in whole[first:]:
                await turns(2)
                client.send(bytes([byte]))
            assert (await wire.message())[1] == b"0123456789" * 3
            wire.send(ok(b"got it"))
            assert await client.answer() == (200, b"got it")


@looped
async def test_a_large_body_arrives_whole_and_with_what_follows_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        wires = await gateway.warm(client, server, 2)
        large = bytes(range(256)) * 800
        client.send(gateway.request(large) + gateway.request(b"small"))
        asked = {(await wire.message())[1]: wire for wire in wires}
        assert set(asked) == {large, b"small"}
        for body, wire in asked.items():
            wire.send(ok(b"%d" % len(body)))
        assert await client.answer() == (200, b"%d" % len(large))
        assert await client.answer() == (200, b"5")


@looped
async def test_a_body_that_is_too_large_is_refused_in_its_turn(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        head, _, _ = gateway.request(b"").rpartition(b"Content-Length")
        over = BODY_BYTES_MAX + 1
        client.send(gateway.request(b"first") + head + b"Content-Length: %d\r\n\r\n" % over)
        await wire.message()
        await turns()
        wire.send(ok(b"first"))
        client.send(b"x" * over)
        assert await client.answer() == (200, b"first")
        status, body = await client.answer()
        assert status == 413
        assert str(over).encode() in body
        assert await client.ended() == b""


@looped
async def test_the_control_plane_answers_in_its_turn(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        control = Server(tmp_path / "control.sock")
        await control.start()
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.request(b"first") + b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        await wire.message()
        passed: Wire = await control.next()
        await passed.head()
        passed.send(ok(b"control"))
        passed.writer.close()
        await turns()
        wire.send(ok(b"first"))
        assert await client.answer() == (200, b"first")
        assert await client.answer() == (200, b"control")
        client.send(gateway.request(b"third"))
        await wire.message()
        wire.send(ok(b"third"))
        assert await client.answer() == (200, b"third")
        control.stop()


@looped
async def test_a_client_that_takes_no_more_of_its_answer_is_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.writer.transport.pause_reading()
        client.send(gateway.request(b"large"))
        await wire.message()
        wire.send(ok(b"x" * 16_000_000))
        (connection,) = gateway.door.clients
        while not connection._full:
            await asyncio.sleep(0)
        await turns(100)
        late = asyncio.get_running_loop().time() + 10 * IDLE_TIMEOUT_S
        # It may take its time; it is the second look that finds nothing taken.
        connection.check(late)
        await turns()
        assert gateway.door.clients
        connection.check(late)
        while gateway.door.clients:
            await asyncio.sleep(0)


@looped
async def test_a_client_that_reads_no_answers_sends_no_more(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.writer.transport.pause_reading()
        client.send(gateway.request(b"large"))
        await wire.message()
        wire.send(ok(b"x" * 16_000_000))
        await wire.writer.drain()
        (connection,) = gateway.door.clients
        while connection._reading:
            await asyncio.sleep(0)
        client.send(gateway.request(b"more"))
        await turns(100)
        assert not wire.reader._buffer
        client.writer.transport.resume_reading()
        assert await client.answer() == (200, b"x" * 16_000_000)
        assert (await wire.message())[1] == b"more"
        wire.send(ok(b"more"))
        assert await client.answer() == (200, b"more")
