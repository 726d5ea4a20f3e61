"""Scalable targets on the simulated world: alarms, activities, schedules, and crashes."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from loopwright.aws.alarm_records import ALARM_KIND
from loopwright.compute.simulated import Script
from loopwright.hosting.kinds import hosting_kinds
from loopwright.hosting.operations import hosting_operations
from loopwright.hosting.scaling import triggers
from loopwright.hosting.scaling.operations import TARGET_KIND, scaling_operations
from loopwright.hosting.scaling.triggers import breach, scaling_functions
from loopwright.kernel.records import Record
from loopwright.kernel.units import Capacity
from loopwright.testing.simulation import Effects, SimulatedWorld
from loopwright.wire.errors import ApiError
from tests.hosting.world import World
from tests.simulation.scenarios import MACHINE, script_of

RESOURCE = "endpoint/e/variant/A"
NAMED = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": RESOURCE,
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}

GOING_ON = {"Pending", "InProgress"}


class Scaled(World):
    """An endpoint with a scalable target from 1 to 6 instances."""

    def _make(self, folder: Path, effects: Effects) -> SimulatedWorld:
        simulated = SimulatedWorld(
            folder,
            [*hosting_kinds(MACHINE), ALARM_KIND, TARGET_KIND],
            effects,
            collected=lambda arguments: None,
            more_operations={**hosting_operations(), **scaling_operations()},
            more_functions=lambda store: scaling_functions(store, self),
        )
        simulated.backend.script_of = script_of
        return simulated

    def now(self) -> float:
        """As a clock."""
        return self.simulated.clock.now()

    def register(self, **more: Any) -> None:
        self.call("RegisterScalableTarget", **NAMED, **{"MinCapacity": 1, "MaxCapacity": 6, **more})

    def policy(self, name: str = "p", **config: Any) -> dict[str, Any]:
        """A policy of target tracking at 100 invocations an instance."""
        return self.call(
            "PutScalingPolicy",
            **NAMED,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": 100.0,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
                **config,
            },
        )

    def alarms(self) -> dict[str, Record]:
        """The policies' alarms by side."""
        found = {}
        record = self.simulated.record("ScalableTarget", RESOURCE)
        assert record is not None
        for child in self.simulated.store.children(record.uid):
            found["High" if "AlarmHigh" in child.name else "Low"] = child
        return found

    def breach(self, side: str, value: float) -> None:
        """An alarm goes off at this value."""
        alarm = self.alarms()[side]
        (action,) = alarm.spec["AlarmActions"]
        with self.simulated.undisturbed():
            now = self.simulated.clock.now()
            if alarm.status["StateValue"] != "ALARM":
                status = {**alarm.status, "StateValue": "ALARM"}
                alarm = self.simulated.store.change(alarm, status, state="ALARM", now=now, event="")
            assert breach(self.simulated.store, alarm, action, value, now) == ""

    def scaled_to(self, count: int) -> None:
        def over() -> bool:
            states = {item["StatusCode"] for item in self.activities()}
            return self.count() == count and self.settled() and not states & GOING_ON

        self.run_until(over)

    def count(self) -> int:
        return int(self.status["Fleet"]["variants"][0]["count"])

    def wait(self, seconds: int) -> None:
        for _ in range(seconds // 5):
            self.simulated.step(5.0)

    def activities(self, **more: Any) -> list[Mapping[str, Any]]:
        found = self.call("DescribeScalingActivities", ServiceNamespace="sagemaker", **more)
        return list(found["ScalingActivities"])


@pytest.fixture
def scaled(tmp_path: Path) -> Scaled:
    made = Scaled(tmp_path)
    made.config("one", {"A": 1})
    made.serve("one")
    made.register()
    return made


def test_a_policy_has_two_alarms_of_the_known_shape(scaled: Scaled) -> None:
    told = scaled.policy()
    scaled.wait(10)
    alarms = scaled.alarms()
    assert {item["AlarmName"] for item in told["Alarms"]} == {a.name for a in alarms.values()}
    high, low = alarms["High"].spec, alarms["Low"].spec
    assert (high["Threshold"], high["EvaluationPeriods"], high["Period"]) == (100.0, 3, 60)
    assert (low["Threshold"], low["EvaluationPeriods"]) == (90.0, 15)
    assert high["MetricName"] == "InvocationsPerInstance" and high["Statistic"] == "Sum"
    # Another target has other alarms; a policy that goes takes its alarms along.
    scaled.policy(TargetValue=50.0)
    children = scaled.simulated.store.children
    scaled.run_until(
        lambda: sorted(c.spec["Threshold"] for c in children(_target(scaled).uid)) == [45.0, 50.0]
    )
    scaled.call("DeleteScalingPolicy", **NAMED, PolicyName="p")
    scaled.run_until(lambda: not scaled.simulated.store.children(_target(scaled).uid))


def _target(scaled: Scaled) -> Record:
    record = scaled.simulated.record("ScalableTarget", RESOURCE)
    assert record is not None
    return record


def test_out_in_one_step_and_in_one_by_one(scaled: Scaled) -> None:
    scaled.policy(ScaleInCooldown=60, ScaleOutCooldown=60)
    scaled.wait(10)
    scaled.breach("High", 400.0)
    scaled.scaled_to(4)
    newest = scaled.activities()[0]
    assert newest["StatusCode"] == "Successful"
    assert newest["Description"] == "Setting desired instance count to 4."
    assert "in state ALARM triggered policy p" in newest["Cause"]
    for count in (3, 2, 1):
        scaled.wait(70)
        scaled.breach("Low", 5.0)
        scaled.scaled_to(count)
    scaled.wait(70)
    scaled.breach("Low", 0.0)
    scaled.wait(20)
    assert scaled.count() == 1
    reasons = scaled.activities(IncludeNotScaledActivities=True)[0]["NotScaledReasons"]
    assert reasons[0]["Code"] == "AlreadyAtMinCapacity"


def test_two_policies_must_agree_to_scale_in(scaled: Scaled) -> None:
    scaled.policy("p", ScaleInCooldown=0, ScaleOutCooldown=0)
    scaled.wait(10)
    scaled.breach("High", 300.0)
    scaled.scaled_to(3)
    custom = {"Namespace": "Own", "MetricName": "depth", "Statistic": "Average"}
    scaled.call(
        "PutScalingPolicy",
        **NAMED,
        PolicyName="q",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 10.0,
            "CustomizedMetricSpecification": custom,
        },
    )
    scaled.wait(10)
    scaled.breach("Low", 5.0)
    scaled.wait(30)
    assert scaled.count() == 3


