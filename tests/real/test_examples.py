"""The examples, as their own texts say to run them."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import skip
from tests.server import PYTORCH, Server, training_request

pytestmark = pytest.mark.real
EXAMPLES = Path(__file__).parents[2] / "examples"


def _train(server: Server, example: str, name: str, hosts: int, machine: str) -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        skip("torch is not installed: make torch")
    script = (EXAMPLES / f"{example}.py").read_text()
    request = training_request(name, server.put_source(example, {"train.py": script}), PYTORCH)
    request["ResourceConfig"] |= {"InstanceType": machine, "InstanceCount": hosts}
    if hosts > 1:
        request["HyperParameters"]["sagemaker_torch_distributed_enabled"] = "true"
    server.client("sagemaker").create_training_job(**request)
    return server.trained(name, 280)


def test_data_parallel(server: Server) -> None:
    found = _train(server, "data_parallel", "example-data", 2, "ml.m5.large")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    last = [line for line in server.log_of("example-data") if "val_acc" in line][-1]
    assert float(last.split()[-1]) > 0.88


def test_model_parallel_trains_what_one_host_cannot_hold(server: Server) -> None:
    alone = _train(server, "model_parallel", "example-alone", 1, "ml.t3.medium")
    assert alone["TrainingJobStatus"] == "Failed"
    assert "OutOfMemory" in alone["FailureReason"]
    found = _train(server, "model_parallel", "example-split", 2, "ml.t3.medium")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    lines = [line for line in server.log_of("example-split") if line.startswith("step")]
    losses = [float(line.split()[-1]) for line in lines]
    assert losses[-1] < losses[0]


def test_a_challenger_takes_over_an_endpoint(server: Server) -> None:
    told = server.cli("env").stdout
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(EXAMPLES / 'production.py'))}"
    done = subprocess.run(
        ["sh", "-c", f"{told}\n{command}"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shown = done.stdout.splitlines()
    assert [line for line in shown if line.startswith("after")]
    assert "InService: {'challenger': 1.0}" in shown
    assert shown[-1].startswith("challenger says")
    left = server.client("sagemaker").list_endpoints(NameContains="digits-production")
    assert left["Endpoints"] == []


# The SDK waits 45 s for a job that takes one, and 30 s for an endpoint: its clock goes faster here.
FASTER = """
import runpy, sys, time
began, now, sleep = time.time(), time.time, time.sleep
time.time = lambda: began + (now() - began) * 20
time.sleep = lambda seconds: sleep(seconds / 20)
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_the_quickstart(server: Server) -> None:
    """Version 2; version 3, another library of the same name, is in tests/clients."""
    done = subprocess.run(
        [sys.executable, "-c", FASTER, str(EXAMPLES / "quickstart" / "v2.py")],
        env={**server.variables(), "PATH": os.environ["PATH"]}, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines() if "flat of" in line)
    costs = float(next(iter(lines.values())))
    says = float(done.stdout.split("The endpoint says ")[1].split()[0])
    assert abs(says - costs) < 40
    sagemaker = server.client("sagemaker")
    listed = {**sagemaker.list_endpoints(), **sagemaker.list_models()}
    names = [item.get("EndpointName") or item["ModelName"]
             for item in (*listed["Endpoints"], *listed["Models"])]  # fmt: skip
    assert not [name for name in names if name.startswith(("sagemaker-scikit-learn", "quickstart"))]
    told = done.stdout
    assert "validation r2: 0.9" in told and "alpha=0.5" in told, "the script's log is streamed"


def test_the_readme_s_blocks_run_the_files_that_it_names() -> None:
    text = (EXAMPLES.parent / "README.md").read_text()
    for version in ("v2", "v3"):
        assert f"python examples/quickstart/{version}.py" in text
    named = re.findall(r"(?:examples|docs|scripts)/[\w./-]+\.\w+", text)
    assert named
    for name in named:
        assert (EXAMPLES.parent / name).is_file(), name
