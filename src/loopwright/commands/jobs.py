"""ps, describe, logs, stop, invoke: what runs, through the same API that clients use."""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from botocore.exceptions import ClientError

from loopwright.aws.registry import Registry
from loopwright.commands.output import (
    CommandError,
    client,
    moment,
    say,
    say_json,
    say_table,
    server_state,
)
from loopwright.compute.daemon import DaemonError
from loopwright.compute.engine import Engine, NoEngine
from loopwright.compute.folder import UnitFolder
from loopwright.server import is_process

JOBS: Final = (
    (
        "HyperParameterTuningJob",
        "HyperParameterTuningJobStatus",
        "/aws/sagemaker/HyperParameterTuningJobs",
    ),
    ("TrainingJob", "TrainingJobStatus", "/aws/sagemaker/TrainingJobs"),
    ("ProcessingJob", "ProcessingJobStatus", "/aws/sagemaker/ProcessingJobs"),
    ("Endpoint", "EndpointStatus", "/aws/sagemaker/Endpoints"),
)
OVER: Final = ("Completed", "Failed", "Stopped", "Deleting")
FOLLOW_S: Final = 0.5


def _call(sagemaker: Any, verb: str, kind: str, **params: Any) -> dict[str, Any]:
    # botocore names its methods in snake case: DescribeTrainingJob is describe_training_job.
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind)
    return dict(getattr(sagemaker, f"{verb}{words}")(**params))


def _find(home: Path, name: str) -> tuple[str, str, str, dict[str, Any]]:
    """(kind, status member, log group, description) of a job or endpoint by its name."""
    sagemaker = client(home, "sagemaker")
    for kind, member, group in JOBS:
        try:
            found = _call(sagemaker, "describe", kind, **{f"{kind}Name": name})
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ResourceNotFound", "ValidationException"):
                raise
            continue
        found.pop("ResponseMetadata", None)
        return kind, member, group, found
    raise CommandError(
        f"There is no job or endpoint {name!r}; `loopwright ps` lists those that there are."
    )


def ps(arguments: argparse.Namespace) -> int:
    """The newest jobs and endpoints, and the processes."""
    home = arguments.home
    state = server_state(home)
    sagemaker = client(home, "sagemaker")
    rows = []
    for kind, member, _ in JOBS:
        listed = _call(
            sagemaker, "list", f"{kind}s", MaxResults=50, SortBy="CreationTime",
            SortOrder="Descending",
        )  # fmt: skip
        key = next(name for name, value in listed.items() if isinstance(value, list))
        rows += [
            (kind, item[f"{kind}Name"], item[member], moment(item["CreationTime"]))
            for item in listed[key]
        ]
    processes = list(_processes(home, state))
    if arguments.json:
        names = ("kind", "name", "status", "created")
        resources = [dict(zip(names, row, strict=True)) for row in rows]
        say_json({"url": state["url"], "resources": resources, "processes": processes})
        return 0
    say_table("Jobs and endpoints", ("kind", "name", "status", "created"), rows)
    shown = [(item["what"], str(item["pid"]), item["detail"]) for item in processes]
    say_table("Processes", ("what", "pid", "detail"), shown)
    return 0


def _processes(home: Path, state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"what": "control plane", "pid": state["pid"], "detail": state["url"]}
    for gateway in sorted((home / "run").glob("gateway*.json")):
        found = orjson.loads(gateway.read_bytes())
        detail = f"{found['host']}:{found['port']}"
        yield {"what": "gateway", "pid": found["pid"], "detail": detail}
    for path in sorted((home / "units").glob("*")):
        folder = UnitFolder(path)
        started = folder.read("started")
        if started is not None and folder.is_alive():
            program = folder.read("program.json") or {}
            log = program.get("log", {})
            detail = f"{log.get('group', '')}:{log.get('stream', '')}"
            yield {"what": "unit", "pid": started["pid"], "detail": detail}


def describe(arguments: argparse.Namespace) -> int:
    """A job or endpoint: what it is, where it stands, how it came there."""
    kind, member, _, found = _find(arguments.home, arguments.name)
    if arguments.json:
        say_json(found)
        return 0
    say(f"{kind} {arguments.name}: {found[member]}")
    for name, value in found.items():
        if name in ("SecondaryStatusTransitions", member) or isinstance(value, dict | list):
            continue
        say(f"  {name}: {moment(value) if hasattr(value, 'astimezone') else value}")
    for step in found.get("SecondaryStatusTransitions", ()):
        say(f"  {moment(step['StartTime'])}  {step['Status']}: {step.get('StatusMessage', '')}")
    for metric in found.get("FinalMetricDataList", ()):
        say(f"  metric {metric['MetricName']} = {metric['Value']:g}")
    if kind in ("TrainingJob", "ProcessingJob"):
        for line in _usage(arguments.home, kind, arguments.name):
            say(f"  {line}")
    for variant in found.get("ProductionVariants", ()):
        say(
            f"  variant {variant['VariantName']}: weight {variant.get('CurrentWeight', 0):g}, "
            f"{variant.get('CurrentInstanceCount', 0)} of "
            f"{variant.get('DesiredInstanceCount', 0)} instances"
        )
    return 0


