"""Human loops through random histories: crashes anywhere, slow, impatient and repeating workers."""

import multiprocessing
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from loopwright.aws.events import tables as events_tables
from loopwright.aws.events.bus import RULE, TARGET, Bus
from loopwright.aws.events.tables import OUTBOX
from loopwright.kernel.kinds import STOPPING
from loopwright.kernel.records import Record
from loopwright.kernel.store import Store, new_uid
from loopwright.people import tables as people_tables
from loopwright.people.kinds import people_kinds
from loopwright.people.pool import Gone, TaskPool
from loopwright.people.tables import ASSIGNMENTS
from loopwright.review.kinds import LOOP_KIND, review_kinds
from loopwright.review.output import output_function
from loopwright.review.plan import LOOP_FINISHED, task_name
from loopwright.testing.simulation import Crash, Effects, SimulatedWorld

HISTORIES = 1000
TEAM = "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/team"
FLOW = "arn:aws:sagemaker:us-east-1:123456789012:flow-definition/flow"
WORKERS = ("ana", "ben", "cem", "dora")
MEMORY_DISK = Path("/dev/shm")


class Shelf:
    """An object store of which only what was written is asked."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, bucket: str, key: str, chunks: Iterable[bytes], **_: Any) -> None:
        self.kept[f"s3://{bucket}/{key}"] = b"".join(chunks)


class History:
    """A few loops, and workers who answer them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chooser = random.Random(seed)
        self.shelf = Shelf()
        chance = self.chooser.choice([0.0, 0.02, 0.1, 0.25])
        self.world = SimulatedWorld(
            folder,
            [*people_kinds(), *review_kinds()],
            Effects(chance=chance, seed=seed),
            collected=lambda arguments: None,
            more_functions=self._functions,
        )
        self.told: dict[tuple[str, str], str] = {}
        with self.world.undisturbed():
            for metadata in (people_tables.METADATA, events_tables.METADATA):
                metadata.create_all(self.world.store.database.engine)
            bus = Bus(self.world.store.database, "123456789012")
            rule = {"Name": "r", "EventPattern": '{"source": ["aws.sagemaker"]}'}
            bus.put_entry(RULE, "us-east-1", "r", rule)
            bus.put_entry(TARGET, "us-east-1", "r/t", {"Id": "t", "Arn": "somewhere"})

    def _functions(self, store: Store) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        pool = TaskPool(store.database)
        write = output_function(self.shelf, pool.answers, store.database)  # type: ignore[arg-type]
        bus = Bus(store.database, "123456789012")
        return {**pool.functions(), "review.output": write, "events.put": bus.put}

    @property
    def pool(self) -> TaskPool:
        return TaskPool(self.world.store.database)

    def begin(self, name: str) -> None:
        config = {
            "WorkteamArn": TEAM,
            "HumanTaskUiArn": "ui",
            "TaskTitle": "t",
            "TaskDescription": "d",
            "TaskCount": self.chooser.choice([1, 2, 3]),
            "TaskTimeLimitInSeconds": self.chooser.choice([30, 100]),
            "TaskAvailabilityLifetimeInSeconds": self.chooser.choice([60, 5000]),
        }
        flow = {
            "FlowDefinitionName": "flow",
            "HumanLoopConfig": config,
            "OutputConfig": {"S3OutputPath": "s3://bucket/out"},
            "TemplateSha": "x",
        }
        spec = {
            "HumanLoopName": name,
            "FlowDefinitionArn": FLOW,
            "HumanLoopInput": {"InputContent": "{}"},
            "Flow": flow,
        }
        now = self.world.clock.now()
        record = Record(
            "us-east-1", LOOP_KIND.name, name, new_uid(), f"arn:{name}", spec,
            {"HumanLoopStatus": "InProgress"}, now, now,
        )  # fmt: skip
        with self.world.undisturbed():
            self.world.store.create(record, state="InProgress", tags={}, event="", due=now)

    def until_done(self, act: Callable[[], Any]) -> Any:
        """As a browser does it: again and again until the server answers."""
        while True:
            try:
                return act()
            except Crash:
                self.world._boot()
            except Gone:
                return None

    def work(self) -> None:
        """Somebody does something."""
        worker = self.chooser.choice(WORKERS)
        deed = self.chooser.random()
        now = self.world.clock.now
        taken = self.until_done(
            lambda: self.pool.take(worker, [TEAM], "review/flow", now(), {"workerId": worker,
            "type": "Cognito", "issuer": "i", "sub": worker})
        )  # fmt: skip
        if taken is None:
            return
        if self.chooser.random() < 0.3:
            self.world.clock.advance(self.chooser.choice([10.0, 40.0, 120.0]))
            self.world.step()
        if deed < 0.1:
            let_go = partial(self.pool.let_go, taken.task, worker, [TEAM], now())
            self.until_done(lambda: let_go(decline=deed < 0.05))
            return
        for _ in range(2 if deed > 0.8 else 1):
            state = self.until_done(partial(self.submit, taken.task, worker))
            if state is not None:
                self.told[taken.task, worker] = state

    def submit(self, task: str, worker: str) -> str:
        answer = {"by": worker, "task": task}
        return self.pool.submit(task, worker, [TEAM], answer, self.world.clock.now())

    def stop(self, name: str) -> None:
        with self.world.undisturbed():
            record = self.world.record(LOOP_KIND.name, name)
            if record is not None and record.status["HumanLoopStatus"] == "InProgress":
                status = {**record.status, STOPPING: True, "HumanLoopStatus": "Stopping"}
                self.world.store.change(record, status, state="Stopping", now=0.0, event="Stop")

    def run(self) -> None:
        names = [f"loop-{number}" for number in range(self.chooser.choice([1, 2, 4]))]
        for name in names:
            self.begin(name)
        for _ in range(20):
            self.world.step(self.chooser.choice([0.1, 1.0, 5.0]))
            if self.chooser.random() < 0.6:
                self.work()
            if self.chooser.random() < 0.02:
                self.stop(self.chooser.choice(names))
        for name in names:
            self.stop(name)
        self.world.run_until(lambda: all(self.state(name) in LOOP_FINISHED for name in names))
        with self.world.undisturbed():
            # The event of an end is put by the round after it.
            self.world.step()
            for name in names:
                self.check(name)

    def state(self, name: str) -> str:
        record = self.world.record(LOOP_KIND.name, name)
        assert record is not None
        return str(record.status["HumanLoopStatus"])

    def check(self, name: str) -> None:
        loop = self.world.record(LOOP_KIND.name, name)
        assert loop is not None
        task = self.world.record("HumanTask", task_name(loop))
        wanted = loop.spec["Flow"]["HumanLoopConfig"]["TaskCount"]
        uri = loop.status.get("HumanLoopOutput", {}).get("OutputS3Uri")
        answers = orjson.loads(self.shelf.kept[uri])["humanAnswers"] if uri else []
        by = [item["answerContent"]["by"] for item in answers]
        assert len(by) == len(set(by)) <= wanted, f"{name}: {by} of {wanted}"
        if task is None:
            assert not by
            return
        assert all(item["answerContent"]["task"] == task.uid for item in answers)
        with self.world.store.reading() as connection:
            rows = connection.execute(
                sa.select(ASSIGNMENTS).where(ASSIGNMENTS.c.task == task.uid)
            ).all()
            puts = connection.execute(sa.select(OUTBOX.c.event)).scalars().all()
        counted = sorted(row.worker for row in rows if row.state == "submitted")
        late = {row.worker for row in rows if row.state == "late"}
        assert sorted(by) == counted, f"{name}: written {by}, counted {counted}"
        assert int(task.status.get("AnswerCount", 0)) == len(by)
        told = {worker for at, worker in self.told if at == task.uid}
        assert told == set(by) | late, f"{name}: told {told}, kept {by} and {late}"
        if loop.status["HumanLoopStatus"] == "Completed":
            assert len(by) == wanted
        ends = Counter(orjson.loads(text)["detail"]["humanLoopName"] for text in puts)
        assert ends[name] == 1, f"{name}: {ends[name]} events"


def _history(parent: Path, seed: int) -> None:
    folder = parent / str(seed)
    folder.mkdir()
    history = History(folder, seed)
    try:
        history.run()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    history.world.store.database.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    parent = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    """A process a core: a history is all computing, and none knows of another."""
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("fork")) as pool:
        yield pool


@pytest.mark.parametrize("block", range(10))
def test_no_answer_is_lost_or_counted_twice(
    block: int, folder: Path, workers: ProcessPoolExecutor
) -> None:
    seeds = range(block * HISTORIES // 10, (block + 1) * HISTORIES // 10)
    for _ in workers.map(partial(_history, folder), seeds, chunksize=5):
        pass
