"""Production endpoints with their state in PostgreSQL, which cuts all connections in the middle."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from tests.real.load import Load
from tests.real.test_production import captured, configure, make_models, serve
from tests.server import BUCKET, Server, await_that, variant

pytestmark = pytest.mark.real
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": f"s3://{BUCKET}/on-postgres",
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
}


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    """A database of the test's own."""
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE DATABASE endpoints")
        yield postgres.rpartition("/")[0] + "/endpoints"
        connection.execute("DROP DATABASE endpoints WITH (FORCE)")


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "home", options=("--time-scale", "20", "--database", url))
    running.start()
    yield running
    running.stop()


def _cut(url: str) -> None:
    """End all connections, as a restart of PostgreSQL does."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = 'endpoints' AND pid <> pg_backend_pid()"
        )


def _status(server: Server) -> dict[str, Any] | None:
    try:
        found = server.client("sagemaker").describe_endpoint(EndpointName="kept")
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error
        return None
    return dict(found) if found["EndpointStatus"] == "InService" else None


def test_an_update_goes_on_and_no_record_is_lost(server: Server, url: str) -> None:
    make_models(server)
    serve(server, "kept", variant("A", "one"), DataCaptureConfig=CAPTURE)
    configure(server, "kept-two", variant("A", "two"), DataCaptureConfig=CAPTURE)
    size = {"Type": "CAPACITY_PERCENT", "Value": 30}
    routing = {"Type": "LINEAR", "WaitIntervalInSeconds": 10, "LinearStepSize": size}
    with Load(server, "kept", '{"sleep": 0.02}', 2) as load:
        server.client("sagemaker").update_endpoint(
            EndpointName="kept",
            EndpointConfigName="kept-two",
            DeploymentConfig={
                "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
            },
        )
        for _ in range(3):
            load.more(30)
            _cut(url)
        server.kill()
        server.start()
        _cut(url)
        found = await_that(lambda: _status(server), "the end of the update")
        assert found["EndpointConfigName"] == "kept-two"
        _cut(url)
        load.more(30)
    assert load.failures == []
    records = captured(server, "on-postgres/", len(load.answers))
    events = Counter(record["eventMetadata"]["eventId"] for _, record in records)
    assert len(records) == len(load.answers) and max(events.values()) == 1
    by = Counter(answer["by"] for answer in load.answers)
    assert by == Counter(_by(record) for _, record in records)


def _by(record: dict[str, Any]) -> str:
    return str(json.loads(_text(record["captureData"]["endpointOutput"]))["by"])


def _text(output: dict[str, Any]) -> str:
    return base64.b64decode(output["data"]).decode()
