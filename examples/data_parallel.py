"""Data parallel training of a digit classifier with PyTorch's DDP.

Run it with the SDK on two hosts:

    PyTorch(entry_point="data_parallel.py", instance_count=2, instance_type="ml.m5.large",
            framework_version="2.0", py_version="py310", role=role,
            distribution={"torch_distributed": {"enabled": True}}).fit()
"""

import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.nn.parallel import DistributedDataParallel

from loopwright.runtime.checkpoints import Checkpoints

EPOCHS = 20
BATCH = 64


def main() -> None:
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    device = (
        torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )
    rows, labels = load_digits(return_X_y=True)
    rows = torch.tensor(rows / 16, dtype=torch.float32, device=device)
    labels = torch.tensor(labels, device=device)
    torch.manual_seed(0)
    layers = torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    model = torch.nn.Sequential(*layers).to(device)
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    checkpoints = Checkpoints(every_steps=5)
    epoch = checkpoints.resume(model=model, optimizer=optimizer)
    while epoch < EPOCHS:
        order = torch.randperm(1400, generator=torch.Generator().manual_seed(epoch))
        for start in range(0, 1400 - BATCH, BATCH):
            mine = order[start : start + BATCH][rank::size]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(wrapped(rows[mine]), labels[mine])
            loss.backward()
            optimizer.step()
        epoch += 1
        with torch.no_grad():
            right = (model(rows[1400:]).argmax(1) == labels[1400:]).float().mean().item()
        if rank == 0:
            print(f"epoch {epoch}: val_acc: {right:.4f}", flush=True)
        checkpoints.save(epoch, {"val_acc": right}, model=model, optimizer=optimizer)
    if rank == 0:
        torch.save(model.state_dict(), os.path.join(os.environ["SM_MODEL_DIR"], "model.pt"))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
