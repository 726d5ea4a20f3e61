"""When a built-in task type asks people: the documented JSON grammar, checked and evaluated.

`{"Conditions": [C, …]}`: any true one starts a loop, and all are evaluated. `C` is
`{"ConditionType", "ConditionParameters"}`, or `{"And": [C, C, …]}`, `{"Or": [C, C, …]}` of at
least two members, at most two levels deep (developer guide, "JSON Schema for Human Loop Activation
Conditions in Amazon A2I"). Every node comes back with its `EvaluationResult`.
"""

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from loopwright.wire.errors import validation

TEXTRACT: Final = "textract"
REKOGNITION: Final = "rekognition"
SOURCES: Final = {
    "AWS/Textract/AnalyzeDocument/Forms/V1": TEXTRACT,
    "AWS/Rekognition/DetectModerationLabels/Image/V3": REKOGNITION,
}
COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
SAMPLING: Final = "Sampling"
MISSING_KEY: Final = "MissingImportantFormKey"
KEY_CONFIDENCE: Final = "ImportantFormKeyConfidenceCheck"
LABEL_CONFIDENCE: Final = "ModerationLabelConfidenceCheck"
TYPES: Final = {
    TEXTRACT: (KEY_CONFIDENCE, MISSING_KEY, SAMPLING),
    REKOGNITION: (LABEL_CONFIDENCE, SAMPLING),
}
LEVELS_MAX: Final = 2
EVERY: Final = "*"
Condition = Mapping[str, Any]


def check_conditions(text: str, source: str) -> list[Condition]:
    """The conditions of a flow, refused when the grammar does not know them.

    Args:
        source: `TEXTRACT` or `REKOGNITION`.

    Raises:
        ApiError: `ValidationException` naming the place.
    """
    where = "HumanLoopActivationConditions"
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise validation(f"{where} is no JSON: {error}") from None
    conditions = document.get("Conditions") if isinstance(document, dict) else None
    if not isinstance(conditions, list) or not conditions or set(document) != {"Conditions"}:
        raise validation(f'{where} must be {{"Conditions": [...]}} with at least one condition.')
    for index, condition in enumerate(conditions):
        _check(condition, source, f"{where}.Conditions[{index}]", 1)
    return conditions


def _check(condition: Any, source: str, where: str, level: int) -> None:
    if not isinstance(condition, dict):
        raise validation(f"{where} is {condition!r}; it must be an object.")
    for word in ("And", "Or"):
        if word in condition:
            _check_group(condition, word, source, where, level)
            return
    kind = condition.get("ConditionType")
    if kind not in TYPES[source]:
        raise validation(
            f"{where}.ConditionType is {kind!r}; for this source it must be one of "
            f"{', '.join(TYPES[source])}."
        )
    if extra := set(condition) - {"ConditionType", "ConditionParameters"}:
        raise validation(f"{where} has the unknown member {min(extra)!r}.")
    parameters = condition.get("ConditionParameters")
    if not isinstance(parameters, dict):
        raise validation(f"{where}.ConditionParameters is missing.")
    CHECKS[kind](parameters, f"{where}.ConditionParameters")


def _check_group(
    condition: Mapping[str, Any], word: str, source: str, where: str, level: int
) -> None:
    members = condition[word]
    if len(condition) != 1 or not isinstance(members, list) or len(members) < 2:
        raise validation(f"{where}.{word} must be alone, and a list of at least two conditions.")
    if level > LEVELS_MAX:
        raise validation(f"{where} nests deeper than {LEVELS_MAX} levels.")
    for index, member in enumerate(members):
        _check(member, source, f"{where}.{word}[{index}]", level + 1)


def _check_members(
    parameters: Mapping[str, Any], where: str, needed: Sequence[str], allowed: Sequence[str]
) -> None:
    for name in needed:
        if name not in parameters:
            raise validation(f"{where}.{name} is missing.")
    if extra := set(parameters) - {*needed, *allowed}:
        raise validation(f"{where} has the unknown member {min(extra)!r}.")


