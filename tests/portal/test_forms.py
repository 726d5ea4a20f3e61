"""The form, fields and choices: answers, checks, one submission."""

from typing import Any

import pytest

from tests.portal.conftest import Opener

FORM = "<crowd-form>{}</crowd-form>"


def form(body: str) -> str:
    return FORM.format(body)


def test_fields_answer_and_empty_ones_are_left_out(open_task: Opener) -> None:
    task = open_task(
        form(
            '<crowd-input name="a" label="A"></crowd-input><crowd-input name="b" label="B"></crowd-input>'
            '<crowd-text-area name="c" label="C" value="kept"></crowd-text-area>'
            '<crowd-text-area name="d" label="D"></crowd-text-area>'
        )
    )
    task.frame.get_by_label("A").fill("one")
    task.frame.get_by_label("D").fill("two\nlines")
    assert task.submit() == {"a": "one", "c": "kept", "d": "two\nlines"}


CHOICES = (
    '<crowd-checkbox name="k" value="x">X</crowd-checkbox><crowd-checkbox name="k" value="y">Y</crowd-checkbox>'
    '<crowd-checkbox name="solo" checked>Solo</crowd-checkbox>'
    '<crowd-toggle-button name="t">T</crowd-toggle-button>'
    '<crowd-radio-group><crowd-radio-button name="r1" value="one">One</crowd-radio-button>'
    '<crowd-radio-button name="r2" value="two">Two</crowd-radio-button></crowd-radio-group>'
)
CHOSEN = {
    "k": {"x": False, "y": True},
    "solo": {"on": True},
    "t": {"on": True},
    "r1": {"one": False},
    "r2": {"two": True},
}


def test_choices_by_mouse(open_task: Opener) -> None:
    task = open_task(form(CHOICES))
    for name in ("Y", "T", "One", "Two"):
        task.frame.locator(f'text="{name}"').click()
    assert task.submit() == CHOSEN


def test_choices_by_keyboard(open_task: Opener) -> None:
    task = open_task(form(CHOICES))
    task.focus("crowd-checkbox input")
    task.keys("Tab", "Space", "Tab", "Tab", "Space", "Tab", "Space", "ArrowDown")
    assert task.submit() == CHOSEN


def test_sliders_make_up_no_value(open_task: Opener) -> None:
    task = open_task(
        form(
            '<crowd-slider name="s" min="1" max="5" required></crowd-slider><crowd-slider name="o"></crowd-slider>'
        )
    )
    task.frame.locator("crowd-button").click()
    task.frame.locator("crowd-slider .error", has_text="set a value").wait_for()
    assert not task.heard("submit")
    task.focus("crowd-slider input[type=range]")
    task.keys("Enter", "ArrowRight", "ArrowRight")
    assert task.submit() == {"s": 3}


def test_slider_by_mouse_and_typed(open_task: Opener) -> None:
    task = open_task(
        form(
            '<crowd-slider name="s" min="0" max="10"></crowd-slider><crowd-slider name="e" editable></crowd-slider>'
        )
    )
    task.frame.locator("crowd-slider input[type=range]").first.click()
    field = task.frame.locator("crowd-slider input[type=number]").last
    field.fill("42")
    field.press("Tab")
    assert task.submit() == {"s": 5, "e": 42}


def test_native_controls(open_task: Opener) -> None:
    task = open_task(
        form(
            '<input name="t" value="text"><input name="empty"><textarea name="m">more</textarea>'
            '<select name="s"><option>one</option><option selected>two</option></select>'
            '<input type="radio" name="r" value="a"><input type="radio" name="r" value="b" checked>'
            '<input type="checkbox" name="c" checked><input type="hidden" name="h" value="1">'
            '<input name="off" value="x" disabled><button>Send</button>'
        )
    )
    answer = task.submit()
    assert answer == {
        "t": "text",
        "m": "more",
        "s": "two",
        "r": {"a": False, "b": True},
        "c": {"on": True},
        "h": "1",
    }


@pytest.mark.parametrize(
    ("attributes", "bad", "good", "said"),
    [
        ("required", "", "x", "fill in"),
        ("min-length=3", "ab", "abc", "at least 3"),
        ("allowed-pattern='[a-z]'", "A1", "abc", "form asked for"),
        ("type=email", "nobody", "a@b.c", "@"),
        ("required error-message='Say it'", " ", "ok", "Say it"),
    ],
)
def test_checks(open_task: Opener, attributes: str, bad: str, good: str, said: str) -> None:
    task = open_task(form(f'<crowd-input name="a" label="A" {attributes}></crowd-input>'))
    field = task.frame.locator("crowd-input input")
    field.fill(bad)
    task.frame.locator("crowd-button").click()
    task.frame.locator("crowd-input .error", has_text=said).wait_for()
    assert field.get_attribute("aria-invalid") == "true"
    assert task.js("() => document.activeElement.localName") == "crowd-input"
    assert not task.heard("submit")
    field.fill(good)
    assert task.submit() == {"a": good}


