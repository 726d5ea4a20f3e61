"""CloudWatch alarms: records of kind `Alarm`, evaluated by the control plane's loop.

An evaluation reads points and writes the state with its history in one transaction, so that a
crash before it repeats it and one after it does not. Planners read `StateValue` of the records.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.aws.alarm_rules import checked, watched
from loopwright.aws.alarm_state import INSUFFICIENT, evaluate, window
from loopwright.aws.metrics import Metrics
from loopwright.aws.tables import ALARM_HISTORY
from loopwright.database import Database
from loopwright.kernel.actions import Action, Forget, Rest
from loopwright.kernel.clock import Clock
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import DELETING, Kind
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Query, Store, Taken, new_uid
from loopwright.kernel.verbs import Context, Operation, tags_of
from loopwright.wire.errors import ApiError


def _initial(_spec: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    return {
        "StateValue": INSUFFICIENT,
        "StateReason": "Unchecked: Initial alarm creation",
        "StateUpdatedTimestamp": now,
        "StateTransitionedTimestamp": now,
    }


def _plan(record: Record, _view: View, _now: float) -> list[Action]:
    """The rounds below evaluate alarms; what is left is the end of one that a policy owns."""
    return [Forget()] if record.status.get(DELETING) else [Rest()]


ALARM_KIND: Final = Kind(
    "Alarm",
    arn="alarm",
    state="StateValue",
    initial_status=_initial,
    planner=_plan,
    service="cloudwatch",
    separator=":",
)
EVALUATE_S: Final = 60.0
SETTLE_S: Final = 2.0
"""How long after a period's end its last points may still come in."""
PAGE_MAX: Final = 100
Act = Callable[[Record, str, float, float], None]
"""`act(alarm, action, value, at)`: carry out an action; repeating it for one `at` is harmless."""


def alarm_operations(database: Database) -> dict[str, Operation]:
    """By operation name."""
    alarms = Alarms(database)
    return {
        "PutMetricAlarm": alarms.put,
        "DescribeAlarms": alarms.describe,
        "DescribeAlarmsForMetric": alarms.for_metric,
        "DescribeAlarmHistory": alarms.history,
        "SetAlarmState": alarms.set_state,
        "DeleteAlarms": alarms.delete,
        "EnableAlarmActions": lambda context, params: alarms.enable(context, params, True),
        "DisableAlarmActions": lambda context, params: alarms.enable(context, params, False),
        "PutCompositeAlarm": _refuse_composite,
    }


