"""What follows an answer: captured records, observations, copies to shadows; users' variants."""

import base64
import os
import signal
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from loopwright.contract.frames import read_frames
from loopwright.router.routes import position
from tests.router.outside import Gateway, Model, one
from tests.server import await_that

CAPTURE = {
    "share": 1.0,
    "requests": True,
    "answers": True,
    "told": {"uri": "s3://bucket/captured"},
}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    running = Gateway(tmp_path / "home")
    yield running
    running.stop()


@pytest.fixture
def models(tmp_path: Path) -> Iterator[list[Model]]:
    made = [Model(tmp_path / f"{name}.sock", name) for name in "ab"]
    yield made
    for model in made:
        model.stop()


def frames(gateway: Gateway, kind: str) -> list[tuple[list[Any], bytes, bytes]]:
    """All frames of a kind, by file and place."""
    found = []
    for path in sorted((gateway.home / "journal").glob("*.frames")):
        for _, head, first, second in read_frames(path.read_bytes()):
            if head[0] == kind:
                found.append((head[1:], first, second))
    return found


def compared(gateway: Gateway, count: int) -> list[tuple[list[Any], bytes, bytes]] | None:
    """So many comparisons, once they are there."""
    found = frames(gateway, "comparison")
    return found if len(found) == count else None


