"""Functions that do odd things: each has Lambda's own answer, and nobody waits for ever."""

import base64
import io
import json
import threading
import time
import uuid
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.test_functions import archive, call, make
from tests.server import Server

pytestmark = pytest.mark.real
CODE = """\
import decimal, os, sys, threading, time


def forever():
    while True:
        time.sleep(0.1)


def handler(event, context):
    what = event.get("do")
    if what == "set":
        return {1, 2}
    if what == "bytes":
        return b"raw"
    if what == "decimal":
        return {"price": decimal.Decimal("1.5"), "text": "\\u00e4\\ud800", "nan": None}
    if what == "big":
        return "x" * 7_000_000
    if what == "exit":
        sys.exit(4)
    if what == "exit-words":
        sys.exit("enough")
    if what == "thread":
        threading.Thread(target=forever).start()
        return "left one behind"
    if what == "swallow":
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
    if what == "swallow-once":
        try:
            time.sleep(60)
        except BaseException:
            return "as if nothing had been"
    if what == "print":
        sys.stdout.write("no newline at the end")
    if what == "client":
        return [context.client_context.custom, context.client_context.env]
    return event
"""
JSON = dict[str, Any]


@pytest.fixture(scope="module")
def odd(server: Server) -> str:
    name = f"odd-{uuid.uuid4().hex[:6]}"
    make(server, name, CODE, Timeout=1)
    return name


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("set", "Runtime.MarshalError", "Unable to marshal response: Object of type set"),
        ("bytes", "Runtime.MarshalError", "Object of type bytes is not JSON serializable"),
        ("big", "Function.ResponseSizeTooLarge", "Response payload size exceeded"),
        ("exit", "Runtime.ExitError", "exit status 4"),
        ("exit-words", "Runtime.ExitError", "enough"),
        ("swallow-once", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    ],
)
def test_what_goes_wrong_is_told_in_lambdas_words(
    server: Server, odd: str, what: str, kind: str, words: str
) -> None:
    answer, found = call(server, odd, {"do": what})
    assert answer["FunctionError"] == "Unhandled"
    assert found["errorType"] == kind
    assert words in found["errorMessage"]


def test_who_swallows_the_end_of_the_time_is_ended(server: Server, odd: str) -> None:
    answer, found = call(server, odd, {"do": "swallow"})
    assert answer["FunctionError"] == "Unhandled"
    assert "Task timed out after 1.00 seconds" in found["errorMessage"]


def test_odd_results_and_payloads_come_back(server: Server, odd: str) -> None:
    assert call(server, odd, {"do": "decimal"})[1]["price"] == 1.5
    began = time.monotonic()
    assert call(server, odd, {"do": "thread"})[1] == "left one behind"
    assert time.monotonic() - began < 5
    deep: Any = "x"
    for _ in range(190):
        deep = [deep]
    big = {"text": "ä" * 1_000_000}
    for event in (["list"], "text", 5, None, big, {"deep": deep}):
        if isinstance(event, dict):
            assert call(server, odd, event)[1] == event
    client = server.client("lambda")
    assert json.load(client.invoke(FunctionName=odd)["Payload"]) == {}
    answer, _ = call(server, odd, {"do": "print"}, LogType="Tail")
    assert "no newline at the end" in base64.b64decode(answer["LogResult"]).decode()
    told = base64.b64encode(json.dumps({"custom": {"a": 1}, "env": {"b": "2"}}).encode()).decode()
    assert call(server, odd, {"do": "client"}, ClientContext=told)[1] == [{"a": 1}, {"b": "2"}]
    with pytest.raises(ClientError, match="ClientContext"):
        client.invoke(FunctionName=odd, ClientContext="bm90IGpzb24=")
    for payload in (b"\xff\xfe", b"{"):
        with pytest.raises(client.exceptions.InvalidRequestContentException):
            client.invoke(FunctionName=odd, Payload=payload)
    with pytest.raises(client.exceptions.InvalidRequestContentException, match="nests"):
        client.invoke(FunctionName=odd, Payload=b"[" * 500 + b"]" * 500)
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="PROD"):
        client.invoke(FunctionName=f"{odd}:PROD")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="'3'"):
        client.get_function(FunctionName=odd, Qualifier="3")


def test_many_at_once(server: Server, odd: str) -> None:
    found: list[Any] = []

    def ask(number: int) -> None:
        found.append(call(server, odd, {"n": number})[1]["n"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == list(range(8))


def test_archives_that_leave_their_folder_or_are_broken(server: Server) -> None:
    name = f"bad-{uuid.uuid4().hex[:6]}"
    code = archive({"main.py": "def handler(event, context): return 1", "../../evil.py": "x"})
    make(server, name, Code={"ZipFile": code})
    _, found = call(server, name, {})
    assert "leaves the folder" in found["errorMessage"]
    with io.BytesIO() as packed:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("main.py", "\n".join(map(str, range(5000))))
        content = bytearray(packed.getvalue())
    content[200:400] = bytes(200)
    with pytest.raises(ClientError, match="Could not unzip"):
        make(server, "broken", Code={"ZipFile": bytes(content)})
    for members, match in (
        ({"Publish": True}, "Publish"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "AWS_REGION"),
        ({"CodeSigningConfigArn": "arn:aws:lambda:us-east-1:123456789012:code-signing-config:"
          "csc-0123456789abcdef0"}, "CodeSigningConfigArn"),
    ):  # fmt: skip
        with pytest.raises(ClientError, match=match):
            make(server, f"refused-{uuid.uuid4().hex[:6]}", **members)
