"""What is left of a server that was killed, and of one that is emptied while many units run."""

import contextlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.server import SKLEARN, Server, await_that, training_request

pytestmark = pytest.mark.real

# Ignores SIGTERM and goes on writing: what is removed under it would grow again.
RESTLESS = """
import itertools, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in itertools.count():
    with open(f"/opt/ml/model/{number % 50}", "a") as stream:
        stream.write("x")
    time.sleep(0.01)
"""


def _idle_interpreters(home: Path) -> list[str]:
    """Warm interpreters of a home that are no shims: these hold a unit's lock."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            held = [str(file.readlink()) for file in (process / "fd").iterdir()]
            shim = any(path.endswith("/lock") for path in held)
            if b"loopwright.compute.zygote" in words and not shim:
                found += [process.name] * ((process / "cwd").readlink() == home)
    return found


def test_warm_interpreters_end_with_their_server_whenever_that_is_killed(tmp_path: Path) -> None:
    server = Server(tmp_path / "home", cpus=2)
    for _ in range(4):
        # At once: the interpreter has not imported anything yet.
        server.start()
        server.kill()
    await_that(lambda: True if not _idle_interpreters(server.home) else None, "their end", 30)
    server.start()
    try:
        server.train("after", "print('ran')\n")
        assert server.trained("after")["TrainingJobStatus"] == "Completed"
        assert len(_idle_interpreters(server.home)) == 1
    finally:
        server.stop()
    await_that(lambda: True if not _idle_interpreters(server.home) else None, "its end", 30)


def test_reset_ends_all_units_whatever_they_do(tmp_path: Path) -> None:
    server = Server(tmp_path / "home", cpus=24, options=("--allow-reset",))
    server.start()
    try:
        source = server.put_source("restless", {"train.py": RESTLESS})
        sagemaker = server.client("sagemaker")
        for number in range(20):
            sagemaker.create_training_job(**training_request(f"restless-{number}", source, SKLEARN))

        def half_of_them_run() -> bool | None:
            found = list((server.home / "units").glob("*/started"))
            return True if len(found) >= 10 else None

        await_that(half_of_them_run, "the units")
        assert _reset(server) == {"reset": True, "units": 20}
        assert list((server.home / "units").iterdir()) == []
        assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
        assert server.client("s3").list_buckets()["Buckets"] == []
        server.train("after", "print('ran')\n")
        assert server.trained("after")["TrainingJobStatus"] == "Completed"
    finally:
        server.stop()


def _reset(server: Server) -> Any:
    access_key, secret = next(iter(json.loads((server.home / "keys.json").read_text()).items()))
    sent = AWSRequest(method="POST", url=server.url + "/loopwright/reset", data=b"")
    SigV4Auth(Credentials(access_key, secret), "sagemaker", "us-east-1").add_auth(sent)
    request = urllib.request.Request(sent.url, b"", dict(sent.headers))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=90) as answer:
        return json.loads(answer.read())
