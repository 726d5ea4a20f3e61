"""demo: the main job on real data, through the same API that every client uses."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

from loopwright.commands.arguments import Arguments, CommandError
from loopwright.commands.output import client, say
from loopwright.running import NotRunning, server_state

IMAGE: Final = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
SCRIPT: Final = '''\
"""Recognise handwritten digits: real scans of the UCI collection that scikit-learn ships."""

import argparse
import os

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--inverse-regularization", type=float, default=1.0)
parser.add_argument("--max-iter", type=int, default=200)


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))


if __name__ == "__main__":
    arguments = parser.parse_args()
    train = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), delimiter=",")
    test = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TEST"], "test.csv"), delimiter=",")
    model = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=arguments.inverse_regularization, max_iter=arguments.max_iter),
    )
    model.fit(train[:, 1:], train[:, 0])
    print(f"test accuracy: {model.score(test[:, 1:], test[:, 0]):.4f}")
    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
'''
WAIT_S: Final = 120.0


def demo(arguments: Arguments) -> int:
    """Start a server if none runs, train, deploy, predict, print the URL and the score."""
    home = arguments.home
    server = _server(home)
    try:
        score = _run(home)
    finally:
        if server is not None and not arguments.keep:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    return 0 if score >= 0.9 else 1


def _server(home: Path) -> "subprocess.Popen[bytes] | None":
    with contextlib.suppress(NotRunning):
        state = server_state(home)
        with contextlib.suppress(OSError):
            os.kill(state["pid"], 0)
            say(f"Using the server at {state['url']}")
            return None
    home.mkdir(parents=True, exist_ok=True)
    (home / "run" / "control.json").unlink(missing_ok=True)
    say("Starting Loopwright …")
    with (home / "serve.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "loopwright.cli", "serve", "--home", str(home), "--port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )

    def ready() -> bool | None:
        if server.poll() is not None:
            raise CommandError(f"The server did not start; see {home / 'serve.log'}.")
        return (home / "run" / "control.json").exists() or None

    _await("the server", ready)
    say(f"Loopwright is ready at {server_state(home)['url']}")
    return server


def _await(what: str, condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = condition()
        if found is not None:
            return found
        time.sleep(0.1)
    raise CommandError(f"{what} took more than {WAIT_S:g} s.")


def _run(home: Path) -> float:
    """Upload, train, deploy, predict; the endpoint's accuracy on data it has not seen."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    bucket, job = "loopwright-demo", f"digits-{stamp}"
    test = _upload(home, bucket)
    sagemaker = client(home, "sagemaker")
    role = "arn:aws:iam::123456789012:role/LoopwrightRole"
    say(f"Training {job} on 1,347 scanned digits …")
    sagemaker.create_training_job(
        TrainingJobName=job,
        AlgorithmSpecification={
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "accuracy", "Regex": "test accuracy: ([0-9.]+)"}],
        },
        RoleArn=role,
        HyperParameters={
            "sagemaker_program": "digits.py",
            "sagemaker_submit_directory": f"s3://{bucket}/code/sourcedir.tar.gz",
            "inverse-regularization": "0.1",
        },
        InputDataConfig=[
            {
                "ChannelName": name,
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{name}/"}
                },
            }
            for name in ("train", "test")
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/jobs"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )

    def trained() -> dict[str, Any] | None:
        found = dict(sagemaker.describe_training_job(TrainingJobName=job))
        return found if found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    found = _await("the training job", trained)
    if found["TrainingJobStatus"] != "Completed":
        raise CommandError(f"The training job failed: {found.get('FailureReason')}")
    accuracy = found["FinalMetricDataList"][0]["Value"]
    say(f"Trained in {found['TrainingTimeInSeconds']} s; the script measured {accuracy:.4f}")
    return _deploy(home, sagemaker, job, found["ModelArtifacts"]["S3ModelArtifacts"], role, test)


def _upload(home: Path, bucket: str) -> Any:
    """Put code and data into S3; the rows for the test."""
    # Lazy seam: only this command needs the data sets of scikit-learn.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    digits = load_digits()
    rows = [
        [int(label), *map(int, pixels)]
        for label, pixels in zip(digits.target, digits.data, strict=True)
    ]
    test, train = rows[::4], [row for number, row in enumerate(rows) if number % 4]
    s3 = client(home, "s3")
    s3.create_bucket(Bucket=bucket)
    for name, part in (("train", train), ("test", test)):
        text = "\n".join(",".join(map(str, row)) for row in part)
        s3.put_object(Bucket=bucket, Key=f"{name}/{name}.csv", Body=text.encode())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("digits.py")
        entry.size = len(SCRIPT.encode())
        archive.addfile(entry, io.BytesIO(SCRIPT.encode()))
    s3.put_object(Bucket=bucket, Key="code/sourcedir.tar.gz", Body=packed.getvalue())
    return test


def _deploy(home: Path, sagemaker: Any, job: str, model: str, role: str, test: Any) -> float:
    environment = {
        "SAGEMAKER_PROGRAM": "digits.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "s3://loopwright-demo/code/sourcedir.tar.gz",
    }
    sagemaker.create_model(
        ModelName=job,
        ExecutionRoleArn=role,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": model, "Environment": environment},
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName=job,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": job,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=job, EndpointConfigName=job)

    def serving() -> dict[str, Any] | None:
        found = dict(sagemaker.describe_endpoint(EndpointName=job))
        return found if found["EndpointStatus"] in ("InService", "Failed") else None

    found = _await("the endpoint", serving)
    if found["EndpointStatus"] != "InService":
        raise CommandError(f"The endpoint failed: {found.get('FailureReason')}")
    say(f"Endpoint {job} is in service; asking it for {len(test)} digits it has not seen …")
    runtime = client(home, "sagemaker-runtime")
    answer = runtime.invoke_endpoint(
        EndpointName=job,
        ContentType="application/json",
        Accept="application/json",
        Body=orjson.dumps([row[1:] for row in test]),
    )
    predicted = orjson.loads(answer["Body"].read())
    right = sum(int(p) == row[0] for p, row in zip(predicted, test, strict=True))
    score = float(right / len(test))
    say(f"URL: {server_state(home)['url']}   score: {score:.4f} ({right} of {len(test)} right)")
    sagemaker.delete_endpoint(EndpointName=job)
    sagemaker.delete_endpoint_config(EndpointConfigName=job)
    sagemaker.delete_model(ModelName=job)
    return score
