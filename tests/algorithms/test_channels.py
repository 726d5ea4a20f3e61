"""Channels of rows: formats, mistakes by name, pipes, and shards of several hosts."""

import io
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sagemaker.amazon import common
from scipy import sparse

from loopwright.algorithms import channels, hosts, linear_train
from loopwright.algorithms.channels import Table
from loopwright.algorithms.errors import AlgorithmError, CustomerError
from loopwright.runtime.environment import Environment
from loopwright.runtime.paths import Tree
from tests.algorithms.jobs import Job

RECORDIO = {"train": {"ContentType": "application/x-recordio-protobuf"}}
LINEAR = {"predictor_type": "regressor"}


def read(job: Job, types: Any, *, columns: int | None = None, supervised: bool = True) -> Table:
    return channels.read(job.environment({}, types), "train", columns, supervised=supervised)


@pytest.mark.parametrize(
    ("content_type", "columns", "supervised", "labelled"),
    [
        ("text/csv", None, True, True),
        ("text/csv", 3, False, False),
        ("text/csv", 2, False, True),
        ("text/csv", None, False, True),
        ("text/csv;label_size=0", None, True, False),
        ("text/csv; label_size=1; charset=utf-8", 2, False, True),
    ],
)
def test_a_label_is_the_first_column_where_there_is_one(
    job: Job, content_type: str, columns: int | None, supervised: bool, labelled: bool
) -> None:
    job.write("input/data/train/b.csv", "7,8,9\n")
    job.write("input/data/train/a.csv", "1,2,3\r\n4,5,6")
    job.write("input/data/train/_SUCCESS", "")
    types = {"train": {"ContentType": content_type}}
    found = read(job, types, columns=columns, supervised=supervised)
    whole = np.arange(1.0, 10.0).reshape(3, 3)
    if labelled:
        assert found.labels is not None and found.labels.tolist() == [1, 4, 7]
        assert np.array_equal(found.features, whole[:, 1:])
    else:
        assert found.labels is None
        assert np.array_equal(found.features, whole)


def test_the_sdk_s_files_are_read(job: Job) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype("f4")
    dense, thin = io.BytesIO(), io.BytesIO()
    common.write_numpy_to_dense_tensor(dense, rows, np.arange(50.0))
    common.write_spmatrix_to_sparse_tensor(thin, sparse.csr_matrix(rows), np.arange(50.0))
    job.write("input/data/train/a.pbr", dense.getvalue())
    first = read(job, {"train": {}})
    assert np.array_equal(first.features, rows)
    assert first.labels is not None and first.labels.tolist() == list(range(50))
    job.write("input/data/train/b.pbr", thin.getvalue())
    both = read(job, RECORDIO)
    assert sparse.issparse(both.features)
    assert np.array_equal(both.dense(), np.vstack([rows, rows]))


@pytest.mark.parametrize(
    ("files", "types", "words"),
    [
        ({}, {}, "The channel train is missing; the job has none"),
        ({"train/a.csv": ""}, {}, "The files of the channel train are empty"),
        ({"train/.a.csv": "1,2"}, {}, "The channel train has no file"),
        ({"train/a.csv": "y,x\n1,2\n"}, {}, "a.csv, line 1, column 1 is 'y', not a number"),
        ({"train/a.csv": "1,2\n3,\n"}, {}, "line 2, column 2 is empty"),
        ({"train/a.csv": "1,2\n1,2,3\n"}, {}, "line 2 has 3 columns; the first line has 2"),
        ({"train/a.csv": "1,2\n", "train/b.csv": "1,2,3\n"}, {}, "differ in columns: 1 and 2"),
        ({"train/a.csv": "1\n"}, {}, "a.csv has one column"),
        ({"train/a.csv": "1,inf\n"}, {}, "a value that is no finite number"),
        ({"train/a.csv": "1,2\n"}, RECORDIO, "a.csv is not application/x-recordio-protobuf: a "),
        ({"train/a.csv": "1,2"}, {"train": {"ContentType": "image/png"}}, "type image/png; use"),
        (
            {"train/a.csv": "1,2"},
            {"train": {"ContentType": "text/csv;label_size=2"}},
            "label_size=2; label_size is 0 or 1",
        ),
        ({"train/a.csv": "1,2\n", "other/a.csv": "1,2\n"}, {}, "The channel other is unknown"),
    ],
)
def test_mistakes_are_named(job: Job, files: Any, types: Any, words: str) -> None:
    for name, content in files.items():
        job.write(f"input/data/{name}", content)
    given = {name: {"ContentType": "text/csv"} for name in {n.split("/")[0] for n in files}}
    with pytest.raises(CustomerError, match=re.escape(words)):
        job.train(linear_train.train, LINEAR, given | types)


