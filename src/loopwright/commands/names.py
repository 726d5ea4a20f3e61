"""Jobs and endpoints by their names, and which names come near one that is unknown."""

import contextlib
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from loopwright.commands.arguments import CommandError
from loopwright.commands.output import client

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
"""Kinds that commands take by name, with the member of their status and their log's group."""
MISSING: Final = ("ResourceNotFound", "ValidationException", "ValidationError")
NEAR: Final = 0.55
PAGES_MAX: Final = 10


def call(sagemaker: Any, verb: str, kind: str, **params: Any) -> dict[str, Any]:
    """An operation such as DescribeTrainingJob, of its verb and kind."""
    # botocore names its methods in snake case: DescribeTrainingJob is describe_training_job.
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind)
    return dict(getattr(sagemaker, f"{verb}{words}")(**params))


def possible(name: str) -> bool:
    """Whether a job or endpoint may have this name; one that may not is one that is not there."""
    return re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name) is not None


def find(home: Path, name: str) -> tuple[str, str, str, dict[str, Any]] | None:
    """(kind, status member, log group, description) of a job or endpoint; None: there is none."""
    if not possible(name):
        return None
    sagemaker = client(home, "sagemaker")
    for kind, member, group in JOBS:
        try:
            found = call(sagemaker, "describe", kind, **{f"{kind}Name": name})
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING:
                raise
            continue
        found.pop("ResponseMetadata", None)
        return kind, member, group, found
    return None


def unknown(home: Path, name: str) -> CommandError:
    """That there is no job or endpoint of this name, and which come near."""
    return CommandError(
        f"There is no job or endpoint {name!r}.{did_you_mean(home, name)} "
        "`loopwright ps` lists those that there are."
    )


def did_you_mean(home: Path, name: str, *kinds: str) -> str:
    """` Did you mean …?`, of the names of these kinds (all that `find` knows); empty for none."""
    wanted = kinds or tuple(kind for kind, _, _ in JOBS)
    names = {found for kind in wanted for found in _names(home, kind)}
    # A case of another kind is as near as it can be.
    near = [found for found in sorted(names) if found.lower() == name.lower()]
    near += get_close_matches(name, sorted(names), 3, NEAR)
    near = list(dict.fromkeys(near))[:3]
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _names(home: Path, kind: str) -> Iterator[str]:
    """The newest names of a kind."""
    own = kind == "OnlineExperiment"
    service = client(home, "loopwright" if own else "sagemaker")
    more: dict[str, Any] = {} if own else {"SortBy": "CreationTime", "SortOrder": "Descending"}
    for _ in range(PAGES_MAX):
        page = call(service, "list", f"{kind}s", MaxResults=100, **more)
        key = next(name for name, value in page.items() if isinstance(value, list))
        yield from (item[f"{kind}Name"] for item in page[key])
        if "NextToken" not in page:
            return
        more["NextToken"] = page["NextToken"]


@contextlib.contextmanager
def named(home: Path, name: str, kind: str) -> Iterator[None]:
    """Add the names that come near to a service's refusal of an unknown one.

    Raises:
        CommandError: the service's sentence with them.
        ClientError: anything else that the service refused.
    """
    try:
        yield
    except ClientError as error:
        told = error.response["Error"]
        if told["Code"] not in MISSING or name not in told.get("Message", ""):
            raise
        near = did_you_mean(home, name, kind)
        if not near:
            raise
        raise CommandError(f"{told['Message']}{near}") from None
