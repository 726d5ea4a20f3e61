"""`MetricDataQueries` and an alarm's `Metrics`: what they ask for, checked, and the answer.

The same checks serve both operations. All that depends on the expressions alone is found by
evaluating them once without any datapoints.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from loopwright.aws.metric_math.reading import (
    CALL,
    TEXT,
    Malformed,
    Step,
    ids_in,
    read_expression,
)
from loopwright.aws.metric_math.running import evaluated
from loopwright.aws.metric_math.values import Array, Misused, Scope, Series
from loopwright.aws.statistics import Unknown, Watched, read_statistic

ID: Final = re.compile(r"[a-z][a-zA-Z0-9_]*")
Window = tuple[float, float]
Fetch = Callable[[Watched, int, Window], Sequence[tuple[float, float]]]
"""`fetch(metric, period_s, window)`: the datapoints of a metric, oldest first."""

LabelOf = Callable[["Query", Mapping[float, float]], str]
"""`label_of(query, points)`: what a series is called."""


class Refused(ValueError):
    """Queries that cannot be answered; the text says why, and what is to be done."""


@dataclass(frozen=True)
class Query:
    """One query.

    Attributes:
        name: Its `Id`.
        label: As given; None if none was.
        returned: Whether its datapoints are asked for.
        metric: What it retrieves; None for an expression.
        period_s: Of its datapoints.
        steps: Of its expression.
        metrics: The ids of the metrics that its expression means by METRICS().
        is_array: Whether its result is an array of series.
    """

    name: str
    label: str | None
    returned: bool
    metric: Watched | None
    period_s: int
    steps: tuple[Step, ...] = ()
    metrics: tuple[str, ...] = ()
    is_array: bool = False


@dataclass(frozen=True)
class Answer:
    """The series of a query; `dropped`: some datapoints were no finite numbers."""

    query: Query
    series: Array
    dropped: bool


def read_queries(items: Sequence[Mapping[str, Any]], account: str) -> list[Query]:
    """Check queries, and bring them in an order in which each comes after those that it names.

    Args:
        account: The only one whose metrics there are.

    Raises:
        Refused: they contradict each other or the rules.
    """
    names = [str(item["Id"]) for item in items]
    for name in names:
        if not ID.fullmatch(name):
            raise Refused(
                f"Id is {name!r}; it must be letters, digits and underscores, and start with a "
                "small letter."
            )
        if names.count(name) > 1:
            raise Refused(f"Id {name!r} stands more than once; each query needs its own.")
    metrics: dict[str, Query] = {}
    expressions: dict[str, tuple[Mapping[str, Any], tuple[Step, ...]]] = {}
    for item in items:
        name = item["Id"]
        if bool(item.get("MetricStat")) == bool(item.get("Expression")):
            raise Refused(f"{name} needs MetricStat or Expression, one of the two.")
        if item.get("AccountId") not in (None, account):
            raise Refused(f"{name} has AccountId {item['AccountId']!r}; there is {account} only.")
        if item.get("MetricStat"):
            metrics[name] = _metric(item)
        else:
            expressions[name] = item, _steps(name, item["Expression"])
    return _ordered(names, metrics, expressions)


def _metric(item: Mapping[str, Any]) -> Query:
    stat = item["MetricStat"]
    metric = stat["Metric"]
    for member in ("Namespace", "MetricName"):
        if not metric.get(member):
            raise Refused(f"MetricStat of {item['Id']} needs a {member}.")
    try:
        read_statistic(stat["Stat"])
    except Unknown as error:
        raise Refused(f"Stat of {item['Id']}: {error}") from None
    watched = Watched(
        metric["Namespace"], metric["MetricName"], tuple(metric.get("Dimensions", ())),
        stat["Stat"], stat.get("Unit"),
    )  # fmt: skip
    returned = item.get("ReturnData", True)
    return Query(item["Id"], item.get("Label"), returned, watched, int(stat["Period"]))


def _steps(name: str, expression: str) -> tuple[Step, ...]:
    try:
        return read_expression(expression)
    except Malformed as error:
        raise _in(name, error) from None


def _in(name: str, error: Exception) -> Refused:
    return Refused(f"Error in expression {name!r}: {error}.")


def _ordered(
    names: Sequence[str],
    metrics: Mapping[str, Query],
    expressions: Mapping[str, tuple[Mapping[str, Any], tuple[Step, ...]]],
) -> list[Query]:
    """Metrics first, then expressions as soon as all that they name is known."""
    found = dict(metrics)
    tried: dict[str, Series | Array] = {name: Series({}, metric=True) for name in metrics}
    left = {name: set(ids_in(steps)) for name, (_, steps) in expressions.items()}
    for name, needed in left.items():
        unknown = sorted(needed - set(names))
        if unknown:
            raise _in(name, Malformed(f"{unknown[0]!r} is no Id of this request"))
    while left:
        ready = [name for name, needed in left.items() if needed <= set(found)]
        if not ready:
            raise Refused(f"Expressions name each other in a circle: {', '.join(sorted(left))}.")
        for name in ready:
            item, steps = expressions[name]
            query = _expression(item, steps, found, metrics)
            # Once without datapoints, to find what its result is.
            tried[name], _ = _evaluated(query, tried, (0.0, float(query.period_s)))
            found[name] = replace(query, is_array=isinstance(tried[name], tuple))
            del left[name]
    return list(found.values())


def _expression(
    item: Mapping[str, Any],
    steps: tuple[Step, ...],
    known: Mapping[str, Query],
    metrics: Mapping[str, Query],
) -> Query:
    name = item["Id"]
    meant = _meant(steps, list(metrics))
    used = {known[other].period_s: other for other in (*ids_in(steps), *meant)}
    if item.get("Period"):
        used.setdefault(int(item["Period"]), "its own Period")
    if len(used) > 1:
        told = ", ".join(f"{period} s ({other})" for period, other in sorted(used.items()))
        raise _in(name, Malformed(f"its time series have several periods, {told}: give them one"))
    if not used:
        raise _in(name, Malformed("it names no metric; give Period"))
    returned = item.get("ReturnData", True)
    return Query(name, item.get("Label"), returned, None, next(iter(used)), steps, meant)


def _meant(steps: Sequence[Step], metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics that calls of METRICS mean, in the order of the request."""
    found: set[str] = set()
    for place, step in enumerate(steps):
        if step.what == CALL and step.value == "METRICS":
            before = steps[place - 1] if step.count else None
            part = str(before.value) if before is not None and before.what == TEXT else ""
            found |= {name for name in metrics if part in name}
    return tuple(name for name in metrics if name in found)


