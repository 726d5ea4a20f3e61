"""The median rule against tables worked out by hand, and convergence."""

from dataclasses import replace

import numpy as np
import pytest

from loopwright.runtime.search import Categorical, Continuous, Space, Trial
from loopwright.testing.strategies import play
from loopwright.tuning.convergence import converged
from loopwright.tuning.stopping.median import running_average, stop
from loopwright.tuning.strategies import bayesian

SPACE = Space((Continuous("x", 0.0, 1.0),))

# Six steps of four completed trials; their running averages at steps 1, 2, 3:
#   8 6 4 ...  ->  8, 7, 6
#   9 9 6 ...  ->  9, 9, 8
#   4 4 4 ...  ->  4, 4, 4
#   6 2 1 ...  ->  6, 4, 3
# so the medians are 7 at step 1, 5.5 at step 2, 5 at step 3.
CURVES = [[8, 6, 4, 4, 4, 4], [9, 9, 6, 6, 6, 6], [4, 4, 4, 4, 4, 4], [6, 2, 1, 1, 1, 1]]


def trial(number: int, values: list[float], state: str = "completed") -> Trial:
    """A trial with these values at steps 1, 2, …"""
    curve = tuple((i + 1, float(v)) for i, v in enumerate(values))
    final = curve[-1][1] if state in ("completed", "stopped") else None
    return Trial(number, {"x": 0.5}, state, curve, final)  # type: ignore[arg-type]


def ask(values: list[float], others: list[Trial]) -> str | None:
    """Whether a running trial with these values ends."""
    mine = trial(99, values, "running")
    return stop(mine, [*others, mine], SPACE)


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([7.01], True),
        ([7.0], False),
        ([1, 5.51], True),
        ([100, 5.5], False),
        ([1, 1, 5.01], True),
        ([9, 9, 5.0], False),
    ],
)
def test_the_table(values: list[float], stops: bool) -> None:
    others = [trial(i, curve) for i, curve in enumerate(CURVES)]
    assert (ask(values, others) is not None) == stops


def test_the_reason_has_the_figures() -> None:
    others = [trial(i, curve) for i, curve in enumerate(CURVES)]
    assert ask([1, 8.25], others) == (
        "at step 2 its value 8.25 is worse than 5.5, the median of the running averages of 4 "
        "earlier trials"
    )


def test_never_before_four_have_completed() -> None:
    others = [trial(i, curve) for i, curve in enumerate(CURVES[:3])]
    assert ask([99], others) is None
    assert ask([99], [*others, trial(3, [1, 1, 1], "stopped")]) is None
    assert ask([99], [*others, trial(3, [1, 1, 1], "running")]) is None
    assert ask([99], [*others, replace(trial(3, [1, 1, 1]), task=1)]) is None
    assert ask([99], [*others, trial(3, [1, 1, 1])]) is not None


def test_stopped_trials_count_up_to_where_they_came() -> None:
    others = [trial(i, [5.0] * 9) for i in range(4)]
    stopped = [trial(10 + i, [1.0, 1.0], "stopped") for i in range(5)]
    assert ask([9, 4.0], [*others, *stopped]) is not None
    assert ask([9, 9, 4.0], [*others, *stopped]) is None


def test_not_in_the_first_ninth() -> None:
    others = [trial(i, [5.0] * 27) for i in range(4)]
    assert ask([99, 99], others) is None
    assert ask([99, 99, 99], others) is not None


def test_a_thinned_curve_is_weighted_by_its_steps() -> None:
    full = [(1, 8.0), (2, 4.0), (3, 4.0), (4, 4.0)]
    assert running_average(full, 4) == 5.0
    assert running_average([(1, 8.0), (4, 4.0)], 4) == 5.0
    assert running_average([(1, 8.0), (4, 4.0)], 2) == 6.0
    assert running_average([(10, 3.0)], 4) == 3.0


PLANE = Space((Continuous("x", 0.0, 1.0), Continuous("y", 0.0, 1.0)), 60, 1)


def smooth(point: dict[str, float]) -> list[float]:
    """A bowl."""
    return [(point["x"] - 0.3) ** 2 + (point["y"] - 0.6) ** 2]


def test_a_smooth_bowl_converges_and_says_so() -> None:
    game = play(bayesian, PLANE, smooth, 40)  # type: ignore[arg-type]
    ends = [i for i in range(41) if converged(PLANE, game.trials[:i]) is not None]
    assert ends, "never converged"
    assert ends[0] >= 10
    assert any(set(range(i, i + 5)) <= set(ends) for i in ends), f"not five in a row: {ends}"
    assert "largest improvement" in str(converged(PLANE, game.trials))
    assert min(game.values[: ends[0]]) < 0.01


def test_a_search_that_still_gains_has_not_converged() -> None:
    """Values without any structure over the space, on few points: much may still be found."""
    rng = np.random.default_rng(0)
    history = [
        Trial(
            i,
            {"x": float(rng.random()), "y": float(rng.random())},
            "completed",
            (),
            float(rng.normal()),
        )
        for i in range(25)
    ]
    assert converged(PLANE, history) is None


def test_an_exhausted_space_has_converged() -> None:
    space = Space((Categorical("c", ("a", "b", "c")),))
    history = [Trial(i, {"c": c}, "completed", (), 1.0) for i, c in enumerate("abc")]
    assert converged(space, history[:2]) is None
    assert converged(space, history) == "all 3 points of the space have been tried"


def test_no_decision_without_values() -> None:
    failed = [Trial(i, {"x": 0.1 * i, "y": 0.5}, "failed") for i in range(10)]
    assert converged(PLANE, []) is None
    assert converged(PLANE, failed) is None
    equal = [Trial(i, {"x": 0.04 * i, "y": 0.5}, "completed", (), 2.0) for i in range(20)]
    assert converged(PLANE, equal) is None
