"""The gateway alone, before model servers of the test's own: HTTP's corners, retries, routing."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from loopwright.router.routes import Routes, route_file
from tests.router.outside import Gateway, Model, one, read_answer
from tests.server import await_that


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