def test_an_answer_is_sent_once_and_again_after_a_refusal(open_task: Opener) -> None:
    task = open_task(form('<crowd-input name="a" value="x"></crowd-input>'))
    task.js(
        "() => { for (let i = 0; i < 5; i++) document.querySelector('crowd-button').click();"
        " document.querySelector('crowd-form').submit(); }"
    )
    assert task.wait("submit")["answer"] == {"a": "x"}
    assert len(task.heard("submit")) == 1
    task.tell({"type": "refused", "message": "Too <b>early</b>"})
    task.frame.locator("crowd-form .notice", has_text="Too <b>early</b>").wait_for()
    task.submit()
    assert len(task.heard("submit")) == 2


def test_scripts_may_stop_and_change_a_submission(open_task: Opener) -> None:
    task = open_task(
        form('<input type="hidden" name="a" id="field"><crowd-button id="own">Own</crowd-button>')
        + """<script>
        let count = 0;
        document.querySelector('crowd-form').onsubmit = (event) => {
          count += 1;
          field.value = 'try ' + count;
          if (count === 1) event.preventDefault();
        };
        own.onclick = () => document.querySelector('crowd-form').form.requestSubmit();
        </script>"""
    )
    submit = task.frame.locator('crowd-button[form-action="submit"]')
    submit.click()
    assert task.js("() => field.value") == "try 1" and not task.heard("submit")
    task.frame.locator("#own").click()
    assert task.wait("submit")["answer"] == {"a": "try 2"}


def test_return_submits_and_a_button_of_the_template_is_used(open_task: Opener) -> None:
    task = open_task(
        form(
            '<crowd-input name="a"></crowd-input><crowd-button form-action="submit" disabled>Go</crowd-button>'
            '<crowd-button form-action="reset">Reset</crowd-button>'
        )
    )
    assert task.js("() => document.querySelectorAll('[form-action=submit]').length") == 1
    task.frame.locator("crowd-input input").fill("x")
    task.frame.locator("crowd-button", has_text="Reset").click()
    assert task.js("() => document.querySelector('crowd-input').value") == ""
    task.js("() => { document.querySelector('crowd-button').disabled = false; }")
    task.frame.locator("crowd-input input").fill("y")
    task.keys("Enter")
    assert task.wait("submit")["answer"] == {"a": "y"}


CLASSIFIER = (
    '<crowd-{kind} name="a" categories="[\'Cat\', \'Dog\', \'Bird\',]" header="What?" src="/picture.png" {more}>'
    "<classification-target>Look</classification-target>"
    "<short-instructions>Short</short-instructions><full-instructions header='All'>Full</full-instructions>"
    "{rest}</crowd-{kind}>"
)


def classifier(kind: str, more: str = "", rest: str = "") -> str:
    return form(CLASSIFIER.format(kind=kind, more=more, rest=rest))


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
@pytest.mark.parametrize("kind", ["classifier", "image-classifier"])
def test_one_category(open_task: Opener, kind: str, by: str) -> None:
    task = open_task(classifier(kind))
    task.js(
        f"() => document.querySelector('crowd-{kind}').addEventListener('change',"
        " (event) => { window.seen = event.target.value; })"
    )
    if by == "mouse":
        task.frame.get_by_label("Dog").check()
    else:
        task.frame.locator("body").click()
        task.keys("1", "ArrowDown")
    assert task.js("() => window.seen") == "Dog"
    assert task.submit() == {"a": {"label": "Dog"}}


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
@pytest.mark.parametrize("kind", ["classifier-multi-select", "image-classifier-multi-select"])
def test_several_categories(open_task: Opener, kind: str, by: str) -> None:
    task = open_task(classifier(kind, "exclusion-category=\"{ text: 'None of these' }\""))
    task.frame.locator("crowd-button").last.click()
    task.frame.locator(".error", has_text="at least one").wait_for()
    if by == "mouse":
        for name in ("None of these", "Bird", "Cat"):
            task.frame.get_by_label(name).check()
    else:
        task.focus(f"crowd-{kind} fieldset input")
        task.keys("4", "3", "1")
    assert task.submit() == {"a": {"labels": ["Cat", "Bird"]}}
    task.tell({"type": "refused", "message": "again"})
    task.frame.get_by_label("None of these").check()
    assert task.submit() == {"a": {"labels": []}}


