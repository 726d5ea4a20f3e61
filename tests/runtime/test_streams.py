"""Answers that hooks make while they are sent, as a client on a socket sees them."""

import json
import signal
from collections import deque
from pathlib import Path

import pytest

from tests.server import await_that

from .conftest import Client, post

SCRIPT = """
import os, time

def model_fn(model_dir):
    return None

def when(path):
    while not os.path.exists(path):
        time.sleep(0.002)

def parts(wish, context):
    at = os.environ["FOLDER"]
    try:
        for word in wish.split():
            kind, _, rest = word.partition(":")
            if kind == "when":
                when(os.path.join(at, rest))
            elif kind == "said":
                while rest not in said:
                    yield ""
            elif kind == "calls":
                yield str(len(said))
            elif kind == "mark":
                open(os.path.join(at, rest), "w").close()
            elif kind == "raise":
                raise ValueError(rest)
            elif kind == "exit":
                raise SystemExit(rest)
            elif kind == "number":
                yield 7
            elif kind == "empty":
                yield ""
            elif kind == "bytes":
                yield bytearray(rest.encode())
            elif kind == "endless":
                made = 0
                while True:
                    made += 1
                    with open(os.path.join(at, rest + ".new"), "w") as stream:
                        stream.write(str(made))
                    os.replace(os.path.join(at, rest + ".new"), os.path.join(at, rest))
                    yield b"z" * 65536
            elif kind == "many":
                for number in range(int(rest)):
                    yield f"{number},"
            else:
                yield rest
    finally:
        open(os.path.join(at, "closed-" + wish.replace("/", "").replace(" ", "_")), "w").close()

said = []

def transform_fn(model, body, content_type, accept, context):
    if body.startswith("slow"):
        time.sleep(0.006)
    if body.startswith(("plain", "slow")):
        said.append(body)
        return body, "text/csv"
    if body.startswith("nothing"):
        context.set_response_status(204)
    if body.startswith("refused"):
        raise ValueError("refused at once")
    return parts(body, context), "text/event-stream", {"X-Kind": "stream"}
"""
TEXT = "text/csv"


@pytest.fixture(scope="module")
def server(module_unit):
    module_unit.write("model/code/inference.py", SCRIPT)
    return module_unit.serve(FOLDER=str(module_unit.base))


