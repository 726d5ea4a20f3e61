"""What each strategy promises beyond the contract: coverage, better points, fewer steps."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from loopwright.runtime.search import (
    Categorical,
    Continuous,
    Integer,
    Point,
    Resources,
    Space,
    Trial,
)
from loopwright.testing.strategies import play, suggest
from loopwright.tuning.strategies import bayesian, grid, hyperband, random
from loopwright.tuning.surrogate.filling import start_count

PLANE = Space((Continuous("a", -5.0, 10.0), Continuous("b", 0.0, 15.0)), 30, 2)


def branin(point: Point) -> list[float]:
    """Branin's function; 0.3979 at its three minima."""
    a, b = float(point["a"]), float(point["b"])
    bowl = (b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6) ** 2
    return [bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10]


BOWL = Space(
    (
        Continuous("rate", 1e-5, 1.0, "Logarithmic"),
        Continuous("keep", 0.5, 0.999, "ReverseLogarithmic"),
        Integer("width", 8, 1024, "Logarithmic"),
        Categorical("kind", ("a", "b", "c")),
    ),
    30,
    3,
)


def bowl(point: Point, centre: float = 0.6) -> list[float]:
    """A quadratic over the places of numbers, lowest (0) at `centre` with kind b."""
    units = [p.to_unit(point[p.name]) for p in BOWL.parameters[:3]]
    return [sum((u - centre) ** 2 for u in units) + (0.0 if point["kind"] == "b" else 0.1)]


class TestGrid:
    SPACE = Space((Categorical("x", ("p", "q", "r")), Categorical("y", ("1", "2"))))

    def test_every_combination_once_and_in_order(self) -> None:
        game = play(grid, replace(self.SPACE, parallel=3), lambda _: [1.0], trials=100)
        tried = [(t.point["x"], t.point["y"]) for t in game.trials]
        assert tried == list(itertools.product("pqr", "12"))
        assert grid.combinations(self.SPACE) == 6

    def test_parents_trials_do_not_shorten_it(self) -> None:
        parents = [Trial(i, {"x": "p", "y": "1"}, "completed", (), 1.0, task=1) for i in range(6)]
        assert suggest(grid, self.SPACE, parents).point == {"x": "p", "y": "1"}

    def test_numbers_are_refused(self) -> None:
        with pytest.raises(ValueError, match="categorical"):
            suggest(grid, BOWL, [])


class TestRandom:
    def test_a_draw_depends_on_seed_and_index_alone(self) -> None:
        serial = play(random, replace(BOWL, parallel=1), bowl, trials=12, seed=5)
        parallel = play(random, replace(BOWL, parallel=7), lambda _: [0.0] * 3, trials=12, seed=5)
        other = play(random, BOWL, bowl, trials=12, seed=6)
        assert [t.point for t in serial.trials] == [t.point for t in parallel.trials]
        assert serial.trials[3].point != other.trials[3].point

    def test_draws_are_uniform_in_the_scaled_range(self) -> None:
        game = play(random, BOWL, bowl, trials=600)
        for parameter in BOWL.parameters[:3]:
            units = np.array([parameter.to_unit(t.point[parameter.name]) for t in game.trials])
            counts = np.histogram(units, bins=4, range=(0.0, 1.0))[0]
            assert counts.min() > 100, (parameter.name, counts)
        kinds = [t.point["kind"] for t in game.trials]
        assert min(kinds.count(kind) for kind in "abc") > 150


