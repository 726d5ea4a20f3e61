"""The built-in algorithms' model servers: every content type in and out, and what is refused."""

import io
import json
from typing import Any

import numpy as np
import pytest
from sagemaker.amazon import common
from scipy import sparse

from loopwright.algorithms import (
    forest_train,
    kmeans_train,
    knn_train,
    linear_train,
    pca_train,
    text_train,
)
from tests.algorithms.jobs import Job, halves
from tests.runtime.conftest import Unit

RECORDIO = "application/x-recordio-protobuf"
LINES = "application/jsonlines"


def serve(job: Job, runtime: str, unit: Unit) -> Any:
    for path in job.model.iterdir():
        unit.write(f"model/{path.name}", path.read_bytes())
    return unit.serve(LOOPWRIGHT_RUNTIME=runtime)


def records(body: bytes) -> list[dict[str, list[float]]]:
    return [
        {name: list(value.float32_tensor.values) for name, value in record.label.items()}
        for record in common.read_records(io.BytesIO(body))
    ]


def bodies(rows: Any) -> list[tuple[str, bytes]]:
    """The same rows in every documented form."""
    dense, thin = io.BytesIO(), io.BytesIO()
    common.write_numpy_to_dense_tensor(dense, rows.astype("f4"))
    common.write_spmatrix_to_sparse_tensor(thin, sparse.csr_matrix(rows.astype("f4")))
    values = rows.astype("f4").astype(float).tolist()
    width = len(values[0])
    whole = [{"keys": list(range(width)), "values": row, "shape": [width]} for row in values]
    instances: list[Any] = [
        [{"features": row} for row in values],
        [{"data": {"features": {"values": row}}} for row in values],
        [{"data": {"features": row}} for row in whole],
        values,
    ]
    found = [("application/json", json.dumps({"instances": each}).encode()) for each in instances]
    found += [(LINES, "\n".join(map(json.dumps, each)).encode()) for each in instances[:3]]
    csv = "\n".join(",".join(map(str, row)) for row in values).encode()
    return [
        *found,
        ("text/csv", csv),
        ("text/csv;label_size=0", csv),
        (RECORDIO, dense.getvalue()),
        (RECORDIO, thin.getvalue()),
    ]


def test_linear_learner_answers_every_form_alike(job: Job, unit: Unit) -> None:
    train, test, labels, _ = halves("digits")
    job.table("train", train, labels)
    given = {"predictor_type": "multiclass_classifier", "num_classes": 10, "num_models": 1}
    job.train(linear_train.train, given)
    server = serve(job, "linear-learner", unit)
    assert server.get("/ping").status == 200
    first = None
    for media, body in bodies(test[:3]):
        reply = server.post(body, media)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), media
        found = reply.json["predictions"]
        first = first or found
        for one, other in zip(found, first, strict=True):
            assert set(one) == {"score", "predicted_label"}
            assert one["score"] == pytest.approx(other["score"], abs=1e-6), media
            assert one["predicted_label"] == other["predicted_label"]
    assert first is not None and len(first[0]["score"]) == 10
    body = bodies(test[:3])[0][1]
    reply = server.post(body, accept=LINES)
    assert [json.loads(line) for line in reply.body.splitlines()] == first
    reply = server.post(body, accept="text/csv")
    assert len(reply.body.splitlines()[0].split(b",")) == 11
    reply = server.post(body, accept=RECORDIO)
    assert reply.headers["content-type"] == RECORDIO
    for record, one in zip(records(reply.body), first, strict=True):
        assert record["score"] == pytest.approx(one["score"], abs=1e-6)
        assert record["predicted_label"] == [one["predicted_label"]]
    _check_refusals(server)


def _check_refusals(server: Any) -> None:
    for body, media, status, words in (
        (b"1,2\n", "text/csv", 400, b"The rows have 2 features; the model was trained with 64."),
        (b'{"instances": [{"features": [1]}]}', "application/json", 400, b"have 1 features"),
        (b'{"instances": 3}', "application/json", 400, b"it must be"),
        (b'{"instances": [{"features": ["x"]}]}', "application/json", 400, b"not valid"),
        (b"{", "application/json", 400, b"not valid application/json"),
        (b"", "application/json", 400, b"not valid"),
        (b'{"instances": [{"data": [1]}]}', "application/json", 400, b"not valid"),
        (b"x" * 9, RECORDIO, 400, b"a frame begins with 78"),
        (b"x", "image/png", 415, b"use text/csv, application/json"),
    ):
        reply = server.post(body, media)
        assert (reply.status, words in reply.body) == (status, True), reply.body
    assert server.post(b"1,2\n", "text/csv", accept="image/png").status == 406


