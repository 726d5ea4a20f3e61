"""Twenty histories of kills of control plane, shims and ranks: no checkpoint is ever torn."""

import contextlib
import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.compute.folder import UnitFolder
from tests.server import BUCKET, Server, training_request

pytestmark = pytest.mark.real
HISTORIES = 20
DRAWS = 60
KILLS_EACH_MAX = 3
SEED = 20
PARTS = ("model", "optimizer", "random")
SCRIPT = """\
import os, shutil, time

ROOT, STEPS, STYLE = "/opt/ml/checkpoints", int(os.environ["STEPS"]), os.environ["STYLE"]
PARTS = ("model", "optimizer", "random")

def content(step, part):
    return f"{part} {step} ".encode() * (50 + step)

def step_of(folder):
    # All parts are there and of the same step, whole.
    found = {part: open(f"{folder}/{part}", "rb").read() for part in PARTS}
    step = int(found["model"].split()[1])
    assert all(found[part] == content(step, part) for part in PARTS), "torn"
    assert len(os.listdir(folder)) == len(PARTS), "torn"
    return step

step = max([step_of(f"{ROOT}/{name}") for name in os.listdir(ROOT)], default=0)
print("begins at", step, flush=True)
while step < STEPS:
    step += 1
    if STYLE == "moved":
        made = f"{ROOT}/.new.tmp"
        shutil.rmtree(made, ignore_errors=True)
        os.mkdir(made)
    else:
        made = f"{ROOT}/latest"
        os.makedirs(made, exist_ok=True)
    for part in PARTS:
        with open(f"{made}/{part}", "wb", buffering=0) as stream:
            whole = content(step, part)
            stream.write(whole[: len(whole) // 2])
            time.sleep(0.01)
            stream.write(whole[len(whole) // 2 :])
    if STYLE == "moved":
        os.rename(made, f"{ROOT}/step-{step:06d}")
        for old in sorted(name for name in os.listdir(ROOT) if name.startswith("step-"))[:-2]:
            shutil.rmtree(f"{ROOT}/{old}")
    time.sleep(0.05 if STYLE == "moved" else 1.2)
open("/opt/ml/model/done", "w").write(str(step))
print("ends at", step, flush=True)
"""


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Server]:
    """A server of one's own with room for all jobs at once."""
    running = Server(tmp_path / "home", cpus=2 * HISTORIES)
    running.start()
    yield running
    running.stop()


def _begin(server: Server, name: str, style: str, steps: int) -> None:
    request = training_request(name, server.put_source("histories", {"train.py": SCRIPT}))
    request["Environment"] = {"STEPS": str(steps), "STYLE": style}
    request["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/histories/{name}"}
    request["RetryStrategy"] = {"MaximumRetryAttempts": KILLS_EACH_MAX}
    server.client("sagemaker").create_training_job(**request)


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def _live(server: Server) -> list[UnitFolder]:
    """Units that run now."""
    folders = [UnitFolder(path) for path in (server.home / "units").iterdir()]
    return [f for f in folders if f.read("started") is not None and f.is_alive()]


def _kill(folder: UnitFolder, what: str) -> bool:
    """SIGKILL a unit's shim, or its script; whether there was one."""
    pid = int((folder.read("started") or {"pid": 0})["pid"])
    if what == "rank":
        # Below the shim stands the first process of the sandbox, below that the script.
        pid = next((c for first in _children(pid) for c in _children(first)), 0)
    if not pid:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _expected(step: int) -> dict[str, str]:
    return {
        part: hashlib.md5(f"{part} {step} ".encode() * (50 + step)).hexdigest() for part in PARTS
    }


STEPS_MAX = 100
WHOLE = [_expected(step) for step in range(1, STEPS_MAX + 1)]


def _check_shown(server: Server) -> int:
    """Every checkpoint in the store is whole, all of one step; how many there are.

    One page of a list is one moment.
    """
    listed = server.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="histories/")
    assert not listed["IsTruncated"]
    shown: dict[str, dict[str, Any]] = {}
    for item in listed.get("Contents", []):
        folder, _, part = item["Key"].rpartition("/")
        shown.setdefault(folder, {})[part] = item
    for folder, parts in shown.items():
        tags = {part: item["ETag"].strip('"') for part, item in parts.items()}
        assert tags in WHOLE, f"{folder} is torn: {tags}"
    return len(shown)


def _name(folder: UnitFolder) -> str:
    """The job of a unit."""
    return str((folder.read("program.json") or {})["log"]["stream"]).partition("/")[0]


def _any_left(server: Server) -> bool:
    listed = server.client("sagemaker").list_training_jobs(
        NameContains="history-", StatusEquals="InProgress"
    )
    return bool(listed["TrainingJobSummaries"])


def _has_begun(folder: UnitFolder) -> bool:
    log = Path((folder.read("program.json") or {})["log_path"])
    return log.exists() and b"begins" in log.read_bytes()


def _kill_at_random(
    server: Server, chooser: random.Random, jobs: list[tuple[str, str, int]]
) -> tuple[Counter[str], Counter[str]]:
    """Begin jobs, one by one, and kill meanwhile; kills by what was killed, and by job.

    What is shown is looked at after each kill. On a busy machine the first jobs end before the last
    begin, and it takes more draws to meet half of them.
    """
    done: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    draws = 0
    while draws < DRAWS or jobs or (len(hit) < HISTORIES / 2 and _any_left(server)):
        draws += 1
        if jobs:
            _begin(server, *jobs.pop(0))
        time.sleep(chooser.uniform(0.0, 0.3))  # The instant is what is tried.
        what = chooser.choices(("rank", "shim", "plane"), (6, 4, 1))[0]
        if what == "plane":
            server.kill()
            server.start()
            done[what] += 1
            continue
        live = [
            folder
            for folder in _live(server)
            if hit[_name(folder)] < KILLS_EACH_MAX and _has_begun(folder)
        ]
        fresh = [folder for folder in live if not hit[_name(folder)]]
        if live and _kill(chosen := chooser.choice(fresh or live), what):
            done[what] += 1
            hit[_name(chosen)] += 1
        _check_shown(server)
    return done, hit


def test_twenty_histories_of_kills_tear_no_checkpoint(roomy: Server) -> None:
    server = roomy
    steps = {f"history-{n}": (STEPS_MAX, 5)[n % 2] for n in range(HISTORIES)}
    jobs = [
        (name, ("moved", "in-place")[number % 2], count)
        for number, (name, count) in enumerate(steps.items())
    ]
    done, hit = _kill_at_random(server, random.Random(SEED), jobs)
    assert min(done["rank"], done["shim"], done["plane"]) > 0
    assert len(hit) >= HISTORIES / 2
    attempts = 0
    for name, count in steps.items():
        found = server.trained(name)
        assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
        lines = server.log_of(name)
        assert not any("torn" in line for line in lines)
        begins = [int(line.split()[-1]) for line in lines if line.startswith("begins")]
        assert begins == sorted(begins), "a checkpoint was lost that had been shown"
        assert f"ends at {count}" in lines
        attempts += len(begins)
    assert attempts > HISTORIES + hit.total() / 2
    assert _check_shown(server) >= HISTORIES
