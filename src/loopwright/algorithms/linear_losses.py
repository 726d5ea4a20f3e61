"""The losses of the Linear Learner: value and slope for each score.

`scores` and `labels` have shape (rows, models, outputs) and broadcast against each other; labels
are 0 or 1, values, or one-hot rows. Values have shape (rows, models).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from loopwright.algorithms.recordio import Array

Loss = Callable[[Array, Array, Mapping[str, Any]], tuple[Array, Array]]


def sigmoid(scores: Array) -> Array:
    """1 / (1 + exp(-scores)), without overflow."""
    found: Array = 0.5 * (1.0 + np.tanh(0.5 * scores))
    return found


def softmax(scores: Array) -> Array:
    """Probabilities along the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found: Array = powers / powers.sum(axis=-1, keepdims=True)
    return found


def _logistic(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    values = np.logaddexp(0.0, scores) - labels * scores
    return values[..., 0], sigmoid(scores) - labels


def _hinge(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    signs = 2.0 * labels - 1.0
    short = settings["margin"] - signs * scores
    return np.maximum(short, 0.0)[..., 0], np.where(short > 0, -signs, 0.0)


def _softmax(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    shares = softmax(scores)
    right = np.maximum((shares * labels).sum(axis=-1), 1e-30)
    return -np.log(right), shares - labels


def _squared(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    errors = scores - labels
    return (errors**2)[..., 0], 2.0 * errors


def _absolute(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    errors = scores - labels
    return np.abs(errors)[..., 0], np.sign(errors)


def _eps_squared(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    errors = scores - labels
    beyond = np.maximum(np.abs(errors) - settings["loss_insensitivity"], 0.0)
    return (beyond**2)[..., 0], 2.0 * beyond * np.sign(errors)


def _eps_absolute(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    errors = scores - labels
    beyond = np.abs(errors) - settings["loss_insensitivity"]
    return np.maximum(beyond, 0.0)[..., 0], np.where(beyond > 0, np.sign(errors), 0.0)


def _quantile(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    share = settings["quantile"]
    short = labels - scores
    values = np.maximum(share * short, (share - 1.0) * short)
    return values[..., 0], np.where(short > 0, -share, 1.0 - share)


def _huber(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    delta = settings["huber_delta"]
    errors = scores - labels
    sizes = np.abs(errors)
    values = np.where(sizes <= delta, 0.5 * errors**2, delta * (sizes - 0.5 * delta))
    return values[..., 0], np.clip(errors, -delta, delta)


# loss -> function, and the name its mean has in the log.
LOSSES: Final[dict[str, tuple[Loss, str]]] = {
    "logistic": (_logistic, "binary_classification_cross_entropy_objective"),
    "hinge_loss": (_hinge, "hinge_loss_objective"),
    "softmax_loss": (_softmax, "multiclass_cross_entropy_objective"),
    "squared_loss": (_squared, "mse_objective"),
    "absolute_loss": (_absolute, "absolute_loss_objective"),
    "eps_insensitive_squared_loss": (_eps_squared, "eps_insensitive_squared_loss_objective"),
    "eps_insensitive_absolute_loss": (_eps_absolute, "eps_insensitive_absolute_loss_objective"),
    "quantile_loss": (_quantile, "quantile_loss_objective"),
    "huber_loss": (_huber, "huber_loss_objective"),
}
