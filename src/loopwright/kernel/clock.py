"""Time, injected: planners and rooms never read a clock of their own."""

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch, as the platform counts them."""

    def now(self) -> float: ...


class ScaledClock:
    """The real clock; with `scale` 60 a minute of the platform passes in a real second.

    It goes on where it stood, while the server is down too: no restart and no other scale sets
    it back.

    Args:
        scale: Platform seconds per real second, > 0.
        turns: What `turns` was when the clock last ran.

    Attributes:
        turns: (real time, platform time, scale) wherever the scale changed; from each one the
            platform's time goes on at that scale. Empty while the clock is the real one.
    """

    def __init__(self, scale: float = 1.0, turns: Sequence[Sequence[float]] = ()) -> None:
        if scale <= 0:
            raise ValueError(f"The time scale is {scale}; it must be above 0.")
        self.scale = scale
        self.turns = [(real, platform, speed) for real, platform, speed in turns]
        if scale != (self.turns[-1][2] if self.turns else 1.0):
            now = time.time()
            self.turns.append((now, self.platform(now), scale))

    def now(self) -> float:
        return self.platform(time.time())

    def platform(self, real: float) -> float:
        """The platform's time at a real one (seconds since the epoch)."""
        for since, platform, speed in reversed(self.turns):
            if real >= since:
                return platform + (real - since) * speed
        return real

    def real_s(self, platform_s: float) -> float:
        """Real seconds in which `platform_s` pass."""
        return platform_s / self.scale


def turns_of(home: Path) -> list[Sequence[float]]:
    """The turns of a home's clock, see `ScaledClock`; none where it is the real one."""
    try:
        return list(json.loads(clock_file(home).read_bytes()))
    except FileNotFoundError:
        return []


def clock_file(home: Path) -> Path:
    """Where they are kept."""
    return home / "clock.json"


def clock_of(home: Path) -> ScaledClock:
    """A clock that shows what the home's server shows."""
    turns = turns_of(home)
    return ScaledClock(turns[-1][2] if turns else 1.0, turns)


class VirtualClock:
    """A clock that only a test moves. Thread-safe."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> float:
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds
