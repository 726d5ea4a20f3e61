"""Functions behind Lambda's API, and events on their way to them and to webhooks, by boto3."""

import base64
import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.hooks import SECRET, Hook, destination, listening
from tests.real.people import flow
from tests.server import BUCKET, ROLE, Server, await_that

pytestmark = pytest.mark.real
CODE = """\
import os, time
from helper import double


def handler(event, context):
    print("asked", event)
    if event.get("fail"):
        raise ValueError("as was asked for")
    if event.get("die"):
        os._exit(3)
    time.sleep(event.get("sleep", 0))
    return {"twice": double(event["n"]), "name": context.function_name,
            "color": os.environ["COLOR"],
            "left": 0 < context.get_remaining_time_in_millis() <= 2000,
            "sees": os.path.exists("/root/.loopwright")}
"""


def archive(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as found:
        for name, text in files.items():
            found.writestr(name, text)
    return content.getvalue()


def make(server: Server, name: str, code: str = CODE, **more: Any) -> dict[str, Any]:
    members = {
        "Runtime": "python3.12",
        "Role": ROLE,
        "Handler": "main.handler",
        "Timeout": 2,
        "Environment": {"Variables": {"COLOR": "blue"}},
        "Code": {"ZipFile": archive({"main.py": code, "helper.py": "def double(n): return 2 * n"})},
        **more,
    }
    return dict(server.client("lambda").create_function(FunctionName=name, **members))


def call(server: Server, name: str, event: Any, **more: Any) -> tuple[dict[str, Any], Any]:
    answer = server.client("lambda").invoke(
        FunctionName=name, Payload=json.dumps(event).encode(), **more
    )
    text = answer["Payload"].read()
    return answer, json.loads(text) if text else None


def test_a_function_is_made_invoked_changed_and_deleted(server: Server) -> None:
    client = server.client("lambda")
    name = f"double-{uuid.uuid4().hex[:6]}"
    made = make(server, name)
    assert made["FunctionArn"].endswith(f":function:{name}")
    assert made["State"] == "Active"
    answer, found = call(server, name, {"n": 4}, LogType="Tail")
    assert found == {"twice": 8, "name": name, "color": "blue", "left": True, "sees": False}
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "START RequestId" in tail
    assert "asked {'n': 4}" in tail
    answer, found = call(server, made["FunctionArn"], {"n": 1, "fail": True})
    assert answer["FunctionError"] == "Unhandled"
    assert (found["errorType"], found["errorMessage"]) == ("ValueError", "as was asked for")
    answer, found = call(server, name, {"n": 1, "sleep": 20})
    assert "Task timed out after 2.00 seconds" in found["errorMessage"]
    answer, found = call(server, name, {"n": 1, "die": True})
    assert answer["FunctionError"] == "Unhandled"
    assert found["errorType"] == "Runtime.ExitError"
    changed = client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"COLOR": "red"}}
    )
    with pytest.raises(ClientError, match="RevisionId"):
        client.update_function_configuration(
            FunctionName=name, Timeout=5, RevisionId=made["RevisionId"]
        )
    assert changed["RevisionId"] != made["RevisionId"]
    assert call(server, name, {"n": 1})[1]["color"] == "red"
    client.update_function_code(
        FunctionName=name, ZipFile=archive({"main.py": "def handler(event, context): return 'new'"})
    )
    assert call(server, name, {})[1] == "new"
    listed = client.list_functions()["Functions"]
    assert name in [item["FunctionName"] for item in listed]
    client.delete_function(FunctionName=name)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=name)


