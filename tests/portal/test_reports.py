"""Reports in a browser: alone, in light and dark, wide and narrow; their tables and axes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from loopwright.commands.online import bandit_page, experiment_page
from loopwright.tuning.report import render_report
from tests import reports
from tests.axe import RULES, SCHEMES, axe_script

PAGES = {
    "tuning": lambda: render_report(reports.tuning(20)),
    "several definitions": lambda: render_report(reports.tuning(9, ("small", "large"))),
    "tuning without values": lambda: render_report(reports.tuning(0)),
    "experiment": lambda: experiment_page(reports.online({"A": 0.2, "B": 0.3, "C": 0.2}, 900)),
    "experiment of nothing": lambda: experiment_page(reports.online({"A": 0.2, "B": 0.3}, 0)),
    "bandit": lambda: bandit_page(reports.bandit()),
    "bandit of nothing": lambda: bandit_page(reports.bandit(0)),
}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.close()


def _open(page: Page, folder: Path, text: str) -> list[str]:
    """Open a report from its file; what goes wrong, or reaches beyond the file, is in the list."""
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text))
    page.on("request", lambda asked: told.append(asked.url) if asked.url != page.url else None)
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    page.goto(file.as_uri())
    return [told_one for told_one in told if told_one != file.as_uri()]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_found_by_axe_and_nothing_is_wider_than_a_phone(
    name: str, page: Page, tmp_path: Path
) -> None:
    told = _open(page, tmp_path, PAGES[name]())
    assert told == []
    found = []
    for scheme, width in zip(SCHEMES, (1280, 390), strict=True):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(axe_script())
        said: dict[str, Any] = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
        found += [
            f"{scheme} {width} {item['id']}: {node['target']} {node['html'][:160]}"
            for item in said["violations"]
            for node in item["nodes"]
        ]
    assert found == []


def _column(page: Page, name: str) -> list[str]:
    number = page.locator("#trials ~ .scroll th").all_inner_texts().index(name)
    cells = page.locator(f"#trials ~ .scroll tbody tr:visible td:nth-child({number + 1})")
    return cells.all_inner_texts()


def test_a_press_on_a_column_s_name_sorts_the_trials(page: Page, tmp_path: Path) -> None:
    _open(page, tmp_path, render_report(reports.tuning(40)))
    assert [int(text) for text in _column(page, "#")] == list(range(1, 41))
    button = page.get_by_role("button", name="validation:auc", exact=True)
    for sign, word in ((1, "ascending"), (-1, "descending")):
        button.click()
        values = [float(text) for text in _column(page, "validation:auc") if text]
        assert values == sorted(values, key=lambda value: sign * value) and len(values) == 36
        assert _column(page, "validation:auc")[-4:] == [""] * 4, "without a value: last"
        assert page.locator(f"th[aria-sort={word}]").inner_text() == "validation:auc"
    assert _column(page, "state")[0] == "completed, the best"
    page.get_by_role("button", name="optimizer", exact=True).click()
    names = _column(page, "optimizer")
    assert names == sorted(names, key=str.lower) and "<b>lion" in names


def test_a_range_on_an_axis_picks_trials(page: Page, tmp_path: Path) -> None:
    _open(page, tmp_path, render_report(reports.tuning(40)))
    axis = page.get_by_role("button", name="Pick by layers")
    axis.scroll_into_view_if_needed()
    box = axis.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2
    # The upper half: 5 to 8 layers.
    page.mouse.move(middle, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(middle, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    layers = _column(page, "layers")
    assert layers and set(layers) <= {"5", "6", "7", "8"}
    said = page.locator(".picked output").inner_text()
    assert re.match(rf"{len(layers)} of 36 trials", said)
    assert page.locator(".thread:visible").count() == len(layers)
    # By keys, on another axis: both ranges hold.
    other = page.get_by_role("button", name="Pick by dropout")
    other.press("ArrowUp")
    other.press("Shift+ArrowUp")
    both = [float(text) for text in _column(page, "dropout")]
    assert 0 < len(both) < len(layers) and all(0.2 < value < 0.36 for value in both)
    other.press("Escape")
    assert len(_column(page, "layers")) == len(layers)
    page.get_by_role("button", name="Show all").click()
    assert len(_column(page, "layers")) == 40


def test_pictures_say_what_is_pointed_at(page: Page, tmp_path: Path) -> None:
    _open(page, tmp_path, bandit_page(reports.bandit()))
    page.locator("figure svg").hover()
    said = page.locator("figure .said").inner_text()
    assert re.search(r"\d+ rewards: A [\d.]+ %, B [\d.]+ %, C", said)
