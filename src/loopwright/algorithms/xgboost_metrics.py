"""The evaluation metrics that AWS's container adds to XGBoost's own, by scikit-learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics

# name -> score(labels, predicted labels)
_OF_CLASSES: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1": lambda y, p: metrics.f1_score(y, p, average="macro"),
    "f1_binary": lambda y, p: metrics.f1_score(y, p, average="binary"),
    "f1_macro": lambda y, p: metrics.f1_score(y, p, average="macro"),
    "precision": lambda y, p: metrics.precision_score(y, p, average="binary"),
    "precision_macro": lambda y, p: metrics.precision_score(y, p, average="macro"),
    "precision_micro": lambda y, p: metrics.precision_score(y, p, average="micro"),
    "recall": lambda y, p: metrics.recall_score(y, p, average="binary"),
    "recall_macro": lambda y, p: metrics.recall_score(y, p, average="macro"),
    "recall_micro": lambda y, p: metrics.recall_score(y, p, average="micro"),
}
_OF_VALUES: dict[str, Callable[[Any, Any], float]] = {
    "mse": metrics.mean_squared_error,
    "r2": metrics.r2_score,
}
NAMES = frozenset({*_OF_CLASSES, *_OF_VALUES})


def function(names: list[str], objective: str) -> Callable[[Any, Any], list[tuple[str, float]]]:
    """A custom_metric for xgboost.train that computes the named metrics.

    Args:
        names: Members of NAMES.
        objective: XGBoost's; says how predictions become labels.
    """

    def evaluate(predictions: Any, matrix: Any) -> list[tuple[str, float]]:
        labels = matrix.get_label()
        found: list[tuple[str, float]] = []
        for name in names:
            if name in _OF_CLASSES:
                score = _OF_CLASSES[name](labels, _classes(predictions, objective))
            else:
                score = _OF_VALUES[name](labels, predictions)
            found.append((name, float(score)))
        return found

    return evaluate


def _classes(predictions: Any, objective: str) -> Any:
    if predictions.ndim > 1:
        return np.argmax(predictions, axis=1)
    if objective in ("multi:softmax", "binary:hinge"):
        return predictions
    # Raw margins of logitraw are positive for the second class, probabilities above a half.
    return (predictions > (0 if objective == "binary:logitraw" else 0.5)).astype(int)
