"""The course's second lab, run as its notebook is."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import skip
from tests.server import Server

pytestmark = pytest.mark.real
LAB = Path(__file__).with_name("sdk_lab.py")


def test_the_second_lab(server: Server, tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        skip("torch is not installed: make torch")
    done = subprocess.run(
        [sys.executable, str(LAB)],
        cwd=tmp_path, env=server.variables(), capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert len(seen["predicted"]) == 3
    assert all(item["predicted_label"] in (-1, 0, 1) for item in seen["predicted"])
    # A hundred requests by equal weights: each has some, none is counted twice or lost.
    assert sum(seen["invocations"]) == 100 and min(seen["invocations"]) > 20
    assert seen["each"] == seen["invocations"][0]
    assert seen["weights"] == {"VariantA": 0.0, "VariantB": 100.0}
    # A few may still go by the old weights: gateways look at them ten times a second.
    assert sum(seen["after"]) == 200 and seen["after"][0] - seen["invocations"][0] < 50
    assert seen["scaling"]["target"][:2] == [1, 2] and seen["scaling"]["alarms"] == 2
    assert seen["left"] == []
