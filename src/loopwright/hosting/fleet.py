"""A fleet: what one generation of an endpoint serves, copied when it begins.

The copy makes an endpoint independent of its configuration and models: deleting a model under a
live endpoint changes nothing, and a crashed instance comes back with what it had.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from loopwright.contract.images import runtime_of
from loopwright.contract.instances import Machine
from loopwright.contract.programs import (
    SOURCE_PATH,
    common_environment,
    container_of,
    source_input,
)
from loopwright.kernel.records import Record

Fleet = Mapping[str, Any]
START_TIMEOUT_S: Final = 240.0


class Unbuildable(Exception):
    """The configuration or one of its models is gone."""


def build(
    config_name: str, generation: int, lookup: Callable[[str, str], Record | None]
) -> dict[str, Any]:
    """The fleet of a configuration as it stands now.

    Raises:
        Unbuildable: the configuration or a model does not exist any more.
    """
    config = lookup("EndpointConfig", config_name)
    if config is None:
        raise Unbuildable(f'Could not find endpoint configuration "{config_name}".')
    spec = config.spec
    variants = [_variant(item, lookup) for item in spec["ProductionVariants"]]
    shadows = [_shadow(item, variants, lookup) for item in spec.get("ShadowProductionVariants", ())]
    for variant in (*variants, *shadows) if spec.get("EnableNetworkIsolation") else ():
        variant["network"] = False
    return {
        "generation": generation,
        "config": config_name,
        "variants": variants,
        "shadows": shadows,
        "capture": spec.get("DataCaptureConfig"),
    }


def members(fleet: Fleet) -> list[Mapping[str, Any]]:
    """The production and the shadow variants."""
    return [*fleet["variants"], *fleet.get("shadows", ())]


def _shadow(
    item: Mapping[str, Any],
    variants: list[dict[str, Any]],
    lookup: Callable[[str, str], Record | None],
) -> dict[str, Any]:
    """A shadow: its weight over the production variant's is the share that it gets copies of."""
    shadowed = variants[0]
    found = _variant(item, lookup)
    share = min(1.0, found["weight"] / shadowed["weight"]) if shadowed["weight"] else 0.0
    return {**found, "weight": share, "of": shadowed["name"]}


def retained(fleet: dict[str, Any], previous: Fleet, properties: Iterable[str]) -> None:
    """Carry over what an update shall keep of variants that go on under their name.

    Args:
        properties: Of `DesiredInstanceCount`, `DesiredWeight`, `DataCaptureConfig`.
    """
    kept = set(properties)
    known = {variant["name"]: variant for variant in previous["variants"]}
    for variant in fleet["variants"]:
        before = known.get(variant["name"])
        if before is not None and "DesiredWeight" in kept:
            variant["weight"] = before["weight"]
        if before is not None and "DesiredInstanceCount" in kept:
            variant["count"] = before["count"]
    if "DataCaptureConfig" in kept:
        fleet["capture"] = previous.get("capture")


def _variant(
    item: Mapping[str, Any], lookup: Callable[[str, str], Record | None]
) -> dict[str, Any]:
    model = lookup("Model", item["ModelName"])
    if model is None:
        raise Unbuildable(f'Could not find model "{item["ModelName"]}".')
    container = model.spec.get("PrimaryContainer") or model.spec["Containers"][0]
    return {
        "name": item["VariantName"],
        "model": item["ModelName"],
        "weight": float(item.get("InitialVariantWeight", 1.0)),
        "count": int(item.get("InitialInstanceCount", 1)),
        "instance_type": item["InstanceType"],
        "strategy": item.get("RoutingConfig", {}).get("RoutingStrategy", "RANDOM"),
        "start_s": float(item.get("ContainerStartupHealthCheckTimeoutInSeconds", START_TIMEOUT_S)),
        "download_s": item.get("ModelDataDownloadTimeoutInSeconds"),
        "container": dict(container),
        "network": not model.spec.get("EnableNetworkIsolation", False),
    }


def instance_id(record: Record, fleet: Fleet, variant: str, index: int, restart: int) -> str:
    """The unit id of an instance: `Endpoint/name/uid#generation.variant.index.restart`."""
    return f"{record.key}#{fleet['generation']}.{variant}.{index}.{restart}"


def program(
    record: Record, variant: Mapping[str, Any], machine: Machine, instance: str
) -> dict[str, Any]:
    """What an instance of a variant runs."""
    container = variant["container"]
    runtime = runtime_of(container["Image"], "Image")
    size = machine.hosting(variant["instance_type"])
    own = dict(container.get("Environment", {}))
    environment = common_environment(
        runtime.name, record.region, machine.cpus, own, container["Image"]
    )
    foreign = container_of(runtime, container["Image"], ["serve"])
    places = {} if foreign else {"LOOPWRIGHT_LISTEN": "unix:{base}/.loopwright/serve.sock"}
    inputs = []
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source and source.get("CompressionType") == "None":
        inputs.append({"type": "prefix", "uri": source["S3Uri"], "path": "model"})
    elif source or container.get("ModelDataUrl"):
        uri = source["S3Uri"] if source else container["ModelDataUrl"]
        inputs.append({"type": "archive", "uri": uri, "path": "model"})
    submit = own.get("SAGEMAKER_SUBMIT_DIRECTORY", "")
    if submit.startswith("s3://") and not foreign:
        inputs.append(source_input(submit))
        places["LOOPWRIGHT_SOURCE"] = "{base}/" + SOURCE_PATH
    return {
        "verb": "serve",
        "arguments": [],
        "runtime": runtime.name,
        **foreign,
        "environment": environment,
        "places": places,
        "folders": ["output"] if inputs else ["output", "model"],
        "files": {},
        "inputs": inputs,
        "cpus": size.cpus,
        "memory_bytes": size.memory_bytes,
        "memory_unlimited": True,
        "log": {
            "group": f"/aws/sagemaker/Endpoints/{record.name}",
            "stream": f"{variant['name']}/{instance}",
        },
        "network": variant["network"],
        "hostname": "model",
        "serves": True,
    }
