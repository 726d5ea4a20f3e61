"""Updates of endpoints by every policy, their rollbacks, and what users see meanwhile."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loopwright.compute.simulated import Script
from loopwright.hosting.deploy.family import steps_of
from loopwright.kernel.records import Observation
from loopwright.kernel.units import Capacity
from loopwright.router.routes import route_of
from loopwright.testing.simulation import REGION, Effects
from loopwright.wire.errors import ApiError
from tests.hosting.world import World
from tests.simulation.scenarios import IMAGE, ROLE


def blue_green(kind: str, wait_s: int = 0, **more: Any) -> dict[str, Any]:
    """A blue/green policy; sizes belong to its routing, all else to the policy."""
    names = ("CanarySize", "LinearStepSize")
    routing = {"Type": kind, "WaitIntervalInSeconds": wait_s}
    routing |= {name: value for name, value in more.items() if name in names}
    rest = {name: value for name, value in more.items() if name not in names}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, **rest}}


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def instances(value: int) -> dict[str, Any]:
    return {"Type": "INSTANCE_COUNT", "Value": value}


def rolling(size: Mapping[str, Any], wait_s: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait_s, **more}
    }


GUARDED = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}}
CANARY = blue_green("CANARY", 60, CanarySize=percent(10))
LINEAR = blue_green("LINEAR", 30, LinearStepSize=percent(30), TerminationWaitInSeconds=45)
ROLLING = rolling(percent(50), 30)
POLICIES = {
    "none": {},
    "all at once": blue_green("ALL_AT_ONCE", 20),
    "canary": CANARY,
    "linear": LINEAR,
    "rolling": ROLLING,
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.config("old", {"A": 2})
    made.config("new", {"A": 2})
    made.serve("old")
    return made


def updating(*news: float) -> list[tuple[str, dict[str, float]]]:
    """What is seen while the new fleet gets these shares, and in the end."""
    found: list[tuple[str, dict[str, float]]] = []
    for new in news:
        both = {"new": new, "old": round(1 - new, 6)}
        found.append(("Updating", {name: share for name, share in both.items() if share}))
    return [("InService", {"old": 1.0}), *found, ("InService", {"new": 1.0})]


@pytest.mark.parametrize(
    ("policy", "shares"),
    [
        ("none", (0, 1)),
        ("all at once", (0, 1)),
        ("canary", (0, 0.1, 1)),
        ("linear", (0, 0.3, 0.6, 0.9, 1)),
        ("rolling", (0, 0.5, 1)),
    ],
)
def test_traffic_moves_by_the_steps_of_the_policy(
    world: World, policy: str, shares: tuple[float, ...]
) -> None:
    began = world.simulated.clock.now()
    world.update("new", POLICIES[policy])
    world.run_until(world.settled)
    assert world.seen == updating(*shares)
    status = world.status
    assert status["EndpointConfigName"] == "new"
    assert not status.get("PendingDeploymentSummary")
    assert not status.get("OldFleet") and not status.get("Deployment")
    waits = {"none": 0, "all at once": 20, "canary": 120, "linear": 4 * 30 + 45, "rolling": 60}
    took = world.simulated.clock.now() - began
    assert waits[policy] <= took <= waits[policy] + 30


def test_the_old_fleet_stays_until_the_last_wait_is_over(world: World) -> None:
    world.update("new", LINEAR)
    world.run_until(lambda: world.shares() == {"new": 1.0})
    moved = world.simulated.clock.now()
    assert len(world.simulated.backend.running()) == 4
    pending = world.status["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "new"
    (variant,) = pending["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 2
    assert variant["VariantStatus"][0]["Status"] == "ActivatingTraffic"
    world.simulated.step()
    pending = world.status["PendingDeploymentSummary"]
    assert pending["ProductionVariants"][0]["VariantStatus"][0]["Status"] == "Baking"
    world.run_until(world.settled)
    assert world.simulated.clock.now() - moved >= 30 + 45


def test_a_rolling_update_never_has_more_than_a_batch_too_many(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.config("old", {"A": 8})
    world.config("new", {"A": 8})
    world.serve("old")
    world.update("new", rolling(instances(2), 10))
    most = 0

    def over() -> bool:
        nonlocal most
        most = max(most, len(world.simulated.backend.running()))
        return world.settled() and world.shares() == {"new": 1.0}

    world.run_until(over)
    assert most == 10
    assert [share.get("new", 0.0) for _, share in world.seen[1:]] == [0, 0.25, 0.5, 0.75, 1, 1]


@pytest.mark.parametrize("policy", ["all at once", "canary", "linear", "rolling"])
@pytest.mark.parametrize("after_s", [0, 5, 40, 70])
def test_an_alarm_takes_all_traffic_back(world: World, policy: str, after_s: int) -> None:
    world.alarm("errors", "OK")
    world.update("new", POLICIES[policy] | GUARDED)
    began = world.simulated.clock.now()
    world.run_until(lambda: world.simulated.clock.now() >= began + after_s or world.settled())
    over = world.settled() and world.shares() == {"new": 1.0}
    world.alarm("errors", "ALARM")
    world.run_until(lambda: world.settled() and (over or bool(world.status.get("FailureReason"))))
    if over:
        assert world.shares() == {"new": 1.0}
        return
    assert world.shares() == {"old": 1.0}
    assert world.status["EndpointConfigName"] == "old"
    assert world.status["FailureReason"] == "One or more alarms are in ALARM: errors."
    assert "RollingBack" in {state for state, _ in world.seen}
    # The endpoint can be updated again.
    world.alarm("errors", "OK")
    world.update("new", {})
    world.run_until(lambda: world.settled() and world.shares() == {"new": 1.0})
    assert not world.status.get("FailureReason")


def test_a_blue_green_rollback_needs_no_new_instance(world: World) -> None:
    world.alarm("errors", "OK")
    world.update("new", CANARY | GUARDED)
    world.run_until(lambda: world.shares().get("new") == 0.1)
    starts = len(world.simulated.backend.starts)
    world.alarm("errors", "ALARM")
    for _ in range(4):
        world.simulated.step(0.1)
    assert world.shares() == {"old": 1.0}
    world.run_until(world.settled)
    assert len(world.simulated.backend.starts) == starts


def test_a_rolling_rollback_goes_back_in_batches(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.config("old", {"A": 8})
    world.config("new", {"A": 8})
    world.serve("old")
    world.alarm("errors", "OK")
    policy = rolling(instances(2), 30, RollbackMaximumBatchSize=instances(4))
    world.update("new", policy | GUARDED)
    world.run_until(lambda: world.shares().get("new") == 0.75)
    world.alarm("errors", "ALARM")
    world.run_until(lambda: world.settled() and world.shares() == {"old": 1.0})
    back = [share.get("new", 0.0) for state, share in world.seen if state == "RollingBack"]
    assert back == [0.75, 0.25, 0.0]


def test_an_alarm_that_is_deleted_cannot_guard(world: World) -> None:
    world.alarm("errors", "OK")
    world.update("new", CANARY | GUARDED)
    world.run_until(lambda: world.shares().get("new") == 0.1)
    record = world.simulated.record("Alarm", "errors")
    assert record is not None
    world.simulated.store.delete(record)
    world.run_until(lambda: world.settled() and world.shares() == {"old": 1.0})
    assert "was deleted" in world.status["FailureReason"]


def test_a_fleet_that_does_not_start_leaves_the_old_one(world: World) -> None:
    scripts = world.simulated.backend.script_of
    world.simulated.backend.script_of = lambda unit_id, program: (
        Script(0.5, 1, "no module named model") if "#2." in unit_id else scripts(unit_id, program)
    )
    world.update("new", CANARY)
    world.run_until(lambda: world.settled() and bool(world.status.get("FailureReason")))
    assert "no module named model" in world.status["FailureReason"]
    assert world.shares() == {"old": 1.0}


def test_an_update_that_takes_too_long_goes_back(world: World) -> None:
    slow = blue_green("CANARY", 10, CanarySize=percent(10), MaximumExecutionTimeoutInSeconds=700)
    began = world.simulated.clock.now()
    backend = world.simulated.backend
    backend.total = Capacity(backend.total.cpus, 2 * world.memory_bytes)
    world.update("new", slow)
    world.run_until(lambda: world.settled() and bool(world.status.get("FailureReason")))
    assert world.shares() == {"old": 1.0}
    assert "longer than 700 s" in world.status["FailureReason"]
    assert 700 <= world.simulated.clock.now() - began < 730


def test_capacity_that_does_not_come_up_is_given_up(world: World) -> None:
    scripts = world.simulated.backend.script_of
    world.simulated.backend.script_of = lambda unit_id, program: (
        Script(0.5, 1, "out of memory") if ".2." in unit_id else scripts(unit_id, program)
    )
    change = {"VariantName": "A", "DesiredInstanceCount": 3}
    world.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="e",
        DesiredWeightsAndCapacities=[change],
    )
    world.run_until(lambda: bool(world.status.get("FailureReason")) and world.settled())
    assert "out of memory" in world.status["FailureReason"]
    assert world.status["Fleet"]["variants"][0]["count"] == 2


def test_weights_that_a_bandit_chooses_cannot_be_set(world: World) -> None:
    record = world.record
    status = {**record.status, "Allocation": {"A": 1.0}}
    now = world.simulated.clock.now()
    world.simulated.store.change(record, status, state="InService", now=now, event="")
    change: dict[str, Any] = {"VariantName": "A", "DesiredWeight": 2.0}
    with pytest.raises(ApiError, match="DeleteBandit"):
        world.call(
            "UpdateEndpointWeightsAndCapacities",
            EndpointName="e",
            DesiredWeightsAndCapacities=[change],
        )


def test_model_data_that_does_not_come_in_time_fails_the_update(world: World) -> None:
    variant = {
        "VariantName": "A",
        "ModelName": "m",
        "InstanceType": "ml.t2.medium",
        "InitialInstanceCount": 1,
        "ModelDataDownloadTimeoutInSeconds": 60,
    }
    world.call("CreateEndpointConfig", EndpointConfigName="slow", ProductionVariants=[variant])
    backend = world.simulated.backend
    observe = backend.observe

    def preparing(unit_id: str, program: Mapping[str, Any]) -> Observation | None:
        return Observation("preparing") if "#2." in unit_id else observe(unit_id, program)

    backend.observe = preparing  # type: ignore[method-assign]
    began = world.simulated.clock.now()
    world.update("slow")
    world.run_until(lambda: bool(world.status.get("FailureReason")), 200)
    assert "ModelDataDownloadTimeoutInSeconds" in world.status["FailureReason"]
    assert 60 <= world.simulated.clock.now() - began < 75
    assert world.shares() == {"old": 1.0}


def test_scaling_in_and_out_again_is_quick(world: World) -> None:
    for count in (1, 3, 1, 3, 1, 3):
        change = {"VariantName": "A", "DesiredInstanceCount": count}
        began = world.simulated.clock.now()
        world.call(
            "UpdateEndpointWeightsAndCapacities",
            EndpointName="e",
            DesiredWeightsAndCapacities=[change],
        )
        world.run_until(world.settled)
        assert world.simulated.clock.now() - began < 15


def test_an_instance_that_is_to_end_does_not_count(world: World) -> None:
    def scale(count: int) -> None:
        change = {"VariantName": "A", "DesiredInstanceCount": count}
        world.call(
            "UpdateEndpointWeightsAndCapacities",
            EndpointName="e",
            DesiredWeightsAndCapacities=[change],
        )
        world.run_until(lambda: world.status["EndpointStatus"] == "InService")

    for lag in range(6):
        for count in (4, 1, 2):
            scale(count)
            for _ in range(lag):
                world.simulated.step(0.1)
        for _ in range(20):
            (shown,) = world.status["ProductionVariants"]
            assert shown["CurrentInstanceCount"] == 2
            world.simulated.step(0.5)


def test_capture_is_on_unless_it_says_otherwise(world: World) -> None:
    capture = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://bucket/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    world.config("captured", {"A": 1}, DataCaptureConfig=capture)
    world.update("captured")
    world.run_until(lambda: world.settled() and world.shares() == {"captured": 1.0})
    assert world.status["DataCaptureConfig"]["CaptureStatus"] == "Started"


def test_changes_that_would_end_the_service_are_refused(world: World) -> None:
    def change(*changes: dict[str, Any]) -> None:
        listed = [{"VariantName": "A", **item} for item in changes]
        world.call(
            "UpdateEndpointWeightsAndCapacities",
            EndpointName="e",
            DesiredWeightsAndCapacities=listed,
        )

    with pytest.raises(ApiError, match="there twice"):
        change({"DesiredWeight": 1.0}, {"DesiredWeight": 2.0})
    with pytest.raises(ApiError, match="at least 1 instance"):
        change({"DesiredInstanceCount": 0})
    world.config("two", {"A": 1, "B": 1})
    world.update("two")
    world.run_until(world.settled)
    change({"DesiredWeight": 0.0})
    world.run_until(world.settled)
    with pytest.raises(ApiError, match="retained weights of all variants would be 0"):
        world.update("new", RetainAllVariantProperties=True)
    world.update("new")


def test_names_in_use_and_missing_are_told_in_the_service_s_words(world: World) -> None:
    """SageMaker's Python SDK looks for them, to go on with what is there already."""
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}
    with pytest.raises(ApiError, match='Cannot create already existing model "arn:'):
        world.call("CreateModel", ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    with pytest.raises(ApiError, match='Cannot create already existing endpoint configuration "'):
        world.config("old", {"A": 1})
    with pytest.raises(ApiError, match='Could not find endpoint "arn:'):
        world.call("DescribeEndpoint", EndpointName="nope")
    world.call("DeleteModel", ModelName="m")
    with pytest.raises(ApiError, match='Could not find model "m"'):
        world.call("CreateEndpoint", EndpointName="other", EndpointConfigName="old")


@pytest.mark.parametrize(
    "member", ["AcceleratorType", "VariantInstanceProvisionTimeoutInSeconds", "RoutingConfig"]
)
def test_settings_that_would_change_the_outcome_are_refused(world: World, member: str) -> None:
    routing = {"RoutingStrategy": "RANDOM", "PrefixAwareRoutingConfig": {"PrefixLength": 2048}}
    value: Any = routing if member == "RoutingConfig" else 300
    variant = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.t2.medium", member: value}
    with pytest.raises(ApiError, match="does not support"):
        world.call("CreateEndpointConfig", EndpointConfigName="x", ProductionVariants=[variant])


def test_a_configuration_may_cut_its_variants_off(world: World) -> None:
    world.config("alone", {"A": 1}, EnableNetworkIsolation=True)
    world.update("alone")
    world.run_until(lambda: world.settled() and world.shares() == {"alone": 1.0})
    assert [variant["network"] for variant in world.status["Fleet"]["variants"]] == [False]


def test_a_bandit_divides_what_its_variants_have_together(world: World) -> None:
    world.config("three", {"A": 1, "B": 1, "C": 1})
    world.update("three")
    world.run_until(world.settled)
    change = {"VariantName": "A", "DesiredWeight": 8.0}
    world.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="e",
        DesiredWeightsAndCapacities=[change],
    )
    world.run_until(world.settled)

    def weights(**status: Any) -> list[float]:
        record = world.record
        now = world.simulated.clock.now()
        new = {**record.status, "Allocation": {"A": 0.25, "B": 0.75}, **status}
        world.simulated.store.change(record, new, state="InService", now=now, event="")
        for _ in range(3):
            world.simulated.step()
        found = world.simulated.store.document(f"route/{REGION}/e")
        assert found is not None
        return [variant["weight"] for variant in found[1]["variants"]]

    assert weights() == [2.25, 6.75, 1.0]
    assert weights(Withdrawn=["B"]) == [2.25, 0.0, 1.0]


