"""A small training job, against the same script by hand and against the script's own work.

The job is timed from before `create_training_job` until `describe_training_job`, asked every 10 ms,
says Completed: it covers staging, the sandbox, the script, and the upload of the model. The script
prints how long its own lines took, from its first import to its last line.

`--cold` measures a server that keeps no warm interpreter as well.
"""

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import Server, folder, goal, loopwright, ratio, remark, table, timed
from sklearn.linear_model import LogisticRegression

from tests.server import BUCKET, channel, training_request

ROUNDS = 7
GOAL_S = 0.5
TIMEOUT_S = 60.0
SCRIPT = """\
import time

started = time.perf_counter()
import os

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression

rows = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "rows.csv"), delimiter=",")
model = LogisticRegression(max_iter=200).fit(rows[:, 1:], rows[:, 0])
joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
print(f"work_s={time.perf_counter() - started:.6f}", flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cold", action="store_true", help="measure a cold server as well")
    cold_too = parser.parse_args().cold
    with folder() as by_hand, contextlib.ExitStack() as stack:
        (by_hand / "train.py").write_text(SCRIPT)
        (by_hand / "rows.csv").write_text(_rows())
        servers = {"warm job": stack.enter_context(loopwright())}
        if cold_too:
            servers["cold job"] = stack.enter_context(loopwright("--cold"))
        for server in servers.values():
            server.put("rows/rows.csv", _rows())
            server.put_source("script", {"train.py": SCRIPT})
            _job(server, "first")  # Waits for the warm interpreter, and fills the disk's cache.
        job_s: dict[str, list[float]] = {name: [] for name in servers}
        work_s: dict[str, list[float]] = {name: [] for name in servers}
        hand_s = []
        for turn in range(ROUNDS):
            hand_s.append(timed(lambda: _by_hand(by_hand)))
            for name, server in servers.items():
                took, worked = _job(server, f"round-{turn}")
                job_s[name].append(took)
                work_s[name].append(worked)
    report(job_s, work_s, hand_s)
    remark()


def report(
    job_s: dict[str, list[float]], work_s: dict[str, list[float]], hand_s: list[float]
) -> None:
    rows = [["python train.py", f"{statistics.median(hand_s):.3f}", "", "", "1.00"]]
    over_s = {
        name: [a - b for a, b in zip(job_s[name], work_s[name], strict=True)] for name in job_s
    }
    for name in job_s:
        rows.append(
            [
                name,
                f"{statistics.median(job_s[name]):.3f}",
                f"{statistics.median(work_s[name]):.3f}",
                f"{statistics.median(over_s[name]):.3f}",
                f"{ratio(job_s[name], hand_s):.2f}",
            ]
        )
    table(
        "A LogisticRegression on 500 rows of 8 columns",
        ["", "s", "script's own s", "s over its own", "x by hand"],
        rows,
    )
    goal(
        "a warm job over its script's own work", statistics.median(over_s["warm job"]), GOAL_S, "s"
    )


def _rows() -> str:
    """Label, then eight columns."""
    draw = np.random.default_rng(7)
    columns = draw.normal(size=(500, 8))
    labels = (columns.sum(axis=1) > 0).astype(int)
    assert LogisticRegression().fit(columns, labels).score(columns, labels) > 0.9
    lines = [",".join(map(str, [label, *row])) for label, row in zip(labels, columns, strict=True)]
    return "\n".join(lines)


def _by_hand(where: Path) -> None:
    subprocess.run(
        [sys.executable, "train.py"],
        cwd=where,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "SM_CHANNEL_TRAIN": ".", "SM_MODEL_DIR": "."},
    )


def _job(server: Server, name: str) -> tuple[float, float]:
    """Seconds that a job took as its client sees it, and that its script took by itself."""
    sagemaker = server.client("sagemaker")
    request = training_request(name, f"s3://{BUCKET}/code/script.tar.gz")
    began = time.perf_counter()
    sagemaker.create_training_job(
        **request, InputDataConfig=[channel("train", f"s3://{BUCKET}/rows/")]
    )
    while True:
        found = sagemaker.describe_training_job(TrainingJobName=name)
        if found["TrainingJobStatus"] != "InProgress":
            break
        if time.perf_counter() - began > TIMEOUT_S:
            raise TimeoutError(f"{name} is still {found['SecondaryStatus']} after {TIMEOUT_S:g} s")
        time.sleep(0.01)
    took = time.perf_counter() - began
    log = "\n".join(server.log_of(name))
    worked = re.search(r"work_s=([\d.]+)", log)
    if found["TrainingJobStatus"] != "Completed" or worked is None:
        raise RuntimeError(f"{name}: {found.get('FailureReason')}\n{log[-2000:]}")
    return took, float(worked[1])


if __name__ == "__main__":
    main()
