"""Script mode: the user's entry point with hyperparameters as arguments and SM_* around it."""

import os
import signal
import sys
from pathlib import Path

from loopwright.runtime import distributed, program, source
from loopwright.runtime import environment as environments
from loopwright.runtime.environment import Environment
from loopwright.runtime.failure import UnitFailure


def run(environment: Environment, entry: str) -> int:
    """Run the user's entry point.

    Args:
        environment: What the platform told this unit.
        entry: The program, relative to the code folder.
    Returns:
        The exit code 0.
    Raises:
        UnitFailure: no such program, what it asks for cannot be installed, or it failed.
    """
    command = distributed.launcher(environment)
    tree = environment.tree
    submitted = environment.hyperparameters.get("sagemaker_submit_directory")
    submitted = submitted or os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY")
    folder = source.place(tree, None if submitted is None else str(submitted)).absolute()
    path = _entry_path(folder, entry)
    source.install(folder, tree, ["train"])
    os.environ.update(environments.variables(environment))
    os.environ["PYTHONPATH"] = source.search_path(folder)
    for made in (tree.model, tree.output_files):
        made.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    # A process forked from a warm one may have inherited a handler that is not the program's.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    words = environments.arguments(environment.user_hyperparameters)
    if command is not None:
        os.environ.update(distributed.variables(environment))
        return distributed.run([*command, entry, *words], environment, folder)
    if path.suffix == ".py":
        return program.run_python(path, words, shown_as=entry)
    if path.suffix == ".sh":
        return program.run_command(["/bin/bash", str(path), *words], folder)
    path.chmod(path.stat().st_mode | 0o100)
    return program.run_command([str(path), *words], folder)


def _entry_path(folder: Path, entry: str) -> Path:
    path = folder / entry
    if not path.is_file():
        there = ", ".join(sorted(found.name for found in folder.iterdir())) or "nothing"
        raise UnitFailure(
            f"sagemaker_program is {entry!r}, but {folder} has no such file; it holds {there}."
        )
    return path
