"""What CreateTrainingJob refuses beyond the model's own constraints."""

import re
from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.cluster import hosts_of
from loopwright.contract.instances import check_count
from loopwright.contract.metrics import check_metrics
from loopwright.contract.programs import check_image, check_uri, decoded, refuse
from loopwright.kernel.kinds import Lookup
from loopwright.wire.errors import validation

UNSUPPORTED: Final = {
    "ServerlessJobConfig": "serverless training needs AWS's own fleet; use ResourceConfig",
    "SessionChainingConfig": "sessions of AWS identities have no counterpart here",
    "MlflowConfig": "no MLflow tracking server is attached",
    "ModelPackageConfig": "there is no model registry yet; register the artifact yourself",
}

RESERVED: Final = ("input", "code", "output", ".loopwright")
"""Below /opt/ml: no place for checkpoints."""


def check_training(spec: Mapping[str, Any], lookup: Lookup) -> None:
    """Refuse a training job that could not run as asked.

    Raises:
        ApiError: `ValidationException` naming the member, its value and the way out.
    """
    for member, why in UNSUPPORTED.items():
        if spec.get(member):
            raise refuse(member, spec[member], why)
    _check_algorithm(spec, lookup)
    _check_resources(spec)
    check_uri(spec["OutputDataConfig"]["S3OutputPath"], "OutputDataConfig.S3OutputPath")
    names: set[str] = set()
    for channel in spec.get("InputDataConfig", ()):
        name = channel["ChannelName"]
        if name in names:
            raise validation(f"InputDataConfig has the channel {name!r} twice; names are unique.")
        names.add(name)
        _check_channel(channel, spec, lookup)
    source = decoded(spec.get("HyperParameters", {}).get("sagemaker_submit_directory", ""))
    if source.startswith("s3://") and not lookup.object_exists(source):
        raise validation(f"HyperParameters.sagemaker_submit_directory: no object {source}.")
    checkpoints = spec.get("CheckpointConfig")
    if checkpoints:
        check_uri(checkpoints["S3Uri"], "CheckpointConfig.S3Uri")
        _check_local_path(checkpoints.get("LocalPath", "/opt/ml/checkpoints"))


def _check_local_path(path: str) -> None:
    """Refuse a checkpoint folder that is not one of its own below /opt/ml."""
    member = "CheckpointConfig.LocalPath"
    parts = path.removeprefix("/opt/ml/").strip("/").split("/")
    if not path.startswith("/opt/ml/") or parts == [""]:
        raise refuse(member, path, "it must be a folder below /opt/ml, as /opt/ml/checkpoints is.")
    if set(parts) & {"", ".", ".."}:
        raise refuse(member, path, "write it without '.', '..' and empty names.")
    taken = next((name for name in RESERVED if parts[: name.count("/") + 1] == name.split("/")), "")
    if taken:
        raise refuse(
            member,
            path,
            f"/opt/ml/{taken} holds what the job is given or leaves; use /opt/ml/checkpoints or "
            "another folder below /opt/ml.",
        )


def _check_algorithm(spec: Mapping[str, Any], lookup: Lookup) -> None:
    algorithm = spec.get("AlgorithmSpecification")
    if not algorithm:
        raise validation("AlgorithmSpecification is missing; give TrainingImage.")
    if algorithm.get("AlgorithmName"):
        raise refuse(
            "AlgorithmSpecification.AlgorithmName",
            algorithm["AlgorithmName"],
            "algorithm resources are not served; give TrainingImage.",
        )
    if not algorithm.get("TrainingImage"):
        raise validation("AlgorithmSpecification.TrainingImage is missing; give an image URI.")
    check_image(algorithm["TrainingImage"], "AlgorithmSpecification.TrainingImage", lookup)
    check_metrics(algorithm.get("MetricDefinitions", ()))
    for metric in algorithm.get("MetricDefinitions", ()):
        try:
            re.compile(metric["Regex"])
        except re.error as error:
            raise validation(
                f"MetricDefinitions {metric['Name']!r}: {metric['Regex']!r} is no regular "
                f"expression: {error}."
            ) from None


