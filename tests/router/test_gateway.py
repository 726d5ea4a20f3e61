"""The gateway alone, before model servers of the test's own: HTTP's corners, retries, routing."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from loopwright.keys import KeyFile
from loopwright.router.routes import Routes, route_file
from tests.server import await_that

HOME_FILES = ("run", "routes")


class Model:
    """A model server on a Unix socket whose answers the test decides."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.requests = 0
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

    def route(self, name: str, variants: list[dict[str, Any]]) -> None:
        document = {"endpoint": name, "region": "us-east-1", "arn": "a:b:c:d:1:f"}
        path = route_file(self.home / "routes", f"us-east-1/{name}")
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(orjson.dumps({**document, "variants": variants}))
        temporary.rename(path)

    def request(self, endpoint: str, body: bytes, **headers: str) -> bytes:
        """A signed invocation as bytes, its body not included."""
        url = f"http://127.0.0.1:{self.port}/endpoints/{endpoint}/invocations"
        sent = AWSRequest(method="POST", url=url, data=body, headers=headers)
        SigV4Auth(Credentials(self.access_key, self.secret), "sagemaker", "us-east-1").add_auth(
            sent
        )
        lines = [f"POST /endpoints/{endpoint}/invocations HTTP/1.1"]
        lines += [f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{key}: {value}" for key, value in sent.headers.items()]
        return "\r\n".join(lines).encode()

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.settimeout(20)
        return connection

    def ask(self, endpoint: str, body: bytes = b"{}", **headers: str) -> tuple[int, Any]:
        with self.connect() as connection:
            head = self.request(endpoint, body, **headers)
            connection.sendall(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            with connection.makefile("rb") as stream:
                return read_answer(stream)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)


def read_answer(stream: Any) -> tuple[int, Any]:
    """(status, JSON body) of one answer."""
    status = int(stream.readline().split()[1])
    length = 0
    while (line := stream.readline().strip()) != b"":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return status, json.loads(stream.read(length) or b"null")


def one(name: str, weight: float, *models: Model, strategy: str = "RANDOM") -> dict[str, Any]:
    """A variant's document."""
    instances = [{"id": m.name, "address": str(m.path)} for m in models]
    return {"name": name, "weight": weight, "strategy": strategy, "instances": instances}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gw"))
    yield running
    running.stop()


@pytest.fixture
def models(tmp_path: Path) -> Iterator[list[Model]]:
    made = [Model(tmp_path / f"{name}.sock", f"{name}-{tmp_path.name}") for name in "ab"]
    yield made
    for model in made:
        model.stop()


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, models: list[Model]) -> None:
    gateway.route("ordered", [one("A", 1, *models)])
    gateway.ask("ordered")
    bodies = [b'{"sleep": 0.3}', b'{"n": 2}', b'{"n": 3}']
    with gateway.connect() as connection:
        connection.sendall(
            b"".join(
                gateway.request("ordered", body)
                + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
                for body in bodies
            )
        )
        stream = connection.makefile("rb")
        answers = [read_answer(stream) for _ in bodies]
    assert [answer["got"].encode() for _, answer in answers] == bodies


