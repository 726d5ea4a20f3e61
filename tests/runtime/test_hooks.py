"""Hooks of every form, called on a model without a server around it."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.server import hooks
from loopwright.runtime.server.exchange import Exchange, Streamed, render
from loopwright.runtime.server.frameworks import plain
from loopwright.runtime.server.model import HookedModel

CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"


def ask(module, body=b"[[1, 2]]", content_type="application/json", **headers):
    """One request to a model with these hooks."""
    model = SimpleNamespace(predict=lambda rows: rows.sum(axis=1))
    found = hooks.find(SimpleNamespace(**module))
    hooked = HookedModel(model, "/model", found, plain.framework, "application/json")
    raw = {name.replace("_", "-").lower().encode(): v.encode() for name, v in headers.items()}
    exchange = Exchange(None, {b"content-type": content_type.encode(), **raw}, body, True)
    return hooked.answer(exchange)


def test_without_hooks_the_defaults_answer():
    answer = ask({})
    assert (answer.status, answer.body, answer.content_type) == (200, b"[3]", "application/json")


@pytest.mark.parametrize(
    ("content_type", "body", "accept", "expected"),
    [
        ("text/csv", b"1,2\n3,4\n", "text/csv", b"3.0\n7.0\n"),
        ("text/csv; charset=utf-8", b"1,2", "*/*", b"[3.0]"),
        ("application/jsonlines", b"[1,2]\n[3,4]\n", "application/jsonlines", b"3\n7\n"),
        (
            "application/json",
            b'{"instances": [[1, 2]]}',
            "text/html, application/json;q=0.9",
            b"[3]",
        ),
    ],
)
def test_content_types_in_and_out(content_type, body, accept, expected):
    answer = ask({}, body, content_type, accept=accept)
    assert (answer.status, answer.body) == (200, expected)


@pytest.mark.parametrize(
    ("content_type", "body", "accept", "status", "words"),
    [
        ("image/png", b"x", "*/*", 415, b"'image/png' is not supported"),
        ("", b"x", "*/*", 415, b"is not supported"),
        ("application/json", b"{", "*/*", 400, b"not valid application/json"),
        ("application/json", b"[[1],[2,3]]", "*/*", 400, b"differ in length"),
        ("text/csv", b"1,2\n3", "*/*", 400, b"1 to 2 columns"),
        ("application/json", b"[[1]]", "image/png", 406, b"Accept is 'image/png'"),
        ("application/x-npy", b"nonsense", "*/*", 400, b"not valid application/x-npy"),
    ],
)
def test_refusals_are_sentences(content_type, body, accept, status, words):
    answer = ask({}, body, content_type, accept=accept)
    assert answer.status == status
    assert words in answer.body


def test_hooks_get_text_for_json_and_csv_and_bytes_for_all_else():
    module = {
        "input_fn": lambda body, content_type: (type(body).__name__, content_type),
        "predict_fn": lambda content, model: content,
        "output_fn": lambda prediction, accept: json.dumps([*prediction, accept]),
    }
    assert json.loads(ask(module).body) == ["str", "application/json", "application/json"]
    binary = ask(module, b"\xff", "image/png", accept="x/y")
    assert json.loads(binary.body) == ["bytes", "image/png", "x/y"]
    assert binary.content_type == "x/y"


@pytest.mark.parametrize(
    "hook",
    [
        lambda prediction, accept: "ok",
        lambda prediction, accept, context: "ok",
        lambda prediction, accept, context=None: "ok",
        lambda prediction, accept="application/json": "ok",
        lambda *everything: "ok" if len(everything) == 2 else "wrong",
    ],
)
def test_a_hook_may_take_a_context(hook):
    assert ask({"output_fn": hook}).body == b"ok"


@pytest.mark.parametrize("hook", [lambda: None, lambda a: None, lambda a, b, c, d: None])
def test_other_arities_are_refused(hook):
    with pytest.raises(UnitFailure, match=r"output_fn takes \d arguments"):
        hooks.find(SimpleNamespace(output_fn=hook))


def test_the_context_carries_custom_attributes_both_ways():
    def transform_fn(model, body, content_type, accept, context):
        context.set_response_header(0, CUSTOM, context.custom_attributes + "!")
        context.set_response_content_type(0, "text/x")
        context.set_response_status(202)
        return context.get_request_header(0, CUSTOM)

    answer = ask({"transform_fn": transform_fn}, X_Amzn_SageMaker_Custom_Attributes="a=1")
    assert (answer.status, answer.body, answer.content_type) == (202, b"a=1", "text/x")
    assert answer.headers == {CUSTOM.lower(): "a=1!"}


@pytest.mark.parametrize(
    ("result", "status", "body", "content_type"),
    [
        (b"b", 200, b"b", "application/json"),
        ("s", 200, b"s", "application/json"),
        (("s", "text/plain"), 200, b"s", "text/plain"),
        ({"a": np.int64(1)}, 200, b'{"a":1}', "application/json"),
        (np.array([1.5]), 200, b"[1.5]", "application/json"),
        (
            SimpleNamespace(
                status_code=201, headers={"Content-Type": "t/x"}, get_data=lambda: b"r"
            ),
            201,
            b"r",
            "t/x",
        ),
        (SimpleNamespace(status_code=200, headers={}, body=b"r"), 200, b"r", "application/json"),
    ],
)
def test_what_output_fn_may_return(result, status, body, content_type):
    answer = ask({"output_fn": lambda prediction, accept: result})
    assert (answer.status, answer.body, answer.content_type) == (status, body, content_type)


def test_a_third_part_are_headers():
    answer = ask({"output_fn": lambda p, a: ("s", "text/plain", {"X-A": "1"})})
    assert answer.headers == {"x-a": "1"}


@pytest.mark.parametrize(
    ("result", "content_type"),
    [
        (iter([b"ab", "é", bytearray(b"c"), memoryview(b"d")]), "application/json"),
        ((map(str, ["ab", "é", "c", "d"]), "text/plain"), "text/plain"),
        ((io.BytesIO("abécd".encode()), "text/plain", {"Content-Length": "1"}), "text/plain"),
    ],
)
def test_an_iterator_is_a_body_in_parts(result, content_type):
    answer = ask({"output_fn": lambda prediction, accept: result})
    assert isinstance(answer, Streamed)
    assert (answer.status, answer.content_type, answer.headers) == (200, content_type, None)
    assert b"".join(answer.parts) == "abécd".encode()


def test_a_list_is_no_body_in_parts():
    answer = ask({"output_fn": lambda prediction, accept: ["ab", "c"]})
    assert (answer.body, isinstance(answer, Streamed)) == (b'["ab","c"]', False)


def test_a_header_of_user_code_cannot_begin_another():
    answer = ask({"output_fn": lambda p, a: ("s", "text/plain", {"X-A": "1\r\nX-B: 2"})})
    assert b"\r\nx-a: 1  X-B: 2\r\n" in render(answer, keep_alive=True)


@pytest.mark.parametrize("name", ["input_fn", "predict_fn", "output_fn"])
def test_an_exception_becomes_500_with_its_text(name):
    def fail(first, second):
        raise KeyError("missing")

    answer = ask({name: fail})
    assert answer.status == 500
    assert json.loads(answer.body) == {"error": "KeyError: 'missing'"}
