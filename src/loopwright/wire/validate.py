"""Requests against the constraints of their shapes: what botocore's client does not check.

Types, required members, lengths, ranges, enums and patterns. All violations of a request go into
one message in AWS's form.
"""

import math
from datetime import datetime
from functools import cache
from typing import Any, Final

import regex
from botocore.model import OperationModel, Shape

from loopwright.wire.errors import ApiError
from loopwright.wire.near import did_you_mean

VIOLATIONS_MAX: Final = 20
VALUE_LENGTH_MAX: Final = 200
WIDTHS: Final = {
    "integer": (2**31 - 1, "a number of 32 bits"),
    "long": (2**63 - 1, "a number of 64 bits"),
    "float": (3.4028235e38, "a floating-point number of 32 bits"),
    "double": (1.7976931348623157e308, "a floating-point number of 64 bits"),
}
"""The largest amount of each kind of number, and what it is called."""
TYPES: Final[dict[str, tuple[type, ...]]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "character": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (datetime,),
    "blob": (bytes, bytearray),
}


LENGTHS_MAX: Final = {"MetricDefinitionList": 200}
"""Describe shows more metrics of built-in algorithms than the model allows a request to have, and
tools that make a job again send them back; `contract.metrics` holds the model's rule for others."""


def validate(operation: OperationModel, params: dict[str, Any]) -> None:
    """Refuse `params` that break a constraint of the operation's input shape.

    Raises:
        ApiError: `ValidationException` that names each member, its value and the rule.
    """
    if operation.input_shape is None:
        return
    found: list[str] = []
    _walk(operation.input_shape, params, "", found)
    if found:
        count = len(found)
        noun = "validation error" if count == 1 else "validation errors"
        text = "; ".join(found[:VIOLATIONS_MAX])
        code = "ValidationException"
        if "ValidationError" in operation.service_model.shape_names:
            code = "ValidationError"
        raise ApiError(code, f"{count} {noun} detected: {text}", 400)


def unknown_members(operation: OperationModel, document: Any) -> list[str]:
    """Paths of a JSON document's members that the input shape does not have."""
    found: list[str] = []
    if operation.input_shape is not None:
        _unknown(operation.input_shape, document, "", found)
    return found


def _unknown(shape: Shape, value: Any, path: str, found: list[str]) -> None:
    if shape.type_name == "structure" and isinstance(value, dict):
        if getattr(shape, "is_document_type", False):
            return
        for key, item in value.items():
            member = shape.members.get(key)
            if member is None:
                found.append(f"{path}{key}")
            else:
                _unknown(member, item, f"{path}{key}.", found)
    elif shape.type_name == "list" and isinstance(value, list):
        for number, item in enumerate(value, 1):
            _unknown(shape.member, item, f"{path}{number}.", found)
    elif shape.type_name == "map" and isinstance(value, dict):
        for key, item in value.items():
            _unknown(shape.value, item, f"{path}{key}.", found)


def _walk(shape: Shape, value: Any, path: str, found: list[str]) -> None:
    kind = shape.type_name
    expected = TYPES.get(kind)
    if getattr(shape, "is_document_type", False):
        return
    if expected is not None and (
        not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean")
    ):
        _add(found, value, path, f"Member must be of type {kind}")
        return
    if kind == "structure":
        _structure(shape, value, path, found)
    elif kind == "list":
        _length(shape, len(value), value, path, found)
        for number, item in enumerate(value, 1):
            _walk(shape.member, item, f"{path}.{number}.member", found)
    elif kind == "map":
        _length(shape, len(value), value, path, found)
        for key, item in value.items():
            _walk(shape.key, key, f"{path}.key", found)
            _walk(shape.value, item, f"{path}.{key}", found)
    elif kind in ("string", "blob"):
        _length(shape, len(value), value, path, found)
        if kind == "string":
            _text(shape, value, path, found)
    elif kind in ("integer", "long", "float", "double"):
        _range(shape, value, path, found)


def _structure(shape: Shape, value: dict[str, Any], path: str, found: list[str]) -> None:
    for name in shape.required_members:
        if value.get(name) is None:
            _add(found, None, f"{path}.{_lower(name)}", "Member must not be null")
    if shape.is_tagged_union and len([v for v in value.values() if v is not None]) != 1:
        _add(found, value, path, f"Member must have exactly one of {', '.join(shape.members)} set")
    for name, member in shape.members.items():
        if value.get(name) is not None:
            _walk(member, value[name], f"{path}.{_lower(name)}", found)


def _length(shape: Shape, size: int, value: Any, path: str, found: list[str]) -> None:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        _add(found, value, path, f"Member must have length greater than or equal to {least}")
    most = LENGTHS_MAX.get(shape.name, most)
    if most is not None and size > most:
        _add(found, value, path, f"Member must have length less than or equal to {most}")


def _range(shape: Shape, value: float, path: str, found: list[str]) -> None:
    widest, words = WIDTHS[shape.type_name]
    # NaN and infinities are no JSON, yet Python's clients send them; NaN passes every comparison.
    if not -widest <= value <= widest or math.isnan(value):
        _add(found, value, path, f"Member must be {words}")
        return
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        _add(found, value, path, f"Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        _add(found, value, path, f"Member must have value less than or equal to {most}")


def _text(shape: Shape, value: str, path: str, found: list[str]) -> None:
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        near = did_you_mean(value, allowed)
        rule = f"Member must satisfy enum value set: [{', '.join(allowed)}]{near and '.' + near}"
        _add(found, value, path, rule)
    pattern = shape.metadata.get("pattern")
    if "\0" in value:
        # PostgreSQL keeps no such text, and no service has a name with it.
        _add(found, value, path, "Member must not contain the character U+0000")
    if pattern and not compiled(pattern).fullmatch(value):
        _add(found, value, path, f"Member must satisfy regular expression pattern: {pattern}")


@cache
def compiled(pattern: str) -> Any:
    """A pattern of a model, compiled; `fullmatch` says whether a text satisfies it.

    Models write the characters beyond U+FFFF as Java does, as pairs of surrogates.
    """
    pairs = r"\uD800\uDC00-\uDBFF\uDFFF"
    return regex.compile(pattern.replace(pairs, r"\U00010000-\U0010FFFF"), regex.V0)


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


def _add(found: list[str], value: Any, path: str, rule: str) -> None:
    shown = str(value)
    if len(shown) > VALUE_LENGTH_MAX:
        shown = shown[:VALUE_LENGTH_MAX] + "…"
    text = "null" if value is None else f"'{shown}'"
    found.append(f"Value {text} at '{path.lstrip('.')}' failed to satisfy constraint: {rule}")
