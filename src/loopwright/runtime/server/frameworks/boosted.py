"""XGBoost: its default hooks in script mode, and the built-in algorithm's way of answering.

The built-in way follows algorithm_mode/serve.py of the public sagemaker-xgboost-container: CSV or
libsvm in; CSV lines, JSON `{"predictions": [{"score": ...}]}` or JSON lines out.
"""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.server import codecs, sparse
from loopwright.runtime.server.exchange import RequestRefused
from loopwright.runtime.server.frameworks.base import Array, Framework, RowPredict

MODEL_NAME = "xgboost-model"
_LIBSVM_TYPES = ("text/libsvm", "text/x-libsvm", "libsvm")
_CSV_TYPES = ("text/csv", "csv")


def load_booster(folder: Path) -> Any:
    """The booster in `folder`/xgboost-model: saved by XGBoost, or pickled by older containers.

    Raises:
        UnitFailure: there is no such file, or it is not a booster.
    """
    path = folder / MODEL_NAME
    if not path.is_file():
        there = ", ".join(sorted(found.name for found in folder.iterdir())) or "nothing"
        raise UnitFailure(f"{folder} has no file {MODEL_NAME}; it holds {there}.")
    content = path.read_bytes()
    if content[:1] == b"\x80":
        model = pickle.loads(content)
    else:
        model = xgboost.Booster()
        try:
            model.load_model(bytearray(content))
        except xgboost.core.XGBoostError as error:
            raise UnitFailure(f"{path} is not an XGBoost model: {error}") from error
    # Single predictions are too short to share among threads.
    model.set_param({"nthread": 1})
    return model


def booster_rows(booster: Any) -> RowPredict:
    """The booster as a function of rows, without making a DMatrix where that is possible."""
    width = booster.num_features()

    def predict(rows: Array) -> Any:
        _check_width(rows.shape[1], width)
        return booster.inplace_predict(rows, validate_features=False)

    def predict_linear(rows: Array) -> Any:
        _check_width(rows.shape[1], width)
        return booster.predict(xgboost.DMatrix(rows), validate_features=False)

    try:
        predict(np.zeros((1, width)))
    except xgboost.core.XGBoostError:
        # Linear boosters cannot predict in place.
        return predict_linear
    return predict


def _check_width(columns: int, width: int) -> None:
    if columns != width:
        raise RequestRefused(
            400, f"The rows have {columns} features; the model was trained with {width}."
        )


class Script(Framework):
    """Script mode: a DMatrix for predict_fn, encoded arrays for the client."""

    def load(self, folder: Path) -> Any:
        return load_booster(folder)

    def read(self, body: bytes, media: str, model: Any) -> Any:
        if isinstance(model, xgboost.XGBModel):
            return codecs.decode(body, media)
        if media in _LIBSVM_TYPES:
            return xgboost.DMatrix(_libsvm(body, None))
        return xgboost.DMatrix(codecs.decode(body, media))

    def predict(self, content: Any, model: Any) -> Any:
        if isinstance(content, xgboost.DMatrix):
            return model.predict(content, validate_features=False)
        return model.predict(content)

    def rows(self, model: Any) -> RowPredict | None:
        if type(model) is xgboost.Booster:
            return booster_rows(model)
        if type(model).__module__ == "xgboost.sklearn":
            predict: RowPredict = model.predict
            return predict
        return None


class Algorithm(Framework):
    """The built-in algorithm."""

    accept = codecs.CSV
    accepts = (codecs.CSV, codecs.JSON, codecs.JSON_LINES)
    value_accepts = accepts
    empty_status = 204

    def load(self, folder: Path) -> Any:
        if os.environ.get("SAGEMAKER_INFERENCE_OUTPUT"):
            raise UnitFailure(
                "SAGEMAKER_INFERENCE_OUTPUT (selectable inference) is not supported by this "
                "runtime; remove it, or write the answer yourself in an output_fn."
            )
        return load_booster(folder)

    def read(self, body: bytes, media: str, model: Any) -> Any:
        if media in _LIBSVM_TYPES:
            return _libsvm(body, model.num_features())
        if media in (*_CSV_TYPES, codecs.JSON):
            table = codecs.decode(body, codecs.CSV if media in _CSV_TYPES else media)
            if table.dtype.kind not in "fiu" or table.ndim != 2:
                raise RequestRefused(400, "The body must hold rows of numbers.")
            return table.astype(np.float64)
        known = ", ".join((*_CSV_TYPES[:1], *_LIBSVM_TYPES[:2], codecs.JSON))
        raise RequestRefused(415, f"The content type {media!r} is not supported; use {known}.")

    def predict(self, content: Any, model: Any) -> Any:
        if isinstance(content, np.ndarray):
            _check_width(content.shape[1], model.num_features())
        return model.predict(xgboost.DMatrix(content), validate_features=False)

    def write(self, prediction: Any, accept: str) -> bytes:
        return self.write_values(prediction.tolist(), accept)

    def write_values(self, values: list[Any], accept: str) -> bytes:
        if accept == codecs.CSV:
            return codecs.encode_values(values, accept)
        scores = [{"score": value} for value in values]
        if accept == codecs.JSON:
            return codecs.encode_values({"predictions": scores}, accept)
        return codecs.encode_values(scores, accept)

    def rows(self, model: Any) -> RowPredict | None:
        return booster_rows(model)


def _libsvm(body: bytes, columns: int | None) -> Any:
    try:
        return sparse.from_libsvm(body, columns)
    except ValueError as error:
        raise RequestRefused(400, f"The body is not valid libsvm: {error}.") from error


framework = Script()
algorithm = Algorithm()
