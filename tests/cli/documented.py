"""The commands that stand in README.md and docs/, as words, with what stands for a value kept."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from loopwright.cli import program

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
CALL = re.compile(r"(?:^|[\s(\"'/])(loopwright [a-z-]+[^\n]*)")
# `N` or `N…` where a number is wanted.
NUMBER = re.compile(r"[A-Z]")


@dataclass(frozen=True)
class Documented:
    """A command in a document: where, as it is printed, and its words behind `loopwright`."""

    page: str
    text: str
    words: tuple[str, ...]


def documented() -> list[Documented]:
    """Each command once."""
    found: dict[tuple[str, ...], Documented] = {}
    for path in PAGES:
        for text in _texts(path):
            words = tuple(_words(text))
            found.setdefault(words, Documented(path.name, text, words))
    return list(found.values())


def _texts(path: Path) -> Iterator[str]:
    text = path.read_text()
    for block in FENCE.findall(text):
        yield from (found for line in block.splitlines() for found in CALL.findall(line))
    for code in INLINE.findall(FENCE.sub("", text)):
        yield from CALL.findall(code)
        # The page of commands leaves out the program's name.
        if path.name == "commands.md" and code.partition(" ")[0] in program.commands:
            yield f"loopwright {code}"


def _words(text: str) -> list[str]:
    """The words of a shell's line up to what ends the command."""
    text = re.sub(r"\)\"?$", "", text.strip().rstrip("&").strip())
    text = re.split(r"\s?;|\s[|#>&]", text)[0]
    words = shlex.split(text.replace("…", ""))[1:]
    return [*_with_numbers(words)]


def _with_numbers(words: list[str]) -> Iterator[str]:
    """Letters that stand for a number become one."""
    command: click.Command = program
    for before, word in zip(["", *words], words, strict=False):
        option = next((p for p in command.params if before in p.opts), None)
        number = option is not None and option.type in (click.INT, click.FLOAT)
        yield "2" if number and NUMBER.fullmatch(word) else word
        if isinstance(command, click.Group):
            command = command.commands.get(word, command)
