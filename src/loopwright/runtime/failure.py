"""How a unit says why it failed: a short text in output/failure, which becomes FailureReason.

The texts have the form of the public sagemaker-training toolkit, because people and their
tools grep for it: a class name, then ExitCode, ErrorMessage and Command, each on its line.
"""

import sys
from pathlib import Path

# DescribeTrainingJob shows at most this much of the file.
REASON_CHARS_MAX = 1024


class UnitFailure(Exception):
    """The unit cannot go on. `reason` is written to output/failure, `exit_code` ends the process.

    The log already holds the details (a traceback, pip's output) when this is raised, or the
    reason says all there is to say.
    """

    def __init__(self, reason: str, exit_code: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code


def command_failure(
    kind: str, exit_code: int, message: str, command: list[str], extra: str = ""
) -> UnitFailure:
    """A failure in the toolkit's words.

    Args:
        kind: ExecuteUserScriptError, InstallRequirementsError, ...
        exit_code: What the program ended with.
        message: The exception's type and text, or the last words of the program.
        command: The program and its arguments.
        extra: Where it happened, if known.
    """
    # The message may be long; the command must not push it out of the shown characters.
    room = REASON_CHARS_MAX - 400
    shown = message if len(message) <= room else message[: room - 3] + "..."
    lines = [f"{kind}:", f"ExitCode {exit_code}", f'ErrorMessage "{shown}"']
    if extra:
        lines.append(f'ExtraInfo "{extra}"')
    lines.append(f'Command "{" ".join(command)}"')
    return UnitFailure("\n".join(lines), exit_code)


def write_reason(path: Path, reason: str) -> None:
    """Write the reason to `path` (output/failure) and to stderr, cut to what Describe shows.

    Raises:
        OSError: the output folder is not writable.
    """
    sys.stderr.write(reason.rstrip() + "\n")
    sys.stderr.flush()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(reason[:REASON_CHARS_MAX], encoding="utf-8")
