"""Advice on a tuning request: what its figures say against the documented best practices.

Source of the rules: "Best practices for hyperparameter tuning",
https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-considerations.html.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from loopwright.contract.defaults import RUNTIME_S, TRAINING
from loopwright.kernel.defaults import filled
from loopwright.runtime.search import Categorical, Continuous, Integer, Parameter
from loopwright.tuning.definitions import (
    Definition,
    autotuned,
    config_of,
    definitions,
    jobs_max,
    max_resource,
)

TRIALS_PER_PARAMETER: Final = 5
PARAMETERS_MANY: Final = 10
WIDE_RATIO: Final = 1e6
LINEAR_RATIO: Final = 100.0
PARALLEL_SHARE: Final = 0.25
LONG_TRIAL_S: Final = 3600
HYPERBAND_RUNGS: Final = 3


def advise(spec: Mapping[str, Any]) -> list[str]:
    """Sentences of advice on a tuning request, each with the figure behind it; [] when none.

    Args:
        spec: As given to CreateHyperParameterTuningJob.

    Raises:
        ApiError: `ValidationException` for ranges that are none.
    """
    made = definitions(spec)
    limit = jobs_max(spec, made)
    found: list[str] = []
    for definition in made:
        where = f"{definition.name}: " if definition.name else ""
        found += [where + text for text in _of_space(spec, definition, limit)]
        found += [where + text for text in _of_ranges(definition.parameters)]
    return [*found, *_of_strategy(spec, made, limit)]


def _of_space(spec: Mapping[str, Any], definition: Definition, limit: int | None) -> Iterator[str]:
    count = len(definition.parameters)
    if count > PARAMETERS_MANY:
        yield (
            f"{count} hyperparameters are searched; the cost grows with each, and few of them "
            f"matter. Fix all but the {PARAMETERS_MANY} most important ones."
        )
    grid = config_of(spec)["Strategy"] == "Grid"
    if limit is not None and not grid and limit < TRIALS_PER_PARAMETER * count:
        yield (
            f"MaxNumberOfTrainingJobs is {limit} for {count} hyperparameters; a search learns "
            f"little from fewer than {TRIALS_PER_PARAMETER} trials each, "
            f"{TRIALS_PER_PARAMETER * count} here. Raise it, or search fewer."
        )
    sizes = [_size(parameter) for parameter in definition.parameters]
    points = math.prod(size for size in sizes if size is not None) if None not in sizes else None
    if points is not None and limit is not None and not grid and points <= limit:
        yield (
            f"The space has only {points} points and {limit} trials may run; strategy Grid would "
            "try each once."
        )


def _size(parameter: Parameter) -> int | None:
    if isinstance(parameter, Categorical):
        return len(parameter.values)
    if isinstance(parameter, Integer):
        return parameter.high - parameter.low + 1
    return 1 if parameter.low == parameter.high else None


def _of_ranges(parameters: Sequence[Parameter]) -> Iterator[str]:
    for parameter in parameters:
        if isinstance(parameter, Categorical):
            yield from _of_values(parameter)
            continue
        low, high = parameter.low, parameter.high
        if low == high:
            yield (
                f"{parameter.name} has the range {low:g} to {high:g}, one value; make it a static "
                "hyperparameter."
            )
        elif low > 0 and high / low > WIDE_RATIO:
            yield (
                f"{parameter.name} spans a factor of {high / low:.1e} ({low:g} to {high:g}); most "
                "trials will be useless. Narrow it to the decades that are plausible."
            )
        elif low > 0 and high / low >= LINEAR_RATIO and parameter.scaling == "Linear":
            share = (10 * low - low) / (high - low)
            yield (
                f"{parameter.name} spans a factor of {high / low:g} ({low:g} to {high:g}) on a "
                f"linear scale: only {share:.1%} of the trials fall below {10 * low:g}. Use "
                "ScalingType Logarithmic."
            )
        elif (
            isinstance(parameter, Continuous)
            and low >= 0.5
            and 0.99 <= high < 1
            and parameter.scaling == "Linear"
        ):
            yield (
                f"{parameter.name} runs up to {high:g}, where small steps matter; use ScalingType "
                "ReverseLogarithmic."
            )


def _of_values(parameter: Categorical) -> Iterator[str]:
    """Numbers that are given as categories."""
    try:
        numbers = [float(value.strip('"')) for value in parameter.values]
    except ValueError:
        return
    if len(numbers) >= 5:
        yield (
            f"{parameter.name} has {len(numbers)} numbers as categories; a search cannot use "
            f"their order. Give a range from {min(numbers):g} to {max(numbers):g} instead."
        )


def _of_strategy(
    spec: Mapping[str, Any], made: Sequence[Definition], limit: int | None
) -> Iterator[str]:
    config = config_of(spec)
    strategy = config["Strategy"]
    parallel = config["ResourceLimits"]["MaxParallelTrainingJobs"]
    if strategy == "Bayesian" and limit is not None and parallel > max(1, limit * PARALLEL_SHARE):
        yield (
            f"{parallel} of {limit} trials run at once; Bayesian search learns from trials that "
            f"have ended, and {parallel / limit:.0%} of them start blindly. Use at most "
            f"{max(1, int(limit * PARALLEL_SHARE))} in parallel, or strategy Random or Hyperband."
        )
    early = config.get("TrainingJobEarlyStoppingType") == "Auto" or autotuned(spec)
    limits = [filled(d.request, TRAINING)["StoppingCondition"] for d in made]
    longest_s = max(limit["MaxRuntimeInSeconds"] for limit in limits)
    # The default stands there when nobody thought of a limit.
    bounded = any(limit["MaxRuntimeInSeconds"] != RUNTIME_S for limit in limits)
    if strategy in ("Bayesian", "Random") and not early and bounded and longest_s > LONG_TRIAL_S:
        yield (
            f"A trial may take {longest_s} s and none is stopped early; set "
            "TrainingJobEarlyStoppingType to Auto, or use Hyperband, if the script reports its "
            "objective at every epoch."
        )
    if strategy == "Hyperband":
        for definition in made:
            yield from _of_hyperband(spec, definition)


def _of_hyperband(spec: Mapping[str, Any], definition: Definition) -> Iterator[str]:
    maximum = max_resource(spec, definition) or 1
    hyperband = config_of(spec).get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    minimum = hyperband.get("MinResource", 1)
    if maximum < HYPERBAND_RUNGS**2 * minimum:
        yield (
            f"Hyperband compares trials at {minimum} to {maximum} steps, a factor of "
            f"{maximum / minimum:g}; below {HYPERBAND_RUNGS**2} it can save little. Report more "
            "steps, or lower MinResource."
        )
    if not definition.resumable:
        yield (
            "Hyperband can pause trials only if they write checkpoints; without CheckpointConfig "
            "every trial runs on until it is stopped. Give CheckpointConfig, and have the script "
            "go on from the newest file below /opt/ml/checkpoints."
        )
