"""The k-NN model, and how its endpoint answers.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/kNN-inference-formats.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.neighbors import NearestNeighbors

from loopwright.algorithms import artifacts, recordio
from loopwright.algorithms.knn_projection import Projection
from loopwright.algorithms.recordio import Array
from loopwright.algorithms.serving import Columns, RowAlgorithm
from loopwright.runtime.server import codecs
from loopwright.runtime.server.frameworks.base import RowPredict

NAME: Final = "knn"
CLASSIFIER: Final = "classifier"
_VERBOSE: Final = ";verbose=true"
# Queries that are compared with all points at once.
_CHUNK_ROWS: Final = 1024


@dataclass(frozen=True)
class KnnModel:
    """Points with labels, and how near they are.

    Attributes:
        columns: Of the rows as given.
        kind: classifier or regressor.
        k: Neighbours.
        metric: L2, INNER_PRODUCT or COSINE.
        points: Shape (points, target columns), projected.
        labels: Shape (points,).
        projection: Makes target columns of columns.
    """

    columns: int
    kind: str
    k: int
    metric: str
    points: Array
    labels: Array
    projection: Projection

    def neighbours(self, rows: Any) -> tuple[Array, Array]:
        """Distances, nearest first, and labels of the k nearest, each of shape (rows, k).

        Distances are Euclidean for L2, else products or cosines, the largest first.
        """
        projected = self.projection.apply(rows)
        if self.metric == "L2":
            search = NearestNeighbors(n_neighbors=self.k, algorithm="brute").fit(self.points)
            distances, index = search.kneighbors(projected)
            return distances, self.labels[index]
        parts = [
            self._by_product(projected[first : first + _CHUNK_ROWS])
            for first in range(0, len(projected), _CHUNK_ROWS)
        ]
        distances, index = (np.concatenate(part) for part in zip(*parts, strict=True))
        return distances, self.labels[index]

    def predict(self, rows: Any) -> Columns:
        """`predicted_label`, and `distances` and `labels` of the neighbours."""
        distances, labels = self.neighbours(rows)
        if self.kind == CLASSIFIER:
            predicted = np.array([_vote(row) for row in labels])
        else:
            predicted = labels.mean(axis=1)
        return {"predicted_label": predicted, "distances": distances, "labels": labels}

    def _by_product(self, rows: Array) -> tuple[Array, Array]:
        points = self.points
        if self.metric == "COSINE":
            rows, points = _unit(rows), _unit(points)
        products = rows @ points.T
        index = np.argsort(-products, axis=1, kind="stable")[:, : self.k]
        return np.take_along_axis(products, index, axis=1), index

    def write(self, folder: Path) -> None:
        words = {"columns": self.columns, "kind": self.kind, "k": self.k, "metric": self.metric}
        arrays = {"points": self.points, "labels": self.labels, **self.projection.arrays()}
        artifacts.write(folder, NAME, words, arrays)


def _vote(labels: Array) -> Any:
    """The most frequent label; of several the one whose neighbour is nearest."""
    found, first, counts = np.unique(labels, return_index=True, return_counts=True)
    return found[np.lexsort((first, -counts))[0]]


def _unit(rows: Array) -> Array:
    found: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found


class Knn(RowAlgorithm):
    """The endpoint; `verbose=true` in Accept asks for the neighbours too."""

    accepts = (
        *RowAlgorithm.accepts,
        codecs.JSON + _VERBOSE,
        codecs.JSON_LINES + _VERBOSE,
        recordio.MEDIA + _VERBOSE,
    )

    def load(self, folder: Path) -> KnnModel:
        words, arrays = artifacts.served(folder, NAME)
        return KnnModel(
            **_known(words),
            points=arrays["points"],
            labels=arrays["labels"],
            projection=Projection.of(arrays),
        )

    def write(self, prediction: Any, accept: str) -> bytes:
        if accept.endswith(_VERBOSE):
            return super().write(prediction, accept.removesuffix(_VERBOSE))
        return super().write({"predicted_label": prediction["predicted_label"]}, accept)

    def rows(self, model: Any) -> RowPredict | None:
        # Joined requests could not ask for verbose answers one by one.
        return None


def _known(words: Mapping[str, Any]) -> dict[str, Any]:
    return {name: words[name] for name in ("columns", "kind", "k", "metric")}


algorithm = Knn()
