"""Steps of an expression, done on a stack."""

from collections.abc import Sequence
from typing import Final

from loopwright.aws.metric_math.functions import Argument, Word, called
from loopwright.aws.metric_math.reading import (
    ARRAY,
    BINARY,
    CALL,
    NAME,
    NUMBER,
    TEXT,
    UNARY,
    WORD,
    Step,
)
from loopwright.aws.metric_math.values import Array, Misused, Scope, Series, Value, combined

SERIES_MAX: Final = 500


def evaluated(steps: Sequence[Step], scope: Scope) -> Series | Array:
    """The value of an expression.

    Raises:
        Misused: it has none, or is a number, which CloudWatch does not allow as a result.
    """
    stack: list[Argument] = []
    for step in steps:
        taken = stack[len(stack) - step.count :] if step.count else []
        del stack[len(stack) - step.count :]
        stack.append(_done(step, taken, scope))
    value = _plain(stack[-1])
    if isinstance(value, float):
        raise Misused("its result is a number; it must be a time series, e.g. by TIME_SERIES(...)")
    return value


def _done(step: Step, taken: Sequence[Argument], scope: Scope) -> Argument:
    if step.what == NUMBER:
        return float(step.value)
    name = str(step.value)
    if step.what in (TEXT, WORD):
        return Word(name, quoted=step.what == TEXT)
    if step.what == NAME:
        return scope.values[name]
    if step.what == CALL:
        return called(name, taken, scope)
    if step.what == ARRAY:
        return _joined(taken)
    if step.what == UNARY:
        return combined("*", _plain(taken[0]), -1.0, scope)
    assert step.what == BINARY
    return combined(name, _plain(taken[0]), _plain(taken[1]), scope)


def _plain(argument: Argument) -> Value:
    if isinstance(argument, Word):
        raise Misused(f"{argument.text!r} stands where a value is expected")
    return argument


def _joined(items: Sequence[Argument]) -> Array:
    """Series and arrays of them as one array."""
    found: list[Series] = []
    for item in items:
        value = _plain(item)
        if isinstance(value, float):
            raise Misused(
                "an array has a number as a member; its members are time series: write "
                "TIME_SERIES(...)"
            )
        found += value if isinstance(value, tuple) else (value,)
    if len(found) > SERIES_MAX:
        raise Misused(f"an array has {len(found)} time series; the most is {SERIES_MAX}")
    return tuple(found)
