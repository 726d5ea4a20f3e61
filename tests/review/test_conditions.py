"""Activation conditions: the documented grammar, and what each condition is true of."""

import json
from typing import Any

import pytest

from loopwright.review.conditions import (
    REKOGNITION,
    TEXTRACT,
    Evaluation,
    Fields,
    Labels,
    check_conditions,
)
from loopwright.wire.errors import ApiError


def condition(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"ConditionType": kind, "ConditionParameters": parameters}


def key(name: str = "*", **more: Any) -> dict[str, Any]:
    return condition("ImportantFormKeyConfidenceCheck", ImportantFormKey=name, **more)


def label(name: str = "*", **more: Any) -> dict[str, Any]:
    return condition("ModerationLabelConfidenceCheck", ModerationLabelName=name, **more)


SAMPLE = condition("Sampling", RandomSamplingPercentage=50)
LOW = {"LessThan": 90}
DEEP = {"And": [SAMPLE, {"Or": [SAMPLE, {"And": [SAMPLE, SAMPLE]}]}]}


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        (TEXTRACT, "no json"),
        (TEXTRACT, "null"),
        (TEXTRACT, {"Conditions": []}),
        (TEXTRACT, {"Conditions": [SAMPLE], "More": 1}),
        (TEXTRACT, {"Conditions": [5]}),
        (TEXTRACT, {"Conditions": [{}]}),
        (TEXTRACT, {"Conditions": [label(Confidence=LOW)]}),
        (REKOGNITION, {"Conditions": [key(KeyValueBlockConfidence=LOW)]}),
        (TEXTRACT, {"Conditions": [key()]}),
        (TEXTRACT, {"Conditions": [key(KeyValueBlockConfidence=None)]}),
        (TEXTRACT, {"Conditions": [key(KeyValueBlockConfidence={})]}),
        (TEXTRACT, {"Conditions": [key(KeyValueBlockConfidence={"Below": 5})]}),
        (TEXTRACT, {"Conditions": [key(KeyValueBlockConfidence={"LessThan": 101})]}),
        (TEXTRACT, {"Conditions": [key(KeyValueBlockConfidence={"LessThan": True})]}),
        (TEXTRACT, {"Conditions": [key("*", ImportantFormKeyAliases=["x"],
                                       WordBlockConfidence=LOW)]}),
        (TEXTRACT, {"Conditions": [key("n", ImportantFormKeyAliases="x",
                                       WordBlockConfidence=LOW)]}),
        (TEXTRACT, {"Conditions": [key("n", WordBlockConfidence=LOW, Extra=1)]}),
        (TEXTRACT, {"Conditions": [condition("Sampling", RandomSamplingPercentage=0)]}),
        (TEXTRACT, {"Conditions": [condition("Sampling", RandomSamplingPercentage="5")]}),
        (REKOGNITION, {"Conditions": [label("", Confidence=LOW)]}),
        (REKOGNITION, {"Conditions": [label(Confidence=None)]}),
        (TEXTRACT, {"Conditions": [{"And": [SAMPLE]}]}),
        (TEXTRACT, {"Conditions": [{"And": [SAMPLE, SAMPLE], "Or": [SAMPLE, SAMPLE]}]}),
        (TEXTRACT, {"Conditions": [DEEP]}),
    ],
)  # fmt: skip
def test_what_the_grammar_does_not_know_is_refused(source: str, wrong: Any) -> None:
    text = wrong if isinstance(wrong, str) else json.dumps(wrong)
    with pytest.raises(ApiError, match="HumanLoopActivationConditions"):
        check_conditions(text, source)


def words(*found: tuple[str, str, float]) -> list[dict[str, Any]]:
    return [
        {"Id": name, "BlockType": "WORD", "Text": text, "Confidence": confidence}
        for name, text, confidence in found
    ]


