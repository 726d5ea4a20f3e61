"""How deep JSON may nest: what is read must be writable again, as a part of something larger."""

from typing import Any, Final

import orjson

NESTED_MAX: Final = 200
"""orjson reads 1,024 levels and writes 254."""


def is_too_deep(value: Any) -> bool:
    """Whether a parsed value nests deeper than `NESTED_MAX` levels."""
    layer = [value]
    for _ in range(NESTED_MAX):
        layer = [
            inner
            for item in layer
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not layer:
            return False
    return any(isinstance(item, dict | list) for item in layer)


def read_json(text: bytes | str) -> Any:
    """JSON that can be written again.

    Raises:
        ValueError: it is none, or it nests too deep.
    """
    value = orjson.loads(text)
    if is_too_deep(value):
        raise ValueError(f"it nests deeper than {NESTED_MAX} levels")
    return value