def _evaluated(
    query: Query, values: Mapping[str, Series | Array], window: Window
) -> tuple[Series | Array, bool]:
    """Value of an expression, and whether datapoints were dropped."""
    metrics = {name: value for name in query.metrics if isinstance(value := values[name], Series)}
    scope = Scope(values, metrics, query.period_s, window)
    try:
        value = evaluated(query.steps, scope)
    except Misused as error:
        raise _in(query.name, error) from None
    return value, scope.dropped


def name_of(query: Query, _points: Mapping[float, float]) -> str:
    """The label of a query that was given none: the metric's name, or the id of an expression."""
    return query.name if query.metric is None else query.metric.name


def answers(
    queries: Sequence[Query], fetch: Fetch, window: Window, label_of: LabelOf = name_of
) -> dict[str, Answer]:
    """The answers of checked queries, by id.

    Args:
        label_of: The label of a metric's series.

    Raises:
        Refused: the datapoints do not allow one.
    """
    values: dict[str, Series | Array] = {}
    found = {}
    for query in queries:
        dropped = False
        if query.metric is not None:
            points = dict(fetch(query.metric, query.period_s, window))
            value: Series | Array = Series(points, label_of(query, points), metric=True)
        else:
            value, dropped = _evaluated(query, values, window)
        values[query.name] = value
        series = value if isinstance(value, tuple) else (value,)
        found[query.name] = Answer(query, series, dropped)
    return found
