"""Who a rank is: its place in the pipeline and among the replicas of the data.

Consecutive ranks make up one pipeline: rank = replica * stages + stage; or, without a pipeline, one
group of tensor parallelism: rank = replica * tensors + place.
"""

import json
import os
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist

STAGES = ("pipeline_parallel_degree", "partitions")
SHARDS = "sharded_data_parallel_degree"
TENSORS = "tensor_parallel_degree"


@dataclass
class State:
    """What `init` found. Degrees from the job's `mp_parameters`, overridden by `init(config)`."""

    stages: int = 1
    microbatches: int = 1
    shards: int = 1
    tensors: int = 1
    ready: bool = False
    replicas: Any = None
    pipeline: Any = None
    steps: list[Any] = field(default_factory=list)


STATE = State()


def init(config: dict[str, Any] | None = None) -> None:
    """Join the job's ranks and lay out the pipelines.

    Raises:
        ValueError: the ranks cannot be divided as asked.
    """
    given = {**_parameters(), **(config or {})}
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    STATE.stages = int(next((given[name] for name in STAGES if name in given), 1))
    STATE.microbatches = int(given.get("microbatches", 1))
    STATE.shards = int(given.get(SHARDS, 1))
    world = dist.get_world_size()
    if world % STATE.stages:
        raise ValueError(
            f"{world} ranks cannot make up pipelines of {STATE.stages} stages; give a number of "
            "processes that is a multiple of the stages."
        )
    if STATE.shards > 1 and (STATE.stages > 1 or STATE.shards != world):
        raise ValueError(
            f"sharded_data_parallel_degree is {STATE.shards}; here it must be all {world} ranks, "
            "without a pipeline."
        )
    STATE.tensors = int(given.get(TENSORS, 1))
    _check_tensors(given, world)
    _make_groups(world)
    STATE.ready = True


def _check_tensors(given: dict[str, Any], world: int) -> None:
    """Refuse a degree of tensor parallelism that the ranks and the other degrees do not allow.

    Raises:
        ValueError: naming the way out.
    """
    if STATE.tensors == 1:
        return
    told = f"{TENSORS} is {STATE.tensors}"
    if STATE.stages > 1 or STATE.shards > 1:
        raise ValueError(
            f"{told}; here it goes neither with a pipeline nor with {SHARDS}: give one of them."
        )
    if world % STATE.tensors:
        raise ValueError(f"{told}, which does not divide the {world} ranks; give a divisor.")
    if str(given.get("prescaled_batch", "")).lower() != "true":
        raise ValueError(
            f"{told} without prescaled_batch; here all ranks of a group must be given the same "
            "rows: set prescaled_batch to true, and divide the data by smp.rdp_rank()."
        )


def _make_groups(world: int) -> None:
    """The groups of a pipeline's stages, and of the ranks that hold the same weights."""
    width = STATE.stages * STATE.tensors
    count = world // width
    # Every rank makes every group, in the same order: that is how torch.distributed wants it.
    for replica in range(count):
        ranks = [replica * width + place for place in range(width)]
        group = dist.new_group(ranks)
        if dist.get_rank() in ranks:
            STATE.pipeline = group
    for place in range(width):
        ranks = [replica * width + place for replica in range(count)]
        group = dist.new_group(ranks)
        if dist.get_rank() in ranks:
            STATE.replicas = group


def _parameters() -> dict[str, Any]:
    """`mp_parameters` of the job: JSON, or `name=value,…` as the toolkit passes it."""
    text = os.environ.get("SM_HP_MP_PARAMETERS", "")
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    return dict(found)


def is_initialized() -> bool:
    """Whether `init` was called."""
    return STATE.ready


def is_tracing() -> bool:
    """Whether the model is being traced: never here, the split is made from the first batch."""
    return False


def rank() -> int:
    """Among all processes."""
    return dist.get_rank()


def size() -> int:
    """Number of processes."""
    return dist.get_world_size()


def local_rank() -> int:
    """Among the processes of this host."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_size() -> int:
    """Processes of this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def pp_rank() -> int:
    """The stage of the pipeline that this rank is."""
    return dist.get_rank() % STATE.stages


def pp_size() -> int:
    """Stages of the pipeline."""
    return STATE.stages


def dp_rank() -> int:
    """The replica of the data that this rank works on."""
    return dist.get_rank() // STATE.stages


def dp_size() -> int:
    """Replicas of the data."""
    return dist.get_world_size() // STATE.stages


def tp_rank() -> int:
    """The place in the group that shares the weights of its layers."""
    return dist.get_rank() % STATE.tensors


def tp_size() -> int:
    """Ranks that share the weights of a layer."""
    return STATE.tensors


def mp_rank() -> int:
    """Among the ranks that hold one model together."""
    return dist.get_rank() % mp_size()


def mp_size() -> int:
    """Ranks that hold one model together."""
    return STATE.stages * STATE.tensors


def rdp_rank() -> int:
    """Among the ranks that hold the same weights, and so get other rows."""
    return dist.get_rank() // mp_size()


def rdp_size() -> int:
    """Ranks that hold the same weights."""
    return dist.get_world_size() // mp_size()


def num_microbatches() -> int:
    """Into how many parts `step` divides a batch."""
    return STATE.microbatches


def barrier(group: Any = None) -> None:
    """Wait for all processes."""
    dist.barrier(group)
