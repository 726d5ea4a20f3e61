"""advise tuning, tuning show: what a search will cost, and how it goes."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from loopwright.commands.arguments import Arguments, CommandError
from loopwright.commands.names import named
from loopwright.commands.output import (
    client,
    look,
    moment,
    read_request,
    say,
    say_json,
    write_file,
)
from loopwright.tuning.advice import advise

FINISHED: Final = ("Completed", "Failed", "Stopped")
REPORT: Final = "Report: "
SHOWN: Final = 20
BAR: Final = 60


def advise_tuning(arguments: Arguments) -> int:
    """Advice on a request of CreateHyperParameterTuningJob in a JSON file."""
    request = read_request(arguments.request, "CreateHyperParameterTuningJob")
    found = advise(request)
    if arguments.json:
        say_json({"advice": found})
        return 0
    for text in found or ["Nothing to advise: the request follows the documented practices."]:
        say(f"- {text}" if found else text)
    return 0


def show_tuning(arguments: Arguments) -> int:
    """A tuning job: progress, best so far, its trials, what happened; live until it ends."""
    if arguments.html:
        return write_file(arguments.html, _report(arguments))
    with named(arguments.home, arguments.name, "HyperParameterTuningJob"):
        return look(arguments, lambda: _state(arguments), _screen, _is_over)


def _is_over(state: Mapping[str, Any]) -> bool:
    return state["job"]["HyperParameterTuningJobStatus"] in FINISHED


def _report(arguments: Arguments) -> str:
    """The report that the tuning job wrote at its end.

    Raises:
        CommandError: it has written none.
    """
    with named(arguments.home, arguments.name, "HyperParameterTuningJob"):
        state = _state(arguments)
    texts = [event["Text"] for event in state["events"]]
    found = next((text for text in texts if text.startswith(REPORT)), None)
    if found is None:
        said = next((text for text in texts if text.startswith("The report")), None)
        status = state["job"]["HyperParameterTuningJobStatus"]
        raise CommandError(
            said
            or f"{arguments.name} is {status} and has no report; it writes one when it ends, if it "
            f"has trials: `loopwright tuning show {arguments.name}` shows where it stands."
        )
    bucket, _, key = found.removeprefix(REPORT).removeprefix("s3://").partition("/")
    body = client(arguments.home, "s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return bytes(body).decode()


def _state(arguments: Arguments) -> dict[str, Any]:
    sagemaker = client(arguments.home, "sagemaker")
    job = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=arguments.name)
    job.pop("ResponseMetadata", None)
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=arguments.name, PaginationConfig={"PageSize": 100}
    )
    trials = [trial for page in pages for trial in page["TrainingJobSummaries"]]
    own = client(arguments.home, "loopwright")
    events = own.list_events(ResourceArn=job["HyperParameterTuningJobArn"], MaxResults=1000)
    return {"job": job, "trials": trials, "events": events["Events"]}


def _screen(state: Mapping[str, Any]) -> Group:
    job, trials = state["job"], state["trials"]
    config = job["HyperParameterTuningJobConfig"]
    limit = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    counts = job["TrainingJobStatusCounters"]
    ended = sum(counts.values()) - counts["InProgress"]
    parts = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    head = Text(
        f"{job['HyperParameterTuningJobName']}  {config['Strategy']}  "
        f"{job['HyperParameterTuningJobStatus']}"
        + (f": {job['FailureReason']}" if "FailureReason" in job else "")
    )
    lines: list[Any] = [head, Text(f"{ended} of {limit or '?'} trials ended: {parts or 'none'}")]
    if limit and sys.stdout.isatty():
        done = round(BAR * min(1.0, ended / limit))
        lines.append(Text("━" * done, "green") + Text("━" * (BAR - done), "grey50"))
    best = job.get("BestTrainingJob")
    if best is not None:
        metric = best["FinalHyperParameterTuningJobObjectiveMetric"]
        tuned = ", ".join(f"{name}={value}" for name, value in best["TunedHyperParameters"].items())
        lines.append(
            Text(f"Best: {metric['MetricName']} {metric['Value']:g}, {best['TrainingJobName']}")
        )
        lines.append(Text(f"      {tuned}"))
    lines.append(_table(trials))
    lines += [
        Text(f"{moment(event['Time'])}  {event['Text']}") for event in state["events"][-SHOWN:]
    ]
    return Group(*lines)


def _table(trials: Sequence[Mapping[str, Any]]) -> Table:
    """The newest trials."""
    names = sorted({name for trial in trials for name in trial["TunedHyperParameters"]})
    table = Table("trial", "status", "objective", *names)
    for trial in trials[-SHOWN:]:
        metric = trial.get("FinalHyperParameterTuningJobObjectiveMetric")
        table.add_row(
            trial["TrainingJobName"],
            trial["TrainingJobStatus"],
            f"{metric['Value']:g}" if metric else "-",
            *(_short(trial["TunedHyperParameters"].get(name, "-")) for name in names),
        )
    return table


def _short(value: str) -> str:
    try:
        return value if len(value) < 9 else f"{float(value):.4g}"
    except ValueError:
        return value
