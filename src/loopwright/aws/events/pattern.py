"""Event patterns: whether an event is what a rule asks for.

The grammar of EventBridge's user guide ("Event patterns"): members of a pattern all hold; a list
holds when one of its items does; items are values or one comparison. A comparison that is not
known is refused when the rule is put, never ignored.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Final

import orjson

from loopwright.wire.depth import read_json
from loopwright.wire.errors import ApiError

NUMERIC: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MISSING: Final = object()


def read_pattern(text: str) -> dict[str, Any]:
    """A pattern, checked.

    Raises:
        ApiError: `InvalidEventPatternException` naming the place.
    """
    try:
        pattern = read_json(text)
    except ValueError as error:
        raise _wrong(f"it is no JSON: {error}") from None
    if not isinstance(pattern, dict) or not pattern:
        raise _wrong("it must be an object with at least one member.")
    _check(pattern, "")
    return pattern


def _wrong(text: str) -> ApiError:
    return ApiError("InvalidEventPatternException", f"Event pattern is not valid. Reason: {text}")


def _check(pattern: Mapping[str, Any], where: str) -> None:
    for name, wanted in pattern.items():
        place = f"{where}.{name}" if where else name
        if name == "$or":
            if not isinstance(wanted, list) or len(wanted) < 2:
                raise _wrong(f"{place} must be a list of at least two patterns.")
            for part in wanted:
                if not isinstance(part, dict):
                    raise _wrong(f"{place} must hold patterns.")
                _check(part, where)
        elif isinstance(wanted, dict):
            _check(wanted, place)
        elif isinstance(wanted, list) and wanted:
            for item in wanted:
                _check_item(item, place)
        else:
            raise _wrong(f"{place} must be an object or a list with at least one item.")


def _check_item(item: Any, place: str) -> None:
    if isinstance(item, list):
        raise _wrong(f"{place} has a list within its list.")
    if not isinstance(item, dict):
        return
    if len(item) != 1 or (name := next(iter(item))) not in COMPARISONS:
        raise _wrong(f"{place} has {orjson.dumps(item).decode()}; known: {', '.join(COMPARISONS)}.")
    try:
        COMPARISONS[name]("", item[name])
    except (TypeError, ValueError, KeyError):
        raise _wrong(f"{place}: {name} cannot be {item[name]!r}.") from None


def matches(pattern: Mapping[str, Any], event: Any) -> bool:
    """Whether an event holds all that a pattern asks; of a list, one item must hold it all."""
    if isinstance(event, list):
        return any(matches(pattern, item) for item in event)
    if not isinstance(event, Mapping):
        # A pattern below a value finds no member there: `exists: false` holds.
        event = {}
    for name, wanted in pattern.items():
        if name == "$or":
            if not any(matches(part, event) for part in wanted):
                return False
            continue
        found = event.get(name, MISSING)
        if isinstance(wanted, dict):
            if not matches(wanted, {} if found is MISSING else found):
                return False
        elif not _one(wanted, found):
            return False
    return True


def _one(wanted: Sequence[Any], found: Any) -> bool:
    values = _flat(found) if isinstance(found, list) and found else [found]
    return any(_item(item, value) for item in wanted for value in values)


def _flat(found: Sequence[Any]) -> list[Any]:
    return [
        inner for item in found for inner in (_flat(item) if isinstance(item, list) else [item])
    ]


def _item(item: Any, value: Any) -> bool:
    if isinstance(item, dict):
        name, argument = next(iter(item.items()))
        return bool(COMPARISONS[name](value, argument))
    if value is MISSING:
        return False
    return (type(item) is type(value) and item == value) or _same_number(item, value)


def _same_number(one: Any, other: Any) -> bool:
    return _is_number(one) and _is_number(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(
    compare: Callable[[str, str], bool], *, may_fold: bool = False
) -> Callable[[Any, Any], bool]:
    def holds(value: Any, argument: Any) -> bool:
        folded = may_fold and isinstance(argument, dict) and len(argument) == 1
        wanted = argument["equals-ignore-case"] if folded else argument
        if not isinstance(wanted, str):
            raise TypeError
        if not isinstance(value, str):
            return False
        return compare(value.casefold(), wanted.casefold()) if folded else compare(value, wanted)

    return holds


def _numeric(value: Any, argument: Any) -> bool:
    if not isinstance(argument, list) or len(argument) not in (2, 4):
        raise TypeError
    pairs = list(zip(argument[::2], argument[1::2], strict=True))
    if not all(_is_number(bound) for _, bound in pairs):
        raise TypeError
    words = [word for word, _ in pairs]
    if len(words) == 2 and {word[:1] for word in words} != {"<", ">"}:
        raise ValueError
    compares = [(NUMERIC[word], bound) for word, bound in pairs]
    if not _is_number(value):
        return False
    return all(compare(value, bound) for compare, bound in compares)


def _exists(value: Any, argument: Any) -> bool:
    if not isinstance(argument, bool):
        raise TypeError
    return (value is not MISSING) is argument


def _anything_but(value: Any, argument: Any) -> bool:
    if isinstance(argument, dict):
        ((name, inner),) = argument.items()
        items = inner if isinstance(inner, list) else [inner]
        if name not in NEGATED or not items:
            raise KeyError(name)
        held = [COMPARISONS[name](value, item) for item in items]
        return value is not MISSING and not any(held)
    items = argument if isinstance(argument, list) else [argument]
    if not items or any(isinstance(item, list | dict) for item in items):
        raise TypeError
    return value is not MISSING and not any(_item(item, value) for item in items)


def _cidr(value: Any, argument: Any) -> bool:
    if not isinstance(argument, str):
        raise TypeError
    network = ip_network(argument, strict=False)
    if not isinstance(value, str):
        return False
    try:
        return ip_address(value) in network
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _wild(text: str) -> re.Pattern[str]:
    """A wildcard pattern: the star is any text; a backslash before a star or a backslash takes
    its meaning away.

    Raises:
        ValueError: two stars stand together, or a backslash is before something else.
    """
    found, at = "", 0
    while at < len(text):
        letter, following = text[at], text[at + 1 : at + 2]
        if letter == "\\":
            if following not in ("*", "\\"):
                raise ValueError(text)
            found += re.escape(following)
            at += 2
            continue
        if letter == following == "*":
            raise ValueError(text)
        found += ".*" if letter == "*" else re.escape(letter)
        at += 1
    return re.compile(found, re.DOTALL)


COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "prefix": _text(str.startswith, may_fold=True),
    "suffix": _text(str.endswith, may_fold=True),
    "equals-ignore-case": _text(lambda value, wanted: value.casefold() == wanted.casefold()),
    "wildcard": _text(lambda value, wanted: _wild(wanted).fullmatch(value) is not None),
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
    "cidr": _cidr,
}


NEGATED: Final = ("prefix", "suffix", "equals-ignore-case", "wildcard")
"""What may stand in `anything-but`."""
