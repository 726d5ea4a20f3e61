"""advise distribution: whether a training job needs more than one host, from measured dry runs."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from loopwright.commands.arguments import Arguments, CommandError
from loopwright.commands.output import client, read_request, say, say_json
from loopwright.compute.limits import machine_cpus, machine_memory_bytes
from loopwright.contract.instances import Machine
from loopwright.running import server_state
from loopwright.training.choose import DryRun, batch_of, choose, dry_request

OVER: Final = ("Completed", "Failed", "Stopped")
ASK_S: Final = 0.5
BATCHES: Final = (2, 8)
"""When a job does not fit, its batch is divided by these and tried again."""


def advise_distribution(arguments: Arguments) -> int:
    """Run the job in short on one host, measure it, and say what that means."""
    request = read_request(arguments.request, "CreateTrainingJob")
    if arguments.seconds < 1:
        raise CommandError(f"--seconds is {arguments.seconds}; it must be at least 1.")
    server_state(arguments.home)
    resources = request["ResourceConfig"]
    if resources.get("InstanceGroups"):
        raise CommandError("The request has InstanceGroups; give one InstanceType to be measured.")
    machine = Machine(machine_cpus(), int(machine_memory_bytes() * 0.9))
    size = machine.job(resources["InstanceType"])
    runs = _runs(arguments, request, float(size.memory_bytes))
    hosts = int(min(machine.cpus // size.cpus, machine.memory_bytes // max(size.memory_bytes, 1)))
    advice = list(
        choose(resources["InstanceType"], size.memory_bytes, size.cpus, runs, max(1, hosts))
    )
    if arguments.json:
        say_json({"advice": advice})
        return 0
    for text in advice:
        say(text)
    return 0


def _runs(arguments: Arguments, request: dict[str, Any], memory_bytes: float) -> list[DryRun]:
    """The dry run as requested; if it does not fit, with smaller batches until one does."""
    known = batch_of(request.get("HyperParameters", {}))
    batches: list[int | None] = [known[1] if known else None]
    if known:
        batches += [known[1] // part for part in BATCHES if known[1] // part >= 1]
    runs: list[DryRun] = []
    for batch in batches:
        runs.append(_run(arguments, request, batch, memory_bytes))
        if not runs[-1].out_of_memory:
            break
    return runs


def _run(
    arguments: Arguments, request: dict[str, Any], batch: int | None, memory_bytes: float
) -> DryRun:
    sagemaker = client(arguments.home, "sagemaker")
    name = f"{request['TrainingJobName'][:45]}-dry-{secrets.token_hex(4)}"
    sagemaker.create_training_job(**dry_request(request, name, arguments.seconds, batch))
    while True:
        found = sagemaker.describe_training_job(TrainingJobName=name)
        if found["TrainingJobStatus"] in OVER:
            break
        time.sleep(ASK_S)
    reason = found.get("FailureReason", "")
    spent = "OutOfMemory" in reason or "MemoryError" in reason
    if found["TrainingJobStatus"] == "Failed" and not spent:
        raise CommandError(f"The dry run {name} failed: {reason}")
    memory = _used(arguments.home, name, "MemoryUtilization", "Maximum")
    return DryRun(
        batch,
        None if memory is None else memory / 100 * memory_bytes,
        spent,
        _used(arguments.home, name, "CPUUtilization", "Average"),
        float(found.get("TrainingTimeInSeconds", 0)),
        found["TrainingJobStatus"] == "Completed",
    )


def _used(home: Path, job: str, metric: str, statistic: str) -> float | None:
    points = client(home, "cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName=metric,
        Dimensions=[{"Name": "Host", "Value": f"{job}/algo-1"}],
        StartTime=datetime.now(UTC) - timedelta(days=1),
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
        Period=2 * 86_400,
        Statistics=[statistic],
    )["Datapoints"]
    return float(points[-1][statistic]) if points else None
