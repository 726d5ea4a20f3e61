"""Trials a minute: the same small training under Loopwright, Optuna and Ray Tune, in one run.

Every tool draws points at random and runs four trials at once; what differs is what a trial costs
besides its training. Optuna starts the script in a process a trial, as one does to isolate trials;
Ray Tune runs it in its own worker processes. Peers live in a virtual environment of their own:
`--peers DIR` names it (`pip install optuna "ray[tune]" scikit-learn` there); without it only
Optuna's way, a process a trial driven by hand, is measured.
"""

import argparse
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import folder, goal, loopwright, remark, table

from tests.real.tuning import definition, ended
from tests.server import Server

PARALLEL = 4
GOAL = 3.0
SCRIPT = """\
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.01)
arguments, _ = parser.parse_known_args()

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier

rows, labels = load_breast_cancer(return_X_y=True)
model = SGDClassifier(alpha=arguments.rate, random_state=0).fit(rows[:400], labels[:400])
print(f"acc={model.score(rows[400:], labels[400:]):.4f}", flush=True)
"""
RAY = """\
import subprocess, sys, time
import ray
from ray import tune


def trial(config):
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import SGDClassifier

    rows, labels = load_breast_cancer(return_X_y=True)
    model = SGDClassifier(alpha=config["rate"], random_state=0).fit(rows[:400], labels[:400])
    tune.report({"acc": model.score(rows[400:], labels[400:])})


ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
started = time.perf_counter()
tune.Tuner(
    trial,
    param_space={"rate": tune.loguniform(1e-5, 1e-1)},
    tune_config=tune.TuneConfig(num_samples=int(sys.argv[1]), max_concurrent_trials=4),
    run_config=tune.RunConfig(verbose=0),
).fit()
print("seconds", time.perf_counter() - started)
"""
OPTUNA = """\
import re, subprocess, sys, time
import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(trial):
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    done = subprocess.run(
        [sys.executable, sys.argv[2], "--rate", str(rate)],
        capture_output=True, text=True, check=True,
    )
    return float(re.search(r"acc=([0-9.]+)", done.stdout)[1])


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
started = time.perf_counter()
study.optimize(objective, n_trials=int(sys.argv[1]), n_jobs=4)
print("seconds", time.perf_counter() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--peers", type=Path, help="virtual environment with optuna and ray[tune]")
    arguments = parser.parse_args()
    rows, goals = [], []
    with folder() as scratch, loopwright() as server:
        (scratch / "train.py").write_text(SCRIPT)
        tuned(server, "warm-up", 4)
        ours = tuned(server, "trials", arguments.trials)
        rows.append(("Loopwright", _rate(arguments.trials, ours), "1.00x"))
        hand = by_hand(scratch / "train.py", arguments.trials)
        rows.append(("a process a trial", _rate(arguments.trials, hand), f"{hand / ours:.2f}x"))
        for name, program in (("Optuna", OPTUNA), ("Ray Tune", RAY)):
            if arguments.peers is None:
                print(f"{name} is not measured: give --peers.")
                continue
            seconds = peer(arguments.peers, program, arguments.trials, scratch / "train.py")
            rows.append((name, _rate(arguments.trials, seconds), f"{seconds / ours:.2f}x"))
            goals.append((name, ours / seconds))
    table("Trials", ("tool", "trials a minute", "Loopwright to it"), rows)
    for name, share in goals:
        goal(f"time of Loopwright's trials to {name}'s", share, 1 / GOAL)
    remark()


def _rate(trials: int, seconds: float) -> str:
    return f"{60 * trials / seconds:.0f}"


def tuned(server: Server, name: str, trials: int) -> float:
    """Seconds of a tuning job, from its first trial's creation to its last one's end."""
    server.put("x", "y")
    request = definition(server, SCRIPT)
    request["AlgorithmSpecification"]["MetricDefinitions"] = [
        {"Name": "acc", "Regex": "acc=([0-9.]+)"}
    ]
    rate = {"Name": "rate", "MinValue": "1e-5", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
    started = time.perf_counter()
    server.client("sagemaker").create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "acc"},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": trials,
                "MaxParallelTrainingJobs": PARALLEL,
            },
            "ParameterRanges": {"ContinuousParameterRanges": [rate]},
        },
        TrainingJobDefinition=request,
    )
    found = ended(server, name, 500)
    assert found["TrainingJobStatusCounters"]["Completed"] == trials, found
    return time.perf_counter() - started


def by_hand(script: Path, trials: int) -> float:
    """Seconds of the same script, a fresh interpreter each time, four at once."""

    def run(number: int) -> None:
        command = [sys.executable, str(script), "--rate", str(10 ** -(1 + number % 5))]
        subprocess.run(command, capture_output=True, check=True)

    started = time.perf_counter()
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(run, range(trials)))
    return time.perf_counter() - started


def peer(environment: Path, program: str, trials: int, script: Path) -> float:
    """Seconds that a peer's own program says."""
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-c", program, str(trials), str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    found = re.search(r"seconds ([0-9.]+)", done.stdout)
    if found is None:
        raise RuntimeError(done.stderr[-2000:])
    return float(found[1])


if __name__ == "__main__":
    main()
