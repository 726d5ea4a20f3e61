"""A challenger takes over an endpoint safely: A/B test, then a canary that an alarm may take back.

Two classifiers of handwritten digits share an endpoint. Requests carry an inference id, and which
digit it really was is told afterwards, as it happens in practice. Once the test is sure that the
challenger is better, a canary deployment gives it all the traffic. Run it beside a server:

    loopwright serve --home ~/loop &
    eval "$(loopwright env --home ~/loop)"
    python examples/production.py
"""

import io
import json
import tarfile
import time

import boto3
import joblib
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

NAME = "digits-production"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
SERVE = """\
import os
import joblib

def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))
"""

sagemaker = boto3.client("sagemaker")
runtime = boto3.client("sagemaker-runtime")
cloudwatch = boto3.client("cloudwatch")
s3 = boto3.client("s3")
own = boto3.client("loopwright")
account = boto3.client("sts").get_caller_identity()["Account"]
bucket = f"sagemaker-{boto3.Session().region_name}-{account}"


def main() -> None:
    rows, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(rows, labels, random_state=0)
    models = {
        "champion": DecisionTreeClassifier(max_depth=4, random_state=0),
        "challenger": LogisticRegression(C=0.01, max_iter=500),
    }
    if bucket not in {item["Name"] for item in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=bucket)
    for name, model in models.items():
        create_model(name, model.fit(train, train_labels))
    try:
        deploy(both={"champion": 3.0, "challenger": 1.0})
        compare(test, test_labels)
        take_over("challenger")
        answer, variant = ask(test[0], "the-last-one")
        print(f"{variant} says {answer}, it is {test_labels[0]}")
    finally:
        clean_up(list(models))


def create_model(name: str, model: ClassifierMixin) -> None:
    """Pack the fitted model with its script, as SageMaker's scikit-learn image wants it."""
    packed, dumped = io.BytesIO(), io.BytesIO()
    joblib.dump(model, dumped)
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, content in {
            "model.joblib": dumped.getvalue(),
            "code/serve.py": SERVE.encode(),
        }.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    key = f"{NAME}/{name}/model.tar.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=packed.getvalue())
    sagemaker.create_model(
        ModelName=f"{NAME}-{name}",
        ExecutionRoleArn=f"arn:aws:iam::{account}:role/loopwright",
        PrimaryContainer={
            "Image": IMAGE,
            "ModelDataUrl": f"s3://{bucket}/{key}",
            "Environment": {"SAGEMAKER_PROGRAM": "serve.py"},
        },
    )


def create_config(name: str, weights: dict[str, float]) -> None:
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": variant,
                "ModelName": f"{NAME}-{variant}",
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "InitialVariantWeight": weight,
            }
            for variant, weight in weights.items()
        ],
    )


def deploy(both: dict[str, float]) -> None:
    create_config(f"{NAME}-both", both)
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=f"{NAME}-both")
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    print(f"endpoint {NAME} serves {both}")


def ask(row: object, inference_id: str) -> tuple[int, str]:
    """The digit, and which variant said so."""
    answer = runtime.invoke_endpoint(
        EndpointName=NAME,
        Body=json.dumps([list(row)]),
        ContentType="application/json",
        InferenceId=inference_id,
    )
    return json.loads(answer["Body"].read())[0], answer["InvokedProductionVariant"]


def compare(rows: object, labels: object) -> None:
    """Send requests and their outcomes until the challenger is better beyond doubt."""
    own.create_online_experiment(
        OnlineExperimentName=NAME,
        EndpointName=NAME,
        ControlVariantName="champion",
        TreatmentVariantNames=["challenger"],
        Alpha=0.01,
    )
    for sent in range(1, 2001):
        number = sent % len(rows)
        said, _ = ask(rows[number], f"request-{sent}")
        right = float(said == labels[number])
        outcome = {"InferenceId": f"request-{sent}", "Value": right}
        own.record_outcome(EndpointName=NAME, Outcomes=[outcome])
        if sent % 50:
            continue
        # Looking early and often does no harm: the test holds whenever one stops.
        found = own.describe_online_experiment(OnlineExperimentName=NAME)["Variants"]
        control, treatment = found
        if "Mean" in control and "Mean" in treatment:
            print(
                f"after {sent}: champion {control['Mean']:.3f}, challenger "
                f"{treatment['Mean']:.3f}, p {treatment.get('PValue', 1.0):.2g}"
            )
        if treatment.get("Significant"):
            break
    own.stop_online_experiment(OnlineExperimentName=NAME)


def take_over(variant: str) -> None:
    """A tenth of the traffic first, then all of it; errors would take it back by themselves."""
    create_config(f"{NAME}-next", {variant: 1.0})
    cloudwatch.put_metric_alarm(
        AlarmName=NAME,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[
            {"Name": "EndpointName", "Value": NAME},
            {"Name": "VariantName", "Value": variant},
        ],
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )
    canary = {
        "Type": "CANARY",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
        "WaitIntervalInSeconds": 10,
    }
    sagemaker.update_endpoint(
        EndpointName=NAME,
        EndpointConfigName=f"{NAME}-next",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": canary},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": NAME}]},
        },
    )
    shown = ""
    while True:
        found = sagemaker.describe_endpoint(EndpointName=NAME)
        shares = {
            item["VariantName"]: item.get("CurrentWeight")
            for item in found.get("PendingDeploymentSummary", found)["ProductionVariants"]
        }
        if (line := f"{found['EndpointStatus']}: {shares}") != shown:
            shown = line
            print(line)
        if found["EndpointStatus"] != "Updating":
            break
        time.sleep(0.5)
    if found["EndpointConfigName"] != f"{NAME}-next":
        raise SystemExit(f"taken back: {found.get('FailureReason')}")


def clean_up(variants: list[str]) -> None:
    """Whatever is there."""
    for item in own.list_online_experiments()["OnlineExperiments"]:
        if item["OnlineExperimentName"] == NAME:
            own.stop_online_experiment(OnlineExperimentName=NAME)
            own.delete_online_experiment(OnlineExperimentName=NAME)
    names = {item["EndpointName"] for item in sagemaker.list_endpoints()["Endpoints"]}
    if NAME in names:
        sagemaker.delete_endpoint(EndpointName=NAME)
        sagemaker.get_waiter("endpoint_deleted").wait(
            EndpointName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    if cloudwatch.describe_alarms(AlarmNames=[NAME])["MetricAlarms"]:
        cloudwatch.delete_alarms(AlarmNames=[NAME])
    for config in sagemaker.list_endpoint_configs(NameContains=NAME)["EndpointConfigs"]:
        sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
    for name in variants:
        sagemaker.delete_model(ModelName=f"{NAME}-{name}")


if __name__ == "__main__":
    main()
