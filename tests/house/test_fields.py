"""No field of a request is silently ignored: the code names it, or docs/fields.md lists it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from botocore.model import Shape

from loopwright.wire.services import service

ROOT = Path(__file__).parents[2]
DEPTH = 4
READS = ("Describe", "List", "Get", "Delete", "Stop", "Batch", "Filter", "Simulate", "Remove")
SKIPPED = {"s3": "headers and queries, which tests/objects and tests/real cover form by form"}


def operations() -> list[tuple[str, str]]:
    """Service and name of all that create or change something."""
    found, now = [], ""
    for line in (ROOT / "docs/operations.md").read_text().splitlines():
        if match := re.match(r"## ([\w-]+) \(", line):
            now = match[1]
        match = re.match(r"- `(\w+)`", line)
        if match and now not in SKIPPED and not match[1].startswith(READS):
            found.append((now, match[1]))
    return found


@cache
def named() -> frozenset[str]:
    """Every word of every string of the code, its documentation left out."""
    words: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        texts = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and id(node) not in texts:
                words |= set(re.findall(r"\w+", node.value if type(node.value) is str else ""))
    return frozenset(words)


@cache
def tables() -> list[tuple[list[str], set[str]]]:
    """Of each table of docs/fields.md its services and its fields."""
    found: list[tuple[list[str], set[str]]] = []
    for line in (ROOT / "docs/fields.md").read_text().splitlines():
        if line.startswith("## "):
            found.append(([name.strip() for name in line[3:].split(",")], set()))
        elif line.startswith("| `"):
            _, fields, what, why, _ = line.split("|")
            assert what.strip() in ("kept", "unused", "refused"), line
            assert why.strip(), line
            found[-1][1].update(re.findall(r"`([\w.]+)`", fields))
    return found


def listed(of: str) -> set[str]:
    """The fields of a service that docs/fields.md lists."""
    return {field for services, fields in tables() if of in services for field in fields}


def unnamed(shape: Shape | None, of: str, where: str, depth: int = 1) -> Iterator[str]:
    """The members of a request that nothing names."""
    if shape is None or depth > DEPTH:
        return
    if shape.type_name == "list":
        yield from unnamed(shape.member, of, where, depth)
    elif shape.type_name == "map":
        yield from unnamed(shape.value, of, where, depth)
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            path = f"{where}.{name}"
            if any(f".{path}".endswith(f".{entry}") for entry in listed(of)):
                continue
            if name not in named() and not _generic(name, where):
                yield path
            else:
                yield from unnamed(member, of, path, depth + 1)


def _generic(name: str, where: str) -> bool:
    """A record's name, which the generic verbs read by its kind's."""
    return bool(
        re.fullmatch(rf"(Create|Update|Start)?{re.escape(name.removesuffix('Name'))}", where)
    )


@pytest.mark.parametrize(("of", "name"), operations(), ids=lambda value: value)
def test_no_field_is_silently_ignored(of: str, name: str) -> None:
    shape = service(of).operation_model(name).input_shape
    ignored = list(unnamed(shape, of, name))
    assert not ignored, "honour it, refuse it by name, or list it in docs/fields.md"


@pytest.mark.parametrize("table", tables(), ids=lambda table: table[0][0])
def test_the_list_names_no_field_that_there_is_not(table: tuple[list[str], set[str]]) -> None:
    services, fields = table
    known = {
        member
        for of, name in operations()
        if of in services
        for member in _members(service(of).operation_model(name).input_shape, frozenset())
    }
    assert {field for field in fields if field.rpartition(".")[2] not in known} == set()


def _members(shape: Shape | None, above: frozenset[str]) -> Iterator[str]:
    if shape is None or shape.name in above:
        return
    if shape.type_name == "list":
        yield from _members(shape.member, above)
    elif shape.type_name == "map":
        yield from _members(shape.value, above)
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            yield name
            yield from _members(member, above | {shape.name})
