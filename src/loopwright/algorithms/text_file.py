"""fastText's model file, which BlazingText writes and reads: `model.bin`.

Rows of the input matrix that training never touched are holes in the file, and serving maps the
matrix instead of reading it, because the default of two million buckets makes 800 MB of it.

Source: the public repository facebookresearch/fastText, src/args.cc, dictionary.cc, densematrix.cc
(format version 12).
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from loopwright.algorithms.recordio import Array

MAGIC: Final = 793712314
VERSION: Final = 12
CBOW, SKIPGRAM, SUPERVISED = 1, 2, 3
NEGATIVE, SOFTMAX = 2, 3
_LOSSES: Final = {1: "hierarchical softmax", 2: "negative sampling", 3: "softmax", 4: "one-vs-all"}
_ARGUMENTS: Final = struct.Struct("<12id")
_COUNTS: Final = struct.Struct("<3i2q")


class TextFileError(ValueError):
    """The file is not a fastText model, or one that cannot be served."""


@dataclass(frozen=True)
class Arguments:
    """fastText's own arguments, in the order of the file."""

    dim: int
    ws: int
    epoch: int
    min_count: int
    neg: int
    word_ngrams: int
    loss: int
    model: int
    bucket: int
    minn: int
    maxn: int
    update_rate: int
    t: float


@dataclass(frozen=True)
class TextFile:
    """A whole model.

    Attributes:
        arguments: How it was trained.
        words: With their counts, the most frequent first.
        labels: The same; with the prefix `__label__`.
        tokens: Of the training text.
        entries: Input vectors, shape (words + bucket, dim) float32; may be a map of the file.
        outputs: Shape (labels or words, dim) float32.
    """

    arguments: Arguments
    words: dict[str, int]
    labels: dict[str, int]
    tokens: int
    entries: Array
    outputs: Array


def write(path: Path, model: TextFile, used: Array) -> None:
    """Write a model; it appears by rename, complete.

    Args:
        path: The file.
        model: Its `entries` hold only the rows that `used` names.
        used: Row of the file for each of these entries, ascending.
    """
    given = model.arguments
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as target:
        target.write(struct.pack("<2i", MAGIC, VERSION))
        target.write(_ARGUMENTS.pack(*vars(given).values()))
        counts = (len(model.words) + len(model.labels), len(model.words), len(model.labels))
        target.write(_COUNTS.pack(*counts, model.tokens, -1))
        for kind, entries in enumerate((model.words, model.labels)):
            for word, count in entries.items():
                target.write(word.encode() + b"\0" + struct.pack("<qb", count, kind))
        rows = len(model.words) + given.bucket
        target.write(struct.pack("<?2q", False, rows, given.dim))
        start = target.tell()
        for row, vector in zip(used.tolist(), model.entries.astype("<f4"), strict=True):
            target.seek(start + row * given.dim * 4)
            target.write(vector.tobytes())
        target.seek(start + rows * given.dim * 4)
        target.write(struct.pack("<?2q", False, len(model.outputs), given.dim))
        target.write(model.outputs.astype("<f4").tobytes())
        target.flush()
        os.fsync(target.fileno())
    os.replace(partial, path)


def read(path: Path) -> TextFile:
    """Read a model; the input matrix stays in the file.

    Raises:
        TextFileError: the file is something else, or quantized.
    """
    with open(path, "rb") as source:
        try:
            return _read(path, source)
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            if isinstance(error, TextFileError):
                raise
            raise TextFileError(f"{path.name} is not a whole fastText model: {error}") from error


def loss_name(model: TextFile) -> str:
    """How the outputs become probabilities, in words."""
    return _LOSSES.get(model.arguments.loss, str(model.arguments.loss))


def _read(path: Path, source: BinaryIO) -> TextFile:
    magic, version = struct.unpack("<2i", source.read(8))
    if magic != MAGIC or version not in (11, VERSION):
        raise TextFileError(f"{path.name} does not begin as a fastText model of version 12 does")
    arguments = Arguments(*_ARGUMENTS.unpack(source.read(_ARGUMENTS.size)))
    size, words, labels, tokens, pruned = _COUNTS.unpack(source.read(_COUNTS.size))
    if pruned > 0:
        raise TextFileError(f"{path.name} is pruned; save the model without quantization")
    found: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for _ in range(size):
        word = _word(source)
        count, kind = struct.unpack("<qb", source.read(9))
        found[kind][word] = count
    if (len(found[0]), len(found[1])) != (words, labels):
        raise TextFileError(f"the dictionary of {path.name} contradicts its own counts")
    entries = _matrix(path, source)
    return TextFile(arguments, found[0], found[1], tokens, entries, _matrix(path, source))


def _word(source: BinaryIO) -> str:
    found = bytearray()
    while (byte := source.read(1)) != b"\0":
        if not byte:
            raise TextFileError("the dictionary is cut off")
        found += byte
    return found.decode()


def _matrix(path: Path, source: BinaryIO) -> Array:
    quantized, rows, columns = struct.unpack("<?2q", source.read(17))
    if quantized:
        raise TextFileError(f"{path.name} is quantized; save the model without quantization")
    start = source.tell()
    end = source.seek(rows * columns * 4, os.SEEK_CUR)
    if end > path.stat().st_size:
        raise TextFileError(f"{path.name} is cut off")
    if not rows * columns:
        return np.empty((rows, columns), np.float32)
    return np.memmap(path, "<f4", "r", start, (rows, columns))
