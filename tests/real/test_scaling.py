"""Autoscaling through boto3 under load, on a server whose minutes are short."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.load import Load
from tests.real.test_production import NAMED
from tests.server import Server, await_that, packed

pytestmark = pytest.mark.real


def test_an_endpoint_scales_out_and_in_and_loses_no_request(quick: Server) -> None:
    server = quick
    data = server.put("named/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("scaled", data, NAMED.replace('os.environ["NAME"]', '"one"'))
    await_that(lambda: _idle_sums(server, "scaled"), "the zeros of a quiet minute")
    scaling = server.client("application-autoscaling")
    named = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/scaled/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    with pytest.raises(ClientError) as caught:
        scaling.delete_scaling_policy(**named, PolicyName="rate")
    assert caught.value.response["Error"]["Code"] == "ObjectNotFoundException"
    scaling.register_scalable_target(**named, MinCapacity=1, MaxCapacity=3)
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    config = {
        "TargetValue": 30.0,
        "PredefinedMetricSpecification": metric,
        "ScaleInCooldown": 60,
        "ScaleOutCooldown": 60,
    }
    told = scaling.put_scaling_policy(
        **named,
        PolicyName="rate",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=config,
    )
    assert len(told["Alarms"]) == 2
    sagemaker = server.client("sagemaker")

    def instances() -> int:
        found = sagemaker.describe_endpoint(EndpointName="scaled")["ProductionVariants"][0]
        return int(found["CurrentInstanceCount"])

    with Load(server, "scaled", '{"sleep": 0.02}', threads=4) as load:
        await_that(lambda: instances() == 3 or None, "three instances")
        await_that(
            lambda: len({item["token"] for item in load.answers[-60:]}) >= 3 or None,
            "answers of all three",
        )
        assert load.failures == []
    newest = _newest(scaling, named)
    assert newest["StatusCode"] == "Successful"
    assert "AlarmHigh" in newest["Cause"] and "triggered policy rate" in newest["Cause"]
    low = next(item["AlarmName"] for item in told["Alarms"] if "AlarmLow" in item["AlarmName"])
    watch = server.client("cloudwatch")
    assert watch.describe_alarms(AlarmNames=[low])["MetricAlarms"][0]["EvaluationPeriods"] == 15
    scaling.delete_scaling_policy(**named, PolicyName="rate")
    await_that(lambda: not watch.describe_alarms(AlarmNames=[low])["MetricAlarms"] or None, "end")
    # In again by steps and an alarm that is set by hand: fifteen quiet minutes are long even here.
    step = {"MetricIntervalUpperBound": 0, "ScalingAdjustment": -2}
    steps = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [step], "Cooldown": 0}
    policy = scaling.put_scaling_policy(
        **named, PolicyName="in", PolicyType="StepScaling", StepScalingPolicyConfiguration=steps
    )
    watch.put_metric_alarm(**IDLE, AlarmActions=[policy["PolicyARN"]])
    with Load(server, "scaled", '{"sleep": 0.02}', threads=2) as load:
        watch.set_alarm_state(
            AlarmName="scaled-idle",
            StateValue="ALARM",
            StateReason="a test",
            StateReasonData='{"recentDatapoints": [1.0]}',
        )
        await_that(lambda: instances() == 1 or None, "one instance")
        load.more(50)
        assert load.failures == []
    assert _newest(scaling, named)["Description"] == "Setting desired instance count to 1."
    history = watch.describe_alarm_history(AlarmName="scaled-idle", HistoryItemType="Action")
    assert "Successfully executed action" in history["AlarmHistoryItems"][-1]["HistorySummary"]
    _scheduled(scaling, named)
    sagemaker.delete_endpoint(EndpointName="scaled")

    def gone() -> bool | None:
        found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")
        return not found["ScalableTargets"] or None

    await_that(gone, "the end of the target")
    watch.delete_alarms(AlarmNames=["scaled-idle"])


def _idle_sums(server: Server, endpoint: str) -> list[float] | None:
    """What is told of the minutes in which nobody asked; None: nothing is yet."""
    found = server.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName="Invocations", Period=60, Statistics=["Sum"],
        Dimensions=[
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=0, EndTime=4e9,
    )  # fmt: skip
    sums = [point["Sum"] for point in found["Datapoints"]]
    assert set(sums) <= {0.0}
    return sums or None


IDLE: dict[str, Any] = {
    "AlarmName": "scaled-idle",
    "Namespace": "Own",
    "MetricName": "depth",
    "Statistic": "Maximum",
    "Period": 10,
    "EvaluationPeriods": 1,
    "Threshold": 5.0,
    "ComparisonOperator": "LessThanThreshold",
}


def _scheduled(scaling: Any, named: dict[str, str]) -> None:
    """A scheduled action raises the minimum, and the instances with it."""
    scaling.put_scheduled_action(
        **named,
        ScheduledActionName="soon",
        Schedule="rate(1 minute)",
        Timezone="Europe/Berlin",
        ScalableTargetAction={"MinCapacity": 2},
    )

    def raised() -> bool | None:
        found = scaling.describe_scalable_targets(**_of(named))["ScalableTargets"][0]
        return (found["MinCapacity"], found["MaxCapacity"]) == (2, 3) or None

    await_that(raised, "a higher minimum")
    assert _newest(scaling, named)["Description"] == "Setting desired instance count to 2."
    (action,) = scaling.describe_scheduled_actions(**named)["ScheduledActions"]
    assert action["Timezone"] == "Europe/Berlin"
    scaling.delete_scheduled_action(**named, ScheduledActionName="soon")
    with pytest.raises(ClientError) as caught:
        scaling.describe_scheduled_actions(**named, NextToken="other")
    assert caught.value.response["Error"]["Code"] == "InvalidNextTokenException"


def _of(named: dict[str, str]) -> dict[str, Any]:
    return {"ServiceNamespace": "sagemaker", "ResourceIds": [named["ResourceId"]]}


def _newest(scaling: Any, named: dict[str, str]) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        """The newest change of the capacity, once it is over."""
        found = scaling.describe_scaling_activities(**named)["ScalingActivities"]
        counts = [item for item in found if "instance count" in item["Description"]]
        return dict(counts[0]) if counts and counts[0]["StatusCode"] == "Successful" else None

    return await_that(done, "a successful activity")
