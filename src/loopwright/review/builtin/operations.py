"""AnalyzeDocument and DetectModerationLabels, with the loops that their answers start."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from loopwright.kernel.records import Record
from loopwright.kernel.verbs import Context, Operation
from loopwright.objects.base import Objects
from loopwright.review.builtin.blocks import blocks_of
from loopwright.review.builtin.labels import CONFIDENCE_DEFAULT, moderation_labels
from loopwright.review.builtin.vision import BadPicture, Vision
from loopwright.review.conditions import (
    REKOGNITION,
    SOURCES,
    TEXTRACT,
    Evaluation,
    Fields,
    Labels,
    conditions_of,
)
from loopwright.review.operations import start_loop
from loopwright.wire.errors import ApiError

Params = dict[str, Any]
OBJECT_BYTES_MAX: Final = 15_728_640
INLINE_BYTES_MAX: Final = 5_242_880
TEXTRACT_VERSION: Final = "loopwright-rapidocr-1"
MODERATION_VERSION: Final = "loopwright-nudenet-3"
KEY_NAMES: Final = "ImportantFormKey"


def builtin_operations(objects: Objects, vision: Vision) -> dict[str, dict[str, Operation]]:
    """By service and operation name."""
    pictures = _Pictures(objects, vision)
    return {
        "textract": {
            "AnalyzeDocument": pictures.analyze,
            "DetectDocumentText": pictures.read,
        },
        "rekognition": {"DetectModerationLabels": pictures.moderate},
    }


class _Pictures:
    def __init__(self, objects: Objects, vision: Vision) -> None:
        self._objects = objects
        self._vision = vision

    # Textract

    def read(self, _context: Context, params: Params) -> Params:
        blocks = blocks_of(self._document(params["Document"]), forms=False)
        return {
            "DocumentMetadata": {"Pages": 1},
            "Blocks": blocks,
            "DetectDocumentTextModelVersion": TEXTRACT_VERSION,
        }

    def analyze(self, context: Context, params: Params) -> Params:
        kinds = params["FeatureTypes"]
        extra = sorted(set(kinds) - {"FORMS"})
        if extra or not kinds:
            raise _invalid(
                f"FeatureTypes are {', '.join(kinds) or 'none'}; the local models find FORMS only."
            )
        for name in ("QueriesConfig", "AdaptersConfig"):
            if params.get(name):
                raise _invalid(f"{name} is not offered here; leave it out.")
        flow = self._flow(context, params, params["Document"], TEXTRACT)
        blocks = blocks_of(self._document(params["Document"]), forms=True)
        answer: Params = {
            "DocumentMetadata": {"Pages": 1},
            "Blocks": blocks,
            "AnalyzeDocumentModelVersion": TEXTRACT_VERSION,
        }
        if flow is not None:
            seed = orjson.dumps([block.get("Text") for block in blocks]).decode()
            found = Evaluation(conditions_of(flow.spec), Fields(blocks), seed)
            chosen = _chosen_blocks(blocks, found)
            answer["HumanLoopActivationOutput"] = _activate(
                context, flow, params, {"Blocks": blocks}, {"Blocks": chosen}, found
            )
        return answer

    def _document(self, given: Mapping[str, Any]) -> dict[str, Any]:
        content = self._content(given)
        if content[:5] == b"%PDF-":
            raise ApiError(
                "UnsupportedDocumentException",
                "The document is a PDF; give a page of it as PNG, JPEG or TIFF.",
            )
        try:
            return self._vision.ask("document", content)
        except BadPicture as error:
            raise ApiError(
                "UnsupportedDocumentException",
                f"Request has unsupported document format: {error}.",
            ) from None

    # Rekognition

    def moderate(self, context: Context, params: Params) -> Params:
        if params.get("ProjectVersion"):
            raise _invalid("ProjectVersion is not offered here; leave it out.")
        least = params.get("MinConfidence", CONFIDENCE_DEFAULT)
        flow = self._flow(context, params, params["Image"], REKOGNITION)
        content = self._content(params["Image"])
        try:
            seen = self._vision.ask("moderation", content)["found"]
        except BadPicture as error:
            raise ApiError(
                "InvalidImageFormatException", f"Request has invalid image format: {error}."
            ) from None
        labels = moderation_labels(seen, least)
        answer: Params = {
            "ModerationLabels": labels,
            "ModerationModelVersion": MODERATION_VERSION,
            "ContentTypes": [],
        }
        if flow is not None:
            seed = orjson.dumps([params["Image"]["S3Object"], len(content)]).decode()
            found = Evaluation(conditions_of(flow.spec), Labels(labels), seed)
            chosen = [
                label
                for label in labels
                if found.sampled or not found.tree["Conditions"] or label["Name"] in found.matched
            ]
            response = {"ModerationLabels": labels, "ModerationModelVersion": MODERATION_VERSION}
            answer["HumanLoopActivationOutput"] = _activate(
                context, flow, params, response, {**response, "ModerationLabels": chosen}, found
            )
        return answer

    # Shared

    def _content(self, given: Mapping[str, Any]) -> bytes:
        stored = given.get("S3Object")
        if stored is None:
            content = given.get("Bytes") or b""
            if not content or len(content) > INLINE_BYTES_MAX:
                raise _invalid(
                    f"Bytes has {len(content)} bytes; it must have 1 to {INLINE_BYTES_MAX}, "
                    "else give S3Object."
                )
            return bytes(content)
        where = f"s3://{stored.get('Bucket')}/{stored.get('Name')}"
        summary = self._objects.head(stored.get("Bucket", ""), stored.get("Name", ""))
        if summary is None or summary.size > OBJECT_BYTES_MAX:
            raise ApiError(
                "InvalidS3ObjectException",
                f"Unable to get object metadata from S3: {where} does not exist, or is larger "
                f"than {OBJECT_BYTES_MAX} bytes.",
            )
        return b"".join(self._objects.open(stored["Bucket"], stored["Name"]))

    def _flow(
        self, context: Context, params: Params, given: Mapping[str, Any], source: str
    ) -> Record | None:
        """The flow of `HumanLoopConfig`, if there is one."""
        config = params.get("HumanLoopConfig")
        if config is None:
            return None
        if given.get("S3Object") is None:
            raise _invalid("With HumanLoopConfig give S3Object: workers are shown the object.")
        arn = config["FlowDefinitionArn"]
        flow = context.store.get(context.region, "FlowDefinition", arn.rpartition("/")[2])
        if flow is None or flow.arn != arn:
            raise _invalid(f"HumanLoopConfig: there is no flow definition {arn!r} in this region.")
        name = flow.spec.get("HumanLoopRequestSource", {}).get("AwsManagedHumanLoopRequestSource")
        if SOURCES.get(name or "") != source:
            raise _invalid(
                f"The flow definition {flow.name} is of {name or 'a custom task type'}; this "
                "operation needs one of its own HumanLoopRequestSource."
            )
        return flow


def _activate(
    context: Context,
    flow: Record,
    params: Params,
    response: Mapping[str, Any],
    chosen: Mapping[str, Any],
    found: Evaluation,
) -> dict[str, Any]:
    """Start the loop if the conditions say so; what the caller is told."""
    conditions = found.tree["Conditions"]
    told = {"HumanLoopActivationConditionsEvaluationResults": orjson.dumps(found.tree).decode()}
    if conditions and not found.starts:
        return {**told, "HumanLoopActivationReasons": []}
    config = params["HumanLoopConfig"]
    request = {
        name: value for name, value in params.items() if name in ("Document", "Image",
        "FeatureTypes", "HumanLoopConfig", "MinConfidence")
    }  # fmt: skip
    content = {
        "aiServiceRequest": _camel(request),
        "aiServiceResponse": _camel(response),
        "humanTaskActivationConditionResults": found.tree,
        "selectedAiServiceResponse": _camel(chosen),
        "humanLoopContext": {"importantFormKeys": _important(conditions)},
    }
    asked = {
        "HumanLoopName": config["HumanLoopName"],
        "FlowDefinitionArn": flow.arn,
        "HumanLoopInput": {"InputContent": orjson.dumps(content).decode()},
    }
    arn = start_loop(context, flow, config["HumanLoopName"], asked)
    reasons = ["ConditionsEvaluation" if conditions else "NoConditions"]
    return {**told, "HumanLoopArn": arn, "HumanLoopActivationReasons": reasons}


def _chosen_blocks(blocks: Sequence[dict[str, Any]], found: Evaluation) -> list[dict[str, Any]]:
    """What workers see: the matched pairs, or all when a sample was drawn or nothing asked."""
    if found.sampled or not found.tree["Conditions"]:
        return list(blocks)
    return [
        block for block in blocks if block["Id"] in found.matched or block["BlockType"] == "PAGE"
    ]


def _important(conditions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The keys that the conditions name, as the Textract element takes them."""
    found: list[dict[str, Any]] = []
    for condition in conditions:
        members = condition.get("And") or condition.get("Or")
        if members:
            found += _important(members)
            continue
        parameters = condition["ConditionParameters"]
        if KEY_NAMES in parameters and parameters[KEY_NAMES] != "*":
            found.append(
                {
                    "importantFormKey": parameters[KEY_NAMES],
                    "importantFormKeyAliases": parameters.get("ImportantFormKeyAliases", []),
                }
            )
    return found


def _camel(value: Any) -> Any:
    """The service's members as A2I's documents have them: beginning with a small letter."""
    if isinstance(value, Mapping):
        return {name[:1].lower() + name[1:]: _camel(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_camel(item) for item in value]
    return value


def _invalid(text: str) -> ApiError:
    return ApiError("InvalidParameterException", text)
