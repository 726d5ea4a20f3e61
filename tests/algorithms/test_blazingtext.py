"""BlazingText's supervised mode, and fastText's file format, which a real fastText wrote once."""

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from loopwright.algorithms import text_file, text_model, text_train
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.text_file import TextFileError
from loopwright.algorithms.text_words import split, word_hash
from loopwright.runtime.failure import UnitFailure
from tests.algorithms.jobs import Job

# fasttext-community 0.11.9 made this of four lines of ours: dim 3, wordNgrams 3, minn 2, maxn 3,
# bucket 23.
GOLDEN = (
    "eNrbJeavz8PAwMAMxKxAbATEjFA2MxIWB2ImKDsFiHWdZV4/MpOy5wOyeaByUgwQ8B8KMosZWKBCDDb6xXYIXklGKlgHGGTk"
    "lyA4iXkpCE55RmYJksLi0jyw28AgqSgzPaMEwc9MTkVwMhKLUhC8tMwiJLnivPxyBC8+PicxKTUnPr48sSgXbhUjXDg5Pwfh"
    "IEYGZSiLGUob567e9/dfu93Suyn73hky7rv5WMtOePpBm++NbnaCi39Yl2cst2O2bdqbctF4nxGDnV3CyoR9Plu693YJK9t1"
    "rdhml8bx0LZmboetjY6P3bkZG+3W+Vbvm6eVZ5t7yGxvBLOB3WT7B7YRDyfvE624YKsW47OP5/4Uu6nB8+1cWy/sa9ayshO5"
    "0byba+mO3eGPS/dNEFW0Wxlnty/1eJjthntT7ZJVLe2l57Xsq5f8YzvJa7r9tdct+3zN/9uxOH7c91f8yl77mp37im/O3+Nb"
    "ucCu4T7Dvm+zAvanSTLYB8Rr2R2ZXmt3SFvEbtaTKfvieCP2eVxZZ7c1Rc6OL8tq30WP0r2qAhP3Vfh27S/7VGZn2j19X+v1"
    "73Yz7h/c57hyi9090697z3znsys/UbovjeOCDRsDl52vl+m+jjmP7H5X+dr6nVhuKzxltX2ahcS+31vm2YnNrdoXF2Fv4742"
    "fF9Ma569kHrgPi7Ti7Zbq1fvT7whaj9na+PeP22t+yYdCdz3rNPVlu2Kju21KUx2halz9+XZLLN1qmTcHfhkg90hOdN9ltem"
    "2zH6B9n9PzLfLn7JZLsHHmp74dEHi7TPfYwHLJeL2l9afHIfkO1gsVx0/5XFJ+0AU+j8TA=="
)
GIVEN = {"mode": "supervised", "buckets": 5000, "vector_dim": 20, "learning_rate": 0.5}
SUPERVISED = {**GIVEN, "min_count": 1, "epochs": 15}
TOPICS = {
    "kitchen": "oven spoon butter flour salt boil bake dish recipe taste kettle onion",
    "garden": "soil seed spade flower water grow tree leaf sun worm hedge rain",
    "office": "desk chair paper meeting report letter phone clock budget plan memo ink",
    "sea": "wave boat sail fish harbour net salt wind anchor tide shore rain",
}
COMMON = "the a of and in with was then very some old new under over every"


def sentences(count: int, seed: int) -> list[str]:
    """Generated lines: mostly common words, two or three of the topic, one of any other."""
    random = np.random.default_rng(seed)
    whole = [word for words in TOPICS.values() for word in words.split()]
    found = []
    for _ in range(count):
        topic = random.choice(list(TOPICS))
        own = random.choice(TOPICS[topic].split(), random.integers(2, 4)).tolist()
        words = [*own, *random.choice(COMMON.split(), 6).tolist(), random.choice(whole)]
        random.shuffle(words)
        found.append(f"__label__{topic} {' '.join(words)}")
    return found


def train(job: Job, given: dict[str, Any], types: Any = None) -> text_model.TextModel:
    job.train(text_train.train, given, types)
    return text_model.algorithm.load(job.model)


def write(job: Job) -> tuple[list[str], list[str]]:
    first, second = sentences(800, 1), sentences(400, 2)
    job.write("input/data/train/text.txt", "\n".join(first) + "\n")
    job.write("input/data/validation/text.txt", "\n".join(second))
    return first, second


def test_as_good_as_a_linear_classifier(job: Job) -> None:
    first, second = write(job)
    model = train(job, SUPERVISED)
    pairs = [[line.partition(" ") for line in lines] for lines in (first, second)]
    texts = [[text for _, _, text in part] for part in pairs]
    labels = [[label for label, _, _ in part] for part in pairs]
    other = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts[0], labels[0])
    found = job.metrics("blazingtext")
    assert found["validation:accuracy"] > other.score(texts[1], labels[1]) - 0.02
    assert found["train:accuracy"] >= found["validation:accuracy"]
    assert "Number of validation examples: 400" in job.log
    tried = zip(texts[1], labels[1], strict=True)
    right = [model.top(text, 1)["label"] == [label] for text, label in tried]
    assert np.mean(right) == pytest.approx(found["validation:accuracy"], abs=1e-4)
    again = train(job, SUPERVISED)
    assert np.array_equal(np.asarray(again.file.outputs), np.asarray(model.file.outputs))


