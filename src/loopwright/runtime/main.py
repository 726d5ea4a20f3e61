"""The verbs of a unit: `train`, `serve`, `run PROGRAM ARG...`, `suggest`, `function`.

`main` is called by `python -m loopwright.runtime` or, without starting an interpreter, in a
process forked from a warm one; it therefore takes everything from its arguments and os.environ.
"""

import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable

from loopwright.runtime import failure, packages, paths, versions

# verb -> module and function; imported only when asked for, so that each verb starts quickly.
VERBS = {
    "train": ("loopwright.runtime.train", "train"),
    "serve": ("loopwright.runtime.serve", "serve"),
    "run": ("loopwright.runtime.processing", "run"),
    "suggest": ("loopwright.runtime.suggest", "suggest"),
    "function": ("loopwright.runtime.function", "function"),
}


def main(argv: list[str]) -> int:
    """Run one verb to its end.

    Args:
        argv: The verb and its arguments, without the program's own name.
    Returns:
        The exit code of the process. The caller must end by sys.exit (not os._exit), because the
        user's threads and atexit functions run on until the interpreter ends.
    """
    _line_by_line()
    if not argv or argv[0] not in VERBS:
        given = repr(argv[0]) if argv else "nothing"
        sys.stderr.write(f"The verb is {given}; it must be one of {', '.join(VERBS)}.\n")
        return 2
    if not os.environ.get(packages.READY):  # The interpreter before this one said it.
        versions.say()
    module, name = VERBS[argv[0]]
    verb: Callable[[list[str]], int] = getattr(importlib.import_module(module), name)
    try:
        packages.prepare(paths.tree())
        return verb(argv[1:])
    except failure.UnitFailure as ended:
        if ended.reason:
            _write(ended.reason)
        return ended.exit_code
    except Exception as error:  # noqa: BLE001  # the last place where the reason can be written
        traceback.print_exc()
        reason = f"Framework Error: {type(error).__name__}: {error}"
        _write(reason)
        return 1


def _write(reason: str) -> None:
    """Write the reason down; where that cannot be, it is on stderr."""
    with contextlib.suppress(OSError):
        failure.write_reason(paths.tree().failure, reason)


def _line_by_line() -> None:
    """Make every line reach the log when it is written, here and in child interpreters."""
    os.environ["PYTHONUNBUFFERED"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