class TestBayesian:
    def test_it_finds_branins_minimum_and_random_does_not(self) -> None:
        found = [min(play(bayesian, PLANE, branin, 30, seed=s).values) for s in range(7)]
        blind = [min(play(random, PLANE, branin, 30, seed=s).values) for s in range(7)]
        assert np.median(found) < 0.3979 + 0.1, found
        assert np.median(blind) > 0.3979 + 0.3, blind

    def test_it_finds_a_mixed_bowls_bottom_and_random_does_not(self) -> None:
        found = [min(play(bayesian, BOWL, bowl, 30, seed=s).values) for s in range(5)]
        blind = [min(play(random, BOWL, bowl, 30, seed=s).values) for s in range(5)]
        assert np.median(found) < 0.002, found
        assert np.median(blind) > 0.02, blind

    def test_failing_regions_are_left(self) -> None:
        """Trials that crash in half the space take few of the later trials.

        Branin's function has one minimum in the half that is left. With seed 3 the search once
        came back to the end of a range again and again.
        """
        for seed in (0, 3):
            history: list[Trial] = []
            for number in range(30):
                point = suggest(bayesian, replace(PLANE, parallel=1), history, seed).point
                value = None if float(point["a"]) > 2.5 else branin(point)[0]
                state = "failed" if value is None else "completed"
                history.append(Trial(number, point, state, (), value))  # type: ignore[arg-type]
            assert sum(t.state == "failed" for t in history[10:]) <= 6
            assert min(t.value for t in history if t.value is not None) < 8.0

    def test_running_trials_are_not_repeated(self) -> None:
        game = play(bayesian, replace(PLANE, parallel=1), branin, 8)
        history = list(game.trials)
        places = []
        for _ in range(4):
            point = suggest(bayesian, PLANE, history).point
            history.append(Trial(len(history), point, "running"))
            places.append([p.to_unit(point[p.name]) for p in PLANE.parameters])
        gaps = [np.abs(np.subtract(x, y)).max() for x, y in itertools.combinations(places, 2)]
        assert min(gaps) > 0.01, places

    def test_a_discrete_space_is_covered_without_a_repeat(self) -> None:
        space = Space((Categorical("a", ("x", "y", "z")), Integer("k", 1, 4)), 12, 3)
        game = play(bayesian, space, lambda p: [float(p["k"]) + (p["a"] == "y")], 12)
        assert len({(t.point["a"], t.point["k"]) for t in game.trials}) == 12

    def test_the_start_fills_the_space(self) -> None:
        """The first trials of two parameters hit different quarters of both."""
        space = replace(PLANE, parallel=start_count(PLANE))
        for seed in range(5):
            game = play(bayesian, space, lambda _: [0.0], start_count(PLANE), seed=seed)
            for p in PLANE.parameters:
                quarters = {int(4 * p.to_unit(float(t.point[p.name]))) for t in game.trials}
                assert len(quarters) >= 3, (seed, p.name)


class TestWarmStart:
    def parents(self, centre: float, same: bool) -> list[Trial]:
        game = play(random, BOWL, lambda p: bowl(p, centre), trials=40, seed=99)
        return [replace(t, task=1, same=same) for t in game.trials]

    def test_the_first_trial_repeats_the_parents_best(self) -> None:
        parents = self.parents(0.6, True)
        best = min(parents, key=lambda t: t.value or 0.0)
        first = suggest(bayesian, BOWL, parents).point
        assert first["kind"] == best.point["kind"]
        assert first["width"] == best.point["width"]
        assert first["rate"] == pytest.approx(best.point["rate"])
        assert first["keep"] == pytest.approx(best.point["keep"])

    def test_the_best_outside_the_new_ranges_is_passed_over(self) -> None:
        parents = self.parents(0.6, True)
        best = min(parents, key=lambda t: t.value or 0.0)
        width = Integer("width", 8, int(best.point["width"]) - 1, "Logarithmic")
        space = replace(BOWL, parameters=(*BOWL.parameters[:2], width, BOWL.parameters[3]))
        inside = [t for t in parents if space.holds(t.point)]
        first = suggest(bayesian, space, parents).point
        assert first["width"] == min(inside, key=lambda t: t.value or 0.0).point["width"]

    @pytest.mark.parametrize("same", [True, False])
    def test_a_fifth_of_the_budget_is_enough(self, same: bool) -> None:
        """Six trials after a parent do better than six alone, and reach the parent's best.

        The other data have the same shape but other values: three times as large, and 5 more.
        """
        parents = self.parents(0.6, same)
        factor, shift = (1.0, 0.0) if same else (3.0, 5.0)
        target = min(t.value for t in parents if t.value is not None) * factor + shift
        warm, cold = [], []
        for seed in range(5):

            def objective(point: Point) -> list[float]:
                return [bowl(point)[0] * factor + shift]

            warm.append(min(play(bayesian, BOWL, objective, 6, parents, seed).values))
            cold.append(min(play(bayesian, BOWL, objective, 6, (), seed).values))
        assert max(warm) <= target + 1e-9, (warm, target)
        assert np.median(warm) < shift + 0.01 * factor, warm
        assert np.median(cold) > shift + 0.02 * factor, cold

    def test_a_parent_that_misleads_is_overcome(self) -> None:
        parents = self.parents(0.15, False)
        found = [
            min(play(bayesian, BOWL, lambda p: bowl(p, 0.8), 30, parents, s).values)
            for s in range(3)
        ]
        assert np.median(found) < 0.01, found

    def test_a_new_parameter_starts_in_its_middle(self) -> None:
        parents = self.parents(0.6, True)
        space = replace(BOWL, parameters=(*BOWL.parameters, Continuous("new", 0.0, 4.0)))
        assert suggest(bayesian, space, parents).point["new"] == 2.0


