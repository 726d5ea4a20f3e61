"""Tuning strategies against random search and the peers, on a simulated clock.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install optuna hyperopt syne-tune smac
    PYTHONPATH=src /tmp/peers/bin/python benchmarks/tuning.py --seeds 10

The environment needs this project's runtimes (NumPy, SciPy, scikit-learn, XGBoost) and PyTorch
beside the peers; what is missing is named and left out. Full trials: equal numbers of trials.
Stepwise: equal numbers of steps (epochs, rounds). Regret 0 is the best value known, 1 the median
random point; a rank is among the searches of the run on one problem and seed. Linear
algebra runs on one thread for all searches.
"""

import argparse
import concurrent.futures
import contextlib
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import rankdata
from tuning_clock import run
from tuning_peers import FULL, STEPWISE, Maker
from tuning_problems import Problem, curve_problems, full_problems

SHARES = (0.25, 0.5, 1.0)
FULL_TRIALS = 50
STEPWISE_TRIALS = 25
Result = tuple[str, str, int, int, list[float], float]


def available(makers: dict[str, Maker], problem: Problem) -> dict[str, Maker]:
    """The searches that can be made and asked here; prints what cannot, and why."""
    found = {}
    for name, make in makers.items():
        try:
            with quiet():
                make(problem, 0, 1, 5 * problem.steps).ask()
        except Exception as error:  # noqa: BLE001 - a peer may fail in any way.
            print(f"missing: {name} ({type(error).__name__}: {str(error).splitlines()[0][:90]})")
        else:
            found[name] = make
    return found


@contextlib.contextmanager
def quiet() -> Iterable[None]:
    """Peers' progress bars, warnings and logs stay out of the tables."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


PROBLEMS: dict[tuple[str, str], Problem] = {}


def prepare(folder: Path, only: str) -> None:
    """Make and calibrate the problems of both kinds whose names contain one of `only`."""
    words = only.split(",")
    for kind, made in (("full", full_problems(folder)), ("stepwise", curve_problems(folder))):
        for problem in made:
            if any(word in problem.name for word in words):
                PROBLEMS[kind, problem.name] = problem
    for problem in PROBLEMS.values():
        problem.calibrate()


def one(task: tuple[str, str, str, int, int]) -> tuple[Result, float]:
    """Run one search on one problem with one seed."""
    kind, problem_name, name, workers, seed = task
    problem = PROBLEMS[kind, problem_name]
    make = (FULL if kind == "full" else STEPWISE)[name]
    budget = (FULL_TRIALS if kind == "full" else STEPWISE_TRIALS) * problem.steps
    with quiet():
        outcome = run(problem, make(problem, seed, workers, budget), workers, budget, seed)
    values = [outcome.at(share) for share in SHARES]
    cpu = outcome.cpu_s / max(1, outcome.suggestions)
    return (problem_name, name, workers, seed, values, cpu), problem.lowest


def rescaled(kind: str, found: Sequence[tuple[Result, float]]) -> list[Result]:
    """Results with regret 0 at the lowest value that any search of the run has seen."""
    results = []
    for name, search, workers, seed, values, cpu in (result for result, _ in found):
        problem = PROBLEMS[kind, name]
        best = min([problem.best, *(low for other, low in found if other[0] == name)])
        span, new_span = problem.median - problem.best, problem.median - best
        moved = [(value * span + problem.best - best) / new_span for value in values]
        results.append((name, search, workers, seed, moved, cpu))
    return results


def table(results: Sequence[Result], names: Sequence[str], problems: Sequence[str]) -> None:
    """Print mean ranks and regrets over problems, and the final regret on each problem."""
    cells = {(p, n, s): (v, c) for p, n, _, s, v, c in results}
    pairs = [(p, s) for p in problems for s in sorted({r[3] for r in results})]
    pairs = [(p, s) for p, s in pairs if all((p, n, s) in cells for n in names)]
    values = np.array([[cells[p, n, s][0] for n in names] for p, s in pairs])
    ranks = np.apply_along_axis(rankdata, 1, values)
    cpu = np.array([[cells[p, n, s][1] for n in names] for p, s in pairs]).mean(axis=0)
    print(f"{'':34}rank 25 %  50 % 100 %   regret 25 %   50 %  100 %   CPU ms      ratio")
    for i in np.argsort(ranks[:, :, -1].mean(axis=0)):
        rank, regret = ranks[:, i].mean(axis=0), values[:, i].mean(axis=0)
        print(
            f"{names[i]:34}{rank[0]:9.2f} {rank[1]:5.2f} {rank[2]:5.2f}"
            f"   {regret[0]:11.3f} {regret[1]:6.3f} {regret[2]:6.3f}"
            f"   {1e3 * cpu[i]:6.1f} {cpu[i] / cpu[0]:10.2f}"
        )
    own = values[:, 0, -1]
    rng = np.random.default_rng(0)
    for i, name in enumerate(names[1:], start=1):
        gap = own - values[:, i, -1]
        # Problems are drawn, not runs: seeds of one problem are alike.
        groups = [gap[[k for k, (p, _) in enumerate(pairs) if p == q]] for q in problems]
        means = np.array([g.mean() for g in groups if len(g)])
        draws = rng.choice(means, (4000, len(means))).mean(axis=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        wins, ties = int((gap < -1e-9).sum()), int((np.abs(gap) <= 1e-9).sum())
        print(
            f"  {names[0]} minus {name}: {gap.mean():+.3f} [{low:+.3f}, {high:+.3f}], "
            f"{wins} won, {ties} even, {len(gap) - wins - ties} lost"
        )
    print(f"{'final regret':34}" + " ".join(f"{p[:12]:>12}" for p in problems))
    for i, name in enumerate(names):
        row = [
            values[[k for k, (p, _) in enumerate(pairs) if p == q], i, -1].mean() for q in problems
        ]
        print(f"{name:34}" + " ".join(f"{v:12.3f}" for v in row))


def compare(kind: str, options: argparse.Namespace) -> list[Result]:
    """Run every search of a kind on every problem and print the tables."""
    problems = [name for k, name in PROBLEMS if k == kind]
    if not problems:
        return []
    makers = FULL if kind == "full" else STEPWISE
    first = PROBLEMS[kind, problems[0]]
    words = options.peers.split(",")
    chosen = {n: m for n, m in makers.items() if any(word in n for word in words)}
    names = list(available(chosen, first))
    every: list[Result] = []
    for workers in options.workers:
        tasks = [
            (kind, p, n, workers, seed)
            for p in problems
            for seed in range(options.seeds)
            for n in names
        ]
        with concurrent.futures.ProcessPoolExecutor(options.processes) as pool:
            found = list(pool.map(one, tasks, chunksize=1))
        results = rescaled(kind, found)
        every += results
        unit = (
            f"{FULL_TRIALS} full trials" if kind == "full" else f"{STEPWISE_TRIALS} trials' steps"
        )
        print(f"\n{kind}: {unit}, {workers} workers, {options.seeds} seeds", flush=True)
        table(results, names, problems)
    return every


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--problems", default="", help="parts of problem names, by comma")
    parser.add_argument("--peers", default="", help="parts of the names of searches, by comma")
    parser.add_argument("--kinds", default="full,stepwise")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=Path("/tmp/loopwright-tuning"))
    parser.add_argument("--json", type=Path, help="write every run's figures to this file")
    options = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # Forked children of a process that has computed with several threads may hang.
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    print("preparing the problems", flush=True)
    prepare(options.folder, options.problems)
    results = {kind: compare(kind, options) for kind in options.kinds.split(",")}
    if options.json:
        options.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
