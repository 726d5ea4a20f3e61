"""Operations of endpoints that are no generic verb: updates in place."""

from collections.abc import Mapping
from typing import Any

from loopwright.contract.programs import refuse
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record
from loopwright.kernel.verbs import Context, Operation, mutate
from loopwright.wire.errors import validation


def hosting_operations() -> dict[str, Operation]:
    """By operation name."""
    return {
        "UpdateEndpoint": _update_endpoint,
        "UpdateEndpointWeightsAndCapacities": _update_weights,
    }


def _in_service(record: Record) -> None:
    state = record.status["EndpointStatus"]
    if record.status.get(DELETING) or state != "InService":
        raise validation(
            f"Cannot update endpoint {record.arn}: it is {state}; wait until it is InService."
        )


def _update_endpoint(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    config = params["EndpointConfigName"]
    if params.get("DeploymentConfig", {}).get("RollingUpdatePolicy"):
        raise refuse("DeploymentConfig.RollingUpdatePolicy", "given", "leave DeploymentConfig out.")
    policy = params.get("DeploymentConfig", {}).get("BlueGreenUpdatePolicy", {})
    kind = policy.get("TrafficRoutingConfiguration", {}).get("Type", "ALL_AT_ONCE")
    if kind != "ALL_AT_ONCE":
        raise refuse("TrafficRoutingConfiguration.Type", kind, "use ALL_AT_ONCE.")
    if params.get("DeploymentConfig", {}).get("AutoRollbackConfiguration"):
        raise refuse("AutoRollbackConfiguration", "given", "there are no alarms yet.")
    if params.get("ExcludeRetainedVariantProperties"):
        raise refuse("ExcludeRetainedVariantProperties", "given", "leave it out.")
    if context.lookup.record("EndpointConfig", config) is None:
        raise validation(f'Could not find endpoint configuration "{config}".')

    def change(record: Record) -> Mapping[str, Any]:
        _in_service(record)
        changed = {**record.status, "EndpointStatus": "Updating", "NextConfig": config}
        if params.get("RetainAllVariantProperties"):
            changed["RetainAll"] = True
        return changed

    kind_of = context.kinds["Endpoint"]
    record = mutate(context, kind_of, params["EndpointName"], change, f"Update to {config}")
    return {"EndpointArn": record.arn}


def _update_weights(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    wanted = {item["VariantName"]: item for item in params["DesiredWeightsAndCapacities"]}

    def change(record: Record) -> Mapping[str, Any]:
        _in_service(record)
        fleet = dict(record.status["Fleet"])
        names = {variant["name"] for variant in fleet["variants"]}
        for name, item in wanted.items():
            if name not in names:
                raise validation(f"Endpoint {record.name} has no variant {name!r}.")
            if item.get("ServerlessUpdateConfig"):
                raise refuse("ServerlessUpdateConfig", "given", "variants are instances here.")
        fleet["variants"] = [_changed(variant, wanted) for variant in fleet["variants"]]
        if sum(variant["weight"] for variant in fleet["variants"]) <= 0:
            raise validation("The sum of the variants' weights must be above 0.")
        return {**record.status, "EndpointStatus": "Updating", "Fleet": fleet}

    kind = context.kinds["Endpoint"]
    record = mutate(context, kind, params["EndpointName"], change, "Weights and capacities changed")
    return {"EndpointArn": record.arn}


def _changed(variant: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    item = wanted.get(variant["name"], {})
    changed = dict(variant)
    if item.get("DesiredWeight") is not None:
        changed["weight"] = float(item["DesiredWeight"])
    if item.get("DesiredInstanceCount") is not None:
        changed["count"] = int(item["DesiredInstanceCount"])
    return changed
