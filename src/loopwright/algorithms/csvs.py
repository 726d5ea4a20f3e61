"""CSV without a header as numbers; what cannot be read is named by line and column."""

import csv
import io
from typing import BinaryIO

import numpy as np

from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.recordio import Array


def read_csv(name: str, stream: BinaryIO) -> Array | None:
    """The rows of a stream, shape (rows, columns), float64; None if it is empty.

    Args:
        name: The file's, for messages.
        stream: The text, read once to its end.
    Raises:
        CustomerError: a cell is missing or not a number, or lines differ in length.
    """
    content = stream.read().removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        return None
    try:
        return np.loadtxt(io.BytesIO(content), delimiter=",", ndmin=2, comments=None)
    except ValueError:
        # Quotes, or a mistake which the slow way can name.
        return _slowly(name, content.decode("utf-8", "replace"))


def _slowly(name: str, text: str) -> Array:
    rows: list[list[float]] = []
    reader = csv.reader(io.StringIO(text))
    for record in reader:
        if not record:
            continue
        if rows and len(record) != len(rows[0]):
            raise CustomerError(
                f"{name}, line {reader.line_num} has {len(record)} columns; the first line has "
                f"{len(rows[0])}."
            )
        rows.append([_number(name, reader.line_num, record, at) for at in range(len(record))])
    return np.array(rows)


def _number(name: str, line: int, record: list[str], at: int) -> float:
    cell = record[at].strip()
    try:
        return float(cell)
    except ValueError:
        found = repr(cell[:40]) if cell else "empty"
        raise CustomerError(
            f"{name}, line {line}, column {at + 1} is {found}, not a number; CSV has no header and "
            "no missing values, and a label comes first."
        ) from None
