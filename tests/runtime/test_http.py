"""The server as a client on a Unix socket sees it, however the client behaves."""

import json
import signal
import socket

import pytest

from .conftest import post

ECHO = """
import time
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    if body == "slow":
        time.sleep(0.4)
    if body == "raise":
        raise ValueError("no such thing")
    return body if isinstance(body, bytes) else body.encode(), content_type
"""
TEXT = "text/csv"


@pytest.fixture(scope="module")
def server(module_unit):
    module_unit.write("model/code/inference.py", ECHO)
    return module_unit.serve(SAGEMAKER_MAX_PAYLOAD_IN_MB="1", LOOPWRIGHT_STALL_S="0.3")


def test_the_contract_paths(server):
    assert server.get("/ping").status == 200
    parameters = server.get("/execution-parameters").json
    assert parameters == {
        "MaxConcurrentTransforms": 1,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 1,
    }
    assert server.get("/other").status == 404
    assert server.get("/ping?x=1").status == 200
    refused = server.get("/invocations")
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    with server.client() as client:
        client.send(post(b"x").replace(b"/invocations", b"/ping"))
        assert client.receive().status == 405


def test_keep_alive_and_close(server):
    with server.client() as client:
        for number in range(3):
            client.send(post(str(number).encode(), TEXT))
            assert client.receive().body == str(number).encode()
        client.send(post(b"last", TEXT, connection="close"))
        reply = client.receive()
        assert (reply.body, reply.headers["connection"]) == (b"last", "close")
        assert client.at_end()


def test_http_1_0_closes_by_default(server):
    with server.client() as client:
        client.send(b"GET /ping HTTP/1.0\r\n\r\n")
        assert client.receive().status == 200
        assert client.at_end()


def test_pipelined_requests_are_answered_in_order(server):
    with server.client() as client:
        ping = b"GET /ping HTTP/1.1\r\nhost: unit\r\n\r\n"
        bodies = [b"a", b"slow", b"b", b"raise", b"c"]
        # A ping could be answered at once; it must still wait for its turn.
        client.send(b"".join(post(body, TEXT) + ping for body in bodies))
        replies = [client.receive() for _ in range(10)]
    assert [reply.body for reply in replies[::2]][:3] == [b"a", b"slow", b"b"]
    assert [reply.status for reply in replies] == [200] * 6 + [500, 200, 200, 200]
    assert replies[6].json == {"error": "ValueError: no such thing"}
    assert replies[8].body == b"c"


def test_many_pipelined_requests_do_not_stop(server):
    count = 300
    with server.client() as client:
        client.send(b"".join(post(str(number).encode(), TEXT) for number in range(count)))
        assert [client.receive().body for _ in range(count)] == [
            str(number).encode() for number in range(count)
        ]


def test_a_body_may_come_byte_by_byte(server):
    with server.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        for byte in post(b"slowly", TEXT):
            client.send(bytes([byte]))
        assert client.receive().body == b"slowly"


def test_chunked_bodies(server):
    head = b"POST /invocations HTTP/1.1\r\nhost: u\r\ncontent-type: text/csv\r\n"
    with server.client() as client:
        client.send(head + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n")
        client.send(b"0\r\ntrailer: t\r\n\r\n" + post(b"next", TEXT))
        assert client.receive().body == b"abcdefg"
        assert client.receive().body == b"next"


def test_expect_100_continue(server):
    head, body = post(b"later", TEXT, expect="100-continue").split(b"\r\n\r\n")
    with server.client() as client:
        client.send(head + b"\r\n\r\n")
        assert client.receive().status == 100
        client.send(body)
        assert client.receive().body == b"later"


def test_the_interim_answer_does_not_overtake(server):
    head, body = post(b"second", TEXT, expect="100-continue").split(b"\r\n\r\n")
    with server.client() as client:
        client.send(post(b"slow", TEXT) + head + b"\r\n\r\n")
        assert client.receive().body == b"slow"
        assert client.receive().status == 100
        client.send(body)
        assert client.receive().body == b"second"


@pytest.mark.parametrize("expect", [{}, {"expect": "100-continue"}])
def test_a_body_too_large_is_refused_before_it_is_sent(server, expect):
    head = post(b"", TEXT, **expect).replace(b"content-length: 0", b"content-length: 1048577")
    with server.client() as client:
        client.send(head)
        reply = client.receive()
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        assert b"SAGEMAKER_MAX_PAYLOAD_IN_MB" in reply.body
        assert client.at_end()


def test_a_chunked_body_too_large_is_refused_underway(server):
    head = b"POST /invocations HTTP/1.1\r\nhost: u\r\ntransfer-encoding: chunked\r\n\r\n"
    with server.client() as client:
        client.send(head)
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        # The server goes on reading while it says no, so that the answer is not lost.
        for _ in range(20):
            client.send(chunk)
        assert client.receive().status == 413


def test_the_largest_body_passes(server):
    body = b"x" * 1024 * 1024
    assert server.post(body, "application/octet-stream").body == body


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nx: " + b"y" * 70_000, 431),
        (b"GET /ping HTTP/1.1\r\nhost: u\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", 200),
    ],
)
def test_what_is_not_http_is_refused_and_closed(server, raw, status):
    with server.client() as client:
        client.send(raw)
        reply = client.receive()
        assert reply.status == status
        assert client.at_end()
    assert server.get("/ping").status == 200


def test_a_half_sent_request_is_given_up(server):
    with server.client() as client:
        client.send(post(b"0123456789", TEXT)[:-5])
        assert client.receive().status == 408
        assert client.at_end()


