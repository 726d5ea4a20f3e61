"""Content types in and out: bytes to arrays and arrays to bytes, for hooks the user did not write.

Two ways in: `decode` takes anything; `plain_rows` takes only rows of plain numbers, cheaply, so
that the rows of several requests can be put together, and says None to all else.
"""

import csv
import importlib
import io
import json
import math
from typing import Any

import numpy as np
import orjson

from loopwright.runtime.server.exchange import RequestRefused

JSON = "application/json"
JSON_LINES = "application/jsonlines"
CSV = "text/csv"
NPY = "application/x-npy"
NPZ = "application/x-npz"
LIBSVM = "text/libsvm"
TEXT_TYPES = (JSON, CSV)
DECODED = (JSON, CSV, NPY, JSON_LINES, NPZ)
ENCODED = (JSON, CSV, NPY, JSON_LINES)
_PLAIN_CSV = b"0123456789.,+-eE\r\n \t"

Array = np.ndarray[Any, np.dtype[Any]]


def decode(body: bytes, media: str) -> Any:
    """What a body holds, as the public inference toolkit's decoder gives it.

    Args:
        body: As received.
        media: Its media type, without parameters.
    Returns:
        An array; of a CSV body always of shape (rows, columns). Of NPZ a sparse matrix.
    Raises:
        RequestRefused: 415 for an unknown media type, 400 for a body not of its type.
    """
    decoder = _DECODERS.get(media)
    if decoder is None:
        known = ", ".join(DECODED)
        raise RequestRefused(415, f"The content type {media!r} is not supported; use {known}.")
    try:
        return decoder(body)
    except (ValueError, csv.Error, EOFError, OSError) as error:
        raise RequestRefused(400, f"The body is not valid {media}: {error}.") from error


def encode(prediction: Any, media: str) -> bytes:
    """An array-like prediction as `media`.

    Raises:
        RequestRefused: 406 for an unknown media type.
        TypeError, ValueError: the prediction has no form in this media type.
    """
    if media not in ENCODED:
        raise refused_accept(media, ENCODED)
    if media == NPY:
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(prediction), allow_pickle=False)
        return buffer.getvalue()
    values = prediction.tolist() if hasattr(prediction, "tolist") else prediction
    return encode_values(values, media)


def encode_values(values: Any, media: str) -> bytes:
    """Python values (lists of rows, numbers, strings) as JSON, JSON lines or CSV."""
    if media == JSON:
        return _json(values)
    rows = values if isinstance(values, list | tuple) else [values]
    if media == JSON_LINES:
        return b"".join(_json(row) + b"\n" for row in rows)
    lines = [",".join(map(str, row)) if isinstance(row, list | tuple) else str(row) for row in rows]
    return ("\n".join(lines) + "\n").encode() if lines else b""


def refused_accept(media: str, known: tuple[str, ...]) -> RequestRefused:
    """The refusal of an Accept header that names nothing we can write."""
    return RequestRefused(406, f"Accept is {media!r}; this model answers {', '.join(known)}.")


def plain_rows(body: bytes, media: str) -> list[list[Any]] | None:
    """Rows of a JSON or CSV body that is a plain table; None for anything else.

    The rows may still be ragged or hold strings: np.array over them tells.
    """
    if media == JSON:
        try:
            rows = orjson.loads(body)
        except ValueError:
            return None
        if type(rows) is dict and len(rows) == 1:
            rows = rows.get("instances")
    elif media == CSV:
        # Only numbers and separators, else a quote or bracket could change what a row is.
        if body.translate(None, _PLAIN_CSV):
            return None
        text = body.strip().replace(b"\n", b"],[")
        try:
            rows = orjson.loads(b"[[" + text + b"]]")
        except ValueError:
            return None
    else:
        return None
    if type(rows) is list and rows and type(rows[0]) is list and rows[0]:
        return rows
    return None


def table(rows: list[list[Any]]) -> Array | None:
    """Rows as a float array of shape (rows, columns); None where they are no table of numbers."""
    try:
        array = np.array(rows)
    except ValueError:
        return None
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        return None
    return array.astype(np.float64, copy=False)


def _json(values: Any) -> bytes:
    return orjson.dumps(values, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"A {type(value).__name__} has no JSON form; write an output_fn.")


def _decode_json(body: bytes) -> Any:
    try:
        content = orjson.loads(body)
    except ValueError:
        # NaN and Infinity are not JSON, but Python's clients write them.
        content = json.loads(body)
    if isinstance(content, dict) and set(content) == {"instances"}:
        content = content["instances"]
    return _array(content)


def _decode_json_lines(body: bytes) -> Any:
    rows = [orjson.loads(line) for line in body.splitlines() if line.strip()]
    return _array(
        [row["features"] if isinstance(row, dict) and "features" in row else row for row in rows]
    )


def _array(content: Any) -> Array:
    try:
        array = np.asarray(content)
    except ValueError as error:
        raise ValueError("the rows differ in length") from error
    if array.dtype.kind == "U" and array.ndim > 1:
        # Rows mixing numbers and text: the numbers shall stay numbers.
        return np.array(content, dtype=object)
    if array.dtype == object and _only_numbers_and_none(array):
        return array.astype(np.float64)
    return array


def _only_numbers_and_none(array: Array) -> bool:
    return all(value is None or isinstance(value, int | float) for value in array.ravel())


def _decode_csv(body: bytes) -> Array:
    rows = plain_rows(body, CSV)
    found = None if rows is None else table(rows)
    if found is not None:
        return found
    text = body.decode("utf-8")
    records = [record for record in csv.reader(io.StringIO(text)) if record]
    if not records:
        raise ValueError("there is no row")
    widths = {len(record) for record in records}
    if len(widths) > 1:
        raise ValueError(f"the rows have {min(widths)} to {max(widths)} columns")
    cells = [[_cell(field) for field in record] for record in records]
    numeric = all(isinstance(cell, float) for row in cells for cell in row)
    return np.array(cells, dtype=np.float64 if numeric else object)


def _cell(field: str) -> float | str:
    field = field.strip()
    if not field:
        return math.nan
    try:
        return float(field)
    except ValueError:
        return field


def _decode_npy(body: bytes) -> Any:
    # Pickled objects in an array would run code of the client's choice.
    return np.load(io.BytesIO(body), allow_pickle=False)


def _decode_npz(body: bytes) -> Any:
    # Sparse matrices need SciPy, which no other content type does.
    return importlib.import_module("loopwright.runtime.server.sparse").load(body)


_DECODERS = {
    JSON: _decode_json,
    CSV: _decode_csv,
    NPY: _decode_npy,
    JSON_LINES: _decode_json_lines,
    NPZ: _decode_npz,
}
