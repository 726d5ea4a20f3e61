"""Bad input through boto3: the service's own codes, the value, the rule, the way out."""

import io
import json
import tarfile
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.real.scripts import SERVE
from tests.server import BUCKET, SKLEARN, Server, channel, training_request, variant

pytestmark = pytest.mark.real


def _refused(server: Server, changes: dict[str, Any]) -> tuple[str, str]:
    source = server.put_source("refused", {"train.py": "print(1)"})
    request = {**training_request("refused", source), **changes}
    with pytest.raises(ClientError) as caught:
        server.client("sagemaker").create_training_job(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a missing object": (
        {"InputDataConfig": [channel("train", f"s3://{BUCKET}/nothing/here")]},
        "ValidationException",
        "No S3 objects found under S3 URL",
    ),
    "a missing bucket": (
        {"InputDataConfig": [channel("train", "s3://no-such-bucket-at-all/x")]},
        "ValidationException",
        "No S3 objects found under S3 URL",
    ),
    "an unknown image": (
        {
            "AlgorithmSpecification": {
                "TrainingImage": "1.dkr.ecr.us-east-1.amazonaws.com/my-own:latest",
                "TrainingInputMode": "File",
            }
        },
        "ValidationException",
        "my-own",
    ),
    "hosts without a network": (
        {
            "EnableNetworkIsolation": True,
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 2,
                "VolumeSizeInGB": 1,
            },
        },
        "ValidationException",
        "EnableNetworkIsolation is True",
    ),
    "a channel twice": (
        {"InputDataConfig": [channel("a", f"s3://{BUCKET}/code"), channel("a", "s3://b/c")]},
        "ValidationException",
        "the channel 'a' twice",
    ),
    "a bad name": (
        {"TrainingJobName": "no_underscores"},
        "ValidationException",
        "Member must satisfy regular expression pattern",
    ),
    "a bad expression": (
        {
            "AlgorithmSpecification": {
                "TrainingImage": SKLEARN,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "m", "Regex": "(unclosed"}],
            }
        },
        "ValidationException",
        "is no regular expression",
    ),
    "spot without a wait": (
        {"EnableManagedSpotTraining": True},
        "ValidationException",
        "MaxWaitTimeInSeconds must be given",
    ),
    "a limit to waiting": (
        {
            "StoppingCondition": {
                "MaxRuntimeInSeconds": 60,
                "MaxPendingTimeInSeconds": 7200,
            }
        },
        "ValidationException",
        "MaxPendingTimeInSeconds is 7200",
    ),
    "serverless": (
        {"MlflowConfig": {"MlflowResourceArn": "arn:aws:sagemaker:us-east-1:1:mlflow-app/a"}},
        "ValidationException",
        "lflow",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_training_job_that_cannot_run_is_refused(server: Server, case: str) -> None:
    changes, code, words = CASES[case]
    got, message = _refused(server, changes)
    assert got == code
    assert words in message
    listed = server.client("sagemaker").list_training_jobs(NameContains="refused")
    assert listed["TrainingJobSummaries"] == []


def _archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member, b""


EVIL = {
    "leaves": _archive((tarfile.TarInfo("../../evil"), b"x")),
    "absolute": _archive((tarfile.TarInfo("/tmp/evil"), b"x")),
    "links": _archive(_link("model", "/etc/passwd")),
    "none": b"this is no archive",
}


@pytest.mark.parametrize("case", EVIL)
def test_an_archive_that_leaves_its_folder_fails_the_endpoint(server: Server, case: str) -> None:
    model = server.put(f"evil/{case}.tar.gz", EVIL[case])
    source = server.put_source("evil", {"serve.py": SERVE})
    sagemaker = server.client("sagemaker")
    name = f"evil-{case}"
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn="arn:aws:iam::123456789012:role/R",
        PrimaryContainer={
            "Image": SKLEARN,
            "ModelDataUrl": model,
            "Environment": {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": source},
        },
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[variant("A", name)]
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    found = server.endpoint(name)
    assert found["EndpointStatus"] == "Failed"
    assert found["FailureReason"].startswith("ClientError: Data download failed")
    sagemaker.delete_endpoint(EndpointName=name)


def _signed(server: Server, body: bytes, target: str) -> urllib.request.Request:
    access_key, secret = next(iter(json.loads((server.home / "keys.json").read_text()).items()))
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    sent = AWSRequest(method="POST", url=server.url + "/", data=body, headers=headers)
    SigV4Auth(Credentials(access_key, secret), "sagemaker", "us-east-1").add_auth(sent)
    return urllib.request.Request(server.url + "/", body, dict(sent.headers))


def _error_of(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(request, timeout=30)
    with caught.value as error:
        return error.code, json.loads(error.read())


def test_bodies_that_are_no_request_are_told_apart(server: Server) -> None:
    status, error = _error_of(_signed(server, b"{not json", "SageMaker.ListModels"))
    assert (status, error["__type"]) == (400, "SerializationException")
    status, error = _error_of(_signed(server, b'{"NoSuchMember": 1}', "SageMaker.ListModels"))
    assert error["__type"] == "ValidationException"
    assert "NoSuchMember" in error["message"]
    status, error = _error_of(_signed(server, b"{}", "SageMaker.NoSuchOperation"))
    assert error["__type"] == "UnknownOperationException"
    assert "NoSuchOperation" in error["message"]


def test_reset_is_refused_where_it_was_not_allowed(server: Server) -> None:
    access_key, secret = next(iter(json.loads((server.home / "keys.json").read_text()).items()))
    sent = AWSRequest(method="POST", url=server.url + "/loopwright/reset", data=b"")
    SigV4Auth(Credentials(access_key, secret), "sagemaker", "us-east-1").add_auth(sent)
    request = urllib.request.Request(sent.url, b"", dict(sent.headers))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(request, timeout=30)
    with caught.value as error:
        assert error.code in (400, 403, 404, 405)
