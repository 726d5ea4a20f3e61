"""The suggestion contract: what a tuning strategy sees, and what it answers.

A strategy is a module with one function, `suggest(space, history, rng) -> Proposal | None`. It is
rebuilt from the stored trials for every suggestion and remembers nothing, so the same history and
the same seed give the same suggestion, and a crash costs nothing (Vizier, KDD 2017). The module
lives here because a user's own strategy runs inside a unit, which knows this floor only.

Objective values are always *lower is better*: the planner turns the sign of what is maximised.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

Value = float | int | str
Point = Mapping[str, Value]
Scaling = Literal["Linear", "Logarithmic", "ReverseLogarithmic"]
ETA: Final = 3
"""Reduction factor of successive halving: a third of the trials of a rung goes on."""


@dataclass(frozen=True, slots=True)
class Continuous:
    """A real number from `low` to `high`, both included."""

    name: str
    low: float
    high: float
    scaling: Scaling = "Linear"

    def from_unit(self, unit: float) -> float:
        """The value at a place in 0 … 1 of the scaled range."""
        low, high = _scaled(self.low, self.scaling), _scaled(self.high, self.scaling)
        value = _unscaled(low + min(max(unit, 0.0), 1.0) * (high - low), self.scaling)
        return min(max(value, self.low), self.high)

    def to_unit(self, value: float) -> float:
        """The place of a value in the scaled range; below 0 or above 1 when it lies outside.

        A value that the scale does not have (0 on a logarithmic one) counts as just outside.
        """
        if self.low == self.high:
            return 0.5 if value == self.low else (-1.0 if value < self.low else 2.0)
        try:
            place = _scaled(value, self.scaling)
        except ValueError:
            return -1.0 if value < self.low else 2.0
        low, high = _scaled(self.low, self.scaling), _scaled(self.high, self.scaling)
        return (place - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from `low` to `high`, both included; every cell has its own share."""

    name: str
    low: int
    high: int
    scaling: Scaling = "Linear"

    def from_unit(self, unit: float) -> int:
        """The value whose cell holds this place in 0 … 1."""
        low = _scaled(self.low - 0.5, self.scaling, self.low)
        high = _scaled(self.high + 0.5, self.scaling)
        value = round(_unscaled(low + min(max(unit, 0.0), 1.0) * (high - low), self.scaling))
        return min(max(value, self.low), self.high)

    def to_unit(self, value: float) -> float:
        """The place of a value; below 0 or above 1 when it lies outside the range."""
        if not self.low - 0.5 <= value <= self.high + 0.5:
            return -1.0 if value < self.low else 2.0
        low = _scaled(self.low - 0.5, self.scaling, self.low)
        high = _scaled(self.high + 0.5, self.scaling)
        return (_scaled(value, self.scaling) - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of several texts, without an order."""

    name: str
    values: tuple[str, ...]

    def from_unit(self, unit: float) -> str:
        """The value whose share holds this place in 0 … 1."""
        index = int(min(max(unit, 0.0), 1.0) * len(self.values))
        return self.values[min(index, len(self.values) - 1)]

    def to_unit(self, value: str) -> float:
        """The middle of a value's share; -1 when it is none of the values."""
        if value not in self.values:
            return -1.0
        return (self.values.index(value) + 0.5) / len(self.values)


Parameter = Continuous | Integer | Categorical


def _scaled(value: float, scaling: Scaling, whole: float | None = None) -> float:
    """`value` on its scale. A cell's lower edge of 0.5 is fine on a logarithmic one: log 0.5."""
    if scaling == "Logarithmic":
        if value <= 0 and whole is not None:
            value = whole / 2
        return math.log(value)
    if scaling == "ReverseLogarithmic":
        return -math.log1p(-value)
    return float(value)


def _unscaled(place: float, scaling: Scaling) -> float:
    if scaling == "Logarithmic":
        return math.exp(place)
    if scaling == "ReverseLogarithmic":
        return -math.expm1(-place)
    return place


@dataclass(frozen=True, slots=True)
class Resources:
    """What one trial may spend, in steps (reports of the objective, such as epochs).

    Attributes:
        minimum: No trial ends before this many steps.
        maximum: No trial goes on after this many.
        resumable: Whether a paused trial goes on from its checkpoint. If not, a trial runs on and
            is only ever stopped (`stop`), never paused.
    """

    minimum: int
    maximum: int
    resumable: bool = False

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps at which trials are compared, ascending: …, R/9, R/3, R, none below `minimum`."""
        found = [self.maximum]
        while found[-1] // ETA >= max(self.minimum, 1):
            found.append(math.ceil(found[-1] / ETA))
        return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched.

    Attributes:
        parameters: In the order of the request.
        budget: Trials that the job may run at most, for the size of the start-up; None: unknown.
        parallel: Trials that may run at once.
        resources: For multi-fidelity strategies (Hyperband); None otherwise.
        settings: What the user gave the strategy beyond this, by name.
    """

    parameters: tuple[Parameter, ...]
    budget: int | None = None
    parallel: int = 1
    resources: Resources | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def holds(self, point: Point) -> bool:
        """Whether a point has exactly the space's parameters, each within its range."""
        if set(point) != {parameter.name for parameter in self.parameters}:
            return False
        return all(0.0 <= place(p, point[p.name]) <= 1.0 for p in self.parameters)


def place(parameter: Parameter, value: Value) -> float:
    """`to_unit` of any parameter; -1 when the value is of another type than the parameter's."""
    if isinstance(parameter, Categorical):
        return parameter.to_unit(str(value))
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return -1.0
    return parameter.to_unit(value) if math.isfinite(value) else -1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial, as a strategy sees it.

    Attributes:
        number: In order of creation within its task, from 0.
        point: What was tried. Of a parent's trial it may lie outside the space, and lack or
            exceed its parameters.
        state: `running`; `paused` at a rung; `completed`; `stopped` early, with a value;
            `failed`: no value, because it crashed or never reported a number.
        curve: (step, value) ascending in step, values finite, lower is better. May be thinned,
            but the first report at or after each rung is there.
        value: Final objective of a completed or stopped trial, lower is better; else None.
        target: Step that a running or paused trial was allowed to run to; None: to its end.
        task: 0 for this job's own trials; 1 and up for each parent of a warm start.
        same: Of a parent's trial: whether data and algorithm are those of this job.
    """

    number: int
    point: Point
    state: Literal["running", "paused", "completed", "stopped", "failed"]
    curve: tuple[tuple[int, float], ...] = ()
    value: float | None = None
    target: int | None = None
    task: int = 0
    same: bool = True

    def at(self, step: int) -> float | None:
        """The value at a step: of the first report at or after it; None before that."""
        return next((value for seen, value in self.curve if seen >= step), None)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to run next.

    Attributes:
        point: The new trial's values, inside the space. Of a resumed trial: its own.
        target: Step to pause at; None: run to the end.
        resumes: Number of the paused trial that goes on, instead of a new one.
    """

    point: Point
    target: int | None = None
    resumes: int | None = None


History = Sequence[Trial]


def space_document(space: Space) -> dict[str, Any]:
    """A space as JSON values."""
    return {
        "parameters": [
            {"type": type(p).__name__, **{name: getattr(p, name) for name in p.__slots__}}
            for p in space.parameters
        ],
        "budget": space.budget,
        "parallel": space.parallel,
        "resources": (
            {name: getattr(space.resources, name) for name in Resources.__slots__}
            if space.resources is not None
            else None
        ),
        "settings": dict(space.settings),
    }


def read_space(document: Mapping[str, Any]) -> Space:
    """The space that `space_document` wrote."""
    types = {kind.__name__: kind for kind in (Continuous, Integer, Categorical)}
    parameters: list[Parameter] = []
    for entry in document["parameters"]:
        values = {name: value for name, value in entry.items() if name != "type"}
        if "values" in values:
            values["values"] = tuple(values["values"])
        parameters.append(types[entry["type"]](**values))
    resources = document["resources"]
    return Space(
        tuple(parameters),
        document["budget"],
        document["parallel"],
        Resources(**resources) if resources is not None else None,
        document["settings"],
    )


def trial_document(trial: Trial) -> list[Any]:
    """A trial as JSON values."""
    return [
        trial.number,
        dict(trial.point),
        trial.state,
        trial.curve,
        trial.value,
        trial.target,
        trial.task,
        trial.same,
    ]


def read_trial(document: Sequence[Any]) -> Trial:
    """The trial that `trial_document` wrote."""
    number, point, state, curve, value, target, task, same = document
    steps = tuple((int(step), float(seen)) for step, seen in curve)
    return Trial(number, point, state, steps, value, target, task, same)


def check_trial(trial: Trial) -> None:
    """Refuse a trial that breaks what `Trial` promises.

    Raises:
        ValueError: naming what is wrong.
    """
    if any(not math.isfinite(value) for _, value in trial.curve):
        raise ValueError(f"trial {trial.number} has a value in its curve that is no number")
    if any(a[0] >= b[0] for a, b in pairwise(trial.curve)):
        raise ValueError(f"trial {trial.number} has a curve that does not ascend in its steps")
    if (trial.value is not None) != (trial.state in ("completed", "stopped")):
        raise ValueError(f"trial {trial.number} is {trial.state} and has the value {trial.value}")
