"""CloudWatch's operations on alarms, which are records of kind `Alarm`.

Their evaluation is in `alarm_rounds.py`; planners read `StateValue` of the records.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.aws.alarm_composite import name_of, read_rule
from loopwright.aws.alarm_records import (
    ALARM_KIND,
    LISTED,
    OWN_MEMBERS,
    Item,
    NewState,
    all_alarms,
    change_state,
    is_composite,
    type_of,
    write_item,
)
from loopwright.aws.alarm_rules import OF_A_METRIC, checked, checked_composite, watched
from loopwright.aws.tables import ALARM_HISTORY
from loopwright.database import Database
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Taken, new_uid
from loopwright.kernel.verbs import Context, Operation, offset_of, tags_of
from loopwright.wire.errors import ApiError

PAGE_MAX: Final = 100


def alarm_operations(database: Database) -> dict[str, Operation]:
    """By operation name."""
    return {
        "PutMetricAlarm": _put_metric_alarm,
        "PutCompositeAlarm": _put_composite_alarm,
        "DescribeAlarms": _describe,
        "DescribeAlarmsForMetric": _for_metric,
        "DescribeAlarmHistory": lambda context, params: _history(database, context, params),
        "SetAlarmState": _set_state,
        "DeleteAlarms": _delete,
        "EnableAlarmActions": lambda context, params: _enable(context, params, True),
        "DisableAlarmActions": lambda context, params: _enable(context, params, False),
        "TagResource": _tag,
        "UntagResource": _untag,
        "ListTagsForResource": _tags,
    }


# Changing


def _put_metric_alarm(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    _put(context, params, checked(params, context.kinds.account))
    return {}


def _put_composite_alarm(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    known = {record.name for record in all_alarms(context.store, context.region)}
    _put(context, params, checked_composite(params, known))
    return {}


def _put(context: Context, params: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Create an alarm, or replace the settings of one, which keeps its state."""
    spec = orjson.loads(orjson.dumps(given))
    name = params["AlarmName"]
    tags = tags_of(params.get("Tags", []))
    now = context.clock.now()

    def change(record: Record) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        if is_composite(record) != ("AlarmRule" in spec):
            raise ApiError(
                "ValidationError",
                f"AlarmName is {name!r}, which is a {type_of(record)}; delete it first or choose "
                "another name.",
            )
        return spec, {**record.status, "AlarmConfigurationUpdatedTimestamp": now}

    while context.store.get(context.region, "Alarm", name) is None:
        if _created(context, name, spec, tags):
            return
    _update(context, name, change)


