"""Streams and clients: slow ones, ones that go away, and answers that wait for their turn."""

import asyncio
from pathlib import Path

import pytest
import uvloop

from loopwright.router.source import PIECES_MAX
from loopwright.router.upstream import ANSWER_BYTES_MAX
from tests.router.events import (
    CHUNKED,
    LAST,
    Events,
    asked_again,
    begun,
    chunk,
    held_back,
)
from tests.router.inside import Server, Wire, ok, running
from tests.router.test_short_way import looped, turns


@looped
async def test_a_slow_client_holds_the_model_back(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        client.writer.transport.pause_reading()
        wire.send(CHUNKED)
        size, sent = 65_536, await held_back(wire)
        (connection,) = gateway.door.clients
        assert connection._full
        held = connection._transport
        assert held is not None
        assert held.get_write_buffer_size() < 1_000_000
        # Far over the bound of answers that are held, in all.
        total = sent + 2 * ANSWER_BYTES_MAX

        async def go_on() -> None:
            nonlocal sent
            while sent < total:
                wire.send(chunk(b"z" * size))
                sent += size
                await wire.writer.drain()
            wire.send(LAST)

        client.writer.transport.resume_reading()
        making = asyncio.create_task(go_on())
        events = Events(client)
        assert await events.begin() == 200
        seen = 0
        while (event := await events.next()) is not None:
            assert event[0] == "PayloadPart"
            assert event[1].count(b"z") == len(event[1])
            seen += len(event[1])
        await making
        assert seen == sent
        await asked_again(gateway, client, wire)


@looped
async def test_a_client_that_is_full_by_the_first_part_holds_the_model_too(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.writer.transport.pause_reading()
        (connection,) = gateway.door.clients
        transport = connection._transport
        assert transport is not None
        transport.set_write_buffer_limits(high=100_000_000)
        client.send(gateway.request(b"large"))
        await wire.message()
        wire.send(ok(b"x" * 16_000_000))
        while transport.get_write_buffer_size() < 1_000_000:
            await asyncio.sleep(0)
        await turns(100)
        transport.set_write_buffer_limits(high=transport.get_write_buffer_size() + 1000)
        client.send(gateway.stream(b"stream"))
        await wire.message()
        wire.send(CHUNKED)
        assert await held_back(wire) < 8_000_000
        assert connection._full
        client.writer.transport.resume_reading()
        assert (await client.answer())[1].count(b"x") == 16_000_000
        wire.send(LAST)
        events = Events(client)
        assert (await events.begin(), set(await events.rest())) == (200, {ord("z")})


@pytest.mark.parametrize("first", [b"", chunk(b"first")], ids=["before it begins", "in its midst"])
@pytest.mark.parametrize("how", ["reset", "abort"])
def test_a_client_that_goes_away_lets_the_model_stop(
    tmp_path: Path, how: str, first: bytes
) -> None:
    async def test() -> None:
        async with running(tmp_path) as (gateway, (server,)):
            client, wire = await begun(gateway, server)
            wire.send(CHUNKED + first)
            if first:
                events = Events(client)
                assert (await events.begin(), await events.part()) == (200, b"first")
            getattr(client, how)()
            assert await wire.ended() == b""
            other = await gateway.connect()
            await gateway.warm(other, server)
            assert gateway.tally().errors_5 == 0

    uvloop.run(test())


@looped
async def test_a_client_that_goes_away_while_it_is_slow_lets_the_model_stop(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        client.writer.transport.pause_reading()
        (connection,) = gateway.door.clients
        wire.send(CHUNKED)
        while not connection._full:
            wire.send(chunk(b"z" * 65_536))
            await asyncio.sleep(0)
        client.abort()
        await wire.ended()
        while gateway.door.clients:
            await asyncio.sleep(0)


@looped
async def test_on_a_new_connection_a_client_that_goes_away_is_noticed_too(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        for first in (b"", CHUNKED, CHUNKED + chunk(b"first")):
            client = await gateway.connect()
            client.send(gateway.stream(b"mine"))
            wire = await server.next()
            await wire.message()
            wire.send(first)
            await turns()
            client.abort()
            assert await wire.ended() == b""


@looped
async def test_a_stream_whose_turn_comes_after_its_client_s_end_is_given_up(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        wires = await gateway.warm(client, server, 2)
        client.send(gateway.request(b"0") + gateway.stream(b"1"))
        asked = {(await wire.message())[1]: wire for wire in wires}
        client.writer.write_eof()
        (connection,) = gateway.door.clients
        while not connection._ended:
            await asyncio.sleep(0)
        asked[b"0"].send(ok(b"zero"))
        assert await asked[b"1"].ended() == b""
        assert await client.answer() == (200, b"zero")
        assert await client.ended() == b""


@looped
async def test_streams_and_plain_answers_keep_their_order(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        wires = await gateway.warm(client, server, 4)
        client.send(
            gateway.request(b"0") + gateway.stream(b"1") + gateway.stream(b"2")
            + gateway.request(b"3")
        )  # fmt: skip
        asked = {(await wire.message())[1]: wire for wire in wires}
        asked[b"3"].send(ok(b"three"))
        asked[b"2"].send(CHUNKED + chunk(b"two ") + chunk(b"two") + LAST)
        asked[b"1"].send(CHUNKED + chunk(b"one "))
        await turns()
        assert not client.reader._buffer
        asked[b"0"].send(ok(b"zero"))
        assert await client.answer() == (200, b"zero")
        one = Events(client)
        assert (await one.begin(), await one.part()) == (200, b"one ")
        await turns()
        assert not client.reader._buffer
        asked[b"1"].send(chunk(b"one") + LAST)
        assert await one.rest() == b"one"
        two = Events(client)
        assert (await two.begin(), await two.rest()) == (200, b"two two")
        assert await client.answer() == (200, b"three")
        await gateway.warm(client, server, 0)
        assert server.accepted.empty()


@looped
async def test_a_stream_that_waits_for_its_turn_is_not_read(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        wires = await gateway.warm(client, server, 2)
        client.send(gateway.request(b"0") + gateway.stream(b"1"))
        asked = {(await wire.message())[1]: wire for wire in wires}
        wire = asked[b"1"]
        wire.send(CHUNKED)
        sent = await held_back(wire)
        assert sent < 8_000_000
        wire.send(LAST)
        asked[b"0"].send(ok(b"zero"))
        assert await client.answer() == (200, b"zero")
        events = Events(client)
        assert await events.begin() == 200
        assert len(await events.rest()) == sent


@looped
async def test_a_stream_that_fails_in_its_wait_says_so_in_its_turn(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        wires = await gateway.warm(client, server, 2)
        client.send(gateway.request(b"0") + gateway.stream(b"1"))
        asked = {(await wire.message())[1]: wire for wire in wires}
        asked[b"1"].send(CHUNKED + chunk(b"first"))
        await turns()
        asked[b"1"].writer.close()
        await turns()
        asked[b"0"].send(ok(b"zero"))
        assert await client.answer() == (200, b"zero")
        events = Events(client)
        assert (await events.begin(), await events.part()) == (200, b"first")
        assert (await events.error())[1]["ErrorCode"] == "StreamBroken"


@looped
async def test_a_client_of_http_1_0_gets_the_events_until_the_end(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        for keep in (b"", b"Connection: keep-alive\r\n"):
            for end in (chunk(b"cd") + LAST, b"nonsense\r\n"):
                client = await gateway.connect()
                request = gateway.stream(b"old").replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n" + keep)
                client.send(request)
                wire = await server.next()
                await wire.message()
                wire.send(CHUNKED + chunk(b"ab"))
                events = Events(client)
                assert (await events.begin(), await events.part()) == (200, b"ab")
                assert b"chunked" not in events.head
                assert b"\r\nConnection: close\r\n" in events.head
                wire.send(end)
                if end.endswith(LAST):
                    assert await events.rest() == b"cd"
                else:
                    assert (await events.error())[1]["ErrorCode"] == "StreamBroken"
                wire.abort()
                await turns()


@looped
async def test_a_last_request_s_stream_ends_with_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        client.send(gateway.stream(b"bye", Connection="close"))
        wire = await server.next()
        await wire.message()
        wire.send(CHUNKED + chunk(b"ab") + LAST)
        events = Events(client)
        assert (await events.begin(), await events.rest()) == (200, b"ab")
        assert await client.ended() == b""


@looped
async def test_garbage_behind_a_stream_is_refused_after_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        client.send(b"this is no request\r\n\r\n")
        wire.send(CHUNKED + chunk(b"ab"))
        events = Events(client)
        assert (await events.begin(), await events.part()) == (200, b"ab")
        wire.send(chunk(b"cd") + LAST)
        assert await events.rest() == b"cd"
        assert (await client.answer())[0] == 400
        assert await client.ended() == b""


@looped
async def test_a_request_in_pieces_may_want_a_stream(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        head, _, body = gateway.stream(b"in chunks").partition(b"\r\n\r\n")
        head = head.replace(b"Content-Length: 9", b"Transfer-Encoding: chunked")
        client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(chunk(body[:2]) + chunk(body[2:]) + LAST)
        assert (await wire.message())[1] == body
        wire.send(CHUNKED + chunk(b"ab") + LAST)
        events = Events(client)
        assert (await events.begin(), await events.rest()) == (200, b"ab")
        await asked_again(gateway, client, wire)


@looped
async def test_the_control_plane_answers_after_a_stream(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        control = Server(tmp_path / "control.sock")
        await control.start()
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.stream(b"first") + b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        await wire.message()
        passed: Wire = await control.next()
        await passed.head()
        passed.send(ok(b"control"))
        passed.writer.close()
        wire.send(CHUNKED + chunk(b"ab"))
        events = Events(client)
        assert (await events.begin(), await events.part()) == (200, b"ab")
        await turns()
        assert not client.reader._buffer
        wire.send(LAST)
        assert await events.next() is None
        assert await client.answer() == (200, b"control")
        await asked_again(gateway, client, wire)
        control.stop()


@looped
async def test_the_control_plane_is_held_back_while_it_waits_for_a_stream(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        control = Server(tmp_path / "control.sock")
        await control.start()
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.stream(b"first") + b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        await wire.message()
        passed: Wire = await control.next()
        await passed.head()
        passed.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = await held_back(passed)
        assert sent < 8_000_000
        passed.send(LAST)
        passed.writer.close()
        wire.send(CHUNKED + chunk(b"ab") + LAST)
        events = Events(client)
        assert (await events.begin(), await events.rest()) == (200, b"ab")
        assert b" 200 " in await client.head()
        found = 0
        while size := int(await client.reader.readuntil(b"\r\n"), 16):
            found += len(await client.reader.readexactly(size + 2)) - 2
        assert found == sent
        await client.reader.readexactly(2)
        await asked_again(gateway, client, wire)
        control.stop()


# The connection to the model server


@looped
async def test_many_small_chunks_of_one_read_are_joined(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        for count, parts in ((PIECES_MAX, PIECES_MAX), (PIECES_MAX + 1, 1)):
            wire.send(CHUNKED + chunk(b"x") * count + LAST)
            events = Events(client)
            await events.begin()
            found = 0
            while await events.next() is not None:
                found += 1
            assert found == parts
            client.send(gateway.stream(b"more"))
            await wire.message()
        wire.send(ok(b""))
        await Events(client).begin()


@looped
async def test_a_large_piece_is_several_events(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        body = bytes(range(256)) * 2000
        wire.send(ok(body))
        events = Events(client)
        assert (await events.begin(), await events.rest()) == (200, body)
        await asked_again(gateway, client, wire)


LAST_OF_ALL = {
    "says close": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: close\r\n\r\nab",
    "says too much": ok(b"ab") + b"more",
    "answers twice": ok(b"ab") + ok(b"cd"),
    "twice, in chunks": (CHUNKED + chunk(b"ab") + LAST) * 2,
    "twice, in chunks and trailers": (CHUNKED + chunk(b"ab") + b"0\r\na: b\r\n\r\n") * 2,
}


@pytest.mark.parametrize("name", LAST_OF_ALL)
def test_a_connection_of_doubtful_state_is_not_kept(tmp_path: Path, name: str) -> None:
    async def test() -> None:
        async with running(tmp_path) as (gateway, (server,)):
            client, wire = await begun(gateway, server)
            wire.send(LAST_OF_ALL[name])
            events = Events(client)
            assert (await events.begin(), await events.rest()) == (200, b"ab")
            assert await wire.ended() == b""
            await gateway.warm(client, server)

    uvloop.run(test())


@looped
async def test_what_comes_after_a_complete_answer_meets_nobody(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        wire.send(CHUNKED + chunk(b"ab") + LAST)
        events = Events(client)
        assert (await events.begin(), await events.rest()) == (200, b"ab")
        wire.send(ok(b"nobody asked"))
        assert await wire.ended() == b""
        await gateway.warm(client, server)


@looped
async def test_an_answer_before_the_request_is_read_costs_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, server)
        client.send(gateway.stream(b"x" * 4_000_000))
        await wire.head()
        wire.send(CHUNKED + chunk(b"no need ") + chunk(b"to read that") + LAST)
        events = Events(client)
        assert (await events.begin(), await events.rest()) == (200, b"no need to read that")
        await gateway.warm(client, server)


@looped
async def test_an_endless_error_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        wire.send(b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = chunk(b"z" * 2**20)
        for _ in range(ANSWER_BYTES_MAX // 2**20 + 2):
            wire.send(piece)
        status, body = await client.answer()
        assert status == 424
        assert b"bytes" in body


@looped
async def test_a_fault_of_the_gateway_itself_is_told_as_one(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        wire.send(CHUNKED + chunk(b"first"))
        events = Events(client)
        assert (await events.begin(), await events.part()) == (200, b"first")
        (connection,) = gateway.door.clients
        written = connection.write_part
        connection.write_part = lambda part: written(part + 1)  # type: ignore[method-assign,operator]
        wire.send(chunk(b"second"))
        kind, told = await events.error()
        assert (kind, set(told)) == ("InternalStreamFailure", {"Message"})
        assert await wire.ended() == b""
        await gateway.warm(client, server)


@looped
async def test_a_gateway_that_stops_ends_its_streams(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        wire.send(CHUNKED + chunk(b"first"))
        events = Events(client)
        assert (await events.begin(), await events.part()) == (200, b"first")
        for connection in gateway.door.clients:
            connection.stop()
        assert (await events.error())[0] == "InternalStreamFailure"
        assert await wire.ended() == b""