def _usage(home: Path, kind: str, name: str) -> Iterator[str]:
    """What each host of a job used, in the mean and at most."""
    cloudwatch = client(home, "cloudwatch")
    namespace = f"/aws/sagemaker/{kind}s"
    pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace)
    listed = [metric for page in pages for metric in page["Metrics"]]
    start = datetime.now(UTC) - timedelta(days=30)
    for metric in sorted(listed, key=lambda metric: str(metric["Dimensions"])):
        host = next((d["Value"] for d in metric["Dimensions"] if d["Name"] == "Host"), "")
        if host.rpartition("/")[0] != name:
            continue
        found = cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric["MetricName"],
            Dimensions=metric["Dimensions"],
            StartTime=start,
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=30 * 86_400,
            Statistics=["Average", "Maximum"],
        )["Datapoints"]
        for point in found[-1:]:
            yield (
                f"{host.rpartition('/')[2]} {metric['MetricName']}: {point['Average']:.1f} in the "
                f"mean, {point['Maximum']:.1f} at most ({point['Unit']})"
            )


def interrupt(arguments: argparse.Namespace) -> int:
    """Take back the capacity of a managed spot training job."""
    own = client(arguments.home, "loopwright")
    own.interrupt_training_job(TrainingJobName=arguments.name)
    say(f"{arguments.name} has two minutes' notice; it goes on when there is room for it.")
    return 0


def logs(arguments: argparse.Namespace) -> int:
    """All streams of a job or endpoint; with -f until it is over."""
    kind, member, group, found = _find(arguments.home, arguments.name)
    service = client(arguments.home, "logs")
    sagemaker = client(arguments.home, "sagemaker")
    prefix = f"{arguments.name}/"
    if kind == "Endpoint":
        group, prefix = f"{group}/{arguments.name}", ""
    tokens: dict[str, str] = {}
    while True:
        over = found[member] in OVER
        printed = _print_new(service, group, prefix, tokens)
        if not arguments.follow or (over and not printed):
            return 0
        time.sleep(FOLLOW_S)
        found = _call(sagemaker, "describe", kind, **{f"{kind}Name": arguments.name})


def _print_new(service: Any, group: str, prefix: str, tokens: dict[str, str]) -> bool:
    """Print what is new in every stream; whether there was anything."""
    options = {"logStreamNamePrefix": prefix} if prefix else {}
    try:
        streams = service.describe_log_streams(logGroupName=group, **options)["logStreams"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return False
        raise
    printed = False
    for stream in streams:
        name = stream["logStreamName"]
        while True:
            more = {"nextToken": tokens[name]} if name in tokens else {}
            page = service.get_log_events(
                logGroupName=group, logStreamName=name, startFromHead=True, **more
            )
            tokens[name] = page["nextForwardToken"]
            for event in page["events"]:
                printed = True
                head = f"{name.rpartition('/')[2]}  " if len(streams) > 1 else ""
                say(f"{head}{event['message']}")
            if not page["events"]:
                break
    return printed


def stop(arguments: argparse.Namespace) -> int:
    """A job by name; without one the gateway, the server and every unit of the home."""
    if arguments.name:
        kind, _, _, _ = _find(arguments.home, arguments.name)
        sagemaker = client(arguments.home, "sagemaker")
        verb = "delete" if kind == "Endpoint" else "stop"
        _call(sagemaker, verb, kind, **{f"{kind}Name": arguments.name})
        say(f"{'Deleting' if kind == 'Endpoint' else 'Stopping'} {kind} {arguments.name}")
        return 0
    home = arguments.home
    ended = 0
    for names, words in (("control.json", "loopwright"), ("gateway*.json", "router.gateway")):
        for path in sorted((home / "run").glob(names)):
            with contextlib.suppress(FileNotFoundError):
                ended += _end(int(orjson.loads(path.read_bytes())["pid"]), words)
            path.unlink(missing_ok=True)
    ended += _end_units(home)
    ended += _end_daemons(home)
    say(f"Stopped {ended} process{'es' if ended != 1 else ''} of {home}")
    return 0


def _end(pid: int, words: str) -> int:
    """SIGTERM, and SIGKILL when it takes too long; 1 when there was such a process."""
    if not is_process(pid, words):
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 45
    while is_process(pid, words):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    return 1


def _end_units(home: Path) -> int:
    found = [UnitFolder(path) for path in (home / "units").glob("*")]
    live = [folder for folder in found if folder.is_alive()]
    for folder in live:
        folder.write("stop.json", {"grace_s": 10.0})
    deadline = time.monotonic() + 20
    while any(folder.is_alive() for folder in live) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(live)


def _end_daemons(home: Path) -> int:
    """The registry and the own container engine, which a killed server has left running."""
    registry = Registry(home)
    engine = Engine(home, "podman", lambda: registry.address)
    daemons = [daemon for daemon in (registry.daemon, engine.daemon) if daemon.pid() is not None]
    for end in (registry.stop, engine.stop):
        try:
            end()
        except (NoEngine, DaemonError, OSError) as error:
            sys.stderr.write(f"loopwright: {error}\n")
    return len(daemons)


def invoke(arguments: argparse.Namespace) -> int:
    """Send a body to an endpoint and print the answer."""
    body: bytes
    if arguments.body == "-":
        body = sys.stdin.buffer.read()
    elif arguments.body.startswith("@"):
        try:
            body = Path(arguments.body[1:]).read_bytes()
        except OSError as error:
            raise CommandError(f"{arguments.body[1:]} cannot be read: {error.strerror}.") from None
    else:
        body = arguments.body.encode()
    options = {"TargetVariant": arguments.variant} if arguments.variant else {}
    answer = client(arguments.home, "sagemaker-runtime").invoke_endpoint(
        EndpointName=arguments.name,
        Body=body,
        ContentType=arguments.content_type,
        Accept=arguments.accept,
        **options,
    )
    sys.stdout.buffer.write(answer["Body"].read())
    sys.stdout.buffer.write(b"\n" if sys.stdout.isatty() else b"")
    return 0
