"""A LogisticRegression behind Loopwright's whole path and behind peers: CPU, rate, latency.

The measure is the CPU time of all processes on the path of a request, as a ratio to the loop in
one process that parses the JSON, predicts and encodes, request by request. Every answer is checked.
"""

import contextlib
import statistics
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import orjson
from common import (
    HERE,
    Load,
    Server,
    await_listening,
    folder,
    free_port,
    goal,
    load,
    loopwright,
    ratio,
    remark,
    sent_by,
    spawned,
    table,
    tree,
)
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from tests.real.scripts import SERVE

ROUNDS = 3
SECONDS = 0.8
BODIES = 8
GOAL = 0.5
ENDPOINT = "bench"
# One thread for everybody: the products are too small for more, and the CPUs are counted.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
WHOLE, LOOP = "Loopwright, signed, whole path", "loop in one process"
# name -> address, processes, requests by rows a body.
Targets = dict[str, tuple[str | int, list[int], dict[int, list[tuple[bytes, Any]]]]]


def main() -> None:
    model = fitted()
    bodies = {rows: _bodies(model, rows) for rows in (1, 100)}
    with folder() as where, contextlib.ExitStack() as stack:
        stack.enter_context(threadpool_limits(1))
        joblib.dump(model, where / "model.joblib")
        targets: Targets = {
            **stack.enter_context(_loopwright(where, bodies)),
            **stack.enter_context(_peers(where, bodies)),
        }
        for rows in (1, 100):
            measure(model, targets, rows, bodies[rows])
    remark()


def measure(
    model: LogisticRegression, targets: Targets, rows: int, bodies: list[tuple[bytes, Any]]
) -> None:
    """All targets in turn, at 1 and at 32 connections."""
    found: dict[tuple[str, int], list[Load]] = {}
    loop_us = []
    for _ in range(ROUNDS):
        loop_us.append(_loop_us(model, bodies))
        for name, (address, pids, requests) in targets.items():
            for connections in (1, 32):
                seen = load(address, connections, SECONDS, requests[rows], pids)
                found.setdefault((name, connections), []).append(seen)
    shown = [[LOOP, f"{statistics.median(loop_us):.0f}", "1.00"]]
    shown[0] += [*shown[0][1:], f"{1e6 / statistics.median(loop_us):,.0f}", "", ""]
    for name in targets:
        cells = [name]
        for connections in (1, 32):
            us = [seen.cpu_us for seen in found[name, connections]]
            cells += [f"{statistics.median(us):.0f}", f"{ratio(us, loop_us):.2f}"]
        rate = statistics.median(seen.per_s for seen in found[name, 32])
        cells += [f"{rate:,.0f}", *(_latencies(found[name, number]) for number in (1, 32))]
        shown.append(cells)
    table(
        f"{rows}-row JSON, CPU us a request (x loop) at 1 and 32 connections",
        ["", "us c1", "x", "us c32", "x", "req/s c32", "ms p50/p99 c1", "ms p50/p99 c32"],
        shown,
    )
    most = GOAL if rows == 1 else None
    whole = ratio([seen.cpu_us for seen in found[WHOLE, 32]], loop_us)
    if most is not None:
        goal("whole path at 32 connections, to the loop", whole, most)


def _latencies(seen: list[Load]) -> str:
    p50 = statistics.median(one.p50_ms for one in seen)
    p99 = statistics.median(one.p99_ms for one in seen)
    return f"{p50:.2f}/{p99:.2f}"


def fitted() -> LogisticRegression:
    """64 features, 10 classes."""
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(2000, 64))
    labels = (rows @ draw.normal(size=(64, 10))).argmax(axis=1)
    return LogisticRegression(max_iter=300).fit(rows, labels)


def _bodies(model: LogisticRegression, rows: int) -> list[tuple[bytes, Any]]:
    """(JSON, right labels); several, so that an answer to another request would be seen."""
    draw = np.random.default_rng(rows)
    tables = [np.round(draw.normal(size=(rows, 64)), 3) for _ in range(BODIES)]
    return [(orjson.dumps(one.tolist()), model.predict(one).tolist()) for one in tables]


