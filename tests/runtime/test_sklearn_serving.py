"""scikit-learn from training to predictions, micro-batching, and the linear shortcut."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn import linear_model, svm
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from loopwright.runtime.server.exchange import Exchange
from loopwright.runtime.server.frameworks import linear, scikit
from loopwright.runtime.server.model import RowModel

from .conftest import post

TRAIN = """
import argparse, os, pickle
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
parser = argparse.ArgumentParser()
parser.add_argument("-C", type=float)
parser.add_argument("--kind")
C = parser.parse_args()
data = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), delimiter=",")
model = LogisticRegression(C=C.C) if C.kind == "linear" else DecisionTreeClassifier(random_state=0)
model.fit(data[:, 1:], data[:, 0])
print("accuracy:", model.score(data[:, 1:], data[:, 0]))
pickle.dump(model, open(os.path.join(os.environ["SM_MODEL_DIR"], "model.pkl"), "wb"))
"""
INFERENCE = """
import os, pickle
def model_fn(model_dir):
    with open(os.path.join(model_dir, "model.pkl"), "rb") as stored:
        return pickle.load(stored)
"""


def rows_of(count, columns=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, columns))


@pytest.fixture(scope="module", params=["linear", "tree"])
def served(request, tmp_path_factory):
    """A model trained by a script and served by another, as scikit-learn estimators do."""
    from .conftest import Unit  # noqa: PLC0415  # a fixture of wider scope cannot take `unit`

    unit = Unit(tmp_path_factory.mktemp("sklearn"))
    features = rows_of(200)
    labels = (features.sum(axis=1) > 0).astype(int) + (features[:, 0] > 1)
    table = "\n".join(",".join(map(str, row)) for row in np.column_stack([labels, features]))
    unit.write("input/data/train/train.csv", table)
    unit.configure(
        {"sagemaker_program": "train.py", "C": 0.5, "kind": request.param}, {"train": {}}
    )
    archive = unit.bundle({"train.py": TRAIN, "inference.py": INFERENCE})
    done = unit.run("train", LOOPWRIGHT_SOURCE=str(archive), LOOPWRIGHT_RUNTIME="sklearn")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("accuracy: 0.9") or done.stdout.startswith("accuracy: 1")
    server = unit.serve(
        LOOPWRIGHT_SOURCE=str(archive),
        LOOPWRIGHT_RUNTIME="sklearn",
        SAGEMAKER_PROGRAM="inference.py",
        SAGEMAKER_SUBMIT_DIRECTORY="s3://bucket/sourcedir.tar.gz",
    )
    model = pickle.loads((unit.base / "model/model.pkl").read_bytes())
    yield server, model
    unit.close()


def test_predictions_are_the_models(served):
    server, model = served
    rows = rows_of(50, seed=1)
    reply = server.post(json.dumps(rows.tolist()).encode())
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json == model.predict(rows).tolist()
    text = "\n".join(",".join(map(str, row)) for row in rows).encode()
    reply = server.post(text, "text/csv", accept="text/csv")
    assert reply.body.decode().split() == [str(label) for label in model.predict(rows)]


def test_wrong_widths_get_scikit_learns_own_words(served):
    reply = served[0].post(b"[[1, 2]]")
    assert reply.status == 500
    assert "X has 2 features" in reply.json["error"]
    assert "expecting 4 features" in reply.json["error"]


def test_many_clients_at_once_each_get_their_own(served):
    server, model = served
    rows = rows_of(320, seed=2)

    def ask(start: int) -> list[int]:
        found: list[int] = []
        with server.client() as client:
            for row in rows[start : start + 10]:
                client.send(post(json.dumps([row.tolist()]).encode()))
                found += client.receive().json
        return found

    with ThreadPoolExecutor(32) as pool:
        answers = [label for found in pool.map(ask, range(0, 320, 10)) for label in found]
    assert answers == model.predict(rows).tolist()


def test_one_bad_request_does_not_touch_its_neighbours(served):
    server, model = served
    rows = rows_of(6, seed=3)
    good = [json.dumps([row.tolist()]).encode() for row in rows]
    bad = [b"[[1,2]]", b"[[1,2],[3]]", b"not json", b'[["a","b","c","d"]]', b"[]", b"{}"]
    mixed = [body for pair in zip(good, bad, strict=True) for body in pair]
    with server.client() as client:
        # Sent in one piece, so that one turn of the server's loop reads all of them.
        client.send(b"".join(post(body) for body in mixed))
        replies = [client.receive() for _ in mixed]
    assert [reply.json[0] for reply in replies[::2]] == model.predict(rows).tolist()
    assert all(reply.status in (400, 500) for reply in replies[1::2])
    assert "X has 2 features" in replies[1].json["error"]


# -- the parts -------------------------------------------------------------------------------------


class Counting:
    """A row-wise model that remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, rows):
        self.calls.append(len(rows))
        if (rows == 13).any():
            raise ValueError("thirteen")
        return rows.sum(axis=1)


def answers_of(model, bodies):
    row_model = RowModel(model.predict, model, "", scikit.framework, "application/json")
    headers = {b"content-type": b"application/json"}
    return row_model.answer_many([Exchange(None, headers, body, True) for body in bodies])


