"""Canaries that are taken back by an error rate and by a percentile, with real models."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.real.load import Load
from tests.server import ROLE, SKLEARN, Server, await_that, packed, variant

pytestmark = pytest.mark.real

# The first model is well. Of the second half of the answers fail; of the third one in ten is slow,
# which its average does not tell.
SERVE = """\
import itertools, json, os, time

COUNT = itertools.count()


def model_fn(model_dir):
    return os.environ["NAME"]


def predict_fn(body, name):
    number = next(COUNT)
    if name == "failing" and number % 2:
        raise ValueError("as was asked for")
    if name == "slow" and number % 10 == 0:
        time.sleep(0.3)
    return {"by": name}


def input_fn(body, content_type):
    return body


def output_fn(answer, accept):
    return json.dumps(answer), "application/json"
"""
ENDPOINT = "watched-canary"


def dimensions(config: str) -> list[dict[str, str]]:
    told = {"EndpointName": ENDPOINT, "VariantName": "A", "EndpointConfigName": config}
    return [{"Name": name, "Value": value} for name, value in told.items()]


def metric(name: str, config: str, statistic: str) -> dict[str, Any]:
    named = {"Namespace": "AWS/SageMaker", "MetricName": name, "Dimensions": dimensions(config)}
    return {"Metric": named, "Period": 10, "Stat": statistic}


def rate_of_errors(config: str) -> list[dict[str, Any]]:
    return [
        {"Id": "rate", "Expression": "100 * errors / calls", "Label": "rate", "ReturnData": True},
        {
            "Id": "errors",
            "MetricStat": metric("Invocation5XXErrors", config, "Sum"),
            "ReturnData": False,
        },
        {"Id": "calls", "MetricStat": metric("Invocations", config, "Sum"), "ReturnData": False},
    ]


@pytest.fixture
def guarded(quick: Server) -> Server:
    """An endpoint, and the alarms on the two configurations that it is to be updated to."""
    sagemaker, watch = quick.client("sagemaker"), quick.client("cloudwatch")
    data = quick.put("watched/model.tar.gz", packed({"note.txt": "x"}))
    source = quick.put_source("watched", {"serve.py": SERVE})
    for name in ("well", "failing", "slow"):
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
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="well")
    shared = {
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    watch.put_metric_alarm(
        AlarmName="rate-of-errors", Threshold=20.0, Metrics=rate_of_errors("failing"), **shared
    )
    watch.put_metric_alarm(
        AlarmName="slowest", Threshold=200_000.0, Namespace="AWS/SageMaker", Period=10,
        MetricName="ModelLatency", Dimensions=dimensions("slow"), ExtendedStatistic="p99",
        EvaluateLowSampleCountPercentile="evaluate", **shared,
    )  # fmt: skip
    assert quick.endpoint(ENDPOINT)["EndpointStatus"] == "InService"
    return quick


def test_canaries_are_taken_back_by_a_rate_and_by_a_percentile(guarded: Server) -> None:
    server, watch = guarded, guarded.client("cloudwatch")
    sagemaker = server.client("sagemaker")
    routing = {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 600,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 30},
    }

    def back() -> dict[str, Any] | None:
        found = dict(sagemaker.describe_endpoint(EndpointName=ENDPOINT))
        return found if found["EndpointStatus"] == "InService" else None

    for config, alarm in (("failing", "rate-of-errors"), ("slow", "slowest")):
        deployment = {
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
        }
        with Load(server, ENDPOINT, "{}", threads=4):
            sagemaker.update_endpoint(
                EndpointName=ENDPOINT, EndpointConfigName=config, DeploymentConfig=deployment
            )
            found = await_that(back, f"the rollback from {config}")
        assert found["EndpointConfigName"] == "well"
        assert found["FailureReason"] == f"One or more alarms are in ALARM: {alarm}."
        history = watch.describe_alarm_history(
            AlarmName=alarm, HistoryItemType="StateUpdate", ScanBy="TimestampDescending"
        )["AlarmHistoryItems"]
        told = [json.loads(item["HistoryData"])["newState"] for item in history]
        reason = next(item for item in told if item["stateValue"] == "ALARM")["stateReason"]
        assert "greater than the threshold" in reason
    alarms = watch.describe_alarms(AlarmNames=["rate-of-errors", "slowest"])["MetricAlarms"]
    assert alarms[0]["Metrics"] == rate_of_errors("failing")
    assert (alarms[1]["ExtendedStatistic"], alarms[1]["MetricName"]) == ("p99", "ModelLatency")
    for_metric = watch.describe_alarms_for_metric(
        Namespace="AWS/SageMaker", MetricName="ModelLatency", Dimensions=dimensions("slow"),
        ExtendedStatistic="p99",
    )["MetricAlarms"]  # fmt: skip
    assert [item["AlarmName"] for item in for_metric] == ["slowest"]
    numbers_of(watch)
    sagemaker.delete_endpoint(EndpointName=ENDPOINT)
    watch.delete_alarms(AlarmNames=["rate-of-errors", "slowest"])


def numbers_of(watch: Any) -> None:
    """What the alarms saw, through GetMetricData and GetMetricStatistics."""
    # Minutes are short on this server, and its clock is ahead of the real one.
    span = {
        "StartTime": datetime.now(UTC) - timedelta(days=1),
        "EndTime": datetime.now(UTC) + timedelta(days=2),
    }
    tail = {
        "Id": "tail",
        "MetricStat": {**metric("ModelLatency", "slow", "p99"), "Period": 86_400},
    }
    middle = {
        "Id": "middle",
        "MetricStat": {**metric("ModelLatency", "slow", "p50"), "Period": 86_400},
    }
    ratio = {"Id": "ratio", "Expression": "tail / middle", "Label": "${LAST} times"}
    found = watch.get_metric_data(
        MetricDataQueries=[*rate_of_errors("failing"), tail, middle, ratio], **span
    )["MetricDataResults"]
    rate, tails, middles, ratios = found
    assert max(rate["Values"]) > 20
    assert tails["Values"][0] > 290_000 > 100_000 > middles["Values"][0]
    assert ratios["Values"] == [pytest.approx(tails["Values"][0] / middles["Values"][0])]
    assert ratios["Label"].endswith(" times")
    stat = watch.get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName="OverheadLatency", Dimensions=dimensions("slow"),
        Period=86_400, ExtendedStatistics=["p50", "tm99", "TC(:1000000)"], **span,
    )["Datapoints"]  # fmt: skip
    values = stat[0]["ExtendedStatistics"]
    assert 0 < values["p50"] < 100_000
    assert values["TC(:1000000)"] >= 10
