"""The median rule: a trial ends when it is worse than the others were on average up to its step.

Amazon's documented rule for `TrainingJobEarlyStoppingType=Auto`: after each epoch take every
previous job's running average of the objective up to the same epoch, and stop the current job if
its value is worse than the median of these (Golovin et al. 2017, Vizier, section 3.2.1, is the
original; Perrone et al. 2021, arXiv 2012.08489, the threshold).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from loopwright.runtime.search import History, Space, Trial

FINISHED_MIN = 4
"""No decision before so many trials have completed."""
START_SHARE = 9
"""No decision in the first ninth of the completed trials' median length."""


def stop(trial: Trial, history: History, space: Space) -> str | None:
    """Why a running trial ends now, or None when it goes on.

    Compared are this job's completed and stopped trials that have reached the trial's step.
    Decisions begin when four trials have completed, at a ninth of the median of their lengths.
    """
    if not trial.curve:
        return None
    step, value = trial.curve[-1]
    own = [t for t in history if t.task == 0 and t.number != trial.number and t.curve]
    lengths = [t.curve[-1][0] for t in own if t.state == "completed"]
    if len(lengths) < FINISHED_MIN or step < math.ceil(median(lengths) / START_SHARE):
        return None
    ended = [t for t in own if t.state in ("completed", "stopped")]
    averages = [running_average(t.curve, step) for t in ended if t.curve[-1][0] >= step]
    if not averages:
        return None
    middle = median(averages)
    if not value > middle:
        return None
    return (
        f"at step {step} its value {value:.6g} is worse than {middle:.6g}, the median of the "
        f"running averages of {len(averages)} earlier trials"
    )


def running_average(curve: Sequence[tuple[int, float]], step: int) -> float:
    """Mean of a curve over the steps up to and including `step`.

    A curve may be thinned, so every report stands for the steps since the one before it: with a
    report at each step this is the plain mean.

    Args:
        curve: (step, value), ascending in step, the last one at `step` or later.
        step: At least 1.
    """
    edges = [(0, 0.0), *curve]
    parts = [
        (min(after[0], step) - before[0], after[1])
        for before, after in pairwise(edges)
        if before[0] < step
    ]
    total = sum(weight for weight, _ in parts)
    return sum(weight * value for weight, value in parts) / total
