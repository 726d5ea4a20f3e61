"""Streamed answers: passed on while they come, held back by either side, broken in every way."""

import asyncio
from pathlib import Path

import orjson
import pytest
import uvloop

from loopwright.router import streamed
from loopwright.router.invoke import MODEL_TIME_S
from loopwright.router.streamed import STREAM_TIME_S
from loopwright.router.upstream import HEAD_BYTES_MAX
from tests.router.events import (
    CHUNKED,
    LAST,
    UNTIL_CLOSE,
    Events,
    asked_again,
    begun,
    chunk,
)
from tests.router.inside import ok, running
from tests.router.test_short_way import GARBAGE, looped, turns

FORMS = {
    "chunked": (CHUNKED, chunk, LAST),
    "with a length": (ok(b"x" * 6)[:-6], bytes, b""),
    "until close": (UNTIL_CLOSE, bytes, None),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fresh", [False, True], ids=["kept connection", "new connection"])
def test_each_part_is_there_before_the_next_is_made(tmp_path: Path, form: str, fresh: bool) -> None:
    head, framed, end = FORMS[form]

    async def test() -> None:
        async with running(tmp_path) as (gateway, (server,)):
            client = await gateway.connect()
            kept = [] if fresh else await gateway.warm(client, server)
            client.send(gateway.stream(b"stream"))
            wire = await server.next() if fresh else kept[0]
            await wire.message()
            wire.send(head)
            await turns()
            events = Events(client)
            for number, part in enumerate((b"ab", b"cd", b"ef")):
                wire.send(framed(part))
                if number == 0:
                    assert await events.begin() == 200
                assert await events.part() == part
            if end is None:
                wire.writer.close()
                assert await events.next() is None
                await gateway.warm(client, server)
                return
            wire.send(end)
            assert await events.next() is None
            await asked_again(gateway, client, wire)
            assert server.accepted.empty()

    uvloop.run(test())


@looped
async def test_the_head_says_what_the_plain_call_s_says(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        session = {"X-Amzn-SageMaker-Session-Id": "NEW_SESSION"}
        client.send(gateway.stream(b"x", **session, **{"X-Amzn-SageMaker-Accept": "text/csv"}))
        wire = await server.next()
        head, _ = await wire.message()
        assert b"Accept: text/csv" in head
        wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nX-Amzn-SageMaker-Custom-Attributes: t=1"
            b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"1,2") + LAST
        )
        events = Events(client)
        assert await events.begin() == 200
        for line in (
            b"\r\nContent-Type: application/vnd.amazon.eventstream\r\n",
            b"\r\nX-Amzn-SageMaker-Content-Type: text/csv\r\n",
            b"\r\nx-Amzn-Invoked-Production-Variant: A\r\n",
            b"\r\nX-Amzn-SageMaker-Custom-Attributes: t=1\r\n",
            b"\r\nX-Amzn-SageMaker-New-Session-Id: ",
        ):
            assert line in events.head
        assert await events.rest() == b"1,2"


