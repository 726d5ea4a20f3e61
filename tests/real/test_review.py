"""Human loops end to end: the API by boto3, the workers in a real browser."""

import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.real.people import begin, browsing, flow, worker
from tests.server import BUCKET, Server, await_that

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


def _name(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def _bucket(server: Server) -> Any:
    s3 = server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    return s3


def _start(server: Server, flow_arn: str, content: dict[str, Any]) -> str:
    name = _name("loop")
    server.client("sagemaker-a2i-runtime").start_human_loop(
        HumanLoopName=name,
        FlowDefinitionArn=flow_arn,
        HumanLoopInput={"InputContent": json.dumps(content)},
    )
    return name


def _ended(server: Server, name: str) -> dict[str, Any]:
    a2i = server.client("sagemaker-a2i-runtime")

    def over() -> dict[str, Any] | None:
        found = a2i.describe_human_loop(HumanLoopName=name)
        return found if found["HumanLoopStatus"] not in ("InProgress", "Stopping") else None

    return await_that(over, f"the end of {name}")


def _output(server: Server, described: dict[str, Any]) -> dict[str, Any]:
    uri = described["HumanLoopOutput"]["OutputS3Uri"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = server.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return dict(json.loads(body))


def _answer(page: Page, label: str) -> None:
    frame = page.frame_locator("#page")
    frame.get_by_text(label, exact=True).first.click()
    frame.get_by_role("button", name="Submit").click()


def test_two_workers_answer_and_the_output_is_as_documented(
    server: Server, browser: Browser
) -> None:
    _bucket(server)
    team = _name("team")
    ana = worker(server, browser, team, f"{team}-ana@example.com").pages[0]
    ben = worker(server, browser, team, f"{team}-ben@example.com").pages[0]
    arn = flow(server, _name("flow"), team, TaskCount=2)
    text = "<img src=x onerror=\"document.title='broken'\"> & 'quotes'"
    name = _start(server, arn, {"text": text})
    faults: list[str] = []
    for page in (ana, ben):
        page.on("pageerror", lambda error: faults.append(str(error)))
        begin(page, server.url)
        expect(page.frame_locator("#page").get_by_text("onerror=")).to_be_visible()
        _answer(page, "spam" if page is ana else "ham")
        page.wait_for_url(re.compile("said=done"))
    described = _ended(server, name)
    assert described["HumanLoopStatus"] == "Completed"
    assert re.search(
        rf"/\d{{4}}/\d\d/\d\d/\d\d/\d\d/\d\d/{name}/output\.json$",
        described["HumanLoopOutput"]["OutputS3Uri"],
    )
    output = _output(server, described)
    assert output["inputContent"] == {"text": text}
    assert output["humanLoopName"] == name
    assert output["flowDefinitionArn"] == arn
    answers = output["humanAnswers"]
    assert [item["answerContent"] for item in answers] == [
        {"verdict": {"label": "spam"}},
        {"verdict": {"label": "ham"}},
    ]
    for item in answers:
        assert item["timeSpentInSeconds"] > 0
        assert item["workerId"].startswith("private.us-east-1.")
        found = item["workerMetadata"]["identityData"]
        assert found["identityProviderType"] == "Cognito"
        assert found["issuer"].startswith("https://cognito-idp.us-east-1.amazonaws.com/us-east-1_")
    assert len({item["workerId"] for item in answers}) == 2
    assert not faults


def test_a_task_is_answered_by_keyboard_and_survives_a_reload(
    server: Server, browser: Browser
) -> None:
    _bucket(server)
    team = _name("team")
    page = worker(server, browser, team, f"{team}@example.com").pages[0]
    name = _start(server, flow(server, _name("flow"), team), {"text": "hello"})
    begin(page, server.url)
    frame = page.frame_locator("#page")
    expect(frame.get_by_role("radio", name="ham")).to_be_visible()
    frame.get_by_role("radio", name="spam").focus()
    page.keyboard.press("ArrowDown")
    expect(frame.get_by_role("radio", name="ham")).to_be_checked()
    page.wait_for_function("() => Object.keys(localStorage).some((k) => k.startsWith('draft:'))")
    page.reload()
    expect(frame.get_by_role("radio", name="ham")).to_be_checked()
    frame.get_by_role("button", name="Submit").press("Enter")
    page.wait_for_url(re.compile("said=done"))
    answers = _output(server, _ended(server, name))["humanAnswers"]
    assert [item["answerContent"] for item in answers] == [{"verdict": {"label": "ham"}}]


def test_the_next_task_follows_the_last_and_a_second_tab_counts_once(
    server: Server, browser: Browser
) -> None:
    _bucket(server)
    team = _name("team")
    context = worker(server, browser, team, f"{team}@example.com")
    page = context.pages[0]
    arn = flow(server, _name("flow"), team)
    names = [_start(server, arn, {"text": f"message {number}"}) for number in range(3)]
    begin(page, server.url)
    second = context.new_page()
    second.goto(page.url)
    _answer(page, "spam")
    expect(page.frame_locator("#page").get_by_text("message 1")).to_be_visible()
    _answer(second, "ham")
    expect(second.frame_locator("#page").get_by_text("message 1")).to_be_visible()
    _answer(page, "spam")
    expect(page.frame_locator("#page").get_by_text("message 2")).to_be_visible()
    _answer(page, "ham")
    page.wait_for_url(re.compile("said=done"))
    labels = [
        [item["answerContent"]["verdict"]["label"] for item in output["humanAnswers"]]
        for output in (_output(server, _ended(server, name)) for name in names)
    ]
    assert labels == [["spam"], ["spam"], ["ham"]]


def test_given_back_declined_and_stopped_tasks(server: Server, browser: Browser) -> None:
    _bucket(server)
    team = _name("team")
    page = worker(server, browser, team, f"{team}@example.com").pages[0]
    arn = flow(server, _name("flow"), team)
    name = _start(server, arn, {"text": "who takes me?"})
    begin(page, server.url)
    page.get_by_role("button", name="Give back").click()
    expect(page.get_by_role("status")).to_have_text("Given back.")
    begin(page, server.url)
    page.get_by_role("button", name="Decline").click()
    expect(page.get_by_text("You will not be asked again.")).to_be_visible()
    page.goto(f"{server.url}/work")
    expect(page.get_by_role("button", name="Start")).to_have_count(0)
    a2i = server.client("sagemaker-a2i-runtime")
    with pytest.raises(botocore.exceptions.ClientError, match="only one that has ended"):
        a2i.delete_human_loop(HumanLoopName=name)
    a2i.stop_human_loop(HumanLoopName=name)
    described = _ended(server, name)
    assert described["HumanLoopStatus"] == "Stopped"
    assert "HumanLoopOutput" not in described
    listed = a2i.list_human_loops(FlowDefinitionArn=arn)["HumanLoopSummaries"]
    assert [(item["HumanLoopName"], item["HumanLoopStatus"]) for item in listed] == [
        (name, "Stopped")
    ]
    a2i.delete_human_loop(HumanLoopName=name)
    with pytest.raises(botocore.exceptions.ClientError, match="no human loop"):
        a2i.describe_human_loop(HumanLoopName=name)


def test_an_answer_outlives_a_killed_server_and_a_lost_network(
    own_server: Server, browser: Browser
) -> None:
    _bucket(own_server)
    context = worker(own_server, browser, "team", "ana@example.com")
    page = context.pages[0]
    arn = flow(own_server, "flow", "team")
    name = _start(own_server, arn, {"text": "stay"})
    begin(page, own_server.url)
    expect(page.frame_locator("#page").get_by_role("radio", name="spam")).to_be_visible()
    own_server.kill()
    _answer(page, "spam")
    expect(page.locator("#state")).to_contain_text("kept here", timeout=20_000)
    own_server.start()
    page.wait_for_url(re.compile("said=done"), timeout=40_000)
    answers = _output(own_server, _ended(own_server, name))["humanAnswers"]
    assert [item["answerContent"] for item in answers] == [{"verdict": {"label": "spam"}}]
    again = _start(own_server, arn, {"text": "offline"})
    begin(page, own_server.url)
    expect(page.frame_locator("#page").get_by_role("radio", name="ham")).to_be_visible()
    context.set_offline(True)
    _answer(page, "ham")
    expect(page.locator("#state")).to_contain_text("kept here")
    context.set_offline(False)
    page.wait_for_url(re.compile("said=done"), timeout=40_000)
    answers = _output(own_server, _ended(own_server, again))["humanAnswers"]
    assert [item["answerContent"] for item in answers] == [{"verdict": {"label": "ham"}}]


def test_a_lease_that_ran_out_goes_to_another_and_a_task_expires(
    quick: Server, browser: Browser
) -> None:
    _bucket(quick)
    team = _name("team")
    ana = worker(quick, browser, team, f"{team}-ana@example.com").pages[0]
    ben = worker(quick, browser, team, f"{team}-ben@example.com").pages[0]
    arn = flow(quick, _name("flow"), team, TaskTimeLimitInSeconds=60)
    name = _start(quick, arn, {"text": "soon"})
    begin(ana, quick.url)
    ben.goto(f"{quick.url}/work")
    expect(ben.get_by_role("button", name="Start")).to_have_count(0)
    expect(ana.locator("#left")).to_have_text("Time is up", timeout=15_000)
    begin(ben, quick.url)
    _answer(ben, "ham")
    ben.wait_for_url(re.compile("said=done"))
    _answer(ana, "spam")
    ana.wait_for_url(re.compile("said=done"))
    answers = _output(quick, _ended(quick, name))["humanAnswers"]
    assert [item["answerContent"] for item in answers] == [{"verdict": {"label": "ham"}}]
    workers = quick.client("loopwright").describe_workers()["Workers"]
    late = {item["Name"]: item["LateAnswers"] for item in workers}
    assert late[f"{team}-ana@example.com"] == 1
    short = flow(quick, _name("flow"), team, TaskAvailabilityLifetimeInSeconds=30)
    described = _ended(quick, _start(quick, short, {"text": "nobody comes"}))
    assert described["HumanLoopStatus"] == "Failed"
    assert described["FailureCode"] == "Expired"
    assert "0 of 1 answers" in described["FailureReason"]


def test_requests_that_could_not_work_are_refused_by_name(server: Server) -> None:
    _bucket(server)
    team = _name("team")
    server.client("loopwright").invite_worker(WorkteamName=team, Email=f"{team}@example.com")
    arn = flow(server, _name("flow"), team)
    a2i = server.client("sagemaker-a2i-runtime")
    sagemaker = server.client("sagemaker")

    def refused(match: str, call: Any, **members: Any) -> None:
        with pytest.raises(botocore.exceptions.ClientError, match=match):
            call(**members)

    start = a2i.start_human_loop
    loop = _name("loop")
    refused("no JSON", start, HumanLoopName=loop, FlowDefinitionArn=arn,
            HumanLoopInput={"InputContent": "{"})  # fmt: skip
    refused("must be a JSON object", start, HumanLoopName=loop, FlowDefinitionArn=arn,
            HumanLoopInput={"InputContent": "[]"})  # fmt: skip
    refused("no flow definition", start, HumanLoopName=loop, FlowDefinitionArn=arn + "x",
            HumanLoopInput={"InputContent": "{}"})  # fmt: skip
    given = {"HumanLoopName": loop, "FlowDefinitionArn": arn}
    first = start(**given, HumanLoopInput={"InputContent": '{"a": 1}'})["HumanLoopArn"]
    assert start(**given, HumanLoopInput={"InputContent": '{"a": 1}'})["HumanLoopArn"] == first
    refused("other input", start, **given, HumanLoopInput={"InputContent": '{"a": 2}'})
    refused("no Liquid template", sagemaker.create_human_task_ui, HumanTaskUiName=_name("ui"),
            UiTemplate={"Content": "{% if %}"})  # fmt: skip
    public = "arn:aws:sagemaker:us-east-1:394669845002:workteam/public-crowd/default"
    for members, match in (
        ({"WorkteamArn": public}, "only private workteams"),
        ({"TaskTimeLimitInSeconds": 30_000}, "at most 28800"),
        ({"PublicWorkforceTaskPrice": {"AmountInUsd": {"Cents": 1}}}, "leave it out"),
    ):
        with pytest.raises(botocore.exceptions.ClientError, match=match):
            flow(server, _name("flow"), team, **members)


def test_a_rendered_template_reports_its_errors(server: Server) -> None:
    _bucket(server).put_object(Bucket=BUCKET, Key="pictures/ä b.png", Body=b"not really a picture")
    sagemaker = server.client("sagemaker")
    role = "arn:aws:iam::123456789012:role/x"

    def render(content: str, given: str = "{}") -> Any:
        return sagemaker.render_ui_template(
            UiTemplate={"Content": content}, Task={"Input": given}, RoleArn=role
        )

    found = render(
        '<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>'
        '<img src="{{ task.input.source-ref | grant_read_access }}"><b>{{ task.input.say }}</b>',
        json.dumps({"source-ref": f"s3://{BUCKET}/pictures/ä b.png", "say": "<script>"}),
    )
    assert found["Errors"] == []
    page = found["RenderedContent"]
    assert "assets.crowd.aws" not in page
    assert "<b>&lt;script&gt;</b>" in page
    address = re.search(r'<img src="([^"]+)"', page)
    assert address is not None
    with urllib.request.urlopen(address[1]) as answer:
        assert answer.read() == b"not really a picture"
        assert answer.headers["Content-Type"] == "image/png"
    assert render("{% for %}")["Errors"][0]["Code"] == "TemplateError"
    assert render("x", "{,")["Errors"][0]["Code"] == "InvalidTaskInput"


NO_OBJECTS = {
    "another scheme": {"at": "https://example.org/cat.png"},
    "an empty value": {"at": ""},
    "a missing variable": {},
    "null": {"at": None},
    "a bucket alone": {"at": "s3://bucket"},
    "an empty bucket": {"at": "s3:///cat.png"},
    "white space": {"at": "  "},
    "white space around it": {"at": " s3://bucket/cat.png"},
}
ACCESS = '<crowd-form><img src="{{ task.input.at | grant_read_access }}"></crowd-form>'


@pytest.mark.parametrize("case", NO_OBJECTS)
def test_access_to_no_object_is_an_error_of_the_template(server: Server, case: str) -> None:
    found = server.client("sagemaker").render_ui_template(
        UiTemplate={"Content": ACCESS},
        Task={"Input": json.dumps(NO_OBJECTS[case])},
        RoleArn="arn:aws:iam::123456789012:role/x",
    )
    assert found["RenderedContent"] == ""
    assert found["Errors"][0]["Code"] == "TemplateError"
    assert "grant_read_access" in found["Errors"][0]["Message"]


def test_a_loop_whose_page_cannot_be_made_fails_and_nobody_is_asked(server: Server) -> None:
    team = _name("unshown")
    server.client("loopwright").invite_worker(WorkteamName=team, Email=f"{team}@example.com")
    arn = flow(server, _name("flow"), team, ACCESS)
    loops = [_start(server, arn, content) for content in NO_OBJECTS.values()]
    for loop in loops:
        found = _ended(server, loop)
        assert (found["HumanLoopStatus"], found["FailureCode"]) == ("Failed", "ValidationError")
        assert "grant_read_access" in found["FailureReason"]
        assert len(found["FailureReason"]) <= 1024
    listed = server.client("sagemaker-a2i-runtime").list_human_loops(FlowDefinitionArn=arn)
    for summary in listed["HumanLoopSummaries"]:
        assert summary["HumanLoopStatus"] == "Failed"
        assert "grant_read_access" in summary["FailureReason"]
    good = _start(server, arn, {"at": f"s3://{BUCKET}/no-such-cat.png"})
    described = server.client("sagemaker-a2i-runtime").describe_human_loop(HumanLoopName=good)
    assert described["HumanLoopStatus"] == "InProgress"
    server.client("sagemaker-a2i-runtime").stop_human_loop(HumanLoopName=good)
