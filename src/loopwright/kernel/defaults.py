"""What the service fills in where a request leaves it out, at every depth, declared once a kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Given:
    """Defaults within a structure that is only there when the request has it."""

    members: Mapping[str, Any]


@dataclass(frozen=True)
class Each:
    """Defaults within each item of a list."""

    members: Mapping[str, Any]


def filled(spec: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with its defaults; filling it again changes nothing.

    Args:
        defaults: By member: `Each` for lists, `Given` for structures that the request may lack, a
            mapping for structures that are made where they are missing, otherwise the value.
    """
    found = dict(spec)
    for name, default in defaults.items():
        value = found.get(name)
        if isinstance(default, Each):
            if value is not None:
                found[name] = [filled(item, default.members) for item in value]
        elif isinstance(default, Given):
            if value is not None:
                found[name] = filled(value, default.members)
        elif isinstance(default, Mapping):
            found[name] = filled(value or {}, default)
        elif value is None:
            found[name] = default
    return found
