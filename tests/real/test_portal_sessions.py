"""Work that a session's end, another sign-in, or the way back must not lose; small screens."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.real.people import PASSWORD, begin, browsing, flow, worker
from tests.server import Server, await_that

pytestmark = pytest.mark.real
PHONE: Any = {"width": 360, "height": 640}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


def started(server: Server, browser: Browser, count: int = 1) -> tuple[str, str, Page]:
    """A worker with open tasks: the team (the first loop's name), the address, the page."""
    team = f"team-{uuid.uuid4().hex[:8]}"
    email = f"{team}@example.com"
    page = worker(server, browser, team, email).pages[0]
    arn = flow(server, f"flow-{team}", team)
    for number in range(count):
        server.client("sagemaker-a2i-runtime").start_human_loop(
            HumanLoopName=f"{team}-{number}",
            FlowDefinitionArn=arn,
            HumanLoopInput={"InputContent": json.dumps({"text": f"message {number}"})},
        )
    await_that(lambda: True if _waits(page, server) else None, "the task in the list")
    return team, email, page


def _waits(page: Page, server: Server) -> bool:
    page.goto(f"{server.url}/work")
    return page.locator(".job").count() > 0


def choose(page: Page) -> None:
    frame = page.frame_locator("#page")
    frame.get_by_text("spam", exact=True).first.click()


def submit(page: Page) -> None:
    page.frame_locator("#page").get_by_role("button", name="Submit").click()


def sign_in(page: Page, email: str) -> None:
    page.get_by_label("User name or e-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def completed(server: Server, name: str) -> None:
    runtime = server.client("sagemaker-a2i-runtime")

    def over() -> bool | None:
        found = runtime.describe_human_loop(HumanLoopName=name)["HumanLoopStatus"]
        return True if found == "Completed" else None

    server.client("s3").create_bucket(Bucket="test-bucket")
    await_that(over, f"the end of {name}")


def test_an_answer_survives_the_end_of_its_session(server: Server, browser: Browser) -> None:
    team, email, page = started(server, browser)
    begin(page, server.url)
    choose(page)
    page.context.clear_cookies()
    submit(page)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page, email)
    completed(server, f"{team}-0")


def test_an_answer_survives_another_sign_in_in_another_tab(
    server: Server, browser: Browser
) -> None:
    team, email, page = started(server, browser)
    begin(page, server.url)
    choose(page)
    other = page.context.new_page()
    other.goto(f"{server.url}/work")
    other.get_by_role("button", name="Sign out").click()
    sign_in(other, email)
    expect(other.get_by_role("heading", name="Your work")).to_be_visible()
    submit(page)
    completed(server, f"{team}-0")


def test_the_way_back_leads_to_the_list(server: Server, browser: Browser) -> None:
    _, _, page = started(server, browser, 2)
    begin(page, server.url)
    choose(page)
    first = page.url
    submit(page)
    page.wait_for_function("was => location.href !== was", arg=first)
    assert "/work/tasks/" in page.url
    page.go_back()
    expect(page.get_by_role("heading", name="Your work")).to_be_visible()
    page.goto(first)
    expect(page.get_by_text("You have answered that task already.")).to_be_visible()


def test_pages_fit_a_phone_and_are_walked_by_keyboard(server: Server, browser: Browser) -> None:
    _, _, page = started(server, browser)
    page.set_viewport_size(PHONE)
    page.goto(f"{server.url}/work")
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= PHONE["width"]
    seen = []
    for _ in range(4):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert seen == ["Skip to content", "Loopwright work", "Sign out", "Start"]
    page.keyboard.press("Enter")
    page.wait_for_url("**/work/tasks/*")
    expect(page.frame_locator("#page").get_by_role("button", name="Submit")).to_be_visible()
    assert page.evaluate(wide) <= PHONE["width"]
    # The work has at least half of the screen.
    box = page.locator("#page").bounding_box()
    assert box is not None
    assert box["height"] >= PHONE["height"] / 2, box
    assert box["width"] == PHONE["width"]
