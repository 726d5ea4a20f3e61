"""How a unit says why it failed: a short text in output/failure, which becomes FailureReason.

The texts have the form of the public sagemaker-training toolkit, because people and their
tools grep for it: a class name, then ExitCode, ErrorMessage and Command, each on its line.

A program that cannot tell (it was killed, called os._exit, or is no Python) leaves its words on the
log only: what runs is noted beforehand, and whoever sees the unit's end puts the text together.
"""

import contextlib
import errno
import json
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

REASON_CHARS_MAX: Final = 1024
"""DescribeTrainingJob shows at most this much."""
TEXT_CHARS_MAX: Final = 985
"""Of it a unit's own text, beside the platform's `AlgorithmError: …, exit code: N`."""
COMMAND_CHARS_MAX: Final = 160
EXTRA_CHARS_MAX: Final = 320
OUT_OF_MEMORY: Final = "OutOfMemory: the unit used more memory than its instance type has"
_MISSING: Final = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_CUT: Final = " ... "
_COLOURS: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Escape sequences of terminals (ECMA-48): colours, positions, titles."""
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class UnitFailure(Exception):
    """The unit cannot go on. `reason` is written to output/failure, `exit_code` ends the process.

    The log already holds the details (a traceback, pip's output) when this is raised, or the
    reason says all there is to say. An empty reason: what the log holds is all there is.
    """

    def __init__(self, reason: str, exit_code: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code


def command_failure(
    kind: str, exit_code: int, message: str, command: Sequence[str], extra: str = ""
) -> UnitFailure:
    """A failure in the toolkit's words, all of which are shown: what is too long is cut inside.

    Args:
        kind: ExecuteUserScriptError, InstallRequirementsError, ...
        exit_code: What the program ended with.
        message: The exception's type and text, or the last words of the program.
        command: The program and its arguments.
        extra: Where it happened, or what else is known.
    """
    return UnitFailure(reason(kind, exit_code, message, command, extra), exit_code)


def reason(kind: str, exit_code: int, message: str, command: Sequence[str], extra: str = "") -> str:
    """The text of `command_failure`, of at most TEXT_CHARS_MAX characters."""
    message = plain(message)
    missing = _MISSING.search(message)
    if missing is not None:
        name = missing[1].partition(".")[0]
        advice = f"{name} is not installed here: put it into requirements.txt beside the script"
        extra = f"{extra}; {advice}" if extra else advice
    lines = [f'Command "{shortened(" ".join(command), COMMAND_CHARS_MAX)}"']
    if extra:
        lines.insert(0, f'ExtraInfo "{shortened(extra, EXTRA_CHARS_MAX)}"')
    head = [f"{kind}:", f"ExitCode {exit_code}"]
    room = TEXT_CHARS_MAX - len("\n".join([*head, 'ErrorMessage ""', *lines]))
    return "\n".join([*head, f'ErrorMessage "{shortened(message, room)}"', *lines])


def shortened(text: str, room: int) -> str:
    """The text in at most `room` characters: its beginning and, longer, its end."""
    if len(text) <= room:
        return text
    head = (room - len(_CUT)) // 3
    return text[:head] + _CUT + text[len(text) - (room - len(_CUT) - head) :]


def plain(text: str) -> str:
    """The text as a terminal's reader sees it: without colours and control characters."""
    return _CONTROLS.sub("", _COLOURS.sub("", text))


def last_words(lines: Sequence[str], room: int = TEXT_CHARS_MAX) -> str:
    """The last of these lines that fit; a last line that is longer is cut inside."""
    kept: list[str] = []
    for line in reversed([line.rstrip() for line in lines]):
        room -= len(line) + 1
        if room < 0 and kept:
            break
        if line or kept:
            kept.insert(0, line)
    return "\n".join(kept).strip()


def signal_words(exit_code: int) -> str:
    """What an exit code of 128 + n says of signal n; empty for any other code."""
    try:
        name = signal.Signals(exit_code - 128).name
    except ValueError:
        return ""
    return f"killed by signal {exit_code - 128} ({name})"


def note(path: Path, kind: str, command: Sequence[str]) -> None:
    """Write down what is run, for `told`; where that cannot be, its end is told without."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"kind": kind, "command": list(command)}), encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"{path} could not be written: {error}\n")


def told(noted: str, exit_code: int, words: str, extra: str = "") -> str:
    """Why a program failed that could not tell: from the note, and the last words of its log.

    Args:
        noted: The content of the note; anything else than a note gives the words alone.
        exit_code: 128 + n for signal n.
        words: The last lines of the log.
        extra: What else is known, such as that the memory was used up.
    """
    how = "; ".join(part for part in (extra, signal_words(exit_code)) if part)
    try:
        document = json.loads(noted)
        kind, command = str(document["kind"]), [str(word) for word in document["command"]]
    except (ValueError, KeyError, TypeError):
        words = plain(words)
        return f"{extra}: {words}" if extra and words else extra or words
    return reason(kind, exit_code, words, command, how)


def flush() -> None:
    """Bring out what is buffered, whatever the user's code made of the standard streams."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError as error:
            if error.errno == errno.EBADF:
                # Its descriptor is closed: the ending interpreter would make 120 of the exit code.
                setattr(sys, name, None)
        except (AttributeError, ValueError):
            pass  # Closed, None, or something that is no stream.


def write_reason(path: Path, text: str) -> None:
    """Write the reason to `path` (output/failure) and to stderr, cut to what Describe shows.

    A standard error that the user's code closed is no hindrance.

    Raises:
        OSError: the output folder is not writable.
    """
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(text.rstrip() + "\n")
    flush()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names of files that are no UTF-8 are in messages as lone surrogates.
    path.write_text(text[:REASON_CHARS_MAX], encoding="utf-8", errors="backslashreplace")
