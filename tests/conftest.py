"""Fixtures that several folders share: PostgreSQL, and a real server."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import Workshop, open_workshop, why_no_containers
from tests.server import Server


def skip(reason: str) -> None:
    """Skip with a sentence; in CI, where all packages are there, a skip is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"skipped in CI: {reason}")
    pytest.skip(reason)


def _postgres_folder() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A SQLAlchemy URL of a PostgreSQL that this session started; it refuses to run as root."""
    given = os.environ.get("LOOPWRIGHT_TEST_POSTGRES")
    if given:
        yield given
        return
    tools = _postgres_folder()
    if tools is None:
        skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
        return
    folder = Path(tempfile.mkdtemp(prefix="loopwright-pg"))
    root = os.getuid() == 0
    if root:
        shutil.chown(folder, "postgres", "postgres")
    prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if root else []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    subprocess.run(
        [*prefix, str(tools / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "test"],
        check=True, stdout=subprocess.DEVNULL, env=environment, cwd=folder,
    )  # fmt: skip
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
    server = subprocess.Popen(
        [*prefix, str(tools / "postgres"), "-D", str(folder / "data"), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=folder,
    )
    try:
        _await_port(port)
        yield f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 60
    ready = [str((_postgres_folder() or Path()) / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, stdout=subprocess.DEVNULL, check=False).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError("PostgreSQL did not start in a minute")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the session's tests share; each test uses names of its own."""
    running = Server(tmp_path_factory.mktemp("home"), cpus=2)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that one test may kill."""
    running = Server(tmp_path / "home", cpus=2)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A server with a container engine, and an image that was built and pushed once."""
    reason = why_no_containers()
    if reason is not None:
        skip(reason)
    made = open_workshop(tmp_path_factory.mktemp("workshop"))
    yield made
    made.server.stop()


assert sys.version_info >= (3, 11)


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on which a minute takes three seconds."""
    running = Server(tmp_path_factory.mktemp("quick") / "home", options=("--time-scale", "20"))
    running.start()
    yield running
    running.stop()
