"""`import smdistributed.dataparallel.torch.distributed as dist` (version 1 of the library).

https://docs.aws.amazon.com/sagemaker/latest/dg/data-parallel-modify-sdp-pt.html
"""

import os
from typing import Any

import torch
import torch.distributed as _dist
from torch.distributed import (
    ReduceOp,
    all_gather,
    all_reduce,
    barrier,
    broadcast,
    get_rank,
    get_world_size,
    is_available,
    is_initialized,
    new_group,
    reduce,
)

__all__ = [
    "ReduceOp",
    "all_gather",
    "all_reduce",
    "barrier",
    "broadcast",
    "get_local_rank",
    "get_rank",
    "get_world_size",
    "init_process_group",
    "is_available",
    "is_initialized",
    "new_group",
    "reduce",
]


def init_process_group(*_arguments: Any, **_settings: Any) -> None:
    """Join the job's ranks: NCCL where there are GPUs, gloo else."""
    if not _dist.is_initialized():
        _dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def get_local_rank() -> int:
    """The rank among the processes of this host, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))
