"""What others see of an endpoint: its route for the gateway, its variants in DescribeEndpoint."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.hosting.fleet import Fleet
from loopwright.hosting.instances import Instance
from loopwright.kernel.records import Record

WITHDRAWN: Final = "Withdrawn"
"""Status member: variants from which a guard took the traffic, whatever a bandit says."""


@dataclass(frozen=True)
class Part:
    """A fleet that serves: its share of the traffic, 0 to 1, and its instances."""

    fleet: Fleet
    share: float
    instances: Sequence[Instance]


def route_key(record: Record) -> str:
    """Under which an endpoint's route is published."""
    return f"route/{record.region}/{record.name}"


def route(record: Record, parts: Sequence[Part]) -> dict[str, Any]:
    """What the gateway routes by: variants with weights, and the instances that answer."""
    serving = [part for part in parts if part.share > 0]
    main = max(serving, key=lambda part: part.share)
    policy = record.status.get("TrafficPolicy", {})
    entries = [
        {
            **_entry(part, variant),
            "weight": weight if len(serving) == 1 else round(weight * part.share, 9),
        }
        for part in serving
        for variant, weight in _weights(record, part.fleet, len(serving) > 1)
    ]
    # One name's two configurations stand side by side, the new one first, so that a user who keeps
    # a place on the line of all weights keeps the variant while the new one grows.
    entries.sort(key=lambda entry: entry["name"])
    return {
        "endpoint": record.name,
        "region": record.region,
        "arn": record.arn,
        "config": main.fleet["config"],
        "variants": entries,
        "shadows": [
            {**_entry(main, shadow), "weight": 1.0, "of": shadow["of"], "share": shadow["weight"]}
            for shadow in main.fleet.get("shadows", ())
        ],
        "capture": _captured(main.fleet.get("capture")),
        "sticky": policy.get("StickyAttribute", ""),
        "groups": policy.get("Groups", []),
        "observed": bool(record.status.get("Observed")),
        "reviewed": bool(record.status.get("Reviewed")),
    }


def _weights(
    record: Record, fleet: Fleet, normal: bool
) -> Iterable[tuple[Mapping[str, Any], float]]:
    """Each production variant with its weight; with a sum of 1 where `normal`."""
    found = list(_chosen(record.status, fleet["variants"]))
    total = sum(weight for _, weight in found)
    return [(variant, weight / total if normal and total else weight) for variant, weight in found]


def _chosen(
    status: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]
) -> Iterable[tuple[Mapping[str, Any], float]]:
    """The variants with their own weights, or a bandit's: it divides what its variants have
    together. From those that a guard has withdrawn it takes all."""
    allocation: Mapping[str, float] = status.get("Allocation") or {}
    together = sum(item["weight"] for item in variants if item["name"] in allocation) or 1.0
    for item in variants:
        share = allocation.get(item["name"])
        if share is None:
            yield item, item["weight"]
        else:
            yield item, 0.0 if item["name"] in status.get(WITHDRAWN, ()) else share * together


def _entry(part: Part, variant: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": variant["name"],
        "config": part.fleet["config"],
        "strategy": variant["strategy"],
        "instances": [
            {"id": item.unit_id, "address": item.unit.address}
            for item in part.instances
            if item.variant is variant and item.ready and item.unit is not None
        ],
    }


def _captured(capture: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The capture of a route; what the control plane needs goes along as `told`."""
    if not capture or not captures(capture):
        return None
    modes = {option["CaptureMode"] for option in capture["CaptureOptions"]}
    types = capture.get("CaptureContentTypeHeader", {})
    return {
        "share": capture["InitialSamplingPercentage"] / 100.0,
        "requests": bool(modes & {"Input", "InputAndOutput"}),
        "answers": bool(modes & {"Output", "InputAndOutput"}),
        "told": {
            "uri": capture["DestinationS3Uri"],
            "csv": types.get("CsvContentTypes", []),
            "json": types.get("JsonContentTypes", []),
        },
    }


def captures(capture: Mapping[str, Any]) -> bool:
    """Whether a `DataCaptureConfig` captures: it does unless it says otherwise."""
    return bool(capture.get("EnableCapture", True))


def capture_summary(capture: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`DataCaptureConfig` of DescribeEndpoint."""
    if not capture:
        return None
    found = {
        "EnableCapture": captures(capture),
        "CaptureStatus": "Started" if captures(capture) else "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
    }
    return found | ({"KmsKeyId": capture["KmsKeyId"]} if "KmsKeyId" in capture else {})


def variants(
    part: Part, family: str = "variants", state: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """`ProductionVariants` or, of the family `shadows`, `ShadowProductionVariants`.

    `state` is what `VariantStatus` shows of an update.
    """
    shown = []
    for variant in part.fleet.get(family, ()):
        ready = [item for item in part.instances if item.variant is variant and item.ready]
        image = variant["container"]["Image"]
        shown.append(
            {
                "VariantName": variant["name"],
                "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image}],
                "CurrentWeight": variant["weight"],
                "DesiredWeight": variant["weight"],
                "CurrentInstanceCount": len(ready),
                "DesiredInstanceCount": variant["count"],
                "RoutingConfig": {"RoutingStrategy": variant["strategy"]},
            }
            | ({"VariantStatus": [state]} if state else {})
        )
    return shown


def pending(part: Part, started: float, state: Mapping[str, Any]) -> dict[str, Any]:
    """`PendingDeploymentSummary`: the new fleet of an update."""
    found = []
    for family in ("variants", "shadows"):
        items = variants(part, family, state)
        for item, variant in zip(items, part.fleet.get(family, ()), strict=True):
            item["InstanceType"] = variant["instance_type"]
        found.append(items)
    summary = {
        "EndpointConfigName": part.fleet["config"],
        "ProductionVariants": found[0],
        "StartTime": started,
    }
    return summary | ({"ShadowProductionVariants": found[1]} if found[1] else {})
