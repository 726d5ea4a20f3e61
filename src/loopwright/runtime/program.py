"""Running a program of the user: Python in this very process, anything else as a command.

In process means as `__main__` with its own module, so that pickling of its classes,
multiprocessing's spawn and joblib find what they expect, and nothing has to be imported twice.
"""

import io
import os
import shlex
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, ModuleType, TracebackType

from loopwright.runtime import failure, paths
from loopwright.runtime.failure import UnitFailure, command_failure

_SCRIPT_FAILURE = "ExecuteUserScriptError"
_HEARD_CHARS = 4096


class Heard(io.TextIOWrapper):
    """Standard error, which also remembers the last of what was written to it."""

    last = ""

    def write(self, text: str, /) -> int:
        self.last = (self.last + text)[-_HEARD_CHARS:]
        return super().write(text)


def run_python(path: Path, arguments: list[str], *, shown_as: str | None = None) -> int:
    """Run the Python program at `path` as `__main__` to its end.

    Args:
        path: The file.
        arguments: sys.argv[1:] of the program.
        shown_as: sys.argv[0]; the path itself by default.
    Returns:
        0. The module stays in sys.modules, for threads and exit functions of the program.
    Raises:
        UnitFailure: the program ended with another code or an exception, whose whole traceback is
            then on stderr.
    """
    path = path.absolute()
    shown_as = shown_as or str(path)
    module = ModuleType("__main__")
    module.__file__ = str(path)
    module.__builtins__ = __builtins__  # type: ignore[attr-defined]
    sys.modules["__main__"] = module
    sys.argv = [shown_as, *arguments]
    sys.path.insert(0, str(path.parent))
    command = [sys.executable, shown_as, *map(shlex.quote, arguments)]
    failure.note(paths.tree().note, _SCRIPT_FAILURE, command)
    with _hearing() as heard:
        try:
            code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
            exec(code, module.__dict__)
        except SystemExit as ended:
            exit_code = _exit_code(ended)
            if exit_code != 0:
                raise _ended(ended, exit_code, heard.last, command) from None
        except BaseException as error:
            raise _reported(error, path, command) from error
        finally:
            failure.flush()
    return 0


@contextmanager
def _hearing() -> Iterator[Heard]:
    """Standard error that is remembered from here on, also after the program: threads write on."""
    heard = Heard(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
    failure.flush()
    sys.stderr = heard
    yield heard


def _ended(ended: SystemExit, exit_code: int, heard: str, command: list[str]) -> UnitFailure:
    """The failure of a program that ended itself: by a text, or after words on standard error."""
    words = _text(ended.code) if not isinstance(ended.code, int | None) else heard
    message = failure.last_words(words.splitlines())
    if not message:
        # What it said on its standard output is on the log.
        return UnitFailure("", exit_code)
    return command_failure(_SCRIPT_FAILURE, exit_code, message, command)


def run_command(command: list[str], folder: Path) -> int:
    """Run a command in `folder` to its end, passing SIGTERM on to it.

    Raises:
        UnitFailure: it ended with another code than 0 (without a reason: its words are on the log)
            or could not be started.
    """
    failure.flush()
    failure.note(paths.tree().note, _SCRIPT_FAILURE, [*command[:1], *map(shlex.quote, command[1:])])
    try:
        process = subprocess.Popen(command, cwd=folder)
    except OSError as error:
        raise command_failure(_SCRIPT_FAILURE, 126, str(error), command) from error

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        returned = process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    if returned != 0:
        # Its words are on the log.
        raise UnitFailure("", returned if returned > 0 else 128 - returned)
    return 0


def become_command(command: list[str]) -> int:
    """Replace this process by a command, found on PATH; returns only if that is not possible.

    Raises:
        UnitFailure: there is no such program, or it may not be executed.
    """
    failure.flush()
    failure.note(paths.tree().note, _SCRIPT_FAILURE, list(map(shlex.quote, command)))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = f"{command[0]} could not be started: {error.strerror}."
        raise UnitFailure(reason, 127 if missing else 126) from error


def _exit_code(ended: SystemExit) -> int:
    if ended.code is None:
        return 0
    if isinstance(ended.code, int):
        # What the interpreter makes of a number that is no C long.
        return ended.code & 0xFF if -(2**63) <= ended.code < 2**63 else 0xFF
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(f"{_text(ended.code)}\n")
    return 1


def _text(code: object) -> str:
    try:
        return str(code)
    except Exception:  # noqa: BLE001 - the user's own __str__.
        return f"<{type(code).__name__}: its str() failed>"


def _reported(error: BaseException, path: Path, command: list[str]) -> UnitFailure:
    """Show the traceback, from the program's own frames on, and make the failure of it."""
    own = _from_program(error.__traceback__, str(path))
    # The program may have set a hook of its own to show what went wrong.
    try:
        sys.excepthook(type(error), error.with_traceback(own), own)
    except Exception:  # noqa: BLE001 - the hook's own fault must not hide the program's.
        with suppress(AttributeError, OSError, ValueError):
            traceback.print_exc()
    message = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(own)
    where = ""
    if frames:
        last = frames[-1]
        where = f"{last.filename}, line {last.lineno}, in {last.name}: {last.line}"
    return command_failure(_SCRIPT_FAILURE, 1, message, command, where)


def _from_program(trace: TracebackType | None, filename: str) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename != filename:
        trace = trace.tb_next
    return trace
