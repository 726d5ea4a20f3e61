"""Metric math: a table of expressions worked by hand, and what is refused."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from loopwright.aws.metric_math.queries import Refused, answers, read_queries
from loopwright.aws.statistics import Watched

Points = dict[int, float]
ACCOUNT = "123456789012"
NONE: Points = {}


def metric(name: str, period: int = 60, **more: Any) -> dict[str, Any]:
    stat = {"Metric": {"Namespace": "N", "MetricName": name}, "Period": period, "Stat": "Sum"}
    return {"Id": name, "MetricStat": stat, "ReturnData": False, **more}


def run(
    expression: str, held: dict[str, list[float | None]], start: float = 0.0
) -> list[list[float | None]]:
    """The series of the result: a value or None for each of the minutes."""
    minutes = max(len(values) for values in held.values())
    window = start, start + 60.0 * minutes
    items = [*(metric(name) for name in held), {"Id": "result", "Expression": expression}]

    def fetch(watched: Watched, period_s: int, window: Any) -> list[tuple[float, float]]:
        values = enumerate(held[watched.name])
        return [(start + 60.0 * at, value) for at, value in values if value is not None]

    answer = answers(read_queries(items, ACCOUNT), fetch, window)["result"]
    times = [start + 60.0 * at for at in range(minutes)]
    assert all(set(series.points) <= set(times) for series in answer.series)
    return [[series.points.get(at) for at in times] for series in answer.series]


_ = None
A: list[float | None] = [1.0, 2.0, _, 4.0]
B: list[float | None] = [10.0, 0.0, 30.0, _]


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        # What one operand lacks counts as 0; a division by 0 drops the datapoint.
        ("a + b", [11, 2, 30, 4]),
        ("a - b", [-9, 2, -30, 4]),
        ("a * b", [10, 0, 0, 0]),
        ("a / b", [0.1, _, 0, _]),
        ("b / a", [10, 0, _, 0]),
        ("a ^ 2", [1, 4, _, 16]),
        ("100 * a / SUM([a, a])", [50, 50, _, 50]),
        ("-a", [-1, -2, _, -4]),
        ("-a ^ 2", [-1, -4, _, -16]),
        ("2 ^ 3 ^ a / 1000", [0.008, 0.512, _, 2**81 / 1000]),
        ("2 ^ -a * 4", [2, 1, _, 0.25]),
        ("1 + 2 * a - 6 / 3", [1, 3, _, 7]),
        ("(1 + 2) * -a", [-3, -6, _, -12]),
        ("10 - 3 - a", [6, 5, _, 3]),
        ("1.5e1 * a + .5", [15.5, 30.5, _, 60.5]),
        # Comparisons and logic; AND binds closer than OR.
        ("a > 1", [0, 1, _, 1]),
        ("a < b", [1, 0, 1, 0]),
        ("a >= 2 AND b >= 0", [0, 1, 0, 0]),
        ("a == 1 || a == 2 && b > 5", [1, 0, 0, 0]),
        ("(a == 1 OR a == 2) AND b > 5", [1, 0, 0, 0]),
        ("a != 2", [1, 0, _, 1]),
        ("a + 1 <= 3", [1, 1, _, 0]),
        # Of each datapoint.
        ("ABS(a - 3)", [2, 1, _, 1]),
        ("CEIL(a / 4)", [1, 1, _, 1]),
        ("FLOOR(a / 4)", [0, 0, _, 1]),
        ("LOG10(b)", [1, _, 1.4771212547196624, _]),
        ("LOG(a) - LOG(a)", [0, 0, _, 0]),
        ("DIFF(a)", [_, 1, _, 2]),
        ("DIFF_TIME(a)", [_, 60, _, 120]),
        ("RATE(a) * 60", [_, 1, _, 1]),
        ("RUNNING_SUM(a)", [1, 3, _, 7]),
        # Of a series a number; AVG counts what is missing as 0.
        ("a - MIN(a)", [0, 1, _, 3]),
        ("a / MAX(a)", [0.25, 0.5, _, 1]),
        ("a * 0 + SUM(a)", [7, 7, _, 7]),
        ("a * 0 + AVG(a)", [1.75, 1.75, _, 1.75]),
        ("a * 0 + SUM(a) / DATAPOINT_COUNT(a)", [7 / 3, 7 / 3, _, 7 / 3]),
        ("b * 0 + STDDEV(b - 10)", [155.55555555555554**0.5] * 3 + [_]),
        ("TIME_SERIES(PERIOD(a) / 60)", [1, 1, 1, 1]),
        # Of an array a series.
        ("SUM([a, b])", [11, 2, 30, 4]),
        ("AVG([a, b])", [5.5, 1, 15, 2]),
        ("MIN([a, b])", [1, 0, 30, 4]),
        ("MAX(METRICS())", [10, 2, 30, 4]),
        ("STDDEV([a, b])", [4.5, 1, 0, 0]),
        ("DATAPOINT_COUNT([a, b])", [2, 2, 1, 1]),
        ('SUM(METRICS("b"))', [10, 0, 30, _]),
        ('SUM([METRICS("a"), METRICS("b")])', [11, 2, 30, 4]),
        ("a / METRIC_COUNT(METRICS())", [0.5, 1, _, 2]),
        # Filling.
        ("FILL(a, 9)", [1, 2, 9, 4]),
        ("FILL(a, b)", [1, 2, 30, 4]),
        ("FILL(b, a)", [10, 0, 30, 4]),
        ("FILL(a, REPEAT)", [1, 2, 2, 4]),
        ("FILL(b, REPEAT)", [10, 0, 30, 30]),
        ("FILL(a, LINEAR)", [1, 2, 3, 4]),
        ("FILL(b, LINEAR)", [10, 0, 30, _]),
        ("FILL(a, MIN(a))", [1, 2, 1, 4]),
        # Choosing.
        ("IF(a < 3, a)", [1, 2, _, _]),
        ("IF(a > 1, 10, 2)", [2, 10, _, 10]),
        ("IF(a > 1, b, a)", [1, 0, _, 0]),
        ("IF(SUM(a) > 3, a, b)", A),
        ("IF(SUM(a) > 30, a, b)", B),
        ("IF(SUM(a) > 30, a)", [_, _, _, _]),
        ("a * IF(SUM(a) > 3, 2, 3)", [2, 4, _, 8]),
        ("FIRST(SORT(METRICS(), SUM, DESC))", B),
        ("LAST(SORT([a, b], AVG, DESC))", A),
        ("FIRST(SLICE(SORT([a, b], MAX, ASC), 1))", B),
        ("SUM(SLICE([a, b, a], 0, 2))", [11, 2, 30, 4]),
        ("SUM(SORT([a, b], MIN, ASC, 1))", B),
        ("SUM(REMOVE_EMPTY([IF(a > 100, a), a]))", A),
        # All of it does not depend on how deep it stands.
        ("(" * 900 + "a" + ")" * 900, A),
        ("-" * 1000 + "a", A),
        ("FIRST(" + "[" * 900 + "a" + "]" * 900 + ")", A),
        ("ABS(" * 400 + "a" + ")" * 400, A),
        ("a" + " + 0 * a" * 200, A),
    ],
)
def test_expressions_by_hand(expression: str, wanted: list[float | None]) -> None:
    assert run(expression, {"a": A, "b": B}) == [
        [None if value is None else pytest.approx(value) for value in wanted]
    ]


@pytest.mark.parametrize(
    ("condition", "true", "false", "wanted"),
    [
        # The guide's tables, "Using IF expressions".
        ([1, 1, 0, 0, _], [30, _, 0, 0, 30], [0, 0, 20, _, 20], [30, 0, 20, _, _]),
        ([1, 1, 0, 0, _], 5, [0, 0, 20, _, 20], [5, 5, 20, _, _]),
        ([1, 1, 0, 0, _], [30, _, 0, 0, 30], 5, [30, 0, 5, 5, _]),
    ],
)
def test_if_as_in_the_guide(condition: Any, true: Any, false: Any, wanted: Any) -> None:
    held = {"c": condition}
    names = []
    for name, value in (("t", true), ("f", false)):
        names.append(name if isinstance(value, list) else str(value))
        held |= {name: value} if isinstance(value, list) else {}
    assert run(f"IF(c, {names[0]}, {names[1]})", held) == [wanted]


def test_comparisons_as_in_the_guide() -> None:
    held: dict[str, Any] = {"metric1": [30, 20, 0, 0], "metric2": [20, _, 20, _]}
    assert run("(metric1 < metric2)", held) == [[0, 0, 1, 0]]
    assert run("(metric1 >= 30)", held) == [[1, 0, 0, 0]]
    assert run("(metric1 > 15 AND metric2 > 15)", held) == [[1, 0, 0, 0]]


def test_arrays_of_series() -> None:
    held = {"a": A, "b": B}
    assert run("METRICS() * 2", held) == [[2, 4, _, 8], [20, 0, 60, _]]
    assert run("100 / [b, a]", held) == [[10, _, 100 / 30, _], [100, 50, _, 25]]
    assert run("-[a, b]", held) == [[-1, -2, _, -4], [-10, 0, -30, _]]
    assert run("REMOVE_EMPTY(SORT([IF(a > 9, a), b, a], MAX, ASC))", held) == [A, B]
    assert run("FILL([a, b], 0)", held) == [[1, 2, 0, 4], [10, 0, 30, 0]]


def test_times_are_those_of_utc() -> None:
    start = 1_772_323_140.0  # Saturday 2026-02-28 23:59:00
    held: dict[str, Any] = {"a": [1.0, _]}
    for name, wanted in {
        "MINUTE": [59, 0], "HOUR": [23, 0], "DAY": [6, 7], "DATE": [28, 1], "MONTH": [2, 3],
        "YEAR": [2026, 2026], "EPOCH": [start, start + 60],
    }.items():  # fmt: skip
        assert run(f"{name}(a)", held, start) == [wanted]
    assert run("IF(DAY(a) < 6, a)", held, start) == [[_, _]]


def test_expressions_name_each_other_in_any_order() -> None:
    items = [
        {"Id": "twice", "Expression": "rate * 2"},
        {"Id": "rate", "Expression": "errors / calls"},
        *(metric(name) for name in ("errors", "calls")),
    ]
    found = answers(
        read_queries(items, ACCOUNT),
        lambda watched, period_s, window: [(0.0, 1.0 if watched.name == "errors" else 4.0)],
        (0.0, 60.0),
    )
    assert found["twice"].series[0].points == {0.0: 0.5}
    chain = [{"Id": f"e{n}", "Expression": f"e{n - 1} + 1"} for n in range(499, 0, -1)]
    end = answers(
        read_queries([*chain, metric("e0")], ACCOUNT), lambda *_: [(0.0, 0.0)], (0.0, 60.0)
    )
    assert end["e499"].series[0].points == {0.0: 499.0}


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("SEARCH('{N,Q} M', 'Sum', 60)", "SEARCH is not supported by Loopwright: name the metrics"),
        ("ANOMALY_DETECTION_BAND(a)", "ANOMALY_DETECTION_BAND is not supported"),
        ("SERVICE_QUOTA(a)", "write the quota as a number"),
        ("DB_PERF_INSIGHTS('RDS', 'x', 'y')", "DB_PERF_INSIGHTS is not"),
        ("INSIGHT_RULE_METRIC('r', 'Sum')", "INSIGHT_RULE_METRIC is not"),
        ("SELECT AVG(M) FROM N", "Metrics Insights"),
        ("a + unknown", "'unknown' is no Id"),
        ("a +", "ends where a value"),
        ("+ a", "'\\+' stands where a value"),
        ("(a", r"'\(' is not closed"),
        ("a)", r"'\)' is not expected"),
        ("[a)", r"'\)' closes '\['"),
        ("(a, a)", "belong to no function"),
        ("a a", "'a' stands where an operator"),
        ("", "ends where a value"),
        ("a ? 1 : 2", r"'\? 1 : 2' is not expected"),
        ("a + __import__('os')", "there is no function __import__"),
        ("a.real", "is not expected"),
        ("avg(a)", "there is no function avg: write AVG"),
        ("NOPE(a)", "there is no function NOPE"),
        ("Capital + a", "starts with a small letter"),
        ("a + ABS()", "has 0 arguments and takes 1"),
        ("FILL(a)", "FILL has 1 arguments and takes 2"),
        ("FILL(a, NEVER)", "neither an id"),
        ("FILL(a, ASC)", "REPEAT, LINEAR"),
        ("FILL(a, [a])", "as its filler"),
        ("SORT(a, SUM, ASC)", "SORT takes an array"),
        ("SORT([a], SUM, a)", "ASC, DESC"),
        ("SLICE([a], -1)", "whole numbers from 0"),
        ("PERIOD(a + 1)", "PERIOD takes the id of a metric"),
        ("METRICS(a)", "part of ids in quotes"),
        ("[a, 1]", "an array has a number"),
        ("[a] + [a]", "two arrays"),
        ("a + RATE(5)", "RATE takes a time series and got a number"),
        ("IF([a], 1, 2)", "got an array"),
        ("IF(SUM(a), a, 2)", "two time series, or two numbers"),
        ("a + 'x'", "'x' stands where a value"),
        ("AVG(a)", "its result is a number"),
        ("5", "it names no metric"),
    ],
)
def test_expressions_that_are_refused(expression: str, words: str) -> None:
    items = [metric("a"), {"Id": "e", "Expression": expression}]
    if not expression:
        items[1] = {"Id": "e", "Expression": " "}
    with pytest.raises(Refused, match=words):
        read_queries(items, ACCOUNT)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([metric("M1")], "start with a small letter"),
        ([metric("a-b")], "letters, digits and underscores"),
        ([metric("a"), metric("a")], "more than once"),
        ([{"Id": "a"}], "MetricStat or Expression"),
        ([metric("a", Expression="b")], "MetricStat or Expression"),
        ([metric("a", AccountId="999999999999")], "there is 123456789012 only"),
        ([{"Id": "e", "Expression": "e + 1"}], "in a circle: e"),
        (
            [{"Id": "e", "Expression": "f"}, {"Id": "f", "Expression": "e"}],
            "in a circle: e, f",
        ),
        ([metric("a"), metric("b", 300), {"Id": "e", "Expression": "a / b"}], "60 s.*300 s"),
        ([metric("a"), {"Id": "e", "Expression": "a", "Period": 10}], "its own Period"),
    ],
)
def test_queries_that_are_refused(items: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(Refused, match=words):
        read_queries(items, ACCOUNT)


def test_what_would_take_too_much_is_refused() -> None:
    held: dict[str, Any] = {"a": [1.0]}
    doubling = [{"Id": f"e{n}", "Expression": f"[e{n - 1}, e{n - 1}]"} for n in range(2, 40)]
    with pytest.raises(Refused, match="the most is 500"):
        read_queries([metric("a"), {"Id": "e1", "Expression": "[a, a]"}, *doubling], ACCOUNT)
    with pytest.raises(Refused, match="the most is 100800"):
        answers(
            read_queries([metric("a"), {"Id": "e", "Expression": "FILL(a, 0)"}], ACCOUNT),
            lambda *_: [],
            (0.0, 60.0 * 100_801),
        )
    assert run("10 ^ (400 * a)", held) == [[_]]
    assert run("(0 - a) ^ 0.5", held) == [[_]]
    assert run("(a - 1) ^ -1", held) == [[_]]


PARTS = [
    "a", "b", "1", "0", "2.5", "+", "-", "*", "/", "^", "(", ")", "[", "]", ",", "<", "==", "AND",
    "||", "SUM(", "FILL(", "IF(", "SORT(", "SLICE(", "METRICS()", 'METRICS("a")', "FIRST(", "LOG(",
    "RATE(", "DAY(", "TIME_SERIES(", "REPEAT", "LINEAR", "DESC", "AVG", "'x'", "PERIOD(a)", "nope",
]  # fmt: skip


@settings(max_examples=500)
@given(some.lists(some.sampled_from(PARTS), min_size=1, max_size=12))
def test_whatever_is_written_is_answered_by_finite_numbers_or_refused(parts: list[str]) -> None:
    try:
        found = run(" ".join(parts), {"a": A, "b": B})
    except Refused as error:
        assert str(error).startswith("Error in expression 'result': ")
        return
    assert all(math.isfinite(value) for series in found for value in series if value is not None)


def written(draw: some.DrawFn, depth: int) -> str:
    """Arithmetic that Python reads alike, with `^` for its `**`."""
    if depth == 0 or draw(some.booleans()):
        return f"{draw(some.integers(1, 9))}.0"
    one, other = written(draw, depth - 1), written(draw, depth - 1)
    sign = draw(some.sampled_from("+ - * / ^".split()))
    if sign == "^":
        other = f"{draw(some.integers(1, 2))}.0"
    text = f"{one} {sign} {other}"
    return f"({text})" if draw(some.booleans()) else f"-{text}" if draw(some.booleans()) else text


@settings(max_examples=300)
@given(some.composite(lambda draw: written(draw, 4))())
def test_operators_bind_as_python_s(text: str) -> None:
    try:
        value = float(eval(text.replace("^", "**")))
    except (ZeroDivisionError, OverflowError):
        value = math.nan
    found = run(f"a * 0 + ({text})", {"a": [1.0]})
    wanted = pytest.approx(value, rel=1e-9) if math.isfinite(value) else None
    assert found == [[wanted]]
