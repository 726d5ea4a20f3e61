"""Operations of endpoints that are no generic verb: updates in place."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.programs import refuse
from loopwright.hosting.capacity import Change, in_service, with_changes
from loopwright.hosting.checks import check_deployment, check_models
from loopwright.hosting.shadow_tests import shadow_test_operations
from loopwright.kernel.kinds import DELETING, Lookup
from loopwright.kernel.records import Record
from loopwright.kernel.verbs import Context, Operation, find, mutate
from loopwright.wire.errors import validation


def hosting_operations() -> dict[str, Operation]:
    """By operation name."""
    return {
        "UpdateEndpoint": _update_endpoint,
        "UpdateEndpointWeightsAndCapacities": _update_weights,
        **shadow_test_operations(),
    }


PROPERTIES: Final = ("DesiredInstanceCount", "DesiredWeight", "DataCaptureConfig")


def _update_endpoint(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    config = params["EndpointConfigName"]
    find(context, context.kinds["Endpoint"], params["EndpointName"])
    found = context.lookup.record("EndpointConfig", config)
    if found is None:
        raise validation(f'Could not find endpoint configuration "{config}".')
    check_models(found, context.lookup)
    if params.get("RetainDeploymentConfig") and params.get("DeploymentConfig"):
        raise validation("Give DeploymentConfig or RetainDeploymentConfig, not both.")
    excluded = {
        item["VariantPropertyType"] for item in params.get("ExcludeRetainedVariantProperties", ())
    }
    if excluded and not params.get("RetainAllVariantProperties"):
        raise validation(
            "ExcludeRetainedVariantProperties is given, but RetainAllVariantProperties is not "
            "true: nothing would be retained."
        )
    retained = [name for name in PROPERTIES if name not in excluded]
    if not params.get("RetainAllVariantProperties"):
        retained = []

    def change(record: Record) -> Mapping[str, Any]:
        in_service(record)
        _check_scaled(record, found, context.lookup)
        deployment = params.get("DeploymentConfig", {})
        if params.get("RetainDeploymentConfig"):
            deployment = record.status.get("LastDeploymentConfig") or {}
        _check_weights(found, record, "DesiredWeight" in retained)
        counts = _counts(found, record, "DesiredInstanceCount" in retained)
        check_deployment(deployment, counts, context.lookup)
        update = {"config": config, "retained": retained, "deployment": deployment}
        return {**record.status, "EndpointStatus": "Updating", "Update": update}

    kind_of = context.kinds["Endpoint"]
    record = mutate(context, kind_of, params["EndpointName"], change, f"Update to {config}")
    return {"EndpointArn": record.arn}


def _check_scaled(record: Record, config: Record, lookup: Lookup) -> None:
    """AWS's rule: a scaled variant keeps its instance type, though not its model."""
    types = {v["name"]: v["instance_type"] for v in record.status["Fleet"]["variants"]}
    for variant in config.spec["ProductionVariants"]:
        name = variant["VariantName"]
        target = lookup.record("ScalableTarget", f"endpoint/{record.name}/variant/{name}")
        scaled = target is not None and not target.status.get(DELETING)
        if scaled and types.get(name, variant["InstanceType"]) != variant["InstanceType"]:
            raise validation(
                f"The instance type of variant {name!r} cannot change while it is a scalable "
                "target; call DeregisterScalableTarget first."
            )


def _check_weights(config: Record, record: Record, retained: bool) -> None:
    """Weights that are retained may be all zero together, though those given never are."""
    kept = {v["name"]: float(v["weight"]) for v in record.status["Fleet"]["variants"]}
    weights = [
        kept.get(variant["VariantName"], float(variant.get("InitialVariantWeight", 1.0)))
        for variant in config.spec["ProductionVariants"]
    ]
    if retained and sum(weights) <= 0:
        raise validation(
            "The retained weights of all variants would be 0; exclude DesiredWeight with "
            "ExcludeRetainedVariantProperties, or set one by UpdateEndpointWeightsAndCapacities."
        )


def _counts(config: Record, record: Record, retained: bool) -> dict[str, int]:
    """Instances by variant that the new fleet will have."""
    found = {
        variant["VariantName"]: int(variant.get("InitialInstanceCount", 1))
        for variant in config.spec["ProductionVariants"]
    }
    for variant in record.status["Fleet"]["variants"] if retained else ():
        if variant["name"] in found:
            found[variant["name"]] = int(variant["count"])
    return found


def _update_weights(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Change] = {}
    for item in params["DesiredWeightsAndCapacities"]:
        if item.get("ServerlessUpdateConfig"):
            raise refuse("ServerlessUpdateConfig", "given", "variants are instances here.")
        name = item["VariantName"]
        if name in wanted:
            raise validation(f"The variant {name!r} is there twice; name each variant once.")
        weight, count = item.get("DesiredWeight"), item.get("DesiredInstanceCount")
        if count == 0:
            raise validation(
                f"DesiredInstanceCount of {name} is 0; a real-time variant keeps at least 1 "
                "instance: set its DesiredWeight to 0 to take its traffic away."
            )
        wanted[name] = Change(
            None if weight is None else float(weight), None if count is None else int(count)
        )

    def change(record: Record) -> Mapping[str, Any]:
        if record.status.get("Allocation") and any(c.weight is not None for c in wanted.values()):
            raise validation(
                f"A bandit chooses the weights of endpoint {record.name}, so DesiredWeight would "
                "change nothing: leave it out, or call DeleteBandit of the loopwright service."
            )
        return with_changes(record, wanted)

    kind = context.kinds["Endpoint"]
    record = mutate(context, kind, params["EndpointName"], change, "Weights and capacities changed")
    return {"EndpointArn": record.arn}