def curve(point: Point) -> list[float]:
    """27 steps down to `bowl`, some fast and some slow."""
    slow = 0.3 + 0.5 * BOWL.parameters[0].to_unit(point["rate"])  # type: ignore[arg-type]
    return [bowl(point)[0] + slow / step for step in range(1, 28)]


class TestHyperband:
    SPACE = replace(BOWL, budget=None, resources=Resources(1, 27, resumable=True))

    @pytest.mark.parametrize("resumable", [True, False])
    def test_fewer_steps_for_the_same_result(self, resumable: bool) -> None:
        """As good as a random search of full trials at half its steps, or better."""
        space = replace(self.SPACE, resources=Resources(1, 27, resumable))
        for seed in range(3):
            full = play(random, BOWL, curve, 30, seed=seed)
            halved = play(hyperband, space, curve, 30, seed=seed)
            assert halved.steps < full.steps / 2, (halved.steps, full.steps)
            best = min(t.curve[-1][1] for t in halved.trials)
            assert best <= min(full.values) + 0.005, seed

    def test_a_third_of_a_rung_goes_on(self) -> None:
        values = [5.0, 3.0, 4.0, 1.0, 2.0, 6.0]
        trials = [
            Trial(
                i, {"kind": "a", "rate": 0.1, "keep": 0.9, "width": 8}, "paused", ((1, v),), None, 1
            )
            for i, v in enumerate(values)
        ]
        first = suggest(hyperband, self.SPACE, trials)
        assert (first.resumes, first.target) == (3, 3)
        trials[3] = replace(trials[3], state="running", target=3)
        second = suggest(hyperband, self.SPACE, trials)
        assert (second.resumes, second.target) == (4, 3)
        trials[4] = replace(trials[4], state="running", target=3)
        third = suggest(hyperband, self.SPACE, trials)
        assert (third.resumes, third.target) == (None, 1)

    def test_the_highest_rung_is_promoted_first_and_the_top_has_no_target(self) -> None:
        point = {"kind": "a", "rate": 0.1, "keep": 0.9, "width": 8}
        trials = [Trial(i, point, "paused", ((1, i), (3, i), (9, i)), None, 9) for i in range(3)]
        trials += [Trial(3 + i, point, "paused", ((1, -i),), None, 1) for i in range(3)]
        asked = suggest(hyperband, self.SPACE, trials)
        assert (asked.resumes, asked.target) == (0, None)

    def test_when_all_trials_wait_one_goes_to_the_top(self) -> None:
        space = replace(self.SPACE, budget=5, parallel=2)
        game = play(hyperband, space, curve, 5)
        assert sum(t.state == "completed" for t in game.trials) == 1
        assert suggest(hyperband, space, game.trials) is None

    def test_a_repeated_or_late_report_promotes_nobody_twice(self) -> None:
        point = {"kind": "a", "rate": 0.1, "keep": 0.9, "width": 8}
        trials = [Trial(i, point, "paused", ((2, float(i)),), None, 1) for i in range(3)]
        trials[0] = replace(trials[0], state="running", target=3)
        assert suggest(hyperband, self.SPACE, trials).resumes is None

    @pytest.mark.parametrize(
        ("mine", "others", "stops"),
        [
            (3.0, [1.0, 2.0], True),
            (0.5, [1.0, 2.0], False),
            (1.5, [1.0], False),
            (1.5, [1.0, 2.0, 3.0, 4.0, 5.0], False),
            (2.5, [1.0, 2.0, 3.0, 4.0, 5.0], True),
        ],
    )
    def test_stopping_at_a_rung(self, mine: float, others: list[float], stops: bool) -> None:
        space = replace(self.SPACE, resources=Resources(3, 27))
        trials = [Trial(i, {}, "running", ((3, v),)) for i, v in enumerate(others)]
        trial = Trial(9, {}, "running", ((1, 99.0), (3, mine)))
        assert (hyperband.stop(trial, [*trials, trial], space) is not None) == stops

    def test_no_stop_below_the_minimum_or_between_rungs(self) -> None:
        trials = [Trial(i, {}, "running", ((1, 1.0), (2, 1.0))) for i in range(9)]
        trial = Trial(9, {}, "running", ((1, 99.0), (2, 99.0)))
        space = replace(self.SPACE, resources=Resources(3, 27))
        assert hyperband.stop(trial, [*trials, trial], space) is None
        assert hyperband.stop(trial, [*trials, trial], self.SPACE) is None
        reason = hyperband.stop(
            trial, [*trials, trial], replace(self.SPACE, resources=Resources(1, 27))
        )
        assert reason == "at step 1 its value 99 is number 10 of 10 trials; the best 3 go on"

    def test_it_needs_resources(self) -> None:
        with pytest.raises(ValueError, match="steps"):
            suggest(hyperband, BOWL, [])
