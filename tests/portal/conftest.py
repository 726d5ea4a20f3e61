"""One browser for all tests; each test opens one task in a sandboxed frame."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Frame, Page, sync_playwright

from tests.portal.serving import SCRIPT, Site, png, serving

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = {"width": 1200, "height": 900}
WAIT_MS = 60_000


class Task:
    """A task in its frame, and what the portal around it heard."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.set_default_timeout(WAIT_MS)

    @property
    def frame(self) -> Frame:
        frame = self.page.frame("task")
        assert frame is not None
        return frame

    def js(self, code: str, argument: Any = None) -> Any:
        return self.frame.evaluate(code, argument)

    def heard(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate(
            "(kind) => messages.filter((m) => m.type === kind)", kind
        )
        return found

    def wait(self, kind: str, count: int = 1) -> dict[str, Any]:
        self.page.wait_for_function(
            "([kind, count]) => messages.filter((m) => m.type === kind).length >= count",
            arg=[kind, count],
        )
        return self.heard(kind)[-1]

    def tell(self, message: dict[str, Any]) -> None:
        self.page.evaluate("(message) => tell(message)", message)

    def until(self, code: str, argument: Any = None) -> None:
        """Waits for a condition in the frame, whose policy forbids what polls by itself."""
        self.frame.evaluate(
            """async ([code, argument]) => {
              const script = document.createElement('script');
              script.textContent = 'window.condition = ' + code;
              document.head.append(script);
              const end = performance.now() + 60000;
              while (!window.condition(argument)) {
                if (performance.now() > end) throw new Error('never: ' + code);
                await new Promise(requestAnimationFrame);
              }
            }""",
            [code, argument],
        )

    def ready_pictures(self) -> None:
        self.until(
            "() => [...document.querySelectorAll('*')].every((e) => !e.view || !('isLoaded' in e.view)"
            " || (e.view.isLoaded && !e.waiting))"
        )

    def submit(self) -> dict[str, Any]:
        before = len(self.heard("submit"))
        self.frame.locator('crowd-button[form-action="submit"]').first.click()
        answer: dict[str, Any] = self.wait("submit", before + 1)["answer"]
        return answer

    def at(self, x: float, y: float, selector: str = ".upper-canvas") -> tuple[float, float]:
        """Where on the page a point of the picture is."""
        point = self.js(
            """([x, y, selector]) => {
              for (const host of document.querySelectorAll('*')) {
                const canvas = host.shadowRoot?.querySelector(selector);
                if (!canvas) continue;
                const p = host.view.toStage({x, y}), box = canvas.getBoundingClientRect();
                return [box.left + p.x, box.top + p.y];
              }
            }""",
            [x, y, selector],
        )
        return point[0], point[1]

    def drag(self, *points: tuple[float, float]) -> None:
        places = [self.at(*point) for point in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=3)
        self.page.mouse.up()

    def click(self, *points: tuple[float, float]) -> None:
        for point in points:
            self.page.mouse.click(*self.at(*point))

    def keys(self, *keys: str) -> None:
        for key in keys:
            name, _, count = key.partition("*")
            for _ in range(int(count or 1)):
                self.page.keyboard.press(name)

    def focus(self, selector: str) -> None:
        self.frame.locator(selector).first.focus()


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    with serving() as site:
        site.files["/picture.png"] = png(200, 100)
        yield site


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        reason = f"no Chromium at {CHROMIUM}: pages are tested in a real browser"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        yield browser
        browser.close()


class Opener:
    def __init__(self, browser: Browser, site: Site) -> None:
        self.browser = browser
        self.site = site
        self.tasks: list[Task] = []

    def __call__(
        self, body: str, *, script_first: bool = True, has_pictures: bool = True, **options: Any
    ) -> Task:
        self.site.task = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            + (SCRIPT if script_first else "")
            + f"</head><body>{body}{'' if script_first else SCRIPT}</body></html>"
        )
        page = self.browser.new_page(**{"viewport": WIDE, **options})
        task = Task(page)
        self.tasks.append(task)
        page.goto(f"{self.site.url}/host")
        task.wait("ready")
        if has_pictures:
            task.ready_pictures()
        return task


@pytest.fixture
def open_task(browser: Browser, site: Site) -> Iterator[Opener]:
    opener = Opener(browser, site)
    yield opener
    for task in opener.tasks:
        task.page.close()
        assert not task.errors, task.errors
