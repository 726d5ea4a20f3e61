"""BlazingText's supervised mode: fastText's text classifier, by numpy and scipy.

A sentence is the mean of the vectors of its words and n-grams, and a softmax over the labels of
that. Steps are those of fastText, taken for a few sentences at once.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/blazingtext_hyperparameters.html; Joulin,
Grave, Bojanowski and Mikolov, "Bag of tricks for efficient text classification" (2016).
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from scipy import sparse

from loopwright.algorithms import channels, text_channels, text_file
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.linear_losses import softmax
from loopwright.algorithms.parameters import (
    POSITIVE,
    POSITIVE_INTEGER,
    Parameter,
    bounded,
    flag,
    one_of,
    validate,
)
from loopwright.algorithms.recordio import Array
from loopwright.algorithms.report import Report
from loopwright.algorithms.text_channels import Sentence
from loopwright.algorithms.text_file import SOFTMAX, SUPERVISED, Arguments, TextFile
from loopwright.algorithms.text_model import MODEL_NAME
from loopwright.algorithms.text_words import Vocabulary
from loopwright.runtime.environment import Environment

SEED: Final = 1
_BATCH: Final = 16
_SCORED_AT_ONCE: Final = 1024
_WORD2VEC: Final = ("batch_skipgram", "skipgram", "cbow")

SCHEMA: Final[dict[str, Parameter]] = {
    "mode": Parameter(one_of("supervised"), required=True),
    "buckets": Parameter(POSITIVE_INTEGER, 2_000_000),
    "early_stopping": Parameter(flag, False),
    "epochs": Parameter(POSITIVE_INTEGER, 5),
    "learning_rate": Parameter(POSITIVE, 0.05),
    "min_count": Parameter(bounded(int, "[0,)"), 5),
    "min_epochs": Parameter(POSITIVE_INTEGER, 5),
    "patience": Parameter(POSITIVE_INTEGER, 4),
    "vector_dim": Parameter(POSITIVE_INTEGER, 100),
    "word_ngrams": Parameter(POSITIVE_INTEGER, 2),
}


@dataclass(frozen=True)
class _Text:
    """Sentences as numbers.

    Attributes:
        matrix: Shape (sentences, features); each row adds up to 1.
        labels: Indices of each sentence's labels; an unknown one is left out.
    """

    matrix: Any
    labels: list[Array]


def train(environment: Environment) -> None:
    """Train and write the model.

    Raises:
        CustomerError: hyperparameters, channels or content are wrong.
    """
    given = environment.user_hyperparameters
    if given.get("mode") in _WORD2VEC:
        raise CustomerError(
            f"The hyperparameter mode is {given['mode']!r}; this runtime has supervised only."
        )
    settings = validate(SCHEMA, given)
    channels.check_names(environment, ("train", "validation", "code"))
    if len(environment.hosts) > 1:
        raise CustomerError(
            f"InstanceCount is {len(environment.hosts)}; the supervised mode has one host."
        )
    text: dict[str, list[Sentence]] = {
        name: text_channels.sentences(environment, name, labelled=True)
        for name in ("train", "validation")
        if name in environment.channels
    }
    with threadpoolctl.threadpool_limits(1):
        # The products are too small to share among threads.
        _fit(settings, environment, text)


def _fit(
    settings: dict[str, Any], environment: Environment, text: dict[str, list[Sentence]]
) -> None:
    words, labels = _counts(text["train"], settings["min_count"])
    # As in fastText, there are no buckets if nothing is hashed.
    bucket = settings["buckets"] if settings["word_ngrams"] > 1 else 0
    vocabulary = Vocabulary(words, bucket, settings["word_ngrams"])
    rows = [vocabulary.rows(sentence.words) for sentence in text["train"]]
    used = np.unique(np.concatenate(rows))
    numbers = {label: number for number, label in enumerate(labels)}
    known = {"train": _numbers(text["train"], rows, used, numbers)}
    if "validation" in text:
        others = [vocabulary.rows(sentence.words) for sentence in text["validation"]]
        known["validation"] = _numbers(text["validation"], others, used, numbers)
    report = Report(environment.host)
    entries, outputs = _Learner(settings, known, len(used), len(labels), report).run()
    for name, part in known.items():
        _say_accuracy(name, _accuracy(entries, outputs, part), len(part.labels))
    arguments = Arguments(
        dim=settings["vector_dim"], ws=5, epoch=settings["epochs"],
        min_count=settings["min_count"], neg=5, word_ngrams=settings["word_ngrams"], loss=SOFTMAX,
        model=SUPERVISED, bucket=bucket, minn=0, maxn=0, update_rate=100, t=1e-4,
    )  # fmt: skip
    tokens = sum(len(sentence.words) + len(sentence.labels) for sentence in text["train"])
    file = TextFile(arguments, words, labels, tokens, entries, outputs)
    text_file.write(environment.tree.model / MODEL_NAME, file, used)


def _say_accuracy(channel: str, value: float, count: int) -> None:
    """The lines that the metric definitions look for."""
    sys.stdout.write(f"#{channel}_accuracy: {value:.4f}\nNumber of {channel} examples: {count}\n")


def _counts(text: list[Sentence], least: int) -> tuple[dict[str, int], dict[str, int]]:
    """Words that are frequent enough, and labels, the most frequent first."""
    words = Counter(word for sentence in text for word in sentence.words)
    labels = Counter(label for sentence in text for label in sentence.labels)
    kept = {word: count for word, count in words.most_common() if count >= least}
    if not kept:
        raise CustomerError(f"No word is there min_count times, which is {least}; lower min_count.")
    return kept, dict(labels.most_common())


def _numbers(
    text: list[Sentence], rows: list[Array], used: Array, numbers: dict[str, int]
) -> _Text:
    """Sentences over the features that training has; others do not count in the mean."""
    starts, places, shares = [0], [], []
    for found in rows:
        at = np.searchsorted(used, found)
        at = np.minimum(at, len(used) - 1)
        at = at[used[at] == found]
        places.append(at)
        shares.append(np.full(len(at), 1.0 / max(1, len(at))))
        starts.append(starts[-1] + len(at))
    matrix = sparse.csr_matrix(
        (np.concatenate(shares).astype(np.float32), np.concatenate(places), starts),
        shape=(len(rows), len(used)),
    )
    labels = [
        np.array([numbers[label] for label in sentence.labels if label in numbers], np.int64)
        for sentence in text
    ]
    return _Text(matrix, labels)


class _Learner:
    """The epochs, with early stopping by the accuracy on the validation channel."""

    def __init__(
        self,
        settings: dict[str, Any],
        text: dict[str, _Text],
        features: int,
        labels: int,
        report: Report,
    ) -> None:
        self._settings, self._text, self._report = settings, text, report
        self._random = np.random.default_rng(SEED)
        size = settings["vector_dim"]
        # As fastText begins: inputs small and random, outputs zero.
        self._entries = self._random.uniform(-1 / size, 1 / size, (features, size)).astype("f4")
        self._outputs = np.zeros((labels, size), np.float32)

    def run(self) -> tuple[Array, Array]:
        """Vectors of the features and of the labels."""
        settings = self._settings
        held = self._text.get("validation")
        stops = settings["early_stopping"] and held is not None
        if settings["early_stopping"] and held is None:
            self._report.say("Early stopping needs the channel validation; training all epochs.")
        best: tuple[float, Array, Array] | None = None
        waited = 0
        for epoch in range(settings["epochs"]):
            began = time.monotonic()
            self._pass(epoch)
            rows = self._text["train"].matrix.shape[0]
            self._report.progress(epoch + 1, settings["epochs"])
            self._report.throughput(rows, time.monotonic() - began)
            if not stops or held is None:
                continue
            value = _accuracy(self._entries, self._outputs, held)
            self._report.say(f"epoch={epoch} validation_accuracy={value:.4f}")
            if best is None or value > best[0]:
                best, waited = (value, self._entries.copy(), self._outputs.copy()), 0
            else:
                waited += 1
            if epoch + 1 >= settings["min_epochs"] and waited >= settings["patience"]:
                self._report.say(f"Early stopping after epoch {epoch}.")
                break
        return (self._entries, self._outputs) if best is None else best[1:]

    def _pass(self, epoch: int) -> None:
        text = self._text["train"]
        rows = text.matrix.shape[0]
        whole = rows * self._settings["epochs"]
        # Of several labels one at a time is learnt, as in fastText.
        chosen = np.array([self._random.choice(labels) for labels in text.labels])
        done = epoch * rows
        for batch in self._batches(rows):
            rate = self._settings["learning_rate"] * (1.0 - done / whole)
            self._step(text.matrix[batch], chosen[batch], rate)
            done += len(batch)

    def _batches(self, rows: int) -> Iterator[Array]:
        order = self._random.permutation(rows)
        for first in range(0, rows, _BATCH):
            yield order[first : first + _BATCH]

    def _step(self, part: Any, labels: Array, rate: float) -> None:
        columns, places = np.unique(part.indices, return_inverse=True)
        small = sparse.csr_matrix(
            (part.data, places, part.indptr), shape=(part.shape[0], len(columns))
        )
        hidden = small @ self._entries[columns]
        slopes = -softmax(hidden @ self._outputs.T)
        slopes[np.arange(len(labels)), labels] += 1.0
        slopes *= rate
        change = small.T @ (slopes @ self._outputs)
        self._outputs += slopes.T @ hidden
        self._entries[columns] += change


def _accuracy(entries: Array, outputs: Array, text: _Text) -> float:
    """The share of sentences whose most likely label is one of theirs."""
    right = 0
    for first in range(0, text.matrix.shape[0], _SCORED_AT_ONCE):
        part = slice(first, first + _SCORED_AT_ONCE)
        best = ((text.matrix[part] @ entries) @ outputs.T).argmax(axis=1)
        right += sum(int(label in own) for label, own in zip(best, text.labels[part], strict=True))
    return right / len(text.labels)
