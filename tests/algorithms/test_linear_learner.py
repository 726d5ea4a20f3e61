"""The Linear Learner: as good as scikit-learn's linear models, and every hyperparameter heard."""

import re
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from loopwright.algorithms import artifacts, linear_parameters, linear_train
from loopwright.algorithms.errors import CustomerError
from loopwright.algorithms.linear_losses import LOSSES
from loopwright.algorithms.linear_model import NAME, LinearModel, model_of
from loopwright.algorithms.linear_scores import calibrate
from tests.algorithms.jobs import Job, halves

BINARY = {"predictor_type": "binary_classifier", "epochs": 30, "mini_batch_size": 100}
REGRESSOR = {"predictor_type": "regressor", "epochs": 30, "mini_batch_size": 100}


def fit(job: Job, given: dict[str, Any], types: Any = None) -> LinearModel:
    job.train(linear_train.train, given, types)
    return model_of(artifacts.load(job.model / "model_algo-1", NAME))


def test_two_classes_as_logistic_regression(job: Job) -> None:
    train, test, train_labels, test_labels = halves("breast_cancer")
    job.table("train", train, train_labels)
    job.table("test", test, test_labels)
    model = fit(job, BINARY)
    found = job.metrics("linear-learner")
    other = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, train_labels)
    assert found["test:binary_classification_accuracy"] >= other.score(test, test_labels) - 0.025
    shares = model.predict(test)["score"]
    assert found["test:roc_auc_score"] == pytest.approx(roc_auc_score(test_labels, shares))
    assert found["test:roc_auc_score"] > 0.985
    assert found["test:objective_loss"] == pytest.approx(log_loss(test_labels, shares), rel=1e-4)
    precision, recall = found["test:precision"], found["test:recall"]
    f_1 = 2 * precision * recall / (precision + recall)
    assert found["test:binary_f_beta"] == pytest.approx(f_1)
    assert {"train:objective_loss", "train:objective_loss:final", "train:progress"} <= set(found)


def test_many_classes_as_logistic_regression(job: Job) -> None:
    train, test, train_labels, test_labels = halves("digits")
    job.table("train", train, train_labels)
    job.table("validation", test, test_labels)
    model = fit(
        job,
        {
            "predictor_type": "multiclass_classifier", "num_classes": 10, "epochs": 30,
            "mini_batch_size": 100, "feature_dim": 64, "num_models": 4,
        },
    )  # fmt: skip
    other = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, train_labels)
    found = job.metrics("linear-learner")
    score = other.score(test, test_labels)
    assert found["validation:multiclass_accuracy"] >= score - 0.02
    predicted = model.predict(test)
    assert (predicted["predicted_label"] == test_labels).mean() == pytest.approx(
        found["validation:multiclass_accuracy"]
    )
    assert predicted["score"].sum(axis=1) == pytest.approx(1.0)
    assert 1 > found["validation:multiclass_top_k_accuracy"] > score
    assert found["validation:dcg"] > score
    assert {"validation:macro_precision", "validation:macro_recall"} <= set(found)


def test_values_as_linear_regression(job: Job) -> None:
    train, test, train_labels, test_labels = halves("diabetes")
    job.table("train", train, train_labels)
    job.table("test", test, test_labels)
    fit(job, REGRESSOR)
    other = LinearRegression().fit(train, train_labels).predict(test)
    found = job.metrics("linear-learner")
    assert found["test:mse"] == pytest.approx(mean_squared_error(test_labels, other), rel=0.05)
    assert found["test:absolute_loss"] < found["test:mse"]


@pytest.mark.parametrize("loss", linear_parameters.LOSSES["regressor"])
def test_each_loss_of_a_regression_is_lowered(job: Job, loss: str) -> None:
    """Every loss but the quantile's own is near its least value at the least squares."""
    train, _, labels, _ = halves("diabetes")
    job.table("train", train, labels)
    settings = {**REGRESSOR, "loss": loss, "quantile": 0.9, "loss_insensitivity": 1.0}
    model = fit(job, {**settings, "num_models": 1, "l1": 0, "wd": 0, "epochs": 100})
    function, name = LOSSES[loss]
    checked = linear_parameters.check(settings)
    if loss == "quantile_loss":
        other: Any = QuantileRegressor(quantile=0.9, alpha=0).fit(train, labels)
        below = (labels < model.predict(train)["score"]).mean()
        assert below == pytest.approx(0.9, abs=0.03)
    else:
        other = LinearRegression().fit(train, labels)

    def mean(scores: Any) -> float:
        shape = (len(scores), 1, 1)
        values, _ = function(scores.reshape(shape), labels.reshape(shape).astype(float), checked)
        return float(values.mean())

    own = mean(model.predict(train)["score"])
    assert own < 1.05 * mean(other.predict(train))
    assert re.search(rf"host=algo-1, train {name} <loss>=", job.log)
    assert job.metrics("linear-learner")["train:objective_loss:final"] == pytest.approx(
        own, rel=1e-4
    )


