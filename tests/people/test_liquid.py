"""Templates: what Liquid of the public samples says, hostile data, odd templates, limits."""

import pytest

from loopwright.people.links import NoObject
from loopwright.people.liquid import TemplateError, check, render

INPUT = {
    "nothing": None,
    "list": [1, {"a": "<"}],
    "source-ref": "s3://bucket/a&b.png",
    "map": {"a": [1], "b": {"c": "</script>'\""}},
    "entity": "&lt;<b>",
    "html": "<img src=x onerror=alert(1)>",
    "bucket": "bucket",
}


def link(uri: str) -> str:
    if not uri.startswith("s3://"):
        raise NoObject(f"the value is {uri!r}.")
    return f"/work/objects/x?{uri}"


def shown(template: str) -> str:
    return render(template, {"input": INPUT}, link, "<script src=ours></script>")


@pytest.mark.parametrize(
    ("template", "page"),
    [
        ("{{ task.input.html }}", "&lt;img src=x onerror=alert(1)&gt;"),
        ("{{ task.input.html | escape }}", "&lt;img src=x onerror=alert(1)&gt;"),
        ("{{ task.input.html | skip_autoescape }}", INPUT["html"]),
        ("{{ task.input.entity | escape_once }}", "&lt;&lt;b&gt;"),
        ("{{ task.input.entity }}", "&amp;lt;&lt;b&gt;"),
        ("{{ task.input.list }}", "[1,{&#34;a&#34;:&#34;&lt;&#34;}]"),
        ("{{ task.input.list | to_json }}", '[1,{"a":"\\u003c"}]'),
        ("{{ task.input.list | to_json | escape }}", "[1,{&#34;a&#34;:&#34;\\u003c&#34;}]"),
        ("{{ task.input.absent.deeper | to_json }}", "null"),
        ("{{ task.input.source-ref | grant_read_access }}",
         "/work/objects/x?s3://bucket/a&amp;b.png"),
        ("{% capture at %}s3://{{ task.input.bucket }}/k&amp;l{% endcapture %}"
         "{{ at | grant_read_access }}", "/work/objects/x?s3://bucket/k&amp;l"),
        ("{% for pair in task.input.map %}{{ pair[0] }}={{ pair[1] | to_json }};{% endfor %}",
         'a=[1];b={"c":"\\u003c/script\\u003e\\u0027\\""};'),
        ("{% for x in task.input.list %}{{ forloop.index }}{% endfor %}", "12"),
        ("{% unless task.input.absent %}no{% endunless %}", "no"),
        ("{% case task.input.bucket %}{% when 'bucket' %}yes{% endcase %}", "yes"),
        ("{% assign n = 2 | times: 3 %}{{ n }}", "6"),
    ],
)  # fmt: skip
def test_what_templates_print(template: str, page: str) -> None:
    assert shown(template) == page


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 | divided_by: 0 }}",
        "{{ 'x' | no_such_filter }}",
        "{% if a b %}{% endif %}",
        "{% include 'other' %}",
        "{% render '/etc/passwd' %}",
        "{{ 'a' | base64_decode }}",
        "{{ 99999999999999999999 | times: 99999999999999999999 | to_json }}",
        "{% for i in (1..1000000000) %}{% endfor %}",
        "{% for i in (1..1000) %}{% for j in (1..1000) %}x{% endfor %}{% endfor %}",
    ],
)
def test_what_cannot_be_rendered_is_said(template: str) -> None:
    with pytest.raises(TemplateError):
        shown(template)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ task.input.nothing | grant_read_access }}", "the value is ''. Line 1"),
        ("{{ task.input.absent.deep | grant_read_access }}", "the input lacks this variable"),
        ("\n<p>{{ task.input.bucket | grant_read_access }}</p>",
         "the value is 'bucket'. Line 2 of the template: <p>{{ task.input.bucket | grant"),
        ("{{ task.input.list | grant_read_access }}", "the value is '[1,"),
        ("{% if task.input.bucket %}{{ '' | grant_read_access }}{% endif %}", "the value is ''"),
    ],
)  # fmt: skip
def test_access_to_what_is_no_object_is_refused(template: str, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        shown(template)
    assert str(caught.value).startswith("grant_read_access: ")
    assert said in str(caught.value)
    assert check(template) == []


def test_access_that_is_not_asked_for_is_not_refused() -> None:
    asked = "{% if task.input.absent %}{{ task.input.absent | grant_read_access }}{% endif %}none"
    assert shown(asked) == "none"


def test_a_text_that_doubles_ends_at_a_limit() -> None:
    doubling = "{% assign s = 'xxxxxxxx' %}{% for i in (1..60) %}"
    with pytest.raises(TemplateError):
        shown(doubling + "{% assign s = s | append: s %}{% endfor %}")


def test_a_template_is_checked_without_data() -> None:
    assert check("<p>{{ task.input.x }}</p>") == []
    assert check("{% for %}")[0]["Code"] == "TemplateError"


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>',
        "<script type=module src=//assets.crowd.aws/crowd-html-elements-v2.js ></script >",
        "",
    ],
)
def test_our_elements_are_loaded_once(tag: str) -> None:
    page = shown(f"{tag}<crowd-form></crowd-form>")
    assert page == "<script src=ours></script><crowd-form></crowd-form>"
