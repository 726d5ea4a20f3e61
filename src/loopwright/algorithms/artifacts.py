"""The model file of a built-in algorithm: arrays and a few words, as a zip of NumPy files.

It has the name that AWS's containers give theirs; what is inside is Loopwright's own.
"""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.recordio import Array
from loopwright.runtime import archives
from loopwright.runtime.environment import Environment
from loopwright.runtime.failure import UnitFailure

MODEL_NAME: Final = "model_algo-1"
_WORDS: Final = "words.json"


class ModelError(ValueError):
    """The file is not a model of this algorithm."""


def write(
    folder: Path, algorithm: str, words: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Write a model; the file appears by rename, complete.

    Args:
        folder: /opt/ml/model.
        algorithm: Its image's name, which `load` asks for.
        words: JSON values.
        arrays: By name; no objects.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{MODEL_NAME}.partial"
    with open(partial, "wb") as target:
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(_WORDS, orjson.dumps({**words, "algorithm": algorithm}))
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        target.flush()
        os.fsync(target.fileno())
    os.replace(partial, folder / MODEL_NAME)


def load(path: Path, algorithm: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Words and arrays of a model.

    Raises:
        ModelError: the file is something else, or the model of another algorithm.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            words = orjson.loads(archive.read(_WORDS))
            arrays = {
                name.removesuffix(".npy"): np.load(
                    io.BytesIO(archive.read(name)), allow_pickle=False
                )
                for name in archive.namelist()
                if name.endswith(".npy")
            }
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ModelError(f"{path.name} is not a model that Loopwright wrote: {error}") from error
    if words.get("algorithm") != algorithm:
        raise ModelError(f"{path.name} is a model of {words.get('algorithm')}, not of {algorithm}")
    return words, arrays


def served(folder: Path, algorithm: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """The model in /opt/ml/model.

    Raises:
        UnitFailure: there is none, or it is not of this algorithm.
    """
    path = folder / MODEL_NAME
    if not path.is_file():
        there = ", ".join(sorted(found.name for found in folder.iterdir())) or "nothing"
        raise UnitFailure(f"{folder} has no file {MODEL_NAME}; it holds {there}.")
    try:
        return load(path, algorithm)
    except ModelError as error:
        raise UnitFailure(f"{error}.") from error


def earlier(
    environment: Environment, algorithm: str
) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """The model of the channel `model`, to go on from; None without such a channel.

    Raises:
        CustomerError: the channel holds no such model.
    """
    if "model" not in environment.channels:
        return None
    path = earlier_file(environment, MODEL_NAME)
    try:
        return load(path, algorithm)
    except ModelError as error:
        raise CustomerError(f"The channel model cannot be used: {error}.") from error


def earlier_file(environment: Environment, name: str) -> Path:
    """A file of the channel `model`, or of an archive in it.

    Raises:
        CustomerError: there is no such file.
    """
    for path in sorted(environment.tree.channel("model").rglob("*")):
        if path.name == name and path.is_file():
            return path
        if path.name.endswith((".tar.gz", ".tgz")):
            unpacked = environment.tree.base / ".loopwright" / "earlier-model"
            if not unpacked.exists():
                try:
                    archives.unpack(path, unpacked)
                except archives.ArchiveError as error:
                    raise CustomerError(f"The channel model has a bad archive: {error}") from error
            if (unpacked / name).is_file():
                return unpacked / name
    raise CustomerError(f"The channel model holds neither {name} nor a model.tar.gz with it.")
