"""When a scheduled action happens: `at(…)`, `rate(…)`, `cron(…)` in AWS's grammar.

Grammar: the user guide of Application Auto Scaling, "Schedule scaling actions using cron
expressions"; `?`, `L`, `W` and `#` included.
"""

import calendar
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MONTHS: Final = {name.upper(): n for n, name in enumerate(calendar.month_abbr) if name}
DAYS: Final = {
    name: n for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)
}
UNITS: Final = {"minute": 60, "hour": 3600, "day": 86_400}
SEARCH_DAYS: Final = 366 * 9
_CALL: Final = re.compile(r"(at|rate|cron)\((.*)\)")
_RATE: Final = re.compile(r"([1-9]\d*) (minute|hour|day)(s?)")


class Malformed(ValueError):
    """No schedule; the text says why."""


def zone_of(name: str | None) -> ZoneInfo:
    """A time zone by its name; UTC when there is none.

    Raises:
        Malformed: there is no such zone.
    """
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Malformed(f"Timezone is {name!r}, which is no zone of the tz database") from error


def following(schedule: str, zone: ZoneInfo, after: float, start: float) -> float | None:
    """The first time later than `after`, in seconds since the epoch; None: never again.

    Args:
        start: Where a rate counts from.

    Raises:
        Malformed: this is no schedule.
    """
    match = _CALL.fullmatch(schedule.strip())
    if match is None:
        raise Malformed(f"Schedule is {schedule!r}; it must be at(…), rate(…) or cron(…)")
    kind, text = match[1], match[2].strip()
    if kind == "at":
        return _at(text, zone, after)
    if kind == "rate":
        return _rate(text, after, start)
    return _cron(text, zone, after)


def due_of(action: Mapping[str, Any], zone: ZoneInfo, done: float | None) -> float | None:
    """When a scheduled action, which was carried out at `done`, is due; None: never again.

    A rate without a start begins one interval after the action was put; what lies before that, or
    outside of start and end, is not made up for.
    """
    put = float(action["PutTime"])
    start = action.get("StartTime")
    after = put if start is None or start <= put else float(start) - 1e-3
    if done is not None:
        after = max(after, done)
    due = following(action["Schedule"], zone, after, put if start is None else float(start))
    end = action.get("EndTime")
    return None if due is None or (end is not None and due > float(end)) else due


def _at(text: str, zone: ZoneInfo, after: float) -> float | None:
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone)
    except ValueError as error:
        raise Malformed(f"at({text}) must be at(yyyy-mm-ddThh:mm:ss)") from error
    try:
        at = moment.timestamp()
    except OverflowError as error:
        raise Malformed(f"at({text}) is no time that a clock will show") from error
    return at if at > after else None


def _rate(text: str, after: float, start: float) -> float:
    match = _RATE.fullmatch(text)
    if match is None or (match[1] == "1") == bool(match[3]):
        raise Malformed(f"rate({text}) must be rate(1 minute), rate(5 hours) and the like")
    step = int(match[1]) * UNITS[match[2]]
    return start if start > after else start + ((after - start) // step + 1) * step


def _cron(text: str, zone: ZoneInfo, after: float) -> float | None:
    fields = text.split()
    if len(fields) != 6:
        raise Malformed(f"cron({text}) has {len(fields)} fields; it must have six")
    minutes = _numbers(fields[0], 0, 59, {})
    hours = _numbers(fields[1], 0, 23, {})
    months = _numbers(fields[3], 1, 12, MONTHS)
    years = _numbers(fields[5], 1970, 2199, {})
    if (fields[2] == "?") == (fields[4] == "?"):
        raise Malformed(f"cron({text}) must have ? for the day of the month or of the week")
    fits = _month_days(fields[2]) if fields[4] == "?" else _week_days(fields[4])
    for day in _days_from(after, zone):
        if day.month in months and day.year in years and fits(day):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                    if _exists(moment, zone) and moment.timestamp() > after:
                        return moment.timestamp()
    return None


def _days_from(at: float, zone: ZoneInfo) -> Iterator[date]:
    """The days from a moment on that a schedule is looked for in; the calendar ends with 9999."""
    try:
        day = datetime.fromtimestamp(at, zone).date()
        for _ in range(SEARCH_DAYS):
            yield day
            day += timedelta(days=1)
    except (OverflowError, ValueError):
        return


def _exists(moment: datetime, zone: ZoneInfo) -> bool:
    """Whether a wall-clock time is there on its day: an hour is left out in spring."""
    back = moment.astimezone(UTC).astimezone(zone)
    return (back.hour, back.minute) == (moment.hour, moment.minute)


def _numbers(text: str, least: int, most: int, names: dict[str, int]) -> set[int]:
    """A field of numbers, names, ranges, lists and steps."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            low, high = least, most
        else:
            first, dash, last = span.partition("-")
            low = _number(first, names, text)
            high = _number(last, names, text) if dash else (most if step else low)
        if step and not (step.isdecimal() and int(step)):
            raise Malformed(f"{text!r} has a step that is no number above 0")
        _within(low, least, most, text)
        _within(high, least, most, text)
        values = range(low, high + 1) if low <= high else [*range(low, most + 1),
                                                          *range(least, high + 1)]  # fmt: skip
        found.update(list(values)[:: int(step or 1)])
    return found


def _number(text: str, names: dict[str, int], whole: str) -> int:
    if text.upper() in names:
        return names[text.upper()]
    if not text.isdecimal():
        raise Malformed(f"{whole!r} is no number or name of this field")
    return int(text)


def _within(number: int, least: int, most: int, whole: str) -> int:
    if not least <= number <= most:
        raise Malformed(f"{whole!r} must be from {least} to {most}")
    return number


def _month_days(text: str) -> Callable[[date], bool]:
    if text == "L":
        return lambda day: day.day == _length(day)
    if text == "LW":
        return lambda day: day.day == _weekday_near(day, _length(day))
    if text.endswith("W"):
        wanted = _within(_number(text[:-1], {}, text), 1, 31, text)
        return lambda day: day.day == _weekday_near(day, min(wanted, _length(day)))
    numbers = _numbers(text, 1, 31, {})
    return lambda day: day.day in numbers


def _weekday_near(day: date, wanted: int) -> int:
    """The weekday of the month that is nearest to one of its days."""
    weekday = date(day.year, day.month, wanted).weekday()
    if weekday == 5:
        return wanted - 1 if wanted > 1 else wanted + 2
    if weekday == 6:
        return wanted + 1 if wanted < _length(day) else wanted - 2
    return wanted


def _week_days(text: str) -> Callable[[date], bool]:
    if text == "L":
        return lambda day: _week_day(day) == 7
    if text.upper().endswith("L") and len(text) > 1:
        wanted = _within(_number(text[:-1], DAYS, text), 1, 7, text)
        return lambda day: _week_day(day) == wanted and day.day + 7 > _length(day)
    name, sign, number = text.partition("#")
    if sign:
        wanted = _within(_number(name, DAYS, text), 1, 7, text)
        index = _within(_number(number, {}, text), 1, 5, text)
        return lambda day: _week_day(day) == wanted and (day.day - 1) // 7 + 1 == index
    numbers = _numbers(text, 1, 7, DAYS)
    return lambda day: _week_day(day) in numbers


def _week_day(day: date) -> int:
    """1 for Sunday to 7 for Saturday."""
    return day.isoweekday() % 7 + 1


def _length(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]
