"""Endpoints through boto3 against a running server: answers, errors, updates, limits."""

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from tests.real.scripts import PLAY, ROWS, SERVE, TRAIN
from tests.server import BUCKET, Server, await_that, channel, packed, variant

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def played(server: Server) -> Iterator[str]:
    """An endpoint that does what each request says."""
    model = server.put("play/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("played", model, PLAY)
    yield "played"
    server.client("sagemaker").delete_endpoint(EndpointName="played")


def _invoke(server: Server, name: str, body: Any, **more: Any) -> dict[str, Any]:
    options = {"ContentType": "application/json", **more}
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    answer = server.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, Body=text, **options
    )
    return {**answer, "text": answer["Body"].read().decode()}


def test_a_trained_model_answers_in_every_form(server: Server) -> None:
    server.put("rows/rows.csv", ROWS)
    server.train("for-serving", TRAIN, InputDataConfig=[channel("train", f"s3://{BUCKET}/rows/")])
    artifact = server.trained("for-serving")["ModelArtifacts"]["S3ModelArtifacts"]
    server.deploy("digits", artifact, SERVE)
    answer = _invoke(server, "digits", [[9, 0], [1, 1]], Accept="application/json")
    assert json.loads(answer["text"]) == [1.0, 0.0]
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    answer = _invoke(server, "digits", "9,0\n1,1\n", ContentType="text/csv", Accept="text/csv")
    assert [float(line) for line in answer["text"].split()] == [1.0, 0.0]
    with pytest.raises(ClientError) as caught:
        _invoke(server, "digits", "x", ContentType="image/png")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert caught.value.response["OriginalStatusCode"] == 415
    _delete(server, "digits")


def _delete(server: Server, name: str) -> None:
    sagemaker = server.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName=name)

    def gone() -> bool | None:
        try:
            sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            assert "Could not find" in str(error)
            return True
        return None

    await_that(gone, f"the end of {name}")
    with pytest.raises(ClientError, match="not found"):
        _invoke(server, name, {})


def test_an_error_of_the_model_is_a_model_error(server: Server, played: str) -> None:
    with pytest.raises(ClientError) as caught:
        _invoke(server, played, {"raise": "no such column"})
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 500
    assert "no such column" in response["OriginalMessage"]
    assert response["LogStreamArn"].endswith("/aws/sagemaker/Endpoints/played")
    logs = server.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/Endpoints/played", filterPattern='"no such column"'
    )
    assert logs["events"]


def test_an_answer_comes_as_an_event_stream(server: Server, played: str) -> None:
    wish = {"pad": "x" * 200_000}
    answer = server.client("sagemaker-runtime").invoke_endpoint_with_response_stream(
        EndpointName=played, Body=json.dumps(wish), ContentType="application/json"
    )
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    assert len(parts) > 1
    assert json.loads(b"".join(parts))["echo"] == wish
    assert answer["ContentType"] == "application/json"
    with pytest.raises(ClientError) as caught:
        server.client("sagemaker-runtime").invoke_endpoint_with_response_stream(
            EndpointName=played, Body='{"raise": "no"}', ContentType="application/json"
        )
    assert caught.value.response["Error"]["Code"] == "ModelError"


def test_a_body_over_six_megabytes_is_refused(server: Server, played: str) -> None:
    with pytest.raises(ClientError) as caught:
        _invoke(server, played, b"x" * 6_291_457)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_unknown_endpoints_and_variants_are_named(server: Server, played: str) -> None:
    with pytest.raises(ClientError, match="Endpoint nowhere of account 123456789012 not found"):
        _invoke(server, "nowhere", {})
    with pytest.raises(ClientError, match="Variant X not found"):
        _invoke(server, played, {}, TargetVariant="X")
    with pytest.raises(ClientError, match="TargetModel"):
        _invoke(server, played, {}, TargetModel="a.tar.gz")


def test_a_half_sent_body_leaves_the_endpoint_well(server: Server, played: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            f"POST /endpoints/{played}/invocations HTTP/1.1\r\nHost: x\r\n"
            "Content-Length: 100\r\n\r\nhalf".encode()
        )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        assert b" 400 " in connection.recv(4096)
    assert json.loads(_invoke(server, played, {"a": 1})["text"])["echo"] == {"a": 1}