def _created(context: Context, name: str, spec: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
    """Whether the alarm was created here, and not at the same time by another call."""
    now = context.clock.now()
    arn = context.kinds.arn(ALARM_KIND, context.region, name)
    status = ALARM_KIND.initial_status(spec, now)
    made = Record(context.region, "Alarm", name, new_uid(), arn, spec, status, now, now)
    item = _configured(made, now, "Create", "created")
    try:
        context.store.create(
            made, state=ALARM_KIND.state_of(status), tags=tags, event="Created", due=None,
            more=lambda connection: write_item(connection, made, item),
        )  # fmt: skip
    except Taken:
        return False
    context.wake()
    return True


def _configured(record: Record, at: float, kind: str, word: str) -> Item:
    data = {"version": "1.0", "type": kind, f"{word}Alarm": _shown(record)}
    return Item(at, "ConfigurationUpdate", f'Alarm "{record.name}" {word}', data)


def _update(
    context: Context,
    name: str,
    change: Callable[[Record], tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> None:
    """Replace spec and status as `change` says, with a line of history, in one transaction."""
    while True:
        record = _find(context, name)
        spec, status = change(record)
        now = context.clock.now()
        item = _configured(replace(record, spec=spec, status=status), now, "Update", "updated")

        def more(connection: sa.Connection, record: Record = record, item: Item = item) -> None:
            write_item(connection, record, item)

        try:
            context.store.replace_spec(record, spec, now, status, more)
        except Outdated:
            continue
        context.wake()
        return


def _set_state(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Set a state by hand, until the next evaluation; its actions are carried out."""
    data = params.get("StateReasonData", "")
    new = NewState(params["StateValue"], params["StateReason"], data, _value_of(data))
    while True:
        record = _find(context, params["AlarmName"])
        try:
            change_state(context.store, record, new, context.clock.now())
        except Outdated:
            continue
        context.wake()
        return {}


def _value_of(data: str) -> float | None:
    """The newest of `recentDatapoints`, which scaling policies go by."""
    if not data:
        return None
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ApiError("InvalidFormat", f"StateReasonData is no JSON: {error}.") from None
    recent = told.get("recentDatapoints") if isinstance(told, dict) else None
    if not isinstance(recent, list) or not recent:
        return None
    if not isinstance(recent[-1], int | float) or isinstance(recent[-1], bool):
        raise ApiError(
            "InvalidFormat",
            f"recentDatapoints of StateReasonData ends with {recent[-1]!r}, which is no number.",
        )
    return float(recent[-1])


def _delete(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Delete those that there are; names of no alarm are an error afterwards."""
    names = list(dict.fromkeys(params["AlarmNames"]))
    found = {r.name: r for r in all_alarms(context.store, context.region)}
    gone = [found[name] for name in names if name in found]
    if sum(is_composite(record) for record in gone) > 1:
        raise ApiError(
            "ValidationError", "One call deletes at most one composite alarm; call once for each."
        )
    for record in found.values():
        if record.name in names or not is_composite(record):
            continue
        for child in read_rule(record.spec["AlarmRule"]).names:
            if child in names and child in found:
                raise ApiError(
                    "ValidationError",
                    f"Cannot delete {child} as there are composite alarm(s) depending on it: "
                    f"{record.name}. Change their AlarmRule first.",
                )
    now = context.clock.now()

    def more(connection: sa.Connection) -> None:
        for record in gone:
            write_item(connection, record, _configured(record, now, "Delete", "deleted"))

    context.store.delete(*gone, more=more)
    context.wake()
    missing = [name for name in names if name not in found]
    if missing:
        raise _no_alarm(missing[0])
    return {}


def _enable(context: Context, params: dict[str, Any], value: bool) -> dict[str, Any]:
    """Whether actions are carried out; names of no alarm are left out, as the service does."""
    for name in params["AlarmNames"]:
        if context.store.get(context.region, "Alarm", name) is not None:
            _update(context, name, lambda r: ({**r.spec, "ActionsEnabled": value}, r.status))
    return {}


def _find(context: Context, name: str) -> Record:
    record = context.store.get(context.region, "Alarm", name)
    if record is None or record.status.get(DELETING):
        raise _no_alarm(name)
    return record


def _no_alarm(name: str) -> ApiError:
    return ApiError("ResourceNotFound", f"There is no alarm {name!r}.", 404)


# Showing


def _shown(record: Record) -> dict[str, Any]:
    status = {
        key: value for key, value in record.status.items() if key not in OWN_MEMBERS and value != ""
    }
    spec = dict(record.spec)
    if spec.get("Metrics"):
        # What was read out of it stands there and nowhere else.
        for member in OF_A_METRIC:
            spec.pop(member, None)
    elif not is_composite(record):
        spec.setdefault("Dimensions", [])
    return {
        "ActionsEnabled": True,
        **{member: [] for member in LISTED.values()},
        **spec,
        **status,
        "AlarmArn": record.arn,
    }


def _describe(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """By names, prefix, state, action or type; or the children or parents of one."""
    found = [r for r in all_alarms(context.store, context.region) if _fits(r, params)]
    for member in ("ChildrenOfAlarmName", "ParentsOfAlarmName"):
        if params.get(member):
            found = _relatives(context, params, member)
    start = offset_of(params.get("NextToken"), "InvalidNextToken")
    end = start + (params.get("MaxRecords") or PAGE_MAX)
    page = found[start:end]
    return {
        "MetricAlarms": [_shown(record) for record in page if not is_composite(record)],
        "CompositeAlarms": [_shown(record) for record in page if is_composite(record)],
        "NextToken": str(end) if end < len(found) else None,
    }


def _fits(record: Record, params: Mapping[str, Any]) -> bool:
    names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix")
    if names and prefix:
        raise ApiError("ValidationError", "Give AlarmNames or AlarmNamePrefix, not both.")
    state, action = params.get("StateValue"), params.get("ActionPrefix")
    actions = [name for member in LISTED.values() for name in record.spec.get(member, ())]
    return (
        type_of(record) in (params.get("AlarmTypes") or ["MetricAlarm"])
        and (not names or record.name in names)
        and (not prefix or record.name.startswith(prefix))
        and (not state or record.status["StateValue"] == state)
        and (not action or any(name.startswith(action) for name in actions))
    )


def _relatives(context: Context, params: Mapping[str, Any], member: str) -> list[Record]:
    others = set(params) - {member, "MaxRecords", "NextToken"}
    if others:
        raise ApiError(
            "ValidationError",
            f"Give {member} alone, without {', '.join(sorted(others))}.",
        )
    named = _find(context, name_of(params[member]))
    found = list(all_alarms(context.store, context.region))
    if member == "ChildrenOfAlarmName":
        children = read_rule(named.spec["AlarmRule"]).names if is_composite(named) else ()
        return [record for record in found if record.name in children]
    return [
        record
        for record in found
        if is_composite(record) and named.name in read_rule(record.spec["AlarmRule"]).names
    ]


def _for_metric(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """The alarms that watch one metric; as on AWS, those on expressions over it are left out."""
    wanted = _dimensions(params.get("Dimensions", ()))
    found = []
    for record in all_alarms(context.store, context.region):
        if is_composite(record):
            continue
        metric = watched(record.spec)
        if metric is None:
            continue
        if (
            (metric.namespace, metric.name) == (params["Namespace"], params["MetricName"])
            and _dimensions(metric.dimensions) == wanted
            and all(
                params.get(member) in (None, metric.statistic)
                for member in ("Statistic", "ExtendedStatistic")
            )
            and params.get("Period", record.spec["Period"]) == record.spec["Period"]
            and params.get("Unit", metric.unit) == metric.unit
        ):
            found.append(_shown(record))
    return {"MetricAlarms": found}


def _dimensions(given: Any) -> list[tuple[str, str]]:
    return sorted((item["Name"], item["Value"]) for item in given)


def _history(database: Database, context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """What happened to alarms; newest first unless asked otherwise."""
    table = ALARM_HISTORY
    statement = sa.select(table).where(
        table.c.region == context.region,
        table.c.alarm_type.in_(params.get("AlarmTypes") or ["MetricAlarm", "CompositeAlarm"]),
    )
    for member, column in (("AlarmName", table.c.alarm), ("HistoryItemType", table.c.type)):
        if params.get(member):
            statement = statement.where(column == params[member])
    if params.get("StartDate") is not None:
        statement = statement.where(table.c.at >= _seconds(params["StartDate"]))
    if params.get("EndDate") is not None:
        statement = statement.where(table.c.at <= _seconds(params["EndDate"]))
    ascending = params.get("ScanBy") == "TimestampAscending"
    order = (table.c.at, table.c.id) if ascending else (table.c.at.desc(), table.c.id.desc())
    start = offset_of(params.get("NextToken"), "InvalidNextToken")
    limit = params.get("MaxRecords") or PAGE_MAX
    with database.read() as connection:
        page = statement.order_by(*order).offset(start).limit(limit + 1)
        rows = connection.execute(page).all()
    items = [
        {
            "AlarmName": row.alarm,
            "AlarmType": row.alarm_type,
            "Timestamp": row.at,
            "HistoryItemType": row.type,
            "HistorySummary": row.summary,
            "HistoryData": row.data,
        }
        for row in rows[:limit]
    ]
    more = str(start + limit) if len(rows) > limit else None
    return {"AlarmHistoryItems": items, "NextToken": more}


def _seconds(moment: datetime | float) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


# Tags


def _by_arn(context: Context, params: Mapping[str, Any]) -> str:
    record = context.store.by_arn(params["ResourceARN"])
    if record is None or record.kind != "Alarm":
        raise ApiError(
            "ResourceNotFoundException", f"There is no alarm {params['ResourceARN']}.", 404
        )
    return record.arn


def _tag(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    arn = _by_arn(context, params)
    given = tags_of(params["Tags"])
    merged = context.store.tags(arn) | given
    tags_of([{"Key": key, "Value": value} for key, value in merged.items()])
    context.store.add_tags(arn, given)
    return {}


def _untag(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    context.store.delete_tags(_by_arn(context, params), params["TagKeys"])
    return {}


def _tags(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    tags = context.store.tags(_by_arn(context, params))
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
