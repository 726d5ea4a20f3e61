"""K-Means and PCA: as good as scikit-learn's, hyperparameters by name, going on from a model."""

import re
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from loopwright.algorithms import artifacts, kmeans_model, kmeans_train, pca_model, pca_train
from loopwright.algorithms.errors import CustomerError
from tests.algorithms.jobs import Job, halves

CLUSTERS = {"k": 10, "feature_dim": 64}
COMPONENTS = {"num_components": 5, "feature_dim": 64, "mini_batch_size": 100}


def clusters(job: Job, given: dict[str, Any], types: Any = None) -> Any:
    job.train(kmeans_train.train, given, types)
    return kmeans_model.algorithm.load(job.model)


def components(job: Job, given: dict[str, Any]) -> Any:
    job.train(pca_train.train, given)
    return artifacts.load(job.model / "model_algo-1", "pca")[1]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"init_method": "kmeans++", "mini_batch_size": 200, "epochs": 3},
        {"local_lloyd_init_method": "random", "local_lloyd_num_trials": 20},
        {"extra_center_factor": 4, "epochs": 5},
    ],
)
def test_clusters_are_as_tight_as_lloyd_s(job: Job, more: dict[str, Any]) -> None:
    train, test, _, _ = halves("digits")
    job.table("train", train)
    job.table("test", test)
    model = clusters(job, {**CLUSTERS, "eval_metrics": '["msd", "ssd"]', **more})
    other = KMeans(10, n_init=10, random_state=0).fit(train)
    found = job.metrics("kmeans")
    assert found["train:msd"] < 1.04 * other.inertia_ / len(train)
    assert found["test:msd"] < 1.04 * -other.score(test) / len(test)
    assert found["test:ssd"] == pytest.approx(found["test:msd"] * len(test))
    answer = model.predict(test)
    distances = np.linalg.norm(test[:, None] - model.centres[None], axis=2)
    assert np.array_equal(answer["closest_cluster"], distances.argmin(axis=1))
    assert answer["distance_to_cluster"] == pytest.approx(distances.min(axis=1), rel=1e-4)


def test_what_was_seen_long_ago_fades(job: Job) -> None:
    """The rows of a batch count whole; with a half life of a hundredth of it nothing is left."""
    rows = np.random.default_rng(0).normal(size=(300, 2))
    job.table("train", rows)
    given = {"k": 1, "feature_dim": 2, "mini_batch_size": 100, "extra_center_factor": 1}
    kept = clusters(job, given)
    assert kept.centres[0] == pytest.approx(rows.mean(axis=0), abs=1e-5)
    faded = clusters(job, {**given, "half_life_time_size": 1})
    assert np.abs(faded.centres[0] - rows.mean(axis=0)).max() > 0.01


def test_clusters_go_on_from_a_model(job: Job) -> None:
    train, _, _, _ = halves("digits")
    job.table("train", train)
    first = clusters(job, {**CLUSTERS, "epochs": 5})
    job.go_on()
    job.table("train", train[:50])
    again = clusters(job, CLUSTERS)
    from_nothing = KMeans(10, n_init=1, random_state=1).fit(train[:50]).cluster_centers_
    near = np.linalg.norm(first.centres - again.centres, axis=1).mean()
    assert near < np.linalg.norm(first.centres - from_nothing, axis=1).mean()
    for given, words in (
        ({**CLUSTERS, "k": 5}, "has 10 centres of 64 features, but k is 5"),
        ({"k": 10, "feature_dim": 63}, "and the channel train has 63 features"),
    ):
        with pytest.raises(CustomerError, match=words):
            clusters(job, given)


def test_clusters_of_sparse_rows(job: Job) -> None:
    rows = sparse.random(200, 30, 0.2, "csr", np.float32, np.random.default_rng(0))
    job.records("train", rows)
    thin = clusters(job, {"k": 3, "feature_dim": 30})
    job.records("train", rows.toarray())
    assert clusters(job, {"k": 3, "feature_dim": 30}).centres == pytest.approx(thin.centres)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"feature_dim": 64}, "The hyperparameter k is required"),
        ({"k": 3}, "The hyperparameter feature_dim is required"),
        ({**CLUSTERS, "k": 0}, "k is 0; it must be in [1,)"),
        ({**CLUSTERS, "init_method": "forgy"}, "must be one of random, kmeans++"),
        ({**CLUSTERS, "local_lloyd_tol": 2}, "must be in [0,1]"),
        ({**CLUSTERS, "eval_metrics": '["mse"]'}, "must hold only msd, ssd"),
        ({**CLUSTERS, "extra_center_factor": "many"}, "must be an integer in [1,)"),
        ({**CLUSTERS, "kk": 1}, "There is no hyperparameter kk"),
        ({**CLUSTERS, "k": 5000}, "k is 5000, but the channel train has 20 rows"),
    ],
)
def test_hyperparameters_of_clusters(job: Job, given: Any, words: str) -> None:
    job.table("train", np.ones((20, 64)))
    with pytest.raises(CustomerError, match=re.escape(words)):
        clusters(job, given)


@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_components_are_scikit_learn_s(job: Job, mode: str) -> None:
    train, test, _, _ = halves("digits")
    job.table("train", train)
    found = components(job, {**COMPONENTS, "algorithm_mode": mode})
    other = PCA(5).fit(train)
    # AWS gives the largest last.
    assert found["s"][::-1] == pytest.approx(other.singular_values_, rel=1e-3)
    projected = pca_model.algorithm.load(job.model).predict(test)["projection"]
    agreement = np.abs((other.transform(test) * projected[:, ::-1]).sum(axis=0))
    sizes = np.linalg.norm(other.transform(test), axis=0) * np.linalg.norm(projected, axis=0)[::-1]
    assert agreement / sizes == pytest.approx(np.ones(5), abs=0.01)
    assert {"train:progress", "train:throughput"} == set(job.metrics("pca"))


def test_extra_components_make_the_randomized_mode_exact(job: Job) -> None:
    train, _, _, _ = halves("digits")
    job.table("train", train)
    given = {**COMPONENTS, "algorithm_mode": "randomized"}
    exact = PCA(5).fit(train).singular_values_[::-1]
    errors = [
        np.abs(components(job, {**given, "extra_components": extra})["s"] - exact).max()
        for extra in (0, 55)
    ]
    assert errors[1] < 1e-3 and errors[1] <= errors[0]


def test_the_mean_may_stay(job: Job) -> None:
    train, _, _, _ = halves("digits")
    job.table("train", train)
    found = components(job, {**COMPONENTS, "subtract_mean": "false"})
    assert not found["mean"].any()
    assert found["s"][-1] == pytest.approx(np.linalg.norm(train.astype("f4"), 2), rel=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"feature_dim": 64, "mini_batch_size": 1}, "num_components is required"),
        ({"feature_dim": 64, "num_components": 1}, "mini_batch_size is required"),
        ({**COMPONENTS, "algorithm_mode": "exact"}, "must be one of regular, randomized"),
        ({**COMPONENTS, "num_components": 65}, "must be at most feature_dim, 64"),
        ({**COMPONENTS, "num_components": 30}, "but the channel train has 20 rows"),
        ({**COMPONENTS, "extra_components": -2}, "must be in [-1,)"),
    ],
)
def test_hyperparameters_of_components(job: Job, given: Any, words: str) -> None:
    job.table("train", np.ones((20, 64)))
    with pytest.raises(CustomerError, match=re.escape(words)):
        components(job, given)
