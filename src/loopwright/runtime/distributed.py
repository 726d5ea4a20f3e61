"""How a script runs on several hosts or processes: the SDK's `distribution`, by torchrun or MPI.

The keys are those that the SDK puts among the hyperparameters. All of PyTorch's kinds run by
torchrun with a static rendezvous at the first host: the platform starts the whole job again when a
host fails, which elastic restarts over several agents do not do reliably.
"""

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loopwright.runtime import environment as environments
from loopwright.runtime import mpi, program, rank
from loopwright.runtime.environment import Environment
from loopwright.runtime.failure import UnitFailure

TORCH_KEYS: Final = (
    "sagemaker_torch_distributed_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
)
MODEL_PARALLEL: Final = "mp_parameters"
MPI: Final = "sagemaker_mpi_enabled"
PER_HOST: Final = "sagemaker_mpi_num_of_processes_per_host"
REFUSED: Final = {
    "sagemaker_parameter_server_enabled": "TensorFlow's parameter servers",
    "sagemaker_pytorch_xla_multi_worker_enabled": "PyTorch XLA",
    "sagemaker_multi_worker_mirrored_strategy_enabled": "TensorFlow's mirrored strategy",
}
COMPAT: Final = Path(__file__).parent / "compat"
RANK: Final = "loopwright.runtime.rank"
REASON_BYTES_MAX: Final = 4096
PORT_DEFAULT: Final = "7777"
TOLD_S: Final = 1.0


def launcher(environment: Environment) -> list[str] | None:
    """The command before the script's own words; None when it runs as one plain process.

    Raises:
        UnitFailure: a kind of distribution that cannot run here, with the way out.
    """
    parameters = {**environment.user_hyperparameters, **environment.framework_parameters}
    for name, what in REFUSED.items():
        if parameters.get(name):
            raise UnitFailure(
                f"The hyperparameter {name} asks for {what}, which this runtime does not have; use "
                "torch_distributed, or remove `distribution` from the estimator."
            )
    if any(parameters.get(name) for name in TORCH_KEYS) or parameters.get(MODEL_PARALLEL):
        return _torchrun(environment, parameters)
    return _mpirun(environment, parameters) if parameters.get(MPI) else None


def variables(environment: Environment) -> dict[str, str]:
    """What the ranks of a distributed script find in their environment besides SM_*."""
    interface = str(environment.resources.get("network_interface_name", "lo"))
    path = os.environ.get("PYTHONPATH", "")
    return {
        "GLOO_SOCKET_IFNAME": interface,
        "NCCL_SOCKET_IFNAME": interface,
        "PYTHONPATH": f"{path}{os.pathsep}{COMPAT}" if path else str(COMPAT),
    }


def run(command: list[str], environment: Environment, folder: Path) -> int:
    """Run the ranks of this host to their end, from the folder of the script.

    Raises:
        UnitFailure: one failed; the reason is that of the first one where it could tell it.
    """
    told = environment.tree.base / ".loopwright" / "rank-failure"
    os.environ[rank.HOST_FILE] = str(told)
    try:
        return program.run_command(command, folder)
    except UnitFailure as ended:
        raise UnitFailure(_reason(told, environment) or ended.reason, ended.exit_code) from None


def _reason(told: Path, environment: Environment) -> str:
    """What the first rank that failed told; that of another host comes a moment later."""
    deadline = time.monotonic() + (TOLD_S if len(environment.hosts) > 1 else 0.0)
    while True:
        try:
            with told.open(encoding="utf-8", errors="replace") as stream:
                return stream.read(REASON_BYTES_MAX)
        except OSError:
            if time.monotonic() >= deadline:
                return ""
            time.sleep(0.05)


def _torchrun(environment: Environment, parameters: Mapping[str, Any]) -> list[str]:
    """torchrun over all hosts; as many processes a host as there are GPUs, or as asked for."""
    hosts = environment.hosts
    per_host = int(parameters.get(PER_HOST) or environments.gpu_count() or 1)
    # A process a core at most helps nobody; the script's own number is honoured all the same.
    port = os.environ.get("LOOPWRIGHT_RENDEZVOUS_PORT", PORT_DEFAULT)
    return [
        sys.executable,
        "-m",
        "loopwright.runtime.torchrun",
        f"--nnodes={len(hosts)}",
        f"--nproc_per_node={per_host}",
        f"--node_rank={hosts.index(environment.host)}",
        f"--master_addr={hosts[0]}",
        f"--master_port={port}",
        f"--rdzv_conf=timeout={os.environ.get(rank.JOIN, rank.JOIN_S)}",
        "--module",
        RANK,
    ]


def _mpirun(environment: Environment, parameters: Mapping[str, Any]) -> list[str]:
    """MPI over all hosts, where it is installed."""
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise UnitFailure(
            "distribution asks for MPI, but this machine has no mpirun; install it (Debian: "
            "apt-get install openmpi-bin), or use torch_distributed."
        )
    count = int(parameters.get(PER_HOST) or environments.gpu_count() or 1)
    more = str(parameters.get("sagemaker_mpi_custom_mpi_options") or "").split()
    root = ["--allow-run-as-root"] if os.getuid() == 0 else []
    hosts = environment.hosts
    if len(hosts) > 1 and environment.host != hosts[0]:
        # The first host starts the processes of this one; see the module.
        return [sys.executable, "-m", "loopwright.runtime.mpi", "wait", environment.host]
    place = ["-np", str(count)]
    if len(hosts) > 1:
        interface = str(environment.resources.get("network_interface_name", "lo"))
        mpirun, *place = mpi.command(mpirun, hosts, count, interface)
    return [mpirun, *root, "--oversubscribe", *place, *more, sys.executable, "-m", RANK]
