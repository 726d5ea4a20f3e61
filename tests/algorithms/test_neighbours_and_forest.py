"""k-NN and the random cut forest."""

import re
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from loopwright.algorithms import forest_model, forest_train, knn_model, knn_train
from loopwright.algorithms.channels import Table
from loopwright.algorithms.errors import CustomerError
from tests.algorithms.jobs import Job, halves

CLASSES = {"k": 3, "feature_dim": 64, "sample_size": 5000, "predictor_type": "classifier"}
VALUES = {"k": 10, "feature_dim": 10, "sample_size": 5000, "predictor_type": "regressor"}


def neighbours(job: Job, given: dict[str, Any]) -> Any:
    job.train(knn_train.train, given)
    return knn_model.algorithm.load(job.model)


def forest(job: Job, given: dict[str, Any]) -> Any:
    job.train(forest_train.train, given)
    return forest_model.algorithm.load(job.model)


@pytest.mark.parametrize("index", ["faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ"])
def test_classes_are_scikit_learn_s(job: Job, index: str) -> None:
    train, test, train_labels, test_labels = halves("digits")
    job.table("train", train, train_labels)
    job.table("test", test, test_labels)
    neighbours(job, {**CLASSES, "index_type": index, "faiss_index_pq_m": 4})
    other = KNeighborsClassifier(3).fit(train, train_labels).score(test, test_labels)
    found = job.metrics("knn")["test:accuracy"]
    assert found == pytest.approx(other, abs=0.006)
    assert f"#test_score (algo-1) : ('accuracy', {found!r})" in job.log
    assert ("exact search" in job.log) == (index != "faiss.Flat")


def test_values_are_scikit_learn_s(job: Job) -> None:
    train, test, train_labels, test_labels = halves("diabetes")
    job.table("train", train, train_labels)
    job.table("test", test, test_labels)
    model = neighbours(job, VALUES)
    other = KNeighborsRegressor(10).fit(train, train_labels).predict(test)
    assert model.predict(test.astype("f4"))["predicted_label"] == pytest.approx(other, rel=1e-3)
    assert job.metrics("knn")["test:mse"] == pytest.approx(
        ((other - test_labels) ** 2).mean(), rel=1e-3
    )


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT", "COSINE"])
def test_the_nearest_are_the_nearest(job: Job, metric: str) -> None:
    train, test, train_labels, _ = halves("digits")
    job.table("train", train, train_labels)
    model = neighbours(job, {**CLASSES, "index_metric": metric})
    distances, labels = model.neighbours(test[:20])
    products = test[:20] @ train.T
    norms = np.linalg.norm(test[:20], axis=1)[:, None] * np.linalg.norm(train, axis=1)
    expected = {
        "L2": np.sort(np.linalg.norm(test[:20, None] - train[None], axis=2), axis=1)[:, :3],
        "INNER_PRODUCT": -np.sort(-products, axis=1)[:, :3],
        "COSINE": -np.sort(-products / norms, axis=1)[:, :3],
    }[metric]
    assert distances == pytest.approx(expected, rel=1e-5)
    assert labels.shape == (20, 3)


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_fewer_dimensions_keep_distances(job: Job, kind: str) -> None:
    train, test, train_labels, test_labels = halves("digits")
    job.table("train", train, train_labels)
    job.table("test", test, test_labels)
    model = neighbours(
        job, {**CLASSES, "dimension_reduction_type": kind, "dimension_reduction_target": 40}
    )
    assert model.points.shape == (len(train), 40)
    assert job.metrics("knn")["test:accuracy"] > 0.95
    apart = np.linalg.norm(train[:200, None] - train[None, 200:300], axis=2)
    points = model.projection.apply(train[:300])
    now = np.linalg.norm(points[:200, None] - points[None, 200:300], axis=2)
    assert (now / apart).mean() == pytest.approx(1.0, abs=0.08)
    assert (now / apart).std() < 0.2


def test_a_sample_is_the_index(job: Job) -> None:
    train, _, labels, _ = halves("digits")
    job.table("train", train, labels)
    first = neighbours(job, {**CLASSES, "sample_size": 100})
    assert first.points.shape == (100, 64)
    again = neighbours(job, {**CLASSES, "sample_size": 100})
    assert np.array_equal(first.points, again.points)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**CLASSES, "k": None}, "The hyperparameter k is required"),
        ({**CLASSES, "sample_size": None}, "sample_size is required"),
        ({**CLASSES, "predictor_type": "ranker"}, "must be one of classifier, regressor"),
        ({**CLASSES, "dimension_reduction_type": "sign"}, "dimension_reduction_target is required"),
        ({**CLASSES, "dimension_reduction_target": 3}, "there is no dimension_reduction_type"),
        (
            {**CLASSES, "dimension_reduction_type": "fjlt", "dimension_reduction_target": 64},
            "must be between 0 and feature_dim, 64, exclusive",
        ),
        ({**CLASSES, "index_type": "faiss.IVFPQ"}, "faiss_index_pq_m is required"),
        (
            {**CLASSES, "index_type": "faiss.IVFPQ", "index_metric": "COSINE"},
            "index_metric is COSINE",
        ),
        ({**CLASSES, "faiss_index_pq_m": 5}, "must be one of 1, 2, 3, 4, 8"),
        ({**CLASSES, "k": 21}, "k is 21, but the channel train has 20 rows"),
        ({**CLASSES, "k": 9, "sample_size": 8}, "k is 9; it must be at most sample_size, 8"),
    ],
)
def test_hyperparameters_of_neighbours(job: Job, given: Any, words: str) -> None:
    job.table("train", np.ones((20, 64)), np.zeros(20))
    whole = {name: value for name, value in given.items() if value is not None}
    with pytest.raises(CustomerError, match=re.escape(words)):
        neighbours(job, whole)


