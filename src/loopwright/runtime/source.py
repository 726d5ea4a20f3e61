"""The user's code: brought into the unit's code folder, and what its requirements.txt asks for."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from loopwright.runtime import archives
from loopwright.runtime.failure import UnitFailure, command_failure
from loopwright.runtime.paths import Tree

# Set in the interpreter that was started anew because packages were installed for it.
_PACKAGES_READY = "LOOPWRIGHT_PACKAGES_READY"
_INSTALL_FAILURE = "InstallRequirementsError"


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


def satisfy_requirements(folder: Path, tree: Tree, argv: list[str]) -> None:
    """Install what `folder`/requirements.txt asks for and this interpreter lacks.

    What is missing goes into the unit's own package folder; this process is then replaced by a
    fresh interpreter that runs `argv`, since modules imported already may have other versions.

    Args:
        folder: The user's code.
        tree: The unit's folders.
        argv: The verb and arguments to go on with.
    Raises:
        UnitFailure: pip failed; the reason holds its last error lines.
    """
    requirements = folder / "requirements.txt"
    if os.environ.get(_PACKAGES_READY) or not _asks_for_something(requirements):
        return
    sys.stdout.write("Installing dependencies from requirements.txt\n")
    with tempfile.TemporaryDirectory(prefix="loopwright-pip-") as scratch:
        missing = _missing(folder, Path(scratch) / "report.json")
        if not missing:
            return
        shutil.rmtree(tree.packages, ignore_errors=True)
        tree.packages.mkdir(parents=True)
        pinned = Path(scratch) / "missing.txt"
        pinned.write_text("\n".join([*_options(requirements), *missing]) + "\n", encoding="utf-8")
        target = ["--target", str(tree.packages), "--no-deps", "-r", str(pinned)]
        _pip(["install", *target], folder)
    _start_anew(tree, argv)


def search_path(*folders: Path) -> str:
    """PYTHONPATH for child interpreters: these folders, then what it was."""
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*map(str, folders), *filter(None, before)]))


def _start_anew(tree: Tree, argv: list[str]) -> NoReturn:
    # The runtime itself must be found again, after whatever the user's packages bring.
    own = Path(__file__).parents[2]
    path = os.pathsep.join([search_path(tree.packages), str(own)])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(
        sys.executable,
        [sys.executable, "-P", "-m", "loopwright.runtime", *argv],
        {**os.environ, "PYTHONPATH": path, _PACKAGES_READY: str(tree.packages)},
    )


def _asks_for_something(requirements: Path) -> bool:
    if not requirements.is_file():
        return False
    lines = requirements.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _missing(folder: Path, report: Path) -> list[str]:
    """Exact requirements for what pip would have to add to this interpreter; may be empty.

    Without an index pip can only succeed when all is installed already (or lies in local files),
    so that answer comes first: it needs no network.
    """
    ask = ["install", "--dry-run", "--report", str(report), "-r", "requirements.txt"]
    installs = None
    with contextlib.suppress(_PipFailed):
        _run_pip([*ask, "--no-index", "--quiet"], folder, shown=False)
        installs = _read_report(report)
    if installs is None:
        _pip([*ask, "--quiet"], folder)
        installs = _read_report(report)
    return [_exact(item) for item in installs]


def _read_report(report: Path) -> list[dict[str, Any]]:
    installs: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return installs


def _exact(item: dict[str, Any]) -> str:
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    if item.get("is_direct"):
        return f"{name} @ {item['download_info']['url']}"
    return f"{name}=={version}"


def _options(requirements: Path) -> list[str]:
    """The lines that say where packages come from; they must hold for the second call too."""
    kept = (
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "--trusted-host",
        "--pre",
    )
    lines = requirements.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip().startswith(kept)]


class _PipFailed(Exception):
    """pip's exit code and its last words."""

    def __init__(self, exit_code: int, words: str) -> None:
        super().__init__(words)
        self.exit_code = exit_code


def _pip(arguments: list[str], folder: Path) -> None:
    try:
        _run_pip(arguments, folder, shown=True)
    except _PipFailed as failed:
        command = [sys.executable, "-m", "pip", *arguments]
        raise command_failure(_INSTALL_FAILURE, failed.exit_code, str(failed), command) from failed


def _run_pip(arguments: list[str], folder: Path, *, shown: bool) -> None:
    """Run pip with its output on the log (if shown); raises _PipFailed."""
    settings = {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "pip", *arguments],
        cwd=folder,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if shown:
                sys.stdout.write(line)
    if process.returncode != 0:
        errors = [line.strip() for line in lines if line.startswith("ERROR:")] or lines[-3:]
        raise _PipFailed(process.returncode, "\n".join(errors).strip())
