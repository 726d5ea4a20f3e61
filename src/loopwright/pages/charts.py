"""Where a picture's lines and marks stand: numbers in, ticks and SVG paths out.

A picture is stretched to whatever width its page has, its strokes and words are not. So places are
thousandths of its width and height, and words stand beside it in per cent.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

WHOLE: Final = 1000
TICKS: Final = 6
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
COLOURS: Final = 8
SECONDS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600,
                  43_200, 86_400, 172_800, 604_800, 2_592_000, 31_536_000)  # fmt: skip
Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in per cent from its start, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` along an axis."""

    low: float
    high: float

    def place(self, value: float) -> int:
        """In thousandths from the start; beyond the ends for values beyond them, but not far."""
        span = self.high - self.low or 1.0
        return round(WHOLE * min(max((value - self.low) / span, -1.0), 2.0))

    def ticks(self, count: int = TICKS) -> list[Tick]:
        """About `count` round numbers."""
        step = _round_up((self.high - self.low) / max(1, count - 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        half = f"{step:e}".startswith("2.5")
        digits = max(0, half - math.floor(math.log10(step) + 1e-9))
        return [
            Tick(self.place(index * step) * 100 / WHOLE, _number(index * step, digits))
            for index in range(first, last + 1)
        ]

    def times(self, count: int = TICKS) -> list[Tick]:
        """The same for seconds since the start, in the units of people."""
        wanted = (self.high - self.low) / max(1, count - 1)
        step = next((step for step in SECONDS if step >= wanted), SECONDS[-1])
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [
            Tick(self.place(index * step) * 100 / WHOLE, _span(index * step))
            for index in range(first, last + 1)
        ]


def _round_up(step: float) -> float:
    if step <= 0 or not math.isfinite(step):
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * part for part in STEPS if power * part >= step * (1 - 1e-9))


def _number(value: float, digits: int) -> str:
    if value and (abs(value) >= 1e6 or digits > 5):
        return f"{value:.3g}".replace("-", "−")
    return f"{value:.{digits}f}".replace("-", "−")


def _span(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length} {unit}"
    if seconds >= 60:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds} s"


def scale(values: Iterable[float], margin: float = 0.04) -> Scale:
    """A scale of all finite values, with a little room at both ends."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if low == high:
        half = abs(low) / 10 or 0.5
        return Scale(low - half, high + half)
    room = (high - low) * margin
    return Scale(low - room, high + room)


@dataclass(frozen=True)
class Mark:
    """Something drawn.

    Attributes:
        path: Of SVG. `title`: what it says when it is pointed at.
        style: `line`, `thin`, `area` (filled), `dot` (one or several) or `sense` (unseen).
        colour: One of `COLOURS`; or `shade`, in per cent from the worst to the best.
    """

    path: str
    style: Literal["line", "thin", "area", "dot", "sense"]
    title: str = ""
    colour: int = 0
    shade: float | None = None


@dataclass(frozen=True)
class Chart:
    """A picture with two axes. `about`: what it shows, for whom it is read aloud."""

    about: str
    x: str
    y: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    marks: Sequence[Mark]
    legend: Sequence[tuple[str, int]] = ()
    zero: float | None = None
    """Where a line of no difference stands, in thousandths from the top."""

    @property
    def room(self) -> float:
        """For the words beside the y axis, in widths of a digit."""
        return 1.5 + max((len(tick.text) for tick in self.y_ticks), default=0)


@dataclass(frozen=True)
class Axis:
    """An upright axis of parallel coordinates, with its ticks from below."""

    name: str
    ticks: Sequence[Tick]


@dataclass(frozen=True)
class Thread:
    """One trial through all axes: places in thousandths from below."""

    key: str
    title: str
    places: Sequence[int]
    path: str
    shade: float


@dataclass
class Parallel:
    """Parallel coordinates."""

    about: str
    axes: list[Axis]
    threads: list[Thread] = field(default_factory=list)

    def add(self, key: str, title: str, places: Sequence[float], shade: float) -> None:
        """A thread through places from 0 to 1."""
        whole = [round(WHOLE * place) for place in places]
        width = WHOLE / len(self.axes)
        points = [(round((n + 0.5) * width), WHOLE - at) for n, at in enumerate(whole)]
        self.threads.append(Thread(key, title, whole, _joined(points), shade))


def line(points: Iterable[Point], x: Scale, y: Scale, steps: bool = False) -> str:
    """A path through points; with `steps` each value holds until the next one."""
    placed = _placed(points, x, y)
    return _joined(_stepped(placed) if steps else placed)


def band(
    low: Sequence[Point], high: Sequence[Point], x: Scale, y: Scale, steps: bool = False
) -> str:
    """A path around what lies between two lines."""
    above, below = _placed(high, x, y), _placed(low, x, y)
    if steps:
        above, below = _stepped(above), _stepped(below)
    return _joined([*above, *reversed(below)]) + "z"


def dot(point: Point, x: Scale, y: Scale) -> str:
    """A path of no length, which a round stroke makes a dot."""
    return _joined(_placed([point], x, y)) + "h0"


def column(low: float, high: float, x: Scale) -> str:
    """A path around everything between two places of the x axis."""
    left, right = x.place(low), x.place(high)
    return f"M{left} 0H{right}V{WHOLE}H{left}z"


def _placed(points: Iterable[Point], x: Scale, y: Scale) -> list[tuple[int, int]]:
    return [
        (x.place(one), WHOLE - y.place(other))
        for one, other in points
        if math.isfinite(one) and math.isfinite(other)
    ]


def _stepped(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found = list(points[:1])
    for (_, before), (x, y) in pairwise(points):
        found += [(x, before), (x, y)] if y != before else [(x, y)]
    return found


def _joined(points: Sequence[tuple[int, int]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points) if points else "M0 0"


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` of the points, evenly over them, with the first, last, least and greatest."""
    if len(points) <= most:
        return list(points)
    values = [point[1] for point in points]
    kept = {0, len(points) - 1, values.index(min(values)), values.index(max(values))}
    kept |= {round(n * (len(points) - 1) / (most - 5)) for n in range(most - 4)}
    return [points[index] for index in sorted(kept)]
