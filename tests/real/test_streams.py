"""Streamed answers of a script's generator through boto3 against a running server."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.real.scripts import PLAY
from tests.server import BUCKET, Server, await_that, packed, variant

pytestmark = pytest.mark.real

# A part waits for a plain call, which comes in between: an empty part lets others have the model.
SCRIPT = """\
import json, os

said, closed = set(), []


def model_fn(model_dir):
    return None


def answer(wish):
    try:
        for word in wish["parts"]:
            while word.startswith("?") and word not in said:
                yield b""
            if word == "!":
                raise ValueError("no more words")
            yield word + ";"
    finally:
        closed.append(wish.get("name"))


def transform_fn(model, body, content_type, accept):
    wish = json.loads(body)
    if "say" in wish:
        said.add(wish["say"])
        return json.dumps({"closed": closed}), "application/json"
    return answer(wish), "text/plain"
"""


@pytest.fixture(scope="module")
def talking(server: Server) -> Iterator[str]:
    """An endpoint whose answers are streamed, and captured."""
    model = server.put("talk/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("talking", model, SCRIPT)
    sagemaker = server.client("sagemaker")
    sagemaker.create_endpoint_config(
        EndpointConfigName="talking-captured",
        ProductionVariants=[variant("AllTraffic", "talking")],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{BUCKET}/talked",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        },
    )
    sagemaker.update_endpoint(EndpointName="talking", EndpointConfigName="talking-captured")
    server.endpoint("talking")
    yield "talking"
    sagemaker.delete_endpoint(EndpointName="talking")


def _stream(server: Server, wish: dict[str, Any]) -> Any:
    """The answer of the stream call, its body not read."""
    return server.client("sagemaker-runtime").invoke_endpoint_with_response_stream(
        EndpointName="talking", Body=json.dumps(wish), ContentType="application/json"
    )


def _plain(server: Server, wish: dict[str, Any]) -> Any:
    return server.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="talking", Body=json.dumps(wish), ContentType="application/json"
    )


def _say(server: Server, word: str) -> list[str]:
    """Let a part go on; the names of the generators that have ended."""
    return list(json.loads(_plain(server, {"say": word})["Body"].read())["closed"])


def test_a_part_is_there_before_the_next_is_made(server: Server, talking: str) -> None:
    answer = _stream(server, {"parts": ["one", "?a", "?b"], "name": "first"})
    assert answer["ContentType"] == "text/plain"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    events = iter(answer["Body"])
    assert next(events)["PayloadPart"]["Bytes"] == b"one;"
    # What lets the second part be made is said only now, and so on.
    for word in ("?a", "?b"):
        assert "first" not in _say(server, word)
        assert next(events)["PayloadPart"]["Bytes"] == f"{word};".encode()
    assert list(events) == []
    assert "first" in _say(server, "-")
    answer = _plain(server, {"parts": ["all", "of", "it"]})
    assert (answer["ContentType"], answer["Body"].read()) == ("text/plain", b"all;of;it;")


def test_an_error_in_the_midst_is_raised_from_the_events(server: Server, talking: str) -> None:
    events = iter(_stream(server, {"parts": ["one", "?c", "!"]})["Body"])
    assert next(events)["PayloadPart"]["Bytes"] == b"one;"
    _say(server, "?c")
    with pytest.raises(EventStreamError) as caught:
        list(events)
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"
    assert "closed the connection" in str(caught.value)
    with pytest.raises(ClientError) as refused:
        _stream(server, {"parts": ["!"]})
    assert refused.value.response["Error"]["Code"] == "ModelError"
    assert refused.value.response["OriginalStatusCode"] == 500
    assert "no more words" in refused.value.response["OriginalMessage"]
    log = "\n".join(
        event["message"]
        for event in server.client("logs").filter_log_events(
            logGroupName="/aws/sagemaker/Endpoints/talking"
        )["events"]
    )
    assert log.count("ValueError: no more words") == 2
    assert "An answer broke off." in log


def test_a_client_that_closes_its_stream_stops_the_model(server: Server, talking: str) -> None:
    answer = _stream(server, {"parts": ["one", "?never"], "name": "left"})
    events = iter(answer["Body"])
    assert next(events)["PayloadPart"]["Bytes"] == b"one;"
    answer["Body"].close()
    await_that(lambda: "left" in _say(server, "-") or None, "the end of the generator")


def test_the_record_of_a_stream_is_whole(server: Server, talking: str) -> None:
    parts = [
        event["PayloadPart"]["Bytes"] for event in _stream(server, {"parts": ["x", "y"]})["Body"]
    ]
    assert b"".join(parts) == b"x;y;"

    def recorded() -> bool | None:
        s3 = server.client("s3")
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix="talked/").get("Contents", ())
        texts = [s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read() for item in found]
        answers = [
            json.loads(line)["captureData"]["endpointOutput"]
            for line in b"".join(texts).splitlines()
        ]
        # `x;y;` in base64: the config lists JSON only.
        return any(answer["data"] == "eDt5Ow==" for answer in answers) or None

    await_that(recorded, "the captured record")


def test_first_chunks_and_broken_streams_are_metrics(server: Server, talking: str) -> None:
    assert len(list(_stream(server, {"parts": ["x", "y"]})["Body"])) >= 1
    now = datetime.now(UTC)

    def sum_of(metric: str, statistic: str) -> float:
        points = server.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[
                {"Name": "EndpointName", "Value": "talking"},
                {"Name": "VariantName", "Value": "AllTraffic"},
            ],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=10),
            Period=1200,
            Statistics=[statistic],
        )["Datapoints"]
        return sum(point[statistic] for point in points)

    await_that(lambda: sum_of("FirstChunkLatency", "SampleCount") >= 1 or None, "the metric")
    whole = sum_of("FirstChunkLatency", "Sum")
    parts = sum_of("FirstChunkModelLatency", "Sum") + sum_of("FirstChunkOverheadLatency", "Sum")
    assert whole > 0
    assert parts > 0
    assert sum_of("MidStreamErrors", "SampleCount") >= 1


def test_a_model_that_does_not_stream_answers_the_call_too(server: Server) -> None:
    model = server.put("talk/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("whole", model, PLAY)
    answer = server.client("sagemaker-runtime").invoke_endpoint_with_response_stream(
        EndpointName="whole", Body='{"pad": "y"}', ContentType="application/json"
    )
    found = b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"])
    assert json.loads(found)["echo"] == {"pad": "y"}
    server.client("sagemaker").delete_endpoint(EndpointName="whole")
