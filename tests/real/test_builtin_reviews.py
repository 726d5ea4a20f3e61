"""The two built-in task types: Textract's and Rekognition's API, local models, real workers."""

import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, expect

from tests.real.people import begin, browsing, worker
from tests.server import BUCKET, ROLE, Server, await_that

pytestmark = pytest.mark.real
FORM = (
    ("Name:", "Ada Lovelace"),
    ("Date of Birth:", "10 December 1815"),
    ("Mail address:", "12 St James Square"),
    ("Phone", "555-0137"),
)
TEXTRACT = """
<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
{% capture address %}s3://{{ task.input.aiServiceRequest.document.s3Object.bucket
}}/{{ task.input.aiServiceRequest.document.s3Object.name }}{% endcapture %}
<crowd-form>
  <crowd-textract-analyze-document src="{{ address | grant_read_access }}"
    initial-value="{{ task.input.selectedAiServiceResponse.blocks }}"
    header="Check the pairs"
    keys="{{ task.input.humanLoopContext.importantFormKeys }}"
    block-types='["KEY_VALUE_SET"]'>
    <short-instructions>Correct what is wrong.</short-instructions>
    <full-instructions>All of it.</full-instructions>
  </crowd-textract-analyze-document>
</crowd-form>
"""
MODERATION = """
<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
<crowd-form>
  <crowd-rekognition-detect-moderation-labels
    categories='[{% for label in task.input.selectedAiServiceResponse.moderationLabels %}{
      name: "{{ label.name }}", parentName: "{{ label.parentName }}" },{% endfor %}]'
    src="s3"
    header="What is in it?">
    <short-instructions>Choose all.</short-instructions>
    <full-instructions>All.</full-instructions>
  </crowd-rekognition-detect-moderation-labels>
</crowd-form>
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


def picture(form: bool = True) -> bytes:
    image = Image.new("RGB", (900, 500), "white")
    if form:
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(28)
        draw.text((60, 30), "REGISTRATION FORM", font=font, fill="black")
        for number, (key, value) in enumerate(FORM):
            draw.text((60, 110 + 80 * number), key, font=font, fill="black")
            draw.text((380, 110 + 80 * number), value, font=font, fill="black")
        draw.text((60, 440), "Country: France", font=font, fill="black")
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def make_flow(server: Server, source: str, conditions: Any, template: str, team: str) -> str:
    sagemaker = server.client("sagemaker")
    name = f"built-in-{uuid.uuid4().hex[:8]}"
    ui = sagemaker.create_human_task_ui(HumanTaskUiName=name, UiTemplate={"Content": template})
    team_arn = sagemaker.describe_workteam(WorkteamName=team)["Workteam"]["WorkteamArn"]
    activation = {
        "HumanLoopActivationConditionsConfig": {
            "HumanLoopActivationConditions": json.dumps({"Conditions": conditions})
        }
    }
    answer = sagemaker.create_flow_definition(
        FlowDefinitionName=name,
        HumanLoopRequestSource={"AwsManagedHumanLoopRequestSource": source},
        HumanLoopActivationConfig=activation,
        HumanLoopConfig={
            "WorkteamArn": team_arn,
            "HumanTaskUiArn": ui["HumanTaskUiArn"],
            "TaskTitle": "Check a machine",
            "TaskDescription": "Is it right?",
            "TaskCount": 1,
        },
        OutputConfig={"S3OutputPath": f"s3://{BUCKET}/a2i"},
        RoleArn=ROLE,
    )
    return str(answer["FlowDefinitionArn"])


def pairs_of(blocks: list[dict[str, Any]]) -> dict[str, str]:
    known = {block["Id"]: block for block in blocks}

    def text(block: dict[str, Any]) -> str:
        relations = {item["Type"]: item["Ids"] for item in block.get("Relationships", ())}
        return " ".join(known[item]["Text"] for item in relations.get("CHILD", ()))

    found = {}
    for block in blocks:
        if block["BlockType"] == "KEY_VALUE_SET" and "KEY" in block["EntityTypes"]:
            relations = {item["Type"]: item["Ids"] for item in block["Relationships"]}
            found[text(block)] = text(known[relations["VALUE"][0]])
    return found


def test_a_form_is_read_and_its_doubtful_pairs_are_reviewed(
    server: Server, browser: Browser
) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="forms/one.png", Body=picture(), ContentType="image/png")
    team = f"team-{uuid.uuid4().hex[:8]}"
    page = worker(server, browser, team, f"{team}@example.com").pages[0]
    textract = server.client("textract")
    document = {"S3Object": {"Bucket": BUCKET, "Name": "forms/one.png"}}
    answer = textract.analyze_document(Document=document, FeatureTypes=["FORMS"])
    assert answer["DocumentMetadata"] == {"Pages": 1}
    assert "HumanLoopActivationOutput" not in answer
    pairs = pairs_of(answer["Blocks"])
    for key, value in (*FORM, ("Country:", "France")):
        assert pairs[key] == value
    lines = textract.detect_document_text(Document={"Bytes": picture()})["Blocks"]
    assert "REGISTRATION FORM" in [block.get("Text") for block in lines]
    conditions = [
        {
            "ConditionType": "ImportantFormKeyConfidenceCheck",
            "ConditionParameters": {
                "ImportantFormKey": "Mail address",
                "ImportantFormKeyAliases": ["Mailing address:"],
                "KeyValueBlockConfidence": {"LessThan": 100},
                "WordBlockConfidence": {"LessThan": 1},
            },
        },
        {
            "ConditionType": "MissingImportantFormKey",
            "ConditionParameters": {"ImportantFormKey": "Name"},
        },
    ]
    arn = make_flow(server, "AWS/Textract/AnalyzeDocument/Forms/V1", conditions, TEXTRACT, team)
    loop = f"loop-{uuid.uuid4().hex[:8]}"
    asked = {
        "Document": document,
        "FeatureTypes": ["FORMS"],
        "HumanLoopConfig": {"HumanLoopName": loop, "FlowDefinitionArn": arn},
    }
    told = textract.analyze_document(**asked)["HumanLoopActivationOutput"]
    assert told["HumanLoopArn"].endswith(f":human-loop/{loop}")
    tree = json.loads(told["HumanLoopActivationConditionsEvaluationResults"])
    assert [item["EvaluationResult"] for item in tree["Conditions"]] == [True, False]
    begin(page, server.url, "Check a machine")
    frame = page.frame_locator("#page")
    expect(frame.get_by_text("Check the pairs")).to_be_visible()
    frame.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/work?said=done")
    a2i = server.client("sagemaker-a2i-runtime")

    def ended() -> Any:
        found = a2i.describe_human_loop(HumanLoopName=loop)
        return found if found["HumanLoopStatus"] == "Completed" else None

    uri = await_that(ended, "the end")["HumanLoopOutput"]["OutputS3Uri"]
    key = uri.removeprefix(f"s3://{BUCKET}/")
    output = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert output["awsManagedHumanLoopRequestSource"] == "AWS/Textract/AnalyzeDocument/Forms/V1"
    content = output["inputContent"]
    assert content["aiServiceRequest"]["document"]["s3Object"]["name"] == "forms/one.png"
    chosen = content["selectedAiServiceResponse"]["blocks"]
    words = {block.get("text") for block in chosen if block["blockType"] == "WORD"}
    assert words == {"Mail", "address:", "12", "St", "James", "Square"}
    (given,) = output["humanAnswers"]
    assert given["answerContent"]["AWS/Textract/AnalyzeDocument/Forms/V1"]["blocks"]


def test_moderation_asks_people_when_its_conditions_say_so(server: Server) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="pictures/plain.png", Body=picture(form=False))
    team = f"team-{uuid.uuid4().hex[:8]}"
    server.client("loopwright").invite_worker(WorkteamName=team, Email=f"{team}@example.com")
    rekognition = server.client("rekognition")
    stored = {"S3Object": {"Bucket": BUCKET, "Name": "pictures/plain.png"}}
    source = "AWS/Rekognition/DetectModerationLabels/Image/V3"
    assert rekognition.detect_moderation_labels(Image=stored)["ModerationLabels"] == []

    def ask(*conditions: Any) -> dict[str, Any]:
        arn = make_flow(server, source, conditions, MODERATION, team)
        config = {"HumanLoopName": f"m-{uuid.uuid4().hex[:8]}", "FlowDefinitionArn": arn}
        answer = rekognition.detect_moderation_labels(Image=stored, HumanLoopConfig=config)
        return dict(answer["HumanLoopActivationOutput"])

    every = {
        "ConditionType": "Sampling",
        "ConditionParameters": {"RandomSamplingPercentage": 100},
    }
    doubtful = {
        "ConditionType": "ModerationLabelConfidenceCheck",
        "ConditionParameters": {"ModerationLabelName": "*", "Confidence": {"LessThan": 90}},
    }
    assert ask(every)["HumanLoopArn"]
    told = ask(doubtful, {"And": [every, doubtful]})
    assert "HumanLoopArn" not in told
    tree = json.loads(told["HumanLoopActivationConditionsEvaluationResults"])
    assert [node["EvaluationResult"] for node in tree["Conditions"]] == [False, False]
    assert [node["EvaluationResult"] for node in tree["Conditions"][1]["And"]] == [True, False]


def test_pictures_and_requests_that_cannot_be_read_are_refused(server: Server) -> None:
    textract, rekognition = server.client("textract"), server.client("rekognition")
    for body, match in ((b"no picture", "unsupported document"), (b"%PDF-1.7", "is a PDF")):
        with pytest.raises(ClientError, match=match):
            textract.detect_document_text(Document={"Bytes": body})
    with pytest.raises(ClientError, match="FORMS only"):
        textract.analyze_document(Document={"Bytes": picture()}, FeatureTypes=["TABLES"])
    with pytest.raises(ClientError, match="invalid image format"):
        rekognition.detect_moderation_labels(Image={"Bytes": b"no picture"})
    with pytest.raises(ClientError, match="does not exist"):
        rekognition.detect_moderation_labels(
            Image={"S3Object": {"Bucket": "nobody-has-it", "Name": "x"}}
        )
    assert textract.detect_document_text(Document={"Bytes": picture()})["Blocks"]
