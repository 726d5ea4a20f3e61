"""Alarms as records, and the changes of them that belong together in one transaction.

A new state, its line of history and what is still to be done about it are written at once, so
that a crash before it repeats it and one after it carries it out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.aws.alarm_state import INSUFFICIENT, iso
from loopwright.aws.tables import ALARM_HISTORY
from loopwright.kernel.actions import Action, Forget, Rest
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import DELETING, Kind
from loopwright.kernel.records import Record
from loopwright.kernel.store import Query, Store

LISTED: Final[Mapping[str, str]] = {
    "ALARM": "AlarmActions",
    "OK": "OKActions",
    "INSUFFICIENT_DATA": "InsufficientDataActions",
}
"""By state, the member that lists what is to be done in it."""
DUE: Final = "ActionsDue"
"""Status member: `{value, at}` of a new state whose actions were not carried out yet."""
ALARMED: Final = "AlarmedTimestamp"
"""Status member: when it last came into ALARM, for planners that look only now and then."""
PREVIOUS: Final = "PreviousState"
"""Status member: the state from which it came into this one, for what is told of it."""
OWN_MEMBERS: Final = (DUE, ALARMED, PREVIOUS, DELETING)
PAGE: Final = 100


def _initial(_spec: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    return {
        "StateValue": INSUFFICIENT,
        "StateReason": "Unchecked: Initial alarm creation",
        "StateUpdatedTimestamp": now,
        "StateTransitionedTimestamp": now,
        "AlarmConfigurationUpdatedTimestamp": now,
    }


def _plan(record: Record, _view: View, _now: float) -> list[Action]:
    """The rounds evaluate alarms; what is left is the end of one that a policy owns."""
    return [Forget()] if record.status.get(DELETING) else [Rest()]


ALARM_KIND: Final = Kind(
    "Alarm",
    arn="alarm",
    state="StateValue",
    initial_status=_initial,
    planner=_plan,
    missing=("ResourceNotFound", "There is no alarm {name!r}."),
    service="cloudwatch",
    separator=":",
)


def is_composite(record: Record) -> bool:
    """Whether other alarms decide its state, and no metric."""
    return "AlarmRule" in record.spec


def type_of(record: Record) -> str:
    """`MetricAlarm` or `CompositeAlarm`."""
    return "CompositeAlarm" if is_composite(record) else "MetricAlarm"


def account_of(record: Record) -> str:
    """The account that an alarm belongs to."""
    return record.arn.split(":")[4]


def actions_of(record: Record, state: str) -> Sequence[str]:
    """What is to be done when the alarm comes into a state; nothing while that is disabled."""
    if not record.spec.get("ActionsEnabled", True):
        return ()
    found: Sequence[str] = record.spec.get(LISTED[state], ())
    return found


def is_scaling(action: str) -> bool:
    """Whether an action is a scaling policy, which is told again while the state lasts."""
    return action.split(":")[2] == "autoscaling"


def all_alarms(store: Store, region: str) -> Iterator[Record]:
    """The alarms of a region that are not about to go, by name."""
    after = None
    while True:
        query = Query(region=region, kind="Alarm", sort="name", limit=PAGE, after=after)
        found, after = store.find(query)
        yield from (record for record in found if not record.status.get(DELETING))
        if after is None:
            return


@dataclass(frozen=True)
class Item:
    """One line of an alarm's history.

    Attributes:
        kind: `ConfigurationUpdate`, `StateUpdate` or `Action`.
    """

    at: float
    kind: str
    summary: str
    data: Mapping[str, Any]


def write_item(connection: sa.Connection, record: Record, item: Item) -> None:
    """Add to the history, which outlives its alarm."""
    connection.execute(
        sa.insert(ALARM_HISTORY).values(
            region=record.region,
            alarm=record.name,
            alarm_type=type_of(record),
            at=item.at,
            type=item.kind,
            summary=item.summary,
            data=orjson.dumps(item.data, default=str).decode(),
        )
    )


def told_state(record: Record) -> dict[str, Any]:
    """An alarm's state as events and functions are told it."""
    status = record.status
    found = {
        "reason": status["StateReason"],
        "timestamp": iso(float(status["StateUpdatedTimestamp"])),
        "value": status["StateValue"],
    }
    data = status.get("StateReasonData")
    return found | ({"reasonData": data} if data else {})


@dataclass(frozen=True)
class NewState:
    """What an alarm is to become.

    Attributes:
        data: JSON text, `StateReasonData`.
        value: Of the metric, which scaling policies need; None if it is not known.
        turn: Of the evaluation, platform seconds; None for a state that was set by hand. Actions
            are told of it, so that what two control planes tell of one evaluation is one.
    """

    state: str
    reason: str
    data: str = ""
    value: float | None = None
    turn: float | None = None


def change_state(store: Store, record: Record, new: NewState, now: float) -> Record:
    """A new state, its history, and the note that its actions are due.

    Raises:
        Outdated: the alarm changed meanwhile.
    """
    before = record.status["StateValue"]
    status = {
        **record.status,
        "StateValue": new.state,
        "StateReason": new.reason[:1023],
        "StateReasonData": new.data,
        "StateUpdatedTimestamp": now,
    }
    if new.state == before:
        return store.change(record, status, state=new.state, now=now, event="")
    status["StateTransitionedTimestamp"] = now
    status[PREVIOUS] = told_state(record)
    if new.state == "ALARM":
        status[ALARMED] = now
    status.pop(DUE, None)
    if actions_of(record, new.state):
        status[DUE] = {"value": new.value, "at": now if new.turn is None else new.turn}
    summary = f"Alarm updated from {before} to {new.state}"
    told = {
        "version": "1.0",
        "oldState": _told(before, record.status["StateReason"],
                          record.status.get("StateReasonData", "")),
        "newState": _told(new.state, new.reason, new.data),
    }  # fmt: skip
    item = Item(now, "StateUpdate", summary, told)
    return store.change(
        record, status, state=new.state, now=now, event=summary,
        more=lambda connection: write_item(connection, record, item),
    )  # fmt: skip


def _told(state: str, reason: str, data: str) -> dict[str, Any]:
    found: dict[str, Any] = {"stateValue": state, "stateReason": reason}
    return found | ({"stateReasonData": orjson.loads(data)} if data else {})


def actions_done(
    store: Store, record: Record, told: Sequence[tuple[str, str]], now: float
) -> Record:
    """The due actions were carried out; each with why it was not, or an empty text.

    Raises:
        Outdated: the alarm changed meanwhile; the actions are carried out again.
    """
    state = record.status["StateValue"]
    status = {name: value for name, value in record.status.items() if name != DUE}
    items = []
    for action, why in told:
        summary = f"Successfully executed action {action}"
        if why:
            summary = f"Failed to execute action {action}: {why}"
        data = {
            "actionState": "Failed" if why else "Succeeded",
            "notificationResource": action,
            "error": why or None,
        }
        items.append(Item(now, "Action", summary, data))

    def more(connection: sa.Connection) -> None:
        for item in items:
            write_item(connection, record, item)

    return store.change(record, status, state=state, now=now, event="", more=more)
