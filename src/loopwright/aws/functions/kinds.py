"""Functions and their invocations as records, and what happens to an invocation."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from loopwright.compute.folder import unit_folder
from loopwright.kernel.actions import Action, Call, Forget, SetStatus, Start, Stop, Wake
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import Kind
from loopwright.kernel.records import Observation, Record
from loopwright.runtime.function import ANSWER, CALL, CODE, timed_out

DONE: Final = "Done"
RETRY_S: Final = (60.0, 120.0)
"""After these waits an asynchronous invocation that failed is tried again, as Lambda does it."""
KEPT_S: Final = 3600.0
"""An ended invocation is forgotten after this time, with its unit."""
GRACE_S: Final = 5.0
"""A unit that outlives its Timeout by this much, so that its own clock did not end it, is ended."""
START_S: Final = 60.0

FUNCTION_KIND: Final = Kind(
    "Function",
    arn="function",
    service="lambda",
    separator=":",
    state="State",
    initial_status=lambda spec, now: {"State": "Active"},
    missing=("ResourceNotFoundException", "Function not found: {arn}"),
    taken=("ResourceConflictException", "Function already exist: {name}"),
)


def _plan(record: Record, view: View, now: float) -> list[Action]:
    status = record.status
    if status["State"] == DONE:
        over = float(status["EndTime"]) + KEPT_S
        return [Forget()] if now >= over else [Wake(over)]
    attempt = int(status.get("Attempt", 0))
    not_before = float(status.get("NotBefore", 0.0))
    if now < not_before:
        return [Wake(not_before)]
    unit_id = record.unit_id(attempt)
    unit = view.units.get(unit_id)
    if unit is None:
        return [Start(unit_id, _program(record, attempt))]
    if not unit.over:
        return _attend(record, unit_id, unit, now)
    key = f"{unit_id}/answer"
    if view.calls.get(key) is None:
        arguments = {"unit": unit_id, "message": _last_words(record, unit)}
        return [] if key in view.calls else [Call("functions.answer", key, arguments)]
    result = view.calls[key]
    answer: dict[str, Any] = result.get("value") or _lost(result["error"])
    if answer.get("failed") and record.spec["Asynchronous"] and attempt < len(RETRY_S):
        wait_s = RETRY_S[attempt]
        changes: dict[str, Any] = {"Attempt": attempt + 1, "NotBefore": now + wait_s}
        return [SetStatus(changes, f"Failed; tried again in {wait_s:g} s"), Wake(now + wait_s)]
    changes = {"State": DONE, "Answer": answer, "EndTime": now, "NotBefore": None}
    return [SetStatus(changes, DONE), Wake(now + KEPT_S)]


def _last_words(record: Record, unit: Observation) -> str:
    """What is told of a unit that left no answer."""
    timeout_s = float(record.spec["Timeout"])
    if (
        unit.stopping
        and unit.started is not None
        and (unit.ended or 0.0) >= unit.started + timeout_s
    ):
        return f"RequestId: {record.name} Error: {timed_out(timeout_s)}"
    ended = "signal: killed" if unit.exit_code is None else f"exit status {unit.exit_code}"
    return f"RequestId: {record.name} Error: Runtime exited with error: {ended}"


def _lost(message: str) -> dict[str, Any]:
    kind = "Sandbox.Timedout" if "Task timed out" in message else "Runtime.ExitError"
    error = {"errorType": kind, "errorMessage": message}
    return {"payload": orjson.dumps(error).decode(), "failed": True}


def _attend(record: Record, unit_id: str, unit: Observation, now: float) -> list[Action]:
    began = unit.started
    if began is None:
        return [Wake(now + START_S)]
    end = began + float(record.spec["Timeout"]) + GRACE_S
    return [Stop(unit_id, 0.0)] if now >= end else [Wake(end)]


def _program(record: Record, attempt: int) -> dict[str, Any]:
    spec = record.spec
    group = f"/aws/lambda/{spec['FunctionName']}"
    stream = f"{record.name}-{attempt}"
    event = base64.b64decode(spec["Payload"])
    call = {
        "name": spec["FunctionName"],
        "arn": spec["FunctionArn"],
        "memory_mb": spec["MemorySize"],
        "timeout_s": spec["Timeout"],
        "handler": spec["Handler"],
        "request": record.name,
        "event": orjson.loads(event),
        "client_context": spec.get("ClientContext"),
        "log_group": group,
        "log_stream": stream,
    }
    own = {
        "AWS_LAMBDA_FUNCTION_NAME": spec["FunctionName"],
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec["MemorySize"]),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": group,
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_REGION": record.region,
        "AWS_DEFAULT_REGION": record.region,
        "_HANDLER": spec["Handler"],
        "LOOPWRIGHT_RUNTIME": "python",
    }
    return {
        "verb": "function",
        "arguments": [],
        "runtime": "python",
        "environment": {**spec["Variables"], **own},
        "folders": ["output/data", "input/config"],
        "files": {CALL: orjson.dumps(call).decode()},
        "inputs": [{"type": "object", "uri": spec["CodeUri"], "path": CODE}],
        # A function is short; it must not wait until a job leaves it a CPU.
        "cpus": 0.0,
        "memory_bytes": max(int(spec["MemorySize"]), 128) * 2**20,
        "log": {"group": group, "stream": stream},
        "metrics": [],
        "network": True,
        "hostname": "algo-1",
        "hosts": ["algo-1"],
    }


INVOCATION_KIND: Final = Kind(
    "FunctionInvocation",
    arn="invocation",
    service="lambda",
    state="State",
    finished=frozenset({DONE}),
    initial_status=lambda spec, now: {"State": "Running"},
    planner=_plan,
    missing=("ResourceNotFoundException", "There is no invocation {name!r}."),
)


def function_functions(home: Path) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    """`functions.answer`: read what an invocation wrote down."""

    def answer(arguments: Mapping[str, Any]) -> dict[str, Any]:
        path = unit_folder(home, arguments["unit"]).base / ANSWER
        if path.is_symlink() or not path.is_file():
            raise RuntimeError(arguments["message"])
        return dict(orjson.loads(path.read_bytes()))

    return {"functions.answer": answer}