def test_steps_by_an_alarm_of_one_s_own(scaled: Scaled) -> None:
    steps = [
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 10, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 10, "ScalingAdjustment": 3},
    ]
    config = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps, "Cooldown": 120}
    told = scaled.call(
        "PutScalingPolicy", **NAMED, PolicyName="steps", StepScalingPolicyConfiguration=config
    )
    world = scaled.simulated
    now = world.clock.now()
    spec = {"Threshold": 50.0, "AlarmActions": [told["PolicyARN"]]}
    own = Record(
        "us-east-1", "Alarm", "own", "u", "arn:own", spec, {"StateValue": "ALARM"}, now, now
    )

    def go_off(value: float) -> None:
        breach(world.store, own, told["PolicyARN"], value, world.clock.now())

    go_off(55.0)
    scaled.scaled_to(2)
    # Within the cooldown a worse breach adds what is missing to three more than at first.
    go_off(65.0)
    scaled.scaled_to(4)
    go_off(65.0)
    scaled.wait(20)
    assert scaled.count() == 4
    scaled.wait(120)
    go_off(65.0)
    scaled.scaled_to(6)


def test_limits_and_schedules_move_the_capacity(scaled: Scaled) -> None:
    scaled.register(MinCapacity=2)
    scaled.scaled_to(2)
    now = scaled.simulated.clock.now()
    scaled.call(
        "PutScheduledAction",
        **NAMED,
        ScheduledActionName="morning",
        Schedule="rate(10 minutes)",
        StartTime=now + 300,
        ScalableTargetAction={"MinCapacity": 3, "MaxCapacity": 5},
    )
    scaled.wait(200)
    assert scaled.count() == 2
    scaled.wait(120)
    scaled.scaled_to(3)
    (target,) = scaled.call("DescribeScalableTargets", ServiceNamespace="sagemaker")[
        "ScalableTargets"
    ]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (3, 5)
    assert any("scheduled action name morning" in item["Cause"] for item in scaled.activities())


