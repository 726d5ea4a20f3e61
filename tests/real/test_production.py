"""Endpoints in production through boto3: capture, shadows, user groups, safe deployments."""

import base64
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.load import Load
from tests.server import BUCKET, ROLE, SKLEARN, Server, await_that, packed, variant

pytestmark = pytest.mark.real
NAMED = """\
import json, os, time, uuid

TOKEN = uuid.uuid4().hex


def model_fn(model_dir):
    return os.environ["NAME"]


def input_fn(body, content_type):
    return body


def predict_fn(body, name):
    wish = json.loads(body) if body[:1] == "{" else {}
    if wish.get("fail") == name:
        raise ValueError("as was asked for")
    if wish.get("kill") == TOKEN:
        os.kill(os.getpid(), 9)
    time.sleep(wish.get("sleep", 0))
    return {"by": name, "token": TOKEN, "value": wish.get("value", 0) + wish.get(name, 0)}


def output_fn(answer, accept):
    return json.dumps(answer), "application/json"
"""


def make_models(server: Server) -> None:
    """Models `one` and `two`, that answer by their name."""
    data = server.put("named/model.tar.gz", packed({"note.txt": "x"}))
    source = server.put_source("named", {"serve.py": NAMED})
    for name in ("one", "two"):
        server.client("sagemaker").create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": SKLEARN,
                "ModelDataUrl": data,
                "Environment": {
                    "NAME": name,
                    "SAGEMAKER_PROGRAM": "serve.py",
                    "SAGEMAKER_SUBMIT_DIRECTORY": source,
                },
            },
        )


@pytest.fixture(scope="module")
def models(server: Server) -> Iterator[Server]:
    """A server that has them."""
    make_models(server)
    yield server
    for name in ("one", "two"):
        server.client("sagemaker").delete_model(ModelName=name)


def configure(server: Server, name: str, *variants: dict[str, Any], **members: Any) -> None:
    server.client("sagemaker").create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=list(variants), **members
    )


def serve(server: Server, name: str, *variants: dict[str, Any], **members: Any) -> None:
    configure(server, name, *variants, **members)
    server.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=name)
    found = server.endpoint(name)
    assert found["EndpointStatus"] == "InService", found


def invoke(server: Server, name: str, body: str, **more: Any) -> dict[str, Any]:
    options = {"ContentType": "application/json", **more}
    answer = server.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, Body=body, **options
    )
    return {**answer, "text": answer["Body"].read().decode()}


def captured(server: Server, prefix: str, count: int) -> list[tuple[str, dict[str, Any]]]:
    """So many captured records, with their keys, once they are there."""
    s3 = server.client("s3")

    def read() -> list[tuple[str, dict[str, Any]]] | None:
        found = []
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        for item in listed:
            body = s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            found += [(item["Key"], json.loads(line)) for line in body.splitlines()]
        return found if len(found) >= count else None

    return await_that(read, f"{count} captured records")


def test_captured_records_are_as_documented(models: Server) -> None:
    server = models
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {
            "CsvContentTypes": ["text/csv"],
            "JsonContentTypes": ["application/json"],
        },
    }
    serve(server, "captured", variant("A", "one"), DataCaptureConfig=capture)
    found = server.client("sagemaker").describe_endpoint(EndpointName="captured")
    assert found["DataCaptureConfig"]["CaptureStatus"] == "Started"
    invoke(server, "captured", '{"value": 3}', InferenceId="i-1", CustomAttributes="trace=7")
    invoke(server, "captured", "1,2", ContentType="text/csv")
    invoke(server, "captured", "\u00e4", ContentType="text/odd")
    with pytest.raises(ClientError):
        invoke(server, "captured", '{"fail": "one"}')
    records = captured(server, "capture/captured/A/", 3)
    assert len(records) == 3
    for key, record in records:
        parts = key.split("/")
        assert [len(part) for part in parts[3:7]] == [4, 2, 2, 2]
        stamp, _, name = parts[7].partition("-")[0], *parts[7].split("-", 2)[1:]
        assert len(stamp) == 2 and name.endswith(".jsonl")
        assert record["eventVersion"] == "0"
        assert record["eventMetadata"]["inferenceTime"].endswith("Z")
    first, second, third = (record["captureData"] for _, record in records)
    assert first["endpointInput"] == {
        "observedContentType": "application/json",
        "mode": "INPUT",
        "data": '{"value": 3}',
        "encoding": "JSON",
    }
    assert json.loads(first["endpointOutput"]["data"])["value"] == 3
    assert second["endpointInput"]["encoding"] == "CSV"
    assert third["endpointInput"]["encoding"] == "BASE64"
    assert base64.b64decode(third["endpointInput"]["data"]).decode() == "\u00e4"
    metadata = records[0][1]["eventMetadata"]
    assert metadata["inferenceId"] == "i-1" and metadata["customAttributes"] == ["trace=7"]
    server.client("sagemaker").delete_endpoint(EndpointName="captured")


