"""What tuning and training agree on: a training job that is a trial of a tuning job.

Tuning writes the members below into the spec and the status of the jobs it owns; training obeys
them and reports back in the status. They are in no shape of the API, so nobody else sees them.
"""

from collections.abc import Sequence
from typing import Any, Final

TRIAL: Final = "TuningTrial"
"""Spec: {"number", "definition", "point", "objective", "rungs", "target"}."""
PAUSE_AT: Final = "PauseAt"
"""Status: step at which the job is paused; 0 for never. Overrides the trial's `target`."""
STOP_REASON: Final = "StopReason"
"""Status: why tuning stopped the job, for its last message."""
PAUSED: Final = "PausedAt"
"""Status: the step that a paused job had reached when its last unit ended."""
CURVE: Final = "ObjectiveCurve"
"""Status: the objective's reports, `[step, value]` ascending in step, over all attempts."""
PRIOR: Final = "PriorCurve"
"""Status: `CURVE` of the attempts before the current one, and `PRIOR_S` their seconds."""
PRIOR_S: Final = "PriorSeconds"
COUNTS_FROM_0: Final = "CountsFromZero"
"""Status: whether the log's own steps count from 0; known from the first attempt's first report."""
FROM_ZERO: Final = "StartedFromZero"
"""Status: why a resumed job could not go on from where it was, if so."""
OBJECTIVE: Final = "_tuning_objective_metric"
"""The hyperparameter that tells a script which metric counts (SageMaker's own name)."""

Curve = Sequence[Sequence[float]]


def reached(curve: Curve) -> int:
    """The last step that was reported; 0 before the first."""
    return int(curve[-1][0]) if curve else 0


def joined(
    before: Curve, now: Curve, numbered: bool, from_0: bool
) -> tuple[list[list[float]], bool]:
    """The curve over all attempts, and whether the latest attempt started from zero again.

    Args:
        before: Of the attempts before, steps from 1.
        now: Of this attempt, as observed: steps as its log names them, or counted from 1.
        numbered: Whether `now` has the log's own steps.
        from_0: Whether the log's own steps count from 0.
    """
    if not before or not now:
        shift = int(numbered and from_0)
        return [*map(list, before), *([step + shift, value] for step, value in now)], False
    last = before[-1][0]
    if not numbered:
        return [*map(list, before), *([last + step, value] for step, value in now)], False
    fresh = [[step + from_0, value] for step, value in now]
    if len(before) > 1 and fresh[0][0] <= before[0][0]:
        return [*map(list, before), *(report for report in fresh if report[0] > last)], True
    kept = [list(report) for report in before if report[0] < fresh[0][0]]
    return [*kept, *fresh], False


def best(curve: Curve, maximize: bool) -> float | None:
    """The best value of a curve."""
    values: list[Any] = [value for _, value in curve]
    if not values:
        return None
    return float(max(values) if maximize else min(values))