def anomalies() -> tuple[Any, Any, Any]:
    """Scaled benign rows; others of both kinds with labels: 1 is malignant, and rare."""
    train, test, train_labels, test_labels = halves("breast_cancer")
    usual = train[train_labels == 1]
    scaled = [(part - usual.mean(axis=0)) / usual.std(axis=0) for part in (usual, test)]
    rare = np.concatenate([np.flatnonzero(test_labels == 1), np.flatnonzero(test_labels == 0)[:20]])
    return scaled[0], scaled[1][rare], 1 - test_labels[rare]


def test_anomalies_are_found_as_by_an_isolation_forest(job: Job) -> None:
    usual, rows, labels = anomalies()
    job.table("train", usual)
    job.table("test", rows, labels)
    model = forest(job, {"feature_dim": 30})
    scores = model.predict(rows)["score"]
    other = -IsolationForest(random_state=0).fit(usual).score_samples(rows)
    assert roc_auc_score(labels, scores) > roc_auc_score(labels, other) - 0.02
    found = job.metrics("randomcutforest")
    limit = float(re.findall("Scores above ([0-9.]+) count", job.log)[0])
    assert found["test:f1"] == pytest.approx(f1_score(labels, scores > limit), abs=1e-6)
    assert found["test:f1"] > 0.6
    assert {"test:accuracy", "test:precision", "test:recall"} <= set(found)
    forest(job, {"feature_dim": 30, "eval_metrics": ["accuracy"]})
    assert "test:f1" not in job.metrics("randomcutforest")
    assert np.array_equal(forest_model.algorithm.load(job.model).predict(rows)["score"], scores)


def test_scores_are_the_expectation_over_insertions() -> None:
    """Against inserting the row for real, by chance, many times (Guha et al., algorithm 1)."""
    random = np.random.default_rng(0)
    points = random.normal(size=(12, 2)).astype("f4").astype(float)
    made = forest_train.grow(Table(points, None), 1, 12, random)

    def depth(row: Any) -> float:
        node, level = int(made.roots[0]), 0
        while True:
            low, high = np.minimum(made.low[node], row), np.maximum(made.high[node], row)
            axis = random.choice(2, p=(high - low) / (high - low).sum())
            cut = random.uniform(low[axis], high[axis])
            if not made.low[node][axis] <= cut <= made.high[node][axis]:
                return 1.0 / (level + 1.0)
            if made.axis[node] == forest_model.LEAF:
                raise AssertionError("a new row always parts from a leaf")
            below = row[made.axis[node]] <= made.cut[node]
            node, level = int((made.left if below else made.right)[node]), level + 1

    for row in (np.array([3.0, -2.0]), np.array([0.3, 0.1])):
        tried = np.mean([depth(row) for _ in range(4000)])
        assert made.score(row[None])[0] == pytest.approx(tried * np.log2(13), rel=0.05)


def test_cuts_fall_where_the_rows_are_wide() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(size=(64, 2)) * [9.0, 1.0]
    made = forest_train.grow(Table(points, None), 400, 64, random)
    assert (made.axis[made.roots] == 0).mean() == pytest.approx(0.9, abs=0.04)
    leaves = made.axis == forest_model.LEAF
    assert made.mass[leaves].sum() == 400 * 64
    assert (made.mass[made.roots] == 64).all()


def test_equal_rows_are_one_leaf_and_not_unusual(job: Job) -> None:
    rows = np.vstack([np.zeros((60, 2)), np.random.default_rng(0).normal(size=(60, 2)) + 5])
    job.table("train", rows)
    scores = forest(job, {"feature_dim": 2}).predict(np.array([[0.0, 0.0], [20.0, -9.0]]))["score"]
    assert scores[0] < 0.7 < 2 < scores[1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "The hyperparameter feature_dim is required"),
        ({"feature_dim": 10_001}, "must be in [1,10000]"),
        ({"feature_dim": 2, "num_trees": 49}, "num_trees is 49; it must be in [50,1000]"),
        ({"feature_dim": 2, "num_samples_per_tree": 2049}, "must be in [1,2048]"),
        ({"feature_dim": 2, "eval_metrics": "f1"}, "must hold only accuracy"),
        ({"feature_dim": 3}, "feature_dim is 3, but the rows of the channel train have 2"),
    ],
)
def test_hyperparameters_of_the_forest(job: Job, given: Any, words: str) -> None:
    job.table("train", np.random.default_rng(0).normal(size=(20, 2)), np.zeros(20))
    types = {"train": {"ContentType": "text/csv;label_size=1"}}
    with pytest.raises(CustomerError, match=re.escape(words)):
        job.train(forest_train.train, given, types)
