"""BlazingText's endpoint: labels for sentences, or vectors for words.

Serves every fastText model with softmax, one-vs-all or negative sampling, whoever trained it.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/blazingtext.html.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from loopwright.algorithms import text_file
from loopwright.algorithms.linear_losses import sigmoid, softmax
from loopwright.algorithms.recordio import Array
from loopwright.algorithms.serving import instances_of
from loopwright.algorithms.text_file import SOFTMAX, SUPERVISED, TextFile, TextFileError
from loopwright.algorithms.text_words import Vocabulary, split
from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.server import codecs
from loopwright.runtime.server.exchange import RequestRefused
from loopwright.runtime.server.frameworks.base import Framework

MODEL_NAME: Final = "model.bin"
VECTORS_NAME: Final = "vectors.bin"
_HIERARCHICAL: Final = 1


@dataclass(frozen=True)
class TextModel:
    """A fastText model with its vocabulary."""

    file: TextFile
    vocabulary: Vocabulary
    labels: list[str]

    @property
    def classifies(self) -> bool:
        return self.file.arguments.model == SUPERVISED

    def probabilities(self, sentence: str) -> Array:
        """Of each label, shape (labels,)."""
        rows = self.vocabulary.rows(split(sentence)[0])
        hidden = self.vector_of(rows)
        scores = self.file.outputs @ hidden
        return softmax(scores) if self.file.arguments.loss == SOFTMAX else sigmoid(scores)

    def top(self, sentence: str, k: int) -> dict[str, Any]:
        """The k most likely labels with their probabilities."""
        shares = self.probabilities(sentence)
        best = np.argsort(-shares, kind="stable")[:k]
        return {"label": [self.labels[at] for at in best], "prob": shares[best].tolist()}

    def vector(self, word: str) -> Array:
        """A word's vector; zeros if nothing is known of it."""
        return self.vector_of(np.array(self.vocabulary.subwords(word), np.int64))

    def vector_of(self, rows: Array) -> Array:
        if not len(rows):
            return np.zeros(self.file.arguments.dim, np.float32)
        found: Array = np.asarray(self.file.entries[rows]).mean(axis=0)
        return found


def model_of(file: TextFile) -> TextModel:
    """A model ready to predict."""
    given = file.arguments
    ngrams = given.word_ngrams if given.model == SUPERVISED else 1
    vocabulary = Vocabulary(file.words, given.bucket, ngrams, given.minn, given.maxn)
    return TextModel(file, vocabulary, list(file.labels))


@dataclass(frozen=True)
class _Asked:
    """What a request asks for."""

    texts: list[str]
    counts: list[int]


class BlazingText(Framework):
    """The endpoint; it answers in the content type of the request, whatever Accept says."""

    accepts = (codecs.JSON, codecs.JSON_LINES)
    accept_is_content_type = True

    def load(self, folder: Path) -> TextModel:
        found = [folder / name for name in (MODEL_NAME, VECTORS_NAME) if (folder / name).is_file()]
        if not found:
            there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
            raise UnitFailure(f"{folder} has neither {MODEL_NAME} nor {VECTORS_NAME}, but {there}.")
        try:
            file = text_file.read(found[0])
        except TextFileError as error:
            raise UnitFailure(f"{error}.") from error
        if file.arguments.model == SUPERVISED and file.arguments.loss == _HIERARCHICAL:
            raise UnitFailure(
                f"{found[0].name} was trained with {text_file.loss_name(file)}; train it with "
                "softmax."
            )
        return model_of(file)

    def read(self, body: bytes, media: str, model: Any) -> _Asked:
        if media not in self.accepts:
            known = ", ".join(self.accepts)
            raise RequestRefused(415, f"The content type {media!r} is not supported; use {known}.")
        try:
            return _asked(body, media)
        except (ValueError, TypeError, AttributeError) as error:
            raise RequestRefused(400, f"The body is not valid {media}: {error}.") from error

    def predict(self, content: Any, model: Any) -> list[dict[str, Any]]:
        if model.classifies:
            pairs = zip(content.texts, content.counts, strict=True)
            return [model.top(text, count) for text, count in pairs]
        return [{"word": text, "vector": model.vector(text).tolist()} for text in content.texts]

    def write(self, prediction: Any, accept: str) -> bytes:
        return codecs.encode_values(prediction, accept)


def _asked(body: bytes, media: str) -> _Asked:
    if media == codecs.JSON:
        texts = instances_of(body)
        content = orjson.loads(body)
        configuration = content.get("configuration", {}) if isinstance(content, dict) else {}
        counts = [configuration.get("k", 1)] * len(texts)
    else:
        lines = [orjson.loads(line) for line in body.splitlines() if line.strip()]
        texts = [line.get("source") for line in lines]
        counts = [line.get("k", 1) for line in lines]
    for text, count in zip(texts, counts, strict=True):
        if not isinstance(text, str):
            raise ValueError("every instance must be a string")
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"k is {count!r}; it must be a positive integer")
    return _Asked(texts, counts)


algorithm = BlazingText()
