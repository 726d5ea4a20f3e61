"""The verb `function`: one invocation of a user's own function, inside a unit.

The handler is found and called as Lambda's Python runtime does it: `file.function(event, context)`
from the unpacked archive, its return value as JSON, an exception as Lambda's error object.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any, Final

from loopwright.runtime.archives import ArchiveError, unpack
from loopwright.runtime.paths import tree

CALL: Final = "input/config/call.json"
CODE: Final = ".loopwright/code.zip"
ANSWER: Final = "output/answer.json"
PARTIAL: Final = "output/answer.json.partial"
UNPACKED_BYTES_MAX: Final = 262_144_000
ANSWER_BYTES_MAX: Final = 6_291_456


class TimedOut(BaseException):
    """The function ran longer than its Timeout; no Exception, so that no handler swallows it."""


class FunctionError(Exception):
    """What is wrong with the function itself, in Lambda's words."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ClientContext:
    """What the caller's device told (`ClientContext` of Invoke)."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.custom = given.get("custom")
        self.env = given.get("env")
        self.client = given.get("client")


class Context:
    """What a handler is told of its invocation (Lambda's developer guide, "context object")."""

    def __init__(self, call: dict[str, Any], deadline: float) -> None:
        self.function_name: str = call["name"]
        self.function_version = "$LATEST"
        self.invoked_function_arn: str = call["arn"]
        self.memory_limit_in_mb: int = call["memory_mb"]
        self.aws_request_id: str = call["request"]
        self.log_group_name: str = call["log_group"]
        self.log_stream_name: str = call["log_stream"]
        self.identity = None
        given = call.get("client_context")
        self.client_context = ClientContext(given) if given is not None else None
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Until the function is ended."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def function(_arguments: list[str]) -> int:
    """Call the handler once and write down what it returned or raised."""
    base = tree().base
    call = json.loads((base / CALL).read_text())
    request, began = call["request"], time.monotonic()
    print(f"START RequestId: {request} Version: $LATEST")  # noqa: T201 - as Lambda's log has it
    try:
        document: dict[str, Any] = {"payload": _called(base, call, began)}
    except TimedOut:
        print(timed_out(call["timeout_s"]))  # noqa: T201
        document = _ended("Sandbox.Timedout", request, timed_out(call["timeout_s"]))
    except SystemExit as error:
        text = f"Runtime exited with error: {_exit_words(error.code)}"
        document = _ended("Runtime.ExitError", request, text)
    except BaseException as error:  # noqa: BLE001 - what the user's code raises is its answer
        traceback.print_exc()
        document = {"payload": json.dumps(_error(error, request)), "failed": True}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    took_ms = (time.monotonic() - began) * 1000
    print(f"END RequestId: {request}")  # noqa: T201
    print(  # noqa: T201
        f"REPORT RequestId: {request}\tDuration: {took_ms:.2f} ms\tBilled Duration: "
        f"{int(took_ms) + 1} ms\tMemory Size: {call['memory_mb']} MB"
    )
    # By rename: a kill must not leave half an answer.
    (base / PARTIAL).write_text(json.dumps(document))
    os.replace(base / PARTIAL, base / ANSWER)
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        # Threads that the function left behind do not keep its caller waiting: Lambda stops
        # everything when the handler has returned.
        os._exit(0)
    return 0


def timed_out(timeout_s: float) -> str:
    """Lambda's words for a function that ran too long."""
    return f"Task timed out after {timeout_s:.2f} seconds"


def _ended(kind: str, request: str, text: str) -> dict[str, Any]:
    error = {"errorType": kind, "errorMessage": f"RequestId: {request} Error: {text}"}
    return {"payload": json.dumps(error), "failed": True}


def _exit_words(code: Any) -> str:
    if code is None or isinstance(code, int):
        return f"exit status {code or 0}"
    return f"exit status 1: {code}"


def _called(base: Path, call: dict[str, Any], began: float) -> str:
    """What the handler returned, as JSON text."""
    code = base / "code"
    try:
        unpack(base / CODE, code, bytes_max=UNPACKED_BYTES_MAX)
    except ArchiveError as error:
        text = f"The function's archive cannot be unpacked: {error}"
        raise FunctionError("Runtime.InvalidArchive", text) from None
    os.chdir(code)
    sys.path.insert(0, str(code))
    module_name, _, name = call["handler"].rpartition(".")
    signal.signal(signal.SIGALRM, _time_is_up)
    end = time.monotonic() + call["timeout_s"]
    signal.setitimer(signal.ITIMER_REAL, call["timeout_s"])
    handler = getattr(_module(module_name), name, None)
    if not callable(handler):
        text = f"Handler '{name}' missing on module '{module_name}'"
        raise FunctionError("Runtime.HandlerNotFound", text)
    answer = handler(call["event"], Context(call, end))
    if time.monotonic() > end:
        # The handler swallowed the end of its time.
        raise TimedOut
    return _marshalled(answer)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name.replace("/", "."))
    except ImportError as error:
        text = f"Unable to import module '{name}': {error}"
        raise FunctionError("Runtime.ImportModuleError", text) from error
    except SyntaxError as error:
        text = f"Syntax error in module '{name}': {error}"
        raise FunctionError("Runtime.UserCodeSyntaxError", text) from error


def _marshalled(answer: Any) -> str:
    try:
        text = json.dumps(answer, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        text = f"Unable to marshal response: {error}"
        raise FunctionError("Runtime.MarshalError", text) from error
    if len(text) > ANSWER_BYTES_MAX:
        text = f"Response payload size exceeded {ANSWER_BYTES_MAX} bytes"
        raise FunctionError("Function.ResponseSizeTooLarge", text)
    return text


def _plain(value: Any) -> Any:
    """As Lambda's runtime writes it: decimals are numbers, anything else is an error."""
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _time_is_up(_number: int, _frame: FrameType | None) -> None:
    raise TimedOut


def _error(error: BaseException, request: str) -> dict[str, Any]:
    return {
        "errorMessage": str(error),
        "errorType": error.kind if isinstance(error, FunctionError) else type(error).__name__,
        "requestId": request,
        # Of the user's own code alone.
        "stackTrace": traceback.format_tb(error.__traceback__)[2:],
    }
