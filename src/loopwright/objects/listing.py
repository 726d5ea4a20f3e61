"""Listing as a range scan: ordered by bytes, grouped by a delimiter without reading the groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

GROUPED_BATCH: Final = 100

Fetch = Callable[[bytes, int], Sequence[sa.Row[Any]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing: a row, or a group of keys with the same start (`row` is None)."""

    name: bytes
    row: sa.Row[Any] | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing; `next` is the least key of the next page, None at the end."""

    entries: list[Entry]
    next: bytes | None


def scan(fetch: Fetch, low: bytes, prefix: bytes, delimiter: bytes, limit: int) -> Page:
    """One page of the keys that begin with `prefix`.

    Args:
        fetch: Rows with a `key`, from a least key on, in order, at most so many.
        low: The least key of the page (inclusive).
        delimiter: Keys that have it after the prefix are grouped up to it; empty for no groups.
        limit: Entries of the page; rows and groups count alike.
    """
    low = max(low, prefix)
    entries: list[Entry] = []
    batch = min(GROUPED_BATCH, limit + 1) if delimiter else limit + 1
    while True:
        rows = fetch(low, batch)
        for row in rows:
            if row.key < low:
                continue  # Inside a group that was just skipped.
            if not row.key.startswith(prefix):
                return Page(entries, None)
            if len(entries) == limit:
                return Page(entries, row.key)
            group = group_of(row.key, prefix, delimiter)
            entries.append(Entry(row.key, row) if group is None else Entry(group, None))
            low = successor(row.key) if group is None else beyond(group)
        if len(rows) < batch:
            return Page(entries, None)


def successor(key: bytes) -> bytes:
    """The least byte string greater than `key`."""
    return key + b"\0"


def beyond(start: bytes) -> bytes:
    """The least byte string greater than all that begin with `start` (which is UTF-8)."""
    return start[:-1] + bytes([start[-1] + 1])


def after_marker(marker: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """The least key after a marker; a marker that is itself a group is passed with all its keys."""
    if marker and group_of(marker, prefix, delimiter) == marker:
        return beyond(marker)
    return successor(marker) if marker else b""


def group_of(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """The start of the key up to the first delimiter after the prefix; None without one."""
    if not delimiter or not key.startswith(prefix):
        return None
    found = key.find(delimiter, len(prefix))
    return None if found < 0 else key[: found + len(delimiter)]
