"""The contract of the kernel's store, over any database it runs on.

A test module subclasses `StoreContract` and gives it a fixture `store` with an empty store.
"""

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Query, Store, Taken, new_uid
from loopwright.kernel.tables import RECORDS

REGION = "us-east-1"


def make(name: str, created: float = 1.0, kind: str = "Thing", region: str = REGION) -> Record:
    """A record of a made-up kind."""
    return Record(
        region=region,
        kind=kind,
        name=name,
        uid=new_uid(),
        arn=f"arn:aws:x:{region}:1:{kind}/{name}",
        spec={"Name": name, "Nested": {"List": [1, 2.5, "ü"]}},
        status={"State": "New"},
        created=created,
        modified=created,
    )


def add(store: Store, record: Record, state: str = "New", due: float | None = None) -> Record:
    """Create a record with a tag."""
    store.create(record, state=state, tags={"k": record.name}, event="Created", due=due)
    return record


class StoreContract:
    """What every database must do."""

    def test_a_record_comes_back_as_it_was_put(self, store: Store) -> None:
        record = add(store, make("a"))
        assert store.get(REGION, "Thing", "a") == record
        assert store.by_uid(record.uid) == record
        assert store.by_arn(record.arn) == record
        assert store.get(REGION, "Thing", "b") is None
        assert store.get("eu-west-1", "Thing", "a") is None
        assert store.tags(record.arn) == {"k": "a"}
        assert [event.what for event in store.events(record.uid)] == ["Created"]

    def test_changes_are_announced_within_their_transaction(self, store: Store) -> None:
        heard: list[tuple[Record | None, Record | None]] = []

        def hear(_: sa.Connection, before: Record | None, after: Record | None) -> None:
            heard.append((before, after))
            if after is not None and after.status.get("State") == "Refused":
                raise LookupError

        told = Store(store.database, hear)
        made = add(told, make("a"))
        changed = told.change(made, {"State": "Old"}, state="Old", now=2.0, event="")
        with pytest.raises(LookupError):
            told.change(changed, {"State": "Refused"}, state="Refused", now=3.0, event="")
        assert told.by_uid(made.uid) == changed
        renewed = told.replace_spec(changed, {"Name": "b"}, 4.0)
        told.delete(renewed)
        assert heard.pop(2)[0] == changed
        assert heard == [(None, made), (made, changed), (changed, renewed), (renewed, None)]

    def test_a_name_is_taken_once_in_a_region(self, store: Store) -> None:
        first = add(store, make("a"))
        with pytest.raises(Taken):
            add(store, make("a"))
        add(store, make("a", region="eu-west-1"))
        assert store.get(REGION, "Thing", "a") == first

    def test_of_many_creators_of_a_name_one_wins(self, store: Store) -> None:
        won: list[str] = []

        def create() -> None:
            record = make("a")
            try:
                add(store, record)
                won.append(record.uid)
            except Taken:
                pass

        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = store.get(REGION, "Thing", "a")
        assert found is not None
        assert won == [found.uid]

    def test_a_change_on_an_old_revision_is_refused(self, store: Store) -> None:
        record = add(store, make("a"))
        changed = store.change(record, {"State": "Old"}, state="Old", now=2.0, event="Aged")
        assert changed.status == {"State": "Old"}
        with pytest.raises(Outdated):
            store.change(record, {"State": "Lost"}, state="Lost", now=3.0, event="")
        assert store.get(REGION, "Thing", "a") == replace(
            record, status={"State": "Old"}, modified=2.0, revision=1
        )

    def test_pages_hold_every_record_once_in_order(self, store: Store) -> None:
        # Equal times: the order must be total all the same.
        names = [f"n{number:02d}" for number in range(23)]
        for number, name in enumerate(names):
            add(store, make(name, created=float(number // 3)))
        for sort, descending in (("created", False), ("created", True), ("name", True)):
            seen: list[str] = []
            after = None
            while True:
                query = Query(
                    REGION, "Thing", sort=sort, descending=descending, limit=5, after=after
                )
                page, after = store.find(query)
                seen += [record.name for record in page]
                if after is None:
                    break
            assert seen == (list(reversed(names)) if descending else names)

    def test_filters(self, store: Store) -> None:
        for number, name in enumerate(["alpha", "beta", "a%b", "gamma"]):
            add(store, make(name, created=float(number)), state="Odd" if number % 2 else "Even")
        add(store, make("alpha", kind="Other"))

        def names(**filters: object) -> list[str]:
            query = Query(REGION, "Thing", limit=10, **filters)  # type: ignore[arg-type]
            return [record.name for record in store.find(query)[0]]

        assert names(name_contains="a") == ["alpha", "beta", "a%b", "gamma"]
        assert names(name_contains="%") == ["a%b"]
        assert names(name_contains="ALPHA") == []
        assert names(state="Odd") == ["beta", "gamma"]
        assert names(created=(0.0, 3.0)) == ["beta", "a%b"]

    def test_the_longest_waiting_is_due_first(self, store: Store) -> None:
        late, early = add(store, make("late"), due=5.0), add(store, make("early"), due=2.0)
        add(store, make("never"))
        assert store.due(4.0) == [early.uid]
        assert store.due(9.0) == [early.uid, late.uid]
        assert store.next_due() == 2.0
        store.wake(late.uid, 1.0)
        assert store.due(9.0) == [late.uid, early.uid]

    def test_deleting_takes_tags_and_history_along(self, store: Store) -> None:
        record = add(store, make("a"))
        store.delete(record)
        store.delete(record)
        assert store.get(REGION, "Thing", "a") is None
        assert store.tags(record.arn) == {}
        assert store.events(record.uid) == []

    def test_what_belongs_to_a_change_happens_with_it_or_not_at_all(self, store: Store) -> None:
        one, two = add(store, make("a")), add(store, make("b"))

        def refuse(connection: sa.Connection) -> None:
            connection.execute(sa.delete(RECORDS))
            raise LookupError("no")

        with pytest.raises(LookupError):
            store.replace_spec(one, {"Name": "new"}, 2.0, {"State": "Odd"}, refuse)
        with pytest.raises(LookupError):
            store.delete(one, two, more=refuse)
        assert store.heads("Thing") == [(one.uid, 0), (two.uid, 0)]
        assert store.get(REGION, "Thing", "a") == one
        changed = store.replace_spec(one, {"Name": "new"}, 2.0, {"State": "Odd"})
        assert store.get(REGION, "Thing", "a") == changed
        assert (changed.spec, changed.status) == ({"Name": "new"}, {"State": "Odd"})
        assert store.heads("Thing") == [(one.uid, 1), (two.uid, 0)]
        store.delete(changed, two)
        assert store.heads("Thing") == []

    def test_tags_are_replaced_by_key(self, store: Store) -> None:
        record = add(store, make("a"))
        store.add_tags(record.arn, {"k": "new", "other": "x"})
        store.delete_tags(record.arn, ["missing", "other"])
        assert store.tags(record.arn) == {"k": "new"}
