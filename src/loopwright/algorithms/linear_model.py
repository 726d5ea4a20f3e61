"""The Linear Learner's model, and how its endpoint answers.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/LL-in-formats.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from loopwright.algorithms import artifacts
from loopwright.algorithms.linear_losses import sigmoid, softmax
from loopwright.algorithms.linear_parameters import MULTICLASS, REGRESSOR
from loopwright.algorithms.recordio import Array
from loopwright.algorithms.serving import Columns, RowAlgorithm

NAME: Final = "linear-learner"


@dataclass(frozen=True)
class LinearModel:
    """Scores are rows @ weights + bias.

    Attributes:
        kind: The predictor_type.
        loss: Decides what a score means.
        weights: Shape (columns, outputs).
        bias: Shape (outputs,).
        threshold: Of two classes: a raw score above it is class 1.
    """

    kind: str
    loss: str
    weights: Array
    bias: Array
    threshold: float

    @property
    def columns(self) -> int:
        return int(self.weights.shape[0])

    def scores(self, rows: Any) -> Array:
        """Raw scores, shape (rows, outputs)."""
        found: Array = np.asarray(rows @ self.weights) + self.bias
        return found

    def predict(self, rows: Array) -> Columns:
        """`score`, and `predicted_label` for classes."""
        raw = self.scores(rows)
        if self.kind == REGRESSOR:
            return {"score": raw[:, 0]}
        if self.kind == MULTICLASS:
            return {"score": softmax(raw), "predicted_label": raw.argmax(axis=1)}
        score = sigmoid(raw[:, 0]) if self.loss == "logistic" else raw[:, 0]
        return {"score": score, "predicted_label": (raw[:, 0] > self.threshold).astype(int)}

    def write(self, folder: Path) -> None:
        words = {"kind": self.kind, "loss": self.loss, "threshold": self.threshold}
        artifacts.write(folder, NAME, words, {"weights": self.weights, "bias": self.bias})


def model_of(content: tuple[Mapping[str, Any], Mapping[str, Array]]) -> LinearModel:
    """The model in an artifact's words and arrays."""
    words, arrays = content
    return LinearModel(
        words["kind"], words["loss"], arrays["weights"], arrays["bias"], words["threshold"]
    )


class LinearLearner(RowAlgorithm):
    """The endpoint."""

    def load(self, folder: Path) -> LinearModel:
        return model_of(artifacts.served(folder, NAME))


algorithm = LinearLearner()