def test_an_endpoint_takes_its_target_along(scaled: Scaled) -> None:
    scaled.policy()
    scaled.wait(10)
    scaled.call("DeleteEndpoint", EndpointName="e")
    with pytest.raises(ApiError, match="no variant 'A'"):
        scaled.register()
    world = scaled.simulated
    for _ in range(60):
        world.step()
    assert world.record("ScalableTarget", RESOURCE) is None
    assert world.record("Endpoint", "e") is None
    with pytest.raises(ApiError, match="No scalable target"):
        scaled.policy()


def test_a_target_that_is_registered_again_begins_anew(scaled: Scaled) -> None:
    scaled.policy()
    scaled.wait(10)
    old = {alarm.name for alarm in scaled.alarms().values()}
    scaled.call("DeregisterScalableTarget", **NAMED)
    # Its alarms are still there; what is registered now must not go with them.
    scaled.register(MaxCapacity=3)
    scaled.wait(20)
    (target,) = scaled.call("DescribeScalableTargets", ServiceNamespace="sagemaker")[
        "ScalableTargets"
    ]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
    assert not scaled.simulated.store.children(_target(scaled).uid)
    scaled.policy()
    scaled.wait(10)
    assert old.isdisjoint({alarm.name for alarm in scaled.alarms().values()})


def test_a_scheduled_minimum_above_the_maximum_fails_once(scaled: Scaled) -> None:
    scaled.call(
        "PutScheduledAction",
        **NAMED,
        ScheduledActionName="too much",
        Schedule="rate(1 minute)",
        ScalableTargetAction={"MinCapacity": 8},
    )
    scaled.wait(90)
    (activity,) = scaled.activities()
    assert activity["StatusCode"] == "Failed"
    assert "above the maximum" in activity["StatusMessage"]
    assert scaled.count() == 1


def test_what_a_schedule_set_stays_until_something_else_is_said(scaled: Scaled) -> None:
    def limits() -> tuple[int, int]:
        (target,) = scaled.call("DescribeScalableTargets", ServiceNamespace="sagemaker")[
            "ScalableTargets"
        ]
        return target["MinCapacity"], target["MaxCapacity"]

    action = {"ScheduledActionName": "once", "Schedule": "rate(1 minute)"}
    times = {"StartTime": scaled.now() + 10, "EndTime": scaled.now() + 50}
    scaled.call(
        "PutScheduledAction", **NAMED, **action, **times, ScalableTargetAction={"MinCapacity": 2}
    )
    scaled.wait(200)
    assert limits() == (2, 6)
    assert len([a for a in scaled.activities() if "once" in a["Cause"]]) == 1
    scaled.call("RegisterScalableTarget", **NAMED, MaxCapacity=4)
    assert limits() == (2, 4)
    # "If you don't specify start and end times, the old values are deleted."
    scaled.call("PutScheduledAction", **NAMED, **action)
    (shown,) = scaled.call("DescribeScheduledActions", ServiceNamespace="sagemaker")[
        "ScheduledActions"
    ]
    assert "StartTime" not in shown and shown["ScalableTargetAction"] == {"MinCapacity": 2}