def test_records_that_do_not_fit_are_named(job: Job) -> None:
    job.records("train", np.ones((2, 3)))
    more = sparse.csr_matrix(np.ones((1, 4), "f4"))
    content = (job.base / "input/data/train/rows.pbr").read_bytes()
    job.records("train", more)
    path = job.base / "input/data/train/rows.pbr"
    path.write_bytes(content + path.read_bytes())
    with pytest.raises(CustomerError, match="is not application/x-recordio-protobuf"):
        read(job, RECORDIO, columns=3)


@pytest.mark.parametrize("kind", ["csv", "recordio"])
def test_a_pipe_will_do(job: Job, kind: str) -> None:
    rows, labels = np.arange(30_000.0).reshape(-1, 3), np.arange(10_000.0)
    (job.table if kind == "csv" else job.records)("train", rows, labels)
    (path,) = (job.base / "input/data/train").iterdir()
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(job.base / "input/data/train_0")
    pipe = job.base / "input/data/train_0"
    writer = threading.Thread(target=pipe.write_bytes, args=[content], daemon=True)
    writer.start()
    media = "text/csv" if kind == "csv" else "application/x-recordio-protobuf"
    found = read(job, {"train": {"ContentType": media, "TrainingInputMode": "Pipe"}})
    writer.join()
    assert np.array_equal(found.features, rows)
    assert found.labels is not None and np.array_equal(found.labels, labels)


def team_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> list[Environment]:
    """Environments of a job's hosts; all are this machine, and no other job has its name."""
    monkeypatch.setenv("TRAINING_JOB_ARN", str(tmp_path))
    monkeypatch.setattr(hosts, "_address", lambda host: "127.0.0.1")
    sharded = {"train": {"S3DistributionType": "ShardedByS3Key"}, "test": {}}
    return [
        Environment(
            Tree(tmp_path / name), {}, {"current_host": name, "hosts": list(names)}, sharded
        )
        for name in names
    ]


def test_the_first_host_gets_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environments = team_of(tmp_path, monkeypatch, ("algo-1", "algo-2", "algo-3"))
    tests = Table(np.zeros((2, 2), "f4"), None)
    parts = [Table(np.full((n, 2), n, "f4"), np.full(n, n, "f4")) for n in (1, 2, 3)]
    parts[2] = Table(sparse.csr_matrix(parts[2].features), parts[2].labels)
    found: dict[str, Any] = {}
    ended = []

    def work(environment: Environment, part: Table) -> None:
        with hosts.team(environment) as team:
            tables = team.gather({"train": part, "test": tests})
            if team.leads:
                found.update(tables)
                team.release()
            else:
                team.await_leader()
        ended.append(environment.host)

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(environments, parts, strict=True)
    ]
    for thread in reversed(threads):
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ended) == ["algo-1", "algo-2", "algo-3"]
    assert found["train"].labels.tolist() == [1, 2, 2, 3, 3, 3]
    assert found["train"].dense()[:, 0].tolist() == [1, 2, 2, 3, 3, 3]
    assert found["test"].rows == 2


def test_hosts_that_wait_learn_of_the_first_one_s_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = team_of(tmp_path, monkeypatch, ("algo-1", "algo-2"))
    table = {"train": Table(np.zeros((1, 1), "f4"), None)}
    words: list[str] = []

    def wait() -> None:
        with hosts.team(second) as team:
            team.gather(table)
            try:
                team.await_leader()
            except AlgorithmError as error:
                words.append(error.reason)

    waiting = threading.Thread(target=wait)
    waiting.start()
    with hosts.team(first) as team:
        team.gather(table)
    waiting.join(60)
    assert words == ["AlgorithmError: algo-1 ended before the model was there."]


def test_another_job_s_port_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs that begin with the same port do not mix their data."""
    monkeypatch.setattr(hosts, "_first_port", lambda key: 31_000)
    results: dict[str, list[float]] = {}

    def work(job: str, environment: Environment, team: hosts.Team) -> None:
        value = float(job) + int(environment.host[-1])
        tables = team.gather({"train": Table(np.full((1, 1), value, "f4"), None)})
        if team.leads:
            results[job] = tables["train"].dense()[:, 0].tolist()
            team.release()
        else:
            team.await_leader()
        team.close()

    threads = []
    for job in ("10", "20"):
        for environment in team_of(tmp_path / job, monkeypatch, ("algo-1", "algo-2")):
            # The job's name is read here.
            arguments = (job, environment, hosts.Team(environment))
            threads.append(threading.Thread(target=work, args=arguments))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {"10": [11, 12], "20": [21, 22]}
