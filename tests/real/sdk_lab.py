"""The course's second lab as its notebook calls it: A/B test, traffic shifting, autoscaling.

Run in a process of its own; knows of Loopwright nothing but its environment. With `--scale` it goes
on asking until the endpoint has scaled out, which takes some minutes of real time, as on AWS. The
last line on standard output is what it saw, as JSON.
"""

import io
import json
import sys
import tarfile
import time
from datetime import datetime, timedelta
from typing import Any

import boto3
import botocore.config
import pandas as pd
import sagemaker
import torch
from sagemaker.deserializers import JSONLinesDeserializer
from sagemaker.predictor import Predictor
from sagemaker.serializers import JSONLinesSerializer
from sagemaker.session import production_variant

SHARED = "dlai-practical-data-science"
ENDPOINT = "ab-endpoint"
INPUTS = [
    {"features": ["I love this product!"]},
    {"features": ["OK, but not great."]},
    {"features": ["This is not the right product."]},
]
INFERENCE = """\
import json
import torch


def model_fn(model_dir):
    model = torch.nn.Linear(1, 3)
    model.load_state_dict(torch.load(f"{model_dir}/model.pth"))
    return model.eval()


def input_fn(body, content_type):
    assert content_type == "application/jsonlines", content_type
    lines = [json.loads(line)["features"][0] for line in body.splitlines() if line]
    return torch.tensor([[float(len(line) % 7)] for line in lines])


def predict_fn(rows, model):
    with torch.no_grad():
        chances = torch.softmax(model(rows), dim=1)
    return [
        {"probability": float(row.max()), "predicted_label": int(row.argmax()) - 1}
        for row in chances
    ]


def output_fn(predictions, accept):
    return "\\n".join(json.dumps(line) for line in predictions), accept
"""
config = botocore.config.Config(user_agent_extra="dsoaws/1.0")
boto3_session = boto3.session.Session()
sm = boto3_session.client("sagemaker", config=config)
cw = boto3_session.client("cloudwatch", config=config)
autoscale = boto3_session.client("application-autoscaling", config=config)
session = sagemaker.Session(sagemaker_client=sm)
role = sagemaker.get_execution_role()
region = boto3_session.region_name


def put_models() -> dict[str, str]:
    """What the course's authors keep in their own bucket."""
    s3 = boto3_session.client("s3")
    s3.create_bucket(Bucket=SHARED)
    found = {}
    for variant in "ab":
        torch.manual_seed(ord(variant))
        weights = io.BytesIO()
        torch.save(torch.nn.Linear(1, 3).state_dict(), weights)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, content in {
                "model.pth": weights.getvalue(),
                "code/inference.py": INFERENCE.encode(),
            }.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        key = f"models/ab/variant_{variant}/model.tar.gz"
        s3.put_object(Bucket=SHARED, Key=key, Body=packed.getvalue())
        found[variant] = f"s3://{SHARED}/{key}"
    return found


def create_model(name: str, uri: str, image: str) -> None:
    names = [item["ModelName"] for item in sm.list_models()["Models"]]
    if name not in names:
        container = {"Mode": "SingleModel", "Image": image, "ModelDataUrl": uri, "Environment": {}}
        sm.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)


def metrics(variant: str, metric: str, namespace: str, since: datetime) -> "pd.DataFrame | None":
    """The points of a variant as the notebook plots them; None while there are none."""
    found = cw.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        StartTime=since,
        EndTime=datetime.now() + timedelta(minutes=60),  # as the notebook does
        Period=60,
        Statistics=["Sum"],
        Dimensions=[
            {"Name": "EndpointName", "Value": ENDPOINT},
            {"Name": "VariantName", "Value": variant},
        ],
    )
    if not found["Datapoints"]:
        return None
    return (
        pd.DataFrame(found["Datapoints"])
        .sort_values("Timestamp")
        .set_index("Timestamp")
        .drop("Unit", axis=1)
        .rename(columns={"Sum": variant})
    )


def awaited(variant: str, metric: str, namespace: str, since: datetime, least: float) -> float:
    """The sum of a metric once it has reached `least`."""
    total = -1.0
    for _ in range(120):
        frame = metrics(variant, metric, namespace, since)
        total = -1.0 if frame is None else float(frame[variant].sum())
        if total >= least:
            return total
        time.sleep(1)
    raise SystemExit(f"{metric} of {variant} is {total}")


def counted(names: tuple[str, ...], since: datetime, whole: int) -> list[float]:
    """The invocations of each variant once all of them are counted."""
    found: list[float] = []
    for _ in range(120):
        found = [awaited(name, "Invocations", "AWS/SageMaker", since, 1) for name in names]
        if sum(found) >= whole:
            return found
        time.sleep(0.5)
    raise SystemExit(f"of {whole} invocations {found} are counted")