def test_no_captured_record_is_lost_or_doubled_by_kills(own_server: Server) -> None:
    server = own_server
    data = server.put("named/model.tar.gz", packed({"note.txt": "x"}))
    server.deploy("killed", data, NAMED.replace('os.environ["NAME"]', '"one"'))
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/killed",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    }
    configure(server, "killed-2", variant("A", "killed"), DataCaptureConfig=capture)
    server.client("sagemaker").update_endpoint(EndpointName="killed", EndpointConfigName="killed-2")
    server.endpoint("killed")
    answered = []
    for number in range(60):
        if number in (15, 45):
            state = json.loads((server.home / "run" / "gateway.json").read_text())
            os.kill(state["pid"], signal.SIGKILL)
        if number == 30:
            server.kill()
            server.start()
        try:
            invoke(server, "killed", json.dumps({"value": number}))
            answered.append(number)
        except Exception:  # noqa: BLE001 - the gateway is away for a moment
            await_that(lambda: _answers(server), "the gateway")
    records = captured(server, "killed/", len(answered))
    bodies = [
        json.loads(base64.b64decode(r["captureData"]["endpointInput"]["data"])) for _, r in records
    ]
    seen = Counter(body["value"] for body in bodies if "value" in body)
    assert set(answered) <= set(seen) and max(seen.values()) == 1
    events = [record["eventMetadata"]["eventId"] for _, record in records]
    assert len(set(events)) == len(events)
    assert len(answered) > 50


def _answers(server: Server) -> bool | None:
    try:
        invoke(server, "killed", "{}")
    except Exception:  # noqa: BLE001 - not yet
        return None
    return True


def test_a_shadow_is_compared_and_costs_the_caller_nothing(models: Server) -> None:
    server = models
    shadow = {**variant("S", "two"), "InitialVariantWeight": 0.5}
    serve(server, "shadowed", variant("A", "one"), ShadowProductionVariants=[shadow])
    found = server.client("sagemaker").describe_endpoint(EndpointName="shadowed")
    assert found["ShadowProductionVariants"][0]["CurrentInstanceCount"] == 1
    wishes = [{"value": 1}] * 40 + [{"value": 1, "two": 0.5}] * 40 + [{"fail": "two"}] * 20
    for wish in wishes:
        answer = invoke(server, "shadowed", json.dumps(wish))
        assert answer["InvokedProductionVariant"] == "A"
        assert json.loads(answer["text"])["by"] == "one"
    own = server.client("loopwright")

    def compared() -> dict[str, Any] | None:
        pairs = own.describe_shadow_comparison(EndpointName="shadowed")["Comparisons"]
        return pairs[0] if pairs and pairs[0]["Copied"] == pairs[0]["Answered"] > 25 else None

    pair = await_that(compared, "comparisons")
    assert (pair["ProductionVariantName"], pair["ShadowVariantName"]) == ("A", "S")
    assert 25 < pair["Copied"] < 75
    assert pair["Agreed"] == 0  # The answers tell their model's name.
    assert pair["Live"]["Errors"] == 0 < pair["Shadow"]["Errors"]
    assert pair["LargestDifference"] > 0 and pair["Live"]["P99Latency"] > 0
    assert {example["LiveStatus"] for example in pair["Examples"]} == {200}
    with pytest.raises(ClientError, match="exactly one of each"):
        two = [variant("A", "one"), variant("B", "two")]
        configure(server, "bad", *two, ShadowProductionVariants=[shadow])
    server.client("sagemaker").delete_endpoint(EndpointName="shadowed")


