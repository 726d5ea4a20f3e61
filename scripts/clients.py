"""The foreign clients of tests/clients: their environments, and the table that their run makes.

    python -m scripts.clients install [NAME...]   environments from requirements/clients-NAME.lock
    python -m scripts.clients docs                put the table of the last run into docs/clients.md

An environment lies in the user's cache under its lock's hash, so clones share it. It is made under
another name and renamed, so it is whole or not there. Console scripts name the path where they were
made: what an environment brings is run by its Python, not by them.
Nothing here needs more than Python's own library: it runs before the project is installed.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- made from the run -->\n", "<!-- end -->\n"
# What pip says when it could not ask an index at all; anything else is the lock's own fault.
UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|NameResolutionError|ReadTimeoutError|ProxyError"
    r"|Connection refused|Connection reset|Temporary failure in name resolution"
    r"|Network is unreachable|50[234] Server Error"
)
KEPT_DAYS = 30


class NotInstalledError(Exception):
    """An environment could not be made; `unreachable` says that no package index answered."""

    def __init__(self, name: str, said: str) -> None:
        self.unreachable = UNREACHABLE.search(said) is not None
        super().__init__(f"the environment {name} could not be installed: {said[-1500:]}")


def names() -> list[str]:
    """The environments that have locks."""
    locks = sorted((ROOT / "requirements").glob("clients-*.lock"))
    return [lock.stem.removeprefix("clients-") for lock in locks]


def cache() -> Path:
    """Where environments lie, outside of every clone."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "loopwright" / "clients"


def results_file() -> Path:
    """What the last run of this clone showed."""
    return ROOT / ".cache" / "clients.json"


def folder(name: str) -> Path:
    """The folder of an environment, which is there only when it is whole."""
    lock = (ROOT / "requirements" / f"clients-{name}.lock").read_bytes()
    mark = hashlib.sha256(lock + sys.version.encode()).hexdigest()[:16]
    return cache() / f"{name}-{mark}"


def python(name: str) -> Path:
    """The environment's interpreter."""
    return folder(name) / "bin" / "python"


@contextmanager
def _held(path: Path) -> Iterator[TextIO]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def install(name: str) -> Path:
    """Make an environment unless it is there; who comes second waits for the first.

    Raises:
        NotInstalledError: with pip's last words.
    """
    target = folder(name)
    cache().mkdir(parents=True, exist_ok=True)
    with _held(cache() / f".{name}.lock"):
        if not target.is_dir():
            for left in cache().glob(f".{name}.making-*"):
                shutil.rmtree(left, ignore_errors=True)
            making = Path(tempfile.mkdtemp(prefix=f".{name}.making-", dir=cache()))
            try:
                _fill(name, making)
                making.rename(target)
            finally:
                shutil.rmtree(making, ignore_errors=True)
        target.touch()
        _forget_old(name, target)
    return target


def _fill(name: str, making: Path) -> None:
    venv.create(making, with_pip=True, symlinks=True)
    done = subprocess.run(
        # Without bytecode: few of the modules are ever imported, and those are compiled then.
        [making / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile",
         "--timeout", "30", "--retries", "2",
         "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:",
         "-r", ROOT / "requirements" / f"clients-{name}.lock"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotInstalledError(name, done.stdout)


def _forget_old(name: str, target: Path) -> None:
    """Remove environments of locks that nobody has used for a month."""
    pattern = re.compile(re.escape(name) + r"-[0-9a-f]{16}")
    for found in cache().iterdir():
        unused = time.time() - found.stat().st_mtime > KEPT_DAYS * 86400
        if pattern.fullmatch(found.name) and found != target and unused:
            shutil.rmtree(found, ignore_errors=True)


def table(results: list[dict[str, Any]]) -> str:
    """The Markdown table of a run.

    Args:
        results: each with `client`, `version` and `checks`, those of `name` and perhaps `later`:
            why the server refuses it as yet.
    """
    lines = ["| client | version | what works | what does not yet |", "|---|---|---|---|"]
    for result in sorted(results, key=lambda result: str(result["client"]).lower()):
        works = [check["name"] for check in result["checks"] if not check.get("later")]
        later = [
            f"{check['name']} ({check['later']})"
            for check in result["checks"]
            if check.get("later")
        ]
        cells = (result["client"], result["version"], "<br>".join(works), "<br>".join(later))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def shown() -> str:
    """The table that stands in docs/clients.md."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def main(words: list[str]) -> int:
    """Run a command of this module; its exit code."""
    if words[:1] == ["install"]:
        worst = 0
        for name in words[1:] or names():
            try:
                print(install(name))
            except NotInstalledError as error:
                print(error, file=sys.stderr)
                worst = 1
        return worst
    if words == ["docs"]:
        made = table(json.loads(results_file().read_text()))
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + made + END + rest.partition(END)[2])
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
