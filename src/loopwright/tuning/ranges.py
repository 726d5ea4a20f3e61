"""Ranges of a request, as the parameters that strategies search."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from loopwright.contract.programs import decoded
from loopwright.runtime.search import (
    Categorical,
    Continuous,
    Integer,
    Parameter,
    Scaling,
    Value,
)
from loopwright.wire.errors import validation

Ranges = Mapping[str, Sequence[Mapping[str, Any]]]
LOG_RATIO: Final = 1000.0
LOG_RATIO_INTEGER: Final = 100.0
REVERSE_RATIO: Final = 50.0
XGBOOST_RANGES: Final[Ranges] = {
    "ContinuousParameterRanges": [
        {"Name": "eta", "MinValue": "0.01", "MaxValue": "0.5", "ScalingType": "Logarithmic"},
        {"Name": "alpha", "MinValue": "0", "MaxValue": "1000"},
        {"Name": "min_child_weight", "MinValue": "0", "MaxValue": "120"},
        {"Name": "subsample", "MinValue": "0.5", "MaxValue": "1"},
        {"Name": "gamma", "MinValue": "0", "MaxValue": "5"},
    ],
    "IntegerParameterRanges": [{"Name": "max_depth", "MinValue": "1", "MaxValue": "10"}],
}
"""What Autotune searches of the built-in XGBoost when the request names no parameter; inside the
recommended ranges of https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html."""


def parameters(ranges: Ranges, where: str) -> tuple[Parameter, ...]:
    """The searched parameters: integers, then continuous, then categorical, each as given.

    Raises:
        ApiError: `ValidationException` naming the range, its value and the rule.
    """
    found: list[Parameter] = [
        *(_integer(entry, where) for entry in ranges.get("IntegerParameterRanges", ())),
        *(_continuous(entry, where) for entry in ranges.get("ContinuousParameterRanges", ())),
        *(_categorical(entry, where) for entry in ranges.get("CategoricalParameterRanges", ())),
        *(_hinted(entry) for entry in ranges.get("AutoParameters", ())),
    ]
    names = [parameter.name for parameter in found]
    for name in names:
        if names.count(name) > 1:
            raise validation(f"{where} has the parameter {name!r} twice; names are unique.")
    return tuple(found)


def _number(entry: Mapping[str, Any], member: str, where: str, whole: bool) -> float:
    text = entry[member]
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        kind = "an integer" if whole else "a number"
        raise validation(
            f"{where}: {member} of {entry['Name']!r} is {text!r}; it must be {kind}."
        ) from None
    if not math.isfinite(value):
        raise validation(f"{where}: {member} of {entry['Name']!r} is {text!r}; it must be finite.")
    return value


def _bounds(entry: Mapping[str, Any], where: str, whole: bool) -> tuple[float, float]:
    low = _number(entry, "MinValue", where, whole)
    high = _number(entry, "MaxValue", where, whole)
    if low > high:
        raise validation(
            f"{where}: MinValue of {entry['Name']!r} is {entry['MinValue']}, above its MaxValue, "
            f"{entry['MaxValue']}."
        )
    scaling = entry.get("ScalingType", "Auto")
    if scaling == "Logarithmic" and low <= 0:
        raise validation(
            f"{where}: MinValue of {entry['Name']!r} is {entry['MinValue']}; Logarithmic scaling "
            "needs values above 0."
        )
    if scaling == "ReverseLogarithmic" and (whole or low < 0 or high >= 1):
        raise validation(
            f"{where}: {entry['Name']!r} cannot have ReverseLogarithmic scaling; it is for "
            "continuous ranges within 0 <= x < 1."
        )
    return low, high


def _integer(entry: Mapping[str, Any], where: str) -> Integer:
    low, high = _bounds(entry, where, True)
    scaling = entry.get("ScalingType", "Auto")
    if scaling == "Auto":
        scaling = auto_scaling(low, high, LOG_RATIO_INTEGER)
        scaling = "Linear" if scaling == "ReverseLogarithmic" else scaling
    return Integer(entry["Name"], int(low), int(high), scaling)


def _continuous(entry: Mapping[str, Any], where: str) -> Continuous:
    low, high = _bounds(entry, where, False)
    scaling = entry.get("ScalingType", "Auto")
    if scaling == "Auto":
        scaling = auto_scaling(low, high, LOG_RATIO)
    return Continuous(entry["Name"], low, high, scaling)


def auto_scaling(low: float, high: float, log_ratio: float) -> Scaling:
    """The scale that suits a range: logarithmic when it spans `log_ratio` and more.

    Reverse-logarithmic for ranges near 1, such as momentum from 0.9 to 0.999.
    """
    if low > 0 and high / low >= log_ratio:
        return "Logarithmic"
    if 0.5 <= low < high < 1 and (1 - low) / (1 - high) >= REVERSE_RATIO:
        return "ReverseLogarithmic"
    return "Linear"


def _categorical(entry: Mapping[str, Any], where: str) -> Categorical:
    values = tuple(entry["Values"])
    if len(set(values)) != len(values):
        raise validation(f"{where}: {entry['Name']!r} has a value twice; values are unique.")
    return Categorical(entry["Name"], values)


def _hinted(entry: Mapping[str, Any]) -> Parameter:
    """A range around the hint of an AutoParameter: a factor of 10, or 4 for whole numbers."""
    name, hint = entry["Name"], decoded(entry["ValueHint"])
    if hint.lower() in ("true", "false"):
        return Categorical(name, ("true", "false"))
    try:
        value = float(hint)
    except ValueError:
        return Categorical(name, (entry["ValueHint"],))
    whole = value == int(value) and "." not in hint and "e" not in hint.lower()
    if whole and value > 0:
        return Integer(name, max(1, int(value) // 4), max(2, int(value) * 4), "Logarithmic")
    if value == 0 or value < 0:
        width = abs(value) or 1.0
        return Continuous(name, value - width, value + width)
    high = value * 10
    if value < 1:
        # Rates and shares stay below 1.
        high = min(high, (1 + value) / 2)
    return Continuous(name, value / 10, high, "Logarithmic")


def texts(point: Mapping[str, Value]) -> dict[str, str]:
    """Values as hyperparameters, which are texts."""
    return {name: value if isinstance(value, str) else repr(value) for name, value in point.items()}


def static_points(parameters: Sequence[Parameter], static: Mapping[str, str]) -> Iterator[str]:
    """Names that are both searched and static."""
    return (parameter.name for parameter in parameters if parameter.name in static)