def _check_comparisons(parameters: Mapping[str, Any], where: str, name: str) -> None:
    if name not in parameters:
        return
    given = parameters[name]
    if not isinstance(given, dict) or not given:
        raise validation(f"{where}.{name} must hold one or more of {', '.join(COMPARISONS)}.")
    for word, value in given.items():
        if word not in COMPARISONS:
            raise validation(
                f"{where}.{name} has {word!r}; it must be one of {', '.join(COMPARISONS)}."
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise validation(f"{where}.{name}.{word} is {value!r}; it must be from 0 to 100.")


def _check_key(parameters: Mapping[str, Any], where: str) -> None:
    key = parameters["ImportantFormKey"]
    aliases = parameters.get("ImportantFormKeyAliases", [])
    if not isinstance(key, str) or not key:
        raise validation(f"{where}.ImportantFormKey is {key!r}; it must be text, or '*'.")
    if not isinstance(aliases, list) or not all(isinstance(item, str) for item in aliases):
        raise validation(f"{where}.ImportantFormKeyAliases must be a list of texts.")
    if key == EVERY and aliases:
        raise validation(f"{where}: ImportantFormKey '*' has no aliases; leave them out.")


def _check_key_confidence(parameters: Mapping[str, Any], where: str) -> None:
    confidences = ("KeyValueBlockConfidence", "WordBlockConfidence")
    _check_members(
        parameters, where, ["ImportantFormKey"], ["ImportantFormKeyAliases", *confidences]
    )
    _check_key(parameters, where)
    if not any(name in parameters for name in confidences):
        raise validation(f"{where} needs {' or '.join(confidences)}.")
    for name in confidences:
        _check_comparisons(parameters, where, name)


def _check_missing(parameters: Mapping[str, Any], where: str) -> None:
    _check_members(parameters, where, ["ImportantFormKey"], ["ImportantFormKeyAliases"])
    _check_key(parameters, where)


def _check_label(parameters: Mapping[str, Any], where: str) -> None:
    _check_members(parameters, where, ["ModerationLabelName"], ["Confidence"])
    name = parameters["ModerationLabelName"]
    if not isinstance(name, str) or not name:
        raise validation(f"{where}.ModerationLabelName is {name!r}; it must be text, or '*'.")
    _check_comparisons(parameters, where, "Confidence")


def _check_sampling(parameters: Mapping[str, Any], where: str) -> None:
    _check_members(parameters, where, ["RandomSamplingPercentage"], [])
    share = parameters["RandomSamplingPercentage"]
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.01 <= share <= 100:
        raise validation(
            f"{where}.RandomSamplingPercentage is {share!r}; it must be from 0.01 to 100."
        )


CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any], str], None]]] = {
    KEY_CONFIDENCE: _check_key_confidence,
    MISSING_KEY: _check_missing,
    LABEL_CONFIDENCE: _check_label,
    SAMPLING: _check_sampling,
}


# Evaluation