class Reader:
    """A streamed answer, read chunk by chunk."""

    def __init__(self, client: Client) -> None:
        self.stream = client._reader
        self.status = int(self.stream.readline().split()[1])
        self.headers = {}
        while (line := self.stream.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            self.headers[name] = value

    def chunk(self) -> bytes:
        """The next chunk; empty at the end. ValueError where the connection ends before."""
        line = self.stream.readline()
        if not line:
            raise EOFError
        size = int(line, 16)
        data = self.stream.read(size + 2)
        assert data[-2:] == b"\r\n"
        return data[:-2]

    def rest(self) -> bytes:
        return b"".join(iter(self.chunk, b""))


def until(path: Path) -> None:
    await_that(lambda: path.exists() or None, path.name)


def test_each_part_is_there_before_the_next_is_made(server, module_unit):
    with server.client() as client:
        client.send(post(b"say:one when:go-2 say:two when:go-3 bytes:three", TEXT))
        reader = Reader(client)
        assert (reader.status, reader.headers["content-type"]) == (200, "text/event-stream")
        assert (reader.headers["x-kind"], reader.headers["transfer-encoding"]) == (
            "stream",
            "chunked",
        )
        for number, part in enumerate((b"one", b"two", b"three"), 1):
            if number > 1:
                module_unit.write(f"go-{number}", "")
            assert reader.chunk() == part
        assert reader.chunk() == b""
        client.send(post(b"plain after it", TEXT))
        assert client.receive().body == b"plain after it"


def test_empty_parts_and_no_parts(server):
    with server.client() as client:
        for wish in (b"empty: say:ab empty: say:cd empty:", b"empty:", b" "):
            client.send(post(wish, TEXT))
            reader = Reader(client)
            assert (reader.status, reader.rest()) == (200, b"abcd" if b"ab" in wish else b"")
        client.send(post(b"nothing say:x", TEXT))
        assert Reader(client).status == 204
        client.send(post(b"plain", TEXT))
        assert client.receive().body == b"plain"


def test_very_many_parts_arrive_in_their_order(server):
    with server.client() as client:
        client.send(post(b"many:50000", TEXT))
        assert Reader(client).rest() == b"".join(b"%d," % number for number in range(50_000))


def test_an_error_before_the_first_part_is_the_usual_answer(server):
    with server.client() as client:
        for wish, words in (
            (b"raise:early", "ValueError: early"),
            (b"refused", "ValueError: refused at once"),
            (b"number:", "TypeError: A part of the answer is a int; it must be bytes or str."),
        ):
            client.send(post(wish, TEXT))
            reply = client.receive()
            assert (reply.status, reply.json) == (500, {"error": words})


@pytest.mark.parametrize("wish", ["say:ab raise:midst", "say:ab number:", "say:ab exit:now"])
def test_an_error_in_the_midst_breaks_the_connection_and_is_logged(server, wish):
    with server.client() as client:
        client.send(post(wish.encode(), TEXT))
        reader = Reader(client)
        assert reader.chunk() == b"ab"
        with pytest.raises(EOFError):
            reader.chunk()
    kind = {"r": "ValueError: midst", "n": "TypeError: A part", "e": "SystemExit: now"}[wish[7]]
    text = server.log.read_text()
    assert "Traceback" in text
    assert kind in text
    assert "in parts" in text
    assert server.post(b"plain", TEXT).body == b"plain"


def test_a_client_that_goes_away_ends_the_iterator(server, module_unit):
    wishes = ("say:1 when:go-a say:2", "mark:began when:go-b say:1", "endless:c")
    for number, wish in enumerate(wishes):
        with server.client() as client:
            client.send(post(wish.encode(), TEXT))
            if number == 1:
                until(module_unit.base / "began")
            else:
                assert Reader(client).chunk()
        module_unit.write(f"go-{'abc'[number]}", "")
        until(module_unit.base / f"closed-{wish.replace(' ', '_')}")
    assert server.post(b"plain", TEXT).body == b"plain"


def test_a_slow_client_holds_the_iterator_and_nobody_else(server, module_unit):
    made = module_unit.base / "made"
    with server.client() as client:
        client.send(post(b"endless:made", TEXT))
        until(made)
        before, quiet = -1, 0
        while quiet < 5:
            assert server.post(b"plain", TEXT).body == b"plain"
            count = int(made.read_text())
            assert count < 100
            quiet = quiet + 1 if count == before else 0
            before = count
        reader = Reader(client)
        for _ in range(before + 20):
            assert reader.chunk() == b"z" * 65536
        assert int(made.read_text()) >= before + 20
    until(module_unit.base / "closed-endless:made")


def test_streams_take_turns(server, module_unit):
    with server.client() as one, server.client() as two:
        for client in (one, two):
            client.send(post(b"endless:turns", TEXT))
        readers = [Reader(one), Reader(two)]
        for _ in range(50):
            assert [len(reader.chunk()) for reader in readers] == [65536] * 2
        assert server.post(b"plain", TEXT).body == b"plain"


def test_a_part_of_no_bytes_lets_a_call_have_its_turn(server):
    with server.client() as client:
        client.send(post(b"say:1 said:plain-word say:2", TEXT))
        reader = Reader(client)
        assert reader.chunk() == b"1"
        assert server.post(b"plain-word", TEXT).body == b"plain-word"
        assert reader.rest() == b"2"


def test_waiting_calls_leave_a_stream_its_turns(server):
    with server.client() as busy, server.client() as client:
        client.send(post(b"calls: said:plain-go calls:", TEXT))
        reader = Reader(client)
        before = int(reader.chunk())
        busy.send(post(b"plain-go", TEXT) + post(b"slow", TEXT) * 60)
        assert int(reader.chunk()) - before < 30
        for _ in range(61):
            assert busy.receive().status == 200


def test_pipelined_answers_keep_their_order(server, module_unit):
    with server.client() as client:
        wishes = (b"plain 1", b"say:2 when:go-order say:3", b"say:4", b"plain 5", b"raise:6")
        client.send(b"".join(post(wish, TEXT) for wish in wishes))
        assert client.receive().body == b"plain 1"
        reader = Reader(client)
        assert reader.chunk() == b"2"
        module_unit.write("go-order", "")
        assert reader.rest() == b"3"
        assert Reader(client).rest() == b"4"
        assert client.receive().body == b"plain 5"
        assert client.receive().status == 500


def test_an_old_client_gets_the_parts_until_the_end(server):
    for keep in ("", "keep-alive"):
        with server.client() as client:
            raw = post(b"say:ab say:cd", TEXT, connection=keep)
            client.send(raw.replace(b"HTTP/1.1", b"HTTP/1.0"))
            reader = Reader(client)
            assert "transfer-encoding" not in reader.headers
            assert reader.headers["connection"] == "close"
            assert reader.stream.read() == b"abcd"


def test_the_last_request_s_stream_ends_with_the_connection(server):
    with server.client() as client:
        client.send(post(b"say:ab", TEXT, connection="close"))
        reader = Reader(client)
        assert (reader.headers["connection"], reader.rest()) == ("close", b"ab")
        assert client.at_end()


def test_sigterm_lets_a_stream_finish(unit):
    unit.write("model/code/inference.py", SCRIPT)
    server = unit.serve(FOLDER=str(unit.base))
    with server.client() as client:
        client.send(post(b"say:1 when:go say:2", TEXT))
        reader = Reader(client)
        assert reader.chunk() == b"1"
        server.process.send_signal(signal.SIGTERM)
        refused = False
        while not refused:
            try:
                server.client().__exit__()
            except ConnectionRefusedError:
                refused = True
        unit.write("go", "")
        assert reader.rest() == b"2"
        assert client.at_end()
    assert server.process.wait(20) == 0


def test_several_processes_stream_too(unit):
    unit.write("model/code/inference.py", SCRIPT)
    server = unit.serve(FOLDER=str(unit.base), SAGEMAKER_MODEL_SERVER_WORKERS="2")
    for number in range(6):
        with server.client() as client:
            client.send(post(f"say:1 when:go-{number} say:2".encode(), TEXT))
            reader = Reader(client)
            assert reader.chunk() == b"1"
            unit.write(f"go-{number}", "")
            assert reader.rest() == b"2"
    assert server.stop() == 0


def test_a_part_that_takes_too_long_is_given_up(unit):
    unit.write("model/code/inference.py", SCRIPT)
    server = unit.serve(FOLDER=str(unit.base), SAGEMAKER_MODEL_SERVER_TIMEOUT="0.3")
    with server.client() as client:
        client.send(post(b"when:never say:1", TEXT))
        reply = client.receive()
        assert reply.status == 504
    assert server.get("/ping").status == 503
    unit.write("never", "")
    while server.get("/ping").status == 503:
        pass
    with server.client() as client:
        client.send(post(b"say:1 when:later say:2", TEXT))
        reader = Reader(client)
        assert reader.chunk() == b"1"
        with pytest.raises(EOFError):
            reader.chunk()
    assert server.get("/ping").status == 503
    unit.write("later", "")
    until(unit.base / "closed-say:1_when:later_say:2")
    while server.get("/ping").status == 503:
        pass
    assert server.post(b"plain", TEXT).body == b"plain"


def test_the_default_output_streams_what_predict_fn_yields(unit):
    unit.write(
        "model/code/inference.py",
        """
def model_fn(model_dir): return None
def predict_fn(data, model):
    for row in data.tolist():
        yield f"{sum(row)}\\n"
""",
    )
    server = unit.serve()
    with server.client() as client:
        client.send(post(json.dumps([[1, 2], [3, 4]]).encode(), accept="text/csv"))
        reader = Reader(client)
        assert reader.headers["content-type"] == "text/csv"
        assert deque(iter(reader.chunk, b"")) == deque([b"3\n", b"7\n"])
