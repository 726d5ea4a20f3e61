"""The user's code: brought into the unit's code folder, and what it asks to have installed."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from loopwright.runtime import archives, packages
from loopwright.runtime.failure import UnitFailure, command_failure
from loopwright.runtime.paths import Tree

_REQUIREMENTS_FAILURE = "InstallRequirementsError"
_MODULE_FAILURE = "InstallModuleError"
_INSTALLERS = re.compile(rb"\b(?:pip3?|uv|ensurepip|easy_install)\b")
# Of pip 23 ("pip subprocess to install build dependencies did not run"), and of pip 26 ("Failed to
# build … when installing build dependencies").
_NO_TOOLS = re.compile(r"(?:to install|when installing) build dependencies")
# What pip says before a traceback of its own, which ends with the reason.
_TRACEBACK = "ERROR: Exception:"
# The runtime itself, whatever of its name the user's packages bring; all else as the path has it.
_BOOT = (
    "import sys; own = sys.argv.pop(1); sys.path.insert(0, own); "
    "import loopwright.runtime.main as runtime; sys.path.remove(own); "
    "sys.exit(runtime.main(sys.argv[1:]))"
)
_ISOLATED = (
    "the job has no network (EnableNetworkIsolation): bring wheels as a channel or in source_dir, "
    "and use --no-index --find-links"
)
_READ_BYTES_MAX = 4 * 1024 * 1024
_ENTRIES_MAX = 5000
# Of what is imported before a process is forked for a unit: what scripts are likely to upgrade.
_WARM = frozenset({"numpy", "scipy", "pandas", "sklearn", "xgboost", "torch"})


def place(tree: Tree, submit_directory: str | None) -> Path:
    """The folder holding the user's code.

    LOOPWRIGHT_SOURCE, the staged sourcedir.tar.gz, is unpacked into the code folder; a code folder
    that already holds something is kept as it is, as the toolkit does (a second attempt in the
    same unit). Otherwise `submit_directory` must be a local folder or archive.

    Raises:
        UnitFailure: there is no source at any of these places, or its archive is bad.
    """
    archive = os.environ.get("LOOPWRIGHT_SOURCE")
    if not archive and submit_directory and not submit_directory.startswith("s3://"):
        local = Path(submit_directory)
        if local.is_dir():
            return local
        archive = str(local)
    if tree.code.is_dir() and any(tree.code.iterdir()):
        return tree.code
    if not archive:
        raise UnitFailure(
            f"sagemaker_submit_directory is {submit_directory!r}, LOOPWRIGHT_SOURCE names no "
            f"staged archive and {tree.code} is empty, so there is no code to run."
        )
    try:
        archives.unpack(Path(archive), tree.code)
    except (archives.ArchiveError, OSError) as error:
        raise UnitFailure(f"The source archive {archive} could not be unpacked: {error}") from error
    return tree.code


def install(folder: Path, tree: Tree, argv: list[str]) -> None:
    """Install what the user's code asks for: its requirements.txt, and the code if it is a project.

    All of it goes into the unit's own environment (`runtime.packages`); pip reads the lines of
    requirements.txt itself, from the code folder. When something was installed this process is
    replaced by a fresh interpreter that runs `argv`, since modules imported already may have other
    versions.

    Args:
        folder: The user's code.
        tree: The unit's folders.
        argv: The verb and arguments to go on with.
    Raises:
        UnitFailure: pip failed; the reason holds its last error lines.
    """
    if os.environ.get(packages.READY):
        return
    if _asks_for_something(folder / "requirements.txt"):
        sys.stdout.write("Installing dependencies from requirements.txt\n")
        _pip(["-r", "requirements.txt"], folder, _REQUIREMENTS_FAILURE)
    if (folder / "setup.py").is_file():
        sys.stdout.write("Installing the project of setup.py\n")
        _pip(["."], folder, _MODULE_FAILURE)
    elif _is_project(folder / "pyproject.toml"):
        sys.stdout.write("Installing the project of pyproject.toml\n")
        try:
            _pip(["."], folder, _MODULE_FAILURE)
        except UnitFailure as failed:
            # AWS's images do not look at this file, so code that runs there must run here.
            sys.stderr.write(
                f"{failed.reason}\nThe project could not be installed; its entry point runs from "
                "the folder as it is.\n"
            )
    if packages.installed(tree) or may_install(folder):
        start_anew(tree, argv)


def may_install(folder: Path) -> bool:
    """Whether the user's code may install packages itself, in a process that was forked warm.

    What such a process has imported already, a script that upgrades it would not get anew. A code
    folder too large to be read quickly counts as one that may.
    """
    if os.environ.get(packages.READY) or not _WARM & sys.modules.keys():
        return False
    bytes_left, entries_left = _READ_BYTES_MAX, _ENTRIES_MAX
    for root, folders, files in os.walk(folder):
        entries_left -= len(folders) + len(files)
        if entries_left < 0:
            return True
        for name in files:
            if not name.endswith(".py"):
                continue
            path = Path(root, name)
            with suppress(OSError):
                bytes_left -= path.stat().st_size
                if bytes_left < 0 or _INSTALLERS.search(path.read_bytes()):
                    return True
    return False


def start_anew(tree: Tree, argv: list[str]) -> NoReturn:
    """Replace this process by a fresh interpreter that runs the verb and arguments `argv`."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(
        sys.executable,
        [sys.executable, "-P", "-c", _BOOT, str(Path(__file__).parents[2]), *argv],
        {**os.environ, packages.READY: str(tree.environment)},
    )