def test_the_slopes_are_those_of_the_losses() -> None:
    random = np.random.default_rng(0)
    kinds = {"logistic": "binary_classifier", "softmax_loss": "multiclass_classifier"}
    for loss, (function, _) in LOSSES.items():
        kind = kinds.get(loss, "binary_classifier" if loss == "hinge_loss" else "regressor")
        settings = linear_parameters.check({"predictor_type": kind, "num_classes": 3})
        outputs = 3 if loss == "softmax_loss" else 1
        scores = random.normal(size=(50, 2, outputs))
        labels = random.normal(size=(50, 1, 1))
        if kind == "binary_classifier":
            labels = (labels > 0).astype(float)
        elif outputs == 3:
            labels = np.eye(3)[random.integers(0, 3, 50)][:, None, :]
        _, slopes = function(scores, labels, settings)
        for output in range(outputs):
            step = np.zeros(outputs)
            step[output] = 1e-6
            above, below = (function(scores + s * step, labels, settings)[0] for s in (1, -1))
            assert slopes[..., output] == pytest.approx((above - below) / 2e-6, abs=1e-5), loss


def test_hinge_loss_gives_raw_scores(job: Job) -> None:
    train, test, train_labels, test_labels = halves("breast_cancer")
    job.table("train", train, train_labels)
    model = fit(job, {**BINARY, "loss": "hinge_loss", "margin": 2.0})
    found = model.predict(test)
    assert found["score"].min() < -1 and found["score"].max() > 1
    assert (found["predicted_label"] == test_labels).mean() > 0.93


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_each_optimizer_learns(job: Job, optimizer: str) -> None:
    train, _, labels, _ = halves("breast_cancer")
    job.table("train", train, labels)
    fit(job, {**BINARY, "optimizer": optimizer, "num_models": 1})
    assert job.metrics("linear-learner")["train:binary_classification_accuracy"] > 0.97


def test_penalties_shrink_and_empty_the_weights(job: Job) -> None:
    train, _, labels, _ = halves("breast_cancer")
    job.table("train", train, labels)
    free = fit(job, {**BINARY, "num_models": 1, "l1": 0, "wd": 0})
    small = fit(job, {**BINARY, "num_models": 1, "l1": 0, "wd": 1.0})
    thin = fit(job, {**BINARY, "num_models": 1, "l1": 0.05, "wd": 0})
    spread = train.std(axis=0)[:, None]
    assert np.abs(small.weights * spread).sum() < 0.5 * np.abs(free.weights * spread).sum()
    assert (thin.weights == 0).sum() > 10
    assert (free.weights == 0).sum() == 0


def test_the_criterion_decides_the_threshold(job: Job) -> None:
    train, _, labels, _ = halves("breast_cancer")
    noisy = labels.copy()
    noisy[::7] = 1 - noisy[::7]
    job.table("train", train, noisy)

    def found(criterion: str, **more: float) -> dict[str, float]:
        chosen = {"binary_classifier_model_selection_criteria": criterion, **more}
        fit(job, {**BINARY, **chosen})
        return job.metrics("linear-learner")

    high = found("precision_at_target_recall", target_recall=0.97)
    assert high["train:recall"] >= 0.97
    exact = found("recall_at_target_precision", target_precision=0.95)
    assert exact["train:precision"] >= 0.95
    assert high["train:recall"] > exact["train:recall"]
    accurate = found("accuracy")["train:binary_classification_accuracy"]
    assert accurate >= max(one["train:binary_classification_accuracy"] for one in (high, exact))
    assert fit(job, {**BINARY, "binary_classifier_model_selection_criteria": "loss_function"})
    model = fit(job, {**BINARY, "binary_classifier_model_selection_criteria": "loss_function"})
    assert model.threshold == 0.0


