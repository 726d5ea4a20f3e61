"""The query protocol's form: `A.member.1.B=x` becomes `{"A": [{"B": "x"}]}` by the shape."""

import base64
from typing import Any
from urllib.parse import parse_qsl

from botocore.model import Shape
from botocore.utils import parse_timestamp


def read_form(shape: Shape, text: str) -> dict[str, Any]:
    """The parameters of a form post, by the input shape.

    Raises:
        ValueError: A number, boolean or timestamp that is none.
    """
    form = dict(parse_qsl(text, keep_blank_values=True))
    found = _structure(shape, form, "")
    return found if found is not None else {}


def _read(shape: Shape, form: dict[str, str], prefix: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, form, f"{prefix}.")
    if kind == "list":
        return _list(shape, form, prefix)
    if kind == "map":
        return _map(shape, form, prefix)
    text = form.get(prefix)
    return None if text is None else _scalar(shape, text)


def _structure(shape: Shape, form: dict[str, str], prefix: str) -> dict[str, Any] | None:
    if prefix and not any(key.startswith(prefix) for key in form):
        return None
    found = {}
    for name, member in shape.members.items():
        wire_name = member.serialization.get("name", name)
        if _flattened(member) and member.type_name == "list":
            own = member.serialization.get("name")
            wire_name = own or member.member.serialization.get("name", name)
        value = _read(member, form, f"{prefix}{wire_name}")
        if value is not None:
            found[name] = value
    return found


def _flattened(shape: Shape) -> bool:
    return bool(shape.serialization.get("flattened"))


def _numbers(form: dict[str, str], prefix: str) -> list[int]:
    start = f"{prefix}."
    found = set()
    for key in form:
        if key.startswith(start):
            head = key[len(start) :].split(".", 1)[0]
            if head.isdigit():
                found.add(int(head))
    return sorted(found)


def _list(shape: Shape, form: dict[str, str], prefix: str) -> list[Any] | None:
    if form.get(prefix) == "":
        return []
    base = prefix
    if not _flattened(shape):
        base = f"{prefix}.{shape.member.serialization.get('name', 'member')}"
    items = [_read(shape.member, form, f"{base}.{number}") for number in _numbers(form, base)]
    return items or None


def _map(shape: Shape, form: dict[str, str], prefix: str) -> dict[str, Any] | None:
    base = prefix if _flattened(shape) else f"{prefix}.entry"
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    found = {}
    for number in _numbers(form, base):
        key = form.get(f"{base}.{number}.{key_name}")
        if key is not None:
            found[key] = _read(shape.value, form, f"{base}.{number}.{value_name}")
    return found or None


def _scalar(shape: Shape, text: str) -> Any:
    kind = shape.type_name
    if kind in ("integer", "long"):
        return int(text)
    if kind in ("float", "double"):
        return float(text)
    if kind == "boolean":
        return text.lower() == "true"
    if kind == "timestamp":
        return parse_timestamp(text)
    if kind == "blob":
        return base64.b64decode(text)
    return text