class Evaluation:
    """The conditions of a flow upon one answer of the service.

    Args:
        sampled: Text that decides the samples: the same request always gets the same verdict.

    Attributes:
        starts: Whether a loop starts.
        tree: The conditions with `EvaluationResult` at every node.
        matched: What the true conditions were about: ids of blocks, names of labels.
        sampled: Whether a sample was drawn, so that people see everything.
    """

    def __init__(
        self, conditions: Sequence[Condition], found: "Fields | Labels", sampled: str
    ) -> None:
        self._found = found
        self._seed = sampled
        self._drawn = 0
        self.matched: set[str] = set()
        self.sampled = False
        self.tree = {"Conditions": [self._node(condition) for condition in conditions]}
        self.starts = any(node["EvaluationResult"] for node in self.tree["Conditions"])

    def _node(self, condition: Condition) -> dict[str, Any]:
        for word, decide in (("And", all), ("Or", any)):
            if word in condition:
                members = [self._node(member) for member in condition[word]]
                result = decide([member["EvaluationResult"] for member in members])
                return {word: members, "EvaluationResult": result}
        return {**condition, "EvaluationResult": self._leaf(condition)}

    def _leaf(self, condition: Condition) -> bool:
        parameters = condition["ConditionParameters"]
        if condition["ConditionType"] == SAMPLING:
            drawn = bool(self._draw() < parameters["RandomSamplingPercentage"])
            self.sampled = self.sampled or drawn
            return drawn
        matched = self._found.matching(condition["ConditionType"], parameters)
        if matched is None:
            return False
        self.matched |= matched
        return True

    def _draw(self) -> float:
        """From 0 to 100, by the request and the place among the samplings."""
        self._drawn += 1
        digest = hashlib.sha256(f"{self._drawn}/{self._seed}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 * 100.0


def _holds(value: float | None, comparisons: Mapping[str, float]) -> bool:
    if value is None:
        return False
    return all(COMPARISONS[word](value, bound) for word, bound in comparisons.items())


class Fields:
    """The key-value pairs of an analysed document.

    Args:
        blocks: Textract's blocks.
    """

    def __init__(self, blocks: Sequence[Mapping[str, Any]]) -> None:
        self._blocks = {block["Id"]: block for block in blocks}
        self._keys = [
            block
            for block in blocks
            if block["BlockType"] == "KEY_VALUE_SET" and "KEY" in block.get("EntityTypes", ())
        ]

    def matching(self, kind: str, parameters: Mapping[str, Any]) -> set[str] | None:
        """Ids of the blocks that a condition is true of; None: it is not true."""
        key = parameters["ImportantFormKey"]
        names = {_plain(name) for name in (key, *parameters.get("ImportantFormKeyAliases", ()))}
        pairs = [
            block for block in self._keys if key == EVERY or _plain(self._text(block)) in names
        ]
        if kind == MISSING_KEY:
            return set() if not pairs else None
        found = {
            item for block in pairs if self._is_doubtful(block, parameters)
            for item in self._all_of(block)
        }  # fmt: skip
        return found or None

    def _is_doubtful(self, block: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
        """Whether the pair's or any of its words' confidence is as the condition says."""
        words = [
            self._blocks[item]
            for part in (block["Id"], *self._related(block, "VALUE"))
            for item in self._related(self._blocks[part], "CHILD")
        ]
        for name, items in (("KeyValueBlockConfidence", [block]), ("WordBlockConfidence", words)):
            if name in parameters and any(
                _holds(item.get("Confidence"), parameters[name]) for item in items
            ):
                return True
        return False

    def _all_of(self, block: Mapping[str, Any]) -> list[str]:
        parts = [block["Id"], *self._related(block, "VALUE")]
        words = [word for part in parts for word in self._related(self._blocks[part], "CHILD")]
        return [*parts, *words]

    def _related(self, block: Mapping[str, Any], kind: str) -> list[str]:
        return [
            item
            for relation in block.get("Relationships", ())
            if relation["Type"] == kind
            for item in relation["Ids"]
            if item in self._blocks
        ]

    def _text(self, block: Mapping[str, Any]) -> str:
        words = (self._blocks[item].get("Text", "") for item in self._related(block, "CHILD"))
        return " ".join(words)


class Labels:
    """The moderation labels of an image."""

    def __init__(self, labels: Sequence[Mapping[str, Any]]) -> None:
        self._labels = labels

    def matching(self, _kind: str, parameters: Mapping[str, Any]) -> set[str] | None:
        """Names of the labels that a condition is true of; None: it is not true."""
        name = parameters["ModerationLabelName"]
        bounds = parameters.get("Confidence", {})
        found = {
            label["Name"]
            for label in self._labels
            if name in (EVERY, label["Name"]) and _holds(label["Confidence"], bounds)
        }
        return found or None


def _plain(text: str) -> str:
    """A key as it is compared: without case, outer space, and the colon that ends it."""
    return text.strip().rstrip(":").strip().casefold()


def conditions_of(flow: Mapping[str, Any]) -> list[Condition]:
    """The checked conditions of a flow definition; none: every request starts a loop."""
    config = flow.get("HumanLoopActivationConfig")
    if config is None:
        return []
    text = config["HumanLoopActivationConditionsConfig"]["HumanLoopActivationConditions"]
    found: list[Condition] = orjson.loads(text)["Conditions"]
    return found
