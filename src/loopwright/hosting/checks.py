"""The rules of a `DeploymentConfig`, from the API reference and the guide on its guardrails."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.instances import check_count
from loopwright.hosting.deploy.family import steps_of
from loopwright.kernel.kinds import Lookup
from loopwright.kernel.records import Record
from loopwright.wire.errors import validation

PERCENT: Final = {
    "CanarySize": (1, 50),
    "LinearStepSize": (10, 50),
    "MaximumBatchSize": (5, 50),
    "RollbackMaximumBatchSize": (1, 100),
}


def check_models(config: Record, lookup: Lookup) -> None:
    """Refuse to serve an endpoint configuration one of whose models was deleted, or a crowd.

    Raises:
        ApiError: `ValidationException` with the model's name, or `ResourceLimitExceeded`.
    """
    spec = config.spec
    for variant in (*spec["ProductionVariants"], *spec.get("ShadowProductionVariants", ())):
        check_count(
            f"Variant {variant['VariantName']}", int(variant.get("InitialInstanceCount", 1))
        )
        if lookup.record("Model", variant["ModelName"]) is None:
            raise validation(f'Could not find model "{variant["ModelName"]}".')


def check_deployment(config: Mapping[str, Any], counts: Mapping[str, int], lookup: Lookup) -> None:
    """Refuse a deployment that cannot be done.

    Args:
        counts: Instances by variant that the new fleet will have.

    Raises:
        ApiError: `ValidationException` that says what, and the rule.
    """
    blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if blue_green and rolling:
        raise validation("Give BlueGreenUpdatePolicy or RollingUpdatePolicy, not both.")
    if blue_green:
        _check_blue_green(blue_green, counts)
    elif rolling:
        for member in ("MaximumBatchSize", "RollbackMaximumBatchSize"):
            if rolling.get(member):
                _check_size(member, rolling[member], counts)
    if blue_green or rolling:
        _check_time(config, counts)
    for alarm in config.get("AutoRollbackConfiguration", {}).get("Alarms", ()):
        name = alarm.get("AlarmName")
        if not name:
            raise validation("An alarm of AutoRollbackConfiguration has no AlarmName; give one.")
        if lookup.record("Alarm", name) is None:
            raise validation(
                f"AutoRollbackConfiguration.Alarms names {name!r}, but there is no such alarm; "
                "create it with PutMetricAlarm first."
            )


def _check_blue_green(policy: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    routing = policy["TrafficRoutingConfiguration"]
    kind = routing["Type"]
    needed = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(kind)
    for member in ("CanarySize", "LinearStepSize"):
        if member == needed and not routing.get(member):
            raise validation(f"TrafficRoutingConfiguration of type {kind} needs {member}.")
        if member != needed and routing.get(member):
            raise validation(
                f"TrafficRoutingConfiguration of type {kind} takes no {member}; leave it out."
            )
    if needed is not None:
        _check_size(needed, routing[needed], counts)


def _check_size(member: str, size: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    least, most = PERCENT[member]
    value = size["Value"]
    if size["Type"] == "CAPACITY_PERCENT":
        if not least <= value <= most:
            raise validation(
                f"{member} is {value} percent; it must be from {least} to {most} percent."
            )
        return
    for name, count in counts.items():
        if value > count * most / 100.0:
            raise validation(
                f"{member} is {value} instances, more than {most} percent of the {count} of "
                f"variant {name}; use fewer, or Type CAPACITY_PERCENT."
            )


def _check_time(config: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    policy = config.get("BlueGreenUpdatePolicy") or config["RollingUpdatePolicy"]
    timed = policy.get("TrafficRoutingConfiguration", policy)
    wait_s = float(timed.get("WaitIntervalInSeconds", 0)) * len(steps_of(config, counts))
    wait_s += float(policy.get("TerminationWaitInSeconds", 0))
    limit = policy.get("MaximumExecutionTimeoutInSeconds")
    if limit is not None and limit <= wait_s:
        raise validation(
            f"MaximumExecutionTimeoutInSeconds is {limit}, but the update's waits alone take "
            f"{wait_s:g} s; it must be more."
        )
