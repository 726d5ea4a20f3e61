"""Sample values of a model's shapes, and mutations that break one constraint each."""

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.model import Shape

from loopwright.wire.validate import compiled

# Patterns whose shortest match is not found by the guesses below.
GUESSES = (
    "a", "abc", "a-b", "1", "10", "s3://bucket/key", "https://example.com/x",
    "arn:aws:sagemaker:us-east-1:123456789012:thing/name",
    "arn:aws:iam::123456789012:role/Role", "arn:aws:s3:::bucket", "123456789012", "/opt/ml/x",
    "arn:aws:kms:us-east-1:123456789012:key/abc", "2024-01-01T00:00:00Z", "1.0", "ml.m5.large",
    "arn:aws:lambda:us-east-1:123456789012:function:f", "PT5M", "cron(0 * ? * * *)", "x@y.z",
    "arn:aws:sns:us-east-1:123456789012:topic", "sg-12345678", "subnet-12345678", "vpc-1", "/a",
    "arn:aws:secretsmanager:us-east-1:123456789012:secret:a", "fs-0123456789abcdef0", "a/b:c",
    "us-east-1", "10.0.0.0/16", "-PT1H", "d-abcdefgh", "$.a", "[1, 2]", "aGVsbG8=", "v1", "A", "ab",
    "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_abc", "us-east-1_abc",
)  # fmt: skip


class NoSample(Exception):
    """No guess satisfies the shape."""


def sample(shape: Shape, depth: int = 0) -> Any:
    """A valid value with every member that can be given."""
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, depth)
    if kind == "list":
        count = max(shape.metadata.get("min", 1), 1)
        return [sample(shape.member, depth + 1) for _ in range(count)]
    if kind == "map":
        return {sample(shape.key, depth + 1): sample(shape.value, depth + 1)}
    if kind in ("integer", "long"):
        return int(max(shape.metadata.get("min", 1), min(1, shape.metadata.get("max", 1))))
    if kind in ("float", "double"):
        return float(shape.metadata.get("min", 0.5))
    if kind == "boolean":
        return True
    if kind == "timestamp":
        return datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    if kind == "blob":
        return b"x" * max(shape.metadata.get("min", 1), 1)
    return _text(shape)


def least(shape: Shape) -> Any:
    """A valid value with the members that must be given, and no others."""
    if shape.type_name == "structure":
        return {name: least(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [least(shape.member) for _ in range(shape.metadata.get("min", 0))]
    return sample(shape)


def _structure(shape: Shape, depth: int) -> dict[str, Any]:
    found = {}
    for name, member in shape.members.items():
        needed = name in shape.required_members
        if shape.is_tagged_union and found:
            break
        if not needed and depth > 4 and not shape.is_tagged_union:
            continue
        try:
            found[name] = sample(member, depth + 1)
        except NoSample:
            if needed:
                raise
    return found


def _text(shape: Shape) -> str:
    if shape.metadata.get("enum"):
        return str(shape.metadata["enum"][0])
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 10_000)
    pattern = shape.metadata.get("pattern")
    for guess in GUESSES:
        text = guess
        if len(text) < least:
            text = (guess * (least // len(guess) + 1))[: max(least, 1)]
        if least <= len(text) <= most and (pattern is None or compiled(pattern).fullmatch(text)):
            return text
    for repeats in (1, 2, 3, 5, 12, 20, 40):
        text = _matching(pattern, repeats) if pattern else ""
        if text and least <= len(text) <= most and compiled(pattern).fullmatch(text):
            return text
    raise NoSample(f"{shape.name}: {pattern}")


@cache
def _matching(pattern: str, repeats: int) -> str:
    """A text that the pattern probably matches, its loops taken about so many times."""
    plain = re.sub(r"\\p\{\w+\}", "a", pattern)
    try:
        return _text_of(re._parser.parse(plain), repeats)  # type: ignore[attr-defined]
    except re.error:
        return ""


def _text_of(parsed: Any, repeats: int) -> str:
    out = ""
    for kind, value in parsed:
        name = str(kind)
        if name == "LITERAL":
            out += chr(value)
        elif name == "ANY":
            out += "a"
        elif name == "IN":
            out += _member_of(value)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, item = value
            out += _text_of(item, repeats) * int(max(least, min(most, repeats)))
        elif name == "SUBPATTERN":
            out += _text_of(value[-1], repeats)
        elif name == "BRANCH":
            out += _text_of(value[1][0], repeats)
    return out


def _member_of(items: Any) -> str:
    """A character of a class; a negated one is left to the letter a."""
    for kind, value in items:
        name = str(kind)
        if name == "NEGATE":
            return "a"
        if name == "LITERAL":
            return chr(value)
        if name == "RANGE":
            return chr(value[0])
        if name == "CATEGORY":
            return "1" if "DIGIT" in str(value) and "NOT" not in str(value) else "a"
    return "a"


def mutations(shape: Shape, value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(member path, container and key to change, bad value): each breaks one constraint."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, member in shape.members.items():
            if name not in value:
                continue
            for bad in _bad_values(member):
                yield f"{path}{name}", (value, name), bad
            # The client itself fills in a token that is missing.
            token = member.metadata.get("idempotencyToken")
            if name in shape.required_members and not token:
                yield f"{path}{name}", (value, name), None
            yield from mutations(member, value[name], f"{path}{name}.")
    elif shape.type_name == "list" and isinstance(value, list) and value:
        yield from mutations(shape.member, value[0], path)


def _bad_values(shape: Shape) -> Iterator[Any]:
    kind = shape.type_name
    if kind == "string":
        if shape.metadata.get("enum"):
            yield "no-such-value"
        if shape.metadata.get("max", 10**9) < 100_000:
            yield "x" * (shape.metadata["max"] + 1)
        pattern = shape.metadata.get("pattern")
        if pattern and not compiled(pattern).fullmatch("\x01"):
            yield "\x01" * max(1, shape.metadata.get("min", 1))
    elif kind in ("integer", "long", "float", "double"):
        if "max" in shape.metadata:
            yield shape.metadata["max"] + 1
        if "min" in shape.metadata:
            yield shape.metadata["min"] - 1


def chosen(items: list[Any], most: int, seed: int) -> list[Any]:
    """At most so many of the items, the same ones for a seed."""
    return items if len(items) <= most else random.Random(seed).sample(items, most)
