"""The contract of tuning strategies, over every module of `loopwright.tuning.strategies`.

A test module subclasses `StrategyContract` and gives it a fixture `strategy` that goes through
`strategies()`. `play` runs a whole search against a made-up objective, for tests of behaviour.
"""

import copy
import heapq
import importlib
import json
import math
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from loopwright.runtime.search import (
    Categorical,
    Continuous,
    Integer,
    Parameter,
    Point,
    Proposal,
    Resources,
    Scaling,
    Space,
    Trial,
    check_trial,
)
from loopwright.tuning import strategies as family

SPACES = 25
SCALES: tuple[Scaling, ...] = ("Linear", "Logarithmic", "ReverseLogarithmic")
Objective = Callable[[Point], Sequence[float]]


def strategies() -> dict[str, ModuleType]:
    """Every strategy by name: the modules of the family, none of them listed anywhere."""
    names = sorted(module.name for module in pkgutil.iter_modules(family.__path__))
    return {name: importlib.import_module(f"{family.__name__}.{name}") for name in names}


def suggest(strategy: ModuleType, space: Space, history: Sequence[Trial], seed: int = 0) -> Any:
    """A suggestion as the planner asks for it: the generator comes from (seed, index)."""
    index = sum(trial.task == 0 for trial in history)
    return strategy.suggest(space, history, np.random.default_rng([seed, index]))


def random_space(rng: np.random.Generator, categorical: bool, most: int = 6) -> Space:
    """A space with up to `most` parameters of all kinds, narrow and wide, some of one value."""
    count = int(rng.integers(1, most + 1))
    parameters = tuple(_random_parameter(f"p{i}", rng, categorical) for i in range(count))
    steps = Resources(1, int(rng.integers(1, 82)), bool(rng.integers(2)))
    return Space(parameters, int(rng.integers(20, 60)), int(rng.integers(1, 12)), steps)


def _random_parameter(name: str, rng: np.random.Generator, categorical: bool) -> Parameter:
    kind = 2 if categorical else int(rng.integers(3))
    if kind == 2:
        return Categorical(name, tuple(f"v{i}" for i in range(int(rng.integers(1, 8)))))
    scaling = SCALES[int(rng.integers(3 if kind == 0 else 2))]
    if kind == 1:
        low = int(rng.integers(1 if scaling == "Logarithmic" else -50, 50))
        return Integer(name, low, low + int(rng.choice([0, 1, 7, 5000])), scaling)
    if scaling == "ReverseLogarithmic":
        low_unit = float(rng.uniform(0.0, 0.5))
        return Continuous(name, low_unit, float(rng.choice([low_unit, 0.9, 0.9999])), scaling)
    bottom = float(10.0 ** rng.uniform(-8, 4))
    if scaling == "Linear" and rng.random() < 0.5:
        bottom = -bottom
    width = float(rng.choice([0.0, 1e-3, 1.0, 1e6])) * abs(bottom)
    return Continuous(name, bottom, bottom + width, scaling)


def random_trials(
    space: Space, count: int, rng: np.random.Generator, task: int = 0, same: bool = True
) -> list[Trial]:
    """Trials in all states with values that say little; those of task 0 fit the space."""
    trials = []
    for number in range(count):
        point = {p.name: p.from_unit(float(rng.random())) for p in space.parameters}
        most = space.resources.maximum if space.resources else 3
        state = str(rng.choice(["completed", "completed", "running", "stopped", "failed"]))
        steps = most if state == "completed" else int(rng.integers(1, most + 1))
        values = float(rng.normal()) + np.exp(-np.arange(steps) / 3.0)
        curve = tuple((i + 1, float(v)) for i, v in enumerate(values))
        value = curve[-1][1] if state in ("completed", "stopped") else None
        trials.append(Trial(number, point, state, curve, value, None, task, same))  # type: ignore[arg-type]
    return trials


