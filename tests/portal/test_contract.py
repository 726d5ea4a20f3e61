"""What templates' scripts reach for, lax JSON, untrusted text, drafts, the lock."""

import json
from typing import Any

import pytest

from tests.portal.conftest import Opener

LAX = [
    ("['a', 'b',]", ["a", "b"]),
    ('["a", "b"]', ["a", "b"]),
    ("{a: 1, 'b': [true, null], // note\n c: .5}", {"a": 1, "b": [True, None], "c": 0.5}),
    ("/* all */ [1, -2, +3, 0x10, 1e3]", [1, -2, 3, 16, 1000]),
    ("\"['a','b']\"", ["a", "b"]),
    ("['Driver's licence', \"it\"]", ["Driver's licence", "it"]),
    ("[{label: 'x\\u0041\\n'}]", [{"label": "xA\n"}]),
    ("[True, False, None]", [True, False, None]),
    ("{__proto__: {polluted: 1}}", {"__proto__": {"polluted": 1}}),
    ("[constructor, toString]", ["constructor", "toString"]),
]


def test_lax_json(open_task: Opener) -> None:
    task = open_task('<crowd-form><crowd-input name="a"></crowd-input></crowd-form>')
    read = """async (text) => { const {parseLax} = await import('/static/crowd/lax.js');
      try { return JSON.stringify(parseLax(text)); } catch (error) { return error.name; } }"""
    for text, value in LAX:
        assert json.loads(task.js(read, text)) == value, text
    for text in ("[", "{a}", "[1] [2]", "", "alert(1),", "[" * 5000):
        assert task.js(read, text) == "SyntaxError", text
    assert task.js("() => ({}).polluted") is None


def test_what_scripts_reach_for(open_task: Opener) -> None:
    task = open_task(
        """<script>window.order = []; document.addEventListener('all-crowd-elements-ready', () => {
          order.push('ready'); const box = document.querySelector('crowd-bounding-box');
          box.labels = []; box.labels = box.labels.concat(['New #1']); });
          document.addEventListener('DOMContentLoaded', () => order.push('loaded'));</script>
        <crowd-form><crowd-bounding-box name="b" src="/picture.png" labels="['Item A', 'Item B']"></crowd-bounding-box>
        <crowd-keypoint name="k" src="/picture.png" labels="['Item A', 'Item B']"></crowd-keypoint>
        <crowd-classifier name="c" categories="['x', 'y']" initial-value="y"></crowd-classifier></crowd-form>
        <script>early.labels = ['set before'];</script>
        """.replace('crowd-keypoint name="k"', 'crowd-keypoint id="early" name="k"')
    )
    assert task.js("() => order") == ["loaded", "ready"]
    found = task.js(
        """() => { const q = (s) => document.querySelector(s); const b = q('crowd-bounding-box'), k = q('crowd-keypoint');
        return { labels: b.labels, attribute: k.getAttribute('labels'), empty: b.value.boundingBoxes,
          points: k._submittableValue.keypoints, category: q('crowd-classifier').value,
          sub: q('crowd-classifier')._submittableValue, form: q('crowd-form').form.localName,
          parts: [b.shadowRoot.querySelector('canvas.upper-canvas') !== null,
            ...['.awsui-app-layout__navigation', '.awsui-modal-dialog', '.annotation-area .category-picker-wrapper']
            .map((s) => q('crowd-classifier').shadowRoot.querySelector(s) !== null)] }; }"""
    )
    assert found == {
        "labels": ["New #1"],
        "attribute": '["set before"]',
        "empty": [],
        "points": [],
        "category": "y",
        "sub": {"label": "y"},
        "form": "form",
        "parts": [True] * 4,
    }


