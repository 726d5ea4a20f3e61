"""logs: all streams of a job or endpoint, also of one that is deleted."""

import time
from typing import Any, Final

from botocore.exceptions import ClientError

from loopwright.commands.arguments import Arguments
from loopwright.commands.names import JOBS, call, find, possible, unknown
from loopwright.commands.output import client, say, say_json_line

OVER: Final = ("Completed", "Failed", "Stopped")
FOLLOW_S: Final = 0.5


def logs(arguments: Arguments) -> int:
    """All streams of a job or endpoint; with -f until it is over."""
    home, name = arguments.home, arguments.name
    service = client(home, "logs")
    there = find(home, name)
    if there is None:
        kept = _kept(service, name) if possible(name) else None
        if kept is None:
            raise unknown(home, name)
        _print_new(service, *kept, {}, arguments.json)
        return 0
    kind, member, group, found = there
    sagemaker = client(home, "sagemaker")
    group, prefix = _where(kind, group, name)
    tokens: dict[str, str] = {}
    while True:
        over = not found or found[member] in OVER
        printed = _print_new(service, group, prefix, tokens, arguments.json)
        if not arguments.follow or (over and not printed):
            return 0
        time.sleep(FOLLOW_S)
        try:
            found = call(sagemaker, "describe", kind, **{f"{kind}Name": name})
        except ClientError as error:
            if "Could not find" not in str(error) and "not found" not in str(error):
                raise
            # Deleted meanwhile: what it said last is still there to be printed.
            found = {}


def _where(kind: str, group: str, name: str) -> tuple[str, str]:
    """Log group, and prefix of the streams in it."""
    return (f"{group}/{name}", "") if kind == "Endpoint" else (group, f"{name}/")


def _kept(service: Any, name: str) -> tuple[str, str] | None:
    """Where the log of what is deleted still is; None: there is none."""
    for kind, _, group in JOBS:
        where, prefix = _where(kind, group, name)
        if _streams(service, where, prefix):
            return where, prefix
    return None


def _streams(service: Any, group: str, prefix: str) -> list[str]:
    """The names of the streams; none when there is no such group."""
    options = {"logStreamNamePrefix": prefix} if prefix else {}
    pages = service.get_paginator("describe_log_streams").paginate(logGroupName=group, **options)
    try:
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ResourceNotFoundException",):
            return []
        raise


def _print_new(
    service: Any, group: str, prefix: str, tokens: dict[str, str], as_json: bool
) -> bool:
    """Print what is new in every stream; whether there was anything."""
    printed = False
    names = _streams(service, group, prefix)
    for name in names:
        while True:
            more = {"nextToken": tokens[name]} if name in tokens else {}
            page = service.get_log_events(
                logGroupName=group, logStreamName=name, startFromHead=True, **more
            )
            tokens[name] = page["nextForwardToken"]
            for event in page["events"]:
                printed = True
                if as_json:
                    time_ms, message = event["timestamp"], event["message"]
                    say_json_line({"stream": name, "timestamp": time_ms, "message": message})
                    continue
                head = f"{name.rpartition('/')[2]}  " if len(names) > 1 else ""
                say(f"{head}{event['message']}")
            if not page["events"]:
                break
    return printed
