"""Entities, ranking, questions and answers, and the review of forms that were read."""

from typing import Any

import pytest

from tests.portal.conftest import Opener

LABELS = (
    "[{'label':'person','shortDisplayName':'per','fullDisplayName':'Person'},{'label':'place'}]"
)
TEXT = "Hi 😀 Ada Lovelace, of London"
ENTITY = '<crowd-entity-annotation name="e" header="Names" labels="{labels}" text="{text}" {more}>{rest}</crowd-entity-annotation>'
ADA = {"label": "person", "startOffset": 5, "endOffset": 17}
LONDON = {"label": "place", "startOffset": 22, "endOffset": 28}


def entity(more: str = "", rest: str = "") -> str:
    return ENTITY.format(labels=LABELS, text=TEXT, more=more, rest=rest)


def place(task: Any, offset: int) -> tuple[float, float]:
    """The middle of the left edge of a character."""
    point = task.js(
        """(offset) => {
          const host = document.querySelector('crowd-entity-annotation, crowd-question-answer-generation');
          for (const span of host.shadowRoot.querySelectorAll('[data-start]')) {
            const points = Array.from(span.firstChild.textContent), start = Number(span.dataset.start);
            if (offset < start || offset >= start + points.length) continue;
            const range = document.createRange(), at = points.slice(0, offset - start).join('').length;
            range.setStart(span.firstChild, at);
            range.setEnd(span.firstChild, at + points[offset - start].length);
            const box = range.getBoundingClientRect();
            return [box.left + 1, (box.top + box.bottom) / 2];
          }
        }""",
        offset,
    )
    return point[0], point[1]


def select(task: Any, start: int, end: int) -> None:
    task.page.mouse.move(*place(task, start))
    task.page.mouse.down()
    task.page.mouse.move(*place(task, end), steps=4)
    task.page.mouse.up()


def submit(task: Any) -> Any:
    task.frame.locator("crowd-button", has_text="Submit").click()
    return task.wait("submit")["answer"]


def test_entities_by_mouse(open_task: Opener) -> None:
    task = open_task(entity())
    # Not quite to the edges of the words.
    select(task, 6, 15)
    assert task.js("() => document.querySelector('crowd-entity-annotation').value") == {
        "entities": [ADA]
    }
    task.keys("Escape", "2")
    x, y = place(task, 24)
    task.page.mouse.dblclick(x, y)
    assert submit(task) == {"e": {"entities": [ADA, LONDON]}}


def test_a_new_entity_takes_another_label_by_its_key(open_task: Opener) -> None:
    task = open_task(entity())
    select(task, 6, 15)
    task.keys("2", "1")
    select(task, 23, 26)
    task.keys("2")
    assert submit(task) == {"e": {"entities": [ADA, LONDON]}}
    assert "change the newest mark" in task.frame.locator(".hint").first.inner_text()


def test_with_alt_an_entity_is_of_single_letters(open_task: Opener) -> None:
    task = open_task(entity())
    task.page.keyboard.down("Alt")
    select(task, 6, 8)
    task.page.keyboard.up("Alt")
    part = {"label": "person", "startOffset": 6, "endOffset": 8}
    assert submit(task) == {"e": {"entities": [part]}}


def test_entities_by_keyboard(open_task: Opener) -> None:
    task = open_task(entity())
    task.focus(".text")
    task.keys("Home", "ArrowRight*5", "Shift+ArrowRight*12", "Enter")
    task.keys("End", "Shift+Control+ArrowLeft", "2")
    assert submit(task) == {"e": {"entities": [ADA, LONDON]}}


def test_entities_can_be_relabelled_and_removed(open_task: Opener) -> None:
    given = (
        "[{label:'person',startOffset:5,endOffset:17},{label:'person',startOffset:22,endOffset:28}]"
    )
    task = open_task(entity(f'initial-value="{given}"'))
    task.focus(".text")
    task.keys("Tab", "Delete", "Control+z", "Tab", "Tab", "2")
    task.frame.get_by_role("button", name="Delete Ada Lovelace 1").click()
    task.focus(".text")
    task.keys("Control+z")
    assert submit(task) == {"e": {"entities": [ADA, LONDON]}}


def test_entities_bring_a_form_that_takes_questions(open_task: Opener) -> None:
    extra = (
        '<div id="extra"><crowd-radio-button name="t" value="tech">Tech</crowd-radio-button></div>'
    )
    script = """<script>document.addEventListener('all-crowd-elements-ready', () => {
      document.querySelector('crowd-entity-annotation').shadowRoot.querySelector('crowd-form').form
        .appendChild(extra); });</script>"""
    task = open_task(entity(rest=extra) + script)
    task.frame.get_by_role("radio", name="Tech").check()
    assert task.wait("draft")["answer"]["t"] == {"tech": True}
    assert submit(task) == {"e": {"entities": []}, "t": {"tech": True}}


