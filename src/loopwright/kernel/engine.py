"""The one engine: runs planners and applies their actions, a pass being one transaction.

Passes are level-triggered: a record falls due by its own wake-up, by news of its units, calls and
children, or by the timer; the news carry no content. A pass that meets a newer revision than it
read is dropped and repeated. Start-up is an ordinary pass, so there is no recovery code.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import sqlalchemy as sa

from loopwright.kernel.actions import (
    Action,
    Call,
    CreateChild,
    DeleteChild,
    DropCall,
    Forget,
    Publish,
    Rest,
    SetStatus,
    Start,
    Stop,
    UpdateChild,
    Wake,
)
from loopwright.kernel.clock import Clock
from loopwright.kernel.kinds import DELETING, Kind, Kinds
from loopwright.kernel.records import Observation, Record
from loopwright.kernel.statements import (
    CALL_NAMED,
    CALLS_OF,
    DOCUMENT_NAMED,
    PENDING,
    REVISION_OF,
    UNITS_OF,
)
from loopwright.kernel.store import (
    Outdated,
    Store,
    add_event,
    encode,
    insert_record,
    new_uid,
    read_children,
    read_record,
    remove_record,
    set_due,
    set_tags,
    settle,
    update_status,
    version_of,
)
from loopwright.kernel.tables import CALLS, DOCUMENTS, EVENTS, UNITS
from loopwright.kernel.units import decode_observation, insert_unit

LOG = logging.getLogger(__name__)
IDLE_S = 2.0
"""A record that is not finished is planned at least this often (platform seconds)."""
REST_S = 600.0
"""The same for one whose planner asked to rest."""


@dataclass(frozen=True)
class View:
    """What a planner sees besides its record.

    Attributes:
        units: Observations of the record's units by id.
        children: Records that this record owns, by (kind, name).
        calls: Results of its calls by key; a pending call is None.
        lookup: `lookup(kind, name)`: any record of the region, as of this pass.
        taken: `taken(key, document)`: whether this is what is published under the key (None:
            nothing is), and whether all who read it go by it.
    """

    units: Mapping[str, Observation] = field(default_factory=dict)
    children: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    calls: Mapping[str, Any] = field(default_factory=dict)
    lookup: Callable[[str, str], Record | None] = lambda kind, name: None
    taken: Callable[[str, Mapping[str, Any] | None], bool] = lambda key, document: True


Planner = Callable[[Record, View, float], Sequence[Action]]
Function = Callable[[Mapping[str, Any]], Any]
Taken = Callable[[str, str | None], bool]
"""Whether all readers go by this version of a published document, or know that it is gone."""


class Engine:
    """Plans records and runs their calls. One per control plane.

    Args:
        taken: See `Taken`; without it nobody reads what is published.
    """

    def __init__(
        self,
        store: Store,
        kinds: Kinds,
        clock: Clock,
        functions: Mapping[str, Function],
        taken: Taken = lambda key, version: True,
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._clock = clock
        self._functions = dict(functions)
        self._readers = taken
        self._news = threading.Event()
        self._running: set[str] = set()
        self._children: dict[str, dict[str, Record]] = {}
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Something may have changed: look again soon."""
        self._news.set()

    def wait(self, timeout_s: float) -> None:
        """Until something wakes the engine or real seconds passed."""
        self._news.wait(timeout_s)
        self._news.clear()

    def plan_due(self) -> int:
        """Plan every record that is due; how many were planned."""
        uids = self._store.due(self._clock.now())
        for uid in uids:
            self.plan(uid)
        return len(uids)

    def plan(self, uid: str) -> None:
        """One pass over one record."""
        found = self._store.to_plan(uid)
        if found is None:
            return
        record, wakes = found
        kind = self._kinds[record.kind]
        now = self._clock.now()
        if kind.planner is None:
            self._store.database.write(lambda connection: set_due(connection, uid, None))
            return
        try:
            actions = list(kind.planner(record, self._view(record), now))
        except Exception:
            LOG.exception("planning %s failed", record.key)
            self._store.wake(uid, now + IDLE_S)
            return
        try:
            self._store.database.write(
                lambda c: self._apply(c, kind, record, actions, (now, wakes))
            )
        except Outdated:
            self.wake()

    def _view(self, record: Record) -> View:
        with self._store.reading() as connection:
            of = {"of": record.uid}
            units = {
                # What is to end is known before the supervisor has told the backend so.
                row.id: replace(
                    decode_observation(row.observation), stopping=row.stop_grace_s is not None
                )
                for row in connection.execute(UNITS_OF, of)
            }
            calls = {
                row.key: orjson.loads(row.result) if row.state == "done" else None
                for row in connection.execute(CALLS_OF, of)
            }
            known = self._children.get(record.uid, {})
            read = read_children(connection, record.uid, known)
        if read:
            # Most children of a big job are finished: what did not change is not decoded again.
            self._children[record.uid] = {child.uid: child for child in read}
        children = {(child.kind, child.name): child for child in read}

        def lookup(kind: str, name: str) -> Record | None:
            return self._store.get(record.region, kind, name)

        return View(units, children, calls, lookup, self._taken)

    def _taken(self, key: str, document: Mapping[str, Any] | None) -> bool:
        with self._store.reading() as connection:
            row = connection.execute(DOCUMENT_NAMED, {"of": key}).first()
        if row is None or document is None:
            return row is None and document is None and self._readers(key, None)
        return row.document == encode(document) and self._readers(key, version_of(row))

    def _apply(
        self,
        connection: sa.Connection,
        kind: Kind,
        record: Record,
        actions: Sequence[Action],
        began: tuple[float, int],
    ) -> None:
        """All actions of a pass, in the transaction of `connection`.

        Args:
            began: When it began, and how often the record had been woken before that.
        """
        now, woken = began
        wakes = [action.at for action in actions if isinstance(action, Wake)]
        current = record
        for action in actions:
            if isinstance(action, Forget):
                self._store.announce(connection, current, None)
                remove_record(connection, current)
                self._tell_owner(connection, current, now)
                return
            current = self._apply_one(connection, kind, current, action, now)
        finished = kind.is_finished(current.status)
        idle_s = REST_S if any(isinstance(action, Rest) for action in actions) else IDLE_S
        due = None if finished else min([*wakes, now + idle_s])
        if finished:
            self._children.pop(record.uid, None)
        if finished and wakes:
            due = min(wakes)
        row = connection.execute(REVISION_OF, {"of": record.uid}).first()
        if row is None or row.revision != current.revision:
            raise Outdated(record.key)
        settle(connection, record.uid, due, woken)

    def _apply_one(
        self, connection: sa.Connection, kind: Kind, record: Record, action: Action, now: float
    ) -> Record:
        match action:
            case SetStatus(changes, event):
                return self._set_status(connection, kind, record, changes, event, now)
            case CreateChild():
                self._create_child(connection, record, action, now)
            case UpdateChild():
                self._update_child(connection, record, action, now)
            case DeleteChild(child_kind, name):
                change = UpdateChild(child_kind, name, {DELETING: True})
                self._update_child(connection, record, change, now)
            case Start(unit_id, program, gang):
                if insert_unit(connection, record.uid, unit_id, program, gang):
                    self.wake()
            case Stop(unit_id, grace_s, interruption):
                connection.execute(
                    sa.update(UNITS)
                    .where(UNITS.c.id == unit_id, UNITS.c.stop_grace_s.is_(None))
                    .values(stop_grace_s=grace_s, interruption=interruption)
                )
                self.wake()
            case Publish(key, document):
                _publish(connection, record.uid, key, document)
                self.wake()
            case Call():
                _insert_call(connection, record.uid, action)
                self.wake()
            case DropCall(key):
                connection.execute(
                    sa.delete(CALLS).where(CALLS.c.key == key, CALLS.c.record == record.uid)
                )
        return record

    def _set_status(
        self,
        connection: sa.Connection,
        kind: Kind,
        record: Record,
        changes: Mapping[str, Any],
        event: str,
        now: float,
    ) -> Record:
        status = {**record.status, **changes}
        status = {key: value for key, value in status.items() if value is not None}
        if status == dict(record.status):
            return record
        changed = update_status(connection, record, status, state=kind.state_of(status), now=now)
        if event:
            add_event(connection, record.uid, now, event)
        self._store.announce(connection, record, changed)
        self._tell_owner(connection, record, now)
        return changed

    def _tell_owner(self, connection: sa.Connection, record: Record, now: float) -> None:
        if record.owner is not None:
            set_due(connection, record.owner, now)
            self.wake()

    def _create_child(
        self, connection: sa.Connection, record: Record, action: CreateChild, now: float
    ) -> None:
        known = read_record(connection, record.region, action.kind, action.name)
        if known is not None:
            if known.owner != record.uid:
                LOG.error("%s wants %s, which is another's", record.key, known.key)
            return
        kind = self._kinds[action.kind]
        spec = kind.filled({k: v for k, v in action.spec.items() if k != "Tags"})
        status = dict(kind.initial_status(spec, now))
        child = Record(
            region=record.region,
            kind=action.kind,
            name=action.name,
            uid=new_uid(),
            arn=self._kinds.arn(kind, record.region, action.name),
            spec=spec,
            status=status,
            created=now,
            modified=now,
            owner=record.uid,
        )
        insert_record(connection, child, state=kind.state_of(status), due=now)
        tags = {tag["Key"]: tag["Value"] for tag in action.spec.get("Tags", ())}
        set_tags(connection, child.arn, tags)
        add_event(connection, child.uid, now, f"Created for {record.kind} {record.name}")
        self._store.announce(connection, None, child)
        self.wake()

    def _update_child(
        self, connection: sa.Connection, record: Record, action: UpdateChild, now: float
    ) -> None:
        child = read_record(connection, record.region, action.kind, action.name)
        if child is None or child.owner != record.uid:
            return
        kind = self._kinds[action.kind]
        if kind.is_finished(child.status) and DELETING not in action.changes:
            return
        status = {**child.status, **action.changes}
        status = {key: value for key, value in status.items() if value is not None}
        if status == dict(child.status):
            return
        changed = update_status(connection, child, status, state=kind.state_of(status), now=now)
        if action.event:
            add_event(connection, child.uid, now, action.event)
        self._store.announce(connection, child, changed)
        set_due(connection, child.uid, now)
        self.wake()

    # Calls

    def run_calls(self, pool: ThreadPoolExecutor) -> None:
        """Hand pending calls to the pool; each result is kept in one transaction."""
        with self._store.reading() as connection:
            rows = list(connection.execute(PENDING))
        for row in rows:
            with self._lock:
                if row.key in self._running:
                    continue
                self._running.add(row.key)
            pool.submit(self.run_call, row)

    def run_call(self, row: Any) -> None:
        """Run one call. Its function may run again after a crash, so it is repeatable."""
        try:
            result = self._result(row.function, orjson.loads(row.arguments))
            now = self._clock.now()

            def work(connection: sa.Connection) -> None:
                connection.execute(
                    sa.update(CALLS)
                    .where(CALLS.c.key == row.key)
                    .values(state="done", result=encode(result))
                )
                set_due(connection, row.record, now)

            self._store.database.write(work)
        except Exception:
            LOG.exception("the result of call %s could not be kept; it runs again", row.key)
        finally:
            with self._lock:
                self._running.discard(row.key)
            self.wake()

    def _result(self, function: str, arguments: Mapping[str, Any]) -> Any:
        try:
            return {"value": self._functions[function](arguments)}
        except Exception as error:  # noqa: BLE001 - the planner decides what a failure means.
            code = getattr(error, "code", type(error).__name__)
            message = getattr(error, "message", str(error))
            LOG.info("call %s failed: %s", function, traceback.format_exc())
            return {"error": message, "code": str(code)}


