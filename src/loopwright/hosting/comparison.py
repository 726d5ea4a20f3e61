"""What a shadow answers compared with what the live variant answered to the same requests.

Answers agree when they are the same bytes, or when both are JSON or CSV of one shape whose texts
are equal and whose numbers differ by at most `TOLERANCE` of the larger one.
"""

import csv
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

TOLERANCE: Final = 1e-4
EXAMPLES_MAX: Final = 20
EXAMPLE_CHARACTERS_MAX: Final = 500
BUCKETS: Final = 28
NO_ANSWER: Final = 0
NOT_ASKED: Final = -1


def empty_summary() -> dict[str, Any]:
    """Nothing compared yet."""
    return {
        "copied": 0,
        "dropped": 0,
        "unanswered": 0,
        "errors": {"live": 0, "shadow": 0},
        "answered": 0,
        "same": 0,
        "agree": 0,
        "compared_numbers": 0,
        "difference_sum": 0.0,
        "difference_most": 0.0,
        "latency": {"live": [0] * BUCKETS, "shadow": [0] * BUCKETS},
        "latency_sum": {"live": 0.0, "shadow": 0.0},
        "examples": [],
    }


def add(summary: dict[str, Any], head: list[Any], live: bytes, shadow: bytes) -> None:
    """Count one comparison frame, without its kind, into a summary."""
    (*_, live_status, shadow_status, live_us, shadow_us, at, same, live_type, shadow_type) = head
    summary["copied"] += 1
    if shadow_status == NOT_ASKED:
        summary["dropped"] += 1
        return
    if shadow_status == NO_ANSWER:
        summary["unanswered"] += 1
        return
    summary["answered"] += 1
    for side, status, micros in (
        ("live", live_status, live_us),
        ("shadow", shadow_status, shadow_us),
    ):
        summary["errors"][side] += status >= 400
        summary["latency"][side][min(int(micros).bit_length(), BUCKETS - 1)] += 1
        summary["latency_sum"][side] += micros
    if same:
        summary["same"] += 1
        summary["agree"] += 1
        return
    agree, differences = compared(live, live_type, shadow, shadow_type)
    agree = agree and live_status == shadow_status
    summary["agree"] += agree
    summary["compared_numbers"] += len(differences)
    summary["difference_sum"] += math.fsum(differences)
    summary["difference_most"] = max([summary["difference_most"], *differences])
    if not agree:
        examples = summary["examples"]
        examples.append(
            {
                "Time": at,
                "LiveStatus": live_status,
                "ShadowStatus": shadow_status,
                "Live": live.decode("utf-8", "replace")[:EXAMPLE_CHARACTERS_MAX],
                "Shadow": shadow.decode("utf-8", "replace")[:EXAMPLE_CHARACTERS_MAX],
            }
        )
        del examples[:-EXAMPLES_MAX]


def compared(
    live: bytes, live_type: str, shadow: bytes, shadow_type: str
) -> tuple[bool, list[float]]:
    """Whether two answers agree, and the absolute differences of their numbers, place by place."""
    ours, theirs = _read(live, live_type), _read(shadow, shadow_type)
    if ours is None or theirs is None:
        return False, []
    differences: list[float] = []
    agree = True
    for one, other in _pairs(ours, theirs):
        if isinstance(one, float) and isinstance(other, float):
            if math.isnan(one) and math.isnan(other):
                continue
            difference = abs(one - other)
            if not math.isfinite(difference):
                agree = False
                continue
            differences.append(difference)
            agree = agree and difference <= TOLERANCE * max(abs(one), abs(other))
        else:
            agree = agree and one == other
    return agree, differences


def _read(body: bytes, content_type: str) -> Any:
    """JSON as it is, CSV as rows of numbers and texts; None for what is neither."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind.endswith("json"):
            return orjson.loads(body)
        if kind == "text/csv":
            return [
                [_number(cell) for cell in row] for row in csv.reader(body.decode().splitlines())
            ]
    except (ValueError, UnicodeDecodeError, csv.Error):
        return None
    return None


def _number(cell: str) -> Any:
    try:
        return float(cell)
    except ValueError:
        return cell


def _pairs(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """The leaves of two documents side by side; a place where their shapes differ is unequal."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for mine, yours in zip(one, other, strict=True):
            yield from _pairs(mine, yours)
    elif isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key, value in one.items():
            yield from _pairs(value, other[key])
    elif _is_number(one) and _is_number(other):
        yield float(one), float(other)
    elif isinstance(one, list | dict) or isinstance(other, list | dict):
        yield "a shape", "another shape"
    else:
        yield one, other


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def report(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary as `DescribeShadowComparison` gives it. Times in milliseconds, shares 0 to 1."""
    answered = summary["answered"]
    numbers = summary["compared_numbers"]
    found: dict[str, Any] = {
        "Copied": summary["copied"],
        "Dropped": summary["dropped"],
        "Unanswered": summary["unanswered"],
        "Answered": answered,
        "SameBytes": summary["same"],
        "Agreed": summary["agree"],
        "LargestDifference": summary["difference_most"],
        "Examples": summary["examples"],
    }
    if answered:
        found["Agreement"] = summary["agree"] / answered
        found["Live"] = _side(summary, "live", answered)
        found["Shadow"] = _side(summary, "shadow", answered)
    if numbers:
        found["MeanDifference"] = summary["difference_sum"] / numbers
    return found


def _side(summary: Mapping[str, Any], side: str, answered: int) -> dict[str, Any]:
    buckets = summary["latency"][side]
    return {
        "Errors": summary["errors"][side],
        "MeanLatency": summary["latency_sum"][side] / answered / 1000.0,
        "P50Latency": quantile(buckets, 0.5) / 1000.0,
        "P99Latency": quantile(buckets, 0.99) / 1000.0,
    }


def quantile(buckets: list[int], share: float) -> float:
    """A quantile, in microseconds, of counts by power of two: within a bucket evenly spread."""
    wanted = share * sum(buckets)
    seen = 0.0
    for index, count in enumerate(buckets):
        if count and seen + count >= wanted:
            low = 0.0 if index == 0 else 2.0 ** (index - 1)
            return low + (2.0**index - low) * (wanted - seen) / count
        seen += count
    return 0.0
