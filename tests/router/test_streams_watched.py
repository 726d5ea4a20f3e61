"""What follows a streamed answer: captured records, observations, shadows, counts."""

import gc
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import uvloop

from loopwright.contract.frames import FOLDER, read_frames
from loopwright.router import streamed
from loopwright.router.client import Client
from loopwright.router.source import Source
from loopwright.router.upstream import Connection
from tests.router.events import CHUNKED, LAST, Events, chunk
from tests.router.inside import Gateway, Server, Wire, ok, running
from tests.router.outside import Gateway as Process
from tests.router.outside import Model, one
from tests.router.test_short_way import looped, turns
from tests.router.test_watch import CAPTURE
from tests.server import await_that

Frame = tuple[list[Any], bytes, bytes]


def frames(folder: Path, kind: str) -> list[Frame]:
    """All frames of a kind in the journal of a gateway."""
    found = []
    for path in sorted((folder / FOLDER).glob("*.frames")):
        for _, head, first, second in read_frames(path.read_bytes()):
            if head[0] == kind:
                found.append((head[1:], first, second))
    return found


async def begun(gateway: Gateway, server: Server, **headers: str) -> tuple[Wire, Wire, Events]:
    """A client's stream whose first part has come: both ends, and the client's events."""
    client = await gateway.connect()
    client.send(gateway.stream(b"asked", **headers))
    wire = await server.next()
    assert (await wire.message())[1] == b"asked"
    wire.send(CHUNKED + chunk(b"first "))
    events = Events(client)
    assert (await events.begin(), await events.part()) == (200, b"first ")
    return client, wire, events


@looped
async def test_a_record_has_the_whole_answer_and_nobody_waits_for_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        gateway.route(server, capture=CAPTURE)
        headers = {"X-Amzn-SageMaker-Inference-Id": "id-1", "Content-Type": "text/csv"}
        client, wire, events = await begun(gateway, server, **headers)
        await turns()
        assert not frames(tmp_path, "capture")
        wire.send(chunk(b"second ") + chunk(b"third"))
        assert (await events.part(), await events.part()) == (b"second ", b"third")
        assert not frames(tmp_path, "capture")
        wire.send(LAST)
        assert await events.next() is None
        ((head, request, answer),) = frames(tmp_path, "capture")
        assert (request, answer) == (b"asked", b"first second third")
        assert (head[1], head[4], head[6:8]) == ("A", "id-1", ["", "text/csv"])
        client.send(gateway.request(b"plain"))
        await wire.message()
        wire.send(ok(b"whole"))
        assert await client.answer() == (200, b"whole")
        assert [answer for _, _, answer in frames(tmp_path, "capture")][1:] == [b"whole"]


def test_of_a_longer_answer_the_record_has_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "ANSWER_BYTES_MAX", 10)

    async def test() -> None:
        async with running(tmp_path) as (gateway, (server,)):
            gateway.route(server, capture=CAPTURE)
            _, wire, events = await begun(gateway, server)
            for piece in (b"second", b"third"):
                wire.send(chunk(piece))
                assert await events.part() == piece
            wire.send(chunk(b"fourth") + LAST)
            assert await events.rest() == b"fourth"
            assert [answer for _, _, answer in frames(tmp_path, "capture")] == [b"first seco"]

    uvloop.run(test())


@looped
async def test_what_broke_or_was_left_is_not_captured_but_observed(tmp_path: Path) -> None:
    async with running(tmp_path) as (gateway, (server,)):
        gateway.route(server, capture=CAPTURE, observed=True)
        client, wire, events = await begun(gateway, server)
        wire.writer.close()
        assert (await events.error())[1]["ErrorCode"] == "StreamBroken"
        client.abort()
        client, wire, _ = await begun(gateway, server)
        client.abort()
        assert await wire.ended() == b""
        client, wire, events = await begun(gateway, server)
        wire.send(LAST)
        assert await events.next() is None
        await turns()
        assert len(frames(tmp_path, "capture")) == 1
        # As for the plain call: who left has not seen that the model failed, or did not.
        assert [head[5] for head, _, _ in frames(tmp_path, "observation")] == [0, 200]
        points = gateway.tally().points()
        assert points["Invocations"][:2] == [3.0, 3.0]
        assert points["Invocation5XXErrors"][:2] == [3.0, 1.0]
        assert points["MidStreamErrors"][:2] == [3.0, 1.0]
        assert points["ModelLatency"][0] == 1.0
        for name in ("FirstChunkLatency", "FirstChunkModelLatency", "FirstChunkOverheadLatency"):
            assert points[name][0] == 3.0
        total, model, overhead = (
            points[f"FirstChunk{kind}Latency"][1] for kind in ("", "Model", "Overhead")
        )
        assert total == pytest.approx(model + overhead)
        gateway.tally().clear()
        assert "MidStreamErrors" not in gateway.tally().points()


