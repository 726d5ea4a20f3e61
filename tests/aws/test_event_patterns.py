"""Event patterns and what targets get, against EventBridge's documented grammar."""

import json
from typing import Any

import pytest

from loopwright.aws.events.delivery import payload_of
from loopwright.aws.events.pattern import matches, read_pattern
from loopwright.wire.errors import ApiError

EVENT = {
    "version": "0", "id": "1", "source": "shop", "account": "123456789012", "region": "us-east-1",
    "time": "2026-01-02T03:04:05Z", "resources": ["arn:a", "arn:b"], "detail-type": "sold",
    "detail": {
        "price": 20, "name": "Big \"lamp\"", "tags": ["new", "red"], "gone": None, "empty": "",
        "ip": "10.0.0.7", "file": "dir/a*b.png", "flag": True, "nested": {"x": 1.0},
        "lines": [{"sku": "a", "count": 1}, {"sku": "b", "count": 5}], "deep": [[1, 2], [3]],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("detail", "holds"),
    [
        ({"price": [20]}, True),
        ({"price": [20.0]}, True),
        ({"price": ["20"]}, False),
        ({"flag": [True]}, True),
        ({"flag": [1]}, False),
        ({"gone": [None]}, True),
        ({"empty": [""]}, True),
        ({"absent": [None]}, False),
        ({"tags": ["red", "blue"]}, True),
        ({"tags": ["blue"]}, False),
        ({"deep": [3]}, True),
        ({"price": [{"numeric": [">", 10, "<=", 20]}]}, True),
        ({"price": [{"numeric": [">", 20]}]}, False),
        ({"price": [{"numeric": ["=", 20]}]}, True),
        ({"name": [{"prefix": "Big"}]}, True),
        ({"name": [{"prefix": {"equals-ignore-case": "bIG"}}]}, True),
        ({"name": [{"suffix": 'lamp"'}]}, True),
        ({"name": [{"equals-ignore-case": 'big "LAMP"'}]}, True),
        ({"name": [{"wildcard": "B*l*"}]}, True),
        ({"name": [{"wildcard": "b*"}]}, False),
        ({"file": [{"wildcard": "dir/a\\*b.*"}]}, True),
        ({"name": [{"wildcard": "Big\\*"}]}, False),
        ({"name": [{"wildcard": "[B]*"}]}, False),
        ({"name": [{"anything-but": "Big"}]}, True),
        ({"name": [{"anything-but": {"prefix": "Big"}}]}, False),
        ({"name": [{"anything-but": {"prefix": ["x", "y"]}}]}, True),
        ({"price": [{"anything-but": [20, 21]}]}, False),
        ({"tags": [{"anything-but": ["new"]}]}, True),
        ({"absent": [{"anything-but": "x"}]}, False),
        ({"absent": [{"exists": False}]}, True),
        ({"price": [{"exists": True}]}, True),
        ({"absent": {"inner": [{"exists": False}]}}, True),
        ({"price": {"inner": [{"exists": False}]}}, True),
        ({"price": {"inner": [1]}}, False),
        ({"ip": [{"cidr": "10.0.0.0/24"}]}, True),
        ({"price": [{"cidr": "0.0.0.0/0"}]}, False),
        ({"nested": {"x": [1]}}, True),
        ({"lines": {"sku": ["b"], "count": [{"numeric": [">", 4]}]}}, True),
        ({"lines": {"sku": ["a"], "count": [{"numeric": [">", 4]}]}}, False),
        ({"$or": [{"price": [1]}, {"tags": ["red"]}]}, True),
        ({"$or": [{"price": [1]}, {"tags": ["x"]}], "flag": [True]}, False),
    ],
)
def test_what_a_pattern_holds_of(detail: dict[str, Any], holds: bool) -> None:
    pattern = read_pattern(json.dumps({"source": ["shop"], "detail": detail}))
    assert matches(pattern, EVENT) is holds


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "[]",
        "{}",
        '{"a": "x"}',
        '{"a": []}',
        '{"a": [["x"]]}',
        '{"a": [{}]}',
        '{"a": [{"like": "x"}]}',
        '{"a": [{"prefix": 5}]}',
        '{"a": [{"prefix": "x", "suffix": "y"}]}',
        '{"a": [{"numeric": [">"]}]}',
        '{"a": [{"numeric": [">", "5"]}]}',
        '{"a": [{"numeric": "=5"}]}',
        '{"a": [{"numeric": [">", 1, ">", 2]}]}',
        '{"a": [{"numeric": [">", true]}]}',
        '{"a": [{"exists": "yes"}]}',
        '{"a": [{"anything-but": []}]}',
        '{"a": [{"anything-but": {"exists": true}}]}',
        '{"a": [{"anything-but": [{"prefix": "x"}]}]}',
        '{"a": [{"wildcard": "a**b"}]}',
        '{"a": [{"wildcard": "a\\\\n"}]}',
        '{"a": [{"cidr": "10.0.0.0/99"}]}',
        '{"a": [{"cidr": 5}]}',
        '{"$or": [{"a": ["x"]}]}',
        '{"$or": ["a", "b"]}',
        '{"a": [{"equals-ignore-case": {"equals-ignore-case": "x"}}]}',
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_pattern(pattern)
    assert refused.value.code == "InvalidEventPatternException"


def transformed(template: str) -> str:
    paths = {"name": "$.detail.name", "price": "$.detail.price", "tags": "$.detail.tags",
             "none": "$.detail.absent"}  # fmt: skip
    target = {"InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}}
    return payload_of(target, EVENT, "r").decode()


def test_transformed_inputs_are_json_where_json_is_meant() -> None:
    made = transformed('{"name": <name>, "cost": <price>, "tags": <tags>, "none": <none>}')
    assert json.loads(made) == {
        "name": 'Big "lamp"', "cost": 20, "tags": ["new", "red"], "none": None,
    }  # fmt: skip
    assert json.loads(transformed('"<name> costs <price>"')) == 'Big "lamp" costs 20'
    assert json.loads(transformed('{"a \\"b": "<name>", "c": <name>}'))["c"] == 'Big "lamp"'
    assert transformed("<name>: <price><none>") == 'Big "lamp": 20'
    rule = json.loads(transformed('{"n": <aws.events.rule-name>, "a": <aws.events.rule-arn>}'))
    assert rule == {"n": "r", "a": "arn:aws:events:us-east-1:123456789012:rule/r"}
    whole = json.loads(transformed('{"whole": <aws.events.event.json>}'))
    assert whole == {"whole": EVENT}


def test_targets_get_a_part_a_constant_or_all() -> None:
    assert json.loads(payload_of({}, EVENT)) == EVENT
    assert payload_of({"Input": '{"a": 1}'}, EVENT) == b'{"a": 1}'
    assert payload_of({"InputPath": "$.detail.lines[1].sku"}, EVENT) == b'"b"'
    assert payload_of({"InputPath": "$.detail.absent"}, EVENT) == b"null"
