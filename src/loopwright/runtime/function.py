"""The verb `function`: one invocation of a user's own function, inside a unit.

The handler is found and called as Lambda's Python runtime does it: `file.function(event, context)`
from the unpacked archive, its return value as JSON, an exception as Lambda's error object.
"""

import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, Final

from loopwright.runtime.archives import ArchiveError, unpack
from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.paths import tree

CALL: Final = "input/config/call.json"
CODE: Final = ".loopwright/code.zip"
ANSWER: Final = "output/answer.json"
UNPACKED_BYTES_MAX: Final = 262_144_000
ANSWER_BYTES_MAX: Final = 6_291_456


class TimedOut(BaseException):
    """The function ran longer than its Timeout; no Exception, so that no handler swallows it."""


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
        self.client_context: Any = call.get("client_context")
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
        text = f"Task timed out after {call['timeout_s']:.2f} seconds"
        error = {
            "errorType": "Sandbox.Timedout",
            "errorMessage": f"RequestId: {request} Error: {text}",
        }
        print(text)  # noqa: T201
        document = {"payload": json.dumps(error), "failed": True}
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
    (base / ANSWER).write_text(json.dumps(document))
    return 0


def _called(base: Path, call: dict[str, Any], began: float) -> str:
    """What the handler returned, as JSON text."""
    code = base / "code"
    try:
        unpack(base / CODE, code, bytes_max=UNPACKED_BYTES_MAX)
    except ArchiveError as error:
        raise UnitFailure(f"The function's archive cannot be unpacked: {error}", 2) from None
    os.chdir(code)
    sys.path.insert(0, str(code))
    module_name, _, name = call["handler"].rpartition(".")
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, call["timeout_s"])
    module = importlib.import_module(module_name.replace("/", "."))
    handler = getattr(module, name, None)
    if not callable(handler):
        raise UnitFailure(f"Handler '{name}' missing on module '{module_name}'", 2)
    context = Context(call, began + call["timeout_s"])
    text = json.dumps(handler(call["event"], context))
    if len(text.encode()) > ANSWER_BYTES_MAX:
        raise UnitFailure(f"Response payload size exceeded {ANSWER_BYTES_MAX} bytes", 2)
    return text


def _time_is_up(_number: int, _frame: FrameType | None) -> None:
    raise TimedOut


def _error(error: BaseException, request: str) -> dict[str, Any]:
    kind = "Runtime.HandlerNotFound" if isinstance(error, UnitFailure) else type(error).__name__
    if isinstance(error, ImportError):
        kind = "Runtime.ImportModuleError"
    return {
        "errorMessage": error.reason if isinstance(error, UnitFailure) else str(error),
        "errorType": kind,
        "requestId": request,
        # Of the user's own code alone.
        "stackTrace": traceback.format_tb(error.__traceback__)[2:],
    }
