"""Fields that would change the outcome and are not served are refused by name."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server import ROLE, SKLEARN, Server
from tests.wire.samples import sample

pytestmark = pytest.mark.real


def _model(container: dict[str, Any], **more: Any) -> Callable[[Server], Any]:
    def create(server: Server) -> Any:
        return server.client("sagemaker").create_model(
            ModelName="refused", ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": SKLEARN, **container}, **more,
        )  # fmt: skip

    return create


def _source(**more: Any) -> dict[str, Any]:
    found = {"S3Uri": "s3://b/k", "S3DataType": "S3Object", "CompressionType": "Gzip", **more}
    return {"ModelDataSource": {"S3DataSource": found}}


METRIC = {
    "AlarmName": "refused", "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60,
    "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "LessThanThreshold",
}  # fmt: skip
PERMISSION = {
    "FunctionName": "refused", "StatementId": "s", "Action": "lambda:InvokeFunction",
    "Principal": "events.amazonaws.com",
}  # fmt: skip
CASES: dict[str, Callable[[Server], Any]] = {
    "MultiModelConfig": _model({"MultiModelConfig": {"ModelCacheSetting": "Enabled"}}),
    "ContainerMetricsConfig": _model(
        {"ContainerMetricsConfig": {"MetricsEndpoints": [{"MetricsEndpointPath": "/metrics"}]}}
    ),
    "InferenceExecutionConfig.Mode": _model({}, InferenceExecutionConfig={"Mode": "Direct"}),
    "ManifestS3Uri": _model(_source(ManifestS3Uri="s3://b/m")),
    "HubAccessConfig": _model(
        _source(
            HubAccessConfig={
                "HubContentArn": "arn:aws:sagemaker:us-east-1:aws:hub-content/h/Model/m/1.0.0"
            }
        )
    ),
    "PredictiveScalingPolicyConfiguration": lambda server: server.client(
        "application-autoscaling"
    ).put_scaling_policy(
        PolicyName="p", ServiceNamespace="sagemaker", ResourceId="endpoint/e/variant/v",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        PredictiveScalingPolicyConfiguration={
            "MetricSpecifications": [{"TargetValue": 1.0}]
        },
    ),
    "EventSourceToken": lambda server: _function(server).add_permission(
        **PERMISSION, EventSourceToken="t"
    ),
    "TenantId": lambda server: _function(server).invoke(FunctionName="refused", TenantId="t"),
}  # fmt: skip


def _function(server: Server) -> Any:
    """A client; the function is there."""
    found = server.client("lambda")
    content = b"PK\x05\x06" + b"\0" * 18
    try:
        found.create_function(
            FunctionName="refused", Runtime="python3.12", Role=ROLE, Handler="f.g",
            Code={"ZipFile": content},
        )  # fmt: skip
    except found.exceptions.ResourceConflictException:
        return found
    return found


@pytest.mark.parametrize("field", CASES)
def test_a_field_that_is_not_served_is_refused_by_name(server: Server, field: str) -> None:
    with pytest.raises(ClientError, match=field.replace(".", r"\.")) as caught:
        CASES[field](server)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_an_alarm_with_configured_actions_is_refused(server: Server) -> None:
    watch = server.client("cloudwatch")
    shape = watch.meta.service_model.operation_model("PutMetricAlarm").input_shape
    given = sample(shape.members["ActionConfiguration"])
    with pytest.raises(ClientError, match="ActionConfiguration"):
        watch.put_metric_alarm(**METRIC, ActionConfiguration=given)
    with pytest.raises(ClientError, match="ActionConfiguration"):
        watch.put_composite_alarm(
            AlarmName="refused-both", AlarmRule="TRUE", ActionConfiguration=given
        )


def test_a_permission_of_an_account_is_a_condition(server: Server) -> None:
    client = _function(server)
    told = client.add_permission(**PERMISSION, SourceAccount="123456789012")
    assert '"AWS:SourceAccount":"123456789012"' in told["Statement"]
