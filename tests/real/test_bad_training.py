"""What goes wrong while a job trains: the reason is named, nothing hangs, nothing is torn."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server import BUCKET, PYTORCH, Server, channel, training_request

pytestmark = pytest.mark.real


def _request(server: Server, name: str, script: str, **more: Any) -> dict[str, Any]:
    source = server.put_source(name, {"train.py": script})
    return {**training_request(name, source), **more}


def _kept(name: str, **more: str) -> dict[str, Any]:
    return {"S3Uri": f"s3://{BUCKET}/bad-ck/{name}", **more}


def _reason(server: Server, request: dict[str, Any], seconds: float = 90.0) -> str:
    """Why a job failed."""
    server.client("sagemaker").create_training_job(**request)
    found = server.trained(request["TrainingJobName"], seconds)
    assert found["TrainingJobStatus"] == "Failed"
    return str(found["FailureReason"])


def _listed(server: Server, name: str) -> list[str]:
    pages = server.client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=BUCKET, Prefix=f"bad-ck/{name}/").search("Contents[].Key")
    return [key for key in found if key]


PATHS = {
    "the folder of all": "/opt/ml/",
    "outside": "/opt/ml/../../etc",
    "within inputs": "/opt/ml/input/data/train",
    "the platform's own": "/opt/ml/.loopwright/x",
    "a file of the request": "/opt/ml/input/config/hyperparameters.json",
    "the source": "/opt/ml/code/train.py",
    "elsewhere": "/tmp/checkpoints",
}


@pytest.mark.parametrize("case", PATHS)
def test_checkpoints_have_a_folder_of_their_own(server: Server, case: str) -> None:
    kept = _kept("paths", LocalPath=PATHS[case])
    request = _request(server, "bad-paths", "print(1)", CheckpointConfig=kept)
    with pytest.raises(ClientError, match=r"CheckpointConfig\.LocalPath is") as caught:
        server.client("sagemaker").create_training_job(**request)
    assert PATHS[case] in str(caught.value)


def test_a_file_where_the_checkpoint_folder_was(server: Server) -> None:
    script = "import os; os.rmdir('/opt/ml/own/ck'); open('/opt/ml/own/ck', 'w').write('x')"
    kept = _kept("file", LocalPath="/opt/ml/own/ck")
    reason = _reason(server, _request(server, "bad-file", script, CheckpointConfig=kept))
    assert "CheckpointConfig.LocalPath" in reason and "/opt/ml/own/ck is a file" in reason


def test_a_link_in_the_place_of_a_checkpoint_folder_publishes_nothing(server: Server) -> None:
    script = """\
import os, time
os.rmdir("/opt/ml/own/ck")
os.rmdir("/opt/ml/own")
os.symlink("/etc", "/opt/ml/own")
time.sleep(1.5)
"""
    kept = _kept("link", LocalPath="/opt/ml/own/apt")
    script = script.replace("own/ck", "own/apt")
    request = _request(server, "bad-link", script, CheckpointConfig=kept)
    server.client("sagemaker").create_training_job(**request)
    server.trained("bad-link")
    assert _listed(server, "link") == []


def test_a_prefix_full_of_junk_is_laid_out(server: Server) -> None:
    """Thousands of small objects, odd names, folder markers: all are there and none is doubled."""
    s3 = server.client("s3")
    server.put("bad-ck/junk/", "")
    server.put("bad-ck/junk/empty/", "")
    names = [f"part-{number % 40}/{number}.bin" for number in range(1500)]
    names += ["ä ö/%2e%2e", "...", "-", "back\\slash", "new\nline", "a" * 200]
    with ThreadPoolExecutor(8) as pool:
        for name in names:
            pool.submit(s3.put_object, Bucket=BUCKET, Key=f"bad-ck/junk/{name}", Body=b"x")
    script = """\
