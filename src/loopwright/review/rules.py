"""Review rules: which answers of an endpoint people should look at. Pure: reads bodies, decides.

A rule looks at the confidence of each row of an answer: the highest of its class probabilities, or
of a single probability `p` the larger of `p` and `1 - p`. Below the threshold of the predicted
class people are asked; beyond that a random share is, which the event's id decides.
"""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.wire.depth import read_json
from loopwright.wire.errors import validation

STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
TEXTS: Final = ("text/", "application/json", "application/jsonlines", "application/x-ndjson")
LINES: Final = ("application/jsonlines", "application/x-ndjson", "application/x-jsonlines")
USUAL: Final = ("predictions", "probabilities", "outputs", "scores", "score")
ROW_USUAL: Final = ("score", "probability", "confidence", "probabilities", "scores")
LABEL_USUAL: Final = ("predicted_label", "label", "class")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an answer.

    Attributes:
        label: The predicted class: its name, or its index as text.
        confidence: From 0 to 1.
    """

    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why people are asked: `low-confidence` or `sample`, and the row that decided."""

    reason: str
    row: Row | None


def at(path: str, document: Any) -> Any:
    """The part of a document at a path such as `predictions[0].score`; None when it has none."""
    found = document
    for name, index in STEP.findall(path.removeprefix("$")):
        try:
            found = found[name] if name else found[int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return found


def parse(body: bytes, content_type: str) -> Any:
    """A body as JSON values: CSV and JSON lines as rows, other text as text, else None."""
    bare = content_type.partition(";")[0].strip().lower()
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    try:
        if bare in ("text/csv", "application/csv"):
            return [[_cell(cell) for cell in row] for row in csv.reader(io.StringIO(text)) if row]
        if bare in LINES:
            return [read_json(line) for line in text.splitlines() if line.strip()]
        return read_json(body)
    except (ValueError, csv.Error):
        return text if bare.startswith("text/") else None


def _cell(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def source_of(body: bytes, content_type: str) -> str:
    """A request as templates can show and manifests can hold it: text, or a `data:` address."""
    bare = content_type.partition(";")[0].strip().lower()
    if bare.startswith(TEXTS) or not bare:
        try:
            # A zero byte is in no text that every database keeps.
            if b"\0" not in body:
                return body.decode()
        except UnicodeDecodeError:
            bare = bare or "application/octet-stream"
    return f"data:{bare};base64,{base64.b64encode(body).decode()}"


def rows_of(answer: Any, rule: Mapping[str, Any]) -> list[Row]:
    """The rows of a parsed answer; none when it shows no probabilities."""
    given = answer
    if path := rule.get("ProbabilityPath"):
        given = at(path, answer)
    elif isinstance(answer, Mapping):
        given = next((answer[name] for name in USUAL if name in answer), answer)
    names = rule.get("Labels", [])
    items = given if _is_rows(given, names) else [given]
    found = [_row(item, names) for item in items]
    if label_path := rule.get("LabelPath"):
        label = at(label_path, answer)
        return [Row(str(label), row.confidence) for row in found if row and label is not None]
    return [row for row in found if row is not None]


def _is_rows(given: Any, names: Sequence[str]) -> bool:
    """Whether a list holds rows, and not the probabilities of one row's classes."""
    if not isinstance(given, list) or not given:
        return False
    if isinstance(given[0], list | Mapping):
        return True
    total = sum(value for value in given if isinstance(value, int | float))
    return len(given) != len(names) and not (len(given) > 1 and abs(total - 1.0) < 1e-3)


def _row(item: Any, names: Sequence[str]) -> Row | None:
    label = None
    if isinstance(item, Mapping):
        label = next((item[name] for name in LABEL_USUAL if name in item), None)
        item = next((item[name] for name in ROW_USUAL if name in item), None)
    values = [value for value in item if _is_number(value)] if isinstance(item, list) else [item]
    if not values or not all(_is_number(value) and 0 <= value <= 1 for value in values):
        return None
    if len(values) == 1:
        index, confidence = int(values[0] >= 0.5), max(values[0], 1 - values[0])
    else:
        confidence = max(values)
        index = values.index(confidence)
    if isinstance(label, int | float) and not isinstance(label, bool):
        index, label = int(label), None
    named = names[index] if 0 <= index < len(names) else str(index)
    return Row(str(label) if label is not None else named, float(confidence))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def decide(rule: Mapping[str, Any], rows: Sequence[Row], event: str) -> Verdict | None:
    """Whether people are asked about an answer; None: they are not."""
    thresholds = rule.get("ClassThresholds", {})
    default = rule.get("ConfidenceThreshold", 0.0)
    doubtful = [row for row in rows if row.confidence < thresholds.get(row.label, default)]
    if doubtful:
        return Verdict("low-confidence", min(doubtful, key=lambda row: row.confidence))
    digest = hashlib.sha256(f"{rule['RuleName']}/{event}".encode()).digest()
    drawn = int.from_bytes(digest[:8], "big") / 2**64 * 100.0
    if drawn < rule.get("RandomPercentage", 0.0):
        return Verdict("sample", rows[0] if rows else None)
    return None


def check_rule(rule: Mapping[str, Any]) -> None:
    """Refuse a rule that could not work.

    Raises:
        ApiError: `ValidationException`.
    """
    default = rule.get("ConfidenceThreshold")
    share = rule.get("RandomPercentage")
    thresholds = rule.get("ClassThresholds", {})
    if default is None and not share and not thresholds:
        raise validation("Give ConfidenceThreshold, ClassThresholds or RandomPercentage.")
    for name, value in {"ConfidenceThreshold": default or 0.0, **thresholds}.items():
        if not 0 <= value <= 1:
            raise validation(f"The threshold {name} is {value}; it must be from 0 to 1.")
    if share is not None and not 0 <= share <= 100:
        raise validation(f"RandomPercentage is {share}; it must be from 0 to 100.")
    names = rule.get("Labels", [])
    unknown = sorted(set(thresholds) - set(names)) if names else []
    if unknown:
        raise validation(
            f"ClassThresholds names {unknown[0]!r}, which is none of Labels: {', '.join(names)}."
        )


def label_of(answers: Sequence[Mapping[str, Any]], path: str) -> tuple[str | None, float]:
    """What most workers said, and the share of them; ties go to the label said first.

    Args:
        answers: Answer objects of the workers.
        path: Where the label is in them; empty: the first `label` or text in the answer.
    """
    given = [found for answer in answers if (found := _said(answer, path)) is not None]
    if not given:
        return None, 0.0
    best = max(dict.fromkeys(given), key=given.count)
    return best, given.count(best) / len(given)


def _said(answer: Any, path: str) -> str | None:
    found = at(path, answer) if path else _first_label(answer)
    return None if found is None or isinstance(found, Mapping | list) else str(found)


def _first_label(answer: Any) -> Any:
    if not isinstance(answer, Mapping):
        return None
    for value in answer.values():
        if isinstance(value, Mapping) and "label" in value:
            return value["label"]
        if isinstance(value, str):
            return value
    return None
