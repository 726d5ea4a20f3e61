"""Alarms through boto3 on a server whose minutes are short, and updates that they take back."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.load import Load
from tests.real.test_production import NAMED
from tests.server import ROLE, SKLEARN, Server, await_that, packed, variant

pytestmark = pytest.mark.real


def alarm(**more: Any) -> dict[str, Any]:
    return {
        "AlarmName": "alarm",
        "Namespace": "Own",
        "MetricName": "depth",
        "Dimensions": [{"Name": "queue", "Value": "q"}],
        "Statistic": "Maximum",
        "Period": 10,
        "EvaluationPeriods": 1,
        "Threshold": 5.0,
        "ComparisonOperator": "GreaterThanThreshold",
        **more,
    }


def state(server: Server, name: str, wanted: str) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        found = server.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return dict(found[0]) if found and found[0]["StateValue"] == wanted else None

    return await_that(reached, f"{name} in {wanted}")


def test_an_alarm_goes_through_its_states(quick: Server) -> None:
    watch = quick.client("cloudwatch")
    watch.put_metric_alarm(**alarm())
    assert state(quick, "alarm", "INSUFFICIENT_DATA")["AlarmArn"].endswith(":alarm:alarm")

    def put(value: float, wanted: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            data = {"MetricName": "depth", "Dimensions": alarm()["Dimensions"], "Value": value}
            watch.put_metric_data(Namespace="Own", MetricData=[data])
            found = watch.describe_alarms(AlarmNames=["alarm"])["MetricAlarms"][0]
            return dict(found) if found["StateValue"] == wanted else None

        return await_that(reached, wanted)

    assert "9.0" in put(9.0, "ALARM")["StateReason"]
    put(1.0, "OK")
    history = watch.describe_alarm_history(
        AlarmName="alarm", HistoryItemType="StateUpdate", ScanBy="TimestampAscending"
    )["AlarmHistoryItems"]
    assert [json.loads(item["HistoryData"])["newState"]["stateValue"] for item in history][:2] == [
        "ALARM",
        "OK",
    ]
    found = watch.describe_alarms_for_metric(
        Namespace="Own", MetricName="depth", Dimensions=alarm()["Dimensions"]
    )
    assert [item["AlarmName"] for item in found["MetricAlarms"]] == ["alarm"]
    alarms = watch.describe_alarms(AlarmNamePrefix="ala", StateValue="ALARM")
    assert alarms["MetricAlarms"] == []
    watch.delete_alarms(AlarmNames=["alarm"])
    assert watch.describe_alarms(AlarmNamePrefix="ala")["MetricAlarms"] == []
    with pytest.raises(ClientError, match="no alarm 'alarm'"):
        watch.set_alarm_state(AlarmName="alarm", StateValue="OK", StateReason="x")


def test_composite_alarms_tags_and_refusals(quick: Server) -> None:
    watch = quick.client("cloudwatch")
    topic = "arn:aws:sns:us-east-1:123456789012:people"
    for name in ("one", "two"):
        watch.put_metric_alarm(**alarm(AlarmName=name, Tags=[{"Key": "team", "Value": name}]))
    watch.put_composite_alarm(
        AlarmName="both", AlarmRule='ALARM(one) AND ALARM("two")', AlarmActions=[topic]
    )
    with pytest.raises(ClientError, match="do not exist"):
        watch.put_composite_alarm(AlarmName="x", AlarmRule="ALARM(three)")

    def alarmed() -> dict[str, Any] | None:
        # They are back within a moment, perhaps before the second is set.
        for name in ("one", "two"):
            watch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="by hand")
        found = watch.describe_alarm_history(
            AlarmName="both", AlarmTypes=["CompositeAlarm"], HistoryItemType="Action"
        )["AlarmHistoryItems"]
        return dict(found[0]) if found else None

    # The history keeps what was, and what was not done.
    assert "has no topics" in await_that(alarmed, "both in ALARM")["HistorySummary"]
    shown = watch.describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert [item["AlarmRule"] for item in shown] == ['ALARM(one) AND ALARM("two")']
    with pytest.raises(ClientError, match="depending on it"):
        watch.delete_alarms(AlarmNames=["one"])
    page = watch.describe_alarms(AlarmNames=["one", "two"], MaxRecords=1)
    rest = watch.describe_alarms(
        AlarmNames=["one", "two"], MaxRecords=1, NextToken=page["NextToken"]
    )
    found = [item["AlarmArn"] for item in (*page["MetricAlarms"], *rest["MetricAlarms"])]
    watch.tag_resource(ResourceARN=found[0], Tags=[{"Key": "more", "Value": "x"}])
    watch.untag_resource(ResourceARN=found[0], TagKeys=["team"])
    tags = watch.list_tags_for_resource(ResourceARN=found[0])["Tags"]
    assert tags == [{"Key": "more", "Value": "x"}]
    watch.delete_alarms(AlarmNames=["both", "one", "two"])
    with pytest.raises(ClientError) as caught:
        watch.describe_alarms(NextToken="none of ours")
    assert caught.value.response["Error"]["Code"] == "InvalidNextToken"
    kinds = watch.describe_alarm_history(AlarmName="one", HistoryItemType="ConfigurationUpdate")
    assert [item["HistorySummary"] for item in kinds["AlarmHistoryItems"]] == [
        'Alarm "one" deleted',
        'Alarm "one" created',
    ]


def test_a_canary_that_fails_is_taken_back_by_its_alarm(quick: Server) -> None:
    server = quick
    sagemaker, watch = server.client("sagemaker"), server.client("cloudwatch")
    data = server.put("named/model.tar.gz", packed({"note.txt": "x"}))
    source = server.put_source("named", {"serve.py": NAMED})
    for name in ("good", "bad"):
        environment = {
            "NAME": name,
            "SAGEMAKER_PROGRAM": "serve.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": source,
        }
        container = {"Image": SKLEARN, "ModelDataUrl": data, "Environment": environment}
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant("A", name)]
        )
    sagemaker.create_endpoint(EndpointName="guarded", EndpointConfigName="good")
    assert server.endpoint("guarded")["EndpointStatus"] == "InService"
    dimensions = {"EndpointName": "guarded", "VariantName": "A", "EndpointConfigName": "bad"}
    watch.put_metric_alarm(
        **alarm(
            AlarmName="errors",
            Namespace="AWS/SageMaker",
            MetricName="Invocation5XXErrors",
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            Statistic="Average",
            Threshold=0.5,
            TreatMissingData="notBreaching",
        )
    )
    routing = {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 600,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 20},
    }
    deployment = {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
    }
    with Load(server, "guarded", '{"fail": "bad", "sleep": 0.005}', threads=4) as load:
        sagemaker.update_endpoint(
            EndpointName="guarded", EndpointConfigName="bad", DeploymentConfig=deployment
        )
        await_that(lambda: len(load.failures) > 3 or None, "errors of the canary")

        def back() -> dict[str, Any] | None:
            found = dict(sagemaker.describe_endpoint(EndpointName="guarded"))
            return found if found["EndpointStatus"] == "InService" else None

        found = await_that(back, "the rollback")
        assert found["EndpointConfigName"] == "good"
        assert "errors" in found["FailureReason"]
        load.more(20)
        failed = len(load.failures)
        load.more(200)
        assert len(load.failures) == failed
    assert all("as was asked for" in str(error) for error in load.failures)
    sagemaker.delete_endpoint(EndpointName="guarded")
