"""A model whose layers are spread over the stages of a pipeline, or whose weights are sharded."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from .state import STATE, pp_rank, pp_size, rdp_size
from .tensor import local, split, spread, whole

DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.bool,
)
DIMENSIONS_MAX = 8


class DistributedModel(torch.nn.Module):
    """Wraps a model. Inside a function under `smp.step`, call it and `backward(loss)`.

    With one stage it is the model itself (sharded with FSDP2 when a degree is given). With several,
    it is split in the first step: an `nn.Sequential` between its children, any other module between
    the calls of its direct children, which must form a chain. Each rank keeps its stage's weights.
    """

    def __init__(self, module: torch.nn.Module, **_settings: Any) -> None:
        super().__init__()
        self.module = module
        self._stage: torch.nn.Module | None = None
        self._waiting: deque[tuple[torch.Tensor | None, torch.Tensor]] = deque()
        self._sent: list[Any] = []
        self._owners: dict[str, int] = {}
        self._shape: torch.Size | None = None
        if STATE.shards > 1:
            for child in module.children():
                if any(True for _ in child.parameters()):
                    fully_shard(child)
            fully_shard(module)
        if STATE.tensors > 1:
            split(module, STATE.tensors, dist.get_world_size())
        STATE.steps.append(self)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The output on the last stage; on the others zeros of its shape, replaced by `step`."""
        if pp_size() == 1:
            found: torch.Tensor = self.module(*inputs)
            return found
        if self._stage is None:
            self._split(inputs[0])
        assert self._stage is not None
        first, last = pp_rank() == 0, pp_rank() == pp_size() - 1
        entered = inputs[0] if first else self._receive(_before())
        if not first and entered.is_floating_point() and torch.is_grad_enabled():
            entered.requires_grad_()
        output: torch.Tensor = self._stage(entered)
        if last:
            self._shape = output.shape
            self._last = (None if first else entered, output)
            return output
        self._send(output, _after())
        if torch.is_grad_enabled():
            self._waiting.append((None if first else entered, output))
        return torch.zeros((len(output), *self._tail), dtype=output.dtype, requires_grad=False)

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of one microbatch's loss, weighted so that all give the batch's mean."""
        scaled = loss / STATE.microbatches
        if pp_size() == 1:
            scaled.backward()
        elif pp_rank() == pp_size() - 1:
            scaled.backward()
            entered = self._last[0]
            if entered is not None:
                assert entered.grad is not None
                self._send(entered.grad, _before())

    def finish(self) -> None:
        """The end of a step: the microbatches go back, and replicas take the mean."""
        while self._waiting:
            entered, output = self._waiting.popleft()
            output.backward(self._receive(_after()))
            if entered is not None:
                assert entered.grad is not None
                self._send(entered.grad, _before())
        for work in self._sent:
            work.wait()
        self._sent.clear()
        if rdp_size() > 1 and STATE.shards == 1:
            for parameter in self.parameters():
                if parameter.grad is not None:
                    mine = local(parameter.grad)
                    dist.all_reduce(mine, group=STATE.replicas)
                    mine /= rdp_size()

    # Splitting

    def _split(self, example: torch.Tensor) -> None:
        """Cut the chain of the module's children into stages of about the same weights."""
        chain = _chain(self.module, example)
        weights = [sum(p.numel() for p in module.parameters()) for _, module in chain]
        cuts = _cuts(weights, pp_size())
        with torch.no_grad():
            self._tail = self.module(example[:1]).shape[1:]
        for stage in range(pp_size()):
            for name, module in chain[cuts[stage] : cuts[stage + 1]]:
                for parameter_name, _ in module.named_parameters():
                    self._owners[f"{name}.{parameter_name}"] = stage
        mine = chain[cuts[pp_rank()] : cuts[pp_rank() + 1]]
        self._shapes = {
            name: (parameter.shape, parameter.dtype)
            for name, parameter in self.module.named_parameters()
        }
        for name, parameter in self.module.named_parameters():
            if self._owners[name] != pp_rank():
                # Freed, but still the object that an optimizer may know.
                parameter.data = torch.empty(0, dtype=parameter.dtype)
                parameter.grad = None
        self._stage = torch.nn.Sequential(*(module for _, module in mine))

    # Talking to the neighbours

    def _send(self, tensor: torch.Tensor, to: int) -> None:
        content = tensor.detach().contiguous()
        head = torch.zeros(DIMENSIONS_MAX + 2, dtype=torch.int64)
        head[0], head[1] = content.dim(), DTYPES.index(content.dtype)
        head[2 : 2 + content.dim()] = torch.tensor(content.shape)
        self._sent += [dist.isend(head, to), dist.isend(content, to)]

    def _receive(self, source: int) -> torch.Tensor:
        head = torch.zeros(DIMENSIONS_MAX + 2, dtype=torch.int64)
        dist.recv(head, source)
        shape = [int(length) for length in head[2 : 2 + int(head[0])]]
        content = torch.empty(shape, dtype=DTYPES[int(head[1])])
        dist.recv(content, source)
        return content

    # Weights

    def local_parameters(self) -> Iterator[torch.nn.Parameter]:
        """Those of this rank's stage."""
        return iter((self._stage or self.module).parameters())

    def local_state_dict(self) -> dict[str, torch.Tensor]:
        """Weights of this rank's stage, under the whole model's names."""
        found = self.module.state_dict()
        return {
            name: value
            for name, value in found.items()
            if self._owners.get(name, pp_rank()) == pp_rank()
        }

    def state_dict(self, *_arguments: Any, **_settings: Any) -> dict[str, Any]:  # type: ignore[override]
        """Weights of the whole model, gathered on every rank."""
        found = self.module.state_dict()
        if STATE.shards > 1 or STATE.tensors > 1:
            return whole(found)
        if self._stage is None or pp_size() == 1:
            return dict(found)
        start = dist.get_rank() - pp_rank()
        gathered: dict[str, Any] = {}
        for name, value in found.items():
            owner = self._owners.get(name)
            if owner is None:
                gathered[name] = value
                continue
            shape, dtype = self._shapes[name]
            content = value.clone() if owner == pp_rank() else torch.empty(shape, dtype=dtype)
            dist.broadcast(content, start + owner, group=STATE.pipeline)
            gathered[name] = content
        return gathered

    def load_state_dict(self, state: Any, *arguments: Any, **settings: Any) -> Any:
        """Before the first step: weights of the whole model."""
        return self.module.load_state_dict(spread(state, self.module), *arguments, **settings)