def test_comments_instructions_and_new_categories(open_task: Opener) -> None:
    comment = '<worker-comment header="Why?" placeholder="Tell us">Some words</worker-comment>'
    task = open_task(
        classifier("image-classifier", "exclusion-category='None' initial-value='Cat'", comment)
    )
    assert task.js("() => document.querySelector('crowd-image-classifier').value") == "Cat"
    task.frame.get_by_label("Why?").fill("because")
    task.frame.get_by_role("button", name="View full instructions").click()
    task.frame.get_by_role("dialog", name="Instructions").get_by_text("All").wait_for()
    task.keys("Escape")
    task.js(
        "() => { document.querySelector('crowd-image-classifier').categories = ['Fish', 'Frog']; }"
    )
    task.frame.get_by_label("Frog").check()
    assert task.submit() == {"a": {"label": "Frog", "comment": "because"}}


def test_moderation_answers_with_whole_categories(open_task: Opener) -> None:
    task = open_task(
        form(
            "<crowd-rekognition-detect-moderation-labels src='/picture.png' categories='["
            '{name: "Gore", parentName: "Violence",}, {name: "Drugs", parentName: ""},]\'>'
            "</crowd-rekognition-detect-moderation-labels>"
        )
    )
    key = "AWS/Rekognition/DetectModerationLabels/Image/V3"
    task.keys("1")
    task.frame.get_by_label("Gore").check()
    assert task.submit() == {
        key: {"ModerationLabels": [{"name": "Gore", "parentName": "Violence"}]}
    }
    task.tell({"type": "refused", "message": "again"})
    task.focus("fieldset input")
    task.keys("3")
    assert task.submit() == {key: {"ModerationLabels": []}}


def test_shown_elements(open_task: Opener) -> None:
    task = open_task(
        form(
            '<crowd-tabs><crowd-tab header="One">First</crowd-tab><crowd-tab header="Two">Second</crowd-tab></crowd-tabs>'
            '<crowd-modal link-text="Open" header="Title">Inside</crowd-modal>'
            '<crowd-instructions link-text="Look"><positive-example>Good one</positive-example></crowd-instructions>'
            '<crowd-alert type="error" dismissible>Careful</crowd-alert><crowd-card heading="H">Body</crowd-card>'
            '<crowd-toast id="toast" text="Saved" duration="0"></crowd-toast><crowd-badge label="3"></crowd-badge>'
            '<crowd-fab icon="add" title="Add"></crowd-fab><crowd-icon-button icon="iron-icons:delete"></crowd-icon-button>'
            '<crowd-input name="a" value="x"></crowd-input>'
        )
    )
    frame = task.frame
    frame.get_by_role("tab", name="One").focus()
    task.keys("ArrowRight")
    frame.get_by_text("Second").wait_for()
    assert not frame.get_by_text("First").is_visible()
    frame.get_by_role("button", name="Open").click()
    frame.get_by_role("dialog", name="Title").get_by_role("button", name="Close").click()
    frame.get_by_role("button", name="Look").click()
    frame.get_by_text("Good one").wait_for()
    task.keys("Escape")
    frame.get_by_role("button", name="Dismiss").click()
    assert frame.locator("crowd-alert").count() == 0
    task.js("() => toast.show()")
    frame.get_by_text("Saved").wait_for()
    for name in ("Add", "delete"):
        assert frame.get_by_role("button", name=name).count() == 1
    assert task.submit() == {"a": "x"}


def test_a_problem_in_a_hidden_tab_is_shown(open_task: Opener) -> None:
    task = open_task(
        form(
            '<crowd-tabs><crowd-tab header="One">First</crowd-tab>'
            '<crowd-tab header="Two"><crowd-input name="a" required></crowd-input></crowd-tab></crowd-tabs>'
        )
    )
    task.frame.locator("crowd-button").click()
    task.frame.locator("crowd-input .error").wait_for()
    task.page.keyboard.type("there")
    assert task.submit() == {"a": "there"}


def test_a_phone(open_task: Opener) -> None:
    phone: dict[str, Any] = {"width": 390, "height": 800}
    task = open_task(
        classifier("classifier").replace("</crowd-form>", CHOICES + "</crowd-form>"), viewport=phone
    )
    assert task.js("() => document.documentElement.scrollWidth <= innerWidth")
    box = task.frame.locator("label.choice").first.bounding_box()
    assert box and box["height"] >= 44 and box["x"] + box["width"] <= 390
    task.frame.get_by_label("Bird").check()
    assert task.submit()["a"] == {"label": "Bird"}


FLOATED = (
    '<img src="/picture.png" alt="" width="300" height="200" style="float: left">'
    '<p>Which?</p><crowd-input name="a" label="A" value="x"></crowd-input>'
)