def test_properties_set_before_the_module_runs(open_task: Opener) -> None:
    task = open_task(
        """<crowd-form><crowd-input name="a"></crowd-input><crowd-checkbox name="c">C</crowd-checkbox>
        <crowd-slider name="s"></crowd-slider><crowd-classifier name="k"></crowd-classifier>
        <crowd-button id="b">B</crowd-button></crowd-form><script>
        document.querySelector('crowd-input').value = 'early';
        document.querySelector('crowd-checkbox').checked = true;
        document.querySelector('crowd-slider').value = 7;
        document.querySelector('crowd-classifier').categories = ['p', 'q'];
        document.querySelector('crowd-classifier').value = 'q'; b.disabled = true;</script>""",
        script_first=False,
    )
    assert task.js("() => b.hasAttribute('disabled')")
    assert task.submit() == {"a": "early", "c": {"on": True}, "s": 7, "k": {"label": "q"}}


BAD = "<img src=x onerror=top.hit()><script>top.hit()</script>"
SHOWN = """crowd-input label placeholder value error-message|crowd-text-area label placeholder value|crowd-slider label
|crowd-button href icon icon-url variant|crowd-card heading image|crowd-alert type|crowd-toast text opened|crowd-modal link-text header
|crowd-instructions link-text header|crowd-tab header|crowd-badge label icon|crowd-fab label title icon|crowd-icon-button label title src
|crowd-classifier header exclusion-category initial-value|crowd-image-classifier header src overlay|crowd-bounding-box header src
|crowd-entity-annotation header text|crowd-text-ranking text header|crowd-question-answer-generation text header
|crowd-textract-analyze-document header|crowd-rekognition-detect-moderation-labels header"""
LISTS = [
    ("crowd-classifier", "categories"),
    ("crowd-bounding-box", "labels"),
    ("crowd-semantic-segmentation", "labels"),
    ("crowd-entity-annotation", "labels"),
    ("crowd-text-ranking", "responses"),
    ("crowd-question-answer-generation", "question-tags"),
    ("crowd-textract-analyze-document", "keys"),
    ("crowd-rekognition-detect-moderation-labels", "categories"),
]


def test_text_never_becomes_markup(open_task: Opener) -> None:
    bad = BAD.replace("<", "&lt;")
    parts = []
    for line in SHOWN.replace("\n", "").split("|"):
        tag, *attributes = line.split()
        given = " ".join(f'{name}="{bad}"' for name in attributes)
        parts.append(f"<{tag} {given}></{tag}>")
    for tag, attribute in LISTS:
        parts.append(f"<{tag} {attribute}='[\"{bad}\"]' src='/picture.png' text='t'></{tag}>")
    parts.append("<crowd-button href='javascript:top.hit()'>J</crowd-button>")
    parts.append(
        "<crowd-button href=' java&#10;script:top.hit()' icon-url='javascript:1'>J</crowd-button>"
    )
    body = "<crowd-form><crowd-tabs>" + "".join(parts) + "</crowd-tabs></crowd-form>"
    task = open_task(body, has_pictures=False)
    found = task.js(
        """() => { const seen = []; const walk = (root) => { for (const e of root.querySelectorAll('*')) {
          if (e.localName === 'script' && root !== document) seen.push('script');
          // A crowd element keeps its attribute; what it makes of it must be harmless.
          if (e.localName.startsWith('crowd-')) { if (e.shadowRoot) walk(e.shadowRoot); continue; }
          if (e.hasAttribute('onerror') || /^javascript:/i.test(e.href ?? '') || /^javascript:/i.test(e.src ?? ''))
            seen.push(e.outerHTML);
          if (e.shadowRoot) walk(e.shadowRoot); } }; walk(document); return seen; }"""
    )
    assert found == []