def test_users_keep_their_variant_while_a_canary_grows(world: World) -> None:
    world.config("two", {"B": 1, "A": 1})
    world.config("next", {"A": 1, "B": 1})
    world.update("two")
    world.run_until(world.settled)

    def variants() -> list[str]:
        found = world.simulated.store.document(f"route/{REGION}/e")
        assert found is not None
        route = route_of(found[1], {})
        return [route.choose(None, place / 97).name for place in range(97)]

    before = variants()
    world.update("next", blue_green("LINEAR", 5, LinearStepSize=percent(20)))
    while world.status["EndpointStatus"] != "InService":
        assert variants() == before
        world.simulated.step()
    assert variants() == before


def test_retained_properties(world: World) -> None:
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 50,
        "DestinationS3Uri": "s3://bucket/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
    world.config("captured", {"A": 1, "B": 1}, DataCaptureConfig=capture)
    world.config("other", {"A": 1, "B": 1})
    change = {"VariantName": "A", "DesiredInstanceCount": 3, "DesiredWeight": 5.0}
    world.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="e",
        DesiredWeightsAndCapacities=[change],
    )
    world.run_until(world.settled)

    def update(config: str, *excluded: str) -> dict[str, tuple[int, float]]:
        listed = [{"VariantPropertyType": name} for name in excluded]
        more: dict[str, Any] = {"ExcludeRetainedVariantProperties": listed} if listed else {}
        world.update(config, RetainAllVariantProperties=True, **more)
        world.run_until(lambda: world.settled() and world.shares() == {config: 1.0})
        return {v["name"]: (v["count"], v["weight"]) for v in world.status["Fleet"]["variants"]}

    assert update("captured", "DataCaptureConfig") == {"A": (3, 5.0), "B": (1, 1.0)}
    assert world.status["DataCaptureConfig"]["CurrentSamplingPercentage"] == 50
    assert update("other", "DesiredInstanceCount") == {"A": (1, 5.0), "B": (1, 1.0)}
    assert world.status["DataCaptureConfig"]["CaptureStatus"] == "Started"


