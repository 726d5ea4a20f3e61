"""The cube, the warps and the Gaussian process against definitions, differences and limits."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import approx_fprime

from loopwright.runtime.search import Categorical, Continuous, Integer, Space
from loopwright.tuning.surrogate.acquisition import (
    log_expected_improvement,
    log_expected_improvement_slopes,
)
from loopwright.tuning.surrogate.cube import Cube, keys
from loopwright.tuning.surrogate.evidence import Seen, gather
from loopwright.tuning.surrogate.process import (
    Data,
    Kernel,
    Layout,
    Posterior,
    learn,
    likelihood,
    plausible,
)
from loopwright.tuning.surrogate.warping import half_rank, kumaraswamy, kumaraswamy_slope

SPACE = Space(
    (
        Continuous("x", 1e-4, 1.0, "Logarithmic"),
        Integer("k", 1, 9),
        Categorical("c", ("a", "b", "c")),
        Integer("w", 1, 500, "Logarithmic"),
    )
)


def process(seed: int = 0) -> tuple[Kernel, Posterior, np.ndarray]:
    """A process of two warped columns, one plain, and a category of two, with two tasks."""
    rng = np.random.default_rng(seed)
    features = rng.random((20, 5))
    features[:, 3:] = np.eye(2)[rng.integers(0, 2, 20)] * 0.7
    layout = Layout(np.array([0, 1, 2, 3, 3]), np.zeros(4), np.array([0, 2]), 0.5)
    theta = layout.prior[0] + 0.3 * rng.standard_normal(10)
    tasks = rng.integers(0, 2, 20)
    kernel = Kernel(layout, theta)
    values = rng.standard_normal(20)
    return kernel, Posterior(kernel, features, values, tasks), rng.random((3, 5))


class TestCube:
    def test_rows_and_points_are_each_others_inverse(self) -> None:
        cube, rng = Cube(SPACE), np.random.default_rng(0)
        rows = cube.draw(300, rng)
        points = [cube.point(row) for row in rows]
        assert np.allclose(cube.rows(points), rows, atol=1e-12)
        assert keys(cube.rows(points)) == keys(rows)
        for row, point in zip(rows, points, strict=True):
            assert all(
                p.from_unit(u) == pytest.approx(point[p.name])
                if p.name == "x"
                else p.from_unit(u) == point[p.name]
                for p, u in zip(SPACE.parameters, row, strict=True)
            )

    def test_every_whole_number_is_drawn(self) -> None:
        cube = Cube(SPACE)
        drawn = [cube.point(row)["k"] for row in cube.draw(900, np.random.default_rng(1))]
        counts = [drawn.count(k) for k in range(1, 10)]
        assert min(counts) > 60, counts

    def test_all_rows_are_all_points(self) -> None:
        space = Space((Integer("k", -2, 2), Categorical("c", ("a", "b")), Integer("w", 5, 5)))
        cube = Cube(space)
        points = {tuple(cube.point(row).values()) for row in cube.all_rows()}
        assert points == {(k, c, 5) for k in range(-2, 3) for c in "ab"}
        assert cube.size == 10

    def test_categories_lie_one_apart_and_missing_ones_between(self) -> None:
        cube = Cube(Space((Categorical("c", ("a", "b", "c")),)))
        a, b, missing = cube.features(cube.rows([{"c": "a"}, {"c": "b"}, {}]))
        assert np.linalg.norm(a - b) == pytest.approx(1.0)
        assert np.linalg.norm(a - missing) == pytest.approx(math.sqrt(0.5))


class TestWarping:
    def test_half_rank_keeps_the_better_half(self) -> None:
        values = np.array([1.0, 2.0, 3.0, 1e9, 50.0])
        warped = half_rank(values)
        assert np.argsort(warped).tolist() == [0, 1, 2, 4, 3]
        assert warped[1] - warped[0] == pytest.approx(warped[2] - warped[1])
        assert warped[3] - warped[2] < 3 * (warped[2] - warped[0])
        assert (warped.mean(), warped.std()) == (pytest.approx(0), pytest.approx(1))

    def test_half_rank_of_equal_values(self) -> None:
        assert half_rank(np.full(4, 7.0)).tolist() == [0.0] * 4
        warped = half_rank(np.array([2.0, 1.0, 1.0, 1.0]))
        assert warped[0] > warped[1] == warped[2] == warped[3]

    def test_kumaraswamy_slopes(self) -> None:
        x, theta = np.array([[0.2, 0.7]]), np.array([0.3, -0.4])

        def warp(log: np.ndarray, units: np.ndarray) -> np.ndarray:
            return kumaraswamy(units, np.exp(log[:1]), np.exp(log[1:]))[0].ravel()

        _, by_a, by_b = kumaraswamy(x, np.exp(theta[:1]), np.exp(theta[1:]))
        differences = approx_fprime(theta, lambda t: warp(t, x), 1e-7)
        assert np.allclose(differences, np.stack([by_a.ravel(), by_b.ravel()], axis=1), atol=1e-5)
        slope = kumaraswamy_slope(x, np.exp(theta[:1]), np.exp(theta[1:]))
        assert np.allclose((warp(theta, x + 1e-7) - warp(theta, x)) / 1e-7, slope, atol=1e-4)
        assert np.allclose(kumaraswamy(x, np.ones(1), np.ones(1))[0], x)


class TestProcess:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_likelihoods_gradient(self, seed: int) -> None:
        kernel, posterior, _ = process(seed)
        data = Data(posterior.features, posterior.values, kernel.layout, posterior.tasks)
        differences = approx_fprime(kernel.theta, lambda t: likelihood(t, data)[0], 1e-6)
        assert np.allclose(differences, likelihood(kernel.theta, data)[1], atol=1e-3)

    def test_predictions_slopes(self) -> None:
        _, posterior, places = process()
        mean, deviation, by_mean, by_deviation = posterior.predict_slopes(places)
        assert np.allclose(posterior.predict(places), (mean, deviation))
        for i, place in enumerate(places):
            for index, slopes in ((0, by_mean), (1, by_deviation)):
                differences = approx_fprime(
                    place, lambda z, n=index: posterior.predict(z[None])[n][0], 1e-6
                )
                assert np.allclose(differences, slopes[i], atol=1e-4)

    def test_it_recovers_which_parameter_matters(self) -> None:
        rng = np.random.default_rng(3)
        features = rng.random((60, 3))
        values = np.sin(9 * features[:, 1])
        values = (values - values.mean()) / values.std()
        layout = Layout(np.arange(3), np.zeros(3), np.array([], dtype=int))
        kernel = learn(Data(features, values, layout))
        assert kernel.lengths[1] < 0.5 < 2.0 < min(kernel.lengths[0], kernel.lengths[2])
        assert kernel.noise < 1e-2
        noisy = learn(Data(features, values + rng.standard_normal(60), layout))
        assert noisy.noise > 0.2

    def test_plausible_kernels_vary_where_the_values_say_little(self) -> None:
        """Around the most probable one, the wider the less the data tell; always the same ones."""
        rng = np.random.default_rng(4)
        layout = Layout(np.arange(2), np.zeros(2), np.array([], dtype=int))

        def spread(count: int) -> float:
            features = rng.random((count, 2))
            values = np.sin(7 * features[:, 0]) + np.cos(5 * features[:, 1])
            data = Data(features, (values - values.mean()) / values.std(), layout)
            kernel = learn(data)
            draws = plausible(kernel, data, 40)
            again = plausible(kernel, data, 40)
            assert all(np.array_equal(a.theta, b.theta) for a, b in zip(draws, again, strict=True))
            logs = np.stack([draw.theta[:2] - kernel.theta[:2] for draw in draws])
            assert np.abs(logs.mean(axis=0)).max() < 0.4
            return float(logs.std())

        assert spread(80) < 0.5 * spread(4)

    def test_believing_keeps_the_mean_and_takes_the_doubt(self) -> None:
        _, posterior, places = process()
        believing = posterior.believing(places[:1])
        assert np.allclose(believing.mean(places), posterior.mean(places), atol=1e-6)
        before, after = posterior.predict(places)[1], believing.predict(places)[1]
        assert after[0] < 0.5 * before[0]
        assert np.all(after <= before + 1e-9)


class TestAcquisition:
    @pytest.mark.parametrize("gap", [-3.0, -0.5, 0.0, 2.0, 6.0])
    def test_it_is_the_integral(self, gap: float) -> None:
        def integrand(z: float) -> float:
            return max(0.0, 1.0 - (1.0 + gap + 0.7 * z)) * math.exp(-z * z / 2)

        exact = quad(integrand, -14, -gap / 0.7, epsabs=0, epsrel=1e-10)[0]
        exact /= math.sqrt(2 * math.pi)
        found = log_expected_improvement(np.array([1.0 + gap]), np.array([0.7]), 1.0)
        assert found[0] == pytest.approx(math.log(exact), rel=1e-6)

    def test_slopes_and_limits(self) -> None:
        for u in (-1e9, -2e6, -1e3, -8.0, -1.0001, -0.9999, 0.0, 4.0):
            mean, deviation = np.array([-2.0 * u]), np.array([2.0])
            score, by_mean, by_deviation = log_expected_improvement_slopes(mean, deviation, 0.0)
            assert np.isfinite([score, by_mean, by_deviation]).all()
            if u > -100:
                step = 1e-6
                higher = log_expected_improvement(mean + step, deviation, 0.0)
                assert (higher - score) / step == pytest.approx(by_mean, rel=1e-3)
                wider = log_expected_improvement(mean, deviation + step, 0.0)
                assert (wider - score) / step == pytest.approx(by_deviation, rel=1e-3)

    def test_bad_arguments_are_refused(self) -> None:
        with pytest.raises(ValueError, match="positive"):
            log_expected_improvement(np.zeros(2), np.array([1.0, 0.0]), 0.0)


class TestEvidence:
    def test_failures_count_as_the_worst_value(self) -> None:
        row = np.array([0.5])
        found = gather([Seen(row, 1.0, 1.0), Seen(row, 1.0, 3.0), Seen(row, 1.0, None)])
        assert found is not None
        assert found.values[2] == found.values[1] > found.values[0]
        assert gather([Seen(row, 1.0, None)]) is None

    def test_a_large_history_is_cut_to_the_best_and_the_newest(self) -> None:
        seen = [Seen(np.array([i / 3000]), 1.0, float(i)) for i in range(3000)]
        found = gather(seen)
        assert found is not None
        assert len(found.rows) == 1000
        assert np.isin(np.arange(333) / 3000, found.rows[:, 0]).all()
        assert np.isin(np.arange(2400, 3000) / 3000, found.rows[:, 0]).all()
