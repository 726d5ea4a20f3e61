"""A real `loopwright serve`, and the clients and requests that tests use with it."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from loopwright.wire.services import OWN_MODELS

T = TypeVar("T")
ACCOUNT = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
SKLEARN = f"{ACCOUNT}/sagemaker-scikit-learn:1.2-1-cpu-py3"
XGBOOST = f"{ACCOUNT}/sagemaker-xgboost:1.7-1"
PYTORCH = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.0-cpu-py310"
ROLE = "arn:aws:iam::123456789012:role/TestRole"
BUCKET = "test-bucket"


def await_that(condition: Callable[[], T | None], what: str, seconds: float = 90.0) -> T:
    """What `condition` returns once it is no None.

    Raises:
        TimeoutError: naming what was awaited.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found is not None:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{what} did not come within {seconds:g} s")


class Server:
    """One home with its server."""

    def __init__(
        self, home: Path, cpus: float = 0, options: tuple[str, ...] = (), engine: str = "none"
    ) -> None:
        self.home = home
        self.port = 0
        # Without containers unless they are tested: each home would start an engine of its own.
        self._options = ("--cpus", str(cpus), "--engine", engine, *options)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "run" / "control.json").unlink(missing_ok=True)
        with (self.home / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "loopwright.cli",
                    "serve",
                    "--home",
                    str(self.home),
                    "--port",
                    str(self.port),
                    *self._options,
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        process = self.process

        def ready() -> dict[str, Any] | None:
            assert process.poll() is None, (self.home / "serve.log").read_text()[-3000:]
            with contextlib.suppress(FileNotFoundError):
                return dict(json.loads((self.home / "run" / "control.json").read_text()))
            return None

        state = await_that(ready, "the server")
        self.url = state["url"]
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL the control plane; its gateway and units live on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """End the server, the gateway and every unit."""
        self.cli("stop")
        if self.process is not None:
            self.process.wait(60)

    def cli(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command on this home; a command of two words is given as one argument."""
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "loopwright.cli",
                *arguments[0].split(),
                "--home",
                str(self.home),
                *list(arguments[1:]),
            ],
            capture_output=True,
            text=True,
            check=check,
            timeout=120,
        )

    def variables(self) -> dict[str, str]:
        """The environment of a client process, from what `loopwright env` prints."""
        lines = self.cli("env").stdout
        shell = subprocess.run(
            ["/bin/sh", "-c", f"{lines}\nexec env -0"],
            capture_output=True, check=True, env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        pairs = (line.partition("=") for line in shell.stdout.decode().split("\0") if line)
        return {name: value for name, _, value in pairs} | {
            "HOME": str(self.home), "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        }  # fmt: skip

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client that asks once: tests want to see what is refused."""
        access_key, secret = next(iter(json.loads((self.home / "keys.json").read_text()).items()))
        session = boto3.Session()
        session._session.get_component("data_loader").search_paths.append(str(OWN_MODELS))
        settings: dict[str, Any] = {
            "region_name": "us-east-1",
            "endpoint_url": self.url,
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret,
            "config": Config(retries={"max_attempts": 0}, read_timeout=90, max_pool_connections=64),
        }
        return session.client(service, **{**settings, **options})

    def put(self, key: str, body: bytes | str) -> str:
        """Put an object into the test bucket; its address."""
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def put_source(self, name: str, files: dict[str, str]) -> str:
        """Put a sourcedir.tar.gz; its address."""
        return self.put(f"code/{name}.tar.gz", packed(files))

    def train(self, name: str, script: str, **more: Any) -> None:
        """Create a training job of a one-file script."""
        source = self.put_source(name, {"train.py": script})
        request = training_request(name, source)
        self.client("sagemaker").create_training_job(**{**request, **more})

    def trained(self, name: str, seconds: float = 90.0) -> dict[str, Any]:
        """The description of a training job once it is over."""
        sagemaker = self.client("sagemaker")

        def over() -> dict[str, Any] | None:
            found = dict(sagemaker.describe_training_job(TrainingJobName=name))
            done = found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")
            return found if done else None

        return await_that(over, f"the end of {name}", seconds)

    def log_of(self, name: str, group: str = "/aws/sagemaker/TrainingJobs") -> list[str]:
        """All lines of a job's log."""
        logs = self.client("logs")
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")
        lines = []
        for stream in streams["logStreams"]:
            page = logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )
            lines += [event["message"] for event in page["events"]]
        return lines

    def deploy(self, name: str, model: str, script: str, image: str = SKLEARN) -> None:
        """Model, configuration and endpoint of one name; returns when it is in service."""
        sagemaker = self.client("sagemaker")
        source = self.put_source(f"{name}-serve", {"serve.py": script})
        sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": image,
                "ModelDataUrl": model,
                "Environment": {
                    "SAGEMAKER_PROGRAM": "serve.py",
                    "SAGEMAKER_SUBMIT_DIRECTORY": source,
                },
            },
        )
        sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant("AllTraffic", name)]
        )
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        found = self.endpoint(name)
        assert found["EndpointStatus"] == "InService", found

    def endpoint(self, name: str) -> dict[str, Any]:
        """The description of an endpoint once it is in service or failed."""
        sagemaker = self.client("sagemaker")

        def settled() -> dict[str, Any] | None:
            found = dict(sagemaker.describe_endpoint(EndpointName=name))
            return found if found["EndpointStatus"] in ("InService", "Failed") else None

        return await_that(settled, f"the endpoint {name}")


def packed(files: dict[str, str]) -> bytes:
    """A tar.gz of text files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return stream.getvalue()


def training_request(name: str, source: str, image: str = SKLEARN) -> dict[str, Any]:
    """A training job in script mode."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "HyperParameters": {"sagemaker_program": "train.py", "sagemaker_submit_directory": source},
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/jobs"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
    }


def channel(name: str, uri: str, **more: Any) -> dict[str, Any]:
    """An input channel of an S3 prefix."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **more}


def variant(name: str, model: str, count: int = 1, weight: float = 1.0) -> dict[str, Any]:
    """A production variant."""
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": count,
        "InitialVariantWeight": weight,
    }
