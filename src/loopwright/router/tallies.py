"""Invocations counted by variant, written down once a second for the control plane.

One file a gateway process, only ever appended to: `[region, endpoint, configuration, variant,
instances, at, {metric: [count, sum, minimum, maximum]}]` a line. What was counted since the last
line is lost with a killed gateway, at most a second's.
"""

import os
import time
from pathlib import Path
from typing import Final

import orjson

FLUSH_S: Final = 1.0
MICROSECONDS: Final = 1e6
BUCKETS: Final = 28
Key = tuple[str, str, str, str]


class Tally:
    """Of one variant since the last flush. Belongs to one event loop."""

    __slots__ = (
        "buckets",
        "errors_4",
        "errors_5",
        "ever",
        "instances",
        "invocations",
        "latencies",
        "least",
        "most",
        "overhead",
        "overhead_least",
        "overhead_most",
        "total",
    )

    def __init__(self) -> None:
        self.instances = 1
        # Since the gateway began: latencies by their power of two in microseconds, and the sums
        # of what is cleared.
        self.buckets = [0] * BUCKETS
        self.ever = [0.0, 0.0, 0.0, 0.0]
        self.clear_now()

    def clear(self) -> None:
        """Begin anew with all but what is counted for ever."""
        ever = self.ever
        ever[0] += self.invocations
        ever[1] += self.errors_4
        ever[2] += self.errors_5
        ever[3] += self.total
        self.clear_now()

    def ever_now(self) -> list[float]:
        """Invocations, 4XX, 5XX and seconds at the model server since the gateway began."""
        ever = self.ever
        return [
            ever[0] + self.invocations,
            ever[1] + self.errors_4,
            ever[2] + self.errors_5,
            ever[3] + self.total,
        ]

    def clear_now(self) -> None:
        """Begin anew."""
        self.invocations = self.errors_4 = self.errors_5 = self.latencies = 0
        self.total = self.most = self.overhead = self.overhead_most = 0.0
        self.least = self.overhead_least = float("inf")

    def answered(self, status: int, seconds: float, overhead: float = 0.0) -> None:
        """A model server's answer to a request that it had for so long, and the gateway before."""
        self.invocations += 1
        self.latencies += 1
        self.total += seconds
        if seconds < self.least:
            self.least = seconds
        if seconds > self.most:
            self.most = seconds
        self.overhead += overhead
        if overhead < self.overhead_least:
            self.overhead_least = overhead
        if overhead > self.overhead_most:
            self.overhead_most = overhead
        self.buckets[min(int(seconds * 1e6).bit_length(), BUCKETS - 1)] += 1
        if status >= 500:
            self.errors_5 += 1
        elif status >= 400:
            self.errors_4 += 1

    def failed(self) -> None:
        """A request to which no answer came."""
        self.invocations += 1
        self.errors_5 += 1

    def points(self) -> dict[str, list[float]]:
        """By metric: count, sum, minimum, maximum. Names and units are SageMaker's."""
        one = float(self.invocations)
        found = {
            "Invocations": [one, one, 1.0, 1.0],
            "InvocationsPerInstance": [one, one / self.instances, 1 / self.instances, 1.0],
            "Invocation4XXErrors": [one, float(self.errors_4), 0.0, float(self.errors_4 > 0)],
            "Invocation5XXErrors": [one, float(self.errors_5), 0.0, float(self.errors_5 > 0)],
            "InvocationModelErrors": [
                one,
                float(self.errors_4 + self.errors_5),
                0.0,
                float(self.errors_4 + self.errors_5 > 0),
            ],
        }
        if self.latencies:
            found["ModelLatency"] = [
                float(self.latencies),
                *(MICROSECONDS * value for value in (self.total, self.least, self.most)),
            ]
            spans = (self.overhead, self.overhead_least, self.overhead_most)
            found["OverheadLatency"] = [
                float(self.latencies),
                *(MICROSECONDS * value for value in spans),
            ]
        return found


class Tallies:
    """All tallies of a gateway, and their file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"invocations-{os.getpid()}.jsonl"
        self._tallies: dict[Key, Tally] = {}
        self._at = 0.0

    def of(self, key: Key, instances: int) -> Tally:
        """The tally of region, endpoint, configuration and variant."""
        tally = self._tallies.setdefault(key, Tally())
        tally.instances = max(1, instances)
        return tally

    def all(self) -> list[tuple[Key, Tally]]:
        """All tallies in the order of their keys."""
        return sorted(self._tallies.items())

    def flush(self, at_once: bool = False) -> None:
        """Write what was counted, if a second has passed or it must be now.

        Raises:
            OSError: the disk is full; what was counted is kept.
        """
        now = time.time()
        if now - self._at < FLUSH_S and not at_once:
            return
        self._at = now
        used = [(key, tally) for key, tally in self._tallies.items() if tally.invocations]
        if not used:
            return
        lines = [orjson.dumps([*key, t.instances, now, t.points()]) + b"\n" for key, t in used]
        with self._path.open("ab") as stream:
            stream.write(b"".join(lines))
        for _, tally in used:
            tally.clear()
