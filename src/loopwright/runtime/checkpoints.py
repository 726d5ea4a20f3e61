"""Checkpoints for training scripts, in one line to resume and one to save. No dependencies.

    checkpoints = Checkpoints(every_steps=100, keep=3, best="loss")
    step = checkpoints.resume(model=model, optimizer=optimizer)
    while step < steps:
        ...
        step += 1
        checkpoints.save(step, {"loss": loss}, model=model, optimizer=optimizer)

A checkpoint is a folder `step-00000100` that appears by rename, with `checkpoint.json` (step,
metrics, configuration, the size of every file), one file a part, and the states of the random
generators of Python, NumPy and PyTorch. What is not whole is passed over when resuming.

Parts may be PyTorch modules (weights, and the module itself where it can be pickled), anything
with `state_dict` and `load_state_dict` (optimizers, schedulers), XGBoost boosters, and anything
else that can be pickled, such as scikit-learn estimators under `partial_fit` and dictionaries.
"""

import json
import os
import pickle
import random
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loopwright.runtime.paths import tree

MANIFEST: Final = "checkpoint.json"
RANDOM: Final = "random.pkl"
PART: Final = ".part"


class CheckpointError(Exception):
    """A checkpoint cannot be written or does not fit what is to be resumed."""


@dataclass
class Resumed:
    """What the last `resume` found.

    Attributes:
        step: 0 when there was no checkpoint.
        parts: Every part by name; those that could not be changed in place are only here.
        metrics, config: As saved.
    """

    step: int = 0
    parts: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        folder: Where they lie; the job's `CheckpointConfig.LocalPath` by default.
        every_steps, every_s: `save` writes when so many steps or seconds have passed since the last
            time, whichever comes first; with neither, every time.
        keep: How many of the last checkpoints stay, at least 1.
        best: Name of a metric; the checkpoint with its lowest value stays as well.
        maximize: Whether more of that metric is better.
        config: The run's configuration, kept in every checkpoint.

    Raises:
        CheckpointError: the folder is a file, or a number is out of range.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        every_steps: int | None = None,
        every_s: float | None = None,
        keep: int = 3,
        best: str | None = None,
        maximize: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder) if folder is not None else tree().checkpoints
        if self.folder.exists() and not self.folder.is_dir():
            raise CheckpointError(f"{self.folder} is a file; checkpoints need a folder.")
        if keep < 1 or (every_steps is not None and every_steps < 1):
            raise CheckpointError(f"keep is {keep} and every_steps {every_steps}; at least 1 each.")
        self.every_steps, self.every_s = every_steps, every_s
        self.keep, self.best, self.maximize = keep, best, maximize
        self.config = dict(config or {})
        self.resumed = Resumed()
        self._step = 0
        self._saved_at = time.monotonic()
        self._cost_s = 0.0
        self._writes = 0
        # Of a distributed job one process writes.
        self._writer = os.environ.get("RANK", "0") == "0"

    def resume(self, **parts: Any) -> int:
        """Put the newest whole checkpoint into the parts; its step, 0 without one.

        Raises:
            CheckpointError: it lacks a part, or a part does not fit.
        """
        found = self.newest()
        self.resumed = Resumed()
        if found is None:
            return 0
        manifest = json.loads((found / MANIFEST).read_text())
        loaded = {}
        for name, part in parts.items():
            loaded[name] = _load(found, name, manifest["parts"].get(name), part)
        _restore_random(found / RANDOM)
        self._step = int(manifest["step"])
        self.resumed = Resumed(self._step, loaded, manifest["metrics"], manifest["config"])
        return self._step

    def newest(self) -> Path | None:
        """The newest whole checkpoint."""
        return next((path for path in reversed(self.all()) if is_whole(path)), None)

    def all(self) -> list[Path]:
        """Folders of checkpoints, oldest first, whole or not."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.glob("step-*") if path.suffix != PART]
        return sorted(path for path in found if path.is_dir() and path.name[5:].isdigit())

    def due(self, step: int) -> bool:
        """Whether `save` would write at this step."""
        if self.every_steps is None and self.every_s is None:
            return True
        if self.every_steps is not None and step - self._step >= self.every_steps:
            return True
        late = time.monotonic() - self._saved_at
        return self.every_s is not None and late >= self.every_s

    def save(
        self,
        step: int,
        metrics: Mapping[str, float] | None = None,
        *,
        force: bool = False,
        **parts: Any,
    ) -> Path | None:
        """Write a checkpoint if it is time for one; its folder, else None.

        Raises:
            CheckpointError: nothing is left half-written; the checkpoints before stay.
        """
        if not (force or self.due(step)):
            return None
        waited_s = time.monotonic() - self._saved_at
        self._step = step
        if not self._writer:
            self._saved_at = time.monotonic()
            return None
        started = time.monotonic()
        target = self.folder / f"step-{step:08d}"
        part = target.with_name(target.name + PART)
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            kinds = {name: _dump(part, name, value) for name, value in parts.items()}
            _dump_random(part / RANDOM)
            self._manifest(part, step, dict(metrics or {}), kinds, waited_s)
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
            _sync(self.folder)
        except (OSError, pickle.PicklingError, TypeError, AttributeError) as error:
            shutil.rmtree(part, ignore_errors=True)
            raise CheckpointError(f"The checkpoint of step {step} failed: {error}.") from error
        self._writes += 1
        self._cost_s += time.monotonic() - started
        self._saved_at = time.monotonic()
        self._prune()
        return target

    def _manifest(
        self,
        part: Path,
        step: int,
        metrics: dict[str, float],
        kinds: Mapping[str, str],
        waited_s: float,
    ) -> None:
        for path in part.rglob("*"):
            _sync(path)
        sizes = {path.name: path.stat().st_size for path in part.iterdir()}
        document = {
            "step": step,
            "metrics": metrics,
            "config": self.config,
            "parts": dict(kinds),
            "files": sizes,
            "cost_s": self._cost_s / self._writes if self._writes else None,
            "interval_s": waited_s,
        }
        (part / MANIFEST).write_text(json.dumps(document))
        _sync(part / MANIFEST)
        _sync(part)

    def _prune(self) -> None:
        """Remove what is neither among the last nor the best."""
        found = self.all()
        kept = set(found[-self.keep :])
        if self.best is not None:
            scored = [(value, path) for path in found if (value := self._score(path)) is not None]
            if scored:
                kept.add(min(scored, key=lambda pair: pair[0])[1])
        for path in found:
            if path not in kept:
                gone = path.with_name(path.name + PART)
                shutil.rmtree(gone, ignore_errors=True)
                path.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)

    def _score(self, path: Path) -> float | None:
        try:
            value = json.loads((path / MANIFEST).read_text())["metrics"].get(self.best)
        except (OSError, ValueError, KeyError):
            return None
        if value is None:
            return None
        return -float(value) if self.maximize else float(value)


def is_whole(path: Path) -> bool:
    """Whether a checkpoint's manifest is there and every file has the size that it tells."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        return all((path / name).stat().st_size == size for name, size in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


