"""Under a load of 32 connections: whatever is done to an endpoint, and killed, loses no request.

But those on the connections of a killed worker of the gateway, which nobody else can answer.
"""

import base64
import http.client
import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.real.steady import Steady, ports_of, signed
from tests.real.test_production import configure, invoke, make_models, serve
from tests.server import Server, await_that, variant

pytestmark = pytest.mark.real
NAME = "loaded"
WORKERS = 3


@dataclass
class World:
    server: Server
    load: Steady

    def update(self, config: str, policy: dict[str, Any], expected: str = "InService") -> None:
        """Update the endpoint and await the end of it."""
        sagemaker = self.server.client("sagemaker")
        sagemaker.update_endpoint(
            EndpointName=NAME, EndpointConfigName=config, DeploymentConfig=policy
        )
        found = self.server.endpoint(NAME)
        assert found["EndpointStatus"] == expected, found.get("FailureReason")

    def workers(self) -> dict[int, int]:
        """Process ids of the gateway's workers, by number."""
        found = {}
        for path in (self.server.home / "run").glob("gateway*.json"):
            try:
                state = json.loads(path.read_text())
            except FileNotFoundError:  # Its successor is about to write it.
                continue
            if os.path.exists(f"/proc/{state['pid']}"):
                found[state["number"]] = state["pid"]
        return found

    def whole(self) -> dict[int, int] | None:
        """The workers, once all are there."""
        found = self.workers()
        return found if len(found) == WORKERS else None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An endpoint of two instances under load, on a server where a minute takes three seconds."""
    options = ("--time-scale", "20", "--gateway-workers", str(WORKERS))
    server = Server(tmp_path_factory.mktemp("loaded") / "home", options=options)
    server.start()
    make_models(server)
    for name in ("one", "two"):
        configure(server, f"on-{name}", variant("A", name, 2))
    pair = [variant("A", "one", weight=1.0), variant("B", "two", weight=1.0)]
    configure(server, "pair", *pair)
    serve(server, NAME, variant("A", "one", 2))
    with Steady(server, NAME, '{"sleep": 0.002}') as load:
        yield World(server, load)
    server.stop()


def _blue_green(kind: str, **more: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": 20, **more}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}


SIZE = {"Type": "CAPACITY_PERCENT", "Value": 50}
POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    "all at once": ("two", _blue_green("ALL_AT_ONCE")),
    "canary": ("one", _blue_green("CANARY", CanarySize=SIZE)),
    "linear": ("two", _blue_green("LINEAR", LinearStepSize=SIZE)),
    "rolling": (
        "one",
        {"RollingUpdatePolicy": {"MaximumBatchSize": SIZE, "WaitIntervalInSeconds": 20}},
    ),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_deployment_policies(world: World, policy: str) -> None:
    to, config = POLICIES[policy]
    with world.load.lossless():
        world.update(f"on-{to}", config)
        world.load.all_by(to)


def test_rollback_by_an_alarm(world: World) -> None:
    cloudwatch = world.server.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="loaded", Namespace="Own", MetricName="bad", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )  # fmt: skip
    policy = _blue_green("CANARY", CanarySize=SIZE)
    policy["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"] = 600
    policy["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": "loaded"}]}
    sagemaker = world.server.client("sagemaker")
    with world.load.lossless():
        sagemaker.update_endpoint(
            EndpointName=NAME, EndpointConfigName="on-two", DeploymentConfig=policy
        )
        await_that(lambda: world.load.more(32)["two"] or None, "the canary")
        cloudwatch.set_alarm_state(AlarmName="loaded", StateValue="ALARM", StateReason="a test")
        found = world.server.endpoint(NAME)
        assert found["EndpointStatus"] == "InService"
        assert found["EndpointConfigName"] != "on-two"
        world.load.all_by("one")


def test_scaling_out_and_in(world: World) -> None:
    sagemaker = world.server.client("sagemaker")
    with world.load.lossless():
        for count in (4, 1, 2):
            wanted = [{"VariantName": "A", "DesiredInstanceCount": count}]
            sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=NAME, DesiredWeightsAndCapacities=wanted
            )
            world.server.endpoint(NAME)
            seen = lambda count=count: len(world.load.more(100, "token")) == count or None  # noqa: E731
            await_that(seen, f"{count} instances that answer")


def test_a_killed_instance(world: World) -> None:
    with world.load.lossless():
        killed = world.load.answers[-1]["token"]
        await_that(lambda: _killed(world, killed), "the instance's end, and answers by the other")
        await_that(lambda: len(world.load.more(100, "token")) == 2 or None, "its successor")


def _killed(world: World, token: str) -> bool | None:
    """Have an instance end itself while it computes; whether it answers no more.

    The request may meet the other instance, which only answers it, so it is sent until it is seen
    that it met the right one.
    """
    invoke(world.server, NAME, json.dumps({"kill": token}))
    return token not in world.load.more(64, "token") or None


def test_a_killed_control_plane(world: World) -> None:
    with world.load.lossless():
        world.server.kill()
        world.load.more(200)
        world.server.start()
        world.load.more(200)


def test_a_killed_worker_of_the_gateway(world: World) -> None:
    before = await_that(world.whole, "all workers")
    held = {number: ports_of(pid) for number, pid in before.items()}
    mine = set(world.load.ports.values())
    assert all(ports & mine for ports in held.values()), "each worker has connections"
    seen = len(world.load.failures)
    os.kill(before[1], signal.SIGKILL)
    lost = held[1] & mine
    world.load.more(300)

    def back() -> bool | None:
        found = world.whole()
        return True if found is not None and found[1] != before[1] else None

    await_that(back, "the worker's successor")
    failures = world.load.failures[seen:]
    assert len(failures) <= len(lost)
    assert {failure.port for failure in failures} <= lost
    after = world.workers()
    assert (after[0], after[2]) == (before[0], before[2])
    del world.load.failures[seen:]


def test_weights(world: World) -> None:
    sagemaker = world.server.client("sagemaker")
    with world.load.lossless():
        world.update("pair", _blue_green("ALL_AT_ONCE"))
        await_that(lambda: len(world.load.more(64, "variant")) == 2 or None, "both variants")
        for heavy, light in (("A", "B"), ("B", "A")):
            wanted = [
                {"VariantName": heavy, "DesiredWeight": 1.0},
                {"VariantName": light, "DesiredWeight": 0.0},
            ]
            sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=NAME, DesiredWeightsAndCapacities=wanted
            )
            while sagemaker.describe_endpoint(EndpointName=NAME)["EndpointStatus"] != "InService":
                pass
            assert _variants_now(world.server, 60) == {heavy}
            world.load.all_by(heavy, "variant")


def _variants_now(server: Server, count: int) -> set[str]:
    """Which variants answer so many requests, over connections to all workers."""
    place, (path, headers) = urlsplit(server.url), signed(server, NAME, "{}")
    found = set()
    opened = [http.client.HTTPConnection(place.hostname or "", place.port) for _ in range(12)]
    for number in range(count):
        connection = opened[number % len(opened)]
        connection.request("POST", path, "{}", headers)
        answer = connection.getresponse()
        answer.read()
        found.add(answer.headers["x-Amzn-Invoked-Production-Variant"])
    for connection in opened:
        connection.close()
    return found


def _on_the_page(server: Server, endpoint: str) -> int:
    """All invocations of an endpoint on the page for Prometheus."""
    keys = json.loads((server.home / "keys.json").read_text())
    user = base64.b64encode(":".join(next(iter(keys.items()))).encode()).decode()
    asked = urllib.request.Request(server.url + "/metrics")
    asked.add_header("Authorization", f"Basic {user}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=30) as answer:
        text = answer.read().decode()
    found = re.findall(rf'^loopwright_invocations_total.*"{endpoint}".* (\d+)$', text, re.M)
    return sum(map(int, found))


def test_counts_of_all_workers_are_one(world: World) -> None:
    server = world.server
    await_that(world.whole, "all workers")
    serve(server, "counted", variant("A", "one"))
    count = 90
    for number in range(count):
        # A connection of its own for each: the kernel spreads them over the workers.
        if number % 3 == 0:
            client = server.client("sagemaker-runtime")
        client.invoke_endpoint(EndpointName="counted", Body="{}", ContentType="application/json")
    for _ in range(12):
        await_that(lambda: _on_the_page(server, "counted") == count or None, "the counts")

    def stored() -> bool | None:
        points = server.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName="Invocations", Period=3600, Statistics=["Sum"],
            Dimensions=[
                {"Name": "EndpointName", "Value": "counted"},
                {"Name": "VariantName", "Value": "A"},
            ],
            StartTime=datetime.now(UTC) - timedelta(days=2),
            EndTime=datetime.now(UTC) + timedelta(days=30),
        )["Datapoints"]  # fmt: skip
        total = sum(point["Sum"] for point in points)
        assert total <= count
        return True if total == count else None

    await_that(stored, "the counts in CloudWatch")
    session = invoke(server, NAME, "{}", SessionId="NEW_SESSION")["NewSessionId"].partition(";")[0]
    by = {
        json.loads(invoke(server, NAME, "{}", SessionId=session)["text"])["token"]
        for _ in range(12)
    }
    assert len(by) == 1, "a session's instance is the same in every worker"
    worker = await_that(world.whole, "all workers")[2]
    os.kill(worker, signal.SIGKILL)
    await_that(lambda: (world.whole() or {2: worker})[2] != worker or None, "the successor")
    for _ in range(12):
        await_that(lambda: _on_the_page(server, "counted") == count or None, "the same counts")
