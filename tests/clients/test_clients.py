"""Clients that nobody here wrote do their own documented first examples against a server."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from scripts import clients
from tests.clients.conftest import CLIENTS, Run, require, run_script
from tests.server import Server, await_that

pytestmark = [pytest.mark.real, pytest.mark.clients]
EMULATORS = ("moto", "ministack")


@pytest.mark.parametrize("script", CLIENTS)
def test_a_client(run_of: Callable[[str], Run], results: list[Run], script: str) -> None:
    run = run_of(script)
    run.assert_all()
    results.append(run)


def _started(name: str, port: int, folder: Path) -> "subprocess.Popen[bytes]":
    python = require("emulators")
    words = {
        "moto": ["-c", "import sys; from moto.server import main; main(sys.argv[1:])",
                 "-H", "127.0.0.1", "-p", str(port)],
        "ministack": ["-m", "ministack"],
    }[name]  # fmt: skip
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [python, *words], cwd=folder, stdout=log, stderr=log,
            # A session of its own: it ends with all that it starts.
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "AWS_DEFAULT_REGION": "us-east-1",
                 "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"},
        )  # fmt: skip


@pytest.fixture(params=EMULATORS)
def emulator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Another emulator's name, and its address."""
    name = str(request.param)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = _started(name, port, tmp_path)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool | None:
        assert process.poll() is None, (tmp_path / f"{name}.log").read_text()[-3000:]
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return None
        return True

    try:
        await_that(answers, name)
        yield name, url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


OURS = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "CLOUDWATCH_LOGS", "CLOUDWATCH")


S3 = "AWS_ENDPOINT_URL_S3"


def _connected(home: Path, name: str) -> list[str | None]:
    """A variable of a process within `loopwright.connect` and after it, `:1` before it."""
    text = (
        "import json, os, sys, loopwright; loopwright.connect(sys.argv[1]); "
        "found = [os.environ.get(sys.argv[2])]; loopwright.disconnect(); "
        "print(json.dumps([*found, os.environ.get(sys.argv[2])]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, home, name], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], name: "http://127.0.0.1:1"},
    )  # fmt: skip
    return list(json.loads(done.stdout))


def test_env_clears_the_address_of_another_home_s_objects(clients_server: Server) -> None:
    lines = clients_server.cli("env").stdout
    shell = subprocess.run(
        ["/bin/sh", "-c", f'{lines}\nprintf %s "$AWS_ENDPOINT_URL_S3"'],
        env={"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shell.stdout == ""
    assert _connected(clients_server.home, S3) == [None, "http://127.0.0.1:1"]
    told = json.loads(clients_server.cli("env", "--json").stdout)
    assert "AWS_ENDPOINT_URL_S3" not in told and told["AWS_ENDPOINT_URL"] == clients_server.url


def test_beside_another_emulator(
    emulator: tuple[str, str], results: list[Run], tmp_path: Path
) -> None:
    name, url = emulator
    there = url.replace("http://", "s3+http://testing:testing@")
    server = Server(tmp_path / "home", cpus=2, options=("--objects", there))
    server.start()
    try:
        variables = server.variables()
        assert variables["AWS_ENDPOINT_URL_S3"] == url
        assert _connected(server.home, S3) == [url, "http://127.0.0.1:1"]
        own = {f"AWS_ENDPOINT_URL_{service}": server.url for service in OURS}
        run = run_script(
            require("emulators"), "beside", name, folder=tmp_path / "client",
            variables={**variables, **own, "AWS_ENDPOINT_URL": url},
        )  # fmt: skip
    finally:
        server.stop()
    run.assert_all()
    results.append(run)


def test_the_page_shows_what_the_runs_showed(results: list[Run]) -> None:
    """After all others: `python -m scripts.clients docs` writes what they left."""
    if not results:
        pytest.skip("no client ran")
    kept = clients.results_file()
    kept.parent.mkdir(exist_ok=True)
    written = kept.with_suffix(".new")
    written.write_text(json.dumps([asdict(run) for run in results], indent=1))
    written.replace(kept)
    made = clients.table([asdict(run) for run in results]).splitlines()
    shown = clients.shown().splitlines()
    missing = [line for line in made if line not in shown]
    assert not missing, "run `.venv/bin/python -m scripts.clients docs`: " + "\n".join(missing)
    if len(results) == len(CLIENTS) + len(EMULATORS):
        assert made == shown