def _refuse_composite(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    raise ApiError(
        "ValidationError",
        "AlarmRule: composite alarms are not supported; use several metric alarms.",
    )


def all_alarms(store: Store, region: str) -> Iterator[Record]:
    """The alarms of a region, by name."""
    after = None
    while True:
        query = Query(region=region, kind="Alarm", sort="name", limit=PAGE_MAX, after=after)
        found, after = store.find(query)
        yield from found
        if after is None:
            return


class Alarms:
    """The operations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Create an alarm, or replace the settings of one, which keeps its state."""
        spec = json.loads(json.dumps(checked(params)))
        name = params["AlarmName"]
        tags = tags_of(params.get("Tags", []))
        put_alarm(context, name, spec, tags)
        now = context.clock.now()
        self._write(context, name, now, "ConfigurationUpdate", f'Alarm "{name}" updated', spec)
        return {}

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """By names, prefix, state or action."""
        if params.get("AlarmNames") and params.get("AlarmNamePrefix"):
            raise ApiError("ValidationError", "Give AlarmNames or AlarmNamePrefix, not both.")
        if "MetricAlarm" not in params.get("AlarmTypes", ["MetricAlarm"]):
            return {"MetricAlarms": [], "CompositeAlarms": []}
        names = set(params.get("AlarmNames", ()))
        prefix, state = params.get("AlarmNamePrefix", ""), params.get("StateValue")
        action = params.get("ActionPrefix", "")
        found = [
            record
            for record in all_alarms(context.store, context.region)
            if (not names or record.name in names)
            and record.name.startswith(prefix)
            and (state is None or record.status["StateValue"] == state)
            and (not action or any(a.startswith(action) for a in _actions(record.spec)))
        ]
        start = int(params.get("NextToken") or 0)
        end = start + params.get("MaxRecords", PAGE_MAX)
        return {
            "MetricAlarms": [_shown(record) for record in found[start:end]],
            "CompositeAlarms": [],
            "NextToken": str(end) if end < len(found) else None,
        }

    def for_metric(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """The alarms that watch one metric."""
        wanted = _dimensions(params.get("Dimensions", ()))
        found = []
        for record in all_alarms(context.store, context.region):
            metric = watched(record.spec)
            if (
                (metric.namespace, metric.name) == (params["Namespace"], params["MetricName"])
                and _dimensions(metric.dimensions) == wanted
                and params.get("Statistic", metric.statistic) == metric.statistic
                and params.get("Period", record.spec["Period"]) == record.spec["Period"]
            ):
                found.append(_shown(record))
        return {"MetricAlarms": found}

    def history(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """What happened to alarms; newest first unless asked otherwise."""
        table = ALARM_HISTORY
        statement = sa.select(table).where(table.c.region == context.region)
        if params.get("AlarmName"):
            statement = statement.where(table.c.alarm == params["AlarmName"])
        if params.get("HistoryItemType"):
            statement = statement.where(table.c.type == params["HistoryItemType"])
        if params.get("StartDate") is not None:
            statement = statement.where(table.c.at >= _seconds(params["StartDate"]))
        if params.get("EndDate") is not None:
            statement = statement.where(table.c.at <= _seconds(params["EndDate"]))
        ascending = params.get("ScanBy") == "TimestampAscending"
        order = (table.c.at, table.c.id) if ascending else (table.c.at.desc(), table.c.id.desc())
        start = int(params.get("NextToken") or 0)
        limit = params.get("MaxRecords", PAGE_MAX)
        with self._database.read() as connection:
            page = statement.order_by(*order).offset(start).limit(limit + 1)
            rows = connection.execute(page).all()
        items = [
            {
                "AlarmName": row.alarm,
                "AlarmType": "MetricAlarm",
                "Timestamp": row.at,
                "HistoryItemType": row.type,
                "HistorySummary": row.summary,
                "HistoryData": row.data,
            }
            for row in rows[:limit]
        ]
        more = str(start + limit) if len(rows) > limit else None
        return {"AlarmHistoryItems": items, "NextToken": more}

    def set_state(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Set a state by hand, until the next evaluation."""
        record = self._find(context, params["AlarmName"])
        data = params.get("StateReasonData", "")
        if data:
            try:
                orjson.loads(data)
            except orjson.JSONDecodeError as error:
                raise ApiError("InvalidFormat", f"StateReasonData is no JSON: {error}.") from None
        now = context.clock.now()
        new = NewState(params["StateValue"], params["StateReason"], data)
        change_state(context.store, record, new, now)
        context.wake()
        return {}

    def delete(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Delete all or, if one of them does not exist, none."""
        for record in [self._find(context, name) for name in params["AlarmNames"]]:
            context.store.delete(record)
        return {}

    def enable(self, context: Context, params: dict[str, Any], value: bool) -> dict[str, Any]:
        """Whether actions are carried out."""
        for name in params["AlarmNames"]:
            record = context.store.get(context.region, "Alarm", name)
            if record is not None:
                spec = {**record.spec, "ActionsEnabled": value}
                context.store.replace_spec(record, spec, context.clock.now())
        return {}

    def _find(self, context: Context, name: str) -> Record:
        record = context.store.get(context.region, "Alarm", name)
        if record is None:
            raise ApiError("ResourceNotFound", f"There is no alarm {name!r}.", 404)
        return record

    def _write(
        self, context: Context, name: str, at: float, kind: str, summary: str, data: Any
    ) -> None:
        values = _history(context.region, name, at, kind, summary, data)
        self._database.write(lambda c: c.execute(sa.insert(ALARM_HISTORY).values(**values)))


def put_alarm(
    context: Context, name: str, spec: Mapping[str, Any], tags: Mapping[str, str] | None = None
) -> Record:
    """Create an alarm or replace its settings. `spec` was checked."""
    now = context.clock.now()
    while True:
        record = context.store.get(context.region, "Alarm", name)
        try:
            if record is not None:
                return context.store.replace_spec(record, spec, now)
            arn = context.kinds.arn(ALARM_KIND, context.region, name)
            status = _initial(spec, now)
            made = Record(context.region, "Alarm", name, new_uid(), arn, spec, status, now, now)
            context.store.create(
                made, state=INSUFFICIENT, tags=tags or {}, event="Created", due=None
            )
            return made
        except (Outdated, Taken):
            continue


@dataclass(frozen=True)
class NewState:
    """What an alarm is to become; `value` is the last that was evaluated, if any."""

    state: str
    reason: str
    data: str = ""
    value: float | None = None


def change_state(store: Store, record: Record, new: NewState, now: float) -> Record:
    """A new state with its history, in one transaction.

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
        "LastValue": new.value,
    }
    state = new.state
    if state == before:
        return store.change(record, status, state=state, now=now, event="")
    status["StateTransitionedTimestamp"] = now
    told = {
        "version": "1.0",
        "oldState": {"stateValue": before, "stateReason": record.status["StateReason"]},
        "newState": {"stateValue": state, "stateReason": new.reason},
    }
    summary = f"Alarm updated from {before} to {state}"
    values = _history(record.region, record.name, now, "StateUpdate", summary, told)

    def more(connection: sa.Connection) -> None:
        connection.execute(sa.insert(ALARM_HISTORY).values(**values))

    return store.change(record, status, state=state, now=now, event=summary, more=more)


class AlarmRounds:
    """Evaluates what is due. One per control plane.

    Args:
        act: Carries out the actions of alarms; called once an evaluation while in the state.
        settle_s: Platform seconds after a period's end in which its last points may come in.
    """

    def __init__(
        self, store: Store, metrics: Metrics, clock: Clock, act: Act, settle_s: float = SETTLE_S
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._act = act
        self._settle_s = settle_s
        self._due: dict[str, float] = {}

    def round(self, regions: list[str]) -> int:
        """Evaluate the alarms that are due; how many changed their state."""
        now = self._clock.now()
        changed = 0
        seen: dict[str, float] = {}
        for region in regions:
            for record in all_alarms(self._store, region):
                due = self._due.get(record.uid, 0.0)
                if now >= due:
                    changed += self._evaluate(record, now)
                    period = float(record.spec["Period"])
                    pace = min(EVALUATE_S, period)
                    due = (now - self._settle_s) // pace * pace + pace + self._settle_s
                seen[record.uid] = due
        self._due = seen
        return changed

    def _evaluate(self, record: Record, now: float) -> bool:
        spec = record.spec
        metric = watched(spec)
        start, end = window(spec, now - self._settle_s)
        series = self._metrics.series(record.region, metric, int(spec["Period"]), (start, end))
        points = [(at, value) for at, value in series if start <= at < end]
        before = record.status["StateValue"]
        found = evaluate(spec, points, before)
        state = found.state or before
        value = found.points[-1][1] if found.points else None
        if state != before:
            data = orjson.dumps(
                {
                    "version": "1.0",
                    "period": spec["Period"],
                    "threshold": spec["Threshold"],
                    "recentDatapoints": [v for _, v in found.points],
                }
            ).decode()
            try:
                new = NewState(state, found.reason, data, value)
                record = change_state(self._store, record, new, now)
            except Outdated:
                return False
        members = {"ALARM": "AlarmActions", "OK": "OKActions"}
        if spec.get("ActionsEnabled", True) and value is not None:
            for action in spec.get(members.get(state, "InsufficientDataActions"), ()):
                if state == "ALARM" or state != before:
                    self._act(record, action, value, now)
        return bool(state != before)


def _shown(record: Record) -> dict[str, Any]:
    hidden = {"LastValue"}
    status = {key: value for key, value in record.status.items() if key not in hidden}
    return {
        "ActionsEnabled": True,
        "OKActions": [],
        "AlarmActions": [],
        "InsufficientDataActions": [],
        "Dimensions": [],
        **record.spec,
        **{key: value for key, value in status.items() if value != ""},
        "AlarmArn": record.arn,
        "AlarmConfigurationUpdatedTimestamp": record.modified,
    }


def _actions(spec: Mapping[str, Any]) -> list[str]:
    members = ("AlarmActions", "OKActions", "InsufficientDataActions")
    return [action for member in members for action in spec.get(member, ())]


def _dimensions(given: Any) -> list[tuple[str, str]]:
    return sorted((item["Name"], item["Value"]) for item in given)


def _history(
    region: str, name: str, at: float, kind: str, summary: str, data: Any
) -> dict[str, Any]:
    text = orjson.dumps(data, default=str).decode()
    return {
        "region": region, "alarm": name, "at": at, "type": kind, "summary": summary, "data": text,
    }  # fmt: skip


def _seconds(moment: datetime | float) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)
