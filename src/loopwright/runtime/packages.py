"""The unit's own environment of packages, over the runtime's, which no user's code changes.

What a script installs by pip, however it calls it, and what requirements.txt asks for goes here.
It is a virtual environment (PEP 405: a folder with `pyvenv.cfg`) whose own packages come first and
which sees the runtime's behind them, so that pip, uv, `python -m pip`, console scripts, editable
installs and upgrades of packages that are there work as anywhere. Making one takes a dozen small
files and no process.
"""

import ensurepip
import importlib.util
import os
import shlex
import site
import sys
import sysconfig
from pathlib import Path
from typing import Final

from loopwright.runtime.paths import Tree

OWN: Final = "LOOPWRIGHT_ENVIRONMENT"
"""The variable that names the unit's environment."""
RUNTIME: Final = "LOOPWRIGHT_RUNTIME_PREFIX"
"""The variable that names the environment below it, the runtime's."""
READY: Final = "LOOPWRIGHT_PACKAGES_READY"
"""Set in the interpreter that was started anew because packages were installed for it."""
ADOPT: Final = Path(__file__).parent / "adopt"
"""Holds the `sitecustomize` by which interpreters of the runtime's become the unit's."""
_LINK: Final = "_loopwright_runtime.pth"
_PIP: Final = """#!/bin/sh
exec {python} -m pip "$@"
"""
_REFUSED: Final = ("conda", "mamba", "micromamba")
_REFUSAL: Final = """#!/bin/sh
echo "{name}: Loopwright's runtimes have no {name}; install with pip (python -m pip install NAME, \
or requirements.txt), which installs for this job alone, or bring an image of your own." >&2
exit 127
"""


def prepare(tree: Tree) -> None:
    """Make the unit's environment, and this process and its children use it; repeatable.

    Raises:
        OSError: its files could not be written.
    """
    folder = tree.environment
    if Path(sys.prefix) != folder:
        if not (folder / "pyvenv.cfg").exists():
            _make(folder)
        adopt(folder)
    _tell_children(folder)


def adopt(folder: Path) -> None:
    """Make this interpreter, which is the runtime's, one of the unit's environment."""
    packages = str(site_packages(folder))
    os.environ.setdefault(RUNTIME, sys.prefix)
    below = site.getsitepackages()
    at = next((number for number, entry in enumerate(sys.path) if entry in below), len(sys.path))
    if packages not in sys.path:
        sys.path.insert(at, packages)
    sys.executable = str(folder / "bin" / "python")
    sys.prefix = sys.exec_prefix = str(folder)
    site.PREFIXES = [str(folder)]
    site.ENABLE_USER_SITE = True
    # What the library remembers of the prefix; pip called within this process asks for it.
    for name in ("_PREFIX", "_EXEC_PREFIX"):
        if hasattr(sysconfig, name):
            setattr(sysconfig, name, str(folder))
    if hasattr(sysconfig, "_CONFIG_VARS"):
        sysconfig._CONFIG_VARS = None
    if hasattr(sysconfig, "_CONFIG_VARS_INITIALIZED"):  # Python 3.13
        sysconfig._CONFIG_VARS_INITIALIZED = False


def installed(tree: Tree) -> bool:
    """Whether anything was installed into the unit's environment."""
    try:
        return any(entry.name != _LINK for entry in site_packages(tree.environment).iterdir())
    except FileNotFoundError:
        return False


def site_packages(folder: Path) -> Path:
    """Where the packages of an environment lie."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return folder / "lib" / version / "site-packages"


def _make(folder: Path) -> None:
    """Write the environment's files; `pyvenv.cfg`, which makes it one, last."""
    programs, packages = folder / "bin", site_packages(folder)
    programs.mkdir(parents=True, exist_ok=True)
    packages.mkdir(parents=True, exist_ok=True)
    base = Path(getattr(sys, "_base_executable", "") or sys.executable)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in ("python", "python3", f"python{version}"):
        link = programs / name
        if not link.is_symlink():
            link.symlink_to(base)
    python = shlex.quote(str(programs / "python"))
    for name in ("pip", "pip3", f"pip{version}"):
        _program(programs / name, _PIP.format(python=python))
    for name in _REFUSED:
        _program(programs / name, _REFUSAL.format(name=name))
    below = [entry for entry in site.getsitepackages() if os.path.isdir(entry)]
    lines = [f"import site; site.addsitedir({entry!r})" for entry in below]
    lines.append("import site; site.ENABLE_USER_SITE = True")
    if importlib.util.find_spec("pip") is None:
        # Installed without pip, by uv for instance: the one that Python brings, as it lies there.
        bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
        lines += [str(wheel) for wheel in bundled[-1:]]
    (packages / _LINK).write_text("\n".join(lines) + "\n", encoding="utf-8")
    # `no` is neither of pip's words: without the base interpreter's own packages, as with `false`,
    # but `pip install --user` is allowed, and goes to this environment too (PYTHONUSERBASE); pip of
    # 2026 asks for ENABLE_USER_SITE as well.
    settings = f"home = {base.parent}\ninclude-system-site-packages = no\nversion = {version}\n"
    (folder / "pyvenv.cfg").write_text(settings, encoding="utf-8")


def _program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _tell_children(folder: Path) -> None:
    """Set what child processes find the environment by, whatever starts them."""
    os.environ[OWN] = os.environ["VIRTUAL_ENV"] = os.environ["PYTHONUSERBASE"] = str(folder)
    os.environ.setdefault(RUNTIME, sys.prefix)
    programs = [str(folder / "bin"), os.path.join(os.environ[RUNTIME], "bin")]
    found = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(dict.fromkeys([*programs, *found]))
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*filter(None, path), str(ADOPT)]))
    for name, value in {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_NO_INPUT": "1",
        # uv looks for VIRTUAL_ENV, but not for `--system`.
        "UV_PYTHON": str(folder / "bin" / "python"),
        "UV_LINK_MODE": "copy",
    }.items():
        os.environ.setdefault(name, value)
