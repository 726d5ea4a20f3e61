"""Scalable targets as records: their names, the alarms of their policies, their activities.

The spec holds a target with its policies and scheduled actions. The status holds what was done,
and what alarms told (`triggers.py`).
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid5

import orjson

from loopwright.hosting.scaling.rules import LOW
from loopwright.kernel.records import Record

SPACE: Final = UUID("0a7b2a3c-6a5e-4a09-a5c2-5a0b0f1f9c55")
PERIOD_S: Final = 60
HIGH_POINTS: Final = 3
LOW_POINTS: Final = 15
OWN_MEMBERS: Final = frozenset({"before", "after", "policy"})
"""Members of activities that are not shown."""


def names_of(record: Record) -> tuple[str, str]:
    """Endpoint and variant of a target: its resource is `endpoint/NAME/variant/VARIANT`."""
    parts = record.name.split("/")
    return parts[1], parts[3]


def count_of(serving: Record, variant: str) -> int | None:
    """The instances that a variant of an endpoint shall have; None: there is no such variant."""
    for item in (serving.status.get("Fleet") or {"variants": ()})["variants"]:
        if item["name"] == variant:
            return int(item["count"])
    return None


def alarm_specs(record: Record, policy: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The two alarms of a target tracking policy, by name; their shapes are observed practice.

    One whose settings change is another alarm, so that it starts without a past.
    """
    config = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = _metric_of(record, config)
    sides = [("High", "GreaterThanThreshold", HIGH_POINTS, 1.0)]
    if not config.get("DisableScaleIn"):
        sides.append(("Low", "LessThanThreshold", LOW_POINTS, LOW))
    found = {}
    for side, comparison, points, part in sides:
        spec = {
            "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy "
            f"{policy['PolicyARN']}.",
            **metric,
            "Period": PERIOD_S,
            "EvaluationPeriods": points,
            "Threshold": float(config["TargetValue"]) * part,
            "ComparisonOperator": comparison,
            "AlarmActions": [policy["PolicyARN"]],
            "ActionsEnabled": True,
        }
        key = uuid5(SPACE, orjson.dumps(spec, option=orjson.OPT_SORT_KEYS).decode())
        name = f"TargetTracking-{record.name}-Alarm{side}-{key}"
        found[name] = {"AlarmName": name, **spec}
    return found


def _metric_of(record: Record, config: Mapping[str, Any]) -> dict[str, Any]:
    """What both alarms watch: a metric, or what metric math makes of several."""
    custom = config.get("CustomizedMetricSpecification")
    if custom is None:
        endpoint, variant = names_of(record)
        return {
            "Namespace": "AWS/SageMaker",
            "MetricName": "InvocationsPerInstance",
            "Dimensions": [
                {"Name": "EndpointName", "Value": endpoint},
                {"Name": "VariantName", "Value": variant},
            ],
            "Statistic": "Sum",
        }
    if custom.get("Metrics"):
        return {"Metrics": [_each_minute(item) for item in custom["Metrics"]]}
    found = {name: custom[name] for name in ("Namespace", "MetricName", "Statistic")}
    unit = {"Unit": custom["Unit"]} if custom.get("Unit") else {}
    return {**found, "Dimensions": custom.get("Dimensions", []), **unit}


def _each_minute(item: Mapping[str, Any]) -> dict[str, Any]:
    """A metric data query as an alarm has it: those of policies have no period of their own."""
    if not item.get("MetricStat"):
        return dict(item)
    return {**item, "MetricStat": {**item["MetricStat"], "Period": PERIOD_S}}


def activity(
    record: Record, cause: str, description: str, now: float, code: str, message: str = ""
) -> dict[str, Any]:
    """An entry of DescribeScalingActivities; over at once unless it is pending."""
    key = f"{record.uid} {now!r} {cause} {description}"
    found = {
        "ActivityId": str(uuid5(SPACE, key)),
        "Cause": cause,
        "Description": description,
        "StartTime": now,
        "StatusCode": code,
    }
    if code != "Pending":
        found["EndTime"] = now
    return found | ({"StatusMessage": message[:1023]} if message else {})


def caused_by(alarm: str, state: str, policy: str) -> str:
    """The cause of an activity, in the service's words."""
    return f"monitor alarm {alarm} in state {state} triggered policy {policy}"


def reason_of(code: str, least: int, most: int, count: int) -> dict[str, Any]:
    """An entry of `NotScaledReasons`: the code, and the capacity that it is about."""
    about = {
        "AlreadyAtMaxCapacity": {"MaxCapacity": most},
        "AlreadyAtMinCapacity": {"MinCapacity": least},
    }
    return {"Code": code, **about.get(code, {"CurrentCapacity": count})}