def test_a_shadow_test_runs_and_its_shadow_is_promoted(models: Server) -> None:
    server = models
    sagemaker = server.client("sagemaker")
    serve(server, "trial", variant("A", "one"))

    def model(variant_name: str, name: str) -> dict[str, Any]:
        machine = {"InstanceType": "ml.m5.large", "InstanceCount": 1}
        infrastructure = {
            "InfrastructureType": "RealTimeInference",
            "RealTimeInferenceConfig": machine,
        }
        return {
            "VariantName": variant_name, "ModelName": name, "InfrastructureConfig": infrastructure,
        }  # fmt: skip

    shadows = [{"ShadowModelVariantName": "S", "SamplingPercentage": 50}]
    request = {
        "Name": "shadow-test",
        "Type": "ShadowMode",
        "RoleArn": ROLE,
        "EndpointName": "trial",
        "ModelVariants": [model("A", "one"), model("S", "two")],
        "ShadowModeConfig": {"SourceModelVariantName": "A", "ShadowModelVariants": shadows},
    }
    with pytest.raises(ClientError, match="must be the source and the shadow"):
        sagemaker.create_inference_experiment(
            **{**request, "ModelVariants": [model("A", "one"), model("X", "two")]}
        )
    sagemaker.create_inference_experiment(**request)

    def state(wanted: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            found = dict(sagemaker.describe_inference_experiment(Name="shadow-test"))
            return found if found["Status"] == wanted else None

        return await_that(reached, f"the experiment {wanted}")

    found = state("Running")
    assert {item["Status"] for item in found["ModelVariants"]} == {"InService"}
    for _ in range(30):
        assert _by(server, "trial") == "one"
    own = server.client("loopwright")
    await_that(
        lambda: own.describe_shadow_comparison(EndpointName="trial")["Comparisons"] or None,
        "comparisons",
    )
    listed = sagemaker.list_inference_experiments(StatusEquals="Running", Type="ShadowMode")
    listed = listed["InferenceExperiments"]
    assert [item["Name"] for item in listed] == ["shadow-test"]
    with pytest.raises(ClientError, match="No production variant would be left"):
        sagemaker.stop_inference_experiment(
            Name="shadow-test", ModelVariantActions={"A": "Remove", "S": "Remove"}
        )
    sagemaker.stop_inference_experiment(
        Name="shadow-test", ModelVariantActions={"A": "Remove", "S": "Promote"}, Reason="better"
    )
    found = state("Completed")
    assert found["StatusReason"] == "better"
    assert {_by(server, "trial") for _ in range(10)} == {"two"}
    described = sagemaker.describe_endpoint(EndpointName="trial")
    assert [item["VariantName"] for item in described["ProductionVariants"]] == ["S"]
    assert "ShadowProductionVariants" not in described
    sagemaker.delete_inference_experiment(Name="shadow-test")
    sagemaker.delete_endpoint(EndpointName="trial")


def test_users_keep_their_variant_and_groups_have_theirs(models: Server) -> None:
    server = models
    serve(server, "users", variant("A", "one"), variant("B", "two"))
    own = server.client("loopwright")
    with pytest.raises(ClientError, match="no variant 'C'"):
        own.put_traffic_policy(
            EndpointName="users",
            Groups=[{"Attribute": "tier", "Values": ["x"], "VariantName": "C"}],
        )
    groups = [{"Attribute": "tier", "Values": ["staff"], "VariantName": "B"}]
    own.put_traffic_policy(EndpointName="users", StickyAttribute="user", Groups=groups)
    assert own.describe_traffic_policy(EndpointName="users")["Groups"] == groups
    sent = {"CustomAttributes": "tier=staff"}
    await_that(
        lambda: {_by(server, "users", **sent) for _ in range(8)} == {"two"} or None, "the group"
    )
    for user in range(10):
        attributes = {"CustomAttributes": f"user=u{user}"}
        assert len({_by(server, "users", **attributes) for _ in range(5)}) == 1
    opened = invoke(server, "users", "{}", SessionId="NEW_SESSION")
    session = opened["NewSessionId"].partition(";")[0]
    by = json.loads(opened["text"])["by"]
    assert {_by(server, "users", SessionId=session) for _ in range(8)} == {by}
    own.delete_traffic_policy(EndpointName="users")
    server.client("sagemaker").delete_endpoint(EndpointName="users")


def _by(server: Server, endpoint: str, **more: Any) -> str:
    return str(json.loads(invoke(server, endpoint, "{}", **more)["text"])["by"])


def test_canary_and_rolling_updates_under_load_lose_no_request(models: Server) -> None:
    server = models
    serve(server, "moved", variant("A", "one", 2))
    configure(server, "moved-two", variant("A", "two", 2))
    sagemaker = server.client("sagemaker")
    routing = {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 3,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 30},
    }
    canary = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    with Load(server, "moved", '{"sleep": 0.002}') as load:
        sagemaker.update_endpoint(
            EndpointName="moved", EndpointConfigName="moved-two", DeploymentConfig=canary
        )

        def baking() -> bool | None:
            found = sagemaker.describe_endpoint(EndpointName="moved")
            pending = found.get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])
            status = pending[0].get("VariantStatus", [{}])[0]
            return True if status.get("StatusMessage", "").startswith("30%") else None

        await_that(baking, "the canary")
        load.more(20)
        assert 0 < load.more(300)["two"] < 200
        found = server.endpoint("moved")
        assert found["EndpointConfigName"] == "moved-two"
        load.more(50)
        assert set(load.more(100)) == {"two"}
        batch = {"Type": "CAPACITY_PERCENT", "Value": 50}
        rolling = {"MaximumBatchSize": batch, "WaitIntervalInSeconds": 1}
        sagemaker.update_endpoint(
            EndpointName="moved",
            EndpointConfigName="moved",
            DeploymentConfig={"RollingUpdatePolicy": rolling},
        )
        found = server.endpoint("moved")
        assert found["LastDeploymentConfig"]["RollingUpdatePolicy"]["MaximumBatchSize"] == batch
        load.more(50)
        assert set(load.more(100)) == {"one"}
        # One of the two instances is killed: nobody sees it.
        killed = load.answers[-1]["token"]
        for _ in range(8):
            invoke(server, "moved", json.dumps({"kill": killed}))
        load.more(200)
        await_that(lambda: load.answers[-1]["token"] != killed or None, "the other instance")
    assert load.failures == []
    sagemaker.delete_endpoint(EndpointName="moved")
