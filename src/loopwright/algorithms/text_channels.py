"""BlazingText's channels: a sentence a line, with labels as words or as augmented manifest lines.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/blazingtext.html.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from loopwright.algorithms import channels
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.text_words import LABEL, split
from loopwright.runtime.environment import Environment

_KNOWN: Final = ("text/plain", "application/jsonlines")


@dataclass(frozen=True)
class Sentence:
    """One line: its words, with the end of line, and its labels."""

    words: list[str]
    labels: list[str]


def sentences(environment: Environment, name: str, *, labelled: bool) -> list[Sentence]:
    """All lines of a channel that are not empty.

    Args:
        environment: The job's.
        name: The channel's.
        labelled: Whether each line must have a label; else labels are words like others.
    Raises:
        CustomerError: there are none, or a line has no label.
    """
    given = environment.channels[name].get("ContentType") or _KNOWN[0]
    media = given.partition(";")[0].strip().lower()
    if media not in _KNOWN:
        raise CustomerError(
            f"The channel {name} has the content type {given}; use {' or '.join(_KNOWN)}."
        )
    found = []
    for file, number, line in _lines(environment, name):
        sentence = _manifest(file, number, line) if media == _KNOWN[1] else Sentence(*split(line))
        if labelled and not sentence.labels:
            raise CustomerError(
                f"{file}, line {number} has no label; a label is a word that begins with {LABEL}."
            )
        found.append(sentence)
    if not found:
        raise CustomerError(f"The files of the channel {name} are empty.")
    return found


def _lines(environment: Environment, name: str) -> Iterator[tuple[str, int, str]]:
    for file, stream in channels.streams(environment, name):
        text = io.TextIOWrapper(stream, "utf-8", "replace", newline="\n")
        for number, line in enumerate(text, 1):
            if line.strip():
                yield file, number, line


def _manifest(file: str, number: int, line: str) -> Sentence:
    """A line such as {"source": "linux is ready", "label": [1, 3]}."""
    try:
        content: Any = orjson.loads(line)
        source, label = content["source"], content["label"]
    except (ValueError, KeyError, TypeError) as error:
        raise CustomerError(
            f'{file}, line {number} is not {{"source": "...", "label": 1}}: {error}.'
        ) from None
    words, more = split(str(source))
    labels = label if isinstance(label, list) else [label]
    named = [str(each) if str(each).startswith(LABEL) else f"{LABEL}{each}" for each in labels]
    return Sentence(words, [*named, *more])
