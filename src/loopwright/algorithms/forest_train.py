"""Random Cut Forest: trees of random cuts over samples of the rows.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/rcf_hyperparameters.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/rcf_how-it-works.html.
"""

import time
from functools import partial
from typing import Any, Final

import numpy as np
from sklearn import metrics

from loopwright.algorithms import artifacts, learning
from loopwright.algorithms.channels import Table
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.forest_model import LEAF, NAME, Forest
from loopwright.algorithms.learning import Lesson
from loopwright.algorithms.parameters import (
    POSITIVE_INTEGER,
    Parameter,
    bounded,
    flag,
    some_of,
    validate,
)
from loopwright.algorithms.recordio import Array
from loopwright.runtime.environment import Environment

CHANNELS: Final = ("train", "test")
SEED: Final = 1
# A row is called an anomaly that many standard deviations above the mean score, as documented.
_DEVIATIONS: Final = 3.0
_SCORED_ROWS: Final = 2000
_METRICS: Final = ("accuracy", "precision_recall_fscore")

SCHEMA: Final[dict[str, Parameter]] = {
    "feature_dim": Parameter(bounded(int, "[1,10000]"), required=True),
    "eval_metrics": Parameter(some_of(*_METRICS), _METRICS),
    "num_samples_per_tree": Parameter(bounded(int, "[1,2048]"), 256),
    "num_trees": Parameter(bounded(int, "[50,1000]"), 100),
    # Undocumented, but the SDK sends them.
    "mini_batch_size": Parameter(POSITIVE_INTEGER, 1000),
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
    lesson.labelled("test")
    random = np.random.default_rng(SEED)
    began = time.monotonic()
    forest = grow(lesson.train, settings["num_trees"], settings["num_samples_per_tree"], random)
    lesson.report.progress(1, 1)
    lesson.report.throughput(lesson.train.rows, time.monotonic() - began)
    if "test" in lesson.tables:
        _test(forest, lesson, settings, random)
    arrays = {name: getattr(forest, name) for name in Forest.__dataclass_fields__}
    artifacts.write(lesson.environment.tree.model, NAME, {}, arrays)


def _test(
    forest: Forest, lesson: Lesson, settings: dict[str, Any], random: np.random.Generator
) -> None:
    table, report = lesson.tables["test"], lesson.report
    assert table.labels is not None
    if not np.isin(table.labels, (0, 1)).all():
        raise CustomerError("In the channel test the label must be 0 (normal) or 1 (anomalous).")
    usual = lesson.train
    if usual.rows > _SCORED_ROWS:
        chosen = np.sort(random.choice(usual.rows, _SCORED_ROWS, replace=False))
        usual = Table(usual.features[chosen], None)
    scores = forest.score(usual.dense().astype(np.float64))
    limit = scores.mean() + _DEVIATIONS * scores.std()
    report.say(f"Scores above {limit:.6g} count as anomalies: the mean and three deviations.")
    labels = table.labels.astype(int)
    predicted = (forest.score(table.dense().astype(np.float64)) > limit).astype(int)
    if "accuracy" in settings["eval_metrics"]:
        report.score("test", "accuracy", (predicted == labels).mean())
    if "precision_recall_fscore" in settings["eval_metrics"]:
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            labels, predicted, average="binary", zero_division=0.0
        )
        for name, value in (("precision", precision), ("recall", recall), ("f1", f1)):
            report.score("test", name, value)


def grow(table: Table, trees: int, samples: int, random: np.random.Generator) -> Forest:
    """A forest over samples of the rows.

    Each tree has its own part of one sample, as documented; where the rows are too few for that,
    each tree has a sample of its own.
    """
    rows = table.rows
    size = min(samples, rows)
    if rows >= trees * size:
        whole = random.choice(rows, trees * size, replace=False).reshape(trees, size)
    else:
        whole = np.stack([random.choice(rows, size, replace=False) for _ in range(trees)])
    nodes = _Nodes()
    roots = []
    for chosen in whole:
        points = Table(table.features[np.sort(chosen)], None).dense().astype(np.float64)
        roots.append(nodes.grow(points, random))
    return nodes.forest(np.array(roots), np.full(trees, size))


class _Nodes:
    """Nodes of all trees so far."""

    def __init__(self) -> None:
        self._axis: list[int] = []
        self._cut: list[float] = []
        self._children: list[list[int]] = []
        self._mass: list[int] = []
        self._low: list[Array] = []
        self._high: list[Array] = []

    def grow(self, points: Array, random: np.random.Generator) -> int:
        """Add a tree; its root."""
        root = self._add(points)
        open_nodes = [(root, points)]
        while open_nodes:
            node, part = open_nodes.pop()
            spans = self._high[node] - self._low[node]
            total = spans.sum()
            if not total > 0:
                continue
            # A place on all sides laid end to end is a side and a cut at once.
            ends = np.cumsum(spans)
            axis = int(np.searchsorted(ends, random.random() * ends[-1], side="right"))
            axis = min(axis, len(spans) - 1)
            low, high = self._low[node][axis], self._high[node][axis]
            cut = low + random.random() * (high - low)
            below = part[:, axis] <= cut
            if below.all() or not below.any():
                # Rounding put the cut on the edge.
                cut = low
                below = part[:, axis] <= cut
                if below.all():
                    continue
            self._axis[node], self._cut[node] = axis, float(cut)
            for side, chosen in enumerate((below, ~below)):
                child = self._add(part[chosen])
                self._children[node][side] = child
                open_nodes.append((child, part[chosen]))
        return root

    def _add(self, points: Array) -> int:
        self._axis.append(LEAF)
        self._cut.append(0.0)
        self._children.append([LEAF, LEAF])
        self._mass.append(len(points))
        self._low.append(points.min(axis=0))
        self._high.append(points.max(axis=0))
        return len(self._axis) - 1

    def forest(self, roots: Array, masses: Array) -> Forest:
        children = np.array(self._children, np.int64)
        return Forest(
            roots=roots,
            masses=masses,
            axis=np.array(self._axis, np.int64),
            cut=np.array(self._cut),
            left=children[:, 0],
            right=children[:, 1],
            mass=np.array(self._mass, np.int64),
            low=np.stack(self._low),
            high=np.stack(self._high),
        )
