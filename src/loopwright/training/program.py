"""The unit programs of a training job: one a host, in the form of SageMaker's contract."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from loopwright.contract.cluster import (
    Host,
    addresses,
    hosts_of,
    rendezvous_port,
    resource_config,
)
from loopwright.contract.defaults import metrics_of
from loopwright.contract.images import CONTAINER, Runtime, runtime_of
from loopwright.contract.instances import Machine
from loopwright.contract.programs import (
    INTERFACE,
    SOURCE_PATH,
    common_environment,
    container_of,
    decoded,
    source_input,
)
from loopwright.contract.trials import OBJECTIVE, TRIAL
from loopwright.kernel.records import Record
from loopwright.runtime.mpi import KEY
from loopwright.runtime.pipes import FOLDER as PIPES

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
FOLDERS = ("model", "output/data", "input/data", "input/config", "checkpoints")


def instance_count(spec: Mapping[str, Any]) -> int:
    """Hosts of a job."""
    return len(hosts_of(spec["ResourceConfig"]))


def programs(record: Record, machine: Machine) -> list[dict[str, Any]]:
    """What each host of the job runs, by rank."""
    hosts = hosts_of(record.spec["ResourceConfig"])
    return [_program(record, machine, hosts, rank) for rank in range(len(hosts))]


def _program(record: Record, machine: Machine, hosts: list[Host], rank: int) -> dict[str, Any]:
    spec = record.spec
    host = hosts[rank]
    algorithm = spec["AlgorithmSpecification"]
    runtime = runtime_of(algorithm["TrainingImage"], "TrainingImage")
    size = machine.job(host.instance_type, len(hosts))
    parameters = spec.get("HyperParameters", {})
    environment = common_environment(
        runtime.name,
        record.region,
        size.cpus,
        {
            "TRAINING_JOB_NAME": record.name,
            "TRAINING_JOB_ARN": record.arn,
            "LOOPWRIGHT_RENDEZVOUS_PORT": str(
                rendezvous_port(record.uid, record.status.get("Attempt", 0))
            ),
            **spec.get("Environment", {}),
        },
        algorithm["TrainingImage"],
    )
    channels = [
        channel for channel in spec.get("InputDataConfig", ()) if host in _readers(channel, hosts)
    ]
    inputs = [
        _channel(channel, _readers(channel, hosts), host, _is_piped(channel, spec))
        for channel in channels
    ]
    places: dict[str, str] = {}
    source = decoded(parameters.get("sagemaker_submit_directory", ""))
    # An image of one's own fetches its script by itself, where it has a toolkit that wants one.
    if source.startswith("s3://") and runtime is not CONTAINER:
        inputs.append(source_input(source))
        places["LOOPWRIGHT_SOURCE"] = "{base}/" + SOURCE_PATH
    kept = checkpoints_of(spec)
    if kept is not None:
        # Own copies: a script may go on writing to a checkpoint in place.
        inputs.append(
            {
                "type": "prefix",
                "uri": kept["uri"],
                "path": kept["folder"],
                "optional": True,
                "link": False,
            }
        )
    # One stream over all attempts: clients follow as many streams as there are hosts.
    log_epoch = int(record.created * 1000)
    return {
        **_command(algorithm, runtime),
        "environment": environment,
        "places": places,
        "folders": [*FOLDERS, *([kept["folder"]] if kept is not None else [])],
        "files": {**_config_files(spec, channels, host, hosts), **_gang_key(record, hosts)},
        "inputs": inputs,
        "cpus": size.cpus,
        "memory_bytes": size.memory_bytes,
        "log": {"group": LOG_GROUP, "stream": f"{record.name}/{host.name}-{log_epoch}"},
        "metrics": metrics_of(runtime, algorithm, parameters),
        "pipes": [_pipe(channel) for channel in channels if _is_piped(channel, spec)],
        "objective": _objective(spec),
        "checkpoints": kept,
        "spot": bool(spec.get("EnableManagedSpotTraining")),
        "network": not spec.get("EnableNetworkIsolation", False),
        "hostname": host.name,
        "hosts": [one.name for one in hosts],
        "addresses": addresses(record.uid, hosts),
    }


def _command(algorithm: Mapping[str, Any], runtime: Runtime) -> dict[str, Any]:
    """What a host runs: the image's `train`, or an entry point with its arguments."""
    entry = list(algorithm.get("ContainerEntrypoint", ()))
    arguments = list(algorithm.get("ContainerArguments", ()))
    command = arguments if entry or arguments else ["train"]
    return {
        "verb": "run" if entry else "train",
        "arguments": [*entry, *arguments],
        "runtime": runtime.name,
        **container_of(runtime, algorithm["TrainingImage"], command, entry),
    }