def check_proposal(proposal: Proposal, space: Space, history: Sequence[Trial]) -> None:
    """A proposal is inside the space, of plain values of the right types, and can be run."""
    assert space.holds(proposal.point), proposal
    kinds = {Continuous: float, Integer: int, Categorical: str}
    for parameter in space.parameters:
        assert type(proposal.point[parameter.name]) is kinds[type(parameter)], proposal
    json.dumps(dict(proposal.point), allow_nan=False)
    if proposal.target is not None:
        assert space.resources is not None
        assert proposal.target in space.resources.rungs[:-1]
    if proposal.resumes is not None:
        resumed = next(t for t in history if t.task == 0 and t.number == proposal.resumes)
        assert resumed.state == "paused"
        assert dict(resumed.point) == dict(proposal.point)
        assert proposal.target is None or proposal.target > resumed.curve[-1][0]


@dataclass
class Game:
    """A search that was played: the trials as they ended, and the steps they took."""

    trials: list[Trial] = field(default_factory=list)
    steps: int = 0

    @property
    def values(self) -> list[float]:
        """Final values in order of creation, of trials that have one."""
        return [trial.value for trial in self.trials if trial.value is not None]


def play(
    strategy: ModuleType,
    space: Space,
    objective: Objective,
    trials: int,
    parents: Sequence[Trial] = (),
    seed: int = 0,
) -> Game:
    """Run a search to its end with `space.parallel` workers; all steps take one second.

    Args:
        objective: A point's value after each step.
        trials: How many new trials to start at most.
    """
    game, order, clock = Game(), 0, 0.0
    curves: dict[int, list[float]] = {}
    queue: list[tuple[float, int, int]] = []
    while True:
        while len(queue) < space.parallel:
            history = [*parents, *game.trials]
            asked = suggest(strategy, space, history, seed)
            if asked is None or (asked.resumes is None and len(game.trials) >= trials):
                break
            check_proposal(asked, space, history)
            number = len(game.trials) if asked.resumes is None else asked.resumes
            if asked.resumes is None:
                curves[number] = [float(value) for value in objective(asked.point)]
                game.trials.append(Trial(number, asked.point, "running", (), None, asked.target))
            else:
                old = game.trials[number]
                game.trials[number] = replace(old, state="running", target=asked.target)
            heapq.heappush(queue, (clock + 1.0, order, number))
            order += 1
        if not queue:
            return game
        clock, _, number = heapq.heappop(queue)
        if _step(strategy, space, game, curves[number], number):
            heapq.heappush(queue, (clock + 1.0, order, number))
            order += 1


def _step(
    strategy: ModuleType, space: Space, game: Game, values: Sequence[float], number: int
) -> bool:
    """Let a trial report its next value; True when it goes on."""
    old = game.trials[number]
    step = len(old.curve) + 1
    trial = replace(old, curve=(*old.curve, (step, values[step - 1])))
    game.steps += 1
    game.trials[number] = trial
    rule = getattr(strategy, "stop", None)
    if step >= len(values):
        trial = replace(trial, state="completed", value=values[step - 1])
    elif trial.target is not None and step >= trial.target:
        trial = replace(trial, state="paused")
    elif rule is not None and space.resources and rule(trial, game.trials, space) is not None:
        trial = replace(trial, state="stopped", value=values[step - 1])
    check_trial(trial)
    game.trials[number] = trial
    return trial.state == "running"


def _takes_numbers(strategy: ModuleType) -> bool:
    """Whether a strategy takes ranges of numbers; grid search refuses them by a ValueError."""
    space = Space((Continuous("x", 0.0, 1.0),), 4, resources=Resources(1, 1))
    try:
        suggest(strategy, space, [])
    except ValueError:
        return False
    return True


