"""Environments of clients: whole or not there, whoever kills or shares them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import clients
from tests.server import await_that

ROOT = Path(__file__).parents[2]


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one environment that needs nothing, and a cache; the lock's file."""
    lock = tmp_path / "requirements" / "clients-none.lock"
    lock.parent.mkdir()
    lock.write_text("# nothing\n")
    monkeypatch.setattr(clients, "ROOT", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lock


def _left() -> set[str]:
    return {found.name for found in clients.cache().iterdir() if not found.name.endswith(".lock")}


def test_an_environment_is_made_once_and_follows_its_lock(made_up: Path) -> None:
    first = clients.install("none")
    marked = first / "marked"
    marked.touch()
    assert clients.install("none") == first and marked.exists(), "not made again"
    subprocess.run([clients.python("none"), "-m", "pip", "--version"], check=True)
    made_up.write_text("# something else\n")
    second = clients.install("none")
    assert second != first
    # Another clone may use the old one still; nobody has for a month: it goes.
    assert _left() == {first.name, second.name}
    past = time.time() - (clients.KEPT_DAYS + 1) * 86400
    os.utime(first, (past, past))
    clients.install("none")
    assert _left() == {second.name}


def test_a_lock_that_cannot_be_installed_leaves_nothing(made_up: Path) -> None:
    made_up.write_text("./no-such-folder\n")
    with pytest.raises(clients.NotInstalledError, match="no-such-folder") as found:
        clients.install("none")
    assert not found.value.unreachable, "a fault of the lock is no index that is away"
    assert _left() == set()


def test_what_a_kill_leaves_is_removed_by_the_next(made_up: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c",
         "import pathlib, sys; from scripts import clients; "
         "clients.ROOT = pathlib.Path(sys.argv[1]); clients.install('none')", made_up.parents[1]],
        cwd=ROOT, start_new_session=True,
    )  # fmt: skip

    def begun() -> bool | None:
        return any(clients.cache().glob(".none.making-*/*")) or None

    await_that(begun, "the half-made environment")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not clients.folder("none").exists(), "half an environment has no name"
    clients.install("none")
    assert _left() == {clients.folder("none").name}


@pytest.mark.parametrize(
    ("said", "unreachable"),
    [
        ("NewConnectionError('<...>: Failed to establish a new connection')", True),
        ("Max retries exceeded (Caused by NameResolutionError(...))", True),
        ("ConnectTimeoutError(..., 'Connection to index timed out.')", True),
        ("503 Server Error: Service Unavailable", True),
        ("ERROR: No matching distribution found for s3fs==1", False),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", False),
        ("404 Client Error: Not Found", False),
    ],
)
def test_only_an_index_that_does_not_answer_is_no_fault_of_the_lock(
    said: str, unreachable: bool
) -> None:
    assert clients.NotInstalledError("x", said).unreachable is unreachable


def test_locks_are_pinned_by_hashes_and_name_no_address() -> None:
    assert clients.names() == ["airflow", "data", "emulators", "sdk3"]
    for name in clients.names():
        text = (ROOT / "requirements" / f"clients-{name}.lock").read_text()
        wanted = [line for line in text.splitlines() if line[:1].isalnum()]
        assert wanted and all("==" in line and line.endswith("\\") for line in wanted)
        assert "://" not in text
        asked = (ROOT / "requirements" / f"clients-{name}.in").read_text().split()
        for requirement in asked:
            package = requirement.partition(">=")[0].partition("[")[0]
            assert f"\n{package}==" in f"\n{text}", package


def test_the_table_shows_what_is_refused_as_yet_apart() -> None:
    checks = [{"name": "trains", "later": None}, {"name": "transforms", "later": "not there"}]
    made = clients.table([{"client": "A client", "version": "1.2", "checks": checks}])
    assert made.splitlines()[-1] == "| A client | 1.2 | trains | transforms (not there) |"
