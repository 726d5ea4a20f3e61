"""Operations of endpoints that are no generic verb: updates in place."""

from collections.abc import Mapping
from typing import Any

from loopwright.contract.programs import refuse
from loopwright.hosting.capacity import Change, in_service, with_changes
from loopwright.kernel.records import Record
from loopwright.kernel.verbs import Context, Operation, mutate
from loopwright.wire.errors import validation


def hosting_operations() -> dict[str, Operation]:
    """By operation name."""
    return {
        "UpdateEndpoint": _update_endpoint,
        "UpdateEndpointWeightsAndCapacities": _update_weights,
    }


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
        in_service(record)
        changed = {**record.status, "EndpointStatus": "Updating", "NextConfig": config}
        if params.get("RetainAllVariantProperties"):
            changed["RetainAll"] = True
        return changed

    kind_of = context.kinds["Endpoint"]
    record = mutate(context, kind_of, params["EndpointName"], change, f"Update to {config}")
    return {"EndpointArn": record.arn}


def _update_weights(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Change] = {}
    for item in params["DesiredWeightsAndCapacities"]:
        if item.get("ServerlessUpdateConfig"):
            raise refuse("ServerlessUpdateConfig", "given", "variants are instances here.")
        weight, count = item.get("DesiredWeight"), item.get("DesiredInstanceCount")
        wanted[item["VariantName"]] = Change(
            None if weight is None else float(weight), None if count is None else int(count)
        )

    def change(record: Record) -> Mapping[str, Any]:
        return with_changes(record, wanted)

    kind = context.kinds["Endpoint"]
    record = mutate(context, kind, params["EndpointName"], change, "Weights and capacities changed")
    return {"EndpointArn": record.arn}