def test_early_stopping_keeps_the_best_epoch(job: Job) -> None:
    write(job)
    stops = {"early_stopping": "True", "patience": 2, "min_epochs": 3, "epochs": 200}
    train(job, {**SUPERVISED, **stops})
    seen = [float(value) for value in re.findall("validation_accuracy=([0-9.]+)", job.log)]
    assert 3 <= len(seen) < 200
    assert job.metrics("blazingtext")["validation:accuracy"] == max(seen)
    assert max(seen[-2:]) <= max(seen[:-2])


def test_manifest_lines_and_several_labels(job: Job) -> None:
    lines = []
    for line in sentences(300, 1):
        label, _, text = line.partition(" ")
        lines.append(json.dumps({"source": text, "label": [label.removeprefix("__label__"), 7]}))
    job.write("input/data/train/text.jsonl", "\n".join(lines))
    types = {"train": {"ContentType": "application/jsonlines"}}
    model = train(job, SUPERVISED, types)
    assert sorted(model.labels) == sorted(["__label__7", *(f"__label__{name}" for name in TOPICS)])
    # Each line has the label 7 as well, and one of two is learnt at a time.
    best = model.top("oven butter flour", 2)
    assert set(best["label"]) == {"__label__7", "__label__kitchen"}
    assert sum(best["prob"]) > 0.95 and min(best["prob"]) > 0.03


@pytest.mark.parametrize(
    ("given", "text", "types", "words"),
    [
        ({}, "__label__a b", {}, "The hyperparameter mode is required"),
        ({"mode": "skipgram"}, "a b", {}, "mode is 'skipgram'; this runtime has supervised only"),
        ({"mode": "sentiment"}, "a b", {}, "must be one of supervised"),
        ({**SUPERVISED, "epochs": 0}, "__label__a b", {}, "epochs is 0"),
        ({**SUPERVISED, "min_count": -1}, "__label__a b", {}, "must be in [0,)"),
        ({**SUPERVISED, "window_size": 5}, "__label__a b", {}, "no hyperparameter window_size"),
        (SUPERVISED, "__label__a b\nc d", {}, "text.txt, line 2 has no label"),
        (SUPERVISED, "\n\n", {}, "files of the channel train are empty"),
        ({**SUPERVISED, "min_count": 9}, "__label__a b", {}, "lower min_count"),
        (SUPERVISED, "x", {"ContentType": "text/csv"}, "content type text/csv; use text/plain"),
        (SUPERVISED, "{}", {"ContentType": "application/jsonlines"}, "line 1 is not"),
    ],
)
def test_wrong_jobs_are_refused_by_name(
    job: Job, given: Any, text: str, types: Any, words: str
) -> None:
    job.write("input/data/train/text.txt", text)
    with pytest.raises(CustomerError, match=re.escape(words)):
        train(job, given, {"train": types})


def golden(folder: Path) -> Path:
    path = folder / "model.bin"
    path.write_bytes(zlib.decompress(base64.b64decode(GOLDEN)))
    return path


def test_a_model_of_fasttext_predicts_as_it_does_there(tmp_path: Path) -> None:
    golden(tmp_path)
    model = text_model.algorithm.load(tmp_path)
    for text, label, share in (
        ("the sun is white", "cold", 0.668412),
        ("unknown fire crème", "warm", 0.505976),
        ("ice", "warm", 0.569246),
    ):
        found = model.top(text, 2)
        assert found["label"][0] == f"__label__{label}"
        # fastText adds 1e-5 to what it takes the logarithm of.
        assert found["prob"][0] == pytest.approx(share, abs=2e-5)


def test_what_is_written_is_fasttext_s_own_bytes(tmp_path: Path) -> None:
    path = golden(tmp_path)
    model = text_file.read(path)
    again = tmp_path / "again.bin"
    text_file.write(again, model, np.arange(len(model.entries)))
    assert again.read_bytes() == path.read_bytes()


def test_rows_that_nothing_touched_are_holes(job: Job) -> None:
    write(job)
    model = train(job, {**SUPERVISED, "buckets": 2_000_000})
    path = job.model / "model.bin"
    assert path.stat().st_size > 2_000_000 * 20 * 4
    assert path.stat().st_blocks * 512 < path.stat().st_size / 4
    assert model.file.entries.shape == (len(model.file.words) + 2_000_000, 20)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: b"x" * 100, "does not begin as a fastText model"),
        (lambda content: content[:-4], "is cut off"),
        (lambda content: content[:70], "not a whole fastText model"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: Any, words: str) -> None:
    path = golden(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(TextFileError, match=words):
        text_file.read(path)
    with pytest.raises(UnitFailure, match=words):
        text_model.algorithm.load(tmp_path)


def test_words() -> None:
    assert split(" a\tb __label__x c\n") == (["a", "b", "c", "</s>"], ["__label__x"])
    # FNV-1a of the empty word and of "a"; bytes above 127 are negative in fastText.
    assert word_hash("") == 2166136261
    assert word_hash("a") == 0xE40C292C
    assert word_hash("é") != word_hash("e")
