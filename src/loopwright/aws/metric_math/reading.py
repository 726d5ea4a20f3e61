"""From the text of an expression to steps for a machine with a stack.

Grammar and precedence: CloudWatch's user guide, "Metric math syntax and functions"; as usual, `^`
binds closest and to the right, then unary `-`, then `*` and `/`, `+` and `-`, comparisons, AND, OR.
Nothing here calls itself, so no depth of parentheses is too deep.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

NUMBER: Final = "number"
NAME: Final = "id"
TEXT: Final = "text"
WORD: Final = "word"
UNARY: Final = "unary"
BINARY: Final = "binary"
CALL: Final = "call"
ARRAY: Final = "array"
WORDS: Final = frozenset("REPEAT LINEAR AVG MIN MAX SUM ASC DESC".split())
"""What may stand as an argument without being a value."""
REFUSED: Final[Mapping[str, str]] = {
    "SEARCH": "name the metrics by MetricStat, and combine them with METRICS()",
    "ANOMALY_DETECTION_BAND": "compare with a threshold, or with AVG and STDDEV of the metric",
    "SERVICE_QUOTA": "write the quota as a number",
    "DB_PERF_INSIGHTS": "name the metrics by MetricStat",
    "INSIGHT_RULE_METRIC": "put what the rule counts as a metric, and name it by MetricStat",
    "LAMBDA": "compute the series outside, and put it as a metric",
}
_QUERY: Final = re.compile(r"\s*SELECT\s", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<text>"[^"]*"|'[^']*')
      | (?P<sign>==|!=|<=|>=|&&|\|\||[-+*/^<>()\[\],])
    )""",
    re.VERBOSE,
)
_PRECEDENCE: Final[Mapping[str, int]] = {
    "OR": 1, "AND": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, UNARY: 6, "^": 7,
}  # fmt: skip
_SAME: Final[Mapping[str, str]] = {"&&": "AND", "||": "OR"}


class Malformed(ValueError):
    """No expression; the text says why."""


@dataclass(frozen=True)
class Step:
    """One step: put a value on the stack, or replace `count` of them by their result."""

    what: str
    value: float | str = ""
    count: int = 0


@dataclass
class _Open:
    """An operator, or a bracket that is not closed: a function's, an array's or a plain one."""

    sign: str
    function: str = ""
    count: int = 1


@lru_cache(maxsize=1024)
def read_expression(text: str) -> tuple[Step, ...]:
    """Read an expression.

    Raises:
        Malformed: it does not follow the grammar, or uses what is not served.
    """
    if _QUERY.match(text):
        raise Malformed(
            "SELECT (Metrics Insights) is not supported by Loopwright: name the metrics by "
            "MetricStat, and combine them by metric math"
        )
    return _Reader(_tokens(text)).steps()


def ids_in(steps: Sequence[Step]) -> list[str]:
    """The ids that an expression names, each once."""
    return list(dict.fromkeys(str(step.value) for step in steps if step.what == NAME))


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text) of each."""
    found: list[tuple[str, str]] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Malformed(f"{text[at:].strip()[:40]!r} is not expected where it stands")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        at = match.end()
    return found


class _Reader:
    """Dijkstra's shunting yard, with functions and arrays."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._found: list[Step] = []
        self._open: list[_Open] = []

    def steps(self) -> tuple[Step, ...]:
        """All of them, in the order in which they are done."""
        expects = True
        while self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            self._at += 1
            expects = self._operand(kind, text) if expects else self._operator(kind, text)
        if expects:
            raise Malformed("it ends where a value is expected")
        self._reduce()
        if self._open:
            raise Malformed(f"{self._open[-1].sign!r} is not closed")
        return tuple(self._found)

    def _next_is(self, sign: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == ("sign", sign):
            self._at += 1
            return True
        return False

    def _operand(self, kind: str, text: str) -> bool:
        """Take what stands where a value is expected; whether one still is."""
        if kind == "number":
            self._found.append(Step(NUMBER, float(text)))
        elif kind == "text":
            self._found.append(Step(TEXT, text[1:-1]))
        elif kind == "word":
            return self._word(text)
        elif text == "-":
            self._open.append(_Open(UNARY))
            return True
        elif text in ("(", "["):
            self._open.append(_Open(text))
            return True
        else:
            raise Malformed(f"{text!r} stands where a value is expected")
        return False

    def _word(self, text: str) -> bool:
        if self._next_is("("):
            if text in REFUSED:
                raise Malformed(f"{text} is not supported by Loopwright: {REFUSED[text]}")
            if self._next_is(")"):
                self._found.append(Step(CALL, text, 0))
                return False
            self._open.append(_Open("(", text))
            return True
        if text[0].islower():
            self._found.append(Step(NAME, text))
        elif text in WORDS:
            self._found.append(Step(WORD, text))
        else:
            raise Malformed(
                f"{text!r} is neither an id, which starts with a small letter, nor known"
            )
        return False

    def _operator(self, kind: str, text: str) -> bool:
        """Take what stands after a value; whether a value is expected now."""
        sign = _SAME.get(text, text)
        if sign in (")", "]", ","):
            return self._delimiter(sign)
        if sign not in _PRECEDENCE or kind == "text":
            raise Malformed(f"{text!r} stands where an operator is expected")
        self._reduce(_PRECEDENCE[sign] + (sign == "^"))
        self._open.append(_Open(sign))
        return True

    def _delimiter(self, sign: str) -> bool:
        self._reduce()
        if not self._open:
            raise Malformed(f"{sign!r} is not expected where it stands")
        bracket = self._open[-1]
        if sign == ",":
            if bracket.sign == "(" and not bracket.function:
                raise Malformed("',' stands in parentheses that belong to no function")
            bracket.count += 1
            return True
        self._open.pop()
        if (bracket.sign == "[") != (sign == "]"):
            raise Malformed(f"{sign!r} closes {bracket.sign!r}")
        if sign == "]":
            self._found.append(Step(ARRAY, "", bracket.count))
        elif bracket.function:
            self._found.append(Step(CALL, bracket.function, bracket.count))
        return False

    def _reduce(self, least: int = 0) -> None:
        """Do the operators that bind at least so closely, back to the last bracket."""
        while self._open and _PRECEDENCE.get(self._open[-1].sign, -1) >= least:
            sign = self._open.pop().sign
            unary = sign == UNARY
            self._found.append(Step(UNARY, "-", 1) if unary else Step(BINARY, sign, 2))
