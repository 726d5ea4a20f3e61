"""Dimension reduction of k-NN: random signs, or the fast Johnson-Lindenstrauss transform.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/kNN_how-it-works.html; Achlioptas,
"Database-friendly random projections" (2003) for signs; Ailon and Chazelle, "The fast
Johnson-Lindenstrauss transform" (2009), with the sampled columns of Tropp (2011), for fjlt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from loopwright.algorithms.recordio import Array


@dataclass(frozen=True)
class Projection:
    """A linear map that keeps distances about as they are; the identity if nothing is set.

    Attributes:
        signs: For `sign` the matrix, shape (columns, target); for `fjlt` one sign a column.
        sampled: For `fjlt` the coordinates that are kept, shape (target,).
    """

    signs: Array | None = None
    sampled: Array | None = None

    def apply(self, rows: Any) -> Array:
        """Rows as points, shape (rows, target), float64."""
        if self.signs is None:
            return _dense(rows)
        if self.sampled is None:
            projected: Array = np.asarray(rows @ self.signs) / np.sqrt(self.signs.shape[1])
            return projected
        mixed = _hadamard(_dense(rows) * self.signs)
        kept: Array = mixed[:, self.sampled] * np.sqrt(mixed.shape[1] / len(self.sampled))
        return kept

    def arrays(self) -> dict[str, Array]:
        """For the artifact."""
        found = {"signs": self.signs, "sampled": self.sampled}
        return {name: array for name, array in found.items() if array is not None}

    @staticmethod
    def of(arrays: Mapping[str, Array]) -> "Projection":
        """From an artifact."""
        return Projection(arrays.get("signs"), arrays.get("sampled"))


def draw(kind: str | None, columns: int, target: int, random: np.random.Generator) -> Projection:
    """A random projection.

    Args:
        kind: sign, fjlt or None.
        columns: Of the rows.
        target: Of the points.
        random: The source of chance.
    """
    if kind is None:
        return Projection()
    if kind == "sign":
        return Projection(random.choice([-1.0, 1.0], (columns, target)))
    whole = 1 << max(0, columns - 1).bit_length()
    signs = random.choice([-1.0, 1.0], columns)
    return Projection(signs, np.sort(random.choice(whole, target, replace=False)))


def _dense(rows: Any) -> Array:
    found: Array = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
    return found.astype(np.float64)


def _hadamard(rows: Array) -> Array:
    """The orthonormal Walsh-Hadamard transform of rows, padded to a power of two."""
    whole = 1 << max(0, rows.shape[1] - 1).bit_length()
    mixed = np.zeros((len(rows), whole))
    mixed[:, : rows.shape[1]] = rows
    half = 1
    while half < whole:
        pairs = mixed.reshape(len(rows), -1, 2, half)
        mixed = np.stack(
            [pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2
        ).reshape(len(rows), whole)
        half *= 2
    mixed /= np.sqrt(whole)
    return mixed
