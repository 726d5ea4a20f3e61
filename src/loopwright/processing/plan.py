"""What happens to a processing job: wait, download, run, upload, end."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from loopwright.contract.cluster import Host, addresses, hosts_of, resource_config
from loopwright.contract.gang import Gang, gang_of
from loopwright.contract.images import runtime_of
from loopwright.contract.instances import Machine
from loopwright.contract.programs import (
    INTERFACE,
    common_environment,
    container_of,
    failed_reason,
)
from loopwright.kernel.actions import Action, Call, SetStatus, Wake
from loopwright.kernel.engine import Planner, View
from loopwright.kernel.kinds import STOPPING, Kind
from loopwright.kernel.records import Record
from loopwright.processing.check import DEFAULTS, check_processing

FINISHED: Final = frozenset({"Completed", "Failed", "Stopped"})
STOP_GRACE_S: Final = 120.0
TIMED_OUT: Final = "TimedOut"
LOG_GROUP: Final = "/aws/sagemaker/ProcessingJobs"


def processing_kinds(machine: Machine) -> list[Kind]:
    """The kinds of this room."""
    return [
        Kind(
            "ProcessingJob",
            arn="processing-job",
            state="ProcessingJobStatus",
            finished=FINISHED,
            initial_status=lambda spec, now: {"ProcessingJobStatus": "InProgress"},
            planner=processing_planner(machine),
            check=check_processing,
            missing=("ValidationException", "Could not find requested job with name: {name}"),
            taken=(
                "ResourceInUse",
                "Job name must be unique within an AWS account and region, and a job with this "
                "name already exists ({arn})",
            ),
            stop_when=frozenset({"InProgress"}),
            delete_when=FINISHED,
            spec_defaults=DEFAULTS,
        )
    ]


def processing_planner(machine: Machine) -> Planner:
    """The planner of processing jobs on this machine."""

    def plan(record: Record, view: View, now: float) -> list[Action]:
        if record.status["ProcessingJobStatus"] in FINISHED:
            return []
        count = int(_cluster(record).get("InstanceCount") or 1)
        gang = gang_of(record, view.units, 0, count)
        if not gang.asked:
            if record.status.get(STOPPING):
                return [_finish(record, now, "Stopped", gang)]
            return gang.start(_programs(record, machine))
        if not gang.over:
            return _attend(record, gang, now)
        return _conclude(record, view, gang, now)

    return plan


def _cluster(record: Record) -> Mapping[str, Any]:
    cluster: Mapping[str, Any] = record.spec["ProcessingResources"]["ClusterConfig"]
    return cluster


def _attend(record: Record, gang: Gang, now: float) -> list[Action]:
    status = record.status
    if status.get(STOPPING) or status.get(TIMED_OUT) or gang.failure is not None:
        return gang.stop(STOP_GRACE_S)
    if gang.stage != "running":
        message = gang.waits_for or None
        return [SetStatus({"ExitMessage": message}, message or "")]
    started = gang.started if gang.started is not None else now
    limit_s = record.spec["StoppingCondition"]["MaxRuntimeInSeconds"]
    if now >= started + limit_s:
        event = f"Ran longer than MaxRuntimeInSeconds, {limit_s} s"
        return [SetStatus({TIMED_OUT: True}, event), *gang.stop(STOP_GRACE_S)]
    changes = {"ProcessingStartTime": started, "ExitMessage": None}
    return [SetStatus(changes), Wake(started + limit_s)]


def _conclude(record: Record, view: View, gang: Gang, now: float) -> list[Action]:
    status = record.status
    if gang.started is None:
        state = "Stopped" if status.get(STOPPING) else "Failed"
        return [_finish(record, now, state, gang)]
    items = _outputs(record)
    if items:
        key = f"{gang.ids[0]}/collect"
        if key not in view.calls:
            return [Call("collect", key, {"units": list(gang.ids), "items": items})]
        result = view.calls[key]
        if result is None:
            return []
        if "error" in result:
            reason = f"ClientError: the outputs could not be uploaded: {result['error']}"
            return [_finish(record, now, "Failed", gang, reason)]
    if status.get(TIMED_OUT):
        limit_s = record.spec["StoppingCondition"]["MaxRuntimeInSeconds"]
        reason = f"ClientError: the job ran longer than MaxRuntimeInSeconds, {limit_s} s."
        return [_finish(record, now, "Failed", gang, reason)]
    if status.get(STOPPING):
        return [_finish(record, now, "Stopped", gang)]
    return [_finish(record, now, "Failed" if gang.failure else "Completed", gang)]


def _finish(record: Record, now: float, state: str, gang: Gang, reason: str = "") -> SetStatus:
    changes: dict[str, Any] = {
        "ProcessingJobStatus": state,
        "ProcessingEndTime": now,
        "ExitMessage": None,
    }
    if gang.started is not None:
        changes["ProcessingStartTime"] = gang.started
    failure = gang.failure
    if state == "Failed":
        if not reason and failure is not None and failure.state == "lost":
            reason = "InternalServerError: the unit was lost: its supervising process was killed."
        elif not reason and failure is not None:
            reason = (
                failure.message
                if gang.started is None
                else failed_reason(failure.exit_code, failure.message)
            )
        changes["FailureReason"] = reason[:1024]
    if gang.told:
        changes["ExitMessage"] = gang.told
    return SetStatus(changes, f"{state}: {reason}" if reason else state)


def _programs(record: Record, machine: Machine) -> list[dict[str, Any]]:
    hosts = hosts_of(_cluster(record))
    return [_program(record, machine, hosts, rank) for rank in range(len(hosts))]


def _program(record: Record, machine: Machine, hosts: list[Host], rank: int) -> dict[str, Any]:
    spec = record.spec
    application = spec["AppSpecification"]
    runtime = runtime_of(application["ImageUri"], "ImageUri")
    host = hosts[rank]
    size = machine.job(host.instance_type, len(hosts))
    outputs = spec.get("ProcessingOutputConfig", {}).get("Outputs", ())
    environment = common_environment(
        runtime.name,
        record.region,
        size.cpus,
        {"PROCESSING_JOB_NAME": record.name, **spec.get("Environment", {})},
        application["ImageUri"],
    )
    described = {
        **{k: v for k, v in spec.items() if k != "Environment"},
        "ProcessingJobArn": record.arn,
        "Environment": spec.get("Environment", {}),
    }
    return {
        "verb": "run",
        "arguments": [
            *application.get("ContainerEntrypoint", ()),
            *application.get("ContainerArguments", ()),
        ],
        "runtime": runtime.name,
        **container_of(
            runtime,
            application["ImageUri"],
            application.get("ContainerArguments", ()),
            application.get("ContainerEntrypoint", ()),
        ),
        "environment": environment,
        "folders": ["processing", "output", *(_below(item["S3Output"]) for item in outputs)],
        "files": {
            "config/processingjobconfig.json": orjson.dumps(described).decode(),
            "config/resourceconfig.json": orjson.dumps(
                resource_config(host, hosts, INTERFACE)
            ).decode(),
        },
        "continuous": [
            {"folder": item["folder"], "uri": item["uri"]}
            for item in _outputs(record)
            if item["continuous"]
        ],
        "inputs": [_input(item, rank, len(hosts)) for item in spec.get("ProcessingInputs", ())],
        "cpus": size.cpus,
        "memory_bytes": size.memory_bytes,
        "log": {
            "group": LOG_GROUP,
            "stream": f"{record.name}/{host.name}-{int(record.created * 1000)}",
        },
        "network": not spec.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
        "hostname": host.name,
        "hosts": [one.name for one in hosts],
        "addresses": addresses(record.uid, hosts),
    }


def _below(item: Mapping[str, Any]) -> str:
    return str(item["LocalPath"]).removeprefix("/opt/ml/").rstrip("/")


def _input(item: Mapping[str, Any], rank: int, count: int) -> dict[str, Any]:
    source = item["S3Input"]
    found: dict[str, Any] = {
        "type": "manifest" if source["S3DataType"] == "ManifestFile" else "prefix",
        "uri": source["S3Uri"],
        "path": _below(source),
    }
    if source.get("S3CompressionType") == "Gzip":
        found["gzip"] = True
    if source.get("S3DataDistributionType") == "ShardedByS3Key":
        found["shard"] = [rank, count]
    return found


def _outputs(record: Record) -> list[dict[str, Any]]:
    return [
        {
            "name": item["OutputName"],
            "folder": _below(item["S3Output"]),
            "uri": item["S3Output"]["S3Uri"],
            "mode": "tree",
            "continuous": item["S3Output"]["S3UploadMode"] == "Continuous",
        }
        for item in record.spec.get("ProcessingOutputConfig", {}).get("Outputs", ())
    ]
