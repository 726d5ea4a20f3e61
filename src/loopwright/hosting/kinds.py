"""What the API offers of hosting, and what it refuses by name."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.instances import Machine
from loopwright.contract.programs import check_image, check_uri, refuse
from loopwright.hosting.checks import check_deployment, check_models
from loopwright.hosting.plan import endpoint_planner
from loopwright.hosting.shadow_tests import SHADOW_TEST_KIND
from loopwright.kernel.defaults import Each, Given
from loopwright.kernel.kinds import DELETING, Kind, Lookup
from loopwright.kernel.records import Record
from loopwright.wire.errors import validation

REFUSED: Final = {
    "ServerlessConfig": "use InitialInstanceCount",
    "ManagedInstanceScaling": "use Application Auto Scaling",
    "InstancePools": "use InstanceType",
    "VariantInstanceProvisionTimeoutInSeconds": "it belongs to InstancePools",
    "CoreDumpConfig": "the container's output is in its log",
    "CapacityReservationConfig": "use InitialInstanceCount",
    "AcceleratorType": "use InstanceType",
    "AcceleratorPartitionLayouts": "use InstanceType",
}
"""Members of variants that would change the outcome, and the way out."""


CONTAINER_REFUSED: Final = {
    "MultiModelConfig": "it belongs to Mode MultiModel; use one endpoint for each model.",
    "ContainerMetricsConfig": "nobody reads a container's own metrics; leave it out.",
}
_CONTAINER: Final = {"Mode": "SingleModel"}
_VARIANT: Final = {"InitialVariantWeight": 1.0}
MODEL: Final = {
    "PrimaryContainer": Given(_CONTAINER),
    "Containers": Each(_CONTAINER),
    "EnableNetworkIsolation": False,
}
CONFIG: Final = {
    "ProductionVariants": Each(_VARIANT),
    "ShadowProductionVariants": Each(_VARIANT),
    "DataCaptureConfig": Given({"EnableCapture": True}),
    "EnableNetworkIsolation": False,
}
"""What the service fills into models and endpoint configurations."""


def _missing(noun: str) -> tuple[str, str]:
    """The service's words for a name that does not exist; clients look for them."""
    return "ValidationException", f'Could not find {noun} "{{arn}}".'


def _taken(noun: str) -> tuple[str, str]:
    """The same for one that does."""
    return "ValidationException", f'Cannot create already existing {noun} "{{arn}}".'


def hosting_kinds(machine: Machine) -> list[Kind]:
    """The kinds of this room."""
    return [
        Kind(
            "Model",
            arn="model",
            check=_check_model,
            spec_defaults=MODEL,
            missing=_missing("model"),
            taken=_taken("model"),
        ),
        Kind(
            "EndpointConfig",
            arn="endpoint-config",
            check=_check_config,
            spec_defaults=CONFIG,
            missing=_missing("endpoint configuration"),
            taken=_taken("endpoint configuration"),
        ),
        Kind(
            "Endpoint",
            arn="endpoint",
            state="EndpointStatus",
            initial_status=_initial,
            planner=endpoint_planner(machine),
            check=_check_endpoint,
            present=_present_endpoint,
            missing=_missing("endpoint"),
            taken=_taken("endpoint"),
        ),
        SHADOW_TEST_KIND,
    ]