def test_functions_that_could_not_run_are_refused_by_name(server: Server) -> None:
    for members, match in (
        ({"Runtime": "nodejs22.x"}, "only Python"),
        ({"Handler": "main"}, "file.function"),
        ({"Timeout": 901}, "900"),
        ({"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:x:1"]}, "Layers"),
        ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip"),
        ({"Code": {"S3Bucket": BUCKET, "S3Key": "nothing.zip"}}, "nothing.zip"),
    ):
        with pytest.raises(ClientError, match=match):
            make(server, f"bad-{uuid.uuid4().hex[:6]}", **members)
    name = f"odd-{uuid.uuid4().hex[:6]}"
    make(server, name, Handler="main.nothing")
    _, found = call(server, name, {})
    assert "Handler 'nothing' missing on module 'main'" in found["errorMessage"]
    with pytest.raises(ClientError, match="Could not parse"):
        server.client("lambda").invoke(FunctionName=name, Payload=b"{")


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook that refuses its first call."""
    with listening(refused=1) as found:
        yield found


def test_events_reach_webhooks_and_functions_once_each(server: Server, hook: Hook) -> None:
    got = hook.got
    events = server.client("events")
    mark = uuid.uuid4().hex[:8]
    name = f"keep-{mark}"
    s3 = server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    code = (
        "import boto3, json\n\n\ndef handler(event, context):\n"
        f"    boto3.client('s3').put_object(Bucket='{BUCKET}', Key='events/{mark}',\n"
        "                                  Body=json.dumps(event).encode())\n"
    )
    function = make(server, name, code)
    pattern = {"source": [f"shop.{mark}"], "detail": {"price": [{"numeric": [">", 10]}]}}
    events.put_rule(Name=f"r-{mark}", EventPattern=json.dumps(pattern))
    put = events.put_targets(
        Rule=f"r-{mark}",
        Targets=[
            {"Id": "hook", "Arn": destination(server, hook)},
            {"Id": "function", "Arn": function["FunctionArn"], "InputPath": "$.detail"},
            {"Id": "queue", "Arn": "arn:aws:sqs:us-east-1:123456789012:q"},
        ],
    )
    assert [item["TargetId"] for item in put["FailedEntries"]] == ["queue"]
    entries = [
        {"Source": f"shop.{mark}", "DetailType": "sold", "Detail": json.dumps({"price": price})}
        for price in (5, 20)
    ]
    answer = events.put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 0
    await_that(lambda: True if len(got) == 2 else None, "the webhook's second call")
    assert [secret for secret, _ in got] == [SECRET, SECRET]
    assert got[0] == got[1]
    assert got[1][1]["detail"] == {"price": 20}
    assert got[1][1]["id"] == answer["Entries"][1]["EventId"]

    def kept() -> Any:
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"events/{mark}").get("Contents")
        return listed or None

    await_that(kept, "what the function kept")
    body = s3.get_object(Bucket=BUCKET, Key=f"events/{mark}")["Body"].read()
    assert json.loads(body) == {"price": 20}
    with pytest.raises(ClientError, match="has targets"):
        events.delete_rule(Name=f"r-{mark}")
    with pytest.raises(ClientError, match="known: prefix"):
        events.put_rule(Name="bad", EventPattern=json.dumps({"a": [{"like": "x"}]}))


def test_a_team_that_gets_work_is_told_of_by_an_event(server: Server, hook: Hook) -> None:
    got = hook.got
    mark = uuid.uuid4().hex[:8]
    events, sagemaker = server.client("events"), server.client("sagemaker")
    server.client("s3").create_bucket(Bucket=BUCKET)
    server.client("loopwright").invite_worker(WorkteamName=f"t-{mark}", Email=f"{mark}@example.com")
    topic = f"arn:aws:sns:us-east-1:123456789012:{mark}"
    changed = sagemaker.update_workteam(
        WorkteamName=f"t-{mark}", NotificationConfiguration={"NotificationTopicArn": topic}
    )["Workteam"]
    assert changed["NotificationConfiguration"] == {"NotificationTopicArn": topic}
    assert len(changed["MemberDefinitions"]) == 1
    pattern = {
        "detail-type": ["Workteam Work Available"],
        "detail": {"workteamName": [f"t-{mark}"]},
    }
    events.put_rule(Name=f"r-{mark}", EventPattern=json.dumps(pattern))
    events.put_targets(Rule=f"r-{mark}", Targets=[{"Id": "hook", "Arn": destination(server, hook)}])
    arn = flow(server, f"f-{mark}", f"t-{mark}")
    for number in range(2):
        server.client("sagemaker-a2i-runtime").start_human_loop(
            HumanLoopName=f"l-{mark}-{number}",
            FlowDefinitionArn=arn,
            HumanLoopInput={"InputContent": "{}"},
        )
    await_that(lambda: True if len(got) == 2 else None, "the first call and its repetition")
    assert got[0] == got[1]
    assert got[1][1]["detail"]["notificationTopicArn"] == topic
    assert got[1][1]["detail"]["portalUrl"] == f"{server.url}/work"
