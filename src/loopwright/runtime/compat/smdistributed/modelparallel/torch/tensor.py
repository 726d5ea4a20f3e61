"""Tensor parallelism: linear and embedding layers whose weights are spread over ranks (DTensor).

Every rank of a group gets the same rows; each computes its columns of a layer's output, which are
put together after the layer. So any model may be split, layer by layer.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

KINDS = (torch.nn.Linear, torch.nn.Embedding)
MARK = "_loopwright_tensor_parallel"


def set_tensor_parallelism(module: torch.nn.Module, enabled: bool = True, **_settings: Any) -> None:
    """Have the layers of a module split, or not; without any such word all are that can be."""
    for part in module.modules():
        setattr(part, MARK, enabled)


@contextmanager
def tensor_parallelism(enabled: bool = True, **_settings: Any) -> Iterator[None]:
    """Have the layers that are made within the block split, or not."""
    plain = torch.nn.Module.__init__

    def marked(self: torch.nn.Module, *arguments: Any, **settings: Any) -> None:
        plain(self, *arguments, **settings)
        object.__setattr__(self, MARK, enabled)

    torch.nn.Module.__init__ = marked  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.nn.Module.__init__ = plain  # type: ignore[method-assign]


def split(module: torch.nn.Module, degree: int, world: int) -> None:
    """Spread the weights of a model's layers over groups of `degree` consecutive ranks.

    Raises:
        ValueError: a layer cannot be divided so, or there is none.
    """
    parts = dict(module.named_modules())
    told = any(getattr(part, MARK, False) for part in parts.values())
    chosen = {
        name: part
        for name, part in parts.items()
        if isinstance(part, KINDS) and getattr(part, MARK, not told)
    }
    if not chosen:
        raise ValueError(
            f"tensor_parallel_degree is {degree}, but the model has no nn.Linear or nn.Embedding "
            "to split; other layers cannot be split here."
        )
    for name, part in chosen.items():
        width = part.out_features if isinstance(part, torch.nn.Linear) else part.embedding_dim
        if width % degree:
            raise ValueError(
                f"tensor_parallel_degree is {degree}, but the layer {name or 'itself'!r} "
                f"({type(part).__name__}) has a width of {width}, which it does not divide; give "
                "a width that is a multiple, or smp.set_tensor_parallelism(layer, False)."
            )
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    mesh = init_device_mesh(kind, (world // degree, degree), mesh_dim_names=("rdp", "tp"))
    for part in chosen.values():
        parallelize_module(part, mesh["tp"], ColwiseParallel(output_layouts=Replicate()))


def whole(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state with the weights of all ranks put together."""
    return {n: v.full_tensor() if isinstance(v, DTensor) else v for n, v in state.items()}


def spread(state: Mapping[str, Any], module: torch.nn.Module) -> dict[str, Any]:
    """A whole model's state, as a split model takes it."""
    held = module.state_dict()
    return {
        name: distribute_tensor(value, held[name].device_mesh, held[name].placements)
        if isinstance(held.get(name), DTensor) and not isinstance(value, DTensor)
        else value
        for name, value in state.items()
    }


def local(gradient: torch.Tensor) -> torch.Tensor:
    """This rank's part of a gradient."""
    return gradient.to_local() if isinstance(gradient, DTensor) else gradient
