"""The input channels of the XGBoost algorithm: files of CSV, libsvm or Parquet as one matrix."""

import csv
import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from scipy import sparse

from loopwright.algorithms.errors import CustomerError

_KINDS = {
    "csv": "csv",
    "text/csv": "csv",
    "libsvm": "libsvm",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "parquet": "parquet",
    "application/x-parquet": "parquet",
}
_DELIMITERS = ",;\t| "


@dataclass
class Table:
    """One channel's content.

    Attributes:
        features: Shape (rows, columns); an array, or a sparse matrix whose gaps are missing values.
        labels: Shape (rows,).
        weights: Shape (rows,), or None.
        groups: Query of each row, shape (rows,), or None.
    """

    features: Any
    labels: Any
    weights: Any = None
    groups: Any = None

    def matrix(self, columns: int) -> Any:
        """The table for XGBoost; a sparse one is widened to `columns`."""
        features = self.features
        if sparse.issparse(features) and features.shape[1] < columns:
            features = sparse.csr_matrix(
                (features.data, features.indices, features.indptr),
                shape=(features.shape[0], columns),
            )
        return xgboost.DMatrix(features, label=self.labels, weight=self.weights, qid=self.groups)


def content_kind(name: str, channel: dict[str, Any]) -> str:
    """csv, libsvm or parquet, from the channel's ContentType; libsvm if it has none.

    Raises:
        CustomerError: another content type, a label_size other than 1, or Pipe mode.
    """
    if channel.get("TrainingInputMode", "File") == "Pipe":
        raise CustomerError(f"The channel {name} uses Pipe mode; XGBoost needs File or FastFile.")
    given = channel.get("ContentType") or "text/libsvm"
    media, *parameters = [part.strip() for part in given.lower().split(";")]
    for parameter in parameters:
        if parameter.startswith("label_size=") and parameter != "label_size=1":
            raise CustomerError(f"The channel {name} has {parameter}; XGBoost has one label.")
    if media not in _KINDS:
        known = ", ".join(_KINDS)
        raise CustomerError(f"The channel {name} has the content type {given}; use {known}.")
    return _KINDS[media]


def read(name: str, folder: Path, kind: str, *, weighted: bool) -> Table:
    """Read all files of a channel, in the order of their names.

    Args:
        name: The channel's.
        folder: Its files, also in folders below; names beginning with . or _ are left out.
        kind: csv, libsvm or parquet.
        weighted: Whether the second CSV column holds weights.
    Raises:
        CustomerError: there is no file, nothing in them, or something that is not of this kind.
    """
    files = list(_files(folder))
    if not files:
        raise CustomerError(f"The channel {name} has no file; check the S3 prefix it is made of.")
    if kind == "libsvm":
        return _read_libsvm(name, files)
    reader = _read_csv if kind == "csv" else _read_parquet
    parts = [(path, part) for path in files if (part := reader(path)) is not None]
    if not parts:
        raise CustomerError(f"The files of the channel {name} are empty.")
    widths = {part.shape[1] for _, part in parts}
    if len(widths) > 1:
        shown = ", ".join(f"{path.name} has {part.shape[1]}" for path, part in parts)
        raise CustomerError(f"The files of the channel {name} differ in columns: {shown}.")
    return _split(name, np.concatenate([part for _, part in parts]), weighted=weighted)


def _split(name: str, rows: Any, *, weighted: bool) -> Table:
    first = 2 if weighted else 1
    if rows.shape[1] <= first:
        raise CustomerError(
            f"The channel {name} has {rows.shape[1]} columns; it needs the label"
            f"{', the weight' if weighted else ''} and at least one feature."
        )
    return Table(rows[:, first:], rows[:, 0], rows[:, 1] if weighted else None)


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _read_csv(path: Path) -> Any:
    with open(path, encoding="utf-8", errors="replace") as lines:
        first = next((line for line in lines if line.strip()), None)
    if first is None:
        return None
    delimiter = next((mark for mark in _DELIMITERS if mark in first.strip()), ",")
    try:
        return np.loadtxt(path, delimiter=delimiter, ndmin=2, comments=None, dtype=np.float64)
    except ValueError:
        # Missing values, quotes, or a mistake which the slow way can name.
        return _read_csv_slowly(path, delimiter)


