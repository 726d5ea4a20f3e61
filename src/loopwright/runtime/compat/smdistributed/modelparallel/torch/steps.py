"""`smp.step`: a training step over microbatches."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist

from .state import STATE, pp_rank, pp_size


class StepOutput:
    """One returned value of a step, by microbatch.

    Attributes:
        outputs: In the order of the microbatches.
    """

    def __init__(self, outputs: Sequence[Any]) -> None:
        self.outputs = list(outputs)

    def __getitem__(self, index: int) -> Any:
        return self.outputs[index]

    def __len__(self) -> int:
        return len(self.outputs)

    def reduce_mean(self) -> torch.Tensor:
        """The mean over the microbatches."""
        return torch.stack([output.detach() for output in self.outputs]).mean(0)

    def reduce_sum(self) -> torch.Tensor:
        """The sum over the microbatches."""
        return torch.stack([output.detach() for output in self.outputs]).sum(0)

    def concat(self) -> torch.Tensor:
        """All microbatches as one batch."""
        return torch.cat([output.detach() for output in self.outputs])

    def stack(self) -> torch.Tensor:
        """The microbatches along a new first dimension."""
        return torch.stack([output.detach() for output in self.outputs])


def step(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function once a microbatch; its tensors are divided along their first dimension.

    Raises:
        ValueError: a batch that cannot be divided by the number of microbatches.
    """

    @functools.wraps(function)
    def run(*arguments: Any, **settings: Any) -> Any:
        found = []
        for index in range(STATE.microbatches):
            parts = [_part(argument, index) for argument in arguments]
            named = {name: _part(argument, index) for name, argument in settings.items()}
            found.append(function(*parts, **named))
        for model in STATE.steps:
            model.finish()
        rows = [row if isinstance(row, tuple) else (row,) for row in found]
        shown = [
            StepOutput([_shared(value) for value in column]) for column in zip(*rows, strict=True)
        ]
        return tuple(shown) if isinstance(found[0], tuple) else shown[0]

    return run


def _part(argument: Any, index: int) -> Any:
    if not isinstance(argument, torch.Tensor) or argument.dim() == 0:
        return argument
    count = STATE.microbatches
    if len(argument) % count:
        raise ValueError(
            f"A batch of {len(argument)} cannot be divided into {count} microbatches; use a batch "
            "size that is a multiple, and drop_last=True."
        )
    return argument.chunk(count)[index]


def _shared(value: Any) -> Any:
    """A returned tensor as the last stage has it, on every stage of the pipeline."""
    if pp_size() == 1 or not isinstance(value, torch.Tensor):
        return value
    content = value.detach().clone()
    last = dist.get_rank() - pp_rank() + pp_size() - 1
    dist.broadcast(content, last, group=STATE.pipeline)
    return content


def save(content: Any, path: str, partial: bool = True, **_settings: Any) -> None:
    """Save on this rank: with `partial` every stage its own file, else the first rank one."""
    if partial and pp_size() > 1:
        torch.save(content, f"{path}_{pp_rank()}")
    elif dist.get_rank() == 0:
        torch.save(content, path)


def load(path: str, partial: bool = True, **_settings: Any) -> Any:
    """What `save` wrote."""
    name = f"{path}_{pp_rank()}" if partial and pp_size() > 1 else path
    return torch.load(name, weights_only=False)
