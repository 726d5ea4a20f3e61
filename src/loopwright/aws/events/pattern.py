"""Event patterns: whether an event is what a rule asks for.

The grammar of EventBridge's user guide ("Event patterns"): members of a pattern all hold; a list
holds when one of its items does; items are values or one comparison. A comparison that is not
known is refused when the rule is put, never ignored.
"""

import fnmatch
import operator
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

import orjson

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
        pattern = orjson.loads(text)
    except orjson.JSONDecodeError as error:
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
    except (TypeError, ValueError, IndexError, KeyError):
        raise _wrong(f"{place}: {name} cannot be {item[name]!r}.") from None


def matches(pattern: Mapping[str, Any], event: Any) -> bool:
    """Whether an event holds all that a pattern asks."""
    if not isinstance(event, Mapping):
        return False
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
    values = found if isinstance(found, list) and found else [found]
    return any(_item(item, value) for item in wanted for value in values)


def _item(item: Any, value: Any) -> bool:
    if isinstance(item, dict):
        name, argument = next(iter(item.items()))
        return bool(COMPARISONS[name](value, argument))
    if value is MISSING:
        return False
    return (type(item) is type(value) and item == value) or _same_number(item, value)


def _same_number(one: Any, other: Any) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other))
    return numbers and one == other


def _text(compare: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def holds(value: Any, argument: Any) -> bool:
        folded = isinstance(argument, dict)
        wanted = argument["equals-ignore-case"] if folded else argument
        if not isinstance(wanted, str):
            raise TypeError
        if not isinstance(value, str):
            return False
        return compare(value.casefold(), wanted.casefold()) if folded else compare(value, wanted)

    return holds


def _numeric(value: Any, argument: Any) -> bool:
    if not argument or len(argument) % 2:
        raise ValueError
    pairs = [(NUMERIC[argument[i]], float(argument[i + 1])) for i in range(0, len(argument), 2)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return all(compare(value, bound) for compare, bound in pairs)


def _exists(value: Any, argument: Any) -> bool:
    if not isinstance(argument, bool):
        raise TypeError
    return (value is not MISSING) is argument


def _anything_but(value: Any, argument: Any) -> bool:
    if isinstance(argument, dict):
        ((name, inner),) = argument.items()
        items = inner if isinstance(inner, list) else [inner]
        held = [COMPARISONS[name](value, item) for item in items]
        return value is not MISSING and not any(held)
    items = argument if isinstance(argument, list) else [argument]
    return value is not MISSING and not any(_item(item, value) for item in items)


def _cidr(value: Any, argument: Any) -> bool:
    network = ip_network(argument, strict=False)
    try:
        return ip_address(value) in network
    except ValueError:
        return False


COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "prefix": _text(str.startswith),
    "suffix": _text(str.endswith),
    "equals-ignore-case": _text(lambda value, wanted: value.casefold() == wanted.casefold()),
    "wildcard": _text(lambda value, wanted: fnmatch.fnmatchcase(value, _globbed(wanted))),
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
    "cidr": _cidr,
}


def _globbed(text: str) -> str:
    """A wildcard pattern, in which only the star is special, for fnmatch."""
    return text.replace("[", "[[]").replace("?", "[?]")