@looped
async def test_an_empty_answer_is_a_stream_without_parts(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        for answer in (ok(b""), CHUNKED + LAST, b"HTTP/1.1 204 None\r\n\r\n"):
            client, wire = await begun(gateway, server)
            wire.send(answer)
            events = Events(client)
            assert (await events.begin(), await events.next()) == (200, None)
            await asked_again(gateway, client, wire)
            client.abort()
            wire.abort()
            await turns()


@looped
async def test_interim_answers_and_trailers_are_no_parts(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        interim = b"HTTP/1.1 103 Early\r\nContent-Type: image/png\r\n\r\n"
        wire.send(interim + CHUNKED + chunk(b"ab") + b"0\r\nX-Sum: 1\r\nContent-Type: no\r\n\r\n")
        events = Events(client)
        await events.begin()
        assert b"X-Amzn-SageMaker-Content-Type: text/plain" in events.head
        assert await events.rest() == b"ab"
        await asked_again(gateway, client, wire)


@looped
async def test_an_error_status_is_a_model_error(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        head = b"HTTP/1.1 503 Oh\r\ntransfer-encoding: chunked\r\n\r\n"
        for piece in (head, chunk(b"not "), chunk(b"now") + LAST):
            wire.send(piece)
            await turns()
        status, body = await client.answer()
        told = orjson.loads(body)
        assert (status, told["OriginalStatusCode"]) == (424, 503)
        assert told["OriginalMessage"] == "not now"
        await asked_again(gateway, client, wire)
        client.send(gateway.stream(b"again"))
        await wire.message()
        wire.send(b"HTTP/1.0 500 Oh\r\n\r\nthe end of it")
        wire.writer.close()
        status, body = await client.answer()
        assert (status, orjson.loads(body)["OriginalMessage"]) == (424, "the end of it")


@pytest.mark.parametrize("name", set(GARBAGE) - {"an endless body", "a length beyond all bounds"})
def test_garbage_before_the_body_is_a_model_error(name: str, tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as (gateway, (server,)):
            client, wire = await begun(gateway, server)
            wire.send(GARBAGE[name])
            status, body = await client.answer()
            assert status == 424, body
            await gateway.warm(client, server)

    uvloop.run(test())


BROKEN = {
    "closed in a chunk": b"5\r\nab",
    "closed between chunks": b"",
    "a bad chunk": b"xyz\r\nab\r\n",
    "no end of trailers": b"0\r\nX-Long: " + b"y" * (4 * HEAD_BYTES_MAX),
    "an endless name": b"3;" + b"y" * (4 * HEAD_BYTES_MAX),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_stream_that_breaks_ends_with_its_error(name: str, tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path, 2) as (gateway, (server, other)):
            gateway.route(server)
            client, wire = await begun(gateway, server)
            gateway.route(server, other)
            wire.send(CHUNKED + chunk(b"first"))
            events = Events(client)
            assert (await events.begin(), await events.part()) == (200, b"first")
            wire.send(BROKEN[name])
            if "closed" in name:
                wire.writer.close()
            kind, told = await events.error()
            assert (kind, told["ErrorCode"]) == ("ModelStreamError", "StreamBroken")
            assert told["Message"]
            # It is not asked again, and the client's connection is well.
            assert other.accepted.empty()
            gateway.route(server)
            await gateway.warm(client, server)
            variant = gateway.tally()
            assert (variant.errors_5, variant.invocations) == (1, 3)
            assert variant.points()["MidStreamErrors"][:2] == [1.0, 1.0]

    uvloop.run(test())


@looped
async def test_first_part_and_failure_in_one_read_are_told_both(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        wire.send(CHUNKED + chunk(b"first") + b"nonsense\r\n")
        events = Events(client)
        assert (await events.begin(), await events.part()) == (200, b"first")
        assert (await events.error())[1]["ErrorCode"] == "StreamBroken"


@looped
async def test_a_reset_breaks_a_stream_that_would_end_by_closing(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client, wire = await begun(gateway, server)
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab")
        events = Events(client)
        assert (await events.begin(), await events.part()) == (200, b"ab")
        wire.writer.close()
        assert (await events.error())[1]["ErrorCode"] == "StreamBroken"


@looped
async def test_before_its_first_byte_another_instance_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path, 2) as (gateway, (one, two)):
        gateway.route(one)
        client = await gateway.connect()
        (wire,) = await gateway.warm(client, one)
        client.send(gateway.stream(b"work"))
        await wire.message()
        gateway.route(one, two)
        one.stop()
        wire.abort()
        other = await two.next()
        assert (await other.message())[1] == b"work"
        other.send(CHUNKED + chunk(b"by "))
        events = Events(client)
        assert (await events.begin(), await events.part()) == (200, b"by ")
        other.send(chunk(b"two") + LAST)
        assert await events.rest() == b"two"


@looped
async def test_after_its_head_it_is_a_model_error(tmp_path: Path) -> None:
    async with running(tmp_path, 2) as (gateway, (one, two)):
        gateway.route(one)
        client, wire = await begun(gateway, one)
        gateway.route(one, two)
        wire.send(CHUNKED)
        await turns()
        wire.writer.close()
        status, body = await client.answer()
        assert (status, orjson.loads(body)["OriginalStatusCode"]) == (424, 0)
        assert two.accepted.empty()


@looped
async def test_the_model_s_time_is_that_of_streams(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        now = asyncio.get_running_loop().time()
        for first in (b"", chunk(b"first")):
            client, wire = await begun(gateway, server)
            wire.send(CHUNKED + first)
            events = Events(client)
            if first:
                assert (await events.begin(), await events.part()) == (200, b"first")
            await turns()
            gateway.pool.sweep(now + MODEL_TIME_S + 1)
            await turns()
            gateway.pool.sweep(now + STREAM_TIME_S + 9)
            if first:
                kind, told = await events.error()
                wanted = ("ModelStreamError", "ModelInvocationTimeExceeded")
                assert (kind, told["ErrorCode"]) == wanted
            else:
                status, body = await client.answer()
                assert status == 424
                assert b"timed out" in body
            assert await wire.ended() == b""
            await gateway.warm(client, server)
            client.abort()
            gateway.pool.keep_only(set())


def test_the_time_counts_from_the_request_on_a_new_connection_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "STREAM_TIME_S", 0.05)

    async def test() -> None:
        async with running(tmp_path) as (gateway, (server,)):
            client = await gateway.connect()
            client.send(gateway.stream(b"slow"))
            wire = await server.next()
            await wire.message()
            assert (await client.answer())[0] == 424
            assert await wire.ended() == b""

    uvloop.run(test())


@looped
async def test_on_a_new_connection_the_end_has_its_time_too(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        client = await gateway.connect()
        client.send(gateway.stream(b"slow"))
        wire = await server.next()
        await wire.message()
        wire.send(CHUNKED + chunk(b"first"))
        events = Events(client)
        assert (await events.begin(), await events.part()) == (200, b"first")
        gateway.pool.sweep(asyncio.get_running_loop().time() + STREAM_TIME_S + 1)
        assert (await events.error())[1]["ErrorCode"] == "ModelInvocationTimeExceeded"


# The client
