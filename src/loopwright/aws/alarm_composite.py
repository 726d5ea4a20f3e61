"""The rules of composite alarms: `ALARM(a) AND (OK("b") OR NOT INSUFFICIENT_DATA(c))`.

Grammar: PutCompositeAlarm's `AlarmRule` in the API reference. NOT binds closest, then AND, then OR.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

CHILDREN_MAX: Final = 100
ELEMENTS_MAX: Final = 500
STATES: Final = ("ALARM", "OK", "INSUFFICIENT_DATA")
_TEST: Final = re.compile(
    r'\s*(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:"([^"]+)"|([^\s"()]+))\s*\)', re.IGNORECASE
)
_WORD: Final = re.compile(r"\s*(AND|OR|NOT|TRUE|FALSE)\b|\s*([()])", re.IGNORECASE)
StateOf = Callable[[str], str]
"""`state_of(name)`: the state of the alarm that the rule names; a missing one counts as OK."""


class Malformed(ValueError):
    """No rule; the text says why."""


@dataclass(frozen=True)
class Rule:
    """A rule that was read.

    Attributes:
        names: Of the alarms that it is about, each once, as they stand in it without ARNs.
        holds: `holds(state_of)`: whether the alarm is to be in ALARM.
    """

    names: tuple[str, ...]
    holds: Callable[[StateOf], bool]


def name_of(reference: str) -> str:
    """The name of an alarm, of its name or its ARN."""
    if reference.startswith("arn:"):
        return reference.partition(":alarm:")[2] or reference
    return reference


def read_rule(text: str) -> Rule:
    """Read a rule.

    Raises:
        Malformed: it does not follow the grammar, or is about too much.
    """
    tokens = _tokens(text)
    if len(tokens) > ELEMENTS_MAX:
        raise Malformed(f"it has {len(tokens)} elements; the most is {ELEMENTS_MAX}")
    reader = _Reader(tokens)
    holds = reader.either()
    if reader.left:
        raise Malformed(f"{reader.left[0]!r} is not expected where it stands")
    names = tuple(dict.fromkeys(token[1] for token in tokens if isinstance(token, tuple)))
    if len(names) > CHILDREN_MAX:
        raise Malformed(f"it is about {len(names)} alarms; the most is {CHILDREN_MAX}")
    return Rule(names, holds)


Token = str | tuple[str, str]


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while text[at:].strip():
        test = _TEST.match(text, at)
        word = _WORD.match(text, at)
        if test is not None:
            found.append((test[1].upper(), name_of(test[2] or test[3])))
            at = test.end()
        elif word is not None:
            found.append((word[1] or word[2]).upper())
            at = word.end()
        else:
            raise Malformed(f"{text[at:].strip()[:40]!r} is neither a function nor an operator")
    return found


class _Reader:
    """By descent, one method a level."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.left = list(tokens)

    def _took(self, word: str) -> bool:
        if self.left and self.left[0] == word:
            del self.left[0]
            return True
        return False

    def either(self) -> Callable[[StateOf], bool]:
        parts = [self.both()]
        while self._took("OR"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda of: any(part(of) for part in parts)

    def both(self) -> Callable[[StateOf], bool]:
        parts = [self.one()]
        while self._took("AND"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else lambda of: all(part(of) for part in parts)

    def one(self) -> Callable[[StateOf], bool]:
        if self._took("NOT"):
            denied = self.one()
            return lambda of: not denied(of)
        if self._took("("):
            inner = self.either()
            if not self._took(")"):
                raise Malformed("a parenthesis is not closed")
            return inner
        if not self.left:
            raise Malformed("it ends where a function is expected")
        token = self.left.pop(0)
        if isinstance(token, tuple):
            state, name = token
            return lambda of: of(name) == state
        if token in ("TRUE", "FALSE"):
            return lambda of: token == "TRUE"
        raise Malformed(f"{token!r} stands where a function is expected")