def test_a_chunked_body_and_expect_continue(gateway: Gateway, models: list[Model]) -> None:
    gateway.route("chunked", [one("A", 1, models[0])])
    body = b'{"some": "thing"}'
    with gateway.connect() as connection:
        connection.sendall(
            gateway.request("chunked", body)
            + b"\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        )
        stream = connection.makefile("rb")
        assert stream.readline().split()[1] == b"100"
        assert stream.readline() == b"\r\n"
        connection.sendall(b"5\r\n" + body[:5] + b"\r\n")
        connection.sendall(b"%x\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\n\r\n")
        status, answer = read_answer(stream)
    assert status == 200
    assert answer["got"].encode() == body


def test_only_the_documented_headers_reach_the_model(gateway: Gateway, models: list[Model]) -> None:
    gateway.route("stripped", [one("A", 1, models[0])])
    _, answer = gateway.ask(
        "stripped",
        **{
            "X-Amzn-SageMaker-Custom-Attributes": "trace=1",
            "Content-Type": "text/csv",
            "X-Private": "secret",
        },
    )
    assert answer["headers"]["x-amzn-sagemaker-custom-attributes"] == "trace=1"
    assert answer["headers"]["content-type"] == "text/csv"
    assert not {"x-private", "authorization", "x-amz-date"} & set(answer["headers"])


def test_weights_and_target_variant(gateway: Gateway, models: list[Model]) -> None:
    first, second = models
    gateway.route("weighted", [one("A", 3, first), one("B", 1, second), one("C", 0, second)])
    seen = Counter(gateway.ask("weighted")[1]["by"] for _ in range(200))
    assert 0.6 < seen[first.name] / 200 < 0.9
    target = {"X-Amzn-SageMaker-Target-Variant": "C"}
    assert gateway.ask("weighted", **target)[1]["by"] == second.name


def test_an_instance_that_does_not_listen_costs_nobody_an_answer(
    gateway: Gateway, models: list[Model], tmp_path: Path
) -> None:
    variant = one("A", 1, *models)
    variant["instances"].append({"id": "gone", "address": str(tmp_path / "nowhere.sock")})
    gateway.route("partly", [variant])
    assert {gateway.ask("partly")[0] for _ in range(40)} == {200}


def test_a_request_whose_instance_dies_is_computed_by_another_once(
    gateway: Gateway, models: list[Model]
) -> None:
    dying, well = models
    dying.dies_after_request = True
    gateway.route("retried", [one("A", 1, dying, well)])
    assert {gateway.ask("retried")[0] for _ in range(10)} == {200}
    assert well.requests == 10
    gateway.route("alone", [one("A", 1, dying)])
    status, answer = gateway.ask("alone")
    assert status == 424
    assert "Worker died" in answer["Message"]


def test_a_variant_without_instances_says_so(gateway: Gateway) -> None:
    gateway.route("empty", [one("A", 1)])
    status, answer = gateway.ask("empty")
    assert status == 503
    assert "No instance" in answer["Message"]


def test_a_head_that_is_too_large_is_refused(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n")
        assert read_answer(connection.makefile("rb"))[0] in (400, 431)


def test_a_client_that_leaves_is_forgotten(gateway: Gateway, models: list[Model]) -> None:
    gateway.route("left", [one("A", 1, models[0])])
    body = b'{"sleep": 0.2}'
    for _ in range(5):
        connection = gateway.connect()
        connection.sendall(
            gateway.request("left", body) + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        connection.close()
    assert gateway.ask("left")[0] == 200


def test_a_stopping_gateway_finishes_what_is_under_way(tmp_path: Path, models: list[Model]) -> None:
    own = Gateway(tmp_path / "home")
    own.route("slow", [one("A", 1, models[0])])
    body = b'{"sleep": 0.5}'
    with own.connect() as connection:
        connection.sendall(
            own.request("slow", body) + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        await_that(lambda: models[0].requests or None, "the request")
        os.kill(own.process.pid, signal.SIGTERM)
        assert read_answer(connection.makefile("rb"))[0] == 200
    assert own.process.wait(10) == 0


def test_a_route_is_replaced_as_a_whole(tmp_path: Path, models: list[Model]) -> None:
    routes = Routes(tmp_path)
    document = {
        "endpoint": "e", "region": "r", "arn": "a", "variants": [one("A", 1, *models)],
    }  # fmt: skip
    route_file(tmp_path, "r/e").write_bytes(orjson.dumps(document))
    routes.refresh()
    before = routes.get("r", "e")
    assert before is not None
    before.variants[0].instances[0].outstanding = 3
    document["variants"] = [one("A", 1, models[0], strategy="LEAST_OUTSTANDING_REQUESTS")]
    (tmp_path / "new").write_bytes(orjson.dumps(document))
    (tmp_path / "new").rename(route_file(tmp_path, "r/e"))
    assert routes.refresh()
    after = routes.get("r", "e")
    assert after is not None
    assert after.variants[0].instances[0].outstanding == 3
    assert len(before.variants[0].instances) == 2
