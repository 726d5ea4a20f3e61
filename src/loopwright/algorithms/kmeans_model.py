"""The K-Means model, and how its endpoint answers.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/km-in-formats.html.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sklearn.metrics import pairwise_distances_argmin_min

from loopwright.algorithms import artifacts
from loopwright.algorithms.recordio import Array
from loopwright.algorithms.serving import Columns, RowAlgorithm

NAME: Final = "kmeans"


@dataclass(frozen=True)
class KMeansModel:
    """Clusters around centres.

    Attributes:
        centres: Shape (k, columns).
    """

    centres: Array

    @property
    def columns(self) -> int:
        return int(self.centres.shape[1])

    def nearest(self, rows: Any) -> tuple[Array, Array]:
        """Index of the nearest centre and Euclidean distance to it, each of shape (rows,)."""
        index, distance = pairwise_distances_argmin_min(rows, self.centres)
        return index, distance

    def predict(self, rows: Array) -> Columns:
        """`distance_to_cluster` and `closest_cluster`; the index is a float, as documented."""
        index, distance = self.nearest(rows)
        return {"closest_cluster": index.astype(float), "distance_to_cluster": distance}


class KMeans(RowAlgorithm):
    """The endpoint."""

    def load(self, folder: Path) -> KMeansModel:
        _, arrays = artifacts.served(folder, NAME)
        return KMeansModel(arrays["centres"])


algorithm = KMeans()
