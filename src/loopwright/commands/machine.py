"""images, doctor: what runs here, and what this machine offers."""

import argparse
import importlib.util
import platform
import resource
import shutil
import sqlite3
import sys
from pathlib import Path

from loopwright.aws.registry import Registry
from loopwright.commands.output import say_json, say_table
from loopwright.compute import limits, sandbox
from loopwright.compute.engine import Engine
from loopwright.contract.images import catalogue


def images(arguments: argparse.Namespace) -> int:
    """The repositories of AWS's catalogue that have a runtime here."""
    rows = []
    for repository, runtime in catalogue():
        installed = importlib.util.find_spec(runtime.module) is not None
        rows.append((repository, runtime.name, runtime.note, "yes" if installed else "no"))
    if arguments.json:
        names = ("repository", "runtime", "note", "installed")
        say_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        say_table("", ("repository", "runtime", "what", "installed"), rows)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Each thing with what it means; exit code 1 when jobs could not run at all."""
    refused = sandbox.available()
    limit = limits.MemoryLimit("doctor", 1 << 30)
    counted = bool(limit._version)
    limit.remove()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    rows = [
        ("python", platform.python_version(), sys.executable),
        ("cpus", str(limits.machine_cpus()), "jobs queue when they are taken"),
        ("memory", f"{limits.machine_memory_bytes() / 2**30:.1f} GiB", "90 % for jobs"),
        ("disk", f"{shutil.disk_usage(arguments.home.anchor).free / 2**30:.0f} GiB free", ""),
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
    rows += [_module(name, what) for name, what in MODULES]
    rows += _containers(arguments.home)
    if arguments.json:
        say_json({name: {"value": value, "meaning": meaning} for name, value, meaning in rows})
    else:
        say_table("", ("what", "found", "meaning"), rows)
    return 0


MODULES = (
    ("sklearn", "scikit-learn scripts and models"),
    ("xgboost", "the XGBoost algorithm"),
    ("torch", "PyTorch scripts and models; `make torch` installs it"),
    ("psycopg", "PostgreSQL as the database"),
)


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


OWN_IMAGES = "images of one's own train, process and serve"
PUSHED = "`docker push` to a repository that CreateRepository made"


def _module(name: str, what: str) -> tuple[str, str, str]:
    found = importlib.util.find_spec(name) is not None
    return name, "yes" if found else "no", what