@pytest.mark.parametrize(
    "body", [FLOATED, FLOATED.replace("left", "right"), f"<div>{FLOATED}</div>"]
)
def test_what_a_template_floats_covers_no_button(open_task: Opener, body: str) -> None:
    task = open_task(form(body))
    box = task.frame.locator('crowd-button[form-action="submit"]').bounding_box()
    picture = task.frame.locator("img").bounding_box()
    assert box is not None and picture is not None
    assert box["y"] >= picture["y"] + picture["height"]
    # By the middle of its box, as Playwright clicks: nothing else lies there.
    assert task.submit() == {"a": "x"}
    # What stands below the form is below the picture too.
    assert task.js(
        "() => document.querySelector('crowd-form').getBoundingClientRect().bottom >="
        " document.querySelector('img').getBoundingClientRect().bottom"
    )


NESTED = (
    '<form id="f" action="/elsewhere"><input name="n" required><crowd-input name="c" label="C">'
    '</crowd-input><button id="b">Go</button><button type="reset" id="r">Reset</button></form>'
)


@pytest.mark.parametrize(
    "send",
    [
        "() => document.getElementById('b').click()",
        "() => document.getElementById('f').requestSubmit()",
        "() => document.getElementById('f').submit()",
        "() => document.querySelector('crowd-button').click()",
    ],
    ids=["its button", "requestSubmit", "submit", "the form's button"],
)
def test_a_form_in_the_form_is_sent_with_it(open_task: Opener, send: str) -> None:
    task = open_task(form(NESTED + '<crowd-input name="o" label="O" value="out"></crowd-input>'))
    task.js(send)
    task.frame.locator(".notice", has_text="attention").wait_for()
    task.frame.locator("[name=n]").fill("in")
    task.js(send)
    assert task.wait("submit")["answer"] == {"n": "in", "o": "out"}


def test_reset_empties_a_form_in_the_form(open_task: Opener) -> None:
    task = open_task(form(NESTED + '<crowd-button form-action="reset" id="all">All</crowd-button>'))
    task.frame.locator("[name=n]").fill("in")
    task.frame.locator("#all").click()
    assert task.js("() => document.querySelector('[name=n]').value") == ""


def test_the_notice_goes_once_the_answers_are_given(open_task: Opener) -> None:
    body = (
        '<crowd-input name="a" label="A" required></crowd-input>'
        '<crowd-input name="b" label="B" required></crowd-input>'
        '<input name="n" aria-label="N" required>'
    )
    task = open_task(form(body))
    task.frame.locator('crowd-button[form-action="submit"]').click()
    notice = task.frame.locator("crowd-form .notice")
    assert notice.inner_text().startswith("3 answers need")
    task.frame.get_by_label("A").fill("x")
    task.until(
        "() => document.querySelector('crowd-form').alertBox.textContent.startsWith('2 answers')"
    )
    task.frame.get_by_label("B").fill("x")
    task.frame.get_by_label("N").fill("x")
    notice.wait_for(state="hidden")
    assert task.submit() == {"a": "x", "b": "x", "n": "x"}


@pytest.mark.parametrize("focus", ["crowd-input input", "body"])
def test_ctrl_and_return_submit(open_task: Opener, focus: str) -> None:
    task = open_task(form('<crowd-input name="a" label="A" value="x"></crowd-input>'))
    if focus != "body":
        task.focus(focus)
    else:
        task.frame.locator("body").click(position={"x": 5, "y": 5})
    task.keys("Control+Enter")
    assert task.wait("submit")["answer"] == {"a": "x"}
    assert len(task.heard("submit")) == 1


@pytest.mark.parametrize(
    ("body", "ink"),
    [
        (form('<p id="p">Hi</p><crowd-input name="a" label="A"></crowd-input>'), "light"),
        (form('<p id="p" style="color: #333">Hi</p><crowd-input name="a"></crowd-input>'), "dark"),
        ("<style>p { background: white }</style>" + form('<p id="p">Hi</p>'), "dark"),
        ('<meta name="color-scheme" content="light">' + form('<p id="p">Hi</p>'), "dark"),
    ],
    ids=["plain", "own colour", "own background", "told"],
)
def test_a_page_without_own_colours_follows_dark_pages(
    open_task: Opener, body: str, ink: str
) -> None:
    task = open_task(body, color_scheme="dark")
    shade = task.js(
        "() => Math.max(...getComputedStyle(document.getElementById('p')).color.match(/\\d+/g))"
    )
    assert ("light" if int(shade) > 128 else "dark") == ink
    host = task.js("() => getComputedStyle(document.querySelector('crowd-form')).color")
    assert host == ("rgb(231, 235, 240)" if ink == "light" else "rgb(31, 41, 51)")


def test_without_a_keyboard_its_keys_are_not_shown(open_task: Opener) -> None:
    body = form(
        "<crowd-classifier name='c' categories=\"['x','y']\" header='H'></crowd-classifier>"
    )
    for touch, shown in ((True, 0), (False, 2)):
        task = open_task(body, has_touch=touch, is_mobile=touch)
        visible = [key for key in task.frame.locator("kbd").all() if key.is_visible()]
        assert len(visible) == shown