def search_path(*folders: Path) -> str:
    """PYTHONPATH for child interpreters: these folders, then what it was."""
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*map(str, folders), *filter(None, before)]))


def _asks_for_something(requirements: Path) -> bool:
    if not requirements.is_file():
        return False
    lines = requirements.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _is_project(path: Path) -> bool:
    """Whether a pyproject.toml describes a package, and is not only the settings of tools."""
    try:
        with path.open("rb") as stream:
            document = tomllib.load(stream)
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        sys.stderr.write(f"{path.name} could not be read and is not installed: {error}\n")
        return False
    return "project" in document or "build-system" in document


class _PipFailed(Exception):
    """pip's exit code and its last words."""

    def __init__(self, exit_code: int, lines: list[str]) -> None:
        errors = [line.strip() for line in lines if line.lstrip().startswith("ERROR:")]
        if set(errors) <= {_TRACEBACK}:
            errors = [line.rstrip() for line in lines[-3:]]
        super().__init__("\n".join(errors).strip())
        self.exit_code = exit_code
        self.no_tools = any(_NO_TOOLS.search(line) for line in lines)


def _pip(what: list[str], folder: Path, failure: str) -> None:
    """Install with pip, its output on the log.

    Building a package in isolation downloads its build tools; where that cannot be, the ones that
    the runtime has are used.
    """
    arguments = ["install", *what]
    try:
        try:
            _run_pip(arguments, folder)
        except _PipFailed as failed:
            if not failed.no_tools or importlib.util.find_spec("setuptools") is None:
                raise
            sys.stdout.write("Trying again with the build tools of the runtime\n")
            _run_pip([*arguments, "--no-build-isolation"], folder)
    except _PipFailed as failed:
        command = [sys.executable, "-m", "pip", *arguments]
        extra = _ISOLATED if [name for _, name in socket.if_nameindex()] == ["lo"] else ""
        raise command_failure(failure, failed.exit_code, str(failed), command, extra) from failed


def _run_pip(arguments: list[str], folder: Path) -> None:
    """Run pip with its output on the log; raises _PipFailed."""
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "pip", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            sys.stdout.write(line)
    if process.returncode != 0:
        raise _PipFailed(process.returncode, lines)
