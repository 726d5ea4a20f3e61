"""What CloudWatch tells of its alarms: the events of EventBridge, and what functions are given.

Forms: the user guide, "Alarm events and EventBridge" and "Invoke a Lambda function from an alarm".
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from loopwright.aws.alarm_records import LISTED, PREVIOUS, account_of, is_composite, told_state
from loopwright.aws.alarm_state import iso
from loopwright.kernel.records import Record

SETTINGS: Final = (
    "EvaluationPeriods", "DatapointsToAlarm", "Threshold", "ComparisonOperator",
    "TreatMissingData", "EvaluateLowSampleCountPercentile", "AlarmRule",
)  # fmt: skip
"""Members of an alarm that a change of its configuration shows, beside metrics and actions."""
CONFIGURED: Final = "AlarmConfigurationUpdatedTimestamp"


def alarm_events(
    before: Record | None, after: Record | None, now: float, wanted: Callable[[], bool]
) -> Sequence[Mapping[str, Any]]:
    """The events of a change of an alarm, for `Bus.put`.

    Args:
        now: Of its end, platform seconds.
        wanted: Whether any event could be; asked only where there is one.
    """
    record = after or before
    assert record is not None
    found = []
    if before is None or after is None or _configured(before) != _configured(after):
        operation = "create" if before is None else "delete" if after is None else "update"
        if wanted():
            found.append(_configuration_change(record, before, operation, now))
    if before is not None and after is not None and _value(before) != _value(after) and wanted():
        detail = {
            "alarmName": record.name,
            "configuration": _metrics_and_words(record),
            "previousState": told_state(before),
            "state": told_state(record),
        }
        at = float(record.status["StateTransitionedTimestamp"])
        what = f"{record.revision}/state"
        found.append(_event(record, what, "CloudWatch Alarm State Change", at, detail))
    return found


def for_function(alarm: Record) -> dict[str, Any]:
    """What a function is invoked with that is an action of an alarm."""
    return {
        "source": "aws.cloudwatch",
        "alarmArn": alarm.arn,
        "accountId": account_of(alarm),
        "time": told_state(alarm)["timestamp"],
        "region": alarm.region,
        "alarmData": {
            "alarmName": alarm.name,
            "state": told_state(alarm),
            "previousState": alarm.status.get(PREVIOUS, {}),
            "configuration": _metrics_and_words(alarm),
        },
    }


def _configuration_change(
    record: Record, before: Record | None, operation: str, now: float
) -> Mapping[str, Any]:
    detail = {
        "alarmName": record.name,
        "operation": operation,
        "state": {"value": _value(record), "timestamp": told_state(record)["timestamp"]},
        "configuration": _configuration(record),
    }
    if operation == "update" and before is not None:
        detail["previousConfiguration"] = _configuration(before)
    at = now if operation == "delete" else _configured(record)
    what = f"{'gone' if operation == 'delete' else record.revision}/configuration"
    return _event(record, what, "CloudWatch Alarm Configuration Change", at, detail)


def _event(
    record: Record, what: str, detail_type: str, at: float, detail: Mapping[str, Any]
) -> Mapping[str, Any]:
    return {
        "id": f"{record.uid}/{what}",
        "region": record.region,
        "source": "aws.cloudwatch",
        "detail-type": detail_type,
        "time": at,
        "resources": [record.arn],
        "detail": detail,
    }


def _configured(record: Record) -> float:
    return float(record.status[CONFIGURED])


def _value(record: Record) -> str:
    return str(record.status["StateValue"])


def _configuration(record: Record) -> dict[str, Any]:
    spec = record.spec
    actions = {_lower(member): list(spec.get(member, ())) for member in LISTED.values()}
    settings = {_lower(name): spec[name] for name in SETTINGS if spec.get(name) is not None}
    return {
        **settings,
        **_metrics_and_words(record),
        "alarmName": record.name,
        "actionsEnabled": spec.get("ActionsEnabled", True),
        "timestamp": iso(_configured(record)),
        **actions,
    }


def _metrics_and_words(record: Record) -> dict[str, Any]:
    spec = record.spec
    words = spec.get("AlarmDescription")
    found: dict[str, Any] = {"description": words} if words else {}
    if is_composite(record):
        return found | {"alarmRule": spec["AlarmRule"]}
    if spec.get("Metrics"):
        return found | {"metrics": [_query(query) for query in spec["Metrics"]]}
    stat = {
        "Metric": spec,
        "Period": spec["Period"],
        "Stat": spec.get("Statistic") or spec.get("ExtendedStatistic"),
    }
    query = {"Id": str(uuid.uuid5(uuid.NAMESPACE_URL, record.arn)), "MetricStat": stat}
    return found | {"metrics": [_query(query)]}


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    """A `MetricDataQuery` in the events' spelling."""
    found = {"id": query["Id"], "returnData": query.get("ReturnData", True)}
    stat = query.get("MetricStat")
    if stat is None:
        return found | {_lower(name): query[name] for name in ("Expression", "Label", "Period")
                        if name in query}  # fmt: skip
    metric = stat["Metric"]
    dimensions = {item["Name"]: item["Value"] for item in metric.get("Dimensions", ())}
    named = {
        "dimensions": dimensions,
        "name": metric["MetricName"],
        "namespace": metric["Namespace"],
    }
    return found | {"metricStat": {"metric": named, "period": stat["Period"], "stat": stat["Stat"]}}


def _lower(name: str) -> str:
    return "ok" + name[2:] if name.startswith("OK") else name[0].lower() + name[1:]