# Parts


def _is_torch(value: Any) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _is_booster(value: Any) -> bool:
    return type(value).__module__.startswith("xgboost") and hasattr(value, "save_raw")


def _dump(folder: Path, name: str, value: Any) -> str:
    """Write one part; its kind."""
    if _is_booster(value):
        (folder / f"{name}.ubj").write_bytes(bytes(value.save_raw("ubj")))
        return "booster"
    if not _is_torch(value):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value))
        return "pickle"
    torch = sys.modules["torch"]
    torch.save(value.state_dict(), folder / f"{name}.pt")
    if isinstance(value, torch.nn.Module):
        (folder / f"{name}.txt").write_text(repr(value))
        try:
            torch.save(value, folder / f"{name}.module.pt")
        except (pickle.PicklingError, TypeError, AttributeError, RuntimeError):
            # A module of local classes or functions: its weights and its description are kept.
            (folder / f"{name}.module.pt").unlink(missing_ok=True)
    return "state"


def _load(folder: Path, name: str, kind: str | None, value: Any) -> Any:
    """Put a part into `value`; the loaded object where that is not possible."""
    if kind is None:
        raise CheckpointError(f"{folder} has no part {name!r}; it was saved without it.")
    if kind == "booster":
        value.load_model(bytearray((folder / f"{name}.ubj").read_bytes()))
        return value
    if kind == "state":
        torch = sys.modules["torch"]
        state = torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=False)
        try:
            value.load_state_dict(state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{name!r} of {folder} does not fit: {error}.") from error
        return value
    loaded = pickle.loads((folder / f"{name}.pkl").read_bytes())
    if isinstance(value, dict) and isinstance(loaded, dict):
        value.clear()
        value.update(loaded)
        return value
    if isinstance(value, list) and isinstance(loaded, list):
        value[:] = loaded
        return value
    if type(value) is type(loaded) and hasattr(value, "__dict__"):
        value.__dict__.clear()
        value.__dict__.update(loaded.__dict__)
        return value
    return loaded


def _dump_random(path: Path) -> None:
    states: dict[str, Any] = {"python": random.getstate()}
    if (numpy := sys.modules.get("numpy")) is not None:
        states["numpy"] = numpy.random.get_state()
    if (torch := sys.modules.get("torch")) is not None:
        states["torch"] = torch.get_rng_state().numpy()
        if torch.cuda.is_available():
            states["cuda"] = [state.cpu().numpy() for state in torch.cuda.get_rng_state_all()]
    path.write_bytes(pickle.dumps(states))


def _restore_random(path: Path) -> None:
    try:
        states = pickle.loads(path.read_bytes())
    except FileNotFoundError:
        return
    random.setstate(states["python"])
    if "numpy" in states and (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.set_state(states["numpy"])
    if "torch" in states and (torch := sys.modules.get("torch")) is not None:
        torch.set_rng_state(torch.from_numpy(states["torch"]))
        if "cuda" in states and torch.cuda.device_count() == len(states["cuda"]):
            torch.cuda.set_rng_state_all([torch.from_numpy(state) for state in states["cuda"]])


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
