"""Principal component analysis, exact or randomized.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/how-pca-works.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/PCA-reference.html; Halko, Martinsson and Tropp,
"Finding structure with randomness" (2011) for the randomized mode.
"""

import time
from functools import partial
from typing import Any, Final

import numpy as np
from scipy import linalg
from sklearn.utils.extmath import randomized_svd

from loopwright.algorithms import artifacts, learning
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.learning import Lesson
from loopwright.algorithms.parameters import (
    POSITIVE_INTEGER,
    Parameter,
    bounded,
    flag,
    one_of,
    validate,
)
from loopwright.algorithms.pca_model import NAME
from loopwright.algorithms.recordio import Array
from loopwright.runtime.environment import Environment

CHANNELS: Final = ("train", "test")
SEED: Final = 1
_LEAST_EXTRA: Final = 10
# Rows that are centred at once, so that the data are not in memory twice.
_CHUNK_ROWS: Final = 10_000

SCHEMA: Final[dict[str, Parameter]] = {
    "feature_dim": Parameter(POSITIVE_INTEGER, required=True),
    "mini_batch_size": Parameter(POSITIVE_INTEGER, required=True),
    "num_components": Parameter(POSITIVE_INTEGER, required=True),
    "algorithm_mode": Parameter(one_of("regular", "randomized"), "regular"),
    "subtract_mean": Parameter(flag, True),
    "extra_components": Parameter(bounded(int, "[-1,)"), -1),
    # Undocumented; clients that send it for K-Means send it here too.
    "force_dense": Parameter(flag, True),
}


def train(environment: Environment) -> None:
    """Train and write the model.

    Raises:
        CustomerError: hyperparameters, channels or content are wrong.
    """
    settings = validate(SCHEMA, environment.user_hyperparameters)
    components, columns = settings["num_components"], settings["feature_dim"]
    if components > columns:
        raise CustomerError(
            f"num_components is {components}; it must be at most feature_dim, {columns}."
        )
    learning.learn(environment, CHANNELS, columns, partial(_fit, settings))


def _fit(settings: dict[str, Any], lesson: Lesson) -> None:
    rows, wanted = lesson.train.rows, settings["num_components"]
    if rows < wanted:
        raise CustomerError(f"num_components is {wanted}, but the channel train has {rows} rows.")
    began = time.monotonic()
    features = lesson.train.dense()
    mean = features.mean(axis=0, dtype=np.float64)
    if not settings["subtract_mean"]:
        mean = np.zeros_like(mean)
    if settings["algorithm_mode"] == "regular":
        components, sizes = _regular(features, mean, wanted)
    else:
        components, sizes = _randomized(features, mean, wanted, settings["extra_components"])
    lesson.report.progress(1, 1)
    lesson.report.throughput(rows, time.monotonic() - began)
    # Ascending, and with a sign that does not depend on the solver.
    order = np.argsort(sizes, kind="stable")
    components, sizes = components[:, order], sizes[order]
    largest = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[largest, np.arange(wanted)])
    arrays = {"mean": mean, "v": components, "s": sizes}
    artifacts.write(lesson.environment.tree.model, NAME, {}, arrays)


def _regular(features: Array, mean: Array, wanted: int) -> tuple[Array, Array]:
    """Eigenvectors of the scatter matrix, which is summed up chunk by chunk."""
    columns = features.shape[1]
    scatter = np.zeros((columns, columns))
    for first in range(0, len(features), _CHUNK_ROWS):
        centred = features[first : first + _CHUNK_ROWS] - mean
        scatter += centred.T @ centred
    squares, components = linalg.eigh(scatter, subset_by_index=[columns - wanted, columns - 1])
    return components, np.sqrt(np.maximum(squares, 0.0))


def _randomized(features: Array, mean: Array, wanted: int, extra: int) -> tuple[Array, Array]:
    if extra == -1:
        # Documented: the maximum of 10 and num_components.
        extra = max(_LEAST_EXTRA, wanted)
    centred = features - mean
    _, sizes, rows = randomized_svd(centred, wanted, n_oversamples=extra, random_state=SEED)
    return rows.T, sizes
