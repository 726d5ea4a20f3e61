"""Distributed training with PyTorch on several hosts, through boto3."""

import importlib.util
from typing import Any

import pytest

from tests.conftest import skip
from tests.server import BUCKET, PYTORCH, Server, training_request

pytestmark = pytest.mark.real
TRAIN = """\
import os, sys
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits

if os.environ.get("WAY") == "smddp":
    import smdistributed.dataparallel.torch.torch_smddp
    dist.init_process_group(backend="smddp")
elif os.environ.get("WAY") == "smddp1":
    import smdistributed.dataparallel.torch.distributed as herring
    herring.init_process_group()
else:
    dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
rows, labels = load_digits(return_X_y=True)
rows, labels = torch.tensor(rows / 16, dtype=torch.float64), torch.tensor(labels)
torch.manual_seed(0)
model = torch.nn.Linear(64, 10, dtype=torch.float64)
if os.environ.get("WAY") == "smddp1":
    from smdistributed.dataparallel.torch.parallel.distributed import DistributedDataParallel
else:
    from torch.nn.parallel import DistributedDataParallel
wrapped = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
path = "/opt/ml/checkpoints/state.pt"
step = 0
if os.path.exists(path):
    state = torch.load(path)
    step = state["step"]
    model.load_state_dict(state["model"])
print("begins at", step, "of", size, flush=True)
while step < 30:
    batch = slice(step * 32 % 1600, step * 32 % 1600 + 32)
    mine = slice(batch.start + rank * 32 // size, batch.start + (rank + 1) * 32 // size)
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(wrapped(rows[mine]), labels[mine]).backward()
    optimizer.step()
    step += 1
    if os.path.isdir("/opt/ml/checkpoints") and rank == 0:
        torch.save({"step": step, "model": model.state_dict()}, path + ".part")
        os.rename(path + ".part", path)
    if step == 15 and rank == int(os.environ.get("KILL", "-1")) and not os.path.exists(path + "d"):
        import signal, subprocess, time
        time.sleep(2)  # So that the checkpoint before the kill is in the store.
        # Its agent notices late: the other host has seen that it is gone, failed and ended by then.
        os.kill(os.getppid(), signal.SIGSTOP)
        late = ["sh", "-c", f"sleep 5; kill -CONT {os.getppid()}"]
        subprocess.Popen(late, start_new_session=True)
        os.kill(os.getpid(), 9)
dist.barrier()
if rank == 0:
    print("weights", f"{model.weight.double().pow(2).sum().item():.9f}", flush=True)
    torch.save(model.state_dict(), "/opt/ml/model/model.pt")
dist.destroy_process_group()
"""


@pytest.fixture(autouse=True)
def torch() -> None:
    if importlib.util.find_spec("torch") is None:
        skip("torch is not installed: make torch")


def _train(
    server: Server, name: str, hosts: int, keys: dict[str, str], **more: Any
) -> dict[str, Any]:
    request = training_request(name, server.put_source("ddp", {"train.py": TRAIN}), PYTORCH)
    request["HyperParameters"] |= keys
    request["ResourceConfig"]["InstanceCount"] = hosts
    server.client("sagemaker").create_training_job(**{**request, **more})
    return server.trained(name, 200)


def _weights(server: Server, name: str) -> float:
    (line,) = [line for line in server.log_of(name) if line.startswith("weights")]
    return float(line.split()[1])


def test_two_hosts_train_what_one_process_trains(server: Server) -> None:
    torchrun = {"sagemaker_torch_distributed_enabled": "true"}
    smddp = {"sagemaker_distributed_dataparallel_enabled": "true"}
    runs = (
        ("ddp-one", 1, torchrun, ""),
        ("ddp-two", 2, torchrun, ""),
        ("ddp-smddp", 2, smddp, "smddp"),
        ("ddp-smddp1", 2, smddp, "smddp1"),
    )
    for name, hosts, keys, way in runs:
        found = _train(server, name, hosts, keys, Environment={"WAY": way})
        assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
        assert server.log_of(name).count(f"begins at 0 of {hosts}") == hosts
    alone = _weights(server, "ddp-one")
    for name, _, _, _ in runs[1:]:
        assert _weights(server, name) == pytest.approx(alone, rel=1e-7), name


