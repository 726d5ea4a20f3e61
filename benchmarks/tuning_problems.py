"""The problems of the tuning benchmark: functions, learning curves, and real small trainings.

A problem gives, for a point, the values a trial reports step by step. Noise is drawn from the seed
and the point, so that every search sees the same noise at the same point. The first run computes
the tables of real trainings (about two CPU minutes) and keeps them in a folder.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from loopwright.runtime.search import Categorical, Continuous, Integer, Parameter, Point

MEDIAN_DRAWS = 300
Curve = Callable[[Point], np.ndarray]


@dataclass
class Problem:
    """Something to minimise.

    Attributes:
        name: Shown in tables.
        parameters: Of the space.
        truth: Noise-free values after each step, shape (steps,), for a point.
        steps: How many steps a full trial has.
        noise: Standard deviation of the noise on each value.
        best: Lowest known noise-free final value; the draws for the median may find a lower one.
    """

    name: str
    parameters: tuple[Parameter, ...]
    truth: Curve
    steps: int = 1
    noise: float = 0.0
    best: float = math.inf
    median: float = field(default=math.nan)
    _memo: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def values(self, point: Point) -> np.ndarray:
        """`truth`, remembered."""
        key = json.dumps({name: point[name] for name in sorted(point)})
        if key not in self._memo:
            self._memo[key] = np.asarray(self.truth(point), dtype=float)
        return self._memo[key]

    def observed(self, point: Point, seed: int) -> np.ndarray:
        """What a trial of this point reports, shape (steps,)."""
        values = self.values(point)
        return values + self.noise * self._rng(point, seed).standard_normal(self.steps)

    def pace(self, point: Point) -> float:
        """Simulated seconds that a step of this point takes: 0.5 to 1.5."""
        return 0.5 + float(self._rng(point, -1).random())

    def _rng(self, point: Point, seed: int) -> np.random.Generator:
        key = json.dumps([seed, self.name, {name: point[name] for name in sorted(point)}])
        return np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))

    def calibrate(self) -> None:
        """Find the median of random points, which is regret 1."""
        rng = np.random.default_rng(2026)
        finals = []
        for _ in range(MEDIAN_DRAWS):
            units = rng.random(len(self.parameters))
            point = {
                p.name: p.from_unit(float(u)) for p, u in zip(self.parameters, units, strict=True)
            }
            finals.append(float(self.values(point)[-1]))
        self.median = float(np.median(finals))
        self.best = min(self.best, *finals)

    @property
    def lowest(self) -> float:
        """The lowest noise-free value that has been seen so far, at any step."""
        return min((float(v.min()) for v in self._memo.values()), default=math.inf)

    def regret(self, value: float) -> float:
        """0: best known, 1: median random point."""
        return (value - self.best) / (self.median - self.best)


def numbers(point: Point) -> np.ndarray:
    """The numeric values of a point in the order of their names."""
    return np.array([float(point[name]) for name in sorted(point)])


def flat(function: Callable[[Point], float]) -> Curve:
    """A function as a curve of one step."""
    return lambda point: np.array([function(point)])


def box(count: int, low: float = 0.0, high: float = 1.0) -> tuple[Parameter, ...]:
    """Continuous parameters x0, x1, …"""
    return tuple(Continuous(f"x{i}", low, high) for i in range(count))


def branin(a: float, b: float) -> float:
    """Branin's function; 0.397887 at its three minima."""
    return (
        (b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6) ** 2
        + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a)
        + 10
    )


HARTMANN3 = (
    np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]]),
    1e-4
    * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]),
)
HARTMANN6 = (
    np.array(
        [
            [10, 3, 17, 3.5, 1.7, 8],
            [0.05, 10, 17, 0.1, 8, 14],
            [3, 3.5, 1.7, 10, 17, 8],
            [17, 8, 0.05, 10, 0.1, 14],
        ]
    ),
    1e-4
    * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    ),
)


