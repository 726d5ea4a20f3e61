"""The portal's pages by axe-core: names of controls, contrast, headings (WCAG 2.1 AA)."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.axe import RULES, SCHEMES, axe_script
from tests.real.people import begin, browsing, worker
from tests.real.test_portal_sessions import started
from tests.server import Server

pytestmark = pytest.mark.real
# A frame holds the template as its author wrote it, whose language only the author knows; what a
# page needs once, the outer page has.
OUTER = ("document-title", "html-has-lang", "landmark-one-main", "page-has-heading-one", "region")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def axe() -> str:
    return axe_script()


def faults(page: Page, axe: str) -> list[str]:
    """What axe-core finds in the page and its frames, light and dark."""
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for frame in page.frames:
            frame.evaluate(axe)
            told: dict[str, Any] = frame.evaluate(
                "rules => axe.run(document, {runOnly: rules, iframes: false})", RULES
            )
            outer = frame == page.main_frame
            found += [
                f"{scheme} {frame.url}: {item['id']}: {node['html'][:200]} "
                f"{node['failureSummary'][:300]}"
                for item in told["violations"]
                if outer or item["id"] not in OUTER
                for node in item["nodes"]
            ]
    return found


def test_pages_of_a_worker(server: Server, browser: Browser, axe: str) -> None:
    _, _, page = started(server, browser, count=2)
    assert faults(page, axe) == []
    begin(page, server.url)
    page.frame_locator("#page").get_by_role("button", name="Submit").wait_for()
    assert faults(page, axe) == []
    page.goto(f"{server.url}/work/tasks/none-such")
    assert faults(page, axe) == []


def test_pages_of_who_is_not_signed_in(server: Server, browser: Browser, axe: str) -> None:
    page = browser.new_page()
    for path in ("sign-in", "join/none-such", "owner/none-such"):
        page.goto(f"{server.url}/work/{path}")
        assert faults(page, axe) == [], path
    team = f"team-{uuid.uuid4().hex[:8]}"
    own = server.client("loopwright")
    page.goto(own.invite_worker(WorkteamName=team, Email=f"{team}@example.com")["InvitationUrl"])
    assert faults(page, axe) == []


def test_the_owners_page(server: Server, browser: Browser, axe: str) -> None:
    worker(server, browser, f"team-{uuid.uuid4().hex[:8]}", "seen@example.com")
    page = browser.new_page()
    page.goto(server.client("loopwright").create_owner_link()["Url"])
    assert faults(page, axe) == []
