"""A full disk: every end is told with its reason, nothing hangs, nothing torn is shown."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import skip
from tests.server import BUCKET, Server, await_that, training_request

pytestmark = pytest.mark.real
DISK_MIB = 96
CHECKPOINT = """\
import os, time

def write(path):
    with open(path, "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1 << 20))

os.mkdir("/opt/ml/checkpoints/.good.tmp")
with open("/opt/ml/checkpoints/.good.tmp/weights", "w") as stream:
    stream.write("whole")
os.rename("/opt/ml/checkpoints/.good.tmp", "/opt/ml/checkpoints/good")
print("kept", flush=True)
time.sleep(1.5)
os.mkdir("/opt/ml/checkpoints/torn")
try:
    write("/opt/ml/checkpoints/torn/weights")
except OSError:
    if os.environ.get("STAYS") is None:
        raise
while True:
    try:
        write("/opt/ml/checkpoints/torn/more")
    except OSError:
        time.sleep(0.01)
"""
MODEL = """\
import os
with open("/opt/ml/model/weights", "wb", buffering=0) as stream:
    for _ in range(int(os.environ["MIB"])):
        stream.write(os.urandom(1 << 20))
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose home is a disk of 96 MiB."""
    if os.geteuid() != 0:
        skip("a small disk can only be mounted by root")
    home = Path(tmp_path_factory.mktemp("small"))
    options = ["-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "none", str(home)]
    if subprocess.run(["mount", *options], check=False).returncode:
        skip("this machine lets nobody mount a tmpfs")
    running = Server(home, cpus=2)
    running.start()
    yield running
    running.stop()
    subprocess.run(["umount", "-l", str(home)], check=True)


def _train(server: Server, name: str, script: str, **variables: str) -> dict[str, Any]:
    source = server.put_source(name, {"train.py": script})
    request = training_request(name, source)
    request["Environment"] = variables
    request["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/full/{name}"}
    server.client("sagemaker").create_training_job(**request)
    return server.trained(name)


def _objects(server: Server, prefix: str) -> list[str]:
    found = server.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in found.get("Contents", [])]


def _room(server: Server) -> None:
    """Await that what a job left is gone."""

    def there() -> bool | None:
        disk = os.statvfs(server.home)
        return True if disk.f_bfree * disk.f_frsize > 70 * 2**20 else None

    await_that(there, "room on the disk")


def test_a_model_for_which_there_is_no_room_fails_the_job(small: Server) -> None:
    found = _train(small, "full-model", MODEL, MIB="40")
    assert found["TrainingJobStatus"] == "Failed"
    assert "the artifacts could not be uploaded" in found["FailureReason"]
    assert "No space left on device" in found["FailureReason"]
    assert "ModelArtifacts" not in found or not found["ModelArtifacts"].get("S3ModelArtifacts")
    assert _objects(small, "jobs/full-model/") == []
    _room(small)
    assert _train(small, "less", MODEL, MIB="1")["TrainingJobStatus"] == "Completed"
    assert _objects(small, "jobs/less/") == ["jobs/less/output/model.tar.gz"]


def test_a_script_that_fills_the_disk_fails_with_its_own_words(small: Server) -> None:
    _room(small)
    found = _train(small, "full-own", CHECKPOINT)
    assert found["TrainingJobStatus"] == "Failed"
    assert "No space left on device" in found["FailureReason"]
    assert _objects(small, "full/full-own/") == ["full/full-own/good/weights"]


def test_a_script_that_keeps_the_disk_full_is_ended(small: Server) -> None:
    _room(small)
    found = _train(small, "full-stays", CHECKPOINT, STAYS="1")
    assert found["TrainingJobStatus"] == "Failed"
    assert "OutOfDisk: the disk of Loopwright's home was full" in found["FailureReason"]
    assert _objects(small, "full/full-stays/") == ["full/full-stays/good/weights"]


def test_an_object_for_which_there_is_no_room_is_refused(small: Server) -> None:
    _room(small)
    with pytest.raises(ClientError, match="disk of Loopwright's home is full") as caught:
        small.put("full/large", bytes(100 * 2**20))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert _objects(small, "full/large") == []
    _room(small)