def hartmann(x: np.ndarray, shape: tuple[np.ndarray, np.ndarray]) -> float:
    """Hartmann's function in 3 or 6 dimensions."""
    weights = np.array([1.0, 1.2, 3.0, 3.2])
    return -float(weights @ np.exp(-(shape[0] * (x - shape[1]) ** 2).sum(axis=1)))


def mixed_ackley(point: Point) -> float:
    """Ackley's function of three numbers and two whole ones, bent by two categories."""
    x = np.array([float(point[f"x{i}"]) for i in range(3)] + [int(point["k0"]), int(point["k1"])])
    turn = {"a": 0.0, "b": 0.7, "c": 1.5, "d": 3.0}[str(point["kind"])]
    stretch = {"wide": 1.0, "narrow": 1.6}[str(point["shape"])]
    z = stretch * (x - np.array([1.3, -2.1, 0.4, 2, -3])) / 2.0
    return float(
        turn
        + 20
        + math.e
        - 20 * np.exp(-0.2 * np.sqrt(np.mean(z**2)))
        - np.exp(np.mean(np.cos(2 * np.pi * z / 3)))
    )


def optimiser(point: Point) -> float:
    """A loss like that of a network by its learning rate, decay, momentum, width and schedule."""
    rate, decay = math.log10(float(point["rate"])), math.log10(float(point["decay"]))
    width = math.log2(int(point["width"]))
    lag = math.log10(1 - float(point["momentum"]))
    right = -2.2 - 0.25 * (width - 6) + 0.5 * (lag + 1)
    loss = 0.35 * (rate - right) ** 2 + 0.04 * (decay + 4) ** 2 + 0.05 * (lag + 1.3) ** 2
    loss += 0.8 / (1 + width) + 0.004 * width**2
    loss += {"cosine": 0.0, "step": 0.05, "constant": 0.12}[str(point["schedule"])]
    return math.log(0.05 + loss) if rate < right + 1.5 else 2.0


OPTIMISER = (
    Continuous("rate", 1e-6, 1.0, "Logarithmic"),
    Continuous("decay", 1e-8, 1e-1, "Logarithmic"),
    Continuous("momentum", 0.5, 0.999, "ReverseLogarithmic"),
    Integer("width", 8, 1024, "Logarithmic"),
    Categorical("schedule", ("constant", "cosine", "step")),
)


def decaying(point: Point, steps: int) -> np.ndarray:
    """`optimiser` as a learning curve: slow learning rates start badly and catch up."""
    final = optimiser(point) + 3.2
    speed = 0.6 + 0.35 * (math.log10(float(point["rate"])) + 6)
    step = np.arange(1, steps + 1)
    return final + 2.5 * step**-speed


def crossing(point: Point, steps: int) -> np.ndarray:
    """Hartmann's function in 6 dimensions as curves that cross: some start low and stay high."""
    x = numbers(point)
    final = hartmann(x, HARTMANN6)
    step = np.arange(1, steps + 1) / steps
    slow = 0.8 + 2.0 * x[0]
    misled = 0.6 * (x[3] - 0.5)
    return final + slow * (step**-0.35 - 1.0) * 0.4 + misled * (1.0 - step)