BLOCKS = [
    *words(("w1", "Mail", 99), ("w2", "Address:", 98), ("w3", "Home", 60), ("w4", "Phone", 99)),
    {"Id": "k1", "BlockType": "KEY_VALUE_SET", "EntityTypes": ["KEY"], "Confidence": 95,
     "Relationships": [{"Type": "VALUE", "Ids": ["v1"]}, {"Type": "CHILD", "Ids": ["w1", "w2"]}]},
    {"Id": "v1", "BlockType": "KEY_VALUE_SET", "EntityTypes": ["VALUE"], "Confidence": 95,
     "Relationships": [{"Type": "CHILD", "Ids": ["w3", "gone"]}]},
    {"Id": "k2", "BlockType": "KEY_VALUE_SET", "EntityTypes": ["KEY"], "Confidence": 50,
     "Relationships": [{"Type": "CHILD", "Ids": ["w4"]}]},
]  # fmt: skip


def evaluated(*conditions: dict[str, Any], blocks: list[dict[str, Any]] = BLOCKS) -> Evaluation:
    check_conditions(json.dumps({"Conditions": conditions}), TEXTRACT)
    return Evaluation(list(conditions), Fields(blocks), "seed")


@pytest.mark.parametrize(
    ("given", "matched"),
    [
        (key("mail address", KeyValueBlockConfidence={"LessThan": 90}), None),
        (key("mail address", WordBlockConfidence={"LessThan": 90}), {"k1", "v1", "w1", "w2", "w3"}),
        (key("post", ImportantFormKeyAliases=["MAIL ADDRESS:"], WordBlockConfidence=LOW),
         {"k1", "v1", "w1", "w2", "w3"}),
        (key("*", KeyValueBlockConfidence={"LessThan": 90}), {"k2", "w4"}),
        (key("*", KeyValueBlockConfidence={"GreaterThan": 40, "LessThanEquals": 50}), {"k2", "w4"}),
        (key("absent", KeyValueBlockConfidence=LOW), None),
        (condition("MissingImportantFormKey", ImportantFormKey="Fax"), set()),
        (condition("MissingImportantFormKey", ImportantFormKey="Phone"), None),
        (condition("MissingImportantFormKey", ImportantFormKey="Fax",
                   ImportantFormKeyAliases=["phone"]), None),
    ],
)  # fmt: skip
def test_conditions_on_forms(given: dict[str, Any], matched: set[str] | None) -> None:
    found = evaluated(given)
    assert found.starts is (matched is not None)
    assert found.matched == (matched or set())
    assert found.tree == {"Conditions": [{**given, "EvaluationResult": matched is not None}]}


def test_groups_are_evaluated_whole() -> None:
    true = key("*", KeyValueBlockConfidence=LOW)
    false = key("absent", KeyValueBlockConfidence=LOW)
    both = evaluated({"And": [true, false]}, {"Or": [false, {"And": [true, true]}]})
    tree = both.tree["Conditions"]
    assert [node["EvaluationResult"] for node in tree] == [False, True]
    assert [node["EvaluationResult"] for node in tree[0]["And"]] == [True, False]
    assert [node["EvaluationResult"] for node in tree[1]["Or"]] == [False, True]
    assert both.starts
    empty = evaluated(condition("MissingImportantFormKey", ImportantFormKey="*"), blocks=[])
    assert empty.starts


def test_samples_are_drawn_by_the_request() -> None:
    share = [condition("Sampling", RandomSamplingPercentage=20)]
    drawn = [Evaluation(share, Labels([]), f"request-{n}").starts for n in range(3000)]
    assert 500 < sum(drawn) < 700
    again = [Evaluation(share, Labels([]), f"request-{n}").starts for n in range(3000)]
    assert drawn == again
    everything = Evaluation([condition("Sampling", RandomSamplingPercentage=100)], Labels([]), "x")
    assert (everything.starts, everything.sampled, everything.matched) == (True, True, set())


def test_conditions_on_labels() -> None:
    seen = [{"Name": "Nudity", "Confidence": 95.0}, {"Name": "Suggestive", "Confidence": 55.0}]

    def matched(given: dict[str, Any]) -> set[str]:
        check_conditions(json.dumps({"Conditions": [given]}), REKOGNITION)
        return Evaluation([given], Labels(seen), "x").matched

    assert matched(label("*", Confidence=LOW)) == {"Suggestive"}
    assert matched(label("Nudity")) == {"Nudity"}
    assert matched(label("*", Confidence={"GreaterThanEquals": 55})) == {"Nudity", "Suggestive"}
    assert matched(label("Nudity", Confidence=LOW)) == set()
    assert matched(label("Other")) == set()
