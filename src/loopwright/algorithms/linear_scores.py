"""How good the models of the Linear Learner are: the threshold of two classes, and the metrics.

Source of the metrics' names: https://docs.aws.amazon.com/sagemaker/latest/dg/
linear-learner-tuning.html.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn import metrics

from loopwright.algorithms.linear_parameters import BINARY, MULTICLASS
from loopwright.algorithms.recordio import Array
from loopwright.algorithms.report import Report


def calibrate(scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array]:
    """The best threshold of each model by binary_classifier_model_selection_criteria.

    Args:
        scores: Shape (rows, models); an example is positive above the threshold.
        labels: 0 or 1, shape (rows,).
        settings: Checked hyperparameters.
    Returns:
        The criterion's value and the threshold, each of shape (models,).
    """
    count = len(labels)
    order = np.argsort(-scores, axis=0, kind="stable")
    falling = np.take_along_axis(scores, order, axis=0)
    hits = np.cumsum(labels[order], axis=0)
    taken = np.arange(1, count + 1)[:, None]
    none = np.zeros((1, scores.shape[1]))
    right, wrong = np.vstack([none, hits]), np.vstack([none, taken - hits])
    values = _criterion(right, wrong, labels, settings)
    # Between equal scores there is no threshold.
    values[1:-1][falling[1:] == falling[:-1]] = -np.inf
    between = (falling[1:] + falling[:-1]) / 2
    thresholds = np.vstack([falling[:1] + 1.0, between, falling[-1:] - 1.0])
    best = values.max(axis=0)
    # Of equally good ones the most central, which is the least fitted to the sample.
    distance = np.where(values >= best - 1e-12, np.abs(thresholds), np.inf)
    chosen = distance.argmin(axis=0)
    found: Array = np.take_along_axis(thresholds, chosen[None], axis=0)[0]
    neutral = _at_zero(scores, labels, settings)
    return best, np.where(neutral >= best - 1e-12, 0.0, found)


def _at_zero(scores: Array, labels: Array, settings: Mapping[str, Any]) -> Array:
    positive = scores > 0
    right = (positive & (labels[:, None] > 0)).sum(axis=0)[None]
    wrong = (positive & (labels[:, None] <= 0)).sum(axis=0)[None]
    found: Array = _criterion(right, wrong, labels, settings)[0]
    return found


def _criterion(right: Array, wrong: Array, labels: Array, settings: Mapping[str, Any]) -> Array:
    """The value for so many true (`right`) and false (`wrong`) positives."""
    positives = max(float(labels.sum()), 1e-12)
    chosen = settings["binary_classifier_model_selection_criteria"]
    recall = right / positives
    precision = np.where(right + wrong > 0, right / np.maximum(right + wrong, 1), 0.0)
    if chosen == "f_beta":
        square = settings["f_beta"] ** 2
        below = np.maximum(square * precision + recall, 1e-12)
        found: Array = (1 + square) * precision * recall / below
        return found
    if chosen == "precision_at_target_recall":
        return np.where(recall >= settings["target_recall"], precision, recall - 2.0)
    if chosen == "recall_at_target_precision":
        return np.where(precision >= settings["target_precision"], recall, precision - 2.0)
    whole: Array = (right + len(labels) - positives - wrong) / len(labels)
    return whole


def report(
    log: Report, channel: str, scores: Array, labels: Array, settings: Mapping[str, Any]
) -> None:
    """Write the metrics of the final model.

    Args:
        log: The job's.
        channel: train, validation or test.
        scores: Shape (rows, outputs); of two classes, above 0 means positive.
        labels: As given, shape (rows,).
        settings: Checked hyperparameters.
    """
    kind, beta = settings["predictor_type"], settings["f_beta"]
    if kind == BINARY:
        predicted = scores[:, 0] > 0
        log.score(channel, "binary_classification_accuracy", (predicted == labels).mean())
        precision, recall, f_beta = _averages(labels, predicted, beta, average="binary")
        log.score(channel, f"binary_f_{beta:.3f}", f_beta)
        log.score(channel, "precision", precision)
        log.score(channel, "recall", recall)
        if len(np.unique(labels)) == 2:
            log.score(channel, "roc_auc_score", metrics.roc_auc_score(labels, scores[:, 0]))
    elif kind == MULTICLASS:
        _report_classes(log, channel, scores, labels, settings)
    else:
        errors = scores[:, 0] - labels
        log.loss(channel, "mse", (errors**2).mean())
        log.loss(channel, "absolute_loss", np.abs(errors).mean())


def _report_classes(
    log: Report, channel: str, scores: Array, labels: Array, settings: Mapping[str, Any]
) -> None:
    own = np.take_along_axis(scores, labels.astype(int)[:, None], axis=1)
    ranks = 1 + (scores > own).sum(axis=1)
    top, beta = settings["accuracy_top_k"], settings["f_beta"]
    predicted = scores.argmax(axis=1)
    log.score(channel, "multiclass_accuracy", (predicted == labels).mean())
    log.score(channel, f"multiclass_top_k_accuracy_{top}", (ranks <= top).mean())
    log.score(channel, "dcg", (1.0 / np.log2(ranks + 1)).mean())
    precision, recall, f_beta = _averages(labels, predicted, beta, average="macro")
    log.score(channel, "macro_recall", recall)
    log.score(channel, "macro_precision", precision)
    log.score(channel, f"macro_f_{beta:.3f}", f_beta)


def _averages(labels: Array, predicted: Array, beta: float, average: str) -> tuple[Any, Any, Any]:
    precision, recall, f_beta, _ = metrics.precision_recall_fscore_support(
        labels.astype(int), predicted.astype(int), beta=beta, average=average, zero_division=0.0
    )
    return precision, recall, f_beta
