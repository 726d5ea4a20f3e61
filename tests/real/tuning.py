"""Tuning requests and scripts of the tests."""

import hashlib
from typing import Any

from tests.server import BUCKET, ROLE, SKLEARN, Server, await_that

QUICK = """\
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.0)
parser.add_argument("--depth", type=int, default=1)
parser.add_argument("--kind", default="a")
arguments, _ = parser.parse_known_args()
loss = (arguments.rate - 0.3) ** 2 + abs(arguments.depth - 4) / 10 + (arguments.kind != "b") / 5
print(f"loss={loss:.6f}")
open("/opt/ml/model/loss.txt", "w").write(str(loss))
"""
"""Its least loss, 0, is at rate = 0.3, depth = 4, kind = b."""

EPOCHS = """\
import argparse, json, os, time

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.0)
parser.add_argument("--epochs", type=int, default=27)
parser.add_argument("--pause", type=float, default=0.02)
parser.add_argument("--forget", default="no")
parser.add_argument("--linger", type=float, default=0.0)
arguments, _ = parser.parse_known_args()
path = "/opt/ml/checkpoints/state.json"
start = 0
if os.path.exists(path) and arguments.forget == "no":
    start = json.load(open(path))["epoch"]
for epoch in range(start + 1, arguments.epochs + 1):
    # However busy the machine is, a trial that is to end early does not come to its end first.
    last = arguments.linger if epoch == arguments.epochs - 1 and arguments.rate > 0.5 else 0.0
    time.sleep(arguments.pause + last)
    loss = (arguments.rate - 0.3) ** 2 + 1 / epoch
    print(f"epoch {epoch}: loss={loss:.6f}", flush=True)
    with open(path + ".part", "w") as stream:
        json.dump({"epoch": epoch}, stream)
    os.rename(path + ".part", path)
open("/opt/ml/model/loss.txt", "w").write(str(loss))
"""

METRICS = [{"Name": "loss", "Regex": "loss=([-+0-9.eanif]+)"}]
RANGES: dict[str, Any] = {
    "ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}],
    "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "9"}],
    "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b", "c"]}],
}
ONE_RANGE: dict[str, Any] = {
    "ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}]
}
FINAL = ("Completed", "Failed", "Stopped")


def definition(server: Server, script: str, **more: Any) -> dict[str, Any]:
    """A training definition of a script."""
    name = hashlib.sha256(script.encode()).hexdigest()[:8]
    static = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": server.put_source(f"tuning-{name}", {"train.py": script}),
        **more.pop("static", {}),
    }
    return {
        "StaticHyperParameters": static,
        "AlgorithmSpecification": {
            "TrainingImage": SKLEARN,
            "TrainingInputMode": "File",
            "MetricDefinitions": METRICS,
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/tuning"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
    }


def config(strategy: str, jobs: int | None, parallel: int = 2, **more: Any) -> dict[str, Any]:
    """A `HyperParameterTuningJobConfig`."""
    limits = {"MaxParallelTrainingJobs": parallel}
    if jobs is not None:
        limits["MaxNumberOfTrainingJobs"] = jobs
    return {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
        "ResourceLimits": limits,
        "ParameterRanges": RANGES,
        "RandomSeed": 7,
        **more,
    }


def tune(server: Server, name: str, made: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Create a tuning job and wait for its end; what Describe says then."""
    create(server, name, made, **more)
    return ended(server, name)


def create(server: Server, name: str, made: dict[str, Any], **more: Any) -> None:
    """Create a tuning job of one definition."""
    more.setdefault("TrainingJobDefinition", definition(server, QUICK))
    server.client("sagemaker").create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, HyperParameterTuningJobConfig=made, **more
    )


def ended(server: Server, name: str, seconds: float = 240.0) -> dict[str, Any]:
    """What Describe says of a tuning job that has ended."""
    client = server.client("sagemaker")

    def over() -> dict[str, Any] | None:
        found = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return found if found["HyperParameterTuningJobStatus"] in FINAL else None

    return await_that(over, f"the end of the tuning job {name}", seconds)


def trials(server: Server, name: str, **more: Any) -> list[dict[str, Any]]:
    """Summaries of all trials, over all pages."""
    client = server.client("sagemaker")
    pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name, **more
    )
    return [trial for page in pages for trial in page["TrainingJobSummaries"]]
