"""Shifting and scaling of features and labels before training, and the way back.

A model of scaled rows z = (x - means) / spreads is one of the rows themselves: its weights are
divided by the spreads, and its bias takes the means up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from loopwright.algorithms.channels import Table
from loopwright.algorithms.linear_parameters import REGRESSOR
from loopwright.algorithms.parameters import AUTO
from loopwright.algorithms.recordio import Array


@dataclass(frozen=True)
class Scaling:
    """What was taken from data.

    Attributes:
        means: Shape (columns,).
        spreads: Shape (columns,), above 0.
        label_mean: 0 for classes.
        label_spread: 1 for classes.
    """

    means: Array
    spreads: Array
    label_mean: float
    label_spread: float

    def features(self, given: Any) -> Any:
        """Rows as the optimizer sees them: float32 array, or CSR where nothing is shifted."""
        if sparse.issparse(given) and not self.means.any():
            return (given @ sparse.diags(1.0 / self.spreads)).tocsr().astype(np.float32)
        dense = given.toarray() if sparse.issparse(given) else given
        return ((dense - self.means) / self.spreads).astype(np.float32)

    def labels(self, given: Array) -> Array:
        return (given - self.label_mean) / self.label_spread

    def out(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """Weights (columns, outputs) and bias (outputs,) for the data as they are."""
        unscaled = weights / self.spreads[:, None]
        shifted = bias - self.means @ unscaled
        return unscaled * self.label_spread, shifted * self.label_spread + self.label_mean

    def into(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """The reverse of `out`."""
        unscaled = weights / self.label_spread
        shifted = (bias - self.label_mean) / self.label_spread
        return unscaled * self.spreads[:, None], shifted + self.means @ unscaled


def measure(settings: Mapping[str, Any], train: Table, labels: Array, seed: int) -> Scaling:
    """Scaling as normalize_data, unbias_data, normalize_label and unbias_label ask for.

    Args:
        settings: Checked hyperparameters.
        train: The training channel; num_point_for_scaler rows of it are looked at.
        labels: Its labels, shape (rows,).
        seed: Of the draw of those rows.
    """
    count = settings["num_point_for_scaler"]
    chosen: Any = slice(None)
    if train.rows > count:
        chosen = np.sort(np.random.default_rng(seed).choice(train.rows, count, replace=False))
    rows, few = train.features[chosen], labels[chosen]
    thin = sparse.issparse(rows)
    means = np.asarray(rows.mean(axis=0, dtype=np.float64)).ravel()
    squares = rows.multiply(rows) if thin else np.square(rows, dtype=np.float64)
    variances = np.asarray(squares.mean(axis=0, dtype=np.float64)).ravel() - means**2
    # A column that does not vary must not be blown up by rounding.
    constant = variances <= 1e-12 * np.maximum(means**2, 1e-30)
    spreads = np.sqrt(np.where(constant, 1.0, variances))
    shift = settings["unbias_data"]
    if shift == AUTO:
        # Shifting would fill a sparse matrix.
        shift = settings["use_bias"] and not thin
    if settings["normalize_data"] is False:
        spreads = np.ones_like(spreads)
    regression = settings["predictor_type"] == REGRESSOR
    return Scaling(
        means if shift else np.zeros_like(means),
        spreads,
        float(few.mean()) if regression and _wanted(settings, "unbias_label") else 0.0,
        _spread(few) if regression and settings["normalize_label"] is not False else 1.0,
    )


def _wanted(settings: Mapping[str, Any], name: str) -> bool:
    # Documented: it applies only if the model has a bias.
    return settings[name] is not False and settings["use_bias"]


def _spread(labels: Array) -> float:
    found = float(labels.std(dtype=np.float64))
    return found if found > 0 else 1.0