def _check_resources(spec: Mapping[str, Any]) -> None:
    resources = spec.get("ResourceConfig")
    if not resources:
        raise validation("ResourceConfig is missing; give InstanceType and InstanceCount.")
    if resources.get("InstancePreferences"):
        raise refuse(
            "ResourceConfig.InstancePreferences",
            resources["InstancePreferences"],
            "use InstanceType and InstanceCount.",
        )
    _check_groups(resources)
    _check_isolation(spec)
    if resources.get("TrainingPlanArn"):
        raise refuse(
            "ResourceConfig.TrainingPlanArn", resources["TrainingPlanArn"], "leave it out."
        )
    stopping = spec.get("StoppingCondition", {})
    if stopping.get("MaxPendingTimeInSeconds"):
        raise refuse(
            "StoppingCondition.MaxPendingTimeInSeconds",
            stopping["MaxPendingTimeInSeconds"],
            "jobs wait for capacity until they are stopped; leave it out.",
        )
    runtime_s, wait_s = stopping.get("MaxRuntimeInSeconds"), stopping.get("MaxWaitTimeInSeconds")
    if spec.get("EnableManagedSpotTraining") and wait_s is None:
        raise validation(
            "MaxWaitTimeInSeconds must be given when EnableManagedSpotTraining is true."
        )
    if wait_s is not None and not spec.get("EnableManagedSpotTraining"):
        raise validation(
            f"MaxWaitTimeInSeconds is {wait_s}, but it only goes with EnableManagedSpotTraining."
        )
    if wait_s is not None and runtime_s is not None and wait_s < runtime_s:
        raise validation(
            f"MaxWaitTimeInSeconds is {wait_s}; it must be at least MaxRuntimeInSeconds, "
            f"{runtime_s}."
        )


def _check_isolation(spec: Mapping[str, Any]) -> None:
    count = len(hosts_of(spec["ResourceConfig"]))
    if spec.get("EnableNetworkIsolation") and count > 1:
        raise refuse(
            "EnableNetworkIsolation",
            True,
            f"the job has {count} hosts, and each would have a network of its own, so that they "
            "could not reach each other. Use one host, or leave it out.",
        )


def _check_groups(resources: Mapping[str, Any]) -> None:
    groups = resources.get("InstanceGroups") or []
    if groups and (resources.get("InstanceType") or resources.get("InstanceCount")):
        raise validation(
            "ResourceConfig has InstanceGroups and InstanceType or InstanceCount; give either the "
            "groups, or the two."
        )
    if not groups and not resources.get("InstanceType"):
        raise validation("ResourceConfig.InstanceType is missing.")
    names = [group["InstanceGroupName"] for group in groups]
    for group in groups:
        if names.count(group["InstanceGroupName"]) > 1:
            raise validation(
                f"ResourceConfig.InstanceGroups has {group['InstanceGroupName']!r} twice; names "
                "are unique."
            )
    count = sum(group["InstanceCount"] for group in groups)
    check_count("The job", max(count, resources.get("InstanceCount") or 0))
    if count < 1 and groups:
        raise validation("ResourceConfig.InstanceGroups has no instance; give a count above 0.")


def _check_channel(channel: Mapping[str, Any], spec: Mapping[str, Any], lookup: Lookup) -> None:
    where = f"InputDataConfig {channel['ChannelName']}"
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise refuse(f"{where}.DataSource", "not S3DataSource", "put the data into S3.")
    mode = channel.get("InputMode") or spec["AlgorithmSpecification"]["TrainingInputMode"]
    if source["S3DataType"] == "AugmentedManifestFile":
        if mode != "Pipe":
            raise validation(
                f"{where}: S3DataType is AugmentedManifestFile and the input mode {mode}; "
                "augmented manifests can only be used with the input mode Pipe."
            )
        if not source.get("AttributeNames"):
            raise validation(f"{where}: AugmentedManifestFile needs AttributeNames.")
    elif source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise refuse(
            f"{where}.S3DataType",
            source["S3DataType"],
            "use S3Prefix, ManifestFile or AugmentedManifestFile.",
        )
    if source.get("HubAccessConfig"):
        raise refuse(f"{where}.S3DataSource", source, "model hubs are not served.")
    groups = spec["ResourceConfig"].get("InstanceGroups") or []
    known = [group["InstanceGroupName"] for group in groups]
    for name in source.get("InstanceGroupNames") or ():
        if name not in known:
            raise validation(
                f"{where}: InstanceGroupNames has {name!r}, but ResourceConfig.InstanceGroups has "
                f"{', '.join(known) or 'none'}."
            )
    if channel["RecordWrapperType"] != "None" and mode != "Pipe":
        raise refuse(
            f"{where}.RecordWrapperType",
            channel["RecordWrapperType"],
            f"records are wrapped in Pipe mode only, and the input mode is {mode}.",
        )
    check_uri(source["S3Uri"], f"{where}.S3Uri")
    if not lookup.object_exists(source["S3Uri"]):
        raise validation(
            f'No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source '
            f"{channel['ChannelName']}. Please ensure that the bucket exists and that objects "
            "exist under that S3 prefix."
        )
