"""Invocations counted by variant, written down once a second for the control plane.

Files of a gateway process, one after the other, only ever appended to: `[region, endpoint,
configuration, variant, instances, at, {metric: [count, sum, minimum, maximum]}]` a line; latencies
have a fifth member, how often each bucket of microseconds was met (`contract.buckets.packed`). What
was counted since the last line is lost with a killed gateway, at most a second's.

Each worker also writes what it has counted for ever, so that any of them can tell of all, however
many there are and were; one that was killed is followed by one that goes on with its counts.
"""

import os
import time
from collections import defaultdict
from math import ceil, log2
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from loopwright.contract.buckets import PER_DOUBLING, ZERO, bucket_of, packed

FLUSH_S: Final = 1.0
FILE_BYTES_MAX: Final = 1_048_576
"""A larger file is followed by another; the control plane removes it once it has read it."""
MICROSECONDS: Final = 1e6
BUCKETS: Final = 28
COUNTS: Final = "counts-{}.json"
Key = tuple[str, str, str, str]


class Counted(NamedTuple):
    """Of one variant for ever: invocations, 4XX, 5XX and seconds; latencies by power of two."""

    ever: list[float]
    buckets: list[int]

    def plus(self, ever: list[float], buckets: list[int]) -> "Counted":
        """Both together."""
        return Counted(
            [one + other for one, other in zip(self.ever, ever, strict=True)],
            [one + other for one, other in zip(self.buckets, buckets, strict=True)],
        )