def _objective(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """The metric whose reports are followed step by step, of a job that is being tuned."""
    name = spec.get("HyperParameters", {}).get(OBJECTIVE)
    if name is None:
        return None
    return {"metric": decoded(name), "rungs": spec.get(TRIAL, {}).get("rungs", [])}


def checkpoints_of(spec: Mapping[str, Any]) -> dict[str, str] | None:
    """Where checkpoints lie in the unit, and what they are published under; None without."""
    given = spec.get("CheckpointConfig")
    if not given:
        return None
    folder = given.get("LocalPath", "/opt/ml/checkpoints").removeprefix("/opt/ml/").strip("/")
    return {"folder": folder, "uri": given["S3Uri"].rstrip("/") + "/"}


def _config_files(
    spec: Mapping[str, Any], given: list[Any], host: Host, hosts: list[Host]
) -> dict[str, str]:
    channels = {
        channel["ChannelName"]: {
            "TrainingInputMode": channel.get("InputMode")
            or spec["AlgorithmSpecification"]["TrainingInputMode"],
            "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                "S3DataDistributionType", "FullyReplicated"
            ),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            **({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {}),
        }
        for channel in given
    }
    documents = {
        "hyperparameters": spec.get("HyperParameters", {}),
        "resourceconfig": resource_config(host, hosts, INTERFACE),
        "inputdataconfig": channels,
    }
    return {
        f"input/config/{name}.json": orjson.dumps(document).decode()
        for name, document in documents.items()
    }


def _gang_key(record: Record, hosts: list[Host]) -> dict[str, str]:
    """What the hosts of a job prove to each other by; other jobs never see a uid."""
    if len(hosts) < 2:
        return {}
    return {KEY: hashlib.sha256(f"gang/{record.uid}".encode()).hexdigest()}


def _readers(channel: Mapping[str, Any], hosts: list[Host]) -> list[Host]:
    """The hosts that get a channel: those of the instance groups that it names, else all."""
    groups = channel["DataSource"]["S3DataSource"].get("InstanceGroupNames")
    return [host for host in hosts if not groups or host.group in groups]


def _is_piped(channel: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    mode = channel.get("InputMode") or spec["AlgorithmSpecification"]["TrainingInputMode"]
    return bool(mode == "Pipe")


def _pipe(channel: Mapping[str, Any]) -> dict[str, Any]:
    """What the unit's feeder of a channel is told."""
    return {
        "channel": channel["ChannelName"],
        "recordio": channel.get("RecordWrapperType") == "RecordIO",
        "seed": channel["ShuffleConfig"]["Seed"] if channel.get("ShuffleConfig") else None,
    }


def _channel(
    channel: Mapping[str, Any], readers: list[Host], host: Host, piped: bool
) -> dict[str, Any]:
    source = channel["DataSource"]["S3DataSource"]
    name = channel["ChannelName"]
    kinds = {"ManifestFile": "manifest", "AugmentedManifestFile": "augmented"}
    found: dict[str, Any] = {
        "type": kinds.get(source["S3DataType"], "prefix"),
        "uri": source["S3Uri"],
        "path": f"{PIPES}/{name}/files" if piped else f"input/data/{name}",
    }
    if found["type"] == "augmented":
        found |= {"path": f"{PIPES}/{name}", "attributes": source["AttributeNames"]}
    if channel.get("CompressionType") == "Gzip":
        found["gzip"] = True
    if source.get("S3DataDistributionType") == "ShardedByS3Key":
        found["shard"] = [readers.index(host), len(readers)]
    if channel.get("ShuffleConfig") and not piped:
        found["shuffle_seed"] = channel["ShuffleConfig"]["Seed"]
    return found
