"""ps, describe, spot interrupt, invoke: what runs, through the same API that clients use."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from loopwright.commands.arguments import Arguments, CommandError
from loopwright.commands.names import JOBS, call, did_you_mean, find, named, unknown
from loopwright.commands.output import client, moment, say, say_json, say_table
from loopwright.running import NotRunning, server_state, survivors


def ps(arguments: Arguments) -> int:
    """The newest jobs and endpoints, and the processes; 1 when only what outlived a server runs."""
    home = arguments.home
    try:
        state = server_state(home)
    except NotRunning:
        processes = list(survivors(home))
        if not processes and not arguments.json:
            raise
        _show(arguments, None, [], processes)
        if not arguments.json:
            raise
        return 1
    sagemaker = client(home, "sagemaker")
    rows = []
    for kind, member, _ in JOBS:
        listed = call(
            sagemaker, "list", f"{kind}s", MaxResults=50, SortBy="CreationTime",
            SortOrder="Descending",
        )  # fmt: skip
        key = next(name for name, value in listed.items() if isinstance(value, list))
        rows += [
            (kind, item[f"{kind}Name"], item[member], moment(item["CreationTime"]))
            for item in listed[key]
        ]
    own = {"what": "control plane", "pid": state["pid"], "detail": state["url"]}
    _show(arguments, state["url"], rows, [own, *survivors(home)])
    return 0


def _show(
    arguments: Arguments,
    url: str | None,
    rows: list[tuple[str, str, str, str]],
    processes: list[dict[str, Any]],
) -> None:
    names = ("kind", "name", "status", "created")
    if arguments.json:
        resources = [dict(zip(names, row, strict=True)) for row in rows]
        say_json({"url": url, "resources": resources, "processes": processes})
        return
    if url is not None:
        say_table("Jobs and endpoints", names, rows)
    shown = [(item["what"], str(item["pid"]), item["detail"]) for item in processes]
    say_table("Processes", ("what", "pid", "detail"), shown)


def describe(arguments: Arguments) -> int:
    """A job or endpoint: what it is, where it stands, how it came there."""
    there = find(arguments.home, arguments.name)
    if there is None:
        raise unknown(arguments.home, arguments.name)
    kind, member, _, found = there
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


def interrupt(arguments: Arguments) -> int:
    """Take back the capacity of a managed spot training job."""
    own = client(arguments.home, "loopwright")
    with named(arguments.home, arguments.name, "TrainingJob"):
        own.interrupt_training_job(TrainingJobName=arguments.name)
    say(f"{arguments.name} has two minutes' notice; it goes on when there is room for it.")
    return 0


def invoke(arguments: Arguments) -> int:
    """Send a body to an endpoint and print the answer; as JSON with what else was answered."""
    options = {"TargetVariant": arguments.variant} if arguments.variant else {}
    body = _body(arguments.body)
    try:
        answer = client(arguments.home, "sagemaker-runtime").invoke_endpoint(
            EndpointName=arguments.name,
            Body=body,
            ContentType=arguments.content_type,
            Accept=arguments.accept,
            **options,
        )
    except ClientError as error:
        raise _explained(arguments, error) from None
    content = answer["Body"].read()
    if arguments.json:
        # Bytes that are no text are shown as such, not lost.
        text = content.decode("utf-8", "backslashreplace")
        names = ("ContentType", "InvokedProductionVariant", "CustomAttributes")
        say_json({**{name: answer[name] for name in names if name in answer}, "Body": text})
        return 0
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.write(b"\n" if sys.stdout.isatty() else b"")
    return 0


def _explained(arguments: Arguments, error: ClientError) -> ClientError | CommandError:
    """The refusal, with the names that come near when the endpoint is not known.

    The gateway answers while the control plane is away; then nobody knows what comes near.
    """
    message = error.response["Error"].get("Message", "")
    if "not found" not in message or arguments.variant:
        return error
    try:
        return CommandError(message + did_you_mean(arguments.home, arguments.name, "Endpoint"))
    except NotRunning:
        return error


def _body(given: str) -> bytes:
    """The body that a word names: a text, @FILE, or - for standard input.

    Raises:
        CommandError: the file cannot be read.
    """
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise CommandError(f"{given[1:]} cannot be read: {error.strerror}.") from None
