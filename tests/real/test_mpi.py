"""MPI distribution through boto3: one host by mpirun, and what is refused by name."""

import shutil
from typing import Any

import pytest

from tests.conftest import skip
from tests.server import PYTORCH, Server, training_request

pytestmark = pytest.mark.real
SCRIPT = """\
import os, sys
rank, size = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
print("rank", rank, "of", size, sys.argv[1:], os.environ["SM_CURRENT_HOST"], flush=True)
if os.environ.get("FAILS") == str(rank):
    raise ValueError("as was asked for")
if rank == 0:
    open(os.environ["SM_MODEL_DIR"] + "/done", "w").close()
"""


def _train(server: Server, name: str, hosts: int = 1, **variables: str) -> dict[str, Any]:
    request = training_request(name, server.put_source("mpi", {"train.py": SCRIPT}), PYTORCH)
    request["HyperParameters"] |= {
        "sagemaker_mpi_enabled": "true",
        "sagemaker_mpi_num_of_processes_per_host": "3",
        "epochs": "2",
    }
    request["Environment"] = variables
    request["ResourceConfig"]["InstanceCount"] = hosts
    server.client("sagemaker").create_training_job(**request)
    return server.trained(name)


def _needs_mpi() -> None:
    if shutil.which("mpirun") is None:
        skip("there is no mpirun (Debian: apt-get install openmpi-bin)")


def test_processes_of_one_host_run_by_mpirun(server: Server) -> None:
    _needs_mpi()
    found = _train(server, "mpi-one")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    told = sorted(line for line in server.log_of("mpi-one") if line.startswith("rank"))
    assert told == [f"rank {n} of 3 ['--epochs', '2'] algo-1" for n in range(3)]


def test_the_reason_of_a_failed_process_is_told(server: Server) -> None:
    _needs_mpi()
    found = _train(server, "mpi-fails", FAILS="1")
    assert found["TrainingJobStatus"] == "Failed"
    assert "ValueError: as was asked for" in found["FailureReason"]


def test_several_hosts_and_a_machine_without_mpi_are_refused_by_name(server: Server) -> None:
    if shutil.which("mpirun") is not None:
        reason = _train(server, "mpi-two", hosts=2)["FailureReason"]
        assert "MPI on 2 hosts; here MPI runs on one" in reason
    # The runtime looks for mpirun on the job's own PATH.
    reason = _train(server, "mpi-none", PATH="/nowhere")["FailureReason"]
    assert "install it (Debian: apt-get install openmpi-bin)" in reason.replace("\n", " ")
