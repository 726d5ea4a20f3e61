"""When a tuning job is complete, and when going on is hopeless."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loopwright.kernel.records import Record
from loopwright.tuning.definitions import Definition, config_of, definitions, jobs_max
from loopwright.tuning.trials import Outcome, best_of

IMPROVEMENT: Final = 0.01
"""A best that is less than 1 % better counts as not improving (SageMaker's documentation)."""
CONVERGED_IN_ROW: Final = 5
SILENT_MAX: Final = 5
"""Trials that end well without a value, and none with one, before the job is given up."""
FAILURES_MAX: Final = 10
"""The same of trials that fail."""


@dataclass(frozen=True)
class Ending:
    """How a tuning job ends.

    Attributes:
        details: `TuningJobCompletionDetails`.
    """

    state: str
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


def ending_of(record: Record, trials: Sequence[Outcome], now: float) -> Ending | None:
    """The first of the job's criteria that is met; None while it goes on."""
    config = config_of(record.spec)
    criteria = config.get("TuningJobCompletionCriteria", {})
    limit_s = config["ResourceLimits"].get("MaxRuntimeInSeconds")
    if limit_s is not None and now >= record.created + limit_s:
        return Ending("Completed", f"MaxRuntimeInSeconds, {limit_s} s, is over")
    best = best_of(trials)
    target = criteria.get("TargetObjectiveMetricValue")
    if target is not None and best is not None and best.value is not None:
        sign = -1.0 if best.trial["maximize"] else 1.0
        if sign * best.value <= sign * target:
            return Ending(
                "Completed", f"{best.job.name} reached {best.value:g}; the target is {target:g}"
            )
    patience = criteria.get("BestObjectiveNotImproving", {}).get(
        "MaxNumberOfTrainingJobsNotImproving"
    )
    stale = not_improving(trials)
    if patience is not None and stale >= patience:
        return Ending(
            "Completed",
            f"The best objective did not improve by 1 % in {stale} training jobs",
            {"NumberOfTrainingJobsObjectiveNotImproving": stale},
        )
    if record.status.get("ConvergedInRow", 0) >= CONVERGED_IN_ROW:
        why = record.status.get("ConvergedWhy", "")
        return Ending("Completed", f"Converged: {why}", {"ConvergenceDetectedTime": now})
    limit = jobs_max(record.spec, definitions(record.spec))
    if limit is not None and len(trials) >= limit and all(trial.over for trial in trials):
        return Ending("Completed", f"All {limit} training jobs have ended")
    return None


def not_improving(trials: Sequence[Outcome]) -> int:
    """Trials with a value that ended since the best last improved by 1 % and more."""
    ended = [trial for trial in trials if trial.over and trial.value is not None]
    ended.sort(key=lambda trial: trial.job.status.get("TrainingEndTime", 0.0))
    best: float | None = None
    stale = 0
    for trial in ended:
        assert trial.value is not None
        value = -trial.value if trial.trial["maximize"] else trial.value
        if best is None or value < best - IMPROVEMENT * abs(best):
            best, stale = value, 0
        else:
            best = min(best, value)
            stale += 1
    return stale


def hopeless(
    record: Record, trials: Sequence[Outcome], made: Sequence[Definition]
) -> Ending | None:
    """The end of a job whose trials all end without a result, with what is to be mended."""
    ended = [trial for trial in trials if trial.over]
    if not ended or any(trial.value is not None for trial in ended):
        return None
    limit = jobs_max(record.spec, definitions(record.spec))
    last = limit is not None and len(ended) >= limit
    reasons = Counter(
        trial.job.status.get("FailureReason", "")
        for trial in ended
        if trial.job.status["TrainingJobStatus"] == "Failed"
    )
    silent = len(ended) - reasons.total()
    if silent >= SILENT_MAX or (last and silent):
        names = ", ".join(sorted({definition.metric for definition in made}))
        return Ending(
            "Failed",
            f"No objective metrics found after running {len(ended)} training jobs. Please ensure "
            "that the custom algorithm is emitting the objective metric as defined by the regular "
            f"expression provided. The objective is {names}; the last value that a job reports "
            "must be a number.",
        )
    if len(ended) >= FAILURES_MAX or last:
        reason, count = reasons.most_common(1)[0]
        return Ending(
            "Failed",
            f"None of {len(ended)} training jobs succeeded. Please take a look at the training "
            f"job failures to get more details. The most frequent one ({count}): {reason}",
        )
    return None
