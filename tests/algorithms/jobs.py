"""Training jobs of built-in algorithms in this process, and what their logs say."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets
from sklearn.model_selection import train_test_split

from loopwright.algorithms import recordio
from loopwright.algorithms.recordio import Record, Tensor
from loopwright.contract.metrics import built_in
from loopwright.runtime import environment as environments
from loopwright.runtime.environment import Environment
from loopwright.runtime.paths import Tree

CSV = "text/csv"


@dataclass
class Job:
    """One job's folders and log."""

    base: Path
    capture: pytest.CaptureFixture[str]
    log: str = ""

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def table(self, channel: str, rows: Any, labels: Any = None) -> None:
        """A channel of one CSV file, label first."""
        self.write(f"input/data/{channel}/rows.csv", csv_of(rows, labels))

    def records(self, channel: str, rows: Any, labels: Any = None) -> None:
        """A channel of one RecordIO-protobuf file; sparse rows if `rows` is a sparse matrix."""
        content = []
        for index in range(rows.shape[0]):
            row = rows[index]
            if hasattr(row, "toarray"):
                one = row.tocsr()
                features = Tensor(one.data.astype("f4"), one.indices, (rows.shape[1],))
            else:
                features = Tensor(row.astype("f4"))
            label = {} if labels is None else {"values": Tensor(np.float32([labels[index]]))}
            content.append(recordio.frame(recordio.encode(Record({"values": features}, label))))
        self.write(f"input/data/{channel}/rows.pbr", b"".join(content))

    def environment(
        self, given: dict[str, Any], types: dict[str, Any] | None = None
    ) -> Environment:
        """The environment of a job; channels are the folders that there are, CSV or RecordIO."""
        found = {}
        for folder in sorted((self.base / "input/data").glob("*/")):
            csv = any(path.suffix == ".csv" for path in folder.iterdir())
            found[folder.name] = {"ContentType": CSV} if csv else {}
        found |= types or {}
        texts = {name: _text(value) for name, value in given.items()}
        self.write("input/config/hyperparameters.json", json.dumps(texts))
        self.write("input/config/inputdataconfig.json", json.dumps(found))
        return environments.read(Tree(self.base))

    def train(
        self,
        train: Callable[[Environment], None],
        given: dict[str, Any],
        types: dict[str, Any] | None = None,
    ) -> None:
        """Train; the log is kept."""
        environment = self.environment(given, types)
        self.capture.readouterr()
        train(environment)
        self.log = self.capture.readouterr().out

    def metrics(self, runtime: str) -> dict[str, float]:
        """The last value of each metric that the definitions find in the log."""
        found = {}
        for definition in built_in(runtime):
            values = re.findall(definition["Regex"], self.log)
            if values:
                found[definition["Name"]] = float(values[-1])
        return found

    @property
    def model(self) -> Path:
        return self.base / "model"

    def go_on(self) -> None:
        """Make the model a channel."""
        for path in self.model.iterdir():
            self.write(f"input/data/model/{path.name}", path.read_bytes())


def csv_of(rows: Any, labels: Any = None) -> str:
    table = rows if labels is None else np.column_stack([labels, rows])
    return "\n".join(",".join(f"{value:.9g}" for value in row) for row in table) + "\n"


def halves(name: str) -> tuple[Any, Any, Any, Any]:
    """Train and test rows, train and test labels of one of scikit-learn's data sets."""
    rows, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    found: tuple[Any, Any, Any, Any] = tuple(
        train_test_split(rows, labels, test_size=0.3, random_state=0)
    )
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
