"""Operations of endpoints that AWS lacks: the traffic policy, and what shadows answered."""

from collections.abc import Mapping
from typing import Any

from loopwright.database import Database
from loopwright.hosting.comparison import report
from loopwright.hosting.journal import comparisons
from loopwright.kernel.records import Record
from loopwright.kernel.verbs import Context, Operation, find, mutate
from loopwright.wire.errors import validation
from loopwright.wire.near import did_you_mean


def own_hosting_operations(database: Database) -> dict[str, Operation]:
    """By operation name."""

    def describe_comparison(context: Context, params: dict[str, Any]) -> dict[str, Any]:
        record = find(context, context.kinds["Endpoint"], params["EndpointName"])
        found = []
        for item in comparisons(database, record.region, record.name):
            summary = item.pop("summary")
            found.append({**item, **report(summary)})
        return {"Comparisons": found}

    return {
        "DescribeShadowComparison": describe_comparison,
        "PutTrafficPolicy": _put_policy,
        "DescribeTrafficPolicy": _describe_policy,
        "DeleteTrafficPolicy": _delete_policy,
    }


def _put_policy(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    if not params.get("StickyAttribute") and not params.get("Groups"):
        raise validation("Give StickyAttribute, Groups, or both.")
    groups = [
        {
            "attribute": group["Attribute"],
            "values": group["Values"],
            "variant": group["VariantName"],
        }
        for group in params.get("Groups", ())
    ]

    def change(record: Record) -> Mapping[str, Any]:
        fleet = record.status.get("Fleet") or {"variants": []}
        names = [variant["name"] for variant in fleet["variants"]]
        for group in groups:
            if group["variant"] not in names:
                raise validation(
                    f"Endpoint {record.name} has no variant {group['variant']!r}; it has "
                    f"{', '.join(names) or 'none yet'}.{did_you_mean(group['variant'], names)}"
                )
        policy = {"StickyAttribute": params.get("StickyAttribute", ""), "Groups": groups}
        return {**record.status, "TrafficPolicy": policy}

    mutate(context, context.kinds["Endpoint"], params["EndpointName"], change, "Traffic policy put")
    return {}


def _describe_policy(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    record = find(context, context.kinds["Endpoint"], params["EndpointName"])
    policy = record.status.get("TrafficPolicy", {})
    found: dict[str, Any] = {"EndpointName": record.name}
    if policy.get("StickyAttribute"):
        found["StickyAttribute"] = policy["StickyAttribute"]
    found["Groups"] = [
        {
            "Attribute": group["attribute"],
            "Values": group["values"],
            "VariantName": group["variant"],
        }
        for group in policy.get("Groups", ())
    ]
    return found


def _delete_policy(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    def change(record: Record) -> Mapping[str, Any] | None:
        if "TrafficPolicy" not in record.status:
            return None
        return {name: value for name, value in record.status.items() if name != "TrafficPolicy"}

    mutate(
        context, context.kinds["Endpoint"], params["EndpointName"], change, "Traffic policy deleted"
    )
    return {}