RANKING = """<crowd-form><crowd-text-ranking name="r" text="Why?" responses='["One","Two"]'
  ordinal-ranking-dimensions='[{"name":"Clarity","allowTie":true},{"name":"Tone","allowTie":false}]'>
  </crowd-text-ranking></crowd-form>"""
RANKED = [{"dimension": "Clarity", "ranks": [1, 1]}, {"dimension": "Tone", "ranks": [2, 1]}]


def test_ranking_by_mouse(open_task: Opener) -> None:
    task = open_task(RANKING)
    task.frame.locator("crowd-button").click()
    task.frame.locator(".error", has_text="Clarity").wait_for()
    for box, line, rank in ((0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 2), (1, 1, 1)):
        lines = task.frame.locator("fieldset.dimension").nth(box).locator("fieldset.line")
        lines.nth(line).locator("label", has_text=str(rank)).click()
    assert task.submit() == {"r": {"rankings": RANKED}}


def test_ranking_by_keyboard(open_task: Opener) -> None:
    task = open_task(RANKING)
    task.focus("fieldset.line input")
    task.keys("Space", "Tab", "Space", "Tab", "Space", "ArrowRight", "Tab", "Space")
    assert task.submit() == {"r": {"rankings": RANKED}}


QUESTIONS = """<crowd-form><crowd-question-answer-generation name="q" text="Hi 😀 Ada of London" min-questions=1
  max-questions=2 answer-min-words=2 question-tags='["Who","Where"]' {more}></crowd-question-answer-generation></crowd-form>"""


def test_questions(open_task: Opener) -> None:
    task = open_task(QUESTIONS.format(more="allow-custom-question-tags=true"))
    frame = task.frame
    frame.get_by_label("Question", exact=True).fill("Who lives there?")
    frame.get_by_label("Answer").fill("Ada")
    frame.locator("crowd-button").click()
    frame.locator(".error", has_text="at least 2 words").wait_for()
    frame.get_by_label("Answer").fill("Ada does")
    frame.get_by_label("Tag").fill("Own tag")
    select(task, 5, 8)
    task.focus(".text")
    task.keys("End", "Shift+Control+ArrowLeft", "Enter")
    frame.get_by_role("button", name="Add a question").click()
    task.page.keyboard.type("Where?")
    task.keys("Tab")
    task.page.keyboard.type("In London")
    assert frame.get_by_role("button", name="Add a question").is_disabled()
    spans = [{"startOffset": 5, "endOffset": 8}, {"startOffset": 12, "endOffset": 18}]
    first = {
        "question": "Who lives there?",
        "answer": "Ada does",
        "tag": "Own tag",
        "references": spans,
    }
    second = {"question": "Where?", "answer": "In London", "tag": "", "references": []}
    assert task.submit() == {"q": {"questionAnswerPairs": [first, second]}}


def block(name: str, kind: str, **more: Any) -> str:
    parts = ",".join(f"{key}:{value!r}" for key, value in more.items())
    return f"{{blockType:'{kind}',id:'{name}',{parts}}}"


def tab_to(task: Any, wanted: Any) -> None:
    """Press Tab until the focus is there."""
    for _ in range(60):
        if wanted.evaluate("(element) => element.matches(':focus')"):
            return
        task.page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {wanted}")


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_review_of_a_form(open_task: Opener, by: str) -> None:
    blocks = [
        block(
            "k",
            "KEY_VALUE_SET",
            entityTypes=["KEY"],
            relationships=[{"type": "VALUE", "ids": ["v"]}],
            text="Name",
        ),
        block(
            "v",
            "KEY_VALUE_SET",
            entityTypes=["VALUE"],
            relationships=[{"type": "CHILD", "ids": ["w"]}],
        ),
        block("k2", "KEY_VALUE_SET", entityTypes=["KEY"], relationships=[], text="Wrong"),
        block("w", "WORD", text="Adda"),
    ]
    task = open_task(
        f"<crowd-form><crowd-textract-analyze-document src=\"/picture.png\" keys=\"['Name','Phone']\" no-key-edit "
        f'block-types="[\'KEY_VALUE_SET\']" initial-value="[{",".join(blocks)}]"></crowd-textract-analyze-document></crowd-form>'
    )
    frame = task.frame
    values = frame.get_by_label("Value", exact=True)
    wrong = frame.get_by_label("Not a key-value pair").nth(1)
    if by == "mouse":
        values.first.fill("Ada")
        wrong.check()
        values.last.fill("123")
    else:
        keyboard = task.page.keyboard
        tab_to(task, values.first)
        keyboard.press("Control+a")
        keyboard.type("Ada")
        tab_to(task, wrong)
        keyboard.press("Space")
        tab_to(task, values.last)
        keyboard.type("123")
    answer = task.submit()["AWS/Textract/AnalyzeDocument/Forms/V1"]["blocks"]
    assert [(item["id"], item.get("text")) for item in answer] == [
        ("k", "Name"),
        ("v", "Ada"),
        ("added-key-2", "Phone"),
        ("added-value-2", "123"),
    ]
    assert answer[0]["relationships"] == [{"type": "VALUE", "ids": ["v"]}]
