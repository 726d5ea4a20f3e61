"""The Linear Learner: several linear models side by side, of which the best is kept.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/linear-learner.html and
ll_how-it-works.html.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]

from loopwright.algorithms import (
    artifacts,
    learning,
    linear_parameters,
    linear_scores,
)
from loopwright.algorithms.channels import Table
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.learning import Lesson
from loopwright.algorithms.linear_losses import LOSSES
from loopwright.algorithms.linear_model import NAME, LinearModel, model_of
from loopwright.algorithms.linear_optimizers import Grid, Optimizer, grid
from loopwright.algorithms.linear_parameters import BINARY, MULTICLASS
from loopwright.algorithms.linear_scaling import Scaling, measure
from loopwright.algorithms.parameters import AUTO
from loopwright.algorithms.recordio import Array
from loopwright.runtime.environment import Environment, cpu_count

CHANNELS: Final = ("train", "validation", "test", "model")
SEED: Final = 1
# Rows that the best model and its threshold are chosen by, where the number is left to us.
_CALIBRATION_ROWS: Final = 20_000
# Scores that all models together may have for the rows that they are judged by.
_JUDGED_SCORES: Final = 20_000_000
_LEAST_JUDGED_ROWS: Final = 500
# Multiplications of a batch from which on threads pay.
_SHARED_WORK: Final = 200_000_000


@dataclass
class _Best:
    """The best model so far, for scaled data."""

    weights: Array
    bias: Array
    value: float
    loss: float
    epoch: int


def train(environment: Environment) -> None:
    """Train and write the model.

    Raises:
        CustomerError: hyperparameters, channels or content are wrong.
    """
    settings = linear_parameters.check(environment.user_hyperparameters)
    columns = None if settings["feature_dim"] == AUTO else settings["feature_dim"]
    learning.learn(environment, CHANNELS, columns, partial(_fit, settings), supervised=True)


def _fit(settings: dict[str, Any], lesson: Lesson) -> None:
    lesson.labelled(*learning.ROW_CHANNELS)
    for name, table in lesson.tables.items():
        _check_labels(name, table, settings)
    labels = _labels(lesson.train)
    scaling = measure(settings, lesson.train, labels, SEED)
    start = _start(settings, lesson)
    tuned = "_tuning_objective_metric" in lesson.environment.hyperparameters
    positive = max(float((labels > 0).mean()), 1e-9)
    models = grid(settings, (1.0 - positive) / positive, one=tuned)
    with threadpoolctl.threadpool_limits(_threads(settings, lesson, models)):
        best = _Fitting(settings, lesson, scaling, models).run(start)
    weights, bias = scaling.out(best.weights, best.bias)
    model = LinearModel(settings["predictor_type"], settings["loss"], weights, bias, 0.0)
    model = _with_threshold(model, settings, lesson)
    for name, table in lesson.tables.items():
        scores, given = model.scores(table.features), _labels(table)
        loss, log_name = LOSSES[settings["loss"]]
        value, _ = loss(scores[:, None, :], _targets(given, settings)[:, None, :], settings)
        lesson.report.loss(name, log_name, value.mean())
        linear_scores.report(lesson.report, name, scores - model.threshold, given, settings)
    model.write(lesson.environment.tree.model)


def _threads(settings: dict[str, Any], lesson: Lesson, models: Grid) -> int:
    """Threads for the products; several take longer than one where the batches are small."""
    outputs = models.models * (settings["num_classes"] or 1)
    batch = min(settings["mini_batch_size"], lesson.train.rows)
    return cpu_count() if batch * lesson.train.columns * outputs > _SHARED_WORK else 1


class _Fitting:
    """One run of the epochs."""

    def __init__(
        self, settings: dict[str, Any], lesson: Lesson, scaling: Scaling, models: Grid
    ) -> None:
        self._settings, self._lesson, self._models = settings, lesson, models
        self._scaling = scaling
        self._features = scaling.features(lesson.train.features)
        labels = _labels(lesson.train)
        self._labels = scaling.labels(labels)
        self._example_weights = _class_weights(labels, settings)
        self._loss, self._loss_name = LOSSES[settings["loss"]]
        # Errors are measured in units of the label, but the optimizer sees scaled ones.
        scaled = {name: settings[name] / scaling.label_spread for name in _OF_LABELS}
        self._scaled_settings = {**settings, **scaled}
        self._random = np.random.default_rng(SEED)
        held = lesson.tables.get("validation", lesson.train)
        outputs = models.models * (settings["num_classes"] or 1)
        most = max(_LEAST_JUDGED_ROWS, _JUDGED_SCORES // outputs)
        self._judged = _sample(held, settings, self._random, most)
        self._judged_features = scaling.features(self._judged.features)

    def run(self, start: LinearModel | None) -> _Best:
        """Train until the epochs are over or nothing improves; the best model of all epochs."""
        settings, report = self._settings, self._lesson.report
        weights, bias = self._initial(start)
        batches = -(-self._lesson.train.rows // settings["mini_batch_size"])
        optimizer = Optimizer(settings, self._models, weights, bias, batches)
        best: _Best | None = None
        waited = 0
        for epoch in range(settings["epochs"]):
            began = time.monotonic()
            train_losses = self._pass(weights, bias, optimizer)
            improved, best = self._judge(epoch, weights, bias, train_losses, best)
            report.progress(epoch + 1, settings["epochs"])
            report.throughput(self._lesson.train.rows, time.monotonic() - began)
            waited = 0 if improved else waited + 1
            if waited >= settings["early_stopping_patience"]:
                report.say(f"Early stopping condition met after epoch {epoch}.")
                break
        assert best is not None
        report.say(f"The best model is of epoch {best.epoch}.")
        return best

    def _initial(self, start: LinearModel | None) -> tuple[Array, Array]:
        settings, models = self._settings, self._models.models
        shape = (self._features.shape[1], models, settings["num_classes"] or 1)
        if start is not None:
            weights, bias = self._scaling.into(start.weights, start.bias)
            return (
                np.repeat(weights[:, None, :], models, axis=1),
                np.repeat(bias[None, :], models, axis=0),
            )
        if settings["init_method"] == "uniform":
            scale = settings["init_scale"]
            weights = self._random.uniform(-scale, scale, shape)
        else:
            weights = self._random.normal(0.0, settings["init_sigma"], shape)
        use = settings["init_bias"] if settings["use_bias"] else 0.0
        return weights, np.full(shape[1:], use)

    def _pass(self, weights: Array, bias: Array, optimizer: Optimizer) -> Array:
        """One epoch; the mean loss of each model on the way, shape (models,)."""
        rows = self._lesson.train.rows
        total = np.zeros(self._models.models)
        for chosen in _batches(rows, self._settings["mini_batch_size"], self._random):
            part = self._features[chosen]
            targets = _targets(self._labels[chosen], self._settings)[:, None, :]
            scores = _scores(part, weights, bias)
            values, slopes = self._loss(scores, targets, self._scaled_settings)
            importance = self._importance(chosen, targets)
            total += (values * importance[..., 0]).sum(axis=0)
            slopes = slopes * importance / len(chosen)
            flat = part.T @ slopes.reshape(len(chosen), -1)
            optimizer.step(np.asarray(flat).reshape(weights.shape), slopes.sum(axis=0))
        return total / rows

    def _importance(self, chosen: Array, targets: Array) -> Array:
        """Weights of examples, shape (rows, models, 1)."""
        own = self._example_weights[chosen][:, None, None]
        if self._settings["predictor_type"] != BINARY:
            return np.broadcast_to(own, (len(chosen), self._models.models, 1))
        found: Array = own * np.where(targets > 0, self._models.positive_weights[:, None], 1.0)
        return found

    def _judge(
        self, epoch: int, weights: Array, bias: Array, train_losses: Array, best: _Best | None
    ) -> tuple[bool, _Best]:
        """Whether this epoch has the best model so far, and which that is now."""
        settings, report = self._settings, self._lesson.report
        labels = _labels(self._judged)
        scores = _scores(self._judged_features, weights, bias)
        targets = _targets(self._scaling.labels(labels), settings)[:, None, :]
        losses = self._loss(scores, targets, self._scaled_settings)[0].mean(axis=0)
        if not np.isfinite(losses).any():
            raise CustomerError(
                "The loss is no finite number any more; use a smaller learning_rate or "
                "normalize_data."
            )
        losses = np.where(np.isfinite(losses), losses, np.inf)
        values = -losses
        if settings["predictor_type"] == BINARY and _by_threshold(settings):
            values, _ = linear_scores.calibrate(scores[..., 0], labels, settings)
        chosen = int(np.lexsort((losses, -values))[0])
        report.loss("train", self._loss_name, train_losses[chosen], epoch)
        if "validation" in self._lesson.tables:
            report.loss("validation", self._loss_name, losses[chosen], epoch)
        value, loss = float(values[chosen]), float(losses[chosen])
        if best is not None and (value, -loss) <= (best.value, -best.loss):
            return False, best
        now = _Best(weights[:, chosen].copy(), bias[chosen].copy(), value, loss, epoch)
        return best is None or self._improved(best, now), now

    def _improved(self, before: _Best, now: _Best) -> bool:
        tolerance = self._settings["early_stopping_tolerance"]
        gain = (now.value - before.value) / max(abs(before.value), 1e-12)
        saving = (before.loss - now.loss) / max(abs(before.loss), 1e-12)
        return bool(gain > tolerance or saving > tolerance)


_OF_LABELS: Final = ("huber_delta", "loss_insensitivity")


def _scores(features: Any, weights: Array, bias: Array) -> Array:
    flat = np.asarray(features @ weights.reshape(weights.shape[0], -1))
    found: Array = flat.reshape(-1, *weights.shape[1:]) + bias
    return found


def _batches(rows: int, size: int, random: np.random.Generator) -> Iterator[Array]:
    order = random.permutation(rows)
    for first in range(0, rows, size):
        yield order[first : first + size]


def _sample(
    table: Table, settings: dict[str, Any], random: np.random.Generator, most: int
) -> Table:
    """Rows to choose a model or its threshold by: `most` of them if the number is left to us."""
    count = settings["num_calibration_samples"]
    count = most if count == AUTO else count
    if table.rows <= count:
        return table
    chosen = np.sort(random.choice(table.rows, count, replace=False))
    return Table(table.features[chosen], _labels(table)[chosen])


def _with_threshold(model: LinearModel, settings: dict[str, Any], lesson: Lesson) -> LinearModel:
    if settings["predictor_type"] != BINARY or not _by_threshold(settings):
        return model
    held = lesson.tables.get("validation", lesson.train)
    held = _sample(held, settings, np.random.default_rng(SEED), _CALIBRATION_ROWS)
    _, thresholds = linear_scores.calibrate(model.scores(held.features), _labels(held), settings)
    return LinearModel(model.kind, model.loss, model.weights, model.bias, float(thresholds[0]))


def _by_threshold(settings: dict[str, Any]) -> bool:
    return bool(settings["binary_classifier_model_selection_criteria"] != "loss_function")


def _labels(table: Table) -> Array:
    assert table.labels is not None
    return table.labels.astype(np.float64)


def _targets(labels: Array, settings: dict[str, Any]) -> Array:
    """Labels as the losses take them, shape (rows, outputs)."""
    if settings["predictor_type"] != MULTICLASS:
        return labels[:, None]
    found: Array = np.eye(settings["num_classes"])[labels.astype(int)]
    return found


def _class_weights(labels: Array, settings: dict[str, Any]) -> Array:
    if settings["predictor_type"] != MULTICLASS or not settings["balance_multiclass_weights"]:
        return np.ones(len(labels))
    counts = np.bincount(labels.astype(int), minlength=settings["num_classes"])
    found: Array = (len(labels) / np.count_nonzero(counts) / np.maximum(counts, 1))[
        labels.astype(int)
    ]
    return found


def _check_labels(name: str, table: Table, settings: dict[str, Any]) -> None:
    labels = _labels(table)
    if not np.isfinite(labels).all():
        raise CustomerError(f"The channel {name} has a label that is no finite number.")
    if settings["predictor_type"] == BINARY:
        high, rule = 1, "0 or 1"
    elif settings["predictor_type"] == MULTICLASS:
        high = settings["num_classes"] - 1
        rule = f"whole numbers from 0 to num_classes - 1, which is {high}"
    else:
        return
    wrong = (labels < 0) | (labels > high) | (labels != np.floor(labels))
    if wrong.any():
        raise CustomerError(
            f"In the channel {name} the label must be {rule} for {settings['predictor_type']}, but "
            f"one is {labels[wrong][0]:g}."
        )


def _start(settings: dict[str, Any], lesson: Lesson) -> LinearModel | None:
    """The model of the channel `model`, if its shape fits."""
    content = artifacts.earlier(lesson.environment, NAME)
    if content is None:
        return None
    model = model_of(content)
    outputs = settings["num_classes"] or 1
    if model.kind != settings["predictor_type"]:
        raise CustomerError(
            f"The model of the channel model is a {model.kind}, but predictor_type is "
            f"{settings['predictor_type']}."
        )
    if model.weights.shape != (lesson.train.columns, outputs):
        rows, classes = model.weights.shape
        raise CustomerError(
            f"The model of the channel model has {rows} features and {classes} outputs, but the "
            f"channel train has {lesson.train.columns} features and needs {outputs} outputs."
        )
    return model
