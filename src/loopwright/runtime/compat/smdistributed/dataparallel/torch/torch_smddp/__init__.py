"""`import smdistributed.dataparallel.torch.torch_smddp`: registers the backend `smddp`.

A script then calls `torch.distributed.init_process_group(backend="smddp")`. Here that is NCCL where
there are GPUs, gloo else.
"""

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as _dist


def _make(store: Any, rank: int, size: int, timeout: timedelta) -> Any:
    if torch.cuda.is_available():
        options = _dist.ProcessGroupNCCL.Options()
        options._timeout = timeout
        return _dist.ProcessGroupNCCL(store, rank, size, options)
    return _dist.ProcessGroupGloo(store, rank, size, timeout)


if "smddp" not in _dist.Backend.backend_list:
    _dist.Backend.register_backend("smddp", _make, devices=["cpu", "cuda"])