def test_the_last_deployment_is_used_again(world: World) -> None:
    world.update("new", CANARY)
    world.run_until(world.settled)
    assert world.status["LastDeploymentConfig"] == CANARY
    world.update("old", RetainDeploymentConfig=True)
    world.run_until(lambda: world.settled() and world.shares() == {"old": 1.0})
    assert ("Updating", {"new": 0.9, "old": 0.1}) in world.seen


BAD = {
    "both": (CANARY | ROLLING, "not both"),
    "no size": (blue_green("CANARY"), "needs CanarySize"),
    "a size too many": (blue_green("ALL_AT_ONCE", CanarySize=percent(5)), "takes no CanarySize"),
    "a large canary": (blue_green("CANARY", CanarySize=percent(60)), "from 1 to 50 percent"),
    "small steps": (blue_green("LINEAR", LinearStepSize=percent(5)), "from 10 to 50 percent"),
    "too many instances": (blue_green("CANARY", CanarySize=instances(2)), "use fewer"),
    "no time": (
        blue_green("CANARY", 600, CanarySize=percent(5), MaximumExecutionTimeoutInSeconds=1200),
        "waits alone take",
    ),
    "no alarm": (CANARY | GUARDED, "no such alarm"),
    "a nameless alarm": (CANARY | {"AutoRollbackConfiguration": {"Alarms": [{}]}}, "no AlarmName"),
    "a large batch": (rolling(percent(51)), "from 5 to 50 percent"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_deployment_that_cannot_be_done_is_refused(world: World, case: str) -> None:
    deployment, words = BAD[case]
    before = world.record
    with pytest.raises(ApiError, match=words) as caught:
        world.update("new", deployment)
    assert caught.value.code == "ValidationException"
    assert world.record == before


@pytest.mark.parametrize("seed", range(60))
def test_no_crash_takes_an_endpoint_out_of_service(tmp_path: Path, seed: int) -> None:
    chooser = random.Random(seed)
    world = World(tmp_path, Effects(chance=chooser.choice([0.05, 0.2]), seed=seed))
    counts = {"A": chooser.choice([1, 2, 4]), "B": 1}
    world.config("old", counts)
    world.config("new", counts)
    world.serve("old")
    with world.simulated.undisturbed():
        world.alarm("errors", "OK")
    world.update("new", POLICIES[chooser.choice(list(POLICIES))] | GUARDED)
    if chooser.random() < 0.5:
        world.run_until(lambda: world.shares().get("new", 0) > 0 or world.settled())
        with world.simulated.undisturbed():
            world.alarm("errors", "ALARM")
    world.run_until(lambda: world.settled() and len(world.shares()) == 1)
    twice = world.simulated.backend.starts
    assert len(set(twice)) == len(twice)
    ended = world.status["EndpointConfigName"]
    assert world.shares() == {ended: 1.0}
    assert bool(world.status.get("FailureReason")) == (ended == "old")


def test_steps_end_with_all_traffic() -> None:
    for config in (CANARY, LINEAR, ROLLING, rolling(percent(7)), rolling(instances(3))):
        last = steps_of(config, {"A": 10, "B": 4})[-1]
        assert (last.share, last.green) == (1.0, 1.0)


@pytest.mark.parametrize("member", ["InitialInstanceCount", "DesiredInstanceCount", "update"])
def test_a_count_that_only_a_slip_can_mean_is_refused(world: World, member: str) -> None:
    many = 2**31 - 1
    with pytest.raises(ApiError, match="would have 2147483647 instances") as caught:
        if member == "DesiredInstanceCount":
            world.call(
                "UpdateEndpointWeightsAndCapacities",
                EndpointName="e",
                DesiredWeightsAndCapacities=[{"VariantName": "A", member: many}],
            )
        world.config("crowd", {"A": many})
        if member == "update":
            world.update("crowd")
        world.call("CreateEndpoint", EndpointName="f", EndpointConfigName="crowd")
    assert caught.value.code == "ResourceLimitExceeded"