def test_a_killed_rank_restarts_the_job_from_its_checkpoint(server: Server) -> None:
    keys = {"sagemaker_torch_distributed_enabled": "true"}
    killed = _train(server, "ddp-killed", 2, keys, Environment={"KILL": "1"})
    assert killed["TrainingJobStatus"] == "Failed"
    assert "exit code: 137" in killed["FailureReason"]
    script = TRAIN.replace(
        "    if step == 15 and", "    if step == 15 and resumed == 0 and"
    ).replace('print("begins', 'resumed = step\nprint("begins')
    more = {
        "Environment": {"KILL": "1"},
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/ck/ddp-retried"},
        "RetryStrategy": {"MaximumRetryAttempts": 1},
    }
    request = training_request(
        "ddp-retried", server.put_source("ddp-retried", {"train.py": script}), PYTORCH
    )
    request["HyperParameters"] |= keys
    request["ResourceConfig"]["InstanceCount"] = 2
    server.client("sagemaker").create_training_job(**{**request, **more})
    found = server.trained("ddp-retried", 200)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    begins = {line.split()[2] for line in server.log_of("ddp-retried") if "begins at" in line}
    assert len(begins) == 2
    assert max(map(int, begins)) >= 10
    assert _weights(server, "ddp-retried") == pytest.approx(_weights(server, "ddp-two"), rel=1e-7)


def test_what_cannot_run_here_is_refused_by_name(server: Server) -> None:
    found = _train(server, "ddp-ps", 1, {"sagemaker_parameter_server_enabled": "true"})
    assert found["TrainingJobStatus"] == "Failed"
    assert "parameter servers" in found["FailureReason"]


PIPELINE = """\
import torch
import torch.nn.functional as F
import smdistributed.modelparallel.torch as smp
from sklearn.datasets import load_digits


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(64, 32)
        self.act = torch.nn.Tanh()
        self.second = torch.nn.Linear(32, 10)

    def forward(self, rows):
        return self.second(self.act(self.first(rows)))


smp.init()
rows, labels = load_digits(return_X_y=True)
rows, labels = torch.tensor(rows / 16, dtype=torch.float32), torch.tensor(labels)
torch.manual_seed(0)
model = smp.DistributedModel(Net())
optimizer = smp.DistributedOptimizer(torch.optim.Adam(model.parameters(), 0.01))


@smp.step
def train_step(model, data, target):
    output = model(data)
    loss = F.cross_entropy(output, target, reduction="mean")
    model.backward(loss)
    return output, loss


count = smp.dp_size()
for start in range(0, 1600, 64):
    share = 64 // count
    mine = slice(start + smp.dp_rank() * share, start + (smp.dp_rank() + 1) * share)
    optimizer.zero_grad()
    _, loss = train_step(model, rows[mine], labels[mine])
    optimizer.step()
state = model.state_dict()
held = sum(p.numel() for p in model.module.parameters())
if smp.dp_rank() == 0:
    print("stage", smp.pp_rank(), "of", smp.pp_size(), "holds", held, flush=True)
if smp.rank() == 0:
    print("loss", f"{loss.reduce_mean().item():.6f}", flush=True)
    print("weights", f"{sum(v.pow(2).sum().item() for v in state.values()):.6f}", flush=True)
    torch.save(state, "/opt/ml/model/model.pt")
smp.barrier()
"""


def test_pipelines_and_shards_train_what_one_process_trains(server: Server) -> None:
    source = server.put_source("smp", {"train.py": PIPELINE})
    runs = {
        "smp-one": (1, '{"partitions": 1, "microbatches": 1}', "1"),
        "smp-pipe": (2, '{"partitions": 2, "microbatches": 4}', "1"),
        "smp-both": (2, '{"pipeline_parallel_degree": 2, "microbatches": 2, "ddp": true}', "2"),
        "smp-shard": (2, '{"sharded_data_parallel_degree": 2}', "1"),
    }
    weights = {}
    for name, (hosts, parameters, processes) in runs.items():
        request = training_request(name, source, PYTORCH)
        request["HyperParameters"] |= {
            "mp_parameters": parameters,
            "sagemaker_mpi_enabled": "true",
            "sagemaker_mpi_num_of_processes_per_host": processes,
        }
        request["ResourceConfig"]["InstanceCount"] = hosts
        server.client("sagemaker").create_training_job(**request)
        found = server.trained(name, 200)
        assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
        weights[name] = _weights(server, name)
    for name, value in weights.items():
        assert value == pytest.approx(weights["smp-one"], rel=1e-4), name
    stages = [line for line in server.log_of("smp-pipe") if line.startswith("stage")]
    held = sorted(int(line.split()[-1]) for line in stages)
    assert held == [32 * 10 + 10, 64 * 32 + 32]
