"""What expressions are made of: numbers, series and arrays of series, and operators on them.

CloudWatch's rules: a datapoint that one operand lacks counts as 0, one that neither has is missing;
a result that is no finite number (after a division by zero) drops its datapoint.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

PLACES_MAX: Final = 100_800
MISSING: Final = math.nan
"""A number that is not known, as the average of no datapoints."""


class Misused(ValueError):
    """An expression that has no value; the text says why."""


@dataclass(frozen=True)
class Series:
    """A time series.

    Attributes:
        points: Value by start of the period in seconds, oldest first.
        label: What it is about.
        metric: Whether it is a metric, and not the result of an expression.
    """

    points: Mapping[float, float]
    label: str = ""
    metric: bool = False


Array = tuple[Series, ...]
Value = float | Series | Array


@dataclass
class Scope:
    """What an expression is evaluated in.

    Attributes:
        values: Of the queries that it names, by id.
        metrics: Those of them that are metrics, in the order of the request.
        period_s: Of its series.
        window: From (included) to (excluded), seconds.
        dropped: Whether datapoints were dropped because they were no finite numbers.
    """

    values: Mapping[str, Value]
    metrics: Mapping[str, Series]
    period_s: int
    window: tuple[float, float]
    dropped: bool = field(default=False)

    @property
    def _periods(self) -> range:
        first = math.floor(self.window[0] / self.period_s)
        return range(first, math.ceil(self.window[1] / self.period_s))

    @property
    def places(self) -> int:
        """How many periods the window has."""
        return len(self._periods)

    def times(self) -> list[float]:
        """The starts of all periods of the window.

        Raises:
            Misused: there are too many.
        """
        if self.places > PLACES_MAX:
            raise Misused(
                f"it needs a value for each of {self.places} periods; the most is {PLACES_MAX}: "
                "raise Period, or shorten the time"
            )
        return [float(number * self.period_s) for number in self._periods]

    def series(self, points: Iterable[tuple[float, float]], label: str = "") -> Series:
        """A series of the points that are finite numbers."""
        found = dict(points)
        kept = {at: value for at, value in found.items() if math.isfinite(value)}
        self.dropped = self.dropped or len(kept) < len(found)
        return Series(kept, label)


Operator = Callable[[float, float], float]


def _divided(one: float, other: float) -> float:
    return one / other if other else MISSING


def _power(one: float, other: float) -> float:
    try:
        return math.pow(one, other)
    except (OverflowError, ValueError):
        return MISSING


OPERATORS: Final[Mapping[str, Operator]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
    "^": _power,
    "==": lambda one, other: float(one == other),
    "!=": lambda one, other: float(one != other),
    "<": lambda one, other: float(one < other),
    "<=": lambda one, other: float(one <= other),
    ">": lambda one, other: float(one > other),
    ">=": lambda one, other: float(one >= other),
    "AND": lambda one, other: float(bool(one) and bool(other)),
    "OR": lambda one, other: float(bool(one) or bool(other)),
}


def combined(sign: str, one: Value, other: Value, scope: Scope) -> Value:
    """The value of an operator on two values.

    Raises:
        Misused: both are arrays.
    """
    work = OPERATORS[sign]
    if isinstance(one, tuple):
        if isinstance(other, tuple):
            raise Misused(f"{sign} stands between two arrays of time series; one may be an array")
        return tuple(_pair(work, item, other, scope, item.label) for item in one)
    if isinstance(other, tuple):
        return tuple(_pair(work, one, item, scope, item.label) for item in other)
    if isinstance(one, Series) or isinstance(other, Series):
        return _pair(work, one, other, scope)
    return MISSING if math.isnan(one) or math.isnan(other) else work(one, other)


def _pair(
    work: Operator, one: Series | float, other: Series | float, scope: Scope, label: str = ""
) -> Series:
    """Of two series, or of one and a number, which is there at each time of the series."""
    left = one.points if isinstance(one, Series) else None
    right = other.points if isinstance(other, Series) else None
    times = sorted({**(left or {}), **(right or {})})
    alone = [item for item in (one, other) if not isinstance(item, Series)]
    if any(math.isnan(number) for number in alone):
        return scope.series(((at, MISSING) for at in times), label)
    return scope.series(
        (
            (
                at,
                work(
                    one if left is None else left.get(at, 0.0),  # type: ignore[arg-type]
                    other if right is None else right.get(at, 0.0),  # type: ignore[arg-type]
                ),
            )
            for at in times
        ),
        label,
    )


def mapped(work: Callable[[Series], Series], value: Value, name: str) -> Value:
    """A function of one series on a series, or on each of an array.

    Raises:
        Misused: it is a number.
    """
    if isinstance(value, tuple):
        return tuple(work(item) for item in value)
    return work(series_of(value, name))


def series_of(value: Value, name: str) -> Series:
    """The value, which must be one time series.

    Raises:
        Misused: it is something else.
    """
    if isinstance(value, Series):
        return value
    found = "an array of time series" if isinstance(value, tuple) else "a number"
    raise Misused(f"{name} takes a time series and got {found}")


def array_of(value: Value, name: str) -> Array:
    """The value, which must be an array of time series.

    Raises:
        Misused: it is something else.
    """
    if isinstance(value, tuple):
        return value
    found = "one" if isinstance(value, Series) else "a number"
    raise Misused(
        f"{name} takes an array of time series, e.g. [m1, m2] or METRICS(), and got {found}"
    )


def number_of(value: Value, name: str) -> float:
    """The value, which must be a number.

    Raises:
        Misused: it is something else.
    """
    if isinstance(value, float):
        return value
    found = "an array of time series" if isinstance(value, tuple) else "a time series"
    raise Misused(f"{name} takes a number and got {found}")


def all_times(array: Sequence[Series]) -> list[float]:
    """The times at which any of them has a datapoint."""
    return sorted({at for item in array for at in item.points})
