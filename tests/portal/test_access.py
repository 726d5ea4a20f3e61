"""All elements by axe-core: names, roles, contrast, in light and dark (WCAG 2.1 AA)."""

from typing import Any

import pytest

from tests.axe import RULES, SCHEMES, axe_script
from tests.portal.conftest import Opener

SHAPES = ("bounding-box", "polygon", "polyline", "line", "keypoint", "semantic-segmentation",
          "instance-segmentation")  # fmt: skip
TASKS = {
    "fields": """<crowd-input name="a" label="Name" placeholder="as written"></crowd-input>
      <crowd-text-area name="b" label="Remarks" value="some"></crowd-text-area>
      <crowd-checkbox name="c" value="x">Blurred</crowd-checkbox>
      <crowd-toggle-button name="d">Sure</crowd-toggle-button>
      <crowd-radio-group><crowd-radio-button name="e" value="1">One</crowd-radio-button>
      <crowd-radio-button name="e" value="2">Two</crowd-radio-button></crowd-radio-group>
      <label for="s">How much</label><crowd-slider id="s" name="f" min="0" max="9"></crowd-slider>""",
    "shown": """<crowd-tabs><crowd-tab header="One">First</crowd-tab>
      <crowd-tab header="Two">Second</crowd-tab></crowd-tabs>
      <crowd-modal link-text="Open" header="Title">Inside</crowd-modal>
      <crowd-instructions link-text="Look"><positive-example>Good</positive-example>
      </crowd-instructions><crowd-alert type="error" dismissible>Careful</crowd-alert>
      <crowd-alert type="success">Well</crowd-alert><crowd-alert type="warning">Hm</crowd-alert>
      <crowd-alert type="info">So</crowd-alert><crowd-card heading="H">Body</crowd-card>
      <crowd-toast id="toast" text="Saved" duration="0" opened></crowd-toast>
      <crowd-badge label="3"></crowd-badge><crowd-fab icon="add" title="Add"></crowd-fab>
      <crowd-icon-button icon="iron-icons:delete"></crowd-icon-button>
      <crowd-button>Plain</crowd-button><crowd-button variant="primary">First</crowd-button>
      <crowd-button variant="link">Link</crowd-button><crowd-button disabled>Not</crowd-button>""",
    "classes": """<crowd-classifier name="a" header="Which?" categories="['p','q']">
      <classification-target>Words</classification-target>
      <full-instructions header="Rules">All</full-instructions>
      <short-instructions>Few</short-instructions></crowd-classifier>
      <crowd-classifier-multi-select name="b" header="Which ones?" categories="['p','q']">
      <classification-target>Words</classification-target>
      </crowd-classifier-multi-select>""",
    "pictures": """<crowd-image-classifier name="a" src="/picture.png" header="Which?"
      categories="['p','q']"><worker-comment></worker-comment></crowd-image-classifier>
      <crowd-image-classifier-multi-select name="b" src="/picture.png" header="Which ones?"
      exclusion-category="No" categories="['p','q']"></crowd-image-classifier-multi-select>
      <crowd-rekognition-detect-moderation-labels src="/picture.png" header="Look"
      categories="['Gore']"></crowd-rekognition-detect-moderation-labels>""",
    "text": """<crowd-entity-annotation name="a" header="Mark" labels="['Who','Where']"
      text="Ada of London" initial-value='[{"label":"Who","startOffset":0,"endOffset":3}]'>
      </crowd-entity-annotation>
      <crowd-text-ranking name="b" text="Which?" responses="['one','two']"
      ordinal-ranking-dimensions="[{name:'Clarity'}]"></crowd-text-ranking>""",
    "questions": """<crowd-question-answer-generation name="c" text="Ada lives in London"
      question-tags="['Who']"></crowd-question-answer-generation>""",
    "document": """<crowd-textract-analyze-document src="/picture.png" header="Read"
      keys="['Name']" block-types="['KEY_VALUE_SET']"></crowd-textract-analyze-document>""",
    **{
        shape: f"""<crowd-{shape} name="x" src="/picture.png" header="Draw" labels="['L','M']">
        <full-instructions header="Rules">All</full-instructions>
        <short-instructions>Few</short-instructions></crowd-{shape}>"""
        for shape in SHAPES
    },
}
# Templates are parts of pages: the portal's page around them has the landmark and the heading.
OUTER = ("landmark-one-main", "page-has-heading-one", "region", "document-title")


@pytest.fixture(scope="module")
def axe() -> str:
    return axe_script()


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_found(task: str, open_task: Opener, axe: str) -> None:
    opened = open_task(f"<crowd-form>{TASKS[task]}</crowd-form>")
    found = []
    for scheme in SCHEMES:
        opened.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        opened.frame.evaluate(axe)
        told: dict[str, Any] = opened.frame.evaluate(
            "rules => axe.run(document, {runOnly: rules})", RULES
        )
        found += [
            f"{scheme}: {item['id']}: {node['target']} {node['html'][:160]} "
            f"{node['failureSummary'][:240]}"
            for item in told["violations"]
            if item["id"] not in OUTER
            for node in item["nodes"]
        ]
    assert not found, "\n".join(found)
