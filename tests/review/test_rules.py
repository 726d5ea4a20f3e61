"""Review rules, purely: rows of every kind of answer, thresholds, samples, labels, odd bodies."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from loopwright.contract.frames import REVIEWED
from loopwright.database import Database
from loopwright.kernel.kinds import Kinds
from loopwright.kernel.records import Record
from loopwright.kernel.store import insert_record
from loopwright.kernel.tables import METADATA as KERNEL
from loopwright.kernel.tables import RECORDS
from loopwright.review.kinds import RULE_KIND, review_kinds
from loopwright.review.rules import (
    Row,
    check_rule,
    decide,
    label_of,
    parse,
    rows_of,
    source_of,
)
from loopwright.review.tables import METADATA, REVIEWS
from loopwright.review.taking import loop_name, take_reviews
from loopwright.wire.errors import ApiError

LABELS = ["spam", "ham"]
RULE = {"RuleName": "r", "ConfidenceThreshold": 0.8, "Labels": LABELS}


@pytest.mark.parametrize(
    ("body", "kind", "rule", "rows"),
    [
        ("[0.9, 0.1]", "application/json", {"Labels": LABELS}, [Row("spam", 0.9)]),
        ("[0.9, 0.1]", "application/json", {}, [Row("0", 0.9)]),
        ("[0.9, 0.2, 0.3]", "application/json", {},
         [Row("1", 0.9), Row("0", 0.8), Row("0", 0.7)]),
        ("[[0.9, 0.1], [0.3, 0.7]]", "application/json", {"Labels": LABELS},
         [Row("spam", 0.9), Row("ham", 0.7)]),
        ("0.25", "application/json", {"Labels": LABELS}, [Row("spam", 0.75)]),
        ("0.9,0.1\r\n0.2,0.8\r\n", "text/csv; charset=utf-8", {}, [Row("0", 0.9), Row("1", 0.8)]),
        ('"a, b",0.9\n', "text/csv", {}, [Row("1", 0.9)]),
        ("nan,inf\n", "text/csv", {}, []),
        ('{"predictions": [{"score": 0.3, "predicted_label": 0}]}', "application/json",
         {"Labels": LABELS}, [Row("spam", 0.7)]),
        ('{"predictions": [{"score": 0.9, "predicted_label": -1}]}', "application/json",
         {"Labels": LABELS}, [Row("-1", 0.9)]),
        ('{"predictions": [{"score": 7.5}]}', "application/json", {}, []),
        ('{"score": 0.6}\n{"score": 0.9}\n', "application/jsonlines", {},
         [Row("1", 0.6), Row("1", 0.9)]),
        ('{"a": {"b": [[0.9, 0.1]]}, "said": "x"}', "application/json",
         {"ProbabilityPath": "a.b", "LabelPath": "said"}, [Row("x", 0.9)]),
        ('{"a": 1}', "application/json", {"ProbabilityPath": "b.c[3]"}, []),
        ("no json", "application/json", {}, []),
        ("null", "application/json", {}, []),
        ("[true, false]", "application/json", {}, []),
        ("[]", "application/json", {}, []),
    ],
)  # fmt: skip
def test_the_rows_of_an_answer(body: str, kind: str, rule: dict[str, Any], rows: list[Row]) -> None:
    found = rows_of(parse(body.encode(), kind), rule)
    assert [(row.label, round(row.confidence, 9)) for row in found] == [
        (row.label, row.confidence) for row in rows
    ]


def test_bodies_that_are_no_text_or_nest_too_deep_are_not_parsed() -> None:
    assert parse(b"\xff\xfe", "text/csv") is None
    assert parse(b"[" * 600 + b"]" * 600, "application/json") is None
    assert parse(b'"' + b"x" * 200_000, "text/csv") == '"' + "x" * 200_000
    assert source_of(b"\xff", "text/plain") == "data:text/plain;base64,/w=="
    assert source_of(b"a\0b", "text/plain") == "data:text/plain;base64,YQBi"
    assert source_of(b"\x89PNG", "image/png") == "data:image/png;base64,iVBORw=="
    assert source_of("ä".encode(), "application/json") == "ä"


def test_thresholds_of_classes_and_samples() -> None:
    rule = {**RULE, "ClassThresholds": {"ham": 0.6}}
    assert decide(rule, [Row("spam", 0.79)], "e") is not None
    assert decide(rule, [Row("spam", 0.8)], "e") is None
    assert decide(rule, [Row("ham", 0.6)], "e") is None
    worst = decide(rule, [Row("spam", 0.7), Row("ham", 0.5)], "e")
    assert worst is not None
    assert worst.row == Row("ham", 0.5)
    shares = {"RuleName": "r", "RandomPercentage": 10.0}
    drawn = [decide(shares, [], f"event-{number}") for number in range(5000)]
    assert 400 < sum(item is not None for item in drawn) < 600
    assert decide(shares, [], "event-1") == decide(shares, [], "event-1")


@pytest.mark.parametrize(
    "change",
    [
        {"ConfidenceThreshold": None}, {"ConfidenceThreshold": -0.1}, {"RandomPercentage": 100.1},
        {"ClassThresholds": {"other": 0.5}}, {"ClassThresholds": {"ham": 2.0}},
    ],
)  # fmt: skip
def test_rules_that_could_not_work_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ApiError):
        check_rule({name: value for name, value in {**RULE, **change}.items() if value is not None})


def test_what_most_workers_said() -> None:
    answers = [{"v": {"label": "a"}}, {"v": {"label": "b"}}, {"v": {"label": "b"}}]
    assert label_of(answers, "") == ("b", 2 / 3)
    assert label_of(answers[:2], "") == ("a", 0.5)
    assert label_of([{"n": 5}], "") == (None, 0.0)
    assert label_of([{"n": 5}], "n") == ("5", 1.0)
    assert label_of([{"n": {"m": 1}}, {"n": 5}], "n") == ("5", 1.0)
    assert label_of([], "") == (None, 0.0)


def test_names_of_loops_are_valid_and_of_one_rule() -> None:
    event = "01234567-89ab-4def-8123-456789abcdef"
    names = {
        loop_name(rule, event)
        for rule in ("Same-Beginning-Of-A-Long-Name-1", "Same-Beginning-Of-A-Long-Name-2", "A", "a")
    }
    assert len(names) == 4
    assert all(len(name) <= 63 for name in names)


FRAMES = [
    (b'{"t": "x"}', "application/json"),
    (b"\xff\x00\xfe", "application/octet-stream"),
    (b"a\x00b", "text/plain"),
    (b"[" * 400 + b"]" * 400, "application/json"),
    (b"[" * 5000 + b"]" * 5000, "application/json"),
    (b'"' + b"x" * 200_000, "text/csv"),
    (b"x" * 4_000_000, "text/plain"),
    (b"", ""),
]


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_no_body_keeps_the_journal_from_being_taken(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/r.db"
    if engine == "postgres":
        url = request.getfixturevalue("postgres")
    database = Database(url)
    for metadata in (KERNEL, METADATA):
        metadata.create_all(database.engine)
    kinds = Kinds(review_kinds(), account="123456789012")
    region = f"region-{engine}"

    def put(connection: sa.Connection) -> None:
        for name in ("the-same-beginning-of-two-rules-1", "the-same-beginning-of-two-rules-2"):
            spec = {"RuleName": name, "EndpointName": "e", "ConfidenceThreshold": 1.0, "Flow": {},
                    "FlowDefinitionArn": "arn:f"}  # fmt: skip
            record = Record(region, RULE_KIND.name, name, f"{name}-{engine}", f"arn:{name}", spec,
                            {}, 1.0, 1.0)  # fmt: skip
            insert_record(connection, record, state="", due=None)

    database.write(put)
    take = take_reviews(kinds, lambda: 5.0)
    frames = [
        ([REVIEWED, region, "e", "v", 0, f"event-{number}", "", kind, "application/json"], body,
         b"[0.5, 0.5]")
        for number, (body, kind) in enumerate(FRAMES)
    ]  # fmt: skip
    odd = [
        ([REVIEWED, region, "e", "v", 0, f"odd-{number}", "", "", kind], b"{}", body)
        for number, (body, kind) in enumerate(FRAMES)
    ]
    database.write(lambda connection: take(connection, [*frames, *odd]))
    with database.read() as connection:
        loops = connection.execute(
            sa.select(RECORDS.c.spec).where(
                RECORDS.c.kind == "HumanLoop", RECORDS.c.region == region
            )
        ).scalars()
        inputs = [orjson.loads(text)["HumanLoopInput"]["InputContent"] for text in loops]
        rows = connection.execute(sa.select(sa.func.count()).select_from(REVIEWS)).scalar_one()
    # Of all but the one that is too large, a loop of each of the two rules.
    assert len(inputs) == rows == 2 * (len(FRAMES) - 1)
    assert all(orjson.loads(text)["endpointName"] == "e" for text in inputs)
    database.close()
