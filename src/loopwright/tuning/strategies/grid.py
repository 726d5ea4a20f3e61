"""Grid search: every combination of the categories once, in a fixed order.

Trial i is combination i, counted like the digits of a number: the last parameter of the request
changes fastest, and each parameter takes its values in the order of the request.
"""

import math

import numpy as np

from loopwright.runtime.search import Categorical, History, Proposal, Space


def combinations(space: Space) -> int:
    """How many trials the grid has.

    Raises:
        ValueError: a parameter is not categorical.
    """
    return math.prod(len(parameter.values) for parameter in _categories(space))


def suggest(space: Space, history: History, rng: np.random.Generator) -> Proposal | None:
    """The next combination; None when all have been proposed. Draws nothing from `rng`.

    Raises:
        ValueError: a parameter is not categorical.
    """
    rest = sum(trial.task == 0 for trial in history)
    point: dict[str, str] = {}
    for parameter in reversed(_categories(space)):
        rest, digit = divmod(rest, len(parameter.values))
        point[parameter.name] = parameter.values[digit]
    if rest:
        return None
    return Proposal({parameter.name: point[parameter.name] for parameter in space.parameters})


def _categories(space: Space) -> list[Categorical]:
    found = [p for p in space.parameters if isinstance(p, Categorical)]
    if len(found) != len(space.parameters):
        others = [p.name for p in space.parameters if not isinstance(p, Categorical)]
        raise ValueError(
            f"grid search takes categorical parameters only, {', '.join(others)} is not; "
            "list its values as a categorical parameter or choose another strategy"
        )
    return found
