"""Rules for hyperparameters: each is a parser that returns a value or refuses it by name.

Values arrive as decoded JSON or as strings (`0.1`, "0.1", "auto"), as the clients send them.
"""

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.algorithms.errors import CustomerError

Parser = Callable[[str, Any], Any]
AUTO = "auto"


@dataclass(frozen=True)
class Parameter:
    """One documented hyperparameter.

    Attributes:
        parse: Makes the value from (name, given value); raises CustomerError.
        default: The value if it is not given.
        required: Whether it must be given.
    """

    parse: Parser
    default: Any = None
    required: bool = False


def validate(schema: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of an algorithm, checked, with the documented defaults for missing ones.

    Args:
        schema: name -> rule.
        given: Decoded values by name; those of the platform (sagemaker_...) already removed.
    Raises:
        CustomerError: one is missing, unknown, or not what its rule allows.
    """
    for name in given:
        if name not in schema:
            known = ", ".join(sorted(schema))
            raise CustomerError(
                f"There is no hyperparameter {name}; check its spelling. Known are {known}."
            )
    missing = [name for name, rule in schema.items() if rule.required and name not in given]
    if missing:
        raise CustomerError(f"The hyperparameter {missing[0]} is required.")
    return {
        name: rule.parse(name, given[name]) if name in given else rule.default
        for name, rule in schema.items()
    }


def bounded(kind: Callable[[str], Any], bounds: str) -> Parser:
    """A parser for numbers within bounds written as `[0,1]`, `(0,1]`, `[1,)`."""
    low_text, high_text = bounds[1:-1].split(",")
    low = float(low_text) if low_text else -math.inf
    high = float(high_text) if high_text else math.inf

    def parse(name: str, value: Any) -> Any:
        try:
            number = kind(text_of(value))
        except ValueError:
            what = "an integer" if kind is int else "a number"
            raise wrong(name, value, f"must be {what} in {bounds}") from None
        above = number >= low if bounds[0] == "[" else number > low
        below = number <= high if bounds[-1] == "]" else number < high
        if not (above and below):
            raise wrong(name, value, f"must be in {bounds}")
        return number

    return parse


def one_of(*choices: str) -> Parser:
    """A parser for words."""

    def parse(name: str, value: Any) -> Any:
        text = text_of(value)
        if text not in choices:
            raise wrong(name, value, f"must be one of {', '.join(choices)}")
        return text

    return parse


def flag(name: str, value: Any) -> bool:
    """The parser for truth values: true and false in any case."""
    text = text_of(value).lower()
    if text not in ("true", "false"):
        raise wrong(name, value, "must be true or false")
    return text == "true"


def or_auto(parse: Parser) -> Parser:
    """A parser that also takes the word auto."""

    def either(name: str, value: Any) -> Any:
        return AUTO if text_of(value) == AUTO else parse(name, value)

    return either


def some_of(*choices: str) -> Parser:
    """A parser for lists of words, as JSON, as a Python list or separated by commas."""

    def parse(name: str, value: Any) -> Any:
        found = value
        if isinstance(value, str):
            try:
                found = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                found = [part.strip() for part in value.split(",")]
            if isinstance(found, str):
                found = [found]
        if not isinstance(found, list | tuple) or not found:
            raise wrong(name, value, f"must be a list of {', '.join(choices)}")
        for item in found:
            if item not in choices:
                raise wrong(name, value, f"must hold only {', '.join(choices)}")
        return tuple(dict.fromkeys(found))

    return parse


POSITIVE_INTEGER = bounded(int, "[1,)")
POSITIVE = bounded(float, "(0,)")
NOT_NEGATIVE = bounded(float, "[0,)")
INSIDE_UNIT = bounded(float, "(0,1)")
BELOW_ONE = bounded(float, "[0,1)")
NUMBER = bounded(float, "(,)")


def text_of(value: Any) -> str:
    """A value as its string form; JSON's true and false in lower case."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def wrong(name: str, value: Any, rule: str) -> CustomerError:
    """The refusal of a value, by name and rule."""
    return CustomerError(f"The hyperparameter {name} is {value!r}; it {rule}.")