def deploy() -> Predictor:
    image = sagemaker.image_uris.retrieve(
        framework="pytorch", version="1.6.0", instance_type="ml.m5.xlarge", region=region,
        py_version="py3", image_scope="inference",
    )  # fmt: skip
    uris = put_models()
    for variant, uri in uris.items():
        create_model(f"{variant}-model", uri, image)
    variants = [
        production_variant(
            model_name=f"{letter.lower()}-model", instance_type="ml.m5.large",
            initial_instance_count=1, variant_name=f"Variant{letter}", initial_weight=50,
        )
        for letter in "AB"
    ]  # fmt: skip
    if not sm.list_endpoint_configs(NameContains=ENDPOINT)["EndpointConfigs"]:
        sm.create_endpoint_config(EndpointConfigName=ENDPOINT, ProductionVariants=variants)
    if not sm.list_endpoints(NameContains=ENDPOINT)["Endpoints"]:
        sm.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=ENDPOINT)
    in_service()
    return Predictor(
        endpoint_name=ENDPOINT,
        serializer=JSONLinesSerializer(),
        deserializer=JSONLinesDeserializer(),
        sagemaker_session=session,
    )


def in_service() -> None:
    waiter = sm.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName=ENDPOINT, WaiterConfig={"Delay": 1, "MaxAttempts": 200})


def shift(weights: dict[str, int]) -> dict[str, float]:
    """Move the traffic; the weights as they are then described."""
    sm.update_endpoint_weights_and_capacities(
        EndpointName=ENDPOINT,
        DesiredWeightsAndCapacities=[
            {"VariantName": name, "DesiredWeight": weight} for name, weight in weights.items()
        ],
    )
    in_service()
    found = sm.describe_endpoint(EndpointName=ENDPOINT)["ProductionVariants"]
    return {item["VariantName"]: item["CurrentWeight"] for item in found}


def scaled() -> dict[str, Any]:
    """The scalable target and its policy; what is described of them."""
    named = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{ENDPOINT}/variant/VariantB",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    suspended = {
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": False,
    }
    autoscale.register_scalable_target(
        **named, MinCapacity=1, MaxCapacity=2, RoleARN=role, SuspendedState=suspended
    )
    in_service()
    targets = autoscale.describe_scalable_targets(ServiceNamespace="sagemaker", MaxResults=100)
    policy = autoscale.put_scaling_policy(
        **named,
        PolicyName="bert-reviews-autoscale-policy",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 2.0,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
            "ScaleOutCooldown": 60,
            "ScaleInCooldown": 300,
        },
    )
    in_service()
    target = targets["ScalableTargets"][0]
    return {
        "target": [target["MinCapacity"], target["MaxCapacity"], target["SuspendedState"]],
        "alarms": len(policy["Alarms"]),
    }


def wait_for_two(predictor: Predictor) -> list[str]:
    """Ask until there are two instances; the causes that the activities tell."""
    count = 1
    for _ in range(90):
        for _ in range(10):
            predictor.predict(INPUTS)
        time.sleep(4)
        found = sm.describe_endpoint(EndpointName=ENDPOINT)["ProductionVariants"]
        (count,) = (i["CurrentInstanceCount"] for i in found if i["VariantName"] == "VariantB")
        if count == 2:
            break
    in_service()
    activities = autoscale.describe_scaling_activities(ServiceNamespace="sagemaker")
    return [str(count), *(item["Cause"] for item in activities["ScalingActivities"])]


def main() -> None:
    began = datetime.now() - timedelta(minutes=60)  # naive, as in the notebook
    predictor = deploy()
    for _ in range(100):
        predicted = predictor.predict(INPUTS)
    seen: dict[str, Any] = {"predicted": predicted}
    names = ("VariantA", "VariantB")
    invoked = counted(names, began, 100)
    seen["invocations"] = invoked
    seen["latency"] = awaited("VariantA", "ModelLatency", "AWS/SageMaker", began, 1)
    seen["each"] = awaited("VariantA", "InvocationsPerInstance", "AWS/SageMaker", began, invoked[0])
    seen["cpu"] = awaited("VariantA", "CPUUtilization", "/aws/sagemaker/Endpoints", began, 0)
    seen["weights"] = shift({"VariantA": 0, "VariantB": 100})
    for _ in range(100):
        predictor.predict(INPUTS)
    seen["after"] = counted(names, began, 200)
    seen["scaling"] = scaled()
    if "--scale" in sys.argv:
        seen["scaled"] = wait_for_two(predictor)
    predictor.delete_endpoint(delete_endpoint_config=True)
    waiter = sm.get_waiter("endpoint_deleted")
    waiter.wait(EndpointName=ENDPOINT, WaiterConfig={"Delay": 1, "MaxAttempts": 100})
    left = sm.list_endpoints(NameContains=ENDPOINT)["Endpoints"]
    seen["left"] = [item["EndpointName"] for item in left]
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