def _read_csv_slowly(path: Path, delimiter: str) -> Any:
    rows: list[list[float]] = []
    with open(path, encoding="utf-8", errors="replace", newline="") as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        for record in reader:
            if not record:
                continue
            if rows and len(record) != len(rows[0]):
                raise CustomerError(
                    f"{path.name}, line {reader.line_num} has {len(record)} columns; the first "
                    f"line has {len(rows[0])}."
                )
            rows.append([_number(path, reader.line_num, record, at) for at in range(len(record))])
    return np.array(rows)


def _number(path: Path, line: int, record: list[str], at: int) -> float:
    cell = record[at].strip()
    if cell.lower() in ("", "na"):
        return math.nan
    try:
        return float(cell)
    except ValueError:
        raise CustomerError(
            f"{path.name}, line {line}, column {at + 1} is {cell[:40]!r}, not a number; CSV has no "
            "header, and its first column is the label."
        ) from None


def _read_parquet(path: Path) -> Any:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise CustomerError("Reading Parquet needs the package pyarrow; install it.") from error
    try:
        table = parquet.read_table(path)
        columns = [np.asarray(column.to_numpy(), dtype=np.float64) for column in table.columns]
    except (ValueError, TypeError, OSError) as error:
        raise CustomerError(f"{path.name} is not a Parquet table of numbers: {error}.") from error
    return np.column_stack(columns) if table.num_rows else None


def _read_libsvm(name: str, files: list[Path]) -> Table:
    rows = _LibsvmRows()
    for path in files:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                # A comment may follow the values.
                words = line.partition("#")[0].split()
                if not words:
                    continue
                try:
                    rows.add(words)
                except ValueError as error:
                    raise CustomerError(
                        f"{path.name}, line {number} begins {line[:50].strip()!r} and is not "
                        f"libsvm (label index:value ...): {error}."
                    ) from None
    if not rows.labels:
        raise CustomerError(f"The files of the channel {name} are empty.")
    return rows.table(name)


class _LibsvmRows:
    """Collects lines of `label[:weight] [qid:n] index:value ...`; indices begin at 0."""

    def __init__(self) -> None:
        self.labels: list[float] = []
        self._weights: list[float] = []
        self._groups: list[int] = []
        self._starts = [0]
        self._indices: list[int] = []
        self._values: list[float] = []

    def add(self, words: list[str]) -> None:
        label, colon, weight = words[0].partition(":")
        self.labels.append(float(label))
        if colon:
            self._weights.append(float(weight))
        entries = words[1:]
        if entries and entries[0].startswith("qid:"):
            self._groups.append(int(entries[0][4:]))
            entries = entries[1:]
        for entry in entries:
            index, colon, value = entry.partition(":")
            if not colon or not index.isdecimal():
                raise ValueError(f"{entry[:40]!r} is not index:value")
            self._indices.append(int(index))
            self._values.append(float(value))
        self._starts.append(len(self._values))

    def table(self, name: str) -> Table:
        count = len(self.labels)
        for what, found in (("weight", self._weights), ("qid", self._groups)):
            if found and len(found) != count:
                raise CustomerError(f"In the channel {name} only {len(found)} lines have a {what}.")
        width = max(self._indices) + 1 if self._indices else 0
        features = sparse.csr_matrix(
            (np.array(self._values), np.array(self._indices, dtype=np.int64), self._starts),
            shape=(count, width),
        )
        weights = np.array(self._weights) if self._weights else None
        groups = np.array(self._groups) if self._groups else None
        return Table(features, np.array(self.labels), weights, groups)
