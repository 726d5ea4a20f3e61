"""Autoscaling through boto3 under load, on a server whose minutes are short."""

import json
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
    # In again by hand: fifteen quiet minutes would be long even here.
    low = next(item["AlarmName"] for item in told["Alarms"] if "AlarmLow" in item["AlarmName"])
    watch = server.client("cloudwatch")
    assert watch.describe_alarms(AlarmNames=[low])["MetricAlarms"][0]["EvaluationPeriods"] == 15
    with Load(server, "scaled", '{"sleep": 0.02}', threads=2) as load:
        scaling.register_scalable_target(**named, MinCapacity=1, MaxCapacity=1)
        await_that(lambda: instances() == 1 or None, "one instance")
        load.more(50)
        assert load.failures == []
    scaling.deregister_scalable_target(**named)
    await_that(lambda: not watch.describe_alarms(AlarmNames=[low])["MetricAlarms"] or None, "end")
    sagemaker.delete_endpoint(EndpointName="scaled")


def _newest(scaling: Any, named: dict[str, str]) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        found = scaling.describe_scaling_activities(**named)["ScalingActivities"]
        assert json.dumps(found, default=str)
        return dict(found[0]) if found and found[0]["StatusCode"] == "Successful" else None

    return await_that(done, "a successful activity")
