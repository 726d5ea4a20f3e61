"""The HTML report of a tuning job: one file that needs no network.

The pictures are SVG of our own (`loopwright.pages`): a charting library's script is larger than
what the whole report of a hundred trials may weigh.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.contract.programs import decoded
from loopwright.contract.trials import STOP_REASON
from loopwright.kernel.records import Record
from loopwright.pages import duration, figure, moment, render
from loopwright.runtime.search import Categorical, Parameter
from loopwright.tuning import pictures
from loopwright.tuning.definitions import Definition, autotuned, config_of, jobs_max
from loopwright.tuning.ranges import texts
from loopwright.tuning.trials import Outcome, best_of, counters

SAID: Final = {
    "Completed": "completed", "InProgress": "running", "RetryableError": "failed by the machine",
    "NonRetryableError": "failed", "Stopped": "stopped",
}  # fmt: skip
EARLY: Final = {
    "Off": "off",
    "Auto": "the median rule (Auto)",
}
KINDS: Final = {"Continuous": "real number", "Integer": "whole number", "Categorical": "one of"}


@dataclass(frozen=True)
class Figures:
    """What a report shows: a tuning job, its definitions, and its trials in order of creation."""

    record: Record
    made: Sequence[Definition]
    trials: Sequence[Outcome]


@dataclass(frozen=True)
class Cell:
    """A cell of the table of trials; `value` is what it is sorted by, if it is a number.

    `reason` stands below the text.
    """

    text: str
    value: float | str = ""
    number: bool = False
    reason: str = ""


def render_report(figures: Figures) -> str:
    """The report as one HTML page."""
    best = best_of(figures.trials)
    metrics = dict.fromkeys(definition.metric for definition in figures.made)
    return render(
        "tuning",
        title=f"Tuning job {figures.record.name}",
        best=_best(figures, best),
        counted=_counted(figures),
        dates=list(_dates(figures)),
        history=pictures.history(figures.trials, ", ".join(metrics)),
        parts=[_part(figures, definition) for definition in figures.made],
        columns=_columns(figures),
        rows=[_row(figures, trial, trial is best) for trial in figures.trials],
        settings=list(_settings(figures)),
    )


def _best(figures: Figures, best: Outcome | None) -> dict[str, Any] | None:
    if best is None:
        return None
    return {
        "name": best.job.name,
        "metric": _definition(figures, best).metric,
        "value": best.value,
        "point": texts(best.trial["point"]).items(),
    }


def _definition(figures: Figures, trial: Outcome) -> Definition:
    return next(d for d in figures.made if d.name == trial.trial["definition"])


def _counted(figures: Figures) -> str:
    jobs = counters(figures.trials)["TrainingJobStatusCounters"]
    parts = [f"{count} {SAID[state]}" for state, count in jobs.items() if count]
    count = len(figures.trials)
    return f"{count} trial{'' if count == 1 else 's'}: {', '.join(parts)}."


def _dates(figures: Figures) -> Iterator[tuple[str, str]]:
    """The report is written just before the job ends: its end is its last trial's."""
    begun = figures.record.created
    yield "Created", moment(begun)
    ends = [t.job.status["TrainingEndTime"] for t in figures.trials if _ended(t)]
    if ends:
        yield "Last trial ended", moment(max(ends))
        yield "Took", duration(max(ends) - begun)
    trained = sum(t.job.status.get("TrainingTimeInSeconds", 0) for t in figures.trials)
    yield "Training time of all trials", duration(trained)


def _ended(trial: Outcome) -> bool:
    return trial.job.status.get("TrainingEndTime") is not None


def _part(figures: Figures, definition: Definition) -> dict[str, Any]:
    """What is said of one definition."""
    of = [t for t in figures.trials if t.trial["definition"] == definition.name]
    drawn = pictures.curves(definition, of)
    note = "What the trials reported step by step; point at a line to see whose it is."
    if drawn is not None and len(of) > pictures.CURVES_MAX:
        note += f" Of {len(of)} trials the {pictures.CURVES_MAX} best are drawn."
    return {
        "of": f" of {definition.name}" if definition.name else "",
        "parallel": pictures.coordinates(definition, of),
        "importance": pictures.importance(definition, of),
        "curves": drawn,
        "curves_note": note,
        "ranges": [_range(parameter) for parameter in definition.parameters],
        "fixed": [(name, decoded(text)) for name, text in sorted(definition.static.items())],
    }


def _range(parameter: Parameter) -> tuple[str, str, str, str]:
    kind = KINDS[type(parameter).__name__]
    if isinstance(parameter, Categorical):
        return parameter.name, kind, ", ".join(parameter.values), "–"
    span = f"{parameter.low:g} to {parameter.high:g}"
    scaling = {"ReverseLogarithmic": "reverse logarithmic"}.get(
        parameter.scaling, parameter.scaling.lower()
    )
    return parameter.name, kind, span, scaling