@looped
async def test_a_shadow_gets_its_copy_at_the_end_and_is_compared(tmp_path: Path) -> None:
    async with running(tmp_path, 2) as (gateway, (live, shadow)):
        instances = [{"id": "sh", "address": str(shadow.path)}]
        document = {
            "name": "S", "weight": 1, "strategy": "RANDOM", "instances": instances, "of": "A",
            "share": 1.0,
        }  # fmt: skip
        gateway.route(live, shadows=[document], capture=CAPTURE)
        accept = {"X-Amzn-SageMaker-Accept": "text/csv"}
        _, wire, events = await begun(gateway, live, **accept)
        await turns()
        assert shadow.accepted.empty()
        wire.send(LAST)
        assert await events.next() is None
        copy = await shadow.next()
        head, body = await copy.message()
        assert b"Accept: text/csv" in head
        assert body == b"asked"
        copy.send(CHUNKED + chunk(b"first ") + LAST)
        while not frames(tmp_path, "comparison"):
            await turns()
        ((told, first, second),) = frames(tmp_path, "comparison")
        assert (told[5], told[6], told[10]) == (200, 200, True)
        assert (first, second) == (b"first ", b"first ")
        assert [answer for _, _, answer in frames(tmp_path, "capture")] == [b"first "] * 2


@looped
async def test_a_stream_that_is_over_holds_no_memory_until_a_collection(tmp_path: Path) -> None:
    def held() -> int:
        kinds = (Source, streamed.StreamExchange, Client, Connection)
        return sum(isinstance(item, kinds) for item in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        async with running(tmp_path) as (gateway, (server,)):
            gateway.route(server, capture=CAPTURE, observed=True)
            for end in (LAST, b"nonsense\r\n", None):
                for kept in (False, True):
                    client, wire, events = await begun(gateway, server)
                    if kept:
                        wire.send(LAST)
                        assert await events.next() is None
                        client.send(gateway.stream(b"again"))
                        await wire.message()
                        wire.send(CHUNKED + chunk(b"more"))
                        events = Events(client)
                        assert (await events.begin(), await events.part()) == (200, b"more")
                    if end is None:
                        client.reset()
                        await wire.ended()
                    else:
                        wire.send(end)
                        while (await events.next()) is not None:
                            pass
                        wire.abort()
                        client.abort()
                    while gateway.pool._all or gateway.door.clients:
                        await turns()
                    await turns()
                    assert held() == 0, (end, kept)
    finally:
        gc.enable()


def test_what_was_streamed_whole_is_captured_even_if_the_gateway_is_killed(
    tmp_path: Path,
) -> None:
    process = Process(tmp_path / "home")
    model = Model(tmp_path / "a.sock", "a")
    process.route("captured", [one("A", 1, model)], capture=CAPTURE)
    answered: list[str] = []

    def ask(thread: int) -> None:
        for number in range(10_000):
            body = b'{"parts": "%d-%d"}' % (thread, number)
            try:
                process.stream("captured", body)
            except (OSError, ValueError, IndexError, AssertionError):
                return
            answered.append(body.decode())

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    await_that(lambda: len(answered) > 100 or None, "answers")
    os.kill(process.process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(20)
    process.process.wait(10)
    model.stop()
    found = frames(process.home, "capture")
    written = Counter(first.decode() for _, first, _ in found)
    assert set(answered) <= set(written)
    assert max(written.values()) == 1
    assert all(answer.endswith(b"}") for _, _, answer in found)