EVERYTHING = """<crowd-form>
<crowd-input name="input"></crowd-input><crowd-text-area name="area" value="default"></crowd-text-area>
<crowd-checkbox name="check" value="x">X</crowd-checkbox><crowd-toggle-button name="toggle">T</crowd-toggle-button>
<crowd-radio-group><crowd-radio-button name="radio" value="a">A</crowd-radio-button></crowd-radio-group>
<crowd-slider name="slider"></crowd-slider><select name="select"><option>1</option><option>2</option></select>
<input type="checkbox" name="native" value="n"><textarea name="words"></textarea>
<crowd-classifier name="one" categories="['p','q']"></crowd-classifier>
<crowd-classifier-multi-select name="many" categories="['p','q']"></crowd-classifier-multi-select>
<crowd-image-classifier name="picture" src="/picture.png" categories="['p','q']"><worker-comment></worker-comment></crowd-image-classifier>
<crowd-image-classifier-multi-select name="pictures" src="/picture.png" exclusion-category="No" categories="['p','q']"></crowd-image-classifier-multi-select>
<crowd-bounding-box name="boxes" src="/picture.png" labels="['L']"></crowd-bounding-box>
<crowd-polygon name="polygons" src="/picture.png" labels="['L']"></crowd-polygon>
<crowd-polyline name="polylines" src="/picture.png" labels="['L']"></crowd-polyline>
<crowd-line name="lines" src="/picture.png" labels="['L']"></crowd-line>
<crowd-keypoint name="points" src="/picture.png" labels="['L']"></crowd-keypoint>
<crowd-semantic-segmentation name="mask" src="/picture.png" labels="['L','M']"></crowd-semantic-segmentation>
<crowd-instance-segmentation name="instances" src="/picture.png" labels="['L','M']"></crowd-instance-segmentation>
<crowd-entity-annotation name="entities" labels="['L']" text="some text"></crowd-entity-annotation>
<crowd-text-ranking name="ranks" text="t" responses="['a','b']" ordinal-ranking-dimensions="[{name:'D'}]"></crowd-text-ranking>
<crowd-question-answer-generation name="questions" text="some text" question-tags="['W']"></crowd-question-answer-generation>
<crowd-textract-analyze-document src="/picture.png" keys="['Name']"></crowd-textract-analyze-document>
<crowd-rekognition-detect-moderation-labels src="/picture.png" categories="['Gore']"></crowd-rekognition-detect-moderation-labels>
</crowd-form>"""
SIZE = {"width": 200, "height": 100}
LINE = [{"label": "L", "vertices": [{"x": 1, "y": 2}, {"x": 30, "y": 40}]}]
GIVEN: dict[str, Any] = {
    "input": "typed",
    "check": {"x": True},
    "toggle": {"on": True},
    "radio": {"a": True},
    "slider": 12,
    "select": "2",
    "native": {"n": True},
    "words": "more\nwords",
    "one": {"label": "q"},
    "many": {"labels": ["p", "q"]},
    "picture": {"label": "p", "comment": "so"},
    "pictures": {"labels": []},
    "boxes": {
        "boundingBoxes": [{"label": "Unlisted", "left": 1, "top": 2, "width": 3, "height": 4}],
        "inputImageProperties": SIZE,
    },
    "polygons": {
        "polygons": [
            {"label": "L", "vertices": [{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}]}
        ],
        "inputImageProperties": SIZE,
    },
    "polylines": {"polylines": LINE, "inputImageProperties": SIZE},
    "lines": {"lines": LINE, "inputImageProperties": SIZE},
    "points": {"keypoints": [{"label": "L", "x": 7, "y": 8}], "inputImageProperties": SIZE},
    "entities": {"entities": [{"label": "L", "startOffset": 0, "endOffset": 4}]},
    "ranks": {"rankings": [{"dimension": "D", "ranks": [2, 1]}]},
    "questions": {
        "questionAnswerPairs": [
            {
                "question": "Q?",
                "answer": "A",
                "tag": "W",
                "references": [{"startOffset": 0, "endOffset": 4}],
            }
        ]
    },
    "AWS/Textract/AnalyzeDocument/Forms/V1": {
        "blocks": [
            {
                "blockType": "KEY_VALUE_SET",
                "id": "added-key-0",
                "entityTypes": ["KEY"],
                "relationships": [{"type": "VALUE", "ids": ["added-value-0"]}],
                "text": "Name",
            },
            {
                "blockType": "KEY_VALUE_SET",
                "id": "added-value-0",
                "entityTypes": ["VALUE"],
                "text": "Ada",
            },
        ]
    },
    "AWS/Rekognition/DetectModerationLabels/Image/V3": {"ModerationLabels": [{"name": "Gore"}]},
}