def test_requests_of_one_turn_are_one_prediction():
    model = Counting()
    answers = answers_of(model, [b"[[1,2]]", b"[[3,4],[5,6]]", b"[[0.5,0.5]]"])
    assert model.calls == [4]
    assert [answer.body for answer in answers] == [b"[3.0]", b"[7.0,11.0]", b"[1.0]"]


def test_a_failing_prediction_is_repeated_one_by_one():
    answers = answers_of(Counting(), [b"[[1,2]]", b"[[13,0]]", b"[[3,4]]"])
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert [answers[0].body, answers[2].body] == [b"[3]", b"[7]"]
    assert json.loads(answers[1].body) == {"error": "ValueError: thirteen"}


def test_the_numbers_of_one_prediction_are_bounded():
    model = Counting()
    large = json.dumps([[1, 2]] * 6000).encode()
    answers = answers_of(model, [large, large, b"[[1,2]]"])
    assert model.calls == [6000, 6001]
    assert [len(json.loads(answer.body)) for answer in answers] == [6000, 6000, 1]
    wide = Counting()
    answers_of(wide, [json.dumps([[1] * 5000] * 2).encode()] * 3)
    assert wide.calls == [2, 2, 2]


def test_a_model_that_does_not_answer_row_by_row_is_asked_singly():
    class Mean(Counting):
        def predict(self, rows):
            self.calls.append(len(rows))
            return np.array([rows.mean()])

    model = Mean()
    answers = answers_of(model, [b"[[1,2],[3,4]]", b"[[5,6]]"])
    assert model.calls == [3, 2, 1]
    assert [answer.body for answer in answers] == [b"[2.5]", b"[5.5]"]


class OwnStep(BaseEstimator, TransformerMixin):
    def fit(self, rows, labels=None):
        return self

    def transform(self, rows):
        return rows - rows.mean()


@pytest.mark.parametrize(
    ("model", "known"),
    [
        (linear_model.LogisticRegression(), True),
        (RandomForestClassifier(), True),
        (make_pipeline(StandardScaler(), svm.SVC()), True),
        (make_pipeline(FunctionTransformer(np.log1p), svm.SVC()), True),
        (make_pipeline(OwnStep(), svm.SVC()), False),
        (make_pipeline(FunctionTransformer(rows_of), svm.SVC()), False),
        (OwnStep(), False),
    ],
)
def test_user_code_inside_a_pipeline_switches_batching_off(model, known):
    assert scikit.row_wise(model) is known


def _fitted():
    features = rows_of(150, 5)
    classes = {"three": np.arange(150) % 3, "two": np.arange(150) % 2}
    names = {"three": np.array(["a", "b", "c"])[classes["three"]]}
    target = features @ np.arange(5) + 1
    for model in (
        linear_model.LogisticRegression(),
        linear_model.LogisticRegression(fit_intercept=False),
        linear_model.RidgeClassifier(),
        linear_model.SGDClassifier(random_state=0),
        linear_model.Perceptron(random_state=0),
        svm.LinearSVC(random_state=0),
    ):
        for labels in (*classes.values(), *names.values()):
            yield type(model)(**model.get_params()).fit(features, labels)
    for model in (
        linear_model.LinearRegression(),
        linear_model.LinearRegression(fit_intercept=False),
        linear_model.Ridge(),
        linear_model.Lasso(alpha=0.01),
        linear_model.ElasticNet(alpha=0.01),
        linear_model.SGDRegressor(random_state=0),
        linear_model.BayesianRidge(),
        linear_model.HuberRegressor(),
        svm.LinearSVR(random_state=0),
    ):
        yield model.fit(features, target)
    for model in (linear_model.LinearRegression(), linear_model.Ridge()):
        yield type(model)().fit(features, np.column_stack([target, -target]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_linear_shortcuts_predict_what_the_estimators_predict():
    assert issubclass(ConvergenceWarning, UserWarning)
    rows = rows_of(500, 5, seed=9)
    seen = 0
    for model in _fitted():
        quick = linear.shortcut(model)
        assert quick is not None, model
        np.testing.assert_array_equal(quick(rows), model.predict(rows), err_msg=str(model))
        assert quick(rows).dtype == model.predict(rows).dtype
        with pytest.raises(ValueError, match="X has 2 features"):
            quick(np.zeros((1, 2)))
        with pytest.raises(ValueError, match="NaN"):
            quick(np.full((1, 5), np.nan))
        seen += 1
    assert seen == 29


def test_subclasses_and_others_have_no_shortcut():
    class Mine(linear_model.LogisticRegression):
        pass

    features, labels = rows_of(20), np.arange(20) % 2
    assert linear.shortcut(Mine().fit(features, labels)) is None
    assert linear.shortcut(RandomForestClassifier(2).fit(features, labels)) is None
    assert linear.shortcut(linear_model.LogisticRegression()) is None
    multi = linear_model.RidgeClassifier().fit(features, np.column_stack([labels, 1 - labels]))
    assert linear.shortcut(multi) is None