def containers_of(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The containers of a model, one for all but inference pipelines."""
    if model.get("PrimaryContainer"):
        return [model["PrimaryContainer"]]
    return list(model.get("Containers", ()))


def _check_model(spec: Mapping[str, Any], lookup: Lookup) -> None:
    containers = containers_of(spec)
    if not containers:
        raise validation("Give PrimaryContainer, or Containers for an inference pipeline.")
    if spec.get("PrimaryContainer") and spec.get("Containers"):
        raise validation("Give PrimaryContainer or Containers, not both.")
    if len(containers) > 1:
        raise refuse("Containers", f"{len(containers)} containers", "use one PrimaryContainer.")
    container = containers[0]
    if container["Mode"] != "SingleModel":
        raise refuse("Mode", container["Mode"], "use one endpoint for each model.")
    for member in ("ModelPackageName", "AdditionalModelDataSources", "InferenceSpecificationName"):
        if container.get(member):
            raise refuse(member, container[member], "give Image and ModelDataUrl.")
    for member, instead in CONTAINER_REFUSED.items():
        if container.get(member):
            raise refuse(member, container[member], instead)
    execution = spec.get("InferenceExecutionConfig", {}).get("Mode", "Serial")
    if execution != "Serial":
        raise refuse("InferenceExecutionConfig.Mode", execution, "a model has one container here.")
    if not container.get("Image"):
        raise validation("Image is missing; give an image URI.")
    check_image(container["Image"], "Image", lookup)
    source = container.get("ModelDataSource")
    if source:
        for member in ("ManifestS3Uri", "HubAccessConfig"):
            if source["S3DataSource"].get(member):
                raise refuse(f"ModelDataSource.{member}", "given", "give S3Uri alone.")
        _check_object(source["S3DataSource"]["S3Uri"], lookup)
    elif container.get("ModelDataUrl"):
        _check_object(container["ModelDataUrl"], lookup)


def _check_object(uri: str, lookup: Lookup) -> None:
    if not uri.startswith("s3://"):
        raise validation(f"ModelDataUrl is {uri!r}; it must be an address s3://BUCKET/KEY.")
    if not lookup.object_exists(uri):
        raise validation(
            f"Could not find model data at {uri}: no such object; check that the training job "
            "wrote to /opt/ml/model and completed."
        )


def _check_config(spec: Mapping[str, Any], lookup: Lookup) -> None:
    for member in ("AsyncInferenceConfig", "ExplainerConfig", "CrossRegionTrafficConfig"):
        if spec.get(member):
            raise refuse(member, "given", "only real-time variants are served.")
    shadows = spec.get("ShadowProductionVariants", [])
    if shadows and (len(shadows) > 1 or len(spec["ProductionVariants"]) > 1):
        raise validation(
            f"There are {len(spec['ProductionVariants'])} ProductionVariants and {len(shadows)} "
            "ShadowProductionVariants; a shadow needs exactly one of each."
        )
    names: set[str] = set()
    for variant in (*spec["ProductionVariants"], *shadows):
        name = variant["VariantName"]
        if name in names:
            raise validation(f"The variant name {name!r} is there twice; variant names are unique.")
        names.add(name)
        _check_variant(variant, lookup)
    _check_capture(spec.get("DataCaptureConfig", {}))
    if sum(float(v["InitialVariantWeight"]) for v in spec["ProductionVariants"]) <= 0:
        raise validation("The sum of InitialVariantWeight must be above 0.")


def _check_capture(capture: Mapping[str, Any]) -> None:
    if capture.get("EnableCapture"):
        check_uri(capture["DestinationS3Uri"], "DataCaptureConfig.DestinationS3Uri")


def _check_variant(variant: Mapping[str, Any], lookup: Lookup) -> None:
    for member, instead in REFUSED.items():
        if variant.get(member):
            raise refuse(f"ProductionVariants.{member}", "given", f"{instead}.")
    routing = variant.get("RoutingConfig", {})
    strategy = routing.get("RoutingStrategy", "RANDOM")
    if strategy not in ("RANDOM", "LEAST_OUTSTANDING_REQUESTS"):
        raise refuse("RoutingStrategy", strategy, "use RANDOM or LEAST_OUTSTANDING_REQUESTS.")
    if routing.get("PrefixAwareRoutingConfig"):
        raise refuse("PrefixAwareRoutingConfig", "given", f"{strategy} knows no prefixes.")
    model = variant.get("ModelName")
    if not model:
        raise validation("ProductionVariants.ModelName is missing.")
    if not variant.get("InstanceType"):
        raise validation("ProductionVariants.InstanceType is missing.")
    if lookup.record("Model", model) is None:
        raise validation(f'Could not find model "{model}".')


def _check_endpoint(spec: Mapping[str, Any], lookup: Lookup) -> None:
    name = spec["EndpointConfigName"]
    config = lookup.record("EndpointConfig", name)
    if config is None:
        raise validation(f'Could not find endpoint configuration "{name}".')
    check_models(config, lookup)
    if spec.get("DeploymentConfig"):
        counts = {
            variant["VariantName"]: int(variant.get("InitialInstanceCount", 1))
            for variant in config.spec["ProductionVariants"]
        }
        check_deployment(spec["DeploymentConfig"], counts, lookup)


def _initial(spec: Mapping[str, Any], _now: float) -> Mapping[str, Any]:
    found = {"EndpointStatus": "Creating", "EndpointConfigName": spec["EndpointConfigName"]}
    # Only kept, for updates with `RetainDeploymentConfig`.
    given = spec.get("DeploymentConfig")
    return {**found, "LastDeploymentConfig": given} if given else found


def _present_endpoint(record: Record, _lookup: Lookup) -> Mapping[str, Any]:
    return {"EndpointStatus": "Deleting"} if record.status.get(DELETING) else {}
