"""The optimizers of the Linear Learner, for many models at once: sgd, adam, rmsprop.

Weights have shape (features, models, outputs), biases (models, outputs); rates and penalties one
value for each model. Sources: Kingma and Ba, "Adam" (2015); Hinton's lecture 6e for rmsprop;
L1 by the proximal step that soft-thresholds (Duchi and Singer, "Forward backward splitting", 2009).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from loopwright.algorithms.parameters import AUTO
from loopwright.algorithms.recordio import Array

_TINY: Final = 1e-8
# What `auto` stands for where the documentation gives no number.
_RATES: Final = {"adam": 0.05, "rmsprop": 0.02, "sgd": 0.1}
_MOMENTUM, _BETA_1, _BETA_2 = 0.9, 0.9, 0.999
_STEP, _FACTOR, _LEAST_RATE = 100, 0.99, 1e-5
# With both left to us, rates come down to this share of the first ones by the last epoch.
_LAST_SHARE: Final = 0.02


@dataclass(frozen=True)
class Grid:
    """What the models differ in; each of shape (models,).

    Attributes:
        rates: Learning rates.
        decays: L2 penalties.
        sparsities: L1 penalties.
        positive_weights: Weight of a positive example; ones unless there are two classes.
    """

    rates: Array
    decays: Array
    sparsities: Array
    positive_weights: Array

    @property
    def models(self) -> int:
        return len(self.rates)


def name_of(settings: Mapping[str, Any]) -> str:
    """The optimizer; the documentation has adam for auto."""
    chosen: str = settings["optimizer"]
    return "adam" if chosen == AUTO else chosen


def grid(settings: Mapping[str, Any], balanced: float, *, one: bool) -> Grid:
    """The models to train side by side.

    The first model has exactly the given parameters; others have values close to them.

    Args:
        settings: Checked hyperparameters.
        balanced: The positive weight that gives both classes the same influence.
        one: Train one model whatever num_models says, as tuning jobs do.
    """
    given = settings["positive_example_weight_mult"]
    weights = {AUTO: [1.0, balanced], "balanced": [balanced]}.get(given, [given])
    rate = settings["learning_rate"]
    usual = _RATES[name_of(settings)]
    # A few full batches want large steps, many small ones small steps.
    rates = [usual, usual * 4.0] if rate == AUTO else [rate, rate * 0.3]
    decays = _around(settings["wd"], [1e-4, 0.0, 1e-2, 1.0])
    sparsities = _around(settings["l1"], [0.0, 1e-4, 1e-3, 1e-2])
    points = [(r, d, s, w) for w in weights for s in sparsities for d in decays for r in rates]
    if one:
        points = points[:1]
    elif settings["num_models"] != AUTO:
        wanted = settings["num_models"]
        # More models than points differ by where they start.
        points = (points * (wanted // len(points) + 1))[:wanted]
    columns = (np.array(column) for column in zip(*points, strict=True))
    return Grid(*columns)


def _around(given: Any, usual: list[float]) -> list[float]:
    if given == AUTO:
        return usual
    return [given] if given == 0 else [given, given * 0.1, given * 10.0]


class Optimizer:
    """Steps weights and biases in place.

    Args:
        settings: Checked hyperparameters.
        models: What the models differ in.
        weights: Shape (features, models, outputs).
        bias: Shape (models, outputs).
        batches: In one epoch.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        models: Grid,
        weights: Array,
        bias: Array,
        batches: int,
    ) -> None:
        def number(name: str, usual: float) -> float:
            return usual if settings[name] == AUTO else float(settings[name])

        self._kind = name_of(settings)
        self._grid = models
        self._weights, self._bias = weights, bias
        self._use_bias = settings["use_bias"]
        self._bias_rate = number("bias_lr_mult", 1.0)
        self._bias_decay = number("bias_wd_mult", 0.0)
        self._momentum = number("momentum", _MOMENTUM)
        self._beta_1, self._beta_2 = number("beta_1", _BETA_1), number("beta_2", _BETA_2)
        self._scheduled = settings["use_lr_scheduler"]
        self._every = int(number("lr_scheduler_step", _STEP))
        self._factor = number("lr_scheduler_factor", _FACTOR)
        if settings["lr_scheduler_step"] == settings["lr_scheduler_factor"] == AUTO:
            self._every = batches
            self._factor = _LAST_SHARE ** (1.0 / settings["epochs"])
        self._least = number("lr_scheduler_minimum_lr", _LEAST_RATE)
        self._first = [np.zeros_like(weights), np.zeros_like(bias)]
        self._second = [np.zeros_like(weights), np.zeros_like(bias)]
        self._steps = 0

    def step(self, weight_slope: Array, bias_slope: Array) -> None:
        """One update by the mean gradient of a batch."""
        rates = self._grid.rates[:, None]
        if self._scheduled:
            slowed = rates * self._factor ** (self._steps // self._every)
            rates = np.maximum(slowed, np.minimum(rates, self._least))
        self._steps += 1
        decay = self._grid.decays[:, None]
        direction, scale = self._direction(0, weight_slope + decay * self._weights)
        self._weights -= rates * direction
        if self._grid.sparsities.any():
            # In the metric of the step: what moves further is also drawn to zero further.
            limits = rates * self._grid.sparsities[:, None] * scale
            shrunk = np.maximum(np.abs(self._weights) - limits, 0.0)
            self._weights[:] = np.sign(self._weights) * shrunk
        if self._use_bias:
            slope = bias_slope + decay * self._bias_decay * self._bias
            self._bias -= rates * self._bias_rate * self._direction(1, slope)[0]

    def _direction(self, which: int, slope: Array) -> tuple[Array, Any]:
        """Where to go, and what the slope was multiplied by to get there."""
        first, second = self._first[which], self._second[which]
        if self._kind == "sgd":
            first *= self._momentum
            first += slope
            return first, 1.0
        if self._kind == "rmsprop":
            second *= 0.9
            second += 0.1 * slope**2
            scale = 1.0 / (np.sqrt(second) + _TINY)
            return slope * scale, scale
        first *= self._beta_1
        first += (1.0 - self._beta_1) * slope
        second *= self._beta_2
        second += (1.0 - self._beta_2) * slope**2
        mean = first / (1.0 - self._beta_1**self._steps)
        spread = second / (1.0 - self._beta_2**self._steps)
        scale = 1.0 / (np.sqrt(spread) + _TINY)
        return mean * scale, scale
