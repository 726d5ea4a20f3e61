"""Where things lie inside a unit. The one place that reads SAGEMAKER_BASE_DIR."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tree:
    """The folders of SageMaker's container contract below one base folder."""

    base: Path

    @property
    def code(self) -> Path:
        return self.base / "code"

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def input(self) -> Path:
        return self.base / "input"

    @property
    def config(self) -> Path:
        return self.base / "input" / "config"

    @property
    def output(self) -> Path:
        return self.base / "output"

    @property
    def output_files(self) -> Path:
        return self.base / "output" / "data"

    @property
    def intermediate(self) -> Path:
        return self.base / "output" / "intermediate"

    @property
    def failure(self) -> Path:
        return self.base / "output" / "failure"

    @property
    def checkpoints(self) -> Path:
        return self.base / "checkpoints"

    @property
    def environment(self) -> Path:
        """The unit's own environment of packages; see `runtime.packages`."""
        return self.base / ".loopwright" / "env"

    @property
    def note(self) -> Path:
        """What runs in the unit just now; see `runtime.failure`."""
        return self.base / ".loopwright" / "running.json"

    def channel(self, name: str) -> Path:
        """The folder of one input channel."""
        return self.base / "input" / "data" / name


def tree() -> Tree:
    """The unit's folders: below SAGEMAKER_BASE_DIR, else below /opt/ml."""
    return Tree(Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml"))
