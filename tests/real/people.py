"""Workers, flows and pages that tests of people's work use."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import skip
from tests.server import BUCKET, ROLE, Server

PASSWORD = "Correct-Horse-7"
CHROMIUM = "/usr/bin/chromium"
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TEMPLATE = """
<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
<crowd-form>
  <crowd-classifier name="verdict" categories="['spam', 'ham']" header="What is it?">
    <classification-target>{{ task.input.text }}</classification-target>
    <full-instructions header="Rules">Spam is what nobody asked for.</full-instructions>
    <short-instructions>Read, then choose.</short-instructions>
  </crowd-classifier>
</crowd-form>
"""


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """Debian's Chromium, or a skip that says what is missing."""
    if not Path(CHROMIUM).exists():
        skip("Chromium is not installed (Debian: apt-get install chromium)")
    with open_browser() as found:
        yield found


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


def worker(server: Server, browser: Browser, team: str, email: str) -> BrowserContext:
    """A browser window of its own, in which a newly invited worker is signed in."""
    own = server.client("loopwright")
    invited = own.invite_worker(WorkteamName=team, Email=email)
    context = browser.new_context()
    page = context.new_page()
    page.goto(invited["InvitationUrl"])
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("Once more").fill(PASSWORD)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"/work$"))
    return context


def flow(server: Server, name: str, team: str, template: str = TEMPLATE, **more: Any) -> str:
    """A flow definition with its UI; its ARN. The team must exist."""
    sagemaker = server.client("sagemaker")
    ui = sagemaker.create_human_task_ui(
        HumanTaskUiName=f"{name}-ui", UiTemplate={"Content": template}
    )
    team_arn = sagemaker.describe_workteam(WorkteamName=team)["Workteam"]["WorkteamArn"]
    config = {
        "WorkteamArn": team_arn,
        "HumanTaskUiArn": ui["HumanTaskUiArn"],
        "TaskTitle": "Judge a message",
        "TaskDescription": "Say whether the message is spam.",
        "TaskCount": 1,
        **more,
    }
    answer = sagemaker.create_flow_definition(
        FlowDefinitionName=name,
        HumanLoopConfig=config,
        OutputConfig={"S3OutputPath": f"s3://{BUCKET}/a2i"},
        RoleArn=ROLE,
    )
    return str(answer["FlowDefinitionArn"])


def begin(page: Page, url: str, title: str = "Judge a message") -> None:
    """Open the list and start the first task of a job."""
    page.goto(f"{url}/work")
    card = page.locator(".job", has_text=title)
    card.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"/work/tasks/"))
