"""The built-in XGBoost algorithm, from channels to predictions."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import xgboost

from loopwright.algorithms import xgboost_hyperparameters as hyperparameters
from loopwright.algorithms import xgboost_train
from loopwright.algorithms.errors import CustomerError
from loopwright.runtime import environment as environments
from loopwright.runtime.paths import Tree

CSV = {"ContentType": "text/csv", "TrainingInputMode": "File"}
LIBSVM = {"ContentType": "text/libsvm"}
AWS_REGEX = r".*\[[0-9]+\].*#011validation-rmse:([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?).*"


def table(count=120, seed=0):
    features = np.random.default_rng(seed).normal(size=(count, 3)).round(3)
    return features, (features @ [1, 2, 3]).round(3)


def csv_of(features, labels):
    return "\n".join(",".join(map(str, row)) for row in np.column_stack([labels, features])) + "\n"


def libsvm_of(features, labels):
    return "\n".join(
        f"{label} " + " ".join(f"{index}:{value}" for index, value in enumerate(row))
        for row, label in zip(features, labels, strict=True)
    )


def prepare(unit, hyperparameters=None, *, labels=None, validation=True, text=csv_of, config=CSV):
    features, target = table()
    unit.write("input/data/train/part-1.csv", text(features, target if labels is None else labels))
    channels = {"train": config}
    if validation:
        features, target = table(seed=1)
        target = target if labels is None else labels
        unit.write("input/data/validation/part-1.csv", text(features, target))
        channels["validation"] = config
    unit.configure({"num_round": 5, **(hyperparameters or {})}, channels)


def train(unit, **environment):
    return unit.run("train", LOOPWRIGHT_RUNTIME="xgboost", **environment)


def booster_of(unit):
    booster = xgboost.Booster()
    booster.load_model(bytearray((unit.base / "model/xgboost-model").read_bytes()))
    return booster


def test_csv_from_training_to_predictions(unit):
    prepare(unit, {"max_depth": 4, "eta": 0.3, "objective": "reg:squarederror"})
    done = train(unit)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 5
    assert re.fullmatch(r"\[0\]#011train-rmse:\d\.\d{5}#011validation-rmse:\d\.\d{5}", lines[0])
    scores = [float(re.match(AWS_REGEX, line)[1]) for line in lines]
    assert scores[-1] < scores[0]

    rows, _ = table(40, seed=5)
    expected = booster_of(unit).predict(xgboost.DMatrix(rows)).tolist()
    server = unit.serve(LOOPWRIGHT_RUNTIME="xgboost")
    body = "\n".join(",".join(map(str, row)) for row in rows).encode()
    reply = server.post(body, "text/csv")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/csv")
    assert reply.body.decode() == "".join(f"{value}\n" for value in expected)
    reply = server.post(body, "text/csv", accept="application/json")
    assert reply.json == {"predictions": [{"score": value} for value in expected]}
    reply = server.post(libsvm_of(rows, [0] * 40).encode(), "text/libsvm")
    assert reply.body.decode().split() == [str(value) for value in expected]
    reply = server.post(body, "text/csv", accept="application/jsonlines")
    assert [json.loads(line)["score"] for line in reply.body.splitlines()] == expected
    assert server.post(b",,\n", "text/csv").status == 200
    assert server.post(b"", "text/csv").status == 204
    refused = server.post(b"1,2\n", "text/csv")
    assert (refused.status, refused.body) == (
        400,
        b"The rows have 2 features; the model was trained with 3.",
    )
    assert server.post(b"x", "image/png").status == 415
    assert server.post(body, "text/csv", accept="image/png").status == 406
    assert server.post(b"1 7:2\n", "text/libsvm").status == 400
    assert server.stop() == 0


def test_libsvm_gives_the_same_model_as_csv(unit, tmp_path):
    prepare(unit)
    assert train(unit).returncode == 0
    first = booster_of(unit)
    prepare(unit, text=libsvm_of, config=LIBSVM)
    done = train(unit)
    assert done.returncode == 0, done.stderr
    rows = xgboost.DMatrix(table(20, seed=5)[0])
    np.testing.assert_array_equal(first.predict(rows), booster_of(unit).predict(rows))


def test_classes_metrics_and_early_stopping(unit):
    labels = (table()[1] > 0).astype(int)
    prepare(
        unit,
        {
            "objective": "multi:softprob",
            "num_class": 2,
            "eval_metric": "mlogloss,accuracy",
            "num_round": 200,
            "early_stopping_rounds": 3,
            "_tuning_objective_metric": "validation:merror",
        },
        labels=labels,
    )
    done = train(unit)
    assert done.returncode == 0, done.stderr
    last = [line for line in done.stdout.splitlines() if line.startswith("[")][-1]
    for name in ("mlogloss", "merror", "accuracy"):
        assert f"#011validation-{name}:" in last
    assert int(last[1 : last.index("]")]) < 199
    rows, _ = table(7, seed=5)
    server = unit.serve(LOOPWRIGHT_RUNTIME="xgboost")
    reply = server.post(json.dumps(rows.tolist()).encode(), accept="text/csv")
    assert [len(line.split(",")) for line in reply.body.decode().splitlines()] == [2] * 7


def test_weights_are_the_second_column(unit):
    features, target = table()
    weights = np.where(target > 0, 1.0, 0.0)
    rows = np.column_stack([np.where(target > 0, 5.0, -5.0), weights, features])
    unit.write("input/data/train/d.csv", "\n".join(",".join(map(str, row)) for row in rows))
    unit.configure({"num_round": 20, "csv_weights": 1}, {"train": CSV})
    assert train(unit).returncode == 0
    # Only rows of positive labels have weight, so nothing else can be predicted.
    assert booster_of(unit).predict(xgboost.DMatrix(features)).min() > 4


def test_training_goes_on_from_the_model_channel(unit):
    prepare(unit, validation=False)
    assert train(unit).returncode == 0
    model = (unit.base / "model/xgboost-model").read_bytes()
    unit.write("input/data/model/xgboost-model", model)
    unit.configure({"num_round": 5}, {"train": CSV, "model": {}})
    assert train(unit).returncode == 0
    assert booster_of(unit).num_boosted_rounds() == 10


def test_an_earlier_model_must_have_the_same_features(unit):
    prepare(unit, validation=False)
    assert train(unit).returncode == 0
    model = (unit.base / "model/xgboost-model").read_bytes()
    unit.write("input/data/model/xgboost-model", model)
    unit.write("input/data/train/part-1.csv", "1,2\n3,4\n")
    unit.configure({"num_round": 5}, {"train": CSV, "model": {}})
    assert train(unit).returncode == 1
    assert unit.failure() == (
        "ClientError: The model of the channel model has 3 features, but the channel train has 1."
    )


def test_training_goes_on_from_the_newest_checkpoint(unit):
    prepare(unit)
    (unit.base / "checkpoints").mkdir()
    assert train(unit).returncode == 0
    whole = booster_of(unit)
    kept = sorted(path.name for path in (unit.base / "checkpoints").iterdir())
    assert kept == [f"xgboost-checkpoint.{number}" for number in range(5)]
    for number in (3, 4):
        (unit.base / f"checkpoints/xgboost-checkpoint.{number}").unlink()
    done = train(unit)
    assert [line[:3] for line in done.stdout.splitlines() if line[0] == "["] == ["[3]", "[4]"]
    rows = xgboost.DMatrix(table(20, seed=5)[0])
    np.testing.assert_allclose(booster_of(unit).predict(rows), whole.predict(rows), rtol=1e-6)


def test_a_stopped_job_has_the_model_of_its_last_round(unit):
    prepare(unit, {"num_round": 100_000, "save_model_on_termination": "true"})
    with subprocess.Popen(
        [sys.executable, "-m", "loopwright.runtime", "train"],
        env=unit.environment(LOOPWRIGHT_RUNTIME="xgboost"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("[3]"):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert booster_of(unit).num_boosted_rounds() >= 3


@pytest.mark.parametrize(
    ("channels", "files", "words"),
    [
        ({}, {}, "The channel train is missing"),
        ({"train": CSV}, {}, "The channel train has no file"),
        ({"train": CSV}, {"train/a": ""}, "files of the channel train are empty"),
        ({"train": CSV}, {"train/a": "y,x\n1,2\n"}, "line 1, column 1 is 'y', not a number"),
        ({"train": CSV}, {"train/a": "1,2\n1,2,3\n"}, "a, line 2 has 3 columns"),
        ({"train": CSV}, {"train/a": "1,2\n", "train/b": "1,2,3\n"}, "differ in columns"),
        ({"train": CSV}, {"train/a": "1\n"}, "at least one feature"),
        ({"train": LIBSVM}, {"train/a": "1 0:1 oops\n"}, "'oops' is not index:value"),
        ({"train": {"ContentType": "image/png"}}, {"train/a": "1"}, "content type image/png"),
        (
            {"train": {"ContentType": "application/x-recordio-protobuf"}},
            {"train/a": "1"},
            "content type application/x-recordio-protobuf",
        ),
        ({"train": {"ContentType": "text/csv;label_size=2"}}, {"train/a": "1"}, "label_size=2"),
        ({"train": {**CSV, "TrainingInputMode": "Pipe"}}, {"train/a": "1"}, "Pipe mode"),
        ({"train": CSV, "test": CSV}, {"train/a": "1,2\n"}, "The channel test is unknown"),
        (
            {"train": CSV, "validation": CSV},
            {"train/a": "1,2\n", "validation/a": "1,2,3\n"},
            "has 1 features, validation 2",
        ),
        ({"train": CSV}, {"train/a": "nan,2\n"}, "Label contains NaN"),
    ],
)
def test_wrong_channels_are_the_customers(unit, channels, files, words):
    unit.configure({"num_round": 1}, channels)
    for name, content in files.items():
        unit.write(f"input/data/{name}", content)
    with pytest.raises(CustomerError, match=re.escape(words)):
        xgboost_train.train(environments.read(Tree(unit.base)))


def test_labels_that_do_not_fit_the_objective_are_the_customers(unit):
    prepare(unit, {"objective": "binary:logistic"})
    assert train(unit).returncode == 1
    assert unit.failure().startswith("ClientError: ")
    assert "the label must be in [0,1] for binary:logistic" in unit.failure()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"num_round": None}, "num_round is required"),
        ({"num_round": "0"}, "num_round is '0'; it must be in [1,)"),
        ({"num_round": "many"}, "must be an integer in [1,)"),
        ({"eta": 1.5}, "eta is 1.5; it must be in [0,1]"),
        ({"subsample": 0}, "must be in (0,1]"),
        ({"max_depht": 3}, "no hyperparameter max_depht"),
        ({"tree_method": "fast"}, "must be one of auto, exact"),
        ({"objective": "multi:softmax"}, "num_class is required"),
        ({"num_class": 3}, "has no classes"),
        ({"eval_metric": "rsme"}, "must be one of accuracy"),
        ({"eval_metric": "rmse@2"}, "takes a threshold only"),
        ({"eval_metric": "auc"}, "auc needs a classification"),
        ({"_kfold": 5}, "_kfold is refused"),
        ({"monotone_constraints": "(1,2)"}, "must be a tuple of -1, 0 and 1"),
        ({"interaction_constraints": "[1]"}, "list of lists"),
        ({"_tuning_objective_metric": "rmse"}, "must be validation:METRIC"),
        ({"use_dask_gpu_training": "true"}, "use_dask_gpu_training"),
    ],
)
def test_hyperparameters_are_checked_by_name(given, words):
    whole = {"num_round": 1, **given}
    whole = {name: value for name, value in whole.items() if value is not None}
    with pytest.raises(CustomerError, match=re.escape(words)):
        hyperparameters.validate(whole)


def test_good_hyperparameters_become_xgboosts():
    found = hyperparameters.validate(
        {
            "num_round": "10",
            "learning_rate": "0.1",
            "reg_lambda": 2,
            "eval_metric": "error@0.7,auc",
            "objective": "binary:logistic",
            "monotone_constraints": "(1,0,-1)",
            "early_stopping_rounds": 5,
            "_tuning_objective_metric": "validation:f1",
        }
    )
    assert found.rounds == 10
    assert found.metrics == ["error@0.7", "auc", "f1"]
    assert found.objective_metric == "f1"
    assert found.early_stopping_rounds == 5
    assert found.parameters == {
        "eta": 0.1,
        "lambda": 2.0,
        "objective": "binary:logistic",
        "monotone_constraints": "(1,0,-1)",
    }


def test_a_script_may_serve_the_booster(unit):
    prepare(unit, validation=False)
    assert train(unit).returncode == 0
    unit.write("model/code/inference.py", "import os\n")
    rows, _ = table(5, seed=5)
    expected = booster_of(unit).predict(xgboost.DMatrix(rows)).tolist()
    server = unit.serve(LOOPWRIGHT_RUNTIME="xgboost", SAGEMAKER_PROGRAM="inference.py")
    assert server.post(json.dumps(rows.tolist()).encode()).json == expected
    assert server.post(libsvm_of(rows, [0] * 5).encode(), "text/libsvm").json == expected


def test_a_missing_model_is_named(unit):
    unit.write("model/other", "x")
    server = unit.start_server(LOOPWRIGHT_RUNTIME="xgboost")
    assert server.process.wait(30) == 1
    assert "has no file xgboost-model; it holds other" in unit.failure()
