"""The functions of metric math: CloudWatch's user guide, "Functions supported for metric math"."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import Final

from loopwright.aws.metric_math.values import (
    MISSING,
    Array,
    Misused,
    Scope,
    Series,
    Value,
    all_times,
    array_of,
    mapped,
    number_of,
    series_of,
)


@dataclass(frozen=True)
class Word:
    """An argument that is no value: `REPEAT`, `DESC`, or text in quotes."""

    text: str
    quoted: bool = False


Argument = Value | Word
Function = Callable[[Sequence[Argument], Scope], Value]


@dataclass(frozen=True)
class Declared:
    """A function, and between how many arguments it takes."""

    work: Function
    least: int
    most: int


def called(name: str, arguments: Sequence[Argument], scope: Scope) -> Value:
    """The value of a function.

    Raises:
        Misused: there is no such function, or it takes other arguments.
    """
    declared = FUNCTIONS.get(name)
    if declared is None:
        hint = f": write {name.upper()}" if name.upper() in FUNCTIONS else ""
        raise Misused(f"there is no function {name}{hint}")
    if not declared.least <= len(arguments) <= declared.most:
        count = (
            str(declared.least)
            if declared.least == declared.most
            else f"{declared.least} to {declared.most}"
        )
        raise Misused(f"{name} has {len(arguments)} arguments and takes {count}")
    return declared.work(arguments, scope)


def _value(argument: Argument, name: str) -> Value:
    if isinstance(argument, Word):
        raise Misused(f"{name} takes a value where {argument.text!r} stands")
    return argument


def _word(argument: Argument, name: str, allowed: Sequence[str]) -> str:
    if isinstance(argument, Word) and not argument.quoted and argument.text in allowed:
        return argument.text
    raise Misused(f"{name} takes one of {', '.join(allowed)} there")


# Of each datapoint


def _each(name: str, work: Callable[[float], float]) -> Declared:
    def apply(arguments: Sequence[Argument], scope: Scope) -> Value:
        def one(item: Series) -> Series:
            return scope.series(((at, work(v)) for at, v in item.points.items()), item.label)

        value = _value(arguments[0], name)
        if isinstance(value, float):
            return MISSING if math.isnan(value) else work(value)
        return mapped(one, value, name)

    return Declared(apply, 1, 1)


def _logarithm(work: Callable[[float], float]) -> Callable[[float], float]:
    return lambda value: work(value) if value > 0 else MISSING


def _steps(name: str, work: Callable[[float, float, float], float]) -> Declared:
    """Of each datapoint and the one before: `work(difference, seconds)`."""

    def apply(arguments: Sequence[Argument], scope: Scope) -> Value:
        def one(item: Series) -> Series:
            points = (
                (at, work(before, value, at - earlier))
                for (earlier, before), (at, value) in pairwise(item.points.items())
            )
            return scope.series(points, item.label)

        return mapped(one, _value(arguments[0], name), name)

    return Declared(apply, 1, 1)


def _running_sum(arguments: Sequence[Argument], scope: Scope) -> Value:
    def one(item: Series) -> Series:
        sums = accumulate(item.points.values())
        return scope.series(zip(item.points, sums, strict=True), item.label)

    return mapped(one, _value(arguments[0], "RUNNING_SUM"), "RUNNING_SUM")


# Of many datapoints: of a series a number, of an array a series


Reduce = Callable[[Sequence[float]], float]
REDUCERS: Final[Mapping[str, Reduce]] = {
    "SUM": math.fsum,
    "MIN": min,
    "MAX": max,
    "STDDEV": statistics.pstdev,
    "DATAPOINT_COUNT": lambda values: float(len(values)),
}


def _reduced(name: str) -> Declared:
    def apply(arguments: Sequence[Argument], scope: Scope) -> Value:
        value = _value(arguments[0], name)
        if isinstance(value, tuple):
            by_time = (
                (at, [item.points[at] for item in value if at in item.points])
                for at in all_times(value)
            )
            return scope.series((at, _of_values(name, held, len(value))) for at, held in by_time)
        held = list(series_of(value, name).points.values())
        return _of_values(name, held, scope.places)

    return Declared(apply, 1, 1)


def _of_values(name: str, held: Sequence[float], places: int) -> float:
    """The function of the values; an average counts missing ones as 0, as the guide says."""
    if name == "AVG":
        return _of_values("SUM", held, places) / max(places, len(held)) if held else MISSING
    if not held:
        return 0.0 if name == "DATAPOINT_COUNT" else MISSING
    try:
        return float(REDUCERS[name](held))
    except OverflowError:
        return MISSING


# Filling


def _fill(arguments: Sequence[Argument], scope: Scope) -> Value:
    filler = arguments[1]
    if isinstance(filler, Word):
        way = _word(filler, "FILL", ("REPEAT", "LINEAR"))
        work = _repeated if way == "REPEAT" else _interpolated
        return mapped(
            lambda item: scope.series(work(item, scope.times()), item.label),
            _value(arguments[0], "FILL"),
            "FILL",
        )
    if isinstance(filler, tuple):
        raise Misused("FILL takes a number, one time series, REPEAT or LINEAR as its filler")

    def one(item: Series) -> Series:
        found = dict(item.points)
        for at in scope.times():
            if at not in found:
                found[at] = filler.points.get(at, MISSING) if isinstance(filler, Series) else filler
        kept = ((at, value) for at, value in sorted(found.items()) if not math.isnan(value))
        return scope.series(kept, item.label)

    return mapped(one, _value(arguments[0], "FILL"), "FILL")


def _repeated(item: Series, times: Sequence[float]) -> list[tuple[float, float]]:
    """With the last value before each gap."""
    found = []
    last = MISSING
    for at in sorted({*times, *item.points}):
        last = item.points.get(at, last)
        if not math.isnan(last):
            found.append((at, last))
    return found


def _interpolated(item: Series, times: Sequence[float]) -> list[tuple[float, float]]:
    """Gaps between two values by a straight line; before the first and after the last are none."""
    found = dict(item.points)
    for (start, one), (end, other) in pairwise(item.points.items()):
        for at in times:
            if start < at < end:
                found[at] = one + (other - one) * (at - start) / (end - start)
    return sorted(found.items())


# Choosing


def _if(arguments: Sequence[Argument], scope: Scope) -> Value:
    condition, *branches = (_value(item, "IF") for item in arguments)
    if any(isinstance(item, tuple) for item in (condition, *branches)):
        raise Misused("IF takes time series and numbers and got an array of time series")
    if isinstance(condition, Series):
        return scope.series(_chosen(condition, branches))
    if isinstance(condition, tuple) or len({isinstance(item, Series) for item in branches}) > 1:
        raise Misused("IF with a number as condition takes two time series, or two numbers")
    holds = bool(condition) and not math.isnan(condition)
    if len(branches) == 2:
        return branches[0] if holds else branches[1]
    kept = series_of(branches[0], "IF with a number as condition and one value")
    return kept if holds else Series({}, kept.label)


def _chosen(condition: Series, branches: Sequence[Value]) -> list[tuple[float, float]]:
    """A true datapoint without a value is 0; a false one without a value is dropped."""
    found = []
    for at, holds in condition.points.items():
        branch = branches[0] if holds else branches[1] if len(branches) > 1 else None
        if isinstance(branch, Series):
            value = branch.points.get(at, 0.0 if holds else MISSING)
        else:
            value = branch if isinstance(branch, float) else MISSING
        if not math.isnan(value):
            found.append((at, value))
    return found


def _metrics(arguments: Sequence[Argument], scope: Scope) -> Value:
    if not arguments:
        return tuple(scope.metrics.values())
    part = arguments[0]
    if not isinstance(part, Word) or not part.quoted:
        raise Misused('METRICS takes a part of ids in quotes, e.g. METRICS("errors"), or nothing')
    return tuple(series for name, series in scope.metrics.items() if part.text in name)


def _sort(arguments: Sequence[Argument], scope: Scope) -> Value:
    array = array_of(_value(arguments[0], "SORT"), "SORT")
    name = _word(arguments[1], "SORT", ("AVG", "MIN", "MAX", "SUM"))
    order = _word(arguments[2], "SORT", ("ASC", "DESC"))
    keyed = [(_of_values(name, list(s.points.values()), scope.places), s) for s in array]
    empty = [s for key, s in keyed if math.isnan(key)]
    full = [pair for pair in keyed if not math.isnan(pair[0])]
    full.sort(key=lambda pair: pair[0], reverse=order == "DESC")
    found = (*(s for _, s in full), *empty)
    if len(arguments) == 4:
        return found[: _index(arguments[3], "SORT")]
    return found


def _slice(arguments: Sequence[Argument], scope: Scope) -> Value:
    array = array_of(_value(arguments[0], "SLICE"), "SLICE")
    start, *end = (_index(item, "SLICE") for item in arguments[1:])
    return array[start : end[0] if end else None]


def _index(argument: Argument, name: str) -> int:
    number = number_of(_value(argument, name), name)
    if math.isnan(number):
        return 0
    if number < 0 or number != int(number):
        raise Misused(f"{name} takes whole numbers from 0 on and got {number!r}")
    return int(number)


def _end(name: str, place: int) -> Declared:
    def apply(arguments: Sequence[Argument], scope: Scope) -> Value:
        array: Array = array_of(_value(arguments[0], name), name)
        return array[place] if array else Series({})

    return Declared(apply, 1, 1)


def _without_empty(arguments: Sequence[Argument], scope: Scope) -> Value:
    array = array_of(_value(arguments[0], "REMOVE_EMPTY"), "REMOVE_EMPTY")
    return tuple(item for item in array if item.points)


def _metric_count(arguments: Sequence[Argument], scope: Scope) -> Value:
    return float(len(array_of(_value(arguments[0], "METRIC_COUNT"), "METRIC_COUNT")))


# Of the times


def _period(arguments: Sequence[Argument], scope: Scope) -> Value:
    item = series_of(_value(arguments[0], "PERIOD"), "PERIOD")
    if not item.metric:
        raise Misused("PERIOD takes the id of a metric, not the result of an expression")
    return float(scope.period_s)


def _time_series(arguments: Sequence[Argument], scope: Scope) -> Value:
    number = number_of(_value(arguments[0], "TIME_SERIES"), "TIME_SERIES")
    return scope.series((at, number) for at in scope.times())


def _clock(name: str, work: Callable[[datetime], float]) -> Declared:
    def apply(arguments: Sequence[Argument], scope: Scope) -> Value:
        item = series_of(_value(arguments[0], name), name)
        times = sorted({*scope.times(), *item.points})
        return scope.series((at, float(work(datetime.fromtimestamp(at, UTC)))) for at in times)

    return Declared(apply, 1, 1)


FUNCTIONS: Final[Mapping[str, Declared]] = {
    "ABS": _each("ABS", abs),
    "CEIL": _each("CEIL", lambda value: float(math.ceil(value))),
    "FLOOR": _each("FLOOR", lambda value: float(math.floor(value))),
    "LOG": _each("LOG", _logarithm(math.log)),
    "LOG10": _each("LOG10", _logarithm(math.log10)),
    "DIFF": _steps("DIFF", lambda before, value, seconds: value - before),
    "DIFF_TIME": _steps("DIFF_TIME", lambda before, value, seconds: seconds),
    "RATE": _steps("RATE", lambda before, value, seconds: (value - before) / seconds),
    "RUNNING_SUM": Declared(_running_sum, 1, 1),
    "AVG": _reduced("AVG"),
    **{name: _reduced(name) for name in REDUCERS},
    "FILL": Declared(_fill, 2, 2),
    "IF": Declared(_if, 2, 3),
    "METRICS": Declared(_metrics, 0, 1),
    "METRIC_COUNT": Declared(_metric_count, 1, 1),
    "SORT": Declared(_sort, 3, 4),
    "SLICE": Declared(_slice, 2, 3),
    "FIRST": _end("FIRST", 0),
    "LAST": _end("LAST", -1),
    "REMOVE_EMPTY": Declared(_without_empty, 1, 1),
    "PERIOD": Declared(_period, 1, 1),
    "TIME_SERIES": Declared(_time_series, 1, 1),
    "MINUTE": _clock("MINUTE", lambda moment: moment.minute),
    "HOUR": _clock("HOUR", lambda moment: moment.hour),
    "DAY": _clock("DAY", datetime.isoweekday),
    "DATE": _clock("DATE", lambda moment: moment.day),
    "MONTH": _clock("MONTH", lambda moment: moment.month),
    "YEAR": _clock("YEAR", lambda moment: moment.year),
    "EPOCH": _clock("EPOCH", datetime.timestamp),
}
