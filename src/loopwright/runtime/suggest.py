"""The verb `suggest`: one question to a user's own tuning strategy, inside a unit."""

import json
import runpy
from typing import Any, Final

import numpy as np

from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.paths import tree
from loopwright.runtime.search import Proposal, Space, read_space, read_trial

QUESTION: Final = "input/config/search.json"
STRATEGY: Final = ".loopwright/strategy.py"
ANSWER: Final = "output/suggestion.json"


def suggest(_arguments: list[str]) -> int:
    """Ask `suggest(space, history, rng)` of the strategy file and write down its answer.

    Raises:
        UnitFailure: the file has no such function, or answers what is no proposal of the space.
    """
    base = tree().base
    question = json.loads((base / QUESTION).read_text())
    space = read_space(question["space"])
    history = [read_trial(document) for document in question["history"]]
    module = runpy.run_path(str(base / STRATEGY), run_name="strategy")
    function = module.get("suggest")
    if not callable(function):
        raise UnitFailure("The strategy file has no function suggest(space, history, rng).", 2)
    answer = function(space, history, np.random.default_rng(question["seed"]))
    document = {"proposals": [] if answer is None else [_checked(space, answer)]}
    (base / ANSWER).write_text(json.dumps(document))
    return 0


def _checked(space: Space, answer: Any) -> list[Any]:
    """An answer as JSON values: a Proposal, or only its point."""
    proposal = answer if isinstance(answer, Proposal) else Proposal(answer)
    point = {name: _plain(value) for name, value in dict(proposal.point).items()}
    if proposal.resumes is None and not space.holds(point):
        names = ", ".join(parameter.name for parameter in space.parameters)
        raise UnitFailure(
            f"The strategy proposed {point}, which lies outside the space; it must give each of "
            f"{names} a value within its range.",
            2,
        )
    return [point, proposal.target, proposal.resumes]


def _plain(value: Any) -> Any:
    """A number of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value
