"""Create, Describe and List with 100 and with 100,000 records: both stores should cost the same.

In process the operations run as the API runs them, on two SQLite files in turn. Over HTTP boto3
asks two servers, whose homes hold those files.
"""

import contextlib
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Server, folder, goal, remark, table

from loopwright.contract.instances import Machine
from loopwright.control import all_kinds
from loopwright.database import Database
from loopwright.kernel.clock import ScaledClock
from loopwright.kernel.kinds import Kinds, Lookup
from loopwright.kernel.records import Record
from loopwright.kernel.store import Store, add_event, insert_record, new_uid
from loopwright.kernel.verbs import Context, Operation, generic_operations
from loopwright.wire.services import service
from tests.server import training_request

SIZES = (100, 100_000)
CALLS = 200
GOAL = 1.2
REGION = "us-east-1"
STATES = ("Completed",) * 4 + ("Failed",)  # Of each state more than a page, at both sizes.
BATCH = 5_000


def main() -> None:
    with folder() as where:
        homes = {size: where / f"home{size}" for size in SIZES}
        stores = {}
        for size, home in homes.items():
            stores[size] = Bench(home, size)
        in_process(stores)
        for bench in stores.values():
            bench.store.database.close()
        over_http(homes)
    remark()


class Bench:
    """A store of training jobs, and the operations on it."""

    def __init__(self, home: Path, size: int) -> None:
        self.size = size
        self.made = 0
        self.store = Store(Database(f"sqlite:///{home / 'loopwright.db'}"))
        self.store.create_tables()
        kinds = Kinds(all_kinds(Machine(2, 2**33)), account="123456789012")
        self._operations: dict[str, Operation] = generic_operations(kinds, service("sagemaker"))
        self._context = Context(
            REGION, self.store, kinds, ScaledClock(1.0),
            Lookup(lambda kind, name: self.store.get(REGION, kind, name), lambda uri: True),
            lambda: None,
        )  # fmt: skip
        self._fill(kinds)

    def _fill(self, kinds: Kinds) -> None:
        """Finished jobs, as their planner leaves them, in few transactions."""
        kind = kinds["TrainingJob"]
        draw = random.Random(5)
        began = time.time() - 86_400 * 30
        for start in range(0, self.size, BATCH):

            def work(connection: Any, start: int = start) -> None:
                for number in range(start, min(start + BATCH, self.size)):
                    at = began + number * 20
                    name = f"job-{number:06d}"
                    spec = training_request(name, "s3://bucket/code.tar.gz")
                    state = draw.choice(STATES)
                    status = {**kind.initial_status(spec, at), "TrainingJobStatus": state}
                    arn = kinds.arn(kind, REGION, name)
                    record = Record(REGION, kind.name, name, new_uid(), arn, spec, status, at, at)
                    insert_record(connection, record, state=state, due=None)
                    add_event(connection, record.uid, at, "Created")

            self.store.database.write(work)

    def run(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self._operations[operation](self._context, parameters)

    def create(self) -> None:
        self.made += 1
        request = training_request(f"new-{self.made:06d}", "s3://bucket/code.tar.gz")
        self.run("CreateTrainingJob", **request)

    def describe(self) -> None:
        self.run("DescribeTrainingJob", TrainingJobName=f"job-{random.randrange(self.size):06d}")

    def list(self, **parameters: Any) -> Callable[[], object]:
        return lambda: self.run("ListTrainingJobs", **parameters)


def in_process(stores: dict[int, Bench]) -> None:
    """Each operation on both stores in turn."""
    newest = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    calls: dict[str, Callable[[Bench], Callable[[], object]]] = {
        "create": lambda bench: bench.create,
        "describe": lambda bench: bench.describe,
        "list by CreationTime": lambda bench: bench.list(SortBy="CreationTime"),
        "list by CreationTime, newest first": lambda bench: bench.list(**newest),
        "list by Name": lambda bench: bench.list(SortBy="Name"),
        "list Completed by CreationTime": lambda bench: bench.list(
            SortBy="CreationTime", StatusEquals="Completed"
        ),
        "list Failed by CreationTime": lambda bench: bench.list(
            SortBy="CreationTime", StatusEquals="Failed"
        ),
        "list InProgress, newest first": lambda bench: bench.list(
            **newest, StatusEquals="InProgress"
        ),
        "list Stopping by CreationTime": lambda bench: bench.list(
            SortBy="CreationTime", StatusEquals="Stopping"
        ),
        "list Completed by Name": lambda bench: bench.list(SortBy="Name", StatusEquals="Completed"),
        "list Stopping by Name": lambda bench: bench.list(SortBy="Name", StatusEquals="Stopping"),
    }
    compare(
        "In process: CPU us a call",
        {
            name: {size: make(bench) for size, bench in stores.items()}
            for name, make in calls.items()
        },
        time.process_time,
    )


def over_http(homes: dict[int, Path]) -> None:
    with contextlib.ExitStack() as stack:
        asks: dict[int, Callable[[], object]] = {}
        for size, home in homes.items():
            server = Server(home, cpus=2, options=("--cold",))
            server.start()
            stack.callback(server.stop)
            asks[size] = _asking(server, size)
        compare("Over HTTP with boto3: us a call", {"describe": asks}, time.perf_counter)


def _asking(server: Server, size: int) -> Callable[[], object]:
    sagemaker = server.client("sagemaker")

    def ask() -> object:
        name = f"job-{random.randrange(size):06d}"
        return sagemaker.describe_training_job(TrainingJobName=name)

    return ask


def compare(
    title: str,
    calls: dict[str, dict[int, Callable[[], object]]],
    clock: Callable[[], float],
) -> None:
    """The median of the calls on each store, and their ratio."""
    small, large = SIZES
    rows, ratios = [], {}
    for name, by_size in calls.items():
        found: dict[int, list[float]] = {size: [] for size in SIZES}
        ends = time.perf_counter() + 4
        for turn in range(CALLS):
            for size in SIZES:
                began = clock()
                by_size[size]()
                if turn >= CALLS // 20 or size == large:
                    found[size].append(clock() - began)
            if time.perf_counter() > ends:
                break
        medians = {size: statistics.median(found[size]) * 1e6 for size in SIZES}
        ratios[name] = medians[large] / medians[small]
        rows.append([name, f"{medians[small]:.0f}", f"{medians[large]:.0f}", f"{ratios[name]:.2f}"])
    table(title, ["", f"{small:,} records", f"{large:,} records", "x"], rows)
    for name, value in ratios.items():
        goal(name, value, GOAL)


if __name__ == "__main__":
    main()
