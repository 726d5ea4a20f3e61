"""Loopwright's whole path and the peers that serve models, on the same model in one run.

    python benchmarks/serving.py [ENV]

The peers are those of the virtual environment ENV. Without it one is made in `.cache/serving`,
once, which takes some minutes and 1.2 GB.

Measure: CPU time of all processes on the path of a request, requests a second, latency. Every
answer is checked. Peers get the rows in the form that each of them takes.
"""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import orjson
from bench_endpoint import (
    ONE_THREAD,
    WHOLE,
    Targets,
    _bodies,
    _loopwright,
    _peers,
    _plain,
    fitted,
)
from common import (
    HERE,
    Load,
    await_listening,
    folder,
    free_port,
    load,
    ratio,
    remark,
    spawned,
    table,
    tree,
)
from threadpoolctl import threadpool_limits

MADE = HERE.parent / ".cache" / "serving"
PEERS = (
    "litserve==0.2.19", "bentoml==1.4.40", "mlflow==3.17.2", "ray[serve]==2.60.0",
    "scikit-learn==1.9.1",
)  # fmt: skip
OURS = (WHOLE, "Loopwright's model server")
COLUMNS = ("CPU", "requests/s", "p50", "p99")
# Not a peer but a bound: the same model by hand, in the fastest server that we know.
BY_HAND = "granian, RSGI"
ROUNDS = 3
SECONDS = 2.5
Rows = dict[int, list[tuple[bytes, Any]]]


def made() -> Path:
    """The environment with the peers; an unfinished one is made anew."""
    if not (MADE / "complete").exists():
        print(f"Making {MADE} with {', '.join(PEERS)} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(MADE)], check=True)
        subprocess.run([str(MADE / "bin" / "pip"), "install", "--quiet", *PEERS], check=True)
        (MADE / "complete").touch()
    return MADE


def main(environment: Path) -> None:
    model = fitted()
    bodies = {rows: _bodies(model, rows) for rows in (1, 100)}
    with folder() as where, contextlib.ExitStack() as stack:
        stack.enter_context(threadpool_limits(1))
        joblib.dump(model, where / "model.joblib")
        targets: Targets = {
            **stack.enter_context(_loopwright(where, bodies)),
            **stack.enter_context(_peers(where, bodies)),
            **stack.enter_context(_others(environment, where, bodies)),
        }
        for rows in (1, 100):
            measure(targets, rows)
    remark()


def measure(targets: Targets, rows: int) -> None:
    """All targets in turn, at 1 and at 32 connections."""
    for connections in (1, 32):
        found: dict[str, list[Load]] = {name: [] for name in targets}
        for _ in range(ROUNDS):
            for name, (address, pids, requests) in targets.items():
                with contextlib.suppress(RuntimeError):  # A peer that answers nobody has no row.
                    found[name].append(load(address, connections, SECONDS, requests[rows], pids))
        ours = found[WHOLE]
        shown = [[name, *_row(seen, ours)] for name, seen in found.items() if len(seen) == ROUNDS]
        heads = ["", "CPU us", "x ours", "requests/s", "x ours", "p50 ms", "x ours", "p99 ms",
                 "x ours"]  # fmt: skip
        table(f"{rows} rows, {connections} connections", heads, shown)
        for name, seen in found.items():
            if name not in (*OURS, BY_HAND) and len(seen) == ROUNDS:
                _ahead(name, seen, ours)


def _ahead(name: str, seen: list[Load], ours: list[Load]) -> None:
    """Print whether ours is ahead of a peer in every column."""
    cells = _row(seen, ours)[1::2]
    behind = [
        column
        for column, cell in zip(COLUMNS, cells, strict=True)
        if (float(cell) >= 1) == (column == "requests/s")
    ]
    print(f"  goal: ahead of {name} in every column: {_word(behind)}")


def _word(behind: list[str]) -> str:
    return f"MISSED in {', '.join(behind)}" if behind else "met"


def _row(seen: list[Load], ours: list[Load]) -> list[str]:
    cells = []
    columns: list[tuple[Callable[[Load], float], str]] = [
        (lambda one: one.cpu_us, ".0f"),
        (lambda one: one.per_s, ",.0f"),
        (lambda one: one.p50_ms, ".2f"),
        (lambda one: one.p99_ms, ".2f"),
    ]
    for column, shape in columns:
        mine, theirs = [column(one) for one in ours], [column(one) for one in seen]
        cells += [format(statistics.median(theirs), shape), f"{ratio(theirs, mine):.2f}"]
    return cells


@contextlib.contextmanager
def _others(environment: Path, where: Path, bodies: Rows) -> Iterator[Targets]:
    """The other peers, one worker each; one that is not installed is left out."""
    python, model = str(environment / "bin" / "python"), str(where / "model.joblib")
    variables = {
        **ONE_THREAD, "BENCH_MODEL": model, "PYTHONPATH": str(HERE), "BENTOML_DO_NOT_TRACK": "1",
        "BENTOML_HOME": str(where / "bento"), "PATH": f"{environment}/bin:{os.environ['PATH']}",
    }  # fmt: skip
    subprocess.run(
        [python, str(HERE / "serving_mlflow.py"), str(where / "mlflow-model")],
        env={**os.environ, **variables}, check=False, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    shutil.copy(HERE / "serving_bento.py", where / "serving_bento.py")
    makers: dict[str, tuple[Callable[[int], list[str]], Rows]] = {
        "LitServe": (
            lambda port: [python, str(HERE / "serving_litserve.py"), str(port)],
            _asked(bodies, "rows", lambda labels: {"labels": labels}),
        ),
        "Ray Serve": (
            lambda port: [python, str(HERE / "serving_ray.py"), str(port)],
            _asked(bodies, "rows", lambda labels: {"labels": labels}),
        ),
        "BentoML": (
            lambda port: [
                f"{environment}/bin/bentoml",
                "serve",
                "serving_bento:Labels",
                "--port",
                str(port),
                "--host",
                "127.0.0.1",
                "--working-dir",
                str(where),
            ],
            _asked(bodies, "rows", lambda labels: labels),
        ),
        "MLflow": (
            lambda port: [
                f"{environment}/bin/mlflow",
                "models",
                "serve",
                "-m",
                str(where / "mlflow-model"),
                "--port",
                str(port),
                "--host",
                "127.0.0.1",
                "--env-manager",
                "local",
                "--workers",
                "1",
            ],
            _asked(bodies, "inputs", lambda labels: {"predictions": labels}),
        ),
    }
    found: Targets = {}
    with contextlib.ExitStack() as stack:
        for name, (command, requests) in makers.items():
            port = free_port()
            process = stack.enter_context(spawned(command(port), variables))
            try:
                await_listening(port, process, 90)
                _answering(port, requests[1])
            except (RuntimeError, TimeoutError) as error:
                print(f"{name} is left out: {str(error)[-300:]}")
                continue
            found[name] = (port, tree(process.pid), requests)
        yield found


def _answering(port: int, requests: list[tuple[bytes, Any]]) -> None:
    """Listening comes before a worker's imports are done: wait for right answers."""
    for attempt in range(60):
        try:
            load(port, 1, 0.1, requests, [])
            return
        except RuntimeError:
            if attempt == 59:
                raise


def _asked(bodies: Rows, member: str, answer: Callable[[Any], Any]) -> Rows:
    """The rows within an object, and the labels as the peer answers them."""
    return _plain(
        {
            rows: [
                (orjson.dumps({member: orjson.loads(body)}), answer(labels))
                for body, labels in some
            ]
            for rows, some in bodies.items()
        }
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else made())