def _publish(
    connection: sa.Connection, uid: str, key: str, document: Mapping[str, Any] | None
) -> None:
    row = connection.execute(DOCUMENT_NAMED, {"of": key}).first()
    if document is None:
        connection.execute(sa.delete(DOCUMENTS).where(DOCUMENTS.c.key == key))
    elif row is None:
        connection.execute(
            sa.insert(DOCUMENTS).values(
                key=key, record=uid, generation=1, document=encode(document)
            )
        )
    elif row.document != encode(document) or row.record != uid:
        connection.execute(
            sa.update(DOCUMENTS)
            .where(DOCUMENTS.c.key == key)
            .values(record=uid, generation=row.generation + 1, document=encode(document))
        )


def _insert_call(connection: sa.Connection, uid: str, call: Call) -> None:
    if connection.execute(CALL_NAMED, {"of": call.key}).first() is None:
        connection.execute(
            sa.insert(CALLS).values(
                key=call.key,
                record=uid,
                function=call.function,
                arguments=encode(call.arguments),
                state="pending",
            )
        )


def history_of(store: Store, uid: str) -> list[tuple[float, str]]:
    """(time, text) of a record's events, oldest first."""
    statement = sa.select(EVENTS).where(EVENTS.c.record == uid).order_by(EVENTS.c.id)
    with store.reading() as connection:
        return [(row.at, row.what) for row in connection.execute(statement)]