import os
found = [name for _, _, files in os.walk("/opt/ml/checkpoints") for name in files]
print("files", len(found), flush=True)
os.mkdir("/opt/ml/checkpoints/.new.tmp")
open("/opt/ml/checkpoints/.new.tmp/a", "w").write("1")
os.rename("/opt/ml/checkpoints/.new.tmp", "/opt/ml/checkpoints/new")
"""
    request = _request(server, "bad-junk", script, CheckpointConfig=_kept("junk"))
    server.client("sagemaker").create_training_job(**request)
    found = server.trained("bad-junk")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert f"files {len(names)}" in server.log_of("bad-junk")
    assert len(_listed(server, "junk")) == len(names) + 3


JUNK = {
    "leaves": (["../../evil"], "'../../evil'"),
    "dots": (["a/../b"], "'a/../b'"),
    "doubled": (["a//b"], "'a//b'"),
    "both": (["model", "model/weights"], "'model'"),
    "long": (["n" * 300], "255"),
}


@pytest.mark.parametrize("case", JUNK)
def test_names_that_no_file_can_have_are_told(server: Server, case: str) -> None:
    names, word = JUNK[case]
    for name in names:
        server.put(f"bad-ck/{case}/{name}", "x")
    request = _request(server, f"bad-{case}", "print(1)", CheckpointConfig=_kept(case))
    reason = _reason(server, request)
    assert reason.startswith("ClientError: Data download failed")
    assert f"s3://{BUCKET}/bad-ck/{case}/" in reason and word in reason
    assert str(server.home) not in reason


RANKS = """\
import os, sys, time
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
dist.all_reduce(torch.ones(1))
if dist.get_rank() == int(os.environ["LEAVES"]):
    os._exit(0)
dist.all_reduce(torch.ones(1))
print("never", flush=True)
"""


def _distributed(server: Server, name: str, script: str, **more: Any) -> dict[str, Any]:
    request = _request(server, name, script, **more)
    request["AlgorithmSpecification"]["TrainingImage"] = PYTORCH
    request["HyperParameters"]["sagemaker_torch_distributed_enabled"] = "true"
    request["ResourceConfig"]["InstanceCount"] = 2
    return request


@pytest.mark.parametrize("leaves", [0, 1])
def test_a_rank_that_ends_before_the_others_fails_the_job(server: Server, leaves: int) -> None:
    variables = {"LEAVES": str(leaves)}
    request = _distributed(server, f"bad-ranks-{leaves}", RANKS, Environment=variables)
    reason = _reason(server, request)
    assert f"Rank {1 - leaves}; the ranks of algo-{leaves + 1} had already ended" in reason
    assert "onnection" in reason and "all_reduce" in reason


def test_a_rank_that_never_joins_fails_the_job(server: Server) -> None:
    script = """\
import os, time
from datetime import timedelta
import torch.distributed as dist
if os.environ["SM_CURRENT_HOST"] == "algo-2":
    time.sleep(600)
dist.init_process_group("gloo", timeout=timedelta(seconds=2))
"""
    reason = _reason(server, _distributed(server, "bad-joining", script))
    assert "Rank 0" in reason and "wait timeout after 2000ms" in reason


def test_a_host_that_never_joins_fails_the_job(server: Server) -> None:
    # It is imported by every interpreter of the host, before that does anything.
    stuck = """\
import os, sys, time
if os.environ.get("SM_CURRENT_HOST") == "algo-2" and "torchrun" in " ".join(sys.orig_argv):
    time.sleep(600)
"""
    request = _distributed(server, "bad-hosts", RANKS, Environment={"LOOPWRIGHT_JOIN_S": "2"})
    source = server.put_source("bad-hosts", {"train.py": RANKS, "sitecustomize.py": stuck})
    request["HyperParameters"]["sagemaker_submit_directory"] = source
    reason = _reason(server, request)
    assert "hosts of the job did not come together within 2 s" in reason


def test_a_pipe_reader_that_stops_keeps_nobody(server: Server) -> None:
    server.put("bad-pipe/1.bin", b"x" * 3_000_000)
    script = """\
stream = open("/opt/ml/input/data/train_0", "rb")
print("read", len(stream.read(10)), flush=True)
import time
time.sleep(0.5)
open("/opt/ml/model/done", "w").close()
"""
    request = _request(server, "bad-pipe", script)
    request["AlgorithmSpecification"]["TrainingInputMode"] = "Pipe"
    request["InputDataConfig"] = [channel("train", f"s3://{BUCKET}/bad-pipe/")]
    server.client("sagemaker").create_training_job(**request)
    found = server.trained("bad-pipe")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    request = _request(server, "bad-pipe-2", script.replace("sleep(0.5)", "sleep(600)"))
    request["AlgorithmSpecification"]["TrainingInputMode"] = "Pipe"
    request["InputDataConfig"] = [channel("train", f"s3://{BUCKET}/bad-pipe/")]
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 2}
    server.client("sagemaker").create_training_job(**request)
    found = server.trained("bad-pipe-2")
    assert found["SecondaryStatus"] == "MaxRuntimeExceeded"
