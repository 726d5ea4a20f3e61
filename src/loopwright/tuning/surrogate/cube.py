"""The search space as a unit cube: every parameter is one column between 0 and 1.

Points of the space become rows and back. Whole numbers and categories own an interval of their
column; `snap` moves a row to the middle of the cells it lies in, so that two rows are equal exactly
when they mean the same point. It knows the space only, never values of the objective.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from loopwright.runtime.search import (
    Categorical,
    Integer,
    Parameter,
    Point,
    Space,
    Value,
    place,
)

Array: TypeAlias = NDArray[np.float64]
CATEGORY_SIDE = math.sqrt(0.5)
"""Length of a one-hot entry: two categories then lie 1 apart, as far as a range's two ends."""
DECIMALS = 9
"""Rows that agree to this many digits are the same point."""


class Cube:
    """Rows of shape (d,), d = number of parameters, for points of one space."""

    def __init__(self, space: Space) -> None:
        self.parameters = space.parameters
        self.categories = [
            len(p.values) if isinstance(p, Categorical) else 0 for p in space.parameters
        ]
        self.fixed = np.array(
            [not isinstance(p, Categorical) and p.low == p.high for p in space.parameters]
        )
        self.cells = [_cells(p) for p in space.parameters]
        self._places: dict[tuple[str, type, Value], float] = {}

    @property
    def size(self) -> float:
        """Number of different points; infinite when a parameter is continuous."""
        return math.prod(map(float, self.cells))

    def row(self, point: Point) -> Array:
        """A point's row, shape (d,): NaN where it lacks a parameter, outside 0 … 1 where it lies
        outside the range."""
        return np.array([self._place(p, point) for p in self.parameters], dtype=np.float64)

    def _place(self, parameter: Parameter, point: Point) -> float:
        """A value's place, remembered: one suggestion asks for the same trials several times."""
        value = point.get(parameter.name)
        if value is None:
            return math.nan
        key = (parameter.name, type(value), value)
        if key not in self._places:
            self._places[key] = place(parameter, value)
        return self._places[key]

    def rows(self, points: Sequence[Point]) -> Array:
        """Rows of points, shape (n, d), snapped to their cells where they lie inside."""
        if not points:
            return np.zeros((0, len(self.parameters)))
        return self.snap(np.stack([self.row(point) for point in points]))

    def point(self, row: Array) -> dict[str, Value]:
        """The point that a row means; NaN means the middle of the range."""
        units = np.where(np.isnan(row), 0.5, row)
        return {p.name: p.from_unit(float(u)) for p, u in zip(self.parameters, units, strict=True)}

    def snap(self, rows: Array) -> Array:
        """Rows, shape (n, d), moved to the middle of their cells; NaN and outside stay so."""
        snapped = rows.copy()
        for column, parameter in enumerate(self.parameters):
            units = rows[:, column]
            if isinstance(parameter, Categorical):
                count = len(parameter.values)
                moved = (np.clip(np.floor(units * count), 0, count - 1) + 0.5) / count
            elif self.fixed[column]:
                moved = np.full_like(units, 0.5)
            elif isinstance(parameter, Integer):
                moved = _middles(parameter, units)
            else:
                continue
            inside = (units >= 0.0) & (units <= 1.0)
            snapped[:, column] = np.where(inside, moved, units)
        return snapped

    def features(self, rows: Array) -> Array:
        """Columns for a kernel, shape (n, c): numbers as they are (NaN becomes 0.5), categories
        one-hot (NaN becomes all zeros, equally far from every category)."""
        parts: list[Array] = []
        for column, count in enumerate(self.categories):
            units = rows[:, column]
            if not count:
                parts.append(np.where(np.isnan(units), 0.5, units)[:, None])
                continue
            index = np.floor(np.where(np.isnan(units), -1.0, units * count))
            hot = index[:, None] == np.arange(count)[None, :]
            parts.append(np.where(hot, CATEGORY_SIDE, 0.0))
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(rows), 0))

    @property
    def groups(self) -> NDArray[np.intp]:
        """For each column of `features` the parameter it belongs to, shape (c,)."""
        widths = [max(count, 1) for count in self.categories]
        return np.repeat(np.arange(len(widths)), widths)

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """Rows uniform in the cube and snapped, shape (count, d)."""
        return self.snap(rng.random((count, len(self.parameters))))

    def all_rows(self) -> Array:
        """Every point of a space without continuous parameters, shape (size, d)."""
        columns = [
            self.snap_column(i, (np.arange(n) + 0.5) / n)
            if isinstance(p, Categorical)
            else np.unique([p.to_unit(v) for v in range(int(p.low), int(p.high) + 1)])
            if isinstance(p, Integer)
            else np.array([0.5])
            for i, (p, n) in enumerate(zip(self.parameters, map(int, self.cells), strict=True))
        ]
        return self.snap(np.array(list(product(*columns)), dtype=np.float64))

    def snap_column(self, column: int, units: Array) -> Array:
        """One parameter's places moved to the middle of their cells, shape (n,)."""
        rows = np.full((len(units), len(self.parameters)), 0.5)
        rows[:, column] = units
        snapped: Array = self.snap(rows)[:, column]
        return snapped


def keys(rows: Array) -> list[bytes]:
    """What identifies each row: equal for rows that mean the same point."""
    rounded = np.round(rows, DECIMALS) + 0.0  # Adding 0 turns -0 into 0.
    return [row.tobytes() for row in rounded]


def _cells(parameter: Parameter) -> float:
    if isinstance(parameter, Categorical):
        return len(parameter.values)
    if parameter.low == parameter.high:
        return 1
    return parameter.high - parameter.low + 1 if isinstance(parameter, Integer) else math.inf


def _middles(parameter: Integer, units: Array) -> Array:
    """`to_unit(from_unit(unit))` of an integer range, for an array of places."""
    logarithmic = parameter.scaling == "Logarithmic"
    bottom = parameter.low - 0.5
    if logarithmic and bottom <= 0:
        bottom = parameter.low / 2
    top = parameter.high + 0.5
    if logarithmic:
        bottom, top = math.log(bottom), math.log(top)
    values = bottom + np.clip(np.nan_to_num(units), 0.0, 1.0) * (top - bottom)
    whole = np.clip(
        np.rint(np.exp(values) if logarithmic else values), parameter.low, parameter.high
    )
    middles: Array = ((np.log(whole) if logarithmic else whole) - bottom) / (top - bottom)
    return middles