def test_a_draft_comes_back_whole(open_task: Opener) -> None:
    first = open_task(EVERYTHING)
    masks = first.js(
        """() => ['semantic', 'instance'].map((kind) => {
          const host = document.querySelector(`crowd-${kind}-segmentation`);
          host.chooseLabel(1);
          const pointer = new PointerEvent('pointermove');
          host.painter.down({x: 20, y: 20}, pointer);
          host.painter.move({x: 60, y: 40}, pointer, true);
          host.painter.up();
          return host.value; })"""
    )
    given = {**GIVEN, "mask": masks[0], "instances": masks[1]}
    second = open_task(EVERYTHING)
    second.tell({"type": "restore", "answer": given})
    second.until("() => document.querySelector('crowd-input').value === 'typed'")
    second.ready_pictures()
    assert second.submit() == given


def test_drafts_are_told(open_task: Opener) -> None:
    task = open_task(
        '<crowd-form><crowd-input name="a"></crowd-input>'
        '<crowd-bounding-box name="b" src="/picture.png" labels="[\'L\']"></crowd-bounding-box></crowd-form>'
    )
    task.frame.locator("crowd-input input").fill("typ")
    task.drag((10, 10), (20, 30))
    answer = task.wait("draft")["answer"]
    box = {"label": "L", "left": 10, "top": 10, "width": 10, "height": 20}
    assert answer == {"a": "typ", "b": {"boundingBoxes": [box], "inputImageProperties": SIZE}}
    assert len(task.heard("draft")) == 1


def test_after_the_lock_nothing_is_sent(open_task: Opener) -> None:
    task = open_task('<crowd-form><crowd-input name="a" value="x"></crowd-input></crowd-form>')
    task.js("() => window.postMessage({loopwright: 1, type: 'lock'}, '*')")
    task.submit()
    task.tell({"type": "refused", "message": ""})
    task.tell({"type": "lock"})
    task.frame.get_by_role("alert").get_by_text("time for this task is up").or_(
        task.frame.locator(".crowd-locked")
    ).first.wait_for()
    task.js("() => { document.querySelector('crowd-form').submit(); }")
    assert task.js("() => document.body.inert") and len(task.heard("submit")) == 1


def test_without_a_parent_an_answer_is_an_event(open_task: Opener) -> None:
    task = open_task('<crowd-form><crowd-input name="a" value="x"></crowd-input></crowd-form>')
    page = open_task.browser.new_page()
    page.goto(f"{open_task.site.url}/task")
    found = page.evaluate(
        """() => new Promise((done) => { document.addEventListener('crowd-answer', (event) => done(event.detail));
        const send = () => document.querySelector('crowd-form').submit();
        if (document.readyState === 'complete') send(); else addEventListener('load', send); })"""
    )
    page.close()
    assert found == {"a": "x"} and task.errors == []


@pytest.mark.parametrize("kind", ["bounding-box", "semantic-segmentation"])
def test_help_names_the_keys(open_task: Opener, kind: str) -> None:
    task = open_task(
        f'<crowd-form><crowd-{kind} name="b" src="/picture.png" labels="[\'L\']"></crowd-{kind}></crowd-form>'
    )
    task.focus("canvas.upper-canvas")
    task.keys("?")
    dialog = task.frame.get_by_role("dialog", name="Keys and help")
    assert "undo / redo" in dialog.inner_text()
