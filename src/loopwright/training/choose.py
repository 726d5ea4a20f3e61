"""Which way of distribution a training job needs, from dry runs that were measured.

The path is the course's: does it fit one node? If not, make it fit by its hyperparameters,
optimizer, batch or input size; if it fits but takes too long, data parallelism; else model
parallelism.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.contract.instances import GIB, size_of

BATCH_NAMES: Final = (
    "batch-size", "batch_size", "mini_batch_size", "mini-batch-size",
    "per_device_train_batch_size", "train_batch_size",
)  # fmt: skip
ROOM: Final = 0.8
"""Share of the memory that a job should fill at most: the rest is for peaks."""
BUSY: Final = 70.0
"""Mean CPU in percent of a host's CPUs from which more hosts can help."""


@dataclass(frozen=True)
class DryRun:
    """One measured run.

    Attributes:
        batch: Its batch size, if the job has a hyperparameter for it.
        memory_bytes: The most that it used; None when it ran out of memory before it was seen.
        out_of_memory: Whether it died of it.
        cpu_percent: Mean, 100 for one whole CPU; None when it was too short to be seen.
        seconds: How long it ran. `completed`: whether it came to its end.
    """

    batch: int | None
    memory_bytes: float | None
    out_of_memory: bool
    cpu_percent: float | None
    seconds: float
    completed: bool


def batch_of(parameters: Mapping[str, str]) -> tuple[str, int] | None:
    """The hyperparameter of the batch size, and its value."""
    for name in BATCH_NAMES:
        text = parameters.get(name, "").strip('"')
        if text.isdigit() and int(text) > 0:
            return name, int(text)
    return None


def choose(
    instance_type: str, memory_bytes: float, cpus: float, runs: Sequence[DryRun], hosts_max: int
) -> Iterator[str]:
    """The advice, one sentence a step of the path, each with its figures.

    Args:
        memory_bytes, cpus: Of one host of this instance type on this machine.
        runs: The first as requested; those after it with smaller batches.
        hosts_max: How many hosts fit the machine at once.
    """
    first = runs[0]
    fits = [run for run in runs if not run.out_of_memory]
    limit = memory_bytes / GIB
    if not first.out_of_memory:
        used = (first.memory_bytes or 0.0) / GIB
        yield (
            f"1. Fits one node: yes. The dry run used {used:.2f} of {limit:.2f} GiB of an "
            f"{instance_type} ({used / limit:.0%})."
        )
        yield from _of_time(first, cpus, hosts_max)
        return
    yield (
        f"1. Fits one node: no. The dry run ran out of the {limit:.2f} GiB of an {instance_type} "
        f"after {first.seconds:.0f} s."
    )
    if fits:
        best = max(fits, key=lambda run: run.batch or 0)
        used = (best.memory_bytes or 0.0) / GIB
        yield (
            f"2. Resize: with a batch of {best.batch} instead of {first.batch} it used {used:.2f} "
            f"GiB and fits. Take that batch, or add up gradients over {_ratio(first, best)} of "
            "them."
        )
        yield from _of_time(best, cpus, hosts_max)
        return
    smallest = min((run.batch for run in runs if run.batch), default=None)
    tried = f" A batch of {smallest} does not fit either." if smallest is not None else ""
    yield (
        f"2. Resize:{tried} The weights, their gradients and the optimizer's state fill the "
        "memory. Adam keeps two more numbers a weight: SGD needs half of Adam's memory. Shorter "
        f"or smaller inputs help where activations fill it. {_larger(instance_type)}"
    )
    yield (
        f"3. Data parallelism does not help: every host would hold the whole model. Model "
        f"parallelism: with sharded weights over 2 hosts each holds half; begin with "
        f"instance_count={min(2, hosts_max)} and smdistributed modelparallel with "
        "sharded_data_parallel_degree 2, or FSDP by torch_distributed, and double the hosts until "
        "it fits."
    )


def _ratio(first: DryRun, best: DryRun) -> int:
    return math.ceil((first.batch or 1) / (best.batch or 1))


def _of_time(run: DryRun, cpus: float, hosts_max: int) -> Iterator[str]:
    if run.completed:
        yield (
            f"2. It came to its end in {run.seconds:.0f} s: one node is enough, distribution would "
            "only add its own cost."
        )
        return
    busy = (run.cpu_percent or 0.0) / cpus
    if busy < BUSY:
        yield (
            f"2. It did not end within {run.seconds:.0f} s, but used {busy:.0f}% of its {cpus:g} "
            "CPUs in the mean: it waits for something else. Make the input quicker before adding "
            "hosts."
        )
        return
    if hosts_max < 2:
        yield (
            f"2. It did not end within {run.seconds:.0f} s and used {busy:.0f}% of its {cpus:g} "
            "CPUs: data parallelism would help, but this machine has room for one such host. Take "
            "a smaller instance type, or a larger machine."
        )
        return
    yield (
        f"2. It did not end within {run.seconds:.0f} s and used {busy:.0f}% of its {cpus:g} CPUs: "
        f"data parallelism. Up to {hosts_max} hosts of this type fit this machine at once; begin "
        "with instance_count=2 and {'torch_distributed': {'enabled': True}}, and divide the batch."
    )


def _larger(instance_type: str) -> str:
    size = size_of(instance_type)
    return (
        f"A larger instance type has more memory than this one's {size.memory_bytes / GIB:.0f} "
        "GiB, up to what this machine has."
    )


def dry_request(request: Mapping[str, Any], name: str, seconds: int, batch: int | None) -> Any:
    """The request of a dry run: one host, a short time, no distribution, perhaps another batch."""
    found = {
        key: value
        for key, value in request.items()
        if key not in ("EnableManagedSpotTraining", "CheckpointConfig", "RetryStrategy", "Tags")
    }
    parameters = {
        key: value
        for key, value in request.get("HyperParameters", {}).items()
        if not key.startswith(("sagemaker_mpi", "sagemaker_torch", "sagemaker_distributed"))
        and key != "mp_parameters"
    }
    known = batch_of(parameters)
    if batch is not None and known is not None:
        parameters[known[0]] = str(batch)
    resources = {**request["ResourceConfig"], "InstanceCount": 1}
    return {
        **found,
        "TrainingJobName": name,
        "HyperParameters": parameters,
        "ResourceConfig": resources,
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
    }