class Network:
    """Two-layer networks on the digits by plain Adam in NumPy: test error after each epoch."""

    parameters = (
        Integer("width", 3, 6),
        Integer("rate", 0, 11),
        Integer("batch", 5, 7),
        Integer("decay", 0, 2),
        Categorical("unit", ("relu", "tanh")),
    )
    steps = 27

    def __init__(self) -> None:
        x, y = load_digits(return_X_y=True)
        x = (x - x.mean()) / x.std()
        self.data = train_test_split(x, np.eye(10)[y], test_size=0.4, random_state=3)

    def curve(self, point: Point) -> np.ndarray:
        """Cross-entropy on the held-out part after each epoch."""
        x, x_test, y, y_test = self.data
        rng = np.random.default_rng(7)
        width, batch = 2 ** int(point["width"]), 2 ** int(point["batch"])
        rate = 10 ** (-4.8 + 0.4 * int(point["rate"]))
        decay = [0.0, 1e-3, 1e-1][int(point["decay"])]
        weights = [
            rng.standard_normal((64, width)) / 8,
            np.zeros(width),
            rng.standard_normal((width, 10)) / math.sqrt(width),
            np.zeros(10),
        ]
        first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
        losses, count = [], 0
        for _ in range(self.steps):
            order = rng.permutation(len(x))
            for start in range(0, len(x) - batch + 1, batch):
                chosen = order[start : start + batch]
                gradients = self._gradients(x[chosen], y[chosen], weights, str(point["unit"]))
                count += 1
                for w, g, m, v in zip(weights, gradients, first, second, strict=True):
                    m += 0.1 * (g - m)
                    v += 0.001 * (g * g - v)
                    step = m / (1 - 0.9**count) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)
                    w -= rate * (step + decay * w)
            hidden, _ = self._hidden(x_test @ weights[0] + weights[1], str(point["unit"]))
            logits = hidden @ weights[2] + weights[3]
            logits -= logits.max(axis=1, keepdims=True)
            log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            losses.append(min(5.0, float(-(log_p * y_test).sum(axis=1).mean())))
        return np.nan_to_num(np.array(losses), nan=5.0)

    def _hidden(self, z: np.ndarray, unit: str) -> tuple[np.ndarray, np.ndarray]:
        if unit == "relu":
            return np.maximum(z, 0), (z > 0).astype(float)
        out = np.tanh(z)
        return out, 1 - out * out

    def _gradients(
        self, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray], unit: str
    ) -> list[np.ndarray]:
        hidden, slope = self._hidden(x @ weights[0] + weights[1], unit)
        logits = hidden @ weights[2] + weights[3]
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        delta = (p / p.sum(axis=1, keepdims=True) - y) / len(x)
        back = (delta @ weights[2].T) * slope
        return [x.T @ back, back.sum(axis=0), hidden.T @ delta, delta.sum(axis=0)]


class Trees:
    """Boosted trees by XGBoost: the held-out loss after each round (of three trees' worth)."""

    steps = 27

    def __init__(self, loader: Callable[..., Any], objective: str, metric: str) -> None:
        x, y = loader(return_X_y=True)
        parts = train_test_split(x, y, test_size=0.4, random_state=5)
        self.train = xgboost.DMatrix(parts[0], parts[2], nthread=1)
        self.test = xgboost.DMatrix(parts[1], parts[3], nthread=1)
        self.fixed = {"objective": objective, "eval_metric": metric, "nthread": 1, "seed": 1}
        self.metric = metric

    def curve(self, point: Point) -> np.ndarray:
        """The metric on the held-out part after each round."""
        history: dict[str, Any] = {}
        settings = {**self.fixed, **point}
        xgboost.train(
            settings,
            self.train,
            self.steps,
            evals=[(self.test, "test")],
            evals_result=history,
            verbose_eval=False,
        )
        return np.array(history["test"][self.metric])


TREES = (
    Continuous("eta", 0.005, 1.0, "Logarithmic"),
    Integer("max_depth", 1, 10),
    Continuous("min_child_weight", 0.1, 100.0, "Logarithmic"),
    Continuous("subsample", 0.2, 1.0),
    Continuous("colsample_bytree", 0.2, 1.0),
    Continuous("lambda", 1e-3, 1e3, "Logarithmic"),
    Continuous("alpha", 1e-3, 1e2, "Logarithmic"),
    Continuous("gamma", 1e-4, 10.0, "Logarithmic"),
)


def network_table(folder: Path) -> dict[str, list[float]]:
    """Curves of every network of the grid by point, computed once."""
    path = folder / "network-table.json"
    if path.exists():
        return json.loads(path.read_text())
    network, table = Network(), {}
    names = [p.name for p in Network.parameters]
    choices = [
        p.values if isinstance(p, Categorical) else range(p.low, p.high + 1)
        for p in Network.parameters
    ]
    for values in itertools.product(*choices):
        table[json.dumps(values)] = (
            network.curve(dict(zip(names, values, strict=True))).round(6).tolist()
        )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table))
    return table


