"""Sparse matrices in requests: NPZ and libsvm."""

import io
from typing import Any

import numpy as np
from scipy import sparse


def load(body: bytes) -> Any:
    """The sparse matrix of an NPZ body (scipy.sparse.save_npz).

    Raises:
        ValueError: the body is not such a file.
    """
    return sparse.load_npz(io.BytesIO(body))


def from_libsvm(body: bytes, columns: int | None = None) -> Any:
    """Lines of `[label] index:value ...` as a CSR matrix of shape (lines, columns).

    Indices are columns as they stand, in training and serving alike: guessing per request whether
    they begin at 0 or 1 would shift a row whose first feature happens to be absent. Absent
    entries are missing values.

    Args:
        body: The text.
        columns: The matrix's width, or None for the largest index found.
    Raises:
        ValueError: an entry is not index:value, or an index exceeds the width.
    """
    starts, indices, values = [0], [], []
    for line in body.decode("utf-8").strip().splitlines():
        for word in line.split():
            index, colon, value = word.partition(":")
            if colon:
                indices.append(int(index))
                values.append(float(value))
        starts.append(len(indices))
    positions = np.array(indices, dtype=np.int64)
    width = columns or (int(positions.max()) + 1 if len(positions) else 0)
    if len(positions) and (positions.min() < 0 or positions.max() >= width):
        raise ValueError(f"an index lies outside the {width} features of the model")
    return sparse.csr_matrix((np.array(values), positions, starts), shape=(len(starts) - 1, width))
