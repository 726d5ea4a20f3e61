"""What a training run leaves behind while it runs: log lines, checkpoints, intermediate models."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import xgboost

CHECKPOINT_NAME = "xgboost-checkpoint"
KEPT = 5
_NUMBERED = re.compile(re.escape(CHECKPOINT_NAME) + r"\.(\d+)")


def write_model(booster: Any, path: Path) -> None:
    """Write a booster in XGBoost's UBJSON; the file appears by rename, complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as target:
        target.write(booster.save_raw("ubj"))
        target.flush()
        os.fsync(target.fileno())
    os.replace(partial, path)


def latest(folder: Path) -> tuple[Path | None, int]:
    """The newest checkpoint and the number of rounds it holds; (None, 0) if there is none."""
    found = _numbered(folder)
    return (found[-1][1], found[-1][0] + 1) if found else (None, 0)


class Rounds(xgboost.callback.TrainingCallback):
    """Writes each round's metrics in the form that AWS's metric expressions look for."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self._first = first

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        # `#011` is how the log shows the tab of XGBoost's own lines; metric definitions of the
        # built-in algorithm are written against that text.
        words = [
            f"#011{name}-{metric}:{scores[-1]:.5f}"
            for name, metrics in evals_log.items()
            for metric, scores in metrics.items()
        ]
        sys.stdout.write(f"[{self._first + epoch}]{''.join(words)}\n")
        return False


class Checkpoints(xgboost.callback.TrainingCallback):
    """Writes a checkpoint after each round and keeps the newest few."""

    def __init__(self, folder: Path, first: int) -> None:
        super().__init__()
        self._folder = folder
        self._first = first

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        write_model(model, self._folder / f"{CHECKPOINT_NAME}.{self._first + epoch}")
        for _, path in _numbered(self._folder)[:-KEPT]:
            path.unlink()
        return False


class IntermediateModel(xgboost.callback.TrainingCallback):
    """Writes the model after each round, so that a stopped job has one."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        write_model(model, self._path)
        return False


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = [(_NUMBERED.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in matches if match)
