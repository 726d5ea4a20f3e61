"""The verb `run`: the command of a processing job or of a container entry point."""

import re
import sys
from pathlib import Path

from loopwright.runtime import paths, program, source
from loopwright.runtime.failure import UnitFailure

_PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?")


def run(argv: list[str]) -> int:
    """Run a command: a Python script in this process, anything else in place of it.

    Args:
        argv: The program and its arguments: `python3 script.py a b`, `script.py a b`, or
            `/bin/bash -c "..."`.
    Returns:
        The exit code 0; a command that takes this process's place ends it with its own code.
    Raises:
        UnitFailure: no command, no such program, or the script failed.
    """
    if not argv:
        raise UnitFailure("`run` needs a program.", 2)
    python = _PYTHON.fullmatch(argv[0]) is not None
    script = argv[1:] if python else argv
    if script and not script[0].startswith("-") and _is_python_file(script[0], trusted=python):
        if source.may_install(Path(script[0]).absolute().parent):
            source.start_anew(paths.tree(), ["run", *argv])
        return program.run_python(Path(script[0]), script[1:], shown_as=script[0])
    if python:
        return program.become_command([sys.executable, *argv[1:]])
    return program.become_command(argv)


def _is_python_file(name: str, *, trusted: bool) -> bool:
    # `python3 folder` runs folder/__main__.py; the interpreter itself knows how.
    return (trusted or name.endswith(".py")) and Path(name).is_file()
