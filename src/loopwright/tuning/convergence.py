"""Whether a search has converged: whether the model still expects an improvement anywhere.

The planner asks after each suggestion and ends the job when the answer has been the same for
several suggestions in a row, because one model may be wrong.
"""

import math

import numpy as np

from loopwright.runtime.search import History, Space
from loopwright.tuning.surrogate.climb import highest
from loopwright.tuning.surrogate.cube import Cube, keys
from loopwright.tuning.surrogate.evidence import final_values, gather
from loopwright.tuning.surrogate.filling import start_count
from loopwright.tuning.surrogate.model import Model
from loopwright.tuning.surrogate.threads import one_thread

SHARE = 0.01
"""Improvements below this share of the observed spread are none."""
VALUES_MIN = 10
SEED = 20260
"""Seeds the search for the largest improvement: the same history gives the same answer."""


def converged(space: Space, history: History) -> str | None:
    """Why no more is to be gained, or None while something is.

    The largest posterior expected improvement over the space is compared with one percent of the
    spread (deviation of the warped values, in which bad outliers count little). Decides nothing
    before ten values of this job and twice the start-up. A discrete space of which every point
    has a value has converged.
    """
    cube = Cube(space)
    seen = final_values(cube, history)
    own = [one for one in seen if one.task == 0]
    tried = np.stack([one.row for one in own]) if own else np.zeros((0, len(space.parameters)))
    distinct = len(set(keys(tried)))
    if distinct >= cube.size:
        return f"all {distinct} points of the space have been tried"
    valued = sum(one.value is not None for one in own)
    evidence = gather(seen)
    if valued < max(VALUES_MIN, 2 * start_count(space)) or evidence is None:
        return None
    if not np.ptp(evidence.values) > 0.0:
        return None
    with one_thread():
        model = Model(cube, evidence, np.zeros((0, len(space.parameters))))
        row = highest(cube, model, tried, np.random.default_rng(SEED))
        gain = math.exp(float(model.score(row[None, :])[0])) / float(evidence.values.std())
    if gain >= SHARE:
        return None
    return (
        f"after {valued} trials the largest improvement to expect is {100.0 * gain:.2g} % of the "
        f"spread of the values, less than {100.0 * SHARE:.0f} %"
    )