@pytest.mark.parametrize("criterion", linear_parameters.CRITERIA[:4])
def test_the_best_threshold_is_found(criterion: str) -> None:
    """Against trying every threshold."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 40).astype(float)
    scores = np.round(random.normal(size=(40, 3)) + labels[:, None], 1)
    settings = linear_parameters.check(
        {
            "predictor_type": "binary_classifier", "f_beta": 2.0,
            "binary_classifier_model_selection_criteria": criterion,
        }
    )  # fmt: skip
    values, thresholds = calibrate(scores, labels, settings)

    def value(predicted: Any) -> float:
        hits, taken = (predicted & (labels > 0)).sum(), predicted.sum()
        recall, precision = hits / labels.sum(), hits / taken if taken else 0.0
        if criterion == "accuracy":
            return float((predicted == (labels > 0)).mean())
        if criterion == "f_beta":
            return float(5 * precision * recall / max(4 * precision + recall, 1e-12))
        if criterion == "precision_at_target_recall":
            return float(precision) if recall >= 0.8 else -1.0
        return float(recall) if precision >= 0.8 else -1.0

    for model in range(3):
        column = scores[:, model]
        tried = max(value(column > limit) for limit in [-9.0, *(column + 0.05)])
        assert values[model] == pytest.approx(tried)
        assert value(column > thresholds[model]) == pytest.approx(tried)


def test_positive_examples_and_rare_classes_can_weigh_more(job: Job) -> None:
    random = np.random.default_rng(0)
    labels = (random.random(600) < 0.1).astype(int)
    rows = random.normal(size=(600, 2)) + labels[:, None]
    job.table("train", rows, labels)
    rule = {**BINARY, "binary_classifier_model_selection_criteria": "loss_function"}
    fit(job, rule)
    before = job.metrics("linear-learner")["train:recall"]
    fit(job, {**rule, "positive_example_weight_mult": "balanced"})
    assert job.metrics("linear-learner")["train:recall"] > before + 0.3
    labels[labels == 0] = random.integers(0, 2, (labels == 0).sum()) * 2
    job.table("train", random.normal(size=(600, 2)) + labels[:, None], labels)
    many = {
        "predictor_type": "multiclass_classifier", "num_classes": 3, "epochs": 30, "num_models": 1,
    }  # fmt: skip
    fit(job, many)
    before = job.metrics("linear-learner")["train:macro_recall"]
    fit(job, {**many, "balance_multiclass_weights": True})
    assert job.metrics("linear-learner")["train:macro_recall"] > before + 0.05


def test_sparse_rows_are_learnt_from_as_dense_ones_are(job: Job) -> None:
    random = np.random.default_rng(0)
    rows = sparse.random(400, 60, 0.1, "csr", np.float32, random)
    labels = (rows.toarray()[:, :5].sum(axis=1) > 0.2).astype(int)
    given = {**BINARY, "unbias_data": False, "num_models": 1}
    job.records("train", rows, labels)
    thin = fit(job, given)
    job.records("train", rows.toarray(), labels)
    dense = fit(job, given)
    assert thin.weights == pytest.approx(dense.weights, abs=1e-3)
    assert job.metrics("linear-learner")["train:binary_classification_accuracy"] > 0.9


def test_without_a_bias_the_line_goes_through_zero(job: Job) -> None:
    train, _, labels, _ = halves("diabetes")
    job.table("train", train, labels)
    model = fit(job, {**REGRESSOR, "use_bias": False})
    assert model.predict(np.zeros((1, 10)))["score"] == pytest.approx([0.0])


def test_training_is_the_same_again_and_stops_early(job: Job) -> None:
    train, _, labels, _ = halves("diabetes")
    job.table("train", train, labels)
    first = fit(job, {**REGRESSOR, "epochs": 500})
    assert "Early stopping condition met" in job.log
    assert len(re.findall("completed", job.log)) < 100
    again = fit(job, {**REGRESSOR, "epochs": 500})
    assert np.array_equal(first.weights, again.weights)
    fit(job, {**REGRESSOR, "epochs": 20, "early_stopping_patience": 21})
    assert job.metrics("linear-learner")["train:progress"] == 100


def test_training_goes_on_from_the_channel_model(job: Job) -> None:
    train, _, labels, _ = halves("breast_cancer")
    job.table("train", train, labels)
    fit(job, BINARY)
    reached = job.metrics("linear-learner")["train:objective_loss:final"]
    once = {**BINARY, "epochs": 1, "learning_rate": 1e-4}
    fit(job, once)
    assert job.metrics("linear-learner")["train:objective_loss:final"] > 2 * reached
    fit(job, BINARY)
    job.go_on()
    fit(job, once)
    assert job.metrics("linear-learner")["train:objective_loss:final"] < 1.2 * reached


@pytest.mark.parametrize(
    ("given", "columns", "words"),
    [
        (REGRESSOR, 30, "is a binary_classifier, but predictor_type is regressor"),
        (BINARY, 29, "has 30 features and 1 outputs, but the channel train has 29 features"),
    ],
)
def test_an_earlier_model_must_fit(job: Job, given: Any, columns: int, words: str) -> None:
    train, _, labels, _ = halves("breast_cancer")
    job.table("train", train, labels)
    fit(job, BINARY)
    job.go_on()
    job.table("train", train[:, :columns], labels)
    with pytest.raises(CustomerError, match=words):
        fit(job, given)


def test_a_tuning_job_s_trial_trains_one_model(job: Job) -> None:
    train, _, labels, _ = halves("diabetes")
    job.table("train", train, labels)
    one = fit(job, {**REGRESSOR, "num_models": 1})
    assert "num_models" in linear_parameters.SCHEMA
    trial = fit(job, {**REGRESSOR, "_tuning_objective_metric": "train:objective_loss"})
    assert np.array_equal(one.weights, trial.weights)
    assert not np.array_equal(one.weights, fit(job, REGRESSOR).weights)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "The hyperparameter predictor_type is required"),
        ({"predictor_type": "ranker"}, "must be one of binary_classifier, multiclass_classifier"),
        ({"predictor_type": "multiclass_classifier"}, "num_classes is required"),
        ({"predictor_type": "multiclass_classifier", "num_classes": 2}, "must be in [3,1000000]"),
        ({**BINARY, "epochs": 0}, "epochs is 0; it must be in [1,)"),
        ({**BINARY, "epochs": "ten"}, "epochs is 'ten'; it must be an integer in [1,)"),
        ({**BINARY, "learning_rate": -1}, "learning_rate is -1; it must be in (0,)"),
        ({**BINARY, "momentum": 1.0}, "must be in [0,1)"),
        ({**BINARY, "wd": "nan"}, "wd is 'nan'; it must be in [0,)"),
        ({**BINARY, "quantile": 1}, "must be in (0,1)"),
        ({**BINARY, "optimizer": "lbfgs"}, "must be one of auto, sgd, adam, rmsprop"),
        ({**BINARY, "loss": "squared_loss"}, "one of logistic, hinge_loss for binary_classifier"),
        ({**BINARY, "use_bias": "maybe"}, "must be true or false"),
        ({**BINARY, "learning_rte": 1}, "There is no hyperparameter learning_rte"),
        ({**BINARY, "positive_example_weight_mult": "heavy"}, "must be a number in (0,)"),
    ],
)
def test_hyperparameters_are_checked_by_name(given: Any, words: str) -> None:
    with pytest.raises(CustomerError, match=re.escape(words)) as caught:
        linear_parameters.check(given)
    assert caught.value.reason.startswith("ClientError: ")


def test_the_clients_forms_of_values_are_understood() -> None:
    found = linear_parameters.check(
        {"predictor_type": "regressor", "use_bias": "True", "wd": "auto", "l1": "1e-3",
         "normalize_data": True, "feature_dim": "10"}
    )  # fmt: skip
    assert found["use_bias"] is True and found["normalize_data"] is True
    assert (found["wd"], found["l1"], found["feature_dim"]) == ("auto", 0.001, 10)
    assert (found["loss"], found["epochs"], found["mini_batch_size"]) == ("squared_loss", 15, 1000)


@pytest.mark.parametrize(
    ("labels", "given", "words"),
    [
        ([0, 1, 2], BINARY, "must be 0 or 1 for binary_classifier, but one is 2"),
        (
            [0, 1, 3],
            {"predictor_type": "multiclass_classifier", "num_classes": 3},
            "from 0 to num_classes - 1, which is 2",
        ),
        ([0, 0.5, 1], BINARY, "one is 0.5"),
    ],
)
def test_labels_must_fit_the_predictor(job: Job, labels: Any, given: Any, words: str) -> None:
    job.table("train", np.ones((3, 2)), labels)
    with pytest.raises(CustomerError, match=words):
        fit(job, given)


def test_channels_must_fit_each_other(job: Job) -> None:
    job.table("train", np.ones((3, 2)), [0, 1, 0])
    with pytest.raises(CustomerError, match="feature_dim is 3, but the rows of the channel train"):
        fit(job, {**BINARY, "feature_dim": 3})
    job.table("validation", np.ones((3, 4)), [0, 1, 0])
    with pytest.raises(CustomerError, match="channel train has 2 features, validation 4"):
        fit(job, BINARY)
    job.records("validation", np.ones((3, 2)))
    (job.base / "input/data/validation/rows.csv").unlink()
    with pytest.raises(CustomerError, match="channel validation has no labels"):
        fit(job, BINARY)


def test_numbers_that_run_away_are_the_customer_s(job: Job) -> None:
    train, _, labels, _ = halves("diabetes")
    job.table("train", train * 1e6, labels)
    given = {**REGRESSOR, "normalize_data": False, "optimizer": "sgd", "learning_rate": 1e9}
    with np.errstate(all="ignore"), pytest.raises(CustomerError, match="smaller learning_rate"):
        fit(job, {**given, "num_models": 1, "epochs": 100, "early_stopping_patience": 100})
