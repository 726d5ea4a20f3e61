"""MPI distribution through boto3: one host and two by mpirun, and what is refused by name."""

import shutil
from typing import Any

import pytest

from tests.conftest import skip
from tests.server import PYTORCH, Server, training_request

pytestmark = pytest.mark.real
SCRIPT = """\
import ctypes, os, sys
rank, size = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
host = os.environ["SM_CURRENT_HOST"]
sys.stdout.write(f"rank {rank} of {size} {sys.argv[1:]} {host}\\n")
sys.stdout.flush()
if os.environ.get("SUMS"):
    mpi = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
    mpi.MPI_Init(None, None)
    own, total = ctypes.c_int(rank), ctypes.c_int()
    kind, sums, world = (ctypes.byref(ctypes.c_char.in_dll(mpi, name)) for name in
                         ("ompi_mpi_int", "ompi_mpi_op_sum", "ompi_mpi_comm_world"))
    mpi.MPI_Allreduce(ctypes.byref(own), ctypes.byref(total), 1, kind, sums, world)
    sys.stdout.write(f"sum {total.value}\\n")
    mpi.MPI_Finalize()
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


def test_processes_of_two_hosts_compute_together(server: Server) -> None:
    _needs_mpi()
    found = _train(server, "mpi-two", hosts=2, SUMS="yes")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    told = sorted(line for line in server.log_of("mpi-two") if line.startswith("rank"))
    assert told == [f"rank {n} of 6 ['--epochs', '2'] algo-{n // 3 + 1}" for n in range(6)]
    sums = [line for line in server.log_of("mpi-two") if line.startswith("sum")]
    assert sums == ["sum 15"] * 6


def test_a_failed_process_of_another_host_ends_the_job_with_its_reason(server: Server) -> None:
    _needs_mpi()
    found = _train(server, "mpi-two-fails", hosts=2, FAILS="4")
    assert found["TrainingJobStatus"] == "Failed"
    assert "ValueError: as was asked for" in found["FailureReason"]


def test_a_machine_without_mpi_is_told_of(server: Server) -> None:
    # The runtime looks for mpirun on the job's own PATH.
    reason = _train(server, "mpi-none", PATH="/nowhere")["FailureReason"]
    assert "install it (Debian: apt-get install openmpi-bin)" in reason.replace("\n", " ")
