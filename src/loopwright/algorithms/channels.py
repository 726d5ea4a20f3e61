"""Input channels of the built-in algorithms that learn from rows: CSV or RecordIO-protobuf.

Every file of a channel comes from `streams`, which gives files and pipes alike.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-training.html.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy import sparse

from loopwright.algorithms import recordio
from loopwright.algorithms.csvs import read_csv
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.recordio import VALUES, Array, Record, RecordError
from loopwright.runtime.environment import Environment

_CSV = ("text/csv", "csv")


@dataclass(frozen=True)
class Table:
    """One channel's content.

    Attributes:
        features: Shape (rows, columns), float32; an array or a CSR matrix.
        labels: Shape (rows,), float32; None where there are none.
    """

    features: Any
    labels: Array | None

    @property
    def rows(self) -> int:
        return int(self.features.shape[0])

    @property
    def columns(self) -> int:
        return int(self.features.shape[1])

    def dense(self) -> Array:
        """The features as an array."""
        found: Array = self.features.toarray() if sparse.issparse(self.features) else self.features
        return found


def check_names(environment: Environment, known: tuple[str, ...]) -> None:
    """Refuse a job without the channel train, or with one that the algorithm does not take.

    Raises:
        CustomerError: naming the channel.
    """
    given = environment.channels
    if "train" not in given:
        named = ", ".join(sorted(given)) or "none"
        raise CustomerError(f"The channel train is missing; the job has {named}.")
    for name in sorted(given):
        if name not in known:
            raise CustomerError(
                f"The channel {name} is unknown; this algorithm takes {', '.join(known)}."
            )


def streams(environment: Environment, name: str) -> Iterator[tuple[str, BinaryIO]]:
    """Name and content of each file of a channel, in the order of their names.

    In Pipe mode that is one stream, the channel's first epoch; nothing here seeks, so a FIFO does.
    Names beginning with . or _ are left out.

    Raises:
        CustomerError: there is no file.
    """
    folder = environment.tree.channel(name)
    if environment.channels[name].get("TrainingInputMode", "File") == "Pipe":
        pipe = folder.with_name(f"{name}_0")
        with open(pipe, "rb") as stream:
            yield pipe.name, stream
        return
    paths = list(_files(folder))
    if not paths:
        raise CustomerError(f"The channel {name} has no file; check the S3 prefix it is made of.")
    for path in paths:
        with open(path, "rb") as stream:
            yield path.name, stream


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def read(environment: Environment, name: str, columns: int | None, *, supervised: bool) -> Table:
    """Read a channel to its end.

    Args:
        environment: The job's.
        name: The channel's.
        columns: The hyperparameter feature_dim; None takes what the files have.
        supervised: Whether CSV rows begin with a label though the content type does not say so;
            else they do unless they have exactly `columns` columns.
    Raises:
        CustomerError: another content type, no rows, or rows that do not fit.
    """
    kind, label_size = _content(name, environment.channels[name])
    if kind == "csv":
        if label_size is None and supervised:
            label_size = 1
        parts = _read_csv(environment, name, columns, label_size)
    else:
        parts = [
            part
            for file, stream in streams(environment, name)
            if (part := _read_records(file, stream, columns)) is not None
        ]
    if not parts:
        raise CustomerError(f"The files of the channel {name} are empty.")
    table = joined(name, parts)
    if columns is not None and table.columns != columns:
        raise CustomerError(
            f"feature_dim is {columns}, but the rows of the channel {name} have {table.columns} "
            "features."
        )
    values = table.features.data if sparse.issparse(table.features) else table.features
    if not np.isfinite(values).all():
        raise CustomerError(f"The channel {name} holds a value that is no finite number.")
    return table


def joined(name: str, parts: list[Table]) -> Table:
    """Parts of a channel, one below the other.

    Raises:
        CustomerError: they differ in columns or in having labels.
    """
    widths = sorted({part.columns for part in parts})
    if len(widths) > 1:
        raise CustomerError(
            f"The files of the channel {name} differ in columns: {widths[0]} and {widths[-1]}."
        )
    if len({part.labels is None for part in parts}) > 1:
        raise CustomerError(f"In the channel {name} some files have labels, others have none.")
    if len(parts) == 1:
        return parts[0]
    thin = any(sparse.issparse(part.features) for part in parts)
    features = [part.features for part in parts]
    labels = [part.labels for part in parts if part.labels is not None]
    return Table(
        sparse.vstack(features, "csr") if thin else np.concatenate(features),
        np.concatenate(labels) if labels else None,
    )


def _content(name: str, channel: dict[str, Any]) -> tuple[str, int | None]:
    """csv or recordio, and label_size if the content type says it."""
    given = channel.get("ContentType") or recordio.MEDIA
    media, *parameters = [part.strip() for part in given.lower().split(";")]
    label_size = None
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == "label_size":
            if value not in ("0", "1"):
                raise CustomerError(f"The channel {name} has {parameter}; label_size is 0 or 1.")
            label_size = int(value)
    if media in _CSV:
        return "csv", label_size
    if media == recordio.MEDIA:
        return "recordio", None
    raise CustomerError(
        f"The channel {name} has the content type {given}; use text/csv or {recordio.MEDIA}."
    )


def _read_csv(
    environment: Environment, name: str, columns: int | None, label_size: int | None
) -> list[Table]:
    parts = []
    for file, stream in streams(environment, name):
        rows = read_csv(file, stream)
        if rows is None:
            continue
        size = int(rows.shape[1] != columns) if label_size is None else label_size
        if rows.shape[1] <= size:
            raise CustomerError(f"{file} has one column; it needs a label and a feature at least.")
        # float32 is what the algorithms' documentation has; labels are exact up to 2**24.
        features = rows[:, size:].astype(np.float32)
        parts.append(Table(features, rows[:, 0].astype(np.float32) if size else None))
    return parts


def _read_records(file: str, stream: BinaryIO, columns: int | None) -> Table | None:
    content = stream.read()
    try:
        block = recordio.dense_block(content)
        if block is not None:
            labels = None if block.labels is None else block.labels[:, 0].astype(np.float32)
            return Table(block.features.astype(np.float32), labels)
        records = list(recordio.read(io.BytesIO(content)))
        return table_of(records, columns) if records else None
    except RecordError as error:
        raise CustomerError(f"{file} is not {recordio.MEDIA}: {error}.") from error


def table_of(records: list[Record], columns: int | None) -> Table:
    """Records as a table, sparse if any of them is.

    Args:
        records: At least one.
        columns: The width if the records do not say it.
    Raises:
        RecordError: a record has no features, another width than the others, or no label while
            others have one.
    """
    tensors = []
    for number, record in enumerate(records, 1):
        if VALUES not in record.features:
            raise RecordError(f"record {number} has no features named {VALUES}")
        tensors.append(record.features[VALUES])
    labels = [record.labels[VALUES].values[:1] for record in records if VALUES in record.labels]
    if labels and (len(labels) != len(records) or any(not len(label) for label in labels)):
        raise RecordError(f"{len(labels)} of {len(records)} records have a label")
    if all(tensor.keys is None for tensor in tensors):
        widths = sorted({len(tensor.values) for tensor in tensors})
        if len(widths) > 1:
            raise RecordError(f"the records have {widths[0]} to {widths[-1]} features")
        features: Any = np.stack([tensor.values for tensor in tensors]).astype(np.float32)
    else:
        features = _sparse(tensors, columns)
    return Table(features, np.concatenate(labels).astype(np.float32) if labels else None)


def _sparse(tensors: list[recordio.Tensor], columns: int | None) -> Any:
    keys = [np.arange(len(t.values)) if t.keys is None else t.keys for t in tensors]
    widths = {int(np.prod(t.shape)) for t in tensors if t.shape} | ({columns} if columns else set())
    if len(widths) > 1:
        raise RecordError(f"the records have {min(widths)} to {max(widths)} features")
    if not widths:
        raise RecordError("sparse records must have a shape")
    (width,) = widths
    indices = np.concatenate(keys)
    if len(indices) and (indices.max() >= width or indices.min() < 0):
        raise RecordError(f"a key is {indices.max()}, but there are {width} features")
    starts = np.concatenate([[0], np.cumsum([len(t.values) for t in tensors])])
    values = np.concatenate([t.values for t in tensors]).astype(np.float32)
    matrix = sparse.csr_matrix((values, indices, starts), shape=(len(tensors), width))
    matrix.sum_duplicates()
    return matrix
