"""Requests and answers of the built-in algorithms that predict for rows.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html.
"""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from loopwright.algorithms import recordio
from loopwright.algorithms.recordio import VALUES, Array, Record, RecordError, Tensor
from loopwright.runtime.server import codecs
from loopwright.runtime.server.exchange import RequestRefused
from loopwright.runtime.server.frameworks.base import Framework, RowPredict

Columns = dict[str, Array]
"""A prediction: name -> one value (rows,) or one vector (rows, n) for each row."""

_READ = (codecs.CSV, codecs.JSON, codecs.JSON_LINES, recordio.MEDIA)


class RowAlgorithm(Framework):
    """A model with `columns` and `predict(rows) -> Columns`.

    Attributes:
        list_name: The member of a JSON answer that holds the predictions.
    """

    accept = codecs.JSON
    accepts: tuple[str, ...] = (codecs.JSON, codecs.JSON_LINES, recordio.MEDIA, codecs.CSV)
    value_accepts = (codecs.JSON, codecs.JSON_LINES, codecs.CSV)
    list_name = "predictions"

    def read(self, body: bytes, media: str, model: Any) -> Array:
        rows = rows_of(body, media, model.columns)
        check_width(rows.shape[1], model.columns)
        return rows

    def predict(self, content: Any, model: Any) -> Columns:
        found: Columns = model.predict(content)
        return found

    def write(self, prediction: Any, accept: str) -> bytes:
        if accept == recordio.MEDIA:
            return _as_records(prediction)
        return self.write_values(_as_rows(prediction).tolist(), accept)

    def write_values(self, values: list[Any], accept: str) -> bytes:
        if accept == codecs.JSON:
            return codecs.encode_values({self.list_name: values}, accept)
        if accept == codecs.CSV:
            return codecs.encode_values([_flat(value.values()) for value in values], accept)
        return codecs.encode_values(values, accept)

    def rows(self, model: Any) -> RowPredict | None:
        def predict(rows: Array) -> Any:
            check_width(rows.shape[1], model.columns)
            return _as_rows(model.predict(rows))

        return predict


def check_width(columns: int, width: int) -> None:
    """Refuse rows that the model cannot take.

    Raises:
        RequestRefused: 400.
    """
    if columns != width:
        raise RequestRefused(
            400, f"The rows have {columns} features; the model was trained with {width}."
        )


def rows_of(body: bytes, media: str, columns: int) -> Array:
    """The rows of a request, shape (rows, columns), float64.

    Args:
        body: As received.
        media: Its media type.
        columns: The model's; what sparse rows without a shape are widened to.
    Raises:
        RequestRefused: 415 for another content type, 400 for a body that is not of it.
    """
    if media not in _READ:
        known = ", ".join(_READ)
        raise RequestRefused(415, f"The content type {media!r} is not supported; use {known}.")
    if media == codecs.CSV:
        return _numbers(codecs.decode(body, media))
    try:
        if media == recordio.MEDIA:
            tensors = [_features(record) for record in recordio.read(io.BytesIO(body))]
        elif media == codecs.JSON:
            tensors = [_tensor(instance) for instance in instances_of(body)]
        else:
            lines = (line for line in body.splitlines() if line.strip())
            tensors = [_tensor(orjson.loads(line)) for line in lines]
        if not tensors:
            raise ValueError("there is no row")
        return _stacked(tensors, columns)
    except (ValueError, TypeError, AttributeError) as error:
        raise RequestRefused(400, f"The body is not valid {media}: {error}.") from error


def instances_of(body: bytes) -> list[Any]:
    """The rows of a JSON body: the member `instances`, or the whole if that is a list.

    Raises:
        ValueError: it is neither.
    """
    content = orjson.loads(body)
    found = content.get("instances") if isinstance(content, dict) else content
    if not isinstance(found, list):
        raise ValueError('it must be {"instances": [{"features": [1.5, 2.0]}]}')
    return found


def _tensor(instance: Any) -> Tensor:
    """One row: numbers, {"features": [...]}, or {"data": {"features": {"values": [...]}}}."""
    found = instance
    if isinstance(found, dict):
        found = found.get("data", found).get("features")
    if isinstance(found, dict):
        values = found.get("values")
        keys, shape = found.get("keys"), found.get("shape") or []
        if keys and len(keys) != len(values or ()):
            raise ValueError(f"there are {len(keys)} keys, but {len(values or ())} values")
        sparse = bool(keys) or (bool(shape) and not values)
        return Tensor(
            _vector(values), np.array(keys or [], np.int64) if sparse else None, tuple(shape)
        )
    return Tensor(_vector(found))


def _vector(values: Any) -> Array:
    if not isinstance(values, list):
        raise ValueError("a row must be a list of numbers, or have such a member features")
    array = np.array(values, np.float64)
    if array.ndim != 1:
        raise ValueError("a row must be a plain list of numbers")
    return array


def _features(record: Record) -> Tensor:
    if VALUES not in record.features:
        raise RecordError(f"a record has no features named {VALUES}")
    return record.features[VALUES]


def _stacked(tensors: list[Tensor], columns: int) -> Array:
    widths = {_width(tensor, columns) for tensor in tensors}
    if len(widths) > 1:
        raise ValueError(f"the rows have {min(widths)} to {max(widths)} features")
    rows = np.zeros((len(tensors), widths.pop()))
    for row, tensor in zip(rows, tensors, strict=True):
        if tensor.keys is None:
            row[:] = tensor.values
        elif len(tensor.keys) and (tensor.keys.max() >= len(row) or tensor.keys.min() < 0):
            raise ValueError(f"a key is {tensor.keys.max()}, but there are {len(row)} features")
        else:
            row[tensor.keys] = tensor.values
    if not np.isfinite(rows).all():
        raise ValueError("a value is no finite number")
    return rows


def _width(tensor: Tensor, columns: int) -> int:
    if tensor.keys is None:
        return len(tensor.values)
    return int(np.prod(tensor.shape)) if tensor.shape else columns


def _numbers(table: Array) -> Array:
    if table.dtype.kind not in "fiu" or table.ndim != 2 or not np.isfinite(table).all():
        raise RequestRefused(400, "The body must hold rows of numbers.")
    return table.astype(np.float64)


def _as_rows(prediction: Columns) -> Array:
    """One dictionary for each row, as an object array."""
    names = list(prediction)
    columns = [values.tolist() for values in prediction.values()]
    rows = np.empty(len(columns[0]), object)
    for index, row in enumerate(zip(*columns, strict=True)):
        rows[index] = dict(zip(names, row, strict=True))
    return rows


def _as_records(prediction: Columns) -> bytes:
    arrays = {name: values.astype(np.float32) for name, values in prediction.items()}
    count = len(next(iter(arrays.values())))
    return b"".join(
        recordio.frame(
            recordio.encode(
                Record({}, {name: Tensor(np.atleast_1d(a[row])) for name, a in arrays.items()})
            )
        )
        for row in range(count)
    )


def _flat(values: Iterable[Any]) -> list[Any]:
    return [item for value in values for item in (value if isinstance(value, list) else [value])]