def test_clients_that_go_away_hurt_nobody(server):
    for _ in range(20):
        with server.client() as client:
            client.send(post(b"slow", TEXT)[:40])
        with server.client() as client:
            client.send(post(b"x", TEXT))
    assert server.post(b"still", TEXT).body == b"still"


def test_the_queue_drops_requests_of_clients_that_are_gone(server):
    with server.client() as first:
        first.send(post(b"slow", TEXT))
        gone = [server.client() for _ in range(20)]
        for client in gone:
            client.send(post(b"slow", TEXT))
            client.__exit__()
        assert first.receive().body == b"slow"
        # Twenty slow calls would take eight seconds.
        first.socket.settimeout(4)
        first.send(post(b"quick", TEXT))
        assert first.receive().body == b"quick"


def test_ping_answers_while_a_slow_call_runs(server):
    with server.client() as client:
        client.send(post(b"slow", TEXT))
        for _ in range(5):
            assert server.get("/ping").status == 200
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)
        client.socket.settimeout(10)
        assert client.receive().body == b"slow"


# -- beginning and end -----------------------------------------------------------------------------


def test_sigterm_lets_requests_finish_and_takes_no_more(unit):
    unit.write("model/code/inference.py", ECHO)
    server = unit.serve()
    with server.client() as busy, server.client() as idle, server.client() as partial:
        raw = post(b"partial", TEXT)
        partial.send(raw[:-3])
        idle.send(post(b"x", TEXT))
        idle.receive()
        busy.send(post(b"slow", TEXT))
        # A second connection's answer shows that the server has read what the first one sent.
        server.get("/ping")
        server.process.send_signal(signal.SIGTERM)
        assert idle.at_end()
        partial.send(raw[-3:])
        reply = busy.receive()
        assert (reply.body, reply.headers["connection"]) == (b"slow", "close")
        assert partial.receive().body == b"partial"
        assert server.process.wait(20) == 0
    with pytest.raises(ConnectionRefusedError):
        server.client()


def test_idle_connections_are_closed(unit):
    unit.write("model/code/inference.py", ECHO)
    with unit.serve(LOOPWRIGHT_IDLE_S="0.2").client() as client:
        assert client.at_end()


def test_a_call_that_takes_too_long_is_given_up_and_ping_says_so(unit):
    unit.write(
        "model/code/inference.py",
        """
import threading
events = {"hang": threading.Event()}
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    if body == "hang": events["hang"].wait(1.5)
    return body
""",
    )
    server = unit.serve(SAGEMAKER_MODEL_SERVER_TIMEOUT="0.2")
    reply = server.post(b"hang", TEXT)
    assert reply.status == 504
    assert "SAGEMAKER_MODEL_SERVER_TIMEOUT" in reply.json["error"]
    assert server.get("/ping").status == 503
    assert server.post(b"x", TEXT).status == 503
    while server.get("/ping").status == 503:
        pass
    assert server.post(b"x", TEXT).body == b"x"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("def model_fn(d):\n    raise OSError('no weights')\n", "OSError: no weights"),
        ("import nothing_like_this\n", "ModuleNotFoundError"),
        ("x = 1\n", "defines no model_fn"),
        ("def model_fn(a, b, c): pass\n", "model_fn takes 3 arguments"),
        (ECHO + "def input_fn(a, b): pass\n", "transform_fn cannot be used together with input_fn"),
    ],
)
def test_a_server_that_cannot_load_ends_and_says_why(unit, script, words):
    unit.write("model/code/inference.py", script)
    server = unit.start_server(LOOPWRIGHT_RUNTIME="sklearn")
    assert server.process.wait(30) == 1
    assert words in unit.failure()
    assert words in server.log.read_text()
    assert not server.path.exists()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"LOOPWRIGHT_LISTEN": "here"}, "must be unix:PATH or tcp:HOST:PORT"),
        ({"LOOPWRIGHT_RUNTIME": "cobol"}, "this server knows sklearn"),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "0"}, "must be a number above 0"),
        ({"SAGEMAKER_PROGRAM": "gone.py"}, "gone.py"),
    ],
)
def test_bad_settings_are_named(unit, environment, words):
    unit.write("model/code/inference.py", ECHO)
    done = unit.run("serve", **environment)
    assert done.returncode == 1
    assert words in unit.failure()


def test_tcp_and_the_port_variable(unit):
    unit.write("model/code/inference.py", ECHO)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.listen()
        done = unit.run("serve", SAGEMAKER_BIND_TO_PORT=str(port))
        assert done.returncode == 1
        assert f"cannot listen at 0.0.0.0:{port}" in unit.failure()


def test_workers_share_the_socket_and_are_replaced(unit):
    unit.write(
        "model/code/inference.py",
        """
import json, os, signal
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    if body == "die": os.kill(os.getpid(), signal.SIGKILL)
    return json.dumps(os.getpid())
""",
    )
    server = unit.serve(SAGEMAKER_MODEL_SERVER_WORKERS="2")

    def pids(wanted: int) -> set[int]:
        found: set[int] = set()
        while len(found) < wanted:
            found.add(json.loads(server.post(b"x", TEXT).body))
        return found

    assert server.get("/execution-parameters").json["MaxConcurrentTransforms"] == 2
    first = pids(2)
    assert server.process.pid not in first
    with pytest.raises(ConnectionError):
        server.post(b"die", TEXT)
    second = pids(2)
    assert len(second - first) == 1
    assert server.stop() == 0


def test_workers_that_cannot_load_end_the_server_with_their_reason(unit):
    unit.write("model/code/inference.py", "def model_fn(d):\n    raise OSError('no weights')\n")
    server = unit.start_server(SAGEMAKER_MODEL_SERVER_WORKERS="2")
    assert server.process.wait(30) == 1
    assert "OSError: no weights" in unit.failure()
