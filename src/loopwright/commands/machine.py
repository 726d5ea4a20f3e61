"""images, doctor: what runs here, what this machine offers, and how to get what is missing."""

import importlib.metadata
import importlib.util
import platform
import resource
import shutil
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from loopwright.aws.registry import Registry
from loopwright.commands.arguments import Arguments
from loopwright.commands.output import say_json, say_table
from loopwright.compute import limits, sandbox
from loopwright.compute.engine import Engine
from loopwright.contract.images import catalogue

EXTRAS: Final[Mapping[str, tuple[str, str]]] = {
    "sklearn": ("", "scikit-learn scripts and models, most built-in algorithms"),
    "pandas": ("runtimes", "scripts that import it, as AWS's images have it"),
    "xgboost": ("runtimes", "the XGBoost algorithm, XGBoost scripts and models"),
    "torch": ("torch", "PyTorch scripts and models"),
    "docker": ("containers", "images of one's own"),
    "psycopg": ("postgres", "PostgreSQL as the database"),
    "nudenet": ("review", "Rekognition's moderation, for people's reviews"),
    "rapidocr_onnxruntime": ("review", "Textract's forms, for people's reviews"),
}
"""The extra of `pyproject.toml` that a module comes with (empty: always there), and what for."""
OWN_IMAGES: Final = "images of one's own train, process and serve"
PUSHED: Final = "`docker push` to a repository that CreateRepository made"


def images(arguments: Arguments) -> int:
    """The repositories of AWS's catalogue that have a runtime here."""
    rows = []
    for repository, runtime in catalogue():
        lacking = [name for name in (runtime.module, *runtime.beside) if not is_there(name)]
        installed = "yes" if not lacking else "no" if runtime.module in lacking else "in part"
        rows.append((repository, runtime.name, runtime.note, installed, _told(lacking)))
    names = ("repository", "runtime", "note", "installed", "missing")
    if arguments.json:
        say_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        say_table("", ("repository", "runtime", "what", "installed", "missing"), rows)
    return 0


def doctor(arguments: Arguments) -> int:
    """Each thing with what it means."""
    rows = [*_machine(arguments.home), *map(_module, EXTRAS), *_containers(arguments.home)]
    if arguments.json:
        say_json({name: {"value": value, "meaning": meaning} for name, value, meaning in rows})
    else:
        say_table("", ("what", "found", "meaning"), rows)
    return 0


def _told(lacking: Sequence[str]) -> str:
    """What is missing, and what to type for it."""
    by_remedy: dict[str, list[str]] = {}
    for name in lacking:
        by_remedy.setdefault(remedy(name), []).append(name)
    return "; ".join(f"{', '.join(names)}: {way}" for way, names in by_remedy.items())


def _machine(home: Path) -> list[tuple[str, str, str]]:
    refused = sandbox.available()
    limit = limits.MemoryLimit("doctor", 1 << 30)
    counted = bool(limit._version)
    limit.remove()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return [
        ("python", platform.python_version(), sys.executable),
        ("cpus", str(limits.machine_cpus()), "jobs queue when they are taken"),
        ("memory", f"{limits.machine_memory_bytes() / 2**30:.1f} GiB", "90 % for jobs"),
        ("disk", f"{free / 2**30:.0f} GiB free", f"where {home} is"),
        ("open files", str(files), "more than 1000 is enough for most"),
        ("sqlite", sqlite3.sqlite_version, "state, unless --database names PostgreSQL"),
        (
            "sandbox",
            "no" if refused else "yes",
            refused
            or "jobs see a read-only system, their own files and processes, and nothing else",
        ),
        (
            "memory limits",
            "control group" if counted else "rlimit",
            "a job over its limit is killed" if counted else "allocations over the limit fail",
        ),
    ]


def _containers(home: Path) -> list[tuple[str, str, str]]:
    """Whether images of one's own run here, and can be pushed."""
    engine, registry = Engine(home), Registry(home)
    found = "podman" if engine.own else engine.url
    docker = shutil.which("docker")
    return [
        ("container engine", "no" if engine.missing else found, engine.missing or OWN_IMAGES),
        ("image registry", "no" if registry.missing else "yes", registry.missing or PUSHED),
        ("docker command", docker or "no", "to build and push images; `podman` does it as well"),
    ]


def _module(name: str) -> tuple[str, str, str]:
    what = EXTRAS[name][1]
    if is_there(name):
        return name, "yes", what
    return name, "no", f"{what}; {remedy(name)} installs it"


def is_there(module: str) -> bool:
    """Whether a module can be imported here."""
    return importlib.util.find_spec(module) is not None


def remedy(module: str) -> str:
    """What to type to have a module: make's words in a checkout that make set up, else pip's."""
    extra = EXTRAS[module][0] if module in EXTRAS else ""
    if _is_made():
        return "`make torch`" if extra == "torch" else "`make setup`"
    return f"`pip install 'loopwright[{extra}]'`" if extra else "`pip install loopwright`"


def _is_made() -> bool:
    """Whether this is a checkout's own environment, as `make setup` makes it: installed in place,
    and with the mark that make leaves there."""
    found = importlib.metadata.distribution("loopwright").read_text("direct_url.json")
    place = orjson.loads(found).get("dir_info", {}) if found else {}
    return bool(place.get("editable")) and Path(sys.prefix, ".ready").exists()
