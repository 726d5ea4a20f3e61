"""A model that does not fit one host, trained with its weights sharded over several (FSDP2).

The layers together have 300 million weights: with gradients and Adam's two moments 4.8 GB, more
than the 4 GiB of an ml.t3.medium. On one host the job ends with OutOfMemory; on two each holds
half:

    PyTorch(entry_point="model_parallel.py", instance_count=2, instance_type="ml.t3.medium",
            framework_version="2.0", py_version="py310", role=role,
            distribution={"torch_distributed": {"enabled": True}}).fit()
"""

import os

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

WIDTH = int(os.environ.get("WIDTH", "5000"))
LAYERS = int(os.environ.get("LAYERS", "12"))
STEPS = 2


def main() -> None:
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    size = dist.get_world_size() if dist.is_initialized() else 1
    torch.manual_seed(0)
    # Without storage first: every host makes only the weights that it keeps.
    with torch.device("meta"):
        layers = [torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)]
        model = torch.nn.Sequential(*layers)
    if size > 1:
        for layer in model:
            fully_shard(layer)
        fully_shard(model)
    model.to_empty(device="cuda" if torch.cuda.is_available() else "cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, WIDTH**-0.5)
    optimizer = torch.optim.Adam(model.parameters(), 1e-6)
    rows = torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(1))
    for step in range(1, STEPS + 1):
        loss = model(rows).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print(f"step {step}: loss: {loss.item():.5f}", flush=True)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
