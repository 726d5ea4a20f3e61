"""Rekognition's moderation labels (taxonomy 3) from what the local detector saw. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

NUDITY: Final = "Explicit Nudity"
SUGGESTIVE: Final = "Suggestive"
NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "FEMALE_GENITALIA_EXPOSED": ("Graphic Female Nudity", NUDITY),
    "MALE_GENITALIA_EXPOSED": ("Graphic Male Nudity", NUDITY),
    "ANUS_EXPOSED": ("Nudity", NUDITY),
    "BUTTOCKS_EXPOSED": ("Nudity", NUDITY),
    "FEMALE_BREAST_EXPOSED": ("Nudity", NUDITY),
    "MALE_BREAST_EXPOSED": ("Barechested Male", SUGGESTIVE),
    "BELLY_EXPOSED": ("Revealing Clothes", SUGGESTIVE),
    "FEMALE_BREAST_COVERED": ("Revealing Clothes", SUGGESTIVE),
    "BUTTOCKS_COVERED": ("Revealing Clothes", SUGGESTIVE),
    "FEMALE_GENITALIA_COVERED": ("Female Swimwear Or Underwear", SUGGESTIVE),
}
"""By the detector's class: label and parent. Faces, feet and armpits mean nothing here."""
CONFIDENCE_DEFAULT: Final = 50.0


def moderation_labels(
    found: Iterable[Mapping[str, Any]], least: float = CONFIDENCE_DEFAULT
) -> list[dict[str, Any]]:
    """Labels with their parents, the most confident first; a label counts its best sight.

    Args:
        found: `class` and `score` (0 to 1).
        least: `MinConfidence`, percent.
    """
    best: dict[tuple[str, str], float] = {}
    for item in found:
        pair = NAMES.get(item["class"])
        confidence = 100.0 * item["score"]
        if pair is None or confidence < least:
            continue
        for name in (pair, (pair[1], "")):
            best[name] = max(best.get(name, 0.0), confidence)
    return [
        {
            "Confidence": round(confidence, 4),
            "Name": name,
            "ParentName": parent,
            "TaxonomyLevel": 2 if parent else 1,
        }
        for (name, parent), confidence in sorted(best.items(), key=lambda item: (-item[1], item[0]))
    ]