def test_what_was_answered_is_captured_even_if_the_gateway_is_killed(
    gateway: Gateway, models: list[Model]
) -> None:
    gateway.route("captured", [one("A", 1, *models)], capture=CAPTURE)
    answered: list[str] = []

    def ask(thread: int) -> None:
        for number in range(10_000):
            body = b'{"n": "%d-%d"}' % (thread, number)
            try:
                status, _ = gateway.ask("captured", body)
            except (OSError, ValueError, IndexError):
                return
            if status == 200:
                answered.append(body.decode())

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    await_that(lambda: len(answered) > 200 or None, "answers")
    os.kill(gateway.process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(20)
    written = Counter(first.decode() for _, first, _ in frames(gateway, "capture"))
    assert set(answered) <= set(written)
    assert max(written.values()) == 1


def test_a_captured_frame_has_both_sides_and_what_the_caller_sent_with_them(
    gateway: Gateway, models: list[Model]
) -> None:
    gateway.route("told", [one("A", 1, models[0])], capture=CAPTURE)
    status, _ = gateway.ask(
        "told",
        **{
            "Content-Type": "text/csv",
            "X-Amzn-SageMaker-Inference-Id": "id-1",
            "X-Amzn-SageMaker-Custom-Attributes": "trace=1",
        },
    )
    assert status == 200
    ((head, request, response),) = frames(gateway, "capture")
    told, variant, _, _, inference, attributes, _, sent, received, _, _, place = head
    assert told == {"region": "us-east-1", "endpoint": "told", "uri": "s3://bucket/captured"}
    assert (variant, inference, attributes) == ("A", "id-1", "trace=1")
    assert (sent, received, place) == ("text/csv", "application/json", None)
    assert request == b"{}" and b'"by":"a"' in response


def test_half_a_frame_is_no_frame(gateway: Gateway, models: list[Model]) -> None:
    gateway.route("half", [one("A", 1, models[0])], capture=CAPTURE)
    for _ in range(2):
        assert gateway.ask("half")[0] == 200
    (path,) = (gateway.home / "journal").glob("*.frames")
    whole = path.read_bytes()
    ends = [end for end, *_ in read_frames(whole)]
    assert len(ends) == 2 and ends[-1] == len(whole)
    for cut in range(len(whole)):
        assert [end for end, *_ in read_frames(whole[:cut])] == [e for e in ends if e <= cut]


def test_a_shadow_gets_its_share_and_is_compared(gateway: Gateway, models: list[Model]) -> None:
    live, shadow = models
    document = {**one("S", 1, shadow), "of": "A", "share": 0.5}
    gateway.route("shadowed", [one("A", 1, live)], shadows=[document])
    for _ in range(60):
        status, answer = gateway.ask("shadowed")
        assert (status, answer["by"]) == (200, "a")
    heads = await_that(lambda: compared(gateway, shadow.requests), "comparisons")
    assert 15 <= len(heads) <= 45
    for head, first, second in heads:
        _, _, _, variant, copy, live_status, shadow_status, *_, same, _, _ = head
        assert (variant, copy, live_status, shadow_status, same) == ("A", "S", 200, 200, False)
        assert b'"by":"a"' in first and b'"by":"b"' in second


def test_a_shadow_that_dies_or_is_not_there_costs_the_caller_nothing(
    gateway: Gateway, models: list[Model], tmp_path: Path
) -> None:
    live, shadow = models
    shadow.dies_after_request = True
    document = {**one("S", 1, shadow), "of": "A", "share": 1.0}
    gateway.route("dying", [one("A", 1, live)], shadows=[document])
    assert {gateway.ask("dying")[0] for _ in range(10)} == {200}
    document["instances"] = [{"id": "x", "address": str(tmp_path / "nowhere.sock")}]
    gateway.route("gone", [one("A", 1, live)], shadows=[document])
    assert {gateway.ask("gone")[0] for _ in range(10)} == {200}
    document["instances"] = []
    gateway.route("none", [one("A", 1, live)], shadows=[document])
    assert {gateway.ask("none")[0] for _ in range(10)} == {200}
    told = await_that(lambda: compared(gateway, 30), "comparisons")
    assert Counter(head[6] for head, _, _ in told) == {0: 20, -1: 10}


def test_observations_tell_the_chance_by_which_a_variant_was_chosen(
    gateway: Gateway, models: list[Model]
) -> None:
    first, second = models
    gateway.route("seen", [one("A", 3, first), one("B", 1, second)], observed=True)
    for number in range(20):
        gateway.ask("seen", **{"X-Amzn-SageMaker-Inference-Id": f"id-{number}"})
    gateway.ask("seen", **{"X-Amzn-SageMaker-Target-Variant": "B"})
    heads = [head for head, _, _ in frames(gateway, "observation")]
    chances = {"A": 0.75, "B": 0.25}
    for number, head in enumerate(heads[:20]):
        _, _, _, variant, told, status, micros, _, inference, _ = head
        assert (told, status, inference) == (chances, 200, f"id-{number}")
        assert variant in chances
        assert micros > 0
    assert heads[20][3:5] == ["B", None]


def test_a_variant_that_breaks_is_replaced_by_the_others_and_told_of(
    gateway: Gateway, models: list[Model]
) -> None:
    dying, well = models
    dying.dies_after_request = True
    old, new = one("A", 1, well), {**one("A", 1, dying), "config": "new"}
    gateway.route("moving", [new, {**old, "config": "old"}], observed=True)
    assert {gateway.ask("moving")[0] for _ in range(30)} == {200}
    told = Counter((head[2], head[5]) for head, _, _ in frames(gateway, "observation"))
    assert told["old", 200] == 30
    assert told["new", 0] == dying.requests > 0


def test_a_session_stays_with_its_variant_and_instance(
    gateway: Gateway, models: list[Model]
) -> None:
    gateway.route("sessions", [one("A", 1, *models), one("B", 1, *models)])
    header = "X-Amzn-SageMaker-Session-Id"
    status, headers, _ = gateway.ask_whole("sessions", **{header: "NEW_SESSION"})
    session, _, expires = headers["x-amzn-sagemaker-new-session-id"].partition("; Expires=")
    assert status == 200 and datetime.strptime(expires, "%Y-%m-%dT%H:%M:%SZ")
    seen = set()
    for _ in range(20):
        _, headers, answer = gateway.ask_whole("sessions", **{header: session})
        assert "x-amzn-sagemaker-new-session-id" not in headers
        assert answer["headers"]["x-amzn-sagemaker-session-id"] == session
        seen.add((headers["x-amzn-invoked-production-variant"], answer["by"]))
    assert len(seen) == 1
    spread = {gateway.ask("sessions", **{header: f"s{n}"})[1]["by"] for n in range(30)}
    assert spread == {"a", "b"}


def test_what_the_service_would_refuse_is_refused(gateway: Gateway, models: list[Model]) -> None:
    gateway.route("plain", [one("A", 1, *models)])
    for header, value, words in (
        ("Session-Id", "some; Expires=2030-01-01T00:00:00Z", "before its semicolon"),
        ("Session-Id", "a" * 257, "256 at most"),
        ("Inference-Id", "x" * 65, "at most 64 ASCII"),
        ("Prefix-Aware-Id", "p", "leave it out"),
    ):
        status, answer = gateway.ask("plain", **{f"X-Amzn-SageMaker-{header}": value})
        assert status == 400 and words in answer["Message"]
    assert sum(model.requests for model in models) == 0


def test_users_of_a_growing_canary_stay_in_it(gateway: Gateway, models: list[Model]) -> None:
    old, new = models
    header = "X-Amzn-SageMaker-Custom-Attributes"

    def users_of_new(share: float) -> set[str]:
        mark = one(f"at-{share}", 0, old)
        variants = [one("A", share, new), one("A", 1 - share, old), mark]
        gateway.route("canary", variants, sticky="user")
        target = {"X-Amzn-SageMaker-Target-Variant": mark["name"]}
        await_that(lambda: gateway.ask("canary", **target)[0] == 200 or None, "the route")
        found = set()
        for number in range(60):
            status, answer = gateway.ask("canary", **{header: f"user=u{number}; x=1"})
            assert status == 200
            if answer["by"] == new.name:
                found.add(f"u{number}")
        return found

    places = {f"u{number}": position(f"canary/u{number}") for number in range(60)}
    for share in (0.1, 0.4, 0.9):
        assert users_of_new(share) == {user for user, place in places.items() if place < share}


def test_groups_of_users_go_to_their_variant(gateway: Gateway, models: list[Model]) -> None:
    first, second = models
    groups = [{"attribute": "tier", "values": ["beta", "staff"], "variant": "B"}]
    gateway.route("groups", [one("A", 1, first), one("B", 0, second)], groups=groups)
    header = "X-Amzn-SageMaker-Custom-Attributes"
    for sent, by in (("tier=beta", "b"), ("tier=staff,x=2", "b"), ("tier=gold", "a"), ("no", "a")):
        assert gateway.ask("groups", **{header: sent})[1]["by"] == by
    both = {header: "tier=beta", "X-Amzn-SageMaker-Target-Variant": "A"}
    assert gateway.ask("groups", **both)[1]["by"] == "a"


def test_counts_for_prometheus(gateway: Gateway, models: list[Model]) -> None:
    gateway.route("counted", [one("A", 1, models[0])])
    for _ in range(5):
        gateway.ask("counted")

    def page(user: str, password: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{gateway.port}/metrics"
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    status, text = page(gateway.access_key, gateway.secret)
    assert status == 200
    labels = 'region="us-east-1",endpoint="counted",config="",variant="A"'
    assert f"loopwright_invocations_total{{{labels}}} 5" in text
    assert f'loopwright_model_latency_seconds_bucket{{{labels},le="+Inf"}} 5' in text
    assert f"loopwright_instances{{{labels}}} 1" in text
    assert page(gateway.access_key, "wrong")[0] == 403
    assert page("nobody", gateway.secret)[0] == 403