def looked_up(table: dict[str, list[float]]) -> Curve:
    """Curves from the table of networks; the loss is compared on a logarithmic scale."""
    names = [p.name for p in Network.parameters]
    return lambda point: np.log(table[json.dumps([point[name] for name in names])])


def trees(loader: Callable[..., Any], objective: str, metric: str) -> Curve:
    """Curves of live XGBoost trainings."""
    made: list[Trees] = []

    def curve(point: Point) -> np.ndarray:
        if not made:
            made.append(Trees(loader, objective, metric))
        return np.log(made[0].curve(point))

    return curve


def last(curve: Curve) -> Curve:
    """Only the last value, for searches that see no curves."""
    return lambda point: curve(point)[-1:]


def full_problems(folder: Path) -> list[Problem]:
    """Problems for equal numbers of full trials."""
    table = network_table(folder)
    cancer = trees(load_breast_cancer, "binary:logistic", "logloss")
    diabetes = trees(load_diabetes, "reg:squarederror", "rmse")
    lowest = min(math.log(curve[-1]) for curve in table.values())
    plane = (Continuous("a", -5, 10), Continuous("b", 0, 15))
    six = flat(lambda p: hartmann(numbers(p), HARTMANN6))
    return [
        Problem(
            "branin", plane, flat(lambda p: branin(float(p["a"]), float(p["b"]))), best=0.397887
        ),
        Problem(
            "hartmann3-noisy",
            box(3),
            flat(lambda p: hartmann(numbers(p), HARTMANN3)),
            noise=0.3,
            best=-3.86278,
        ),
        Problem("hartmann6", box(6), six, best=-3.32237),
        Problem(
            "rosenbrock4",
            box(4, -2.0, 2.0),
            flat(
                lambda p: math.log1p(
                    sum(
                        100 * (b - a * a) ** 2 + (1 - a) ** 2
                        for a, b in itertools.pairwise(numbers(p))
                    )
                )
            ),
            best=0.0,
        ),
        Problem(
            "ackley-mixed",
            (
                *box(3, -5.0, 5.0),
                Integer("k0", -5, 5),
                Integer("k1", -5, 5),
                Categorical("kind", ("d", "a", "c", "b")),
                Categorical("shape", ("narrow", "wide")),
            ),
            flat(mixed_ackley),
            best=0.0,
        ),
        Problem("optimiser-log", OPTIMISER, flat(optimiser)),
        Problem("network-digits", Network.parameters, last(looked_up(table)), best=lowest),
        Problem("trees-cancer", TREES, last(cancer)),
        Problem("trees-diabetes", TREES, last(diabetes)),
    ]


def curve_problems(folder: Path) -> list[Problem]:
    """Problems with learning curves, for equal numbers of steps."""
    table = network_table(folder)
    lowest = min(math.log(curve[-1]) for curve in table.values())
    return [
        Problem("optimiser-curve", OPTIMISER, lambda p: decaying(p, 27), 27, 0.02),
        Problem("hartmann6-crossing", box(6), lambda p: crossing(p, 27), 27, 0.03, -3.32237),
        Problem("network-digits", Network.parameters, looked_up(table), 27, best=lowest),
        Problem("trees-cancer", TREES, trees(load_breast_cancer, "binary:logistic", "logloss"), 27),
        Problem("trees-diabetes", TREES, trees(load_diabetes, "reg:squarederror", "rmse"), 27),
        Problem("trees-digits-parity", TREES, trees(parity, "binary:logistic", "logloss"), 27),
    ]


def parity(return_X_y: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Digits as odd or even."""
    x, y = load_digits(return_X_y=return_X_y)
    return x, y % 2
