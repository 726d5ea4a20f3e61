"""`from smdistributed.dataparallel.torch.parallel.distributed import DistributedDataParallel`."""

from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel as _Torch

from ..distributed import get_local_rank, init_process_group


class DistributedDataParallel(_Torch):
    """PyTorch's own, on this process's device.

    Args:
        module: The model, on its device already.
        broadcast_buffers, others: As of PyTorch's class.
    """

    def __init__(self, module: torch.nn.Module, **settings: Any) -> None:
        init_process_group()
        if torch.cuda.is_available():
            settings.setdefault("device_ids", [get_local_rank()])
        super().__init__(module, **settings)
