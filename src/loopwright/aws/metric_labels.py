"""Labels of GetMetricData with values in them, such as `[max: ${MAX}] ${LABEL}`.

Names: CloudWatch's user guide, "Using dynamic labels". It does not say how numbers and times are
written: here numbers have up to six digits, times are `2026-01-31 12:00:00 UTC`, durations `1h 5m`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

_PLACE: Final = re.compile(r"\$\{(?:([A-Z_]+)|PROP\('([^']*)'\))\}")
_ZONE: Final = re.compile(r"([+-])(\d\d)(\d\d)")
VALUES_MAX: Final = 5
ENDS: Final = ("FIRST", "LAST", "MIN", "MAX")


class Malformed(ValueError):
    """No label; the text says why."""


@dataclass(frozen=True)
class About:
    """What a label may tell of.

    Attributes:
        points: Value by time in seconds, oldest first.
        label: What stands for `${LABEL}`.
        properties: By the name in `${PROP('…')}`.
        now: Platform seconds.
    """

    points: Mapping[float, float]
    label: str
    properties: Mapping[str, str]
    now: float


def read_zone(text: str | None) -> timezone:
    """A time zone such as `+0130`; None is UTC.

    Raises:
        Malformed: it is none.
    """
    if text is None:
        return UTC
    match = _ZONE.fullmatch(text)
    if match is None or int(match[2]) > 23 or int(match[3]) > 59:
        raise Malformed(f"Timezone is {text!r}; it must be + or - and four digits, e.g. +0130.")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset)


def check_label(label: str) -> None:
    """Refuse a label that asks for too much.

    Raises:
        Malformed: CloudWatch allows five values, and `${LABEL}` once.
    """
    names = [match[1] for match in _PLACE.finditer(label) if match[1]]
    if names.count("LABEL") > 1:
        raise Malformed(f"Label {label!r} has ${{LABEL}} more than once.")
    count = sum(name != "LABEL" for name in names)
    if count > VALUES_MAX:
        raise Malformed(f"Label {label!r} has {count} dynamic values; the most is {VALUES_MAX}.")


def shown_label(label: str, about: About, zone: timezone) -> str:
    """The label with its values; what is not known stays as it is, and no value is `--`."""

    def put(match: re.Match[str]) -> str:
        if match[2] is not None:
            return about.properties.get(match[2], match[0])
        if match[1] == "LABEL":
            return about.label
        work = _VALUES.get(match[1]) or _of_ends(match[1])
        if work is None:
            return match[0]
        return work(about, zone) if about.points else "--"

    return _PLACE.sub(put, label)


Work = Callable[[About, timezone], str]


def _end(about: About, name: str) -> tuple[float, float]:
    """Time and value of the first, last, smallest or largest datapoint."""
    items = list(about.points.items())
    if name in ("FIRST", "LAST"):
        return items[0 if name == "FIRST" else -1]
    return (min if name == "MIN" else max)(items, key=lambda item: item[1])


def _of_ends(name: str) -> Work | None:
    """What `FIRST`, `LAST_TIME`, `MAX_TIME_RELATIVE`, `MIN_MAX_RANGE` and their like mean."""
    ends = name.removesuffix("_RANGE").removesuffix("_TIME").split("_")
    pair = ends in (["FIRST", "LAST"], ["MIN", "MAX"])
    if name.endswith("_TIME_RANGE") and pair:
        return lambda about, zone: _duration(_end(about, ends[1])[0] - _end(about, ends[0])[0])
    if name.endswith("_RANGE") and pair:
        return lambda about, zone: _number(_end(about, ends[1])[1] - _end(about, ends[0])[1])
    end, _, what = name.partition("_")
    if end not in ENDS:
        return None
    if what == "":
        return lambda about, zone: _number(_end(about, end)[1])
    if what == "TIME":
        return lambda about, zone: _moment(_end(about, end)[0], zone)
    if what == "TIME_RELATIVE":
        return lambda about, zone: _duration(about.now - _end(about, end)[0])
    return None


_VALUES: Final[Mapping[str, Work]] = {
    "AVG": lambda about, zone: _number(sum(about.points.values()) / len(about.points)),
    "SUM": lambda about, zone: _number(sum(about.points.values())),
    "DATAPOINT_COUNT": lambda about, zone: str(len(about.points)),
}


def _number(value: float) -> str:
    return f"{value:.6g}"


def _moment(at: float, zone: timezone) -> str:
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M:%S %Z}"


def _duration(seconds: float) -> str:
    left = round(abs(seconds))
    parts = []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
