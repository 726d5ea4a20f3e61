"""The runs of foreign clients: each script by its own Python, all against one server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scripts import clients
from tests.server import Server

SCRIPTS = Path(__file__).with_name("scripts")
OWN = ""
"""The environment of the tests themselves, from requirements/dev.lock."""
# Script and environment, the longest first: three run at a time.
CLIENTS = {
    "airflow_sagemaker": "airflow",
    "sagemaker_v3": "sdk3",
    "sagemaker_v2": OWN,
    "aws_cli": OWN,
    "mlflow_deployments": "sdk3",
    "polars_frames": "data",
    "pyarrow_files": "data",
    "awswrangler_frames": "data",
    "s3fs_files": "data",
    "smart_open_files": "data",
    "s5cmd_files": "data",
}
AT_A_TIME = 3
_not_run: dict[str, str] = {}


@dataclass
class Run:
    """What a script said."""

    client: str = ""
    version: str = ""
    checks: list[dict[str, Any]] = field(default_factory=list)
    output: str = ""
    seconds: float = 0.0

    def assert_all(self) -> None:
        """Every check of the script held, and the script came to its end."""
        bad = [check for check in self.checks if not check["ok"]]
        told = "\n\n".join(f"{check['name']}:\n{check['detail']}" for check in bad)
        assert not bad, f"{self.client} {self.version}\n{told}"
        assert self.checks, self.output[-4000:]


def require(environment: str) -> Path:
    """The Python of an environment, or the test skips with a sentence.

    In CI the environment is installed, or awaited where `.ci/run` is at it; that no package index
    answers is the only reason to skip there, and the run's last lines say so.
    """
    if environment == OWN:
        return Path(sys.executable)
    if environment in _not_run:
        pytest.skip(_not_run[environment])
    if os.environ.get("CI") == "true":
        try:
            clients.install(environment)
        except clients.NotInstalledError as error:
            if not error.unreachable:
                raise
            _not_run[environment] = f"no package index answered: {error}"
            pytest.skip(_not_run[environment])
    elif not clients.folder(environment).is_dir():
        pytest.skip(f"the clients are not installed: bash scripts/clients.sh {environment}")
    return clients.python(environment)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Clients that could not be installed are named at the very end of a run."""
    for name, reason in _not_run.items():
        terminalreporter.section(f"CLIENTS NOT TESTED: {name}", red=True, bold=True)
        terminalreporter.line(reason)


def run_script(
    python: Path, script: str, *words: str, folder: Path, variables: dict[str, str]
) -> Run:
    """Run a script to its end in an empty folder, which is also its home."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    done = subprocess.run(
        [python, SCRIPTS / f"{script}.py", *words], cwd=folder, capture_output=True, text=True,
        timeout=280, check=False,
        env={"PATH": os.environ["PATH"], **variables, "HOME": str(folder)},
    )  # fmt: skip
    run = Run(output=done.stdout + done.stderr, seconds=time.monotonic() - began)
    for line in done.stdout.splitlines():
        told = json.loads(line)
        if "client" in told:
            run.client, run.version = told["client"], told["version"]
        else:
            run.checks.append(told)
    if done.returncode:
        run.checks.append({"name": "its end", "ok": False, "detail": done.stderr[-4000:]})
    return run


@pytest.fixture(scope="session")
def clients_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of all clients."""
    running = Server(tmp_path_factory.mktemp("clients") / "home", cpus=4)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def run_of(
    clients_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Run]]:
    """From a script's name to its run; all are on their way once the first is asked for."""
    variables = clients_server.variables()
    # Who imports a client first compiles it: into the environment, not into this run's home.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    folder = tmp_path_factory.mktemp("runs")
    pool = ThreadPoolExecutor(AT_A_TIME)
    going: dict[str, Future[Run]] = {}

    def start(script: str) -> Future[Run]:
        if script not in going:
            python = require(CLIENTS[script])
            going[script] = pool.submit(
                run_script, python, script, folder=folder / script, variables=variables
            )
        return going[script]

    def run_of(script: str) -> Run:
        for other in CLIENTS:
            if CLIENTS[other] == OWN or clients.folder(CLIENTS[other]).is_dir():
                start(other)
        return start(script).result()

    yield run_of
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def results() -> Iterator[list[Run]]:
    """All runs that were seen; they are written down for `python -m scripts.clients docs`."""
    seen: list[Run] = []
    yield seen