class StrategyContract:
    """What every strategy must do."""

    @pytest.fixture
    def categorical(self, strategy: ModuleType) -> bool:
        """Whether the strategy takes categorical parameters only."""
        return not _takes_numbers(strategy)

    @pytest.mark.parametrize("seed", range(SPACES))
    def test_any_space_any_history(
        self, strategy: ModuleType, categorical: bool, seed: int
    ) -> None:
        rng = np.random.default_rng([seed, 1])
        space = random_space(rng, categorical)
        history = random_trials(space, int(rng.integers(0, 19)), rng)
        proposal = suggest(strategy, space, history, seed)
        if proposal is not None:
            check_proposal(proposal, space, history)

    @pytest.mark.parametrize("seed", range(5))
    def test_it_is_pure(self, strategy: ModuleType, categorical: bool, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        space = random_space(rng, categorical)
        history = random_trials(space, 15, rng)
        kept, kept_space = copy.deepcopy(history), copy.deepcopy(space)
        first = suggest(strategy, space, history, seed)
        suggest(strategy, random_space(rng, categorical), [], seed)
        assert suggest(strategy, space, tuple(history), seed) == first
        assert history == kept
        assert space == kept_space

    def test_it_starts_without_any_trial(self, strategy: ModuleType, categorical: bool) -> None:
        space = random_space(np.random.default_rng(3), categorical)
        check_proposal(suggest(strategy, space, []), space, [])

    @pytest.mark.parametrize("count", [1, 30])
    def test_all_that_was_tried_runs(
        self, strategy: ModuleType, categorical: bool, count: int
    ) -> None:
        space = self._wide(categorical)
        trials = random_trials(space, count, np.random.default_rng(4))
        history = [replace(t, state="running", value=None, curve=()) for t in trials]
        check_proposal(suggest(strategy, space, history), space, history)

    @pytest.mark.parametrize("count", [1, 30])
    def test_all_that_was_tried_failed(
        self, strategy: ModuleType, categorical: bool, count: int
    ) -> None:
        space = self._wide(categorical)
        trials = random_trials(space, count, np.random.default_rng(5))
        history = [replace(t, state="failed", value=None, curve=()) for t in trials]
        check_proposal(suggest(strategy, space, history), space, history)

    @pytest.mark.parametrize("value", [0.0, 7.5, -1e300, 1e-300, 1.7e308])
    def test_all_values_are_equal(
        self, strategy: ModuleType, categorical: bool, value: float
    ) -> None:
        space = self._wide(categorical)
        trials = random_trials(space, 30, np.random.default_rng(6))
        history = [replace(t, state="completed", curve=((27, value),), value=value) for t in trials]
        check_proposal(suggest(strategy, space, history), space, history)

    def test_values_of_any_size(self, strategy: ModuleType, categorical: bool) -> None:
        space = self._wide(categorical)
        trials = random_trials(space, 30, np.random.default_rng(7))
        sizes = [-1.7e308, 1.7e308, 0.0, 1e-300, 1e300, -5.0]
        history = [
            replace(t, state="completed", curve=((27, v),), value=v)
            for t, v in zip(trials, sizes * 5, strict=True)
        ]
        check_proposal(suggest(strategy, space, history), space, history)

    def test_one_point(self, strategy: ModuleType, categorical: bool) -> None:
        """A space of one point: it is proposed, as often as the strategy wants."""
        parameters: list[Parameter] = [Categorical("c", ("only",))]
        if not categorical:
            parameters += [Continuous("x", 2.5, 2.5), Integer("k", 3, 3, "Logarithmic")]
        space = Space(tuple(parameters), 5, 1, Resources(1, 9, True))
        history = [
            Trial(i, suggest(strategy, space, []).point, "completed", ((9, 1.0),), 1.0)
            for i in range(3)
        ]
        check_proposal(suggest(strategy, space, []), space, [])
        proposal = suggest(strategy, space, history)
        if proposal is not None:
            check_proposal(proposal, space, history)

    def test_thirty_parameters(self, strategy: ModuleType, categorical: bool) -> None:
        rng = np.random.default_rng(8)
        parameters = tuple(_random_parameter(f"p{i}", rng, categorical) for i in range(30))
        space = Space(parameters, 100, 4, Resources(1, 27, True))
        history = random_trials(space, 60, rng)
        check_proposal(suggest(strategy, space, history), space, history)

    def test_thirty_values(self, strategy: ModuleType, categorical: bool) -> None:
        values = tuple(f"value {i}" for i in range(30))
        space = Space(
            tuple(Categorical(f"c{i}", values) for i in range(5)), 100, 4, Resources(1, 27)
        )
        history = random_trials(space, 60, np.random.default_rng(9))
        check_proposal(suggest(strategy, space, history), space, history)

    def test_five_hundred_trials(self, strategy: ModuleType, categorical: bool) -> None:
        space = replace(self._wide(categorical), budget=750)
        history = random_trials(space, 500, np.random.default_rng(10))
        check_proposal(suggest(strategy, space, history), space, history)

    @pytest.mark.parametrize("seed", range(8))
    def test_parents_of_other_spaces(
        self, strategy: ModuleType, categorical: bool, seed: int
    ) -> None:
        """Parents' points may lack parameters, have others, and lie outside the ranges."""
        rng = np.random.default_rng([seed, 11])
        space = self._wide(categorical)
        parents: list[Trial] = []
        for task in range(1, int(rng.integers(2, 6))):
            trials = random_trials(space, int(rng.integers(1, 20)), rng, task, rng.random() < 0.5)
            parents += [replace(t, point=_bent(t.point, rng)) for t in trials]
        own = random_trials(space, int(rng.integers(0, 12)), rng)
        history = [*parents, *own] if rng.random() < 0.5 else [*own, *parents]
        check_proposal(suggest(strategy, space, history), space, history)

    @pytest.mark.parametrize("parallel", [1, 5])
    def test_a_whole_search(self, strategy: ModuleType, categorical: bool, parallel: int) -> None:
        """With every worker busy all the time, the search ends after its budget of trials."""
        space = replace(self._wide(categorical), budget=18, parallel=parallel)

        def objective(point: Point) -> list[float]:
            units = [p.to_unit(point[p.name]) for p in space.parameters]  # type: ignore[arg-type]
            return [sum((u - 0.3) ** 2 for u in units) + 1.0 / step for step in range(1, 28)]

        game = play(strategy, space, objective, trials=18)
        assert len(game.trials) == 18
        assert all(t.state in ("completed", "paused", "stopped") for t in game.trials)
        assert any(t.state == "completed" for t in game.trials)

    def _wide(self, categorical: bool) -> Space:
        """A space with more points than any test tries."""
        parameters: list[Parameter] = [
            Categorical("a", ("x", "y", "z")),
            Categorical("b", tuple(str(i) for i in range(20))),
            Categorical("c", tuple(str(i) for i in range(20))),
        ]
        if not categorical:
            parameters += [
                Continuous("rate", 1e-5, 1.0, "Logarithmic"),
                Continuous("keep", 0.5, 0.999, "ReverseLogarithmic"),
                Integer("depth", 1, 9),
                Integer("width", 8, 1024, "Logarithmic"),
            ]
        return Space(tuple(parameters), 100, 4, Resources(1, 27, True))


def _bent(point: Point, rng: np.random.Generator) -> dict[str, Any]:
    """A point of another space: parameters missing, added, out of range, of another type."""
    bent: dict[str, Any] = dict(point)
    for name in list(bent):
        turn = rng.random()
        if turn < 0.1:
            del bent[name]
        elif turn < 0.15:
            bent[name] = "unheard of"
        elif turn < 0.2 and not isinstance(bent[name], str):
            bent[name] = bent[name] * 1e6 + 1.0
    bent["more"] = math.pi
    return bent
