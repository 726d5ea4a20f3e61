"""Random search: every trial is drawn by itself, uniform in the scaled ranges.

Trial i depends on the seed and i alone, because the caller makes `rng` from them: neither the
number of workers nor a restart changes what is tried.
"""

import numpy as np

from loopwright.runtime.search import History, Proposal, Space


def suggest(space: Space, history: History, rng: np.random.Generator) -> Proposal:
    """Draw one point; whole numbers include both ends, log scales are uniform in the exponent."""
    units = rng.random(len(space.parameters))
    return Proposal(
        {p.name: p.from_unit(float(u)) for p, u in zip(space.parameters, units, strict=True)}
    )