def test_unsigned_and_wrongly_signed_calls_are_refused(server: Server, played: str) -> None:
    for service, call in (
        ("sagemaker-runtime", lambda c: c.invoke_endpoint(EndpointName=played, Body=b"{}")),
        ("sagemaker", lambda c: c.list_models()),
        ("sts", lambda c: c.get_caller_identity()),
        ("s3", lambda c: c.list_buckets()),
    ):
        codes = []
        for wrong in (
            {"aws_access_key_id": "AKIAUNKNOWN000000000"},
            {"aws_secret_access_key": "wrong"},
        ):
            with pytest.raises(ClientError) as caught:
                call(server.client(service, **wrong))
            codes.append(caught.value.response["Error"]["Code"])
        expected = {
            "s3": ["InvalidAccessKeyId", "SignatureDoesNotMatch"],
            "sts": ["InvalidClientTokenId", "SignatureDoesNotMatch"],
        }
        json_codes = ["UnrecognizedClientException", "InvalidSignatureException"]
        assert codes == expected.get(service, json_codes)


def test_a_killed_instance_comes_back(server: Server, played: str) -> None:
    pid = json.loads(_invoke(server, played, {})["text"])["pid"]
    with pytest.raises(ClientError, match="Worker died"):
        _invoke(server, played, {"kill": True})

    def back() -> bool | None:
        try:
            return json.loads(_invoke(server, played, {})["text"])["pid"] > 0 or None
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("ServiceUnavailable", "ModelError")
            return None

    await_that(back, "the new instance")
    assert pid > 0


def test_updates_under_load_lose_no_request(server: Server) -> None:
    model = server.put("play/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("updated", model, PLAY)
    sagemaker = server.client("sagemaker")
    sagemaker.create_endpoint_config(
        EndpointConfigName="updated-two",
        ProductionVariants=[variant("A", "updated", 1, 1.0), variant("B", "updated", 1, 3.0)],
    )
    stopping = threading.Event()
    failures: list[Exception] = []
    seen: list[str] = []

    def load() -> None:
        runtime = server.client("sagemaker-runtime")
        while not stopping.is_set():
            try:
                answer = runtime.invoke_endpoint(
                    EndpointName="updated", Body=b'{"sleep": 0.002}', ContentType="application/json"
                )
                answer["Body"].read()
                seen.append(answer["InvokedProductionVariant"])
            except Exception as error:  # noqa: BLE001 - any failure is what this test is about.
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        await_that(lambda: True if seen else None, "the first answer")
        sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName="updated-two")
        found = server.endpoint("updated")
        assert found["EndpointConfigName"] == "updated-two"
        before = len(seen)
        await_that(lambda: True if len(seen) > before + 200 else None, "more requests")
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="updated",
            DesiredWeightsAndCapacities=[
                {"VariantName": "A", "DesiredWeight": 0.0, "DesiredInstanceCount": 2}
            ],
        )
        server.endpoint("updated")
        after = len(seen)
        await_that(lambda: True if len(seen) > after + 200 else None, "more requests")
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert "AllTraffic" in seen
    assert {"A", "B"} <= set(seen[before:after])
    assert set(seen[after + 8 :]) == {"B"}
    _delete(server, "updated")


