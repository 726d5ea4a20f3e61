"""The PCA model, and how its endpoint answers.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/PCA-in-formats.html.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loopwright.algorithms import artifacts
from loopwright.algorithms.recordio import Array
from loopwright.algorithms.serving import Columns, RowAlgorithm

NAME: Final = "pca"


@dataclass(frozen=True)
class PcaModel:
    """Projection on components.

    Attributes:
        mean: Shape (columns,); zeros if nothing is subtracted.
        components: Shape (columns, num_components), the largest last, as AWS orders them.
    """

    mean: Array
    components: Array

    @property
    def columns(self) -> int:
        return int(self.components.shape[0])

    def predict(self, rows: Array) -> Columns:
        """`projection`, the component of the largest singular value last."""
        return {"projection": (rows - self.mean) @ self.components}


class Pca(RowAlgorithm):
    """The endpoint."""

    list_name = "projections"

    def load(self, folder: Path) -> PcaModel:
        _, arrays = artifacts.served(folder, NAME)
        return PcaModel(arrays["mean"], arrays["v"])


algorithm = Pca()