def test_a_capacity_that_is_refused_is_told_and_asked_for_again(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled.policy()
    scaled.wait(10)
    with monkeypatch.context() as patch:
        refuse = ApiError("ValidationException", "Cannot update endpoint: it is Updating.")
        patch.setattr(triggers, "with_changes", Mock(side_effect=refuse))
        scaled.breach("High", 400.0)
        scaled.wait(20)
    (activity,) = scaled.activities()
    assert activity["StatusCode"] == "Failed"
    assert "Failed to set desired instance count to 4. Reason: Cannot" in activity["StatusMessage"]
    assert scaled.count() == 1
    # No cooldown comes of it, but a minute's rest.
    scaled.breach("High", 400.0)
    scaled.wait(20)
    assert len(scaled.activities()) == 1
    scaled.wait(40)
    scaled.scaled_to(4)


def test_instances_that_do_not_fit_are_given_up(scaled: Scaled) -> None:
    scaled.policy()
    scaled.wait(10)
    simulated = scaled.simulated
    simulated.backend.total = Capacity(simulated.backend.total.cpus, 2 * scaled.memory_bytes)
    simulated.backend.script_of = lambda unit_id, program: Script(0.5, 1, "no room")
    scaled.breach("High", 400.0)
    scaled.run_until(lambda: bool(scaled.activities()), 100)
    scaled.run_until(lambda: scaled.activities()[-1]["StatusCode"] == "Unfulfilled", 2000)
    assert scaled.count() == 1
    assert scaled.activities()[-1]["StatusMessage"].startswith("The desired instance count is 1: ")


def test_limits_of_the_service(scaled: Scaled) -> None:
    steps = [{"MetricIntervalLowerBound": n, "MetricIntervalUpperBound": n + 1,
              "ScalingAdjustment": 1} for n in range(21)]  # fmt: skip
    config = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps}
    with pytest.raises(ApiError, match="more than 20 step adjustments") as caught:
        scaled.call(
            "PutScalingPolicy", **NAMED, PolicyName="x", StepScalingPolicyConfiguration=config
        )
    assert caught.value.code == "LimitExceededException"
    for number in range(50):
        scaled.policy(f"p{number}")
    with pytest.raises(ApiError, match="more than 50 scaling policies"):
        scaled.policy("one more")
    page = scaled.call("DescribeScalingPolicies", ServiceNamespace="sagemaker", MaxResults=30)
    rest = scaled.call(
        "DescribeScalingPolicies", ServiceNamespace="sagemaker", NextToken=page["NextToken"]
    )
    assert (len(page["ScalingPolicies"]), len(rest["ScalingPolicies"])) == (30, 20)
    assert rest["NextToken"] is None