# The table of trials


def _names(figures: Figures) -> list[str]:
    """All hyperparameters, in the order of the definitions."""
    return list(dict.fromkeys(p.name for d in figures.made for p in d.parameters))


def _columns(figures: Figures) -> list[tuple[str, bool]]:
    metrics = dict.fromkeys(definition.metric for definition in figures.made)
    objective = next(iter(metrics)) if len(metrics) == 1 else "objective"
    return [
        ("#", True),
        ("trial", False),
        *([("definition", False)] if len(figures.made) > 1 else []),
        ("state", False),
        (objective, True),
        *((name, _is_number(figures, name)) for name in _names(figures)),
        ("time", True),
    ]


def _is_number(figures: Figures, name: str) -> bool:
    found = [p for d in figures.made for p in d.parameters if p.name == name]
    return not any(isinstance(parameter, Categorical) for parameter in found)


def _row(figures: Figures, trial: Outcome, is_best: bool) -> dict[str, Any]:
    index = int(trial.trial["index"]) + 1
    seconds = trial.job.status.get("TrainingTimeInSeconds")
    point = trial.trial["point"]
    value = "" if trial.value is None else repr(trial.value)
    cells = [
        Cell(str(index), index, True),
        Cell(trial.job.name),
        *([Cell(trial.trial["definition"])] if len(figures.made) > 1 else []),
        Cell(
            f"{trial.state}, the best" if is_best else trial.state, reason=_reason(figures, trial)
        ),
        Cell(figure(trial.value), value, True),
        *(_tuned(point.get(name), _is_number(figures, name)) for name in _names(figures)),
        Cell(duration(seconds), "" if seconds is None else seconds, True),
    ]
    return {"key": str(index), "best": is_best, "cells": cells}


def _tuned(value: float | str | None, is_number: bool) -> Cell:
    if value is None:
        return Cell("", number=is_number)
    if not is_number or isinstance(value, str):
        return Cell(str(value), str(value), is_number)
    return Cell(str(value) if isinstance(value, int) else figure(value), value, True)


def _reason(figures: Figures, trial: Outcome) -> str:
    """Why a trial failed or was stopped."""
    status: Mapping[str, Any] = trial.job.status
    if status.get("FailureReason"):
        return str(status["FailureReason"])
    if status.get(STOP_REASON):
        return str(status[STOP_REASON])
    if trial.state == "failed":
        return f"It reported no {_definition(figures, trial).metric}."
    if trial.state == "stopped":
        return "It was stopped on request."
    return ""


# Settings


def _settings(figures: Figures) -> Iterator[tuple[str, str]]:
    spec, config = figures.record.spec, config_of(figures.record.spec)
    yield "Strategy", config["Strategy"]
    for definition in figures.made:
        aim = "maximize" if definition.maximize else "minimize"
        of = f" of {definition.name}" if definition.name else ""
        yield f"Objective{of}", f"{aim} {definition.metric}"
    yield "Trials", _limits(figures)
    limit_s = config["ResourceLimits"].get("MaxRuntimeInSeconds")
    if limit_s is not None:
        yield "Time limit", duration(limit_s)
    hyperband = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig")
    if hyperband:
        parts = (f"{name} {value}" for name, value in sorted(hyperband.items()))
        yield "Hyperband", ", ".join(parts)
    early = config.get("TrainingJobEarlyStoppingType", "Off")
    yield "Early stopping", EARLY.get(early, early)
    ends = list(_criteria(config.get("TuningJobCompletionCriteria", {})))
    if ends:
        yield "Ends before", "; ".join(ends)
    if "RandomSeed" in config:
        yield "Random seed", str(config["RandomSeed"])
    yield "Warm start", _warm(spec.get("WarmStartConfig"))
    if autotuned(spec):
        yield "Autotune", "ranges, limits and criteria that were not given are chosen"


def _limits(figures: Figures) -> str:
    spec = figures.record.spec
    most = jobs_max(spec, tuple(figures.made))
    parallel = config_of(spec)["ResourceLimits"]["MaxParallelTrainingJobs"]
    return f"{'no limit' if most is None else f'at most {most}'}, {parallel} at a time"


def _criteria(given: Mapping[str, Any]) -> Iterator[str]:
    if "TargetObjectiveMetricValue" in given:
        yield f"once the objective reaches {figure(given['TargetObjectiveMetricValue'])}"
    most = given.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
    if most is not None:
        yield f"when {most} trials in a row are no better"
    if given.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled":
        yield "once no better trial is to be expected"


def _warm(given: Mapping[str, Any] | None) -> str:
    if not given:
        return "none"
    parents = (p["HyperParameterTuningJobName"] for p in given["ParentHyperParameterTuningJobs"])
    return f"{given['WarmStartType']}, from {', '.join(parents)}"