def _loop_us(model: LogisticRegression, bodies: list[tuple[bytes, Any]]) -> float:
    """CPU time a request of parse, predict and encode, one after the other, nothing else."""
    for body, right in bodies:
        assert model.predict(np.array(orjson.loads(body))).tolist() == right
    count, used = 0, time.process_time()
    ends = time.perf_counter() + SECONDS / 2
    while time.perf_counter() < ends:
        for body, _ in bodies:
            orjson.dumps(model.predict(np.array(orjson.loads(body))).tolist())
        count += len(bodies)
    return (time.process_time() - used) / count * 1e6


@contextlib.contextmanager
def _loopwright(where: Path, bodies: dict[int, list[tuple[bytes, Any]]]) -> Iterator[Targets]:
    """The endpoint by its public address, and its model server by its own socket."""
    with tarfile.open(where / "model.tar.gz", "w:gz") as archive:
        archive.add(where / "model.joblib", "model.joblib")
    with loopwright() as server:
        model = server.put("bench/model.tar.gz", (where / "model.tar.gz").read_bytes())
        server.deploy(ENDPOINT, model, SERVE)
        gateway = orjson.loads((server.home / "run" / "gateway.json").read_bytes())
        (unit,) = server.home.glob("units/*/base/.loopwright/serve.sock")
        shim = orjson.loads((unit.parents[2] / "started").read_bytes())["pid"]
        server_pids = tree(shim)
        yield {
            WHOLE: (server.port, [gateway["pid"], *server_pids], _signed(server, bodies)),
            "Loopwright's model server": (str(unit), server_pids, _plain(bodies)),
        }


def _signed(
    server: Server, bodies: dict[int, list[tuple[bytes, Any]]]
) -> dict[int, list[tuple[bytes, Any]]]:
    runtime = server.client("sagemaker-runtime")

    def request(body: bytes) -> bytes:
        return sent_by(
            runtime, "invoke_endpoint", EndpointName=ENDPOINT, Body=body,
            ContentType="application/json", Accept="application/json",
        )  # fmt: skip

    return {rows: [(request(body), right) for body, right in bodies[rows]] for rows in bodies}


def _plain(bodies: dict[int, list[tuple[bytes, Any]]]) -> dict[int, list[tuple[bytes, Any]]]:
    def request(body: bytes) -> bytes:
        head = (
            "POST /invocations HTTP/1.1\r\nHost: model\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    return {rows: [(request(body), right) for body, right in bodies[rows]] for rows in bodies}


@contextlib.contextmanager
def _peers(where: Path, bodies: dict[int, list[tuple[bytes, Any]]]) -> Iterator[Targets]:
    """The same model behind other servers, one worker each, without access logs."""
    environment = {
        **ONE_THREAD,
        "BENCH_MODEL": str(where / "model.joblib"),
        "PYTHONPATH": str(HERE),
    }
    commands = {
        "FastAPI on uvicorn": [
            "uvicorn", "--no-access-log", "--log-level", "warning", "peers:fast",
        ],
        "granian, RSGI": [
            "granian", "--interface", "rsgi", "--no-access-log", "--log-level", "warning",
            "peers:rsgi",
        ],
    }  # fmt: skip
    found: Targets = {}
    with contextlib.ExitStack() as stack:
        for name, (module, *options) in commands.items():
            port = free_port()
            command = [
                sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(port), *options,
            ]  # fmt: skip
            process = stack.enter_context(spawned(command, environment))
            await_listening(port, process)
            # Listening comes before the worker's imports are done: wait for a right answer.
            load(port, 1, 0.1, _plain(bodies)[1], [])
            found[name] = (port, tree(process.pid), _plain(bodies))
        yield found


if __name__ == "__main__":
    main()
