"""House rules: sizes, imports, documents that are made from the code, nothing of this machine."""

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from loopwright import cli
from loopwright.config import Settings
from scripts.operations import page

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
ARGUMENTS_MAX = 7
# Declared lazy seams: a function may import where the module is costly and rarely needed.
LAZY_SEAMS = {"src/loopwright/__init__.py", "src/loopwright/commands/demo.py"}


def _sources() -> list[Path]:
    return sorted((ROOT / "src").rglob("*.py"))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes_and_imports(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES_MAX
    tree = ast.parse(text)
    name = str(path.relative_to(ROOT))
    for function in _functions(tree):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= FUNCTION_LINES_MAX, f"{function.name} has {lines} lines"
        arguments = function.args
        count = len([a for a in (*arguments.args, *arguments.kwonlyargs) if a.arg != "self"])
        assert count <= ARGUMENTS_MAX, f"{function.name} has {count} arguments"
        if name not in LAZY_SEAMS:
            inner = [n for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"{function.name} imports"
    if text.strip():
        assert ast.get_docstring(tree), "the module's first lines say what it knows"


def _scripts() -> list[Path]:
    return sorted((ROOT / "src").rglob("*.js"))


@pytest.mark.parametrize("path", _scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes_of_scripts(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= FILE_LINES_MAX
    said = [line for line in lines[:2] if line != "// @ts-check"]
    assert said[0].startswith("/**"), "the file's first lines say what it knows"
    # A function or method begins with a line that opens a brace after its parameters, and ends at a
    # closing brace of the same indentation.
    begin = re.compile(
        r"^( *)(?:(?:export |static |async |get |set )*[\w#$]+\(.*\)|.*=>|.*function\b.*\)) \{$"
    )
    words = re.compile(r"^ *(?:if|for|while|switch|else|try|catch|do)\b|^ *\} ")
    for number, line in enumerate(lines):
        found = begin.match(line)
        if not found or words.match(line):
            continue
        end = next(n for n in range(number, len(lines)) if lines[n].startswith(found[1] + "}"))
        assert end - number + 1 <= FUNCTION_LINES_MAX, (
            f"line {number + 1}: {end - number + 1} lines"
        )


def test_the_list_of_operations_is_the_code_s() -> None:
    assert (ROOT / "docs" / "operations.md").read_text() == page(), "run `make docs`"


def test_every_setting_and_command_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    for field in fields(Settings):
        assert f"`{field.name}`" in text, field.name
    commands = (ROOT / "docs" / "commands.md").read_text()
    for name, command in cli.program.commands.items():
        assert f"## {name}\n" in commands, name
        for flag in _flags(command):
            if flag not in ("--help", "--home", "--json"):
                assert f"`{flag}" in commands, (name, flag)


def _flags(command: click.Command) -> Iterator[str]:
    """The long options of a command and of those below it."""
    for parameter in command.params:
        yield from (flag for flag in parameter.opts if flag.startswith("--"))
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from _flags(below)


def test_nothing_of_this_machine_is_committed() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    machine = [f"/{'work'}/{name}" for name in ("main", "shared", ".")]
    marks = [*machine, "/" + "farm/", "index-" + "url = "]
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if not name or not path.is_file() or name.startswith("LICENSE"):
            continue
        assert path.stat().st_size <= 1_000_000, name
        text = path.read_text(errors="replace")
        found = [mark for mark in marks if mark in text]
        assert not found, (name, found)