def test_a_model_deleted_under_a_live_endpoint_changes_nothing(server: Server) -> None:
    model = server.put("play/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("orphan", model, PLAY)
    sagemaker = server.client("sagemaker")
    sagemaker.delete_model(ModelName="orphan")
    sagemaker.delete_endpoint_config(EndpointConfigName="orphan")
    assert json.loads(_invoke(server, "orphan", {})["text"])["pid"]
    assert sagemaker.describe_endpoint(EndpointName="orphan")["EndpointStatus"] == "InService"
    _delete(server, "orphan")


def test_a_model_that_does_not_load_fails_the_endpoint_with_its_words(server: Server) -> None:
    model = server.put("play/model.tar.gz", packed({"note.txt": "x"}))
    script = "def model_fn(model_dir):\n    raise RuntimeError('no weights here')\n"
    sagemaker = server.client("sagemaker")
    source = server.put_source("broken", {"serve.py": script})
    sagemaker.create_model(
        ModelName="broken",
        ExecutionRoleArn="arn:aws:iam::123456789012:role/R",
        PrimaryContainer={
            "Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1",
            "ModelDataUrl": model,
            "Environment": {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": source},
        },
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName="broken", ProductionVariants=[variant("AllTraffic", "broken")]
    )
    sagemaker.create_endpoint(EndpointName="broken", EndpointConfigName="broken")
    describe = sagemaker.describe_endpoint
    await_that(lambda: describe(EndpointName="broken").get("ProductionVariants"), "a start")
    _not_found(server, "broken")
    found = server.endpoint("broken")
    assert found["EndpointStatus"] == "Failed"
    _not_found(server, "broken")
    assert "ping health check" in found["FailureReason"]
    assert "no weights here" in found["FailureReason"]
    _delete(server, "broken")


def _not_found(server: Server, name: str) -> None:
    """What the service answers of endpoints that never came into service."""
    with pytest.raises(ClientError) as caught:
        _invoke(server, name, {})
    response = caught.value.response
    assert response["Error"]["Code"] == "ValidationError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert f"Endpoint {name} of account 123456789012 not found." in str(caught.value)


def test_endpoints_serve_while_the_control_plane_is_dead(own_server: Server) -> None:
    server = own_server
    model = server.put("play/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("steady", model, PLAY)
    before = json.loads(_invoke(server, "steady", {})["text"])["pid"]
    server.kill()
    for _ in range(20):
        assert json.loads(_invoke(server, "steady", {})["text"])["pid"] == before
    server.start()
    assert json.loads(_invoke(server, "steady", {})["text"])["pid"] == before
    state = json.loads((server.home / "run" / "gateway.json").read_text())
    os.kill(state["pid"], signal.SIGKILL)

    def serving() -> bool | None:
        try:
            return json.loads(_invoke(server, "steady", {})["text"])["pid"] == before or None
        except (ClientError, EndpointConnectionError, ConnectionClosedError):
            return None

    await_that(serving, "the new gateway")


def test_a_control_plane_killed_during_deploy_and_training_repeats_nothing(
    own_server: Server,
) -> None:
    server = own_server
    script = """
import os, time
for number in range(40):
    print("line", number, flush=True)
    time.sleep(0.05)
open(os.path.join(os.environ["SM_MODEL_DIR"], "m"), "w").write("done")
"""
    server.train("survivor", script)
    model = server.put("play/model.tar.gz", packed({"note.txt": "x"}))
    sagemaker = server.client("sagemaker")
    source = server.put_source("late", {"serve.py": "import time; time.sleep(1)\n" + PLAY})
    sagemaker.create_model(
        ModelName="late",
        ExecutionRoleArn="arn:aws:iam::123456789012:role/R",
        PrimaryContainer={
            "Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1",
            "ModelDataUrl": model,
            "Environment": {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": source},
        },
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName="late", ProductionVariants=[variant("AllTraffic", "late")]
    )
    sagemaker.create_endpoint(EndpointName="late", EndpointConfigName="late")

    def started() -> bool | None:
        try:
            return bool(server.log_of("survivor")) or None
        except ClientError:
            return None

    await_that(started, "the first line")
    for _ in range(3):
        server.kill()
        server.start()
    found = server.trained("survivor")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    lines = [line for line in server.log_of("survivor") if line.startswith("line")]
    assert lines == [f"line {number}" for number in range(40)]
    assert found["ModelArtifacts"]["S3ModelArtifacts"]
    assert server.endpoint("late")["EndpointStatus"] == "InService"
    assert json.loads(_invoke(server, "late", {})["text"])["pid"]


def test_invocations_are_counted_in_cloudwatch(server: Server) -> None:
    model = server.put("counted/model.tar.gz", packed({"model.joblib": ""}))
    server.deploy("counted", model, PLAY)
    runtime = server.client("sagemaker-runtime")
    for number in range(12):
        wish = {"raise": "no"} if number >= 10 else {"n": number}
        with contextlib.suppress(ClientError):
            runtime.invoke_endpoint(
                EndpointName="counted", Body=json.dumps(wish), ContentType="application/json"
            )
    cloudwatch = server.client("cloudwatch")
    dimensions = [
        {"Name": "EndpointName", "Value": "counted"},
        {"Name": "VariantName", "Value": "AllTraffic"},
    ]

    def told(name: str, more: list[dict[str, str]], statistic: str) -> float | None:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[*dimensions, *more],
            StartTime=datetime.now(UTC) - timedelta(hours=1),
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=7200,
            Statistics=[statistic],
        )["Datapoints"]
        return float(points[0][statistic]) if points else None

    def counted() -> bool | None:
        return True if told("Invocations", [], "Sum") == 12 else None

    await_that(counted, "twelve invocations")
    config = [{"Name": "EndpointConfigName", "Value": "counted"}]
    assert told("Invocations", config, "Sum") == 12
    assert told("InvocationsPerInstance", [], "Sum") == 12
    errors = [told(f"Invocation{kind}XXErrors", [], "Sum") for kind in (4, 5)]
    assert sum(count or 0 for count in errors) == 2
    latency = told("ModelLatency", [], "Average")
    assert latency is not None
    assert 50 < latency < 5_000_000
    server.client("sagemaker").delete_endpoint(EndpointName="counted")
