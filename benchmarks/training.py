"""What training costs: two ranks against one, checkpoints, an interruption; ratios in one run.

- Two hosts against one: seconds of the same number of steps at the same batch over all ranks.
- Checkpoints: seconds of a job that writes one a step, with and without CheckpointConfig.
- Interruption: from the request to the first step of the next attempt, in steps' own time.
"""

import statistics
import time

from common import folder, loopwright, remark, table

from tests.server import BUCKET, PYTORCH, SKLEARN, Server, await_that, training_request

RANKS = """\
import time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group("gloo")
size = dist.get_world_size()
torch.set_num_threads(1)
torch.manual_seed(0)
layers = torch.nn.Linear(512, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 512)
model = DistributedDataParallel(torch.nn.Sequential(*layers))
optimizer = torch.optim.SGD(model.parameters(), 0.01)
rows = torch.randn(1024 // size, 512)
def step():
    optimizer.zero_grad()
    model(rows).pow(2).mean().backward()
    optimizer.step()
for _ in range(3):
    step()
dist.barrier()
started = time.perf_counter()
for _ in range(30):
    step()
dist.barrier()
if dist.get_rank() == 0:
    print("seconds", time.perf_counter() - started, flush=True)
dist.destroy_process_group()
"""
WRITING = """\
import os, time
started = time.perf_counter()
folder = "/opt/ml/checkpoints"
os.makedirs(folder, exist_ok=True)
body = os.urandom(4 << 20)
first = 0
if os.path.exists(f"{folder}/step"):
    first = int(open(f"{folder}/step").read())
print("begins", first, time.time(), flush=True)
for number in range(first + 1, 61):
    end = time.perf_counter() + 0.1
    while time.perf_counter() < end:
        sum(range(1000))
    for name, content in (("state", body), ("step", str(number).encode())):
        with open(f"{folder}/{name}.part", "wb") as stream:
            stream.write(content)
        os.rename(f"{folder}/{name}.part", f"{folder}/{name}")
print("seconds", time.perf_counter() - started, flush=True)
"""
ROUNDS = 3


def main() -> None:
    with folder(), loopwright() as server:
        one, two, plain, kept = [], [], [], []
        for number in range(ROUNDS):
            one.append(ranks(server, f"one-{number}", 1))
            two.append(ranks(server, f"two-{number}", 2))
            plain.append(writing(server, f"plain-{number}", False))
            kept.append(writing(server, f"kept-{number}", True))
        resumed_s = interruption(server)
    speed = statistics.median(a / b for a, b in zip(one, two, strict=True))
    share = statistics.median(b / a - 1 for a, b in zip(plain, kept, strict=True))
    rows = (
        ("two ranks to one, same batch over all (2 is perfect)", f"{speed:.2f}x"),
        ("checkpoints of 4 MiB each 0.1 s, of the training's time", f"{share:.1%}"),
        (
            "interruption to the next attempt's first line, in steps",
            f"{resumed_s / 0.1:.0f}",
        ),
    )
    table("Training", ("what", "ratio"), rows)
    remark()


def ranks(server: Server, name: str, hosts: int) -> float:
    """Seconds of thirty steps over so many hosts."""
    request = training_request(name, server.put_source("ranks", {"train.py": RANKS}), PYTORCH)
    request["HyperParameters"]["sagemaker_torch_distributed_enabled"] = "true"
    request["ResourceConfig"]["InstanceCount"] = hosts
    server.client("sagemaker").create_training_job(**request)
    return _seconds(server, name)


def writing(server: Server, name: str, kept: bool) -> float:
    """Seconds of sixty steps that write a checkpoint each."""
    _start(server, name, kept, False)
    return _seconds(server, name)


def interruption(server: Server) -> float:
    """Seconds from the request of an interruption to the next attempt's first line."""
    _start(server, "spot", True, True)
    s3 = server.client("s3")
    await_that(
        lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix="ck/spot/step")["KeyCount"] or None,
        "a checkpoint",
    )
    asked = time.time()
    server.client("loopwright").interrupt_training_job(TrainingJobName="spot")

    def again() -> float | None:
        begins = [line for line in server.log_of("spot") if line.startswith("begins")]
        return float(begins[1].split()[2]) if len(begins) > 1 else None

    return await_that(again, "the next attempt") - asked


def _start(server: Server, name: str, kept: bool, spot: bool) -> None:
    request = training_request(name, server.put_source("writing", {"train.py": WRITING}), SKLEARN)
    if kept:
        request["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/ck/{name}"}
    if spot:
        request["EnableManagedSpotTraining"] = True
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = 600
    server.client("sagemaker").create_training_job(**request)


def _seconds(server: Server, name: str) -> float:
    found = server.trained(name, 200)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    (line,) = [line for line in server.log_of(name) if line.startswith("seconds")]
    return float(line.split()[1])


if __name__ == "__main__":
    main()
