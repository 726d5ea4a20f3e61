"""`loopwright advise distribution` on real jobs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server import Server, training_request

pytestmark = pytest.mark.real
HUNGRY = """\
import argparse, time
parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=1)
parser.add_argument("--weights", type=int, default=0)
parser.add_argument("--seconds", type=float, default=0)
arguments, _ = parser.parse_known_args()
kept = [bytearray(b"x" * (arguments.weights << 20)), bytearray(b"y" * (arguments.batch_size << 20))]
end = time.monotonic() + arguments.seconds
while time.monotonic() < end:
    sum(range(10_000))
"""


def _advice(server: Server, folder: Path, limit_s: str = "60", **words: str) -> list[str]:
    source = server.put_source("hungry", {"train.py": HUNGRY})
    request: dict[str, Any] = training_request("hungry", source)
    request["HyperParameters"] |= words
    request["ResourceConfig"] |= {"InstanceType": "ml.t3.medium", "InstanceCount": 2}
    path = folder / "request.json"
    path.write_text(json.dumps(request))
    told = server.cli("advise distribution", str(path), "--seconds", limit_s, "--json").stdout
    return list(json.loads(told)["advice"])


def test_a_small_job_needs_one_node(server: Server, tmp_path: Path) -> None:
    advice = _advice(server, tmp_path)
    assert "Fits one node: yes" in advice[0]
    assert "one node is enough" in advice[1]


def test_a_long_job_is_told_what_limits_it(server: Server, tmp_path: Path) -> None:
    advice = _advice(server, tmp_path, "4", seconds="30")
    assert "did not end within 4 s" in advice[1]


def test_a_batch_that_is_too_large_is_resized(server: Server, tmp_path: Path) -> None:
    advice = _advice(server, tmp_path, **{"batch-size": "3000"})
    assert "Fits one node: no" in advice[0]
    assert "batch of 1500 instead of 3000" in advice[1]


def test_a_model_that_is_too_large_is_split(server: Server, tmp_path: Path) -> None:
    advice = _advice(server, tmp_path, **{"batch-size": "64", "weights": "6000"})
    assert "A batch of 8 does not fit either" in advice[1]
    assert "Model parallelism" in advice[2]
