"""`import smdistributed.modelparallel.torch as smp`: the documented calls of version 1.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-parallel-customize-training-script-pt.html

Pipelines are run by GPipe's schedule (Huang et al. 2019): all microbatches go forward, then back.
`sharded_data_parallel_degree` is PyTorch's FSDP2 over all ranks. Tensor parallelism is refused.
"""

from .model import DistributedModel, DistributedOptimizer
from .state import (
    barrier,
    dp_rank,
    dp_size,
    init,
    is_initialized,
    is_tracing,
    local_rank,
    local_size,
    mp_rank,
    mp_size,
    num_microbatches,
    pp_rank,
    pp_size,
    rank,
    rdp_rank,
    rdp_size,
    size,
    tp_rank,
    tp_size,
)
from .steps import StepOutput, load, save, step
from .tensor import set_tensor_parallelism, tensor_parallelism

__all__ = [
    "DistributedModel",
    "DistributedOptimizer",
    "StepOutput",
    "barrier",
    "dp_rank",
    "dp_size",
    "init",
    "is_initialized",
    "is_tracing",
    "load",
    "local_rank",
    "local_size",
    "mp_rank",
    "mp_size",
    "num_microbatches",
    "pp_rank",
    "pp_size",
    "rank",
    "rdp_rank",
    "rdp_size",
    "save",
    "set_tensor_parallelism",
    "size",
    "step",
    "tensor_parallelism",
    "tp_rank",
    "tp_size",
]