def test_two_classes_values_and_clusters(job: Job, unit: Unit) -> None:
    train, test, labels, test_labels = halves("breast_cancer")
    job.table("train", train, labels)
    job.train(linear_train.train, {"predictor_type": "binary_classifier"})
    server = serve(job, "linear-learner", unit)
    found = server.post(bodies(test)[0][1]).json["predictions"]
    assert np.mean([one["predicted_label"] for one in found] == test_labels) > 0.9
    assert all(0 <= one["score"] <= 1 for one in found)
    assert server.stop() == 0
    job.train(
        kmeans_train.train, {"k": 2, "feature_dim": 30}, {"train": {"ContentType": "text/csv"}}
    )
    server = serve(job, "kmeans", unit)
    reply = server.post(bodies(test[:4])[0][1], accept="text/csv")
    rows = [[float(cell) for cell in line.split(b",")] for line in reply.body.splitlines()]
    assert {row[0] for row in rows} <= {0.0, 1.0}
    found = server.post(bodies(test[:4])[0][1]).json["predictions"]
    assert [[one["closest_cluster"], one["distance_to_cluster"]] for one in found] == rows


def test_pca_and_forest_have_names_of_their_own(job: Job, unit: Unit) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4))
    job.table("train", rows)
    given = {"feature_dim": 4, "num_components": 2, "mini_batch_size": 10}
    job.train(pca_train.train, given)
    server = serve(job, "pca", unit)
    for media, body in bodies(rows[:2]):
        found = server.post(body, media).json["projections"]
        assert [len(one["projection"]) for one in found] == [2, 2]
    assert server.stop() == 0
    job.train(forest_train.train, {"feature_dim": 4})
    server = serve(job, "randomcutforest", unit)
    for media, body in bodies(rows[:2]):
        found = server.post(body, media).json["scores"]
        assert [0 < one["score"] < 3 for one in found] == [True, True]


def test_knn_is_verbose_if_asked(job: Job, unit: Unit) -> None:
    rows, labels = np.eye(4), [0, 0, 1, 1]
    job.table("train", rows, labels)
    given = {"k": 3, "feature_dim": 4, "sample_size": 4, "predictor_type": "classifier"}
    job.train(knn_train.train, given)
    server = serve(job, "knn", unit)
    body = bodies(rows[:2])[0][1]
    assert server.post(body).json == {"predictions": [{"predicted_label": 0.0}] * 2}
    reply = server.post(body, accept="application/json; verbose=true")
    first = reply.json["predictions"][0]
    assert first["predicted_label"] == 0.0
    assert first["distances"] == pytest.approx([0.0, 2**0.5, 2**0.5])
    assert first["labels"][0] == 0.0
    reply = server.post(body, accept=f"{RECORDIO};verbose=true")
    assert records(reply.body)[0]["distances"] == pytest.approx(first["distances"])
    reply = server.post(body, accept=LINES)
    assert reply.body == b'{"predicted_label":0.0}\n' * 2


def test_blazingtext_answers_in_the_content_type_of_the_request(job: Job, unit: Unit) -> None:
    lines = ["__label__good a fine film", "__label__bad a dull film"] * 30
    job.write("input/data/train/text.txt", "\n".join(lines))
    job.train(text_train.train, {"mode": "supervised", "buckets": 100, "learning_rate": 0.5})
    server = serve(job, "blazingtext", unit)
    body = json.dumps({"instances": ["fine", "dull"], "configuration": {"k": 9}}).encode()
    reply = server.post(body, accept=LINES)
    assert reply.headers["content-type"] == "application/json"
    assert [one["label"][0] for one in reply.json] == ["__label__good", "__label__bad"]
    assert [sum(one["prob"]) for one in reply.json] == pytest.approx([1.0, 1.0], abs=1e-5)
    reply = server.post(b'{"source": "fine", "k": 2}\n{"source": "dull"}', LINES)
    assert reply.headers["content-type"] == LINES
    found = [json.loads(line) for line in reply.body.splitlines()]
    assert [len(one["label"]) for one in found] == [2, 1]
    for wrong in (
        b'{"instances": ["a"], "configuration": [2]}',
        b'{"instances": [1]}',
        b'{"instances": ["a"], "configuration": {"k": 0}}',
        b"[",
    ):
        assert server.post(wrong).status == 400
    assert server.post(b"fine", "text/plain").status == 415


@pytest.mark.parametrize("runtime", ["linear-learner", "kmeans", "blazingtext"])
def test_a_missing_or_foreign_model_is_named(unit: Unit, runtime: str, job: Job) -> None:
    job.table("train", np.eye(4))
    given = {"feature_dim": 4, "num_components": 2, "mini_batch_size": 10}
    job.train(pca_train.train, given)
    unit.write("model/model_algo-1", (job.model / "model_algo-1").read_bytes())
    server = unit.start_server(LOOPWRIGHT_RUNTIME=runtime)
    assert server.process.wait(30) == 1
    words = "neither model.bin" if runtime == "blazingtext" else f"a model of pca, not of {runtime}"
    assert words in unit.failure()


def test_a_job_that_fails_says_why(unit: Unit) -> None:
    """Through the verb `train`, as the platform runs it."""
    unit.write("input/data/train/a.csv", "1,2\n")
    unit.configure({"k": 2}, {"train": {"ContentType": "text/csv"}})
    done = unit.run("train", LOOPWRIGHT_RUNTIME="kmeans")
    assert done.returncode == 1
    assert unit.failure() == "ClientError: The hyperparameter feature_dim is required."
