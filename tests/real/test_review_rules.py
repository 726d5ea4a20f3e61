"""The third lab's loop: a live endpoint's doubtful answers go to people and come back as labels."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from playwright.sync_api import Browser, expect

from tests.real.people import begin, browsing, flow, worker
from tests.server import BUCKET, ROLE, SKLEARN, Server, await_that, packed, variant

pytestmark = pytest.mark.real
MODEL = """\
import json


def model_fn(model_dir):
    return None


def input_fn(body, content_type):
    return json.loads(body)


def predict_fn(asked, model):
    spam = asked["doubt"]
    return {"probabilities": [spam, 1 - spam]}


def output_fn(answer, accept):
    return json.dumps(answer), "application/json"
"""
TEMPLATE = """
<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
<crowd-form>
  <crowd-classifier name="verdict" categories='{{ task.input.labels | to_json }}'
    initial-value="{{ task.input.predictedLabel }}"
    header="The model said {{ task.input.predictedLabel }} ({{ task.input.confidence }}).">
    <classification-target>{{ task.input.request.text }}</classification-target>
    <full-instructions>Say what it is.</full-instructions>
    <short-instructions>Spam or ham?</short-instructions>
  </crowd-classifier>
</crowd-form>
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def served(server: Server) -> Server:
    """An endpoint `judge` whose confidence is what the caller asks for."""
    data = server.put("judge/model.tar.gz", packed({"note.txt": "x"}))
    source = server.put_source("judge", {"serve.py": MODEL})
    sagemaker = server.client("sagemaker")
    environment = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": source}
    sagemaker.create_model(
        ModelName="judge",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": SKLEARN, "ModelDataUrl": data, "Environment": environment},
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName="judge", ProductionVariants=[variant("one", "judge")]
    )
    sagemaker.create_endpoint(EndpointName="judge", EndpointConfigName="judge")
    assert server.endpoint("judge")["EndpointStatus"] == "InService"
    return server


def _ask(server: Server, text: str, doubt: float, inference: str) -> None:
    server.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="judge",
        ContentType="application/json",
        InferenceId=inference,
        Body=json.dumps({"text": text, "doubt": doubt}),
    )


def _rule(server: Server, name: str) -> dict[str, Any]:
    found = server.client("loopwright").describe_review_rule(RuleName=name)
    return dict(found)


def test_doubtful_answers_are_reviewed_and_become_ground_truth(
    served: Server, browser: Browser
) -> None:
    own = served.client("loopwright")
    ana = worker(served, browser, "judges", "judge-ana@example.com").pages[0]
    ben = worker(served, browser, "judges", "judge-ben@example.com").pages[0]
    arn = flow(served, "judge-flow", "judges", TEMPLATE, TaskCount=2)
    own.put_review_rule(
        RuleName="doubtful",
        EndpointName="judge",
        FlowDefinitionArn=arn,
        ConfidenceThreshold=0.8,
        ClassThresholds={"ham": 0.6},
        Labels=["spam", "ham"],
        GroundTruthS3Uri=f"s3://{BUCKET}/reviewed-truth",
    )

    def asked_until_seen() -> bool | None:
        # Until the gateway has the rule, answers are not told of.
        _ask(served, "win a prize", 0.7, "first")
        return True if _rule(served, "doubtful")["OpenLoops"] else None

    await_that(asked_until_seen, "the first review")
    seen: list[int] = []

    def all_taken() -> int | None:
        # Several may have been asked before the first was seen: until no more of them come.
        seen.append(_rule(served, "doubtful")["OpenLoops"])
        return seen[-1] if len(seen) >= 30 and len(set(seen[-30:])) == 1 else None

    settled = await_that(all_taken, "the loops of all that was asked")
    _ask(served, "certain spam", 0.95, "sure")
    _ask(served, "ham below 0.8, above its own 0.6", 0.3, "fine")
    _ask(served, "ham below 0.6", 0.45, "second")
    await_that(
        lambda: True if _rule(served, "doubtful")["OpenLoops"] == settled + 1 else None,
        "the second review, and no other",
    )
    a2i = served.client("sagemaker-a2i-runtime")
    summaries = a2i.list_human_loops(FlowDefinitionArn=arn, MaxResults=100)["HumanLoopSummaries"]
    assert len(summaries) == settled + 1
    for page in (ana, ben):
        begin(page, served.url)
        frame = page.frame_locator("#page")
        expect(frame.get_by_text("The model said spam (0.7).")).to_be_visible()
        frame.get_by_role("radio", name="ham").check()
        frame.get_by_role("button", name="Submit").click()
        expect(frame.get_by_text("The model said")).to_be_visible()
    await_that(
        lambda: _rule(served, "doubtful")["AnsweredLoops"] or None, "the first answered loop"
    )
    s3 = served.client("s3")
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="reviewed-truth/")["Contents"]
    line = json.loads(s3.get_object(Bucket=BUCKET, Key=listed[0]["Key"])["Body"].read())
    assert line == {
        "groundTruthData": {"data": "ham", "encoding": "CSV"},
        "eventMetadata": {"eventId": "first"},
        "eventVersion": "0",
    }
    assert (
        own.export_reviews(RuleName="doubtful", S3OutputUri=f"s3://{BUCKET}/again.manifest")[
            "Lines"
        ]
        == 1
    )
    body = s3.get_object(Bucket=BUCKET, Key="again.manifest")["Body"].read()
    found = json.loads(body)
    assert json.loads(found["source"]) == {"text": "win a prize", "doubt": 0.7}
    assert found["label"] == 1
    assert found["label-metadata"]["class-name"] == "ham"
    assert found["label-metadata"]["human-annotated"] == "yes"
    assert found["label-metadata"]["confidence"] == 1.0
    own.delete_review_rule(RuleName="doubtful")
    with pytest.raises(ClientError, match="no review rule"):
        own.describe_review_rule(RuleName="doubtful")


def test_rules_that_could_not_work_are_refused(served: Server) -> None:
    own = served.client("loopwright")
    own.invite_worker(WorkteamName="deciders", Email="decider@example.com")
    arn = flow(served, "decider-flow", "deciders")
    given = {"RuleName": "r", "EndpointName": "judge", "FlowDefinitionArn": arn}
    for members, match in (
        ({}, "Give ConfidenceThreshold"),
        ({"ConfidenceThreshold": 1.5}, "from 0 to 1"),
        ({"RandomPercentage": 101.0}, "from 0 to 100"),
        ({"ClassThresholds": {"x": 0.5}, "Labels": ["a", "b"]}, "none of Labels"),
        ({"ConfidenceThreshold": 0.5, "EndpointName": "nobody"}, "no endpoint"),
        ({"ConfidenceThreshold": 0.5, "FlowDefinitionArn": arn + "x"}, "no flow definition"),
    ):
        with pytest.raises(ClientError, match=match):
            own.put_review_rule(**{**given, **members})