class Latencies:
    """Latencies of one kind, as a point holds them."""

    __slots__ = ("buckets", "count", "least", "most", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.most = 0.0
        self.least = float("inf")
        self.buckets: defaultdict[int, int] = defaultdict(int)

    def add(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.total += seconds
        self.least = min(self.least, seconds)
        self.most = max(self.most, seconds)
        self.buckets[bucket_of(seconds * MICROSECONDS)] += 1

    def point(self) -> list[Any]:
        """Count, sum, minimum, maximum and distribution, in microseconds."""
        spans = (MICROSECONDS * value for value in (self.total, self.least, self.most))
        return [float(self.count), *spans, packed(self.buckets)]


class Streams:
    """Of a variant's streamed answers since the last flush; made when there is one."""

    __slots__ = ("broken", "first", "of_model", "of_overhead")

    def __init__(self) -> None:
        self.broken = 0
        self.first, self.of_model, self.of_overhead = Latencies(), Latencies(), Latencies()

    def points(self) -> dict[str, list[Any]]:
        """As `Tally.points`."""
        count, broken = float(self.first.count), float(self.broken)
        return {
            "FirstChunkLatency": self.first.point(),
            "FirstChunkModelLatency": self.of_model.point(),
            "FirstChunkOverheadLatency": self.of_overhead.point(),
            "MidStreamErrors": [count, broken, 0.0, float(self.broken > 0)],
        }


NOTHING: Final = Counted([0.0] * 4, [0] * BUCKETS)


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
        "of_model",
        "of_overhead",
        "overhead",
        "overhead_least",
        "overhead_most",
        "streams",
        "total",
    )

    def __init__(self) -> None:
        self.instances = 1
        # Of what is cleared: latencies by their power of two in microseconds, and the sums.
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
        self.buckets = self.buckets_now()
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

    def buckets_now(self) -> list[int]:
        """Latencies since the gateway began, by the power of two that they do not exceed."""
        found = self.buckets.copy()
        for bucket, count in self.of_model.items():
            found[min(max(-(-bucket // PER_DOUBLING), 0), BUCKETS - 1)] += count
        return found

    def clear_now(self) -> None:
        """Begin anew."""
        self.invocations = self.errors_4 = self.errors_5 = self.latencies = 0
        self.total = self.most = self.overhead = self.overhead_most = 0.0
        self.least = self.overhead_least = float("inf")
        # How often a latency in microseconds fell into each bucket of `contract.buckets`.
        self.of_model: defaultdict[int, int] = defaultdict(int)
        self.of_overhead: defaultdict[int, int] = defaultdict(int)
        self.streams: Streams | None = None

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
        # `bucket_of`, written out: this runs for each request.
        bucket = ceil(log2(seconds * 1e6) * PER_DOUBLING) if seconds > 0.0 else ZERO
        self.of_model[bucket] += 1
        bucket = ceil(log2(overhead * 1e6) * PER_DOUBLING) if overhead > 0.0 else ZERO
        self.of_overhead[bucket] += 1
        if status >= 500:
            self.errors_5 += 1
        elif status >= 400:
            self.errors_4 += 1

    def failed(self) -> None:
        """A request to which no answer came."""
        self.invocations += 1
        self.errors_5 += 1

    def streamed(self, model: float, sent: float, broken: bool = False) -> None:
        """A streamed answer is over, which is counted besides `answered`, `failed` or `left`.

        Args:
            model: Seconds from the request to the model server to the first bytes of its answer.
            sent: Seconds from the client's request to the first part of the answer.
            broken: Whether it broke after that.
        """
        streams = self.streams
        if streams is None:
            streams = self.streams = Streams()
        streams.first.add(sent)
        streams.of_model.add(model)
        streams.of_overhead.add(max(0.0, sent - model))
        streams.broken += broken

    def left(self) -> None:
        """A request whose client went away within its answer."""
        self.invocations += 1

    def points(self) -> dict[str, list[Any]]:
        """By metric: count, sum, minimum, maximum, of latencies also the distribution.

        Names and units are SageMaker's.
        """
        one = float(self.invocations)
        found: dict[str, list[Any]] = {
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
                packed(self.of_model),
            ]
            spans = (self.overhead, self.overhead_least, self.overhead_most)
            found["OverheadLatency"] = [
                float(self.latencies),
                *(MICROSECONDS * value for value in spans),
                packed(self.of_overhead),
            ]
        if self.streams is not None:
            found |= self.streams.points()
        return found


class Tallies:
    """All tallies of a gateway's worker, and their files.

    Args:
        folder: Where the files are.
        number: Which worker.
    """

    def __init__(self, folder: Path, number: int = 0) -> None:
        self._folder = folder
        # No name comes twice, as in `journal.Journal`.
        self._process = f"{os.getpid()}-{time.time_ns():x}"
        self._file = 1
        self._own_file = folder / COUNTS.format(number)
        self._tallies: dict[Key, Tally] = {}
        self._at = 0.0
        self._written = b""
        # Of the workers that had this number before.
        self._before = self._read(self._own_file)

    def of(self, key: Key, instances: int) -> Tally:
        """The tally of region, endpoint, configuration and variant."""
        tally = self._tallies.setdefault(key, Tally())
        tally.instances = max(1, instances)
        return tally

    def all(self) -> list[tuple[Key, Counted]]:
        """What all workers have counted, in the order of the keys."""
        found = self._own()
        for path in self._folder.glob(COUNTS.format("*")):
            if path != self._own_file:
                for key, counted in self._read(path).items():
                    found[key] = found.get(key, NOTHING).plus(*counted)
        return sorted(found.items())

    def _own(self) -> dict[Key, Counted]:
        found = dict(self._before)
        for key, tally in self._tallies.items():
            found[key] = found.get(key, NOTHING).plus(tally.ever_now(), tally.buckets_now())
        return found

    def _read(self, path: Path) -> dict[Key, Counted]:
        try:
            rows = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        return {tuple(key): Counted(ever, buckets) for key, ever, buckets in rows}

    def _share(self) -> None:
        """Let the other workers know."""
        content = orjson.dumps([[key, *counted] for key, counted in self._own().items()])
        if content != self._written:
            temporary = self._own_file.with_suffix(".new")
            temporary.write_bytes(content)
            temporary.rename(self._own_file)
            self._written = content

    def flush(self, at_once: bool = False) -> None:
        """Write what was counted: for the others now, for the control plane once a second.

        Raises:
            OSError: the disk is full; what was counted is kept.
        """
        self._share()
        now = time.time()
        if now - self._at < FLUSH_S and not at_once:
            return
        self._at = now
        used = [(key, tally) for key, tally in self._tallies.items() if tally.invocations]
        if not used:
            return
        lines = [orjson.dumps([*key, t.instances, now, t.points()]) + b"\n" for key, t in used]
        path = self._folder / f"invocations-{self._process}-{self._file:09d}.jsonl"
        with path.open("ab") as stream:
            stream.write(b"".join(lines))
            self._file += stream.tell() > FILE_BYTES_MAX
        for _, tally in used:
            tally.clear()
