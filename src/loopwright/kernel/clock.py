"""Time, injected: planners and rooms never read a clock of their own."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch, as the platform counts them."""

    def now(self) -> float: ...


class ScaledClock:
    """The real clock; with `scale` 60 a minute of the platform passes in a real second.

    Args:
        scale: Platform seconds per real second, > 0.
    """

    def __init__(self, scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError(f"The time scale is {scale}; it must be above 0.")
        self.scale = scale
        self._start = time.time()

    def now(self) -> float:
        return self.platform(time.time())

    def platform(self, real: float) -> float:
        """The platform's time at a real one (seconds since the epoch)."""
        return real if self.scale == 1.0 else self._start + (real - self._start) * self.scale

    def real_s(self, platform_s: float) -> float:
        """Real seconds in which `platform_s` pass."""
        return platform_s / self.scale


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