class DistributedOptimizer:
    """An optimizer over a distributed model: PyTorch's own, whose other stages' weights are empty.

    Raises:
        AttributeError: what the optimizer does not have either.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, **_settings: Any) -> None:
        self._optimizer = optimizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)

    def local_state_dict(self) -> dict[str, Any]:
        """Of this rank."""
        return dict(self._optimizer.state_dict())


def _before() -> int:
    return dist.get_rank() - 1


def _after() -> int:
    return dist.get_rank() + 1


def _chain(module: torch.nn.Module, example: torch.Tensor) -> list[tuple[str, torch.nn.Module]]:
    """The direct children in the order in which they are called, each on the output of the last.

    Raises:
        ValueError: the children do not form a chain, so that the model cannot be cut.
    """
    if isinstance(module, torch.nn.Sequential):
        return list(module.named_children())
    calls: list[tuple[str, torch.nn.Module, Any, Any]] = []
    hooks = [
        child.register_forward_hook(
            lambda of, given, output, name=name: calls.append((name, of, given[0], output))
        )
        for name, child in module.named_children()
    ]
    with torch.no_grad():
        result = module(example[:1])
    for hook in hooks:
        hook.remove()
    names = [name for name, _, _, _ in calls]
    previous: Any = example[:1]
    for name, _, given, output in calls:
        same = given is previous or (given.shape == previous.shape and torch.equal(given, previous))
        if not same or names.count(name) > 1:
            raise ValueError(
                f"The model cannot be split into stages: {name!r} is not called once on the output "
                "of the layer before. Make it an nn.Sequential of its stages."
            )
        previous = output
    if not (result.shape == previous.shape and torch.equal(result, previous)):
        raise ValueError(
            "The model cannot be split into stages: something follows its last layer in forward(). "
            "Make it an nn.Sequential of its stages."
        )
    return [(name, child) for name, child, _, _ in calls]


def _cuts(weights: list[int], stages: int) -> list[int]:
    """Where to cut a chain so that the heaviest stage is as light as possible.

    Raises:
        ValueError: fewer layers than stages.
    """
    count = len(weights)
    if count < stages:
        raise ValueError(f"The model has {count} layers for {stages} stages; use fewer stages.")
    best: list[list[tuple[int, list[int]]]] = [[(0, [0])] * (count + 1)]
    for stage in range(1, stages + 1):
        row: list[tuple[int, list[int]]] = [(2**62, [])] * (count + 1)
        for end in range(stage, count + 1):
            for start in range(stage - 1, end):
                if stage == 1 and start > 0:
                    break
                before, cuts = best[stage - 1][start]
                heaviest = max(before, sum(weights[start:end]))
                if heaviest < row[end][0]:
                    row[end] = (heaviest, [*cuts, end])
        best.append(row)
    return best[stages][count][1]
