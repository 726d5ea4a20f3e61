"""What the rounds of experiments and bandits do by themselves: mend, end, allocate."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.hosting import tables
from loopwright.hosting.experiments.rounds import OnlineRounds
from loopwright.hosting.experiments.taking import learners, record_outcomes, take_observations
from loopwright.kernel.clock import VirtualClock
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record
from loopwright.kernel.store import Store

REGION = "us-east-1"
SPECS: dict[str, dict[str, Any]] = {
    "Bandit": {"EndpointName": "e", "VariantNames": ["A", "B"], "Policy": "ThompsonSampling"},
    "OnlineExperiment": {
        "EndpointName": "e",
        "ControlVariantName": "A",
        "TreatmentVariantNames": ["B"],
    },
}


class Online:
    """A store with endpoint `e`, and the rounds."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder}/x.db")
        self.store = Store(self.database)
        self.store.create_tables()
        tables.METADATA.create_all(self.database.engine)
        self.clock = VirtualClock()
        self.rounds = OnlineRounds(self.database, self.store, self.clock)
        self.add("Endpoint", "e", {}, {"EndpointStatus": "InService"}, "InService")

    def add(
        self, kind: str, name: str, spec: dict[str, Any], status: dict[str, Any], state: str
    ) -> None:
        now = self.clock.now()
        made = Record(REGION, kind, name, f"uid-{name}-{kind}", f"arn:{kind}:{name}", spec, status,
                      now, now)  # fmt: skip
        self.store.create(made, state=state, tags={}, event="Created", due=None)

    def record(self, kind: str, name: str = "e") -> Record:
        found = self.store.get(REGION, kind, name)
        assert found is not None
        return found

    def known(self) -> int:
        with self.database.read() as connection:
            return len(learners(connection, REGION, "e"))


@pytest.fixture
def online(tmp_path: Path) -> Iterator[Online]:
    made = Online(tmp_path)
    yield made
    made.database.close()


@pytest.mark.parametrize("kind", SPECS)
def test_what_a_kill_cut_off_is_finished(online: Online, kind: str) -> None:
    online.add(kind, "e", SPECS[kind], {"Status": "Running"}, "Running")
    assert online.known() == 0
    assert online.rounds.round()
    assert online.known() == 1
    assert online.record("Endpoint").status["Observed"]
    online.rounds.round()
    assert not online.rounds.round()


@pytest.mark.parametrize("kind", SPECS)
def test_it_ends_with_its_endpoint(online: Online, kind: str) -> None:
    online.add(kind, "e", SPECS[kind], {"Status": "Running"}, "Running")
    for _ in range(3):
        online.rounds.round()
    endpoint = online.record("Endpoint")
    status = {**endpoint.status, DELETING: True}
    online.store.change(endpoint, status, state="Deleting", now=online.clock.now(), event="")
    assert online.rounds.round()
    assert online.record(kind).status["Status"] == "Stopped"
    assert not online.rounds.round()


def test_outcomes_count_once_whichever_comes_first(online: Online) -> None:
    online.add("Bandit", "e", SPECS["Bandit"], {"Status": "Running"}, "Running")
    online.rounds.round()
    take = take_observations(lambda real: real)
    even = {"A": 0.5, "B": 0.5}

    def observe(inference: str, variant: str) -> None:
        head = ["observation", REGION, "e", "c", variant, even, 200, 900, online.clock.now(),
                inference, None]  # fmt: skip
        online.database.write(lambda connection: take(connection, [(head, b"", b"")]))

    def tell(inference: str, value: float) -> tuple[int, int]:
        outcomes = [(inference, value)]
        return record_outcomes(online.database, REGION, "e", outcomes, online.clock.now())

    assert tell("early", 1.0) == (1, 0)
    observe("early", "B")
    observe("early", "B")
    observe("late", "A")
    assert tell("late", 0.0) == (1, 0)
    assert tell("late", 1.0) == (0, 1)
    with online.database.read() as connection:
        (bandit,) = learners(connection, REGION, "e")
    assert bandit.state["arms"] == {"A": [1.0, 0.0, 0.0], "B": [1.0, 1.0, 1.0]}
    for _ in range(2):
        online.rounds.round()
    shares = online.record("Endpoint").status["Allocation"]
    assert shares["B"] > shares["A"]


def test_a_bandit_that_was_deleted_gives_no_more_weights(online: Online) -> None:
    """The round has read the bandit, and then it is deleted, endpoint and all."""
    online.add("Bandit", "e", SPECS["Bandit"], {"Status": "Running"}, "Running")
    online.rounds.round()
    get = online.store.get

    def deleted_first(region: str, kind: str, name: str) -> Record | None:
        online.store.get = get  # type: ignore[method-assign]
        online.store.delete(online.record("Bandit"))
        return get(region, kind, name)

    found = online.rounds._running()[0]
    record = online.record("Bandit")
    online.store.get = deleted_first  # type: ignore[method-assign]
    assert not online.rounds._allocate(record, orjson.loads(found.state))
    assert "Allocation" not in online.record("Endpoint").status


def test_a_later_endpoint_of_the_name_begins_anew(online: Online) -> None:
    now = online.clock.now()
    record_outcomes(online.database, REGION, "e", [("id-1", 1.0)], now - 60)
    online.database.write(
        lambda connection: connection.execute(
            sa.insert(tables.COMPARISONS).values(
                region=REGION, endpoint="gone", config="c", live="A", shadow="S", summary="{}"
            )
        )
    )
    online.add("Bandit", "e", SPECS["Bandit"], {"Status": "Running"}, "Running")
    online.rounds.round()
    assert record_outcomes(online.database, REGION, "e", [("id-1", 0.0)], now) == (1, 0)
    with online.database.read() as connection:
        assert connection.execute(sa.select(tables.COMPARISONS)).first() is None
