"""Endpoints that have no route, and why: for the words of a refusal, which keeps its code.

The control plane writes them into one file when they change; the gateway reads it when an endpoint
is not found, and only then.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

from loopwright.compute.folder import write_durably
from loopwright.wire.near import did_you_mean

FILE: Final = "run/endpoints.json"
WORDS: Final = {
    "Creating": "It is being created; invoke it once it is InService, as the waiter "
    "endpoint_in_service waits for.",
    "Failed": "Its creation failed; FailureReason of DescribeEndpoint says why.",
    "Deleting": "It is being deleted.",
}


class Waiting:
    """Writes the file. Used by one thread."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._written: dict[str, dict[str, str]] | None = None

    def tell(self, states: Mapping[str, Mapping[str, str]]) -> None:
        """The states of endpoints by region and name."""
        told = {region: dict(names) for region, names in states.items()}
        if told != self._written:
            write_durably(self._path, orjson.dumps(told))
            self._written = told


def why_not_found(home: Path, region: str, name: str) -> str:
    """What is known of an endpoint that has no route, to be added to the refusal; else empty."""
    try:
        told = orjson.loads((home / FILE).read_bytes()).get(region, {})
    except (OSError, ValueError):
        # Not written yet, or by an earlier version: nothing is known.
        return ""
    words = WORDS.get(told.get(name, ""), "")
    return f" {words}" if words else did_you_mean(name, told)
