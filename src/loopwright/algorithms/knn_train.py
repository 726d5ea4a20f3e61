"""k-NN: a sample of the training rows, perhaps with fewer dimensions, is the index.

Every index type is answered by an exact search: IVF and PQ indexes find the same or worse
neighbours sooner, which is of no use at the sizes of one machine.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/kNN_hyperparameters.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/kNN_how-it-works.html.
"""

import time
from functools import partial
from typing import Any, Final

import numpy as np

from loopwright.algorithms import knn_projection, learning
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.knn_model import CLASSIFIER, KnnModel
from loopwright.algorithms.learning import Lesson
from loopwright.algorithms.parameters import (
    AUTO,
    POSITIVE_INTEGER,
    Parameter,
    one_of,
    or_auto,
    text_of,
    validate,
    wrong,
)
from loopwright.runtime.environment import Environment

CHANNELS: Final = ("train", "test")
SEED: Final = 1
_PARTS: Final = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)
_QUANTIZED: Final = "faiss.IVFPQ"


def _parts(name: str, value: Any) -> int:
    if text_of(value) not in map(str, _PARTS):
        raise wrong(name, value, f"must be one of {', '.join(map(str, _PARTS))}")
    return int(value)


SCHEMA: Final[dict[str, Parameter]] = {
    "feature_dim": Parameter(POSITIVE_INTEGER, required=True),
    "k": Parameter(POSITIVE_INTEGER, required=True),
    "predictor_type": Parameter(one_of(CLASSIFIER, "regressor"), required=True),
    "sample_size": Parameter(POSITIVE_INTEGER, required=True),
    "mini_batch_size": Parameter(POSITIVE_INTEGER, 5000),
    "dimension_reduction_type": Parameter(one_of("sign", "fjlt")),
    "dimension_reduction_target": Parameter(POSITIVE_INTEGER),
    "index_type": Parameter(one_of("faiss.Flat", "faiss.IVFFlat", _QUANTIZED), "faiss.Flat"),
    "index_metric": Parameter(one_of("L2", "INNER_PRODUCT", "COSINE"), "L2"),
    "faiss_index_ivf_nlists": Parameter(or_auto(POSITIVE_INTEGER), AUTO),
    "faiss_index_pq_m": Parameter(_parts),
}


def train(environment: Environment) -> None:
    """Train and write the model.

    Raises:
        CustomerError: hyperparameters, channels or content are wrong.
    """
    settings = validate(SCHEMA, environment.user_hyperparameters)
    _check_together(settings)
    learning.learn(
        environment, CHANNELS, settings["feature_dim"], partial(_fit, settings), supervised=True
    )


def _check_together(settings: dict[str, Any]) -> None:
    target, columns = settings["dimension_reduction_target"], settings["feature_dim"]
    kind = settings["dimension_reduction_type"]
    if kind and target is None:
        raise CustomerError(
            "The hyperparameter dimension_reduction_target is required with "
            "dimension_reduction_type."
        )
    if target is not None and not kind:
        raise CustomerError(
            f"dimension_reduction_target is {target}, but there is no dimension_reduction_type."
        )
    if target is not None and target >= columns:
        rule = f"must be between 0 and feature_dim, {columns}, exclusive"
        raise wrong("dimension_reduction_target", target, rule)
    if settings["index_type"] == _QUANTIZED:
        if settings["index_metric"] != "L2":
            raise CustomerError(
                f"index_metric is {settings['index_metric']}; index_type {_QUANTIZED} has L2 only."
            )
        if settings["faiss_index_pq_m"] is None:
            raise CustomerError(
                f"The hyperparameter faiss_index_pq_m is required for index_type {_QUANTIZED}."
            )
    if settings["k"] > settings["sample_size"]:
        raise wrong("k", settings["k"], f"must be at most sample_size, {settings['sample_size']}")


def _fit(settings: dict[str, Any], lesson: Lesson) -> None:
    lesson.labelled(*learning.ROW_CHANNELS)
    train, k = lesson.train, settings["k"]
    if train.rows < k:
        raise CustomerError(f"k is {k}, but the channel train has {train.rows} rows.")
    random = np.random.default_rng(SEED)
    began = time.monotonic()
    count = min(train.rows, settings["sample_size"])
    chosen = np.sort(random.choice(train.rows, count, replace=False))
    projection = knn_projection.draw(
        settings["dimension_reduction_type"],
        train.columns,
        settings["dimension_reduction_target"] or train.columns,
        random,
    )
    assert train.labels is not None
    points = projection.apply(train.features[chosen]).astype(np.float32)
    model = KnnModel(
        columns=train.columns,
        kind=settings["predictor_type"],
        k=k,
        metric=settings["index_metric"],
        points=points,
        labels=train.labels[chosen],
        projection=projection,
    )
    if settings["index_type"] != "faiss.Flat":
        lesson.report.say(f"index_type {settings['index_type']} is answered by an exact search.")
    lesson.report.progress(1, 1)
    lesson.report.throughput(train.rows, time.monotonic() - began)
    _test(model, lesson)
    model.write(lesson.environment.tree.model)


def _test(model: KnnModel, lesson: Lesson) -> None:
    table = lesson.tables.get("test")
    if table is None:
        return
    predicted = model.predict(table.features)["predicted_label"]
    if model.kind == CLASSIFIER:
        name, value = "accuracy", float((predicted == table.labels).mean())
        lesson.report.score("test", name, value)
    else:
        name, value = "mse", float(((predicted - table.labels) ** 2).mean())
        lesson.report.loss("test", name, value)
    lesson.report.say(f"#test_score ({lesson.report.host}) : ({name!r}, {value!r})")
