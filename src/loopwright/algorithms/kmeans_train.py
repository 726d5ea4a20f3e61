"""K-Means: many centres follow the data batch by batch, then Lloyd's algorithm makes k of them.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/algo-kmeans-tech-notes.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/k-means-api-config.html.
"""

import time
from functools import partial
from typing import Any, Final

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus

from loopwright.algorithms import artifacts, learning
from loopwright.algorithms.channels import Table
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.kmeans_model import NAME, KMeansModel
from loopwright.algorithms.learning import Lesson
from loopwright.algorithms.parameters import (
    AUTO,
    POSITIVE_INTEGER,
    Parameter,
    bounded,
    flag,
    one_of,
    or_auto,
    some_of,
    validate,
)
from loopwright.algorithms.recordio import Array
from loopwright.runtime.environment import Environment

CHANNELS: Final = ("train", "test", "model")
SEED: Final = 1
# What `auto` stands for.
_EXTRA_CENTRES, _TRIALS = 10, 10
# Rows that kmeans++ looks at; it needs a pass over them for each centre.
_INIT_ROWS: Final = 20_000

SCHEMA: Final[dict[str, Parameter]] = {
    "feature_dim": Parameter(POSITIVE_INTEGER, required=True),
    "k": Parameter(POSITIVE_INTEGER, required=True),
    "mini_batch_size": Parameter(POSITIVE_INTEGER, 5000),
    "init_method": Parameter(one_of("random", "kmeans++"), "random"),
    "extra_center_factor": Parameter(or_auto(POSITIVE_INTEGER), AUTO),
    "local_lloyd_max_iter": Parameter(POSITIVE_INTEGER, 300),
    "local_lloyd_tol": Parameter(bounded(float, "[0,1]"), 0.0001),
    "local_lloyd_init_method": Parameter(one_of("random", "kmeans++"), "kmeans++"),
    "local_lloyd_num_trials": Parameter(or_auto(POSITIVE_INTEGER), AUTO),
    "half_life_time_size": Parameter(bounded(int, "[0,)"), 0),
    "epochs": Parameter(POSITIVE_INTEGER, 1),
    "eval_metrics": Parameter(some_of("msd", "ssd"), ("msd",)),
    # Undocumented, but the SDK sends it; rows are dense here anyway.
    "force_dense": Parameter(flag, True),
}


def train(environment: Environment) -> None:
    """Train and write the model.

    Raises:
        CustomerError: hyperparameters, channels or content are wrong.
    """
    settings = validate(SCHEMA, environment.user_hyperparameters)
    learning.learn(environment, CHANNELS, settings["feature_dim"], partial(_fit, settings))


def _fit(settings: dict[str, Any], lesson: Lesson) -> None:
    rows, k = lesson.train.rows, settings["k"]
    if rows < k:
        raise CustomerError(f"k is {k}, but the channel train has {rows} rows; each needs one.")
    random = np.random.default_rng(SEED)
    start = _start(settings, lesson)
    if start is None:
        factor = settings["extra_center_factor"]
        factor = _EXTRA_CENTRES if factor == AUTO else factor
        start = _first_centres(settings, lesson.train, min(rows, k * factor), random)
    centres, weights = _follow(settings, lesson, start, random)
    if len(centres) > k:
        centres = _reduced(settings, centres, weights)
    model = KMeansModel(centres)
    for name, table in lesson.tables.items():
        _, distances = model.nearest(table.features)
        squares = distances.astype(np.float64) ** 2
        for metric in settings["eval_metrics"]:
            value = squares.mean() if metric == "msd" else squares.sum()
            lesson.report.loss(name, metric, value)
    artifacts.write(lesson.environment.tree.model, NAME, {}, {"centres": centres})


def _first_centres(
    settings: dict[str, Any], table: Table, count: int, random: np.random.Generator
) -> Array:
    if settings["init_method"] == "random":
        chosen = np.sort(random.choice(table.rows, count, replace=False))
        return Table(table.features[chosen], None).dense().astype(np.float64)
    looked_at = min(table.rows, max(_INIT_ROWS, count))
    chosen = np.sort(random.choice(table.rows, looked_at, replace=False))
    few = Table(table.features[chosen], None).dense().astype(np.float64)
    centres: Array = kmeans_plusplus(few, count, random_state=SEED)[0]
    return centres


def _follow(
    settings: dict[str, Any], lesson: Lesson, centres: Array, random: np.random.Generator
) -> tuple[Array, Array]:
    """Move the centres to the means of what they are nearest to; centres and their weights.

    With half_life_time_size, what was seen that many rows ago counts half.
    """
    table, batch = lesson.train, settings["mini_batch_size"]
    centres, weights = centres.copy(), np.zeros(len(centres))
    half_life = settings["half_life_time_size"]
    for epoch in range(settings["epochs"]):
        began = time.monotonic()
        order = random.permutation(table.rows)
        for first in range(0, table.rows, batch):
            rows = Table(table.features[order[first : first + batch]], None).dense()
            nearest, _ = KMeansModel(centres).nearest(rows)
            counts = np.bincount(nearest, minlength=len(centres))
            sums = np.zeros_like(centres)
            np.add.at(sums, nearest, rows)
            if half_life:
                weights *= 0.5 ** (len(rows) / half_life)
            hit = counts > 0
            whole = (weights + counts)[hit, None]
            centres[hit] = (centres[hit] * weights[hit, None] + sums[hit]) / whole
            weights += counts
        lesson.report.progress(epoch + 1, settings["epochs"])
        lesson.report.throughput(table.rows, time.monotonic() - began)
    return centres, weights


def _reduced(settings: dict[str, Any], centres: Array, weights: Array) -> Array:
    """k centres for weighted ones, by Lloyd's algorithm."""
    used = weights > 0
    if used.sum() >= settings["k"]:
        centres, weights = centres[used], weights[used]
    else:
        weights = np.maximum(weights, 1e-12)
    trials = settings["local_lloyd_num_trials"]
    local = settings["local_lloyd_init_method"]
    lloyd = KMeans(
        settings["k"],
        init="k-means++" if local == "kmeans++" else "random",
        n_init=_TRIALS if trials == AUTO else trials,
        max_iter=settings["local_lloyd_max_iter"],
        tol=settings["local_lloyd_tol"],
        random_state=SEED,
    )
    found: Array = lloyd.fit(centres, sample_weight=weights).cluster_centers_
    return found


def _start(settings: dict[str, Any], lesson: Lesson) -> Array | None:
    """The centres of the channel `model`, if there is one and they fit."""
    content = artifacts.earlier(lesson.environment, NAME)
    if content is None:
        return None
    centres = content[1]["centres"]
    wanted = (settings["k"], lesson.train.columns)
    if centres.shape != wanted:
        raise CustomerError(
            f"The model of the channel model has {centres.shape[0]} centres of {centres.shape[1]} "
            f"features, but k is {wanted[0]} and the channel train has {wanted[1]} features."
        )
    return centres