def test_pages_miss_nothing_that_stays(scaled: Scaled) -> None:
    for number in range(9):
        scaled.policy(f"p{number}")
    scaled.wait(10)
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = scaled.call(
            "DescribeScalingPolicies", ServiceNamespace="sagemaker", MaxResults=1, **token
        )
        seen += [item["PolicyName"] for item in page["ScalingPolicies"]]
        if page["NextToken"] is None:
            break
        token = {"NextToken": page["NextToken"]}
        if len(seen) == 3:
            # One that was shown already, and the last that was.
            for name in ("p0", "p2"):
                scaled.call("DeleteScalingPolicy", **NAMED, PolicyName=name)
    assert seen == [f"p{number}" for number in range(9)]


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "another service": ("RegisterScalableTarget", {"ServiceNamespace": "ecs"}, "sagemaker only"),
    "another thing": (
        "RegisterScalableTarget",
        {"ResourceId": "service/x"},
        "must be endpoint/",
    ),
    "no variant": ("RegisterScalableTarget", {"ResourceId": "endpoint/e/variant/B"}, "no variant"),
    "limits": ("RegisterScalableTarget", {"MinCapacity": 9, "MaxCapacity": 2}, "above MaxCapacity"),
    "none": ("RegisterScalableTarget", {"MinCapacity": 0}, "at least 1 instance"),
    "no policy": ("DeleteScalingPolicy", {"PolicyName": "x"}, "no 'x' among its Policies"),
    "predictive": (
        "PutScalingPolicy",
        {"PolicyName": "x", "PolicyType": "PredictiveScaling"},
        "take TargetTrackingScaling or StepScaling",
    ),
    "a gap": (
        "PutScalingPolicy",
        {
            "PolicyName": "x",
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "ChangeInCapacity",
                "StepAdjustments": [
                    {"MetricIntervalUpperBound": 5, "ScalingAdjustment": 1},
                    {"MetricIntervalLowerBound": 6, "ScalingAdjustment": 2},
                ],
            },
        },
        "without gap",
    ),
    "another token": (
        "DescribeScalingActivities",
        {"NextToken": "x"},
        "give what the page before answered",
    ),
    "an aggregation": (
        "PutScalingPolicy",
        {
            "PolicyName": "x",
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "ExactCapacity",
                "MetricAggregationType": "Sum",
                "StepAdjustments": [{"ScalingAdjustment": 1}],
            },
        },
        "MetricAggregationType is 'Sum'",
    ),
    "a scheduled none": (
        "PutScheduledAction",
        {
            "ScheduledActionName": "x",
            "Schedule": "rate(1 day)",
            "ScalableTargetAction": {"MinCapacity": 0},
        },
        "at least 1 instance",
    ),
    "another type's settings": (
        "PutScalingPolicy",
        {
            "PolicyName": "x",
            "PolicyType": "TargetTrackingScaling",
            "StepScalingPolicyConfiguration": {"StepAdjustments": [{"ScalingAdjustment": 1}]},
        },
        "but PolicyType is TargetTrackingScaling",
    ),
    "a tiny target": (
        "PutScalingPolicy",
        {
            "PolicyName": "x",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 1e-300,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
            },
        },
        "it must be from",
    ),
    "a cooldown": (
        "PutScalingPolicy",
        {
            "PolicyName": "x",
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "ExactCapacity",
                "Cooldown": -1,
                "StepAdjustments": [{"ScalingAdjustment": 1}],
            },
        },
        "0 or more seconds",
    ),
    "a token of other digits": (
        "DescribeScalingActivities",
        {"NextToken": "\N{SUPERSCRIPT TWO}"},
        "give what the page before answered",
    ),
    "a time in the past": (
        "PutScheduledAction",
        {
            "ScheduledActionName": "x",
            "Schedule": "at(2001-02-03T04:05:06)",
            "ScalableTargetAction": {"MinCapacity": 1},
        },
        "never happens",
    ),
    "a zone": (
        "PutScheduledAction",
        {
            "ScheduledActionName": "x",
            "Schedule": "rate(1 day)",
            "Timezone": "Mars/Olympus",
            "ScalableTargetAction": {"MinCapacity": 1},
        },
        "no zone",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(scaled: Scaled, case: str) -> None:
    operation, more, words = BAD[case]
    with pytest.raises(ApiError, match=words):
        scaled.call(operation, **{**NAMED, **more})


@pytest.mark.parametrize("seed", range(40))
def test_no_crash_scales_twice_or_never(tmp_path: Path, seed: int) -> None:
    chooser = random.Random(seed)
    scaled = Scaled(tmp_path, Effects(chance=chooser.choice([0.05, 0.2]), seed=seed))
    scaled.config("one", {"A": 1})
    scaled.serve("one")
    scaled.register()
    scaled.policy(ScaleInCooldown=30, ScaleOutCooldown=30)
    scaled.run_until(lambda: len(scaled.alarms()) == 2)
    scaled.breach("High", 300.0)
    scaled.scaled_to(3)
    scaled.wait(60)
    scaled.breach("Low", 1.0)
    scaled.scaled_to(2)
    scaled.run_until(lambda: all(a["StatusCode"] == "Successful" for a in scaled.activities()))
    assert [a["Description"][-2] for a in scaled.activities()] == ["2", "3"]
    scaled.wait(30)
    assert scaled.count() == 2
    starts = scaled.simulated.backend.starts
    assert len(set(starts)) == len(starts) == 3


def test_a_scaled_variant_keeps_its_instance_type(scaled: Scaled) -> None:
    variants = [
        {
            "VariantName": "A",
            "ModelName": "m",
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
    ]
    scaled.call("CreateEndpointConfig", EndpointConfigName="larger", ProductionVariants=variants)
    with pytest.raises(ApiError, match="DeregisterScalableTarget first"):
        scaled.update("larger")
    scaled.call("DeregisterScalableTarget", **NAMED)
    scaled.update("larger")
