"""What a user of the `sagemaker` SDK writes to tune; a test runs one flow in a process of its own.

The data are scikit-learn's own (digits, breast cancer). The last line on standard output is the
flow's result as JSON.
"""

import json
import sys
from typing import Any

import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.analytics import HyperparameterTuningJobAnalytics
from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.processing import ProcessingInput, ProcessingOutput
from sagemaker.pytorch import PyTorch
from sagemaker.serializers import CSVSerializer
from sagemaker.sklearn import SKLearn, SKLearnProcessor
from sagemaker.tuner import (
    CategoricalParameter,
    ContinuousParameter,
    HyperbandStrategyConfig,
    HyperparameterTuner,
    IntegerParameter,
    StrategyConfig,
)
from sklearn.datasets import load_breast_cancer, load_digits

from tests.real.sdk_client import final, folder_of

MACHINE = "ml.m5.large"

MLP = """\
import argparse, os
import joblib
import numpy as np
from sklearn.neural_network import MLPClassifier

parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, default=0.01)
parser.add_argument("--width", type=int, default=16)
parser.add_argument("--solver", default="adam")
parser.add_argument("--epochs", type=int, default=9)
arguments, _ = parser.parse_known_args()
rows = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "digits.csv"), delimiter=",")
test, train = rows[:400], rows[400:]
path = "/opt/ml/checkpoints/state.joblib"
if os.path.exists(path):
    epoch, model = joblib.load(path)
else:
    epoch = 0
    model = MLPClassifier(
        (arguments.width,), solver=arguments.solver, random_state=0,
        learning_rate_init=arguments.learning_rate,
    )
while epoch < arguments.epochs:
    epoch += 1
    model.partial_fit(train[:, 1:], train[:, 0], classes=range(10))
    score = model.score(test[:, 1:], test[:, 0])
    print(f"epoch {epoch}: val_acc: {score:.4f}", flush=True)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    joblib.dump((epoch, model), path + ".part")
    os.rename(path + ".part", path)
joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
"""


def cancer(session: sagemaker.Session) -> dict[str, TrainingInput]:
    """Breast cancer as CSV with the label first, in two channels."""
    rows, labels = load_breast_cancer(return_X_y=True)
    table = np.column_stack([labels, rows])
    channels = {"train": table[:400], "validation": table[400:]}
    found = {}
    for name, part in channels.items():
        text = "\n".join(",".join(f"{value:g}" for value in row) for row in part)
        key = f"cancer/{name}/rows.csv"
        uri = session.upload_string_as_file_body(text, session.default_bucket(), key)
        found[name] = TrainingInput(uri, content_type="text/csv")
    return found


def digits(session: sagemaker.Session) -> str:
    """Digits as CSV, label first."""
    rows, labels = load_digits(return_X_y=True)
    table = np.column_stack([labels, rows / 16])
    text = "\n".join(",".join(f"{value:g}" for value in row) for row in table)
    uri = session.upload_string_as_file_body(text, session.default_bucket(), "digits/digits.csv")
    return str(uri).rpartition("/")[0]


def boosted(session: sagemaker.Session, role: str) -> Estimator:
    """The built-in XGBoost."""
    image = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
    estimator = Estimator(
        image, role, instance_count=1, instance_type=MACHINE, sagemaker_session=session
    )
    estimator.set_hyperparameters(objective="binary:logistic", eval_metric="logloss", num_round=20)
    return estimator


def ended(session: sagemaker.Session, name: str) -> dict[str, Any]:
    """A tuning job once it is over, asked more often than the SDK's `wait` does."""
    return final(
        lambda: session.sagemaker_client.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name
        ),
        "HyperParameterTuningJobStatus",
    )


def xgboost(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """Bayesian search over the built-in algorithm, attach, analytics, deploy, two warm starts."""
    inputs = cancer(session)
    tuner = HyperparameterTuner(
        boosted(session, role),
        "validation:logloss",
        {
            "eta": ContinuousParameter(0.01, 0.5, scaling_type="Logarithmic"),
            "max_depth": IntegerParameter(1, 8),
            "subsample": ContinuousParameter(0.5, 1.0),
        },
        objective_type="Minimize",
        max_jobs=10,
        max_parallel_jobs=2,
        random_seed=3,
        base_tuning_job_name="cancer",
    )
    tuner.fit(inputs, job_name="cancer-bayes", wait=False)
    found = ended(session, "cancer-bayes")
    attached = HyperparameterTuner.attach("cancer-bayes", sagemaker_session=session)
    frame = HyperparameterTuningJobAnalytics("cancer-bayes", session).dataframe()
    best = attached.best_training_job()
    described = session.sagemaker_client.describe_training_job(TrainingJobName=best)
    estimator = attached.best_estimator()
    predictor = attached.deploy(
        1,
        MACHINE,
        serializer=CSVSerializer(),
        deserializer=CSVDeserializer(),
        wait=False,
    )
    state = final(
        lambda: session.sagemaker_client.describe_endpoint(EndpointName=predictor.endpoint_name),
        "EndpointStatus",
    )["EndpointStatus"]
    row = load_breast_cancer(return_X_y=True)[0][0]
    answer = float(np.ravel(np.array(predictor.predict(row), dtype=float))[0])
    predictor.delete_endpoint()
    children = {}
    for name, made in (
        ("identical", attached.identical_dataset_and_algorithm_tuner()),
        ("transfer", attached.transfer_learning_tuner(estimator=boosted(session, role))),
    ):
        made.max_jobs = 3
        made.fit(inputs, job_name=f"cancer-{name}", wait=False)
        child = ended(session, f"cancer-{name}")
        children[name] = [child["HyperParameterTuningJobStatus"], "OverallBestTrainingJob" in child]
    return {
        "status": found["HyperParameterTuningJobStatus"],
        "reason": found.get("FailureReason", ""),
        "value": found["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"],
        "metric": [
            point["Value"]
            for point in described["FinalMetricDataList"]
            if point["MetricName"] == "validation:logloss"
        ],
        "frame": [len(frame), float(frame["FinalObjectiveValue"].min())],
        "best": [best, estimator.latest_training_job.name],
        "state": state,
        "answer": answer,
        "children": children,
    }


def mlp(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """A script of one's own under all four strategies."""
    uri = digits(session)
    wide = {
        "learning-rate": ContinuousParameter(1e-4, 1e-1, scaling_type="Logarithmic"),
        "width": IntegerParameter(4, 64),
    }
    few = {
        "solver": CategoricalParameter(["adam", "sgd"]),
        "width": CategoricalParameter([8, 32]),
    }
    found = {}
    for strategy, ranges, more in (
        ("Random", wide, {"max_jobs": 4}),
        ("Bayesian", wide, {"max_jobs": 4, "early_stopping_type": "Auto"}),
        ("Grid", few, {"max_jobs": 4}),
        (
            "Hyperband",
            wide,
            {
                "max_jobs": 6,
                "strategy_config": StrategyConfig(
                    hyperband_strategy_config=HyperbandStrategyConfig(9, 1)
                ),
            },
        ),
    ):
        name = f"digits-{strategy.lower()}"
        estimator = SKLearn(
            entry_point="train.py",
            source_dir=folder_of({"train.py": MLP}),
            framework_version="1.2-1",
            role=role,
            instance_type=MACHINE,
            sagemaker_session=session,
            checkpoint_s3_uri=f"s3://{session.default_bucket()}/checkpoints",
        )
        tuner = HyperparameterTuner(
            estimator,
            "val_acc",
            ranges,
            metric_definitions=[{"Name": "val_acc", "Regex": "val_acc: ([0-9.]+)"}],
            strategy=strategy,
            objective_type="Maximize",
            max_parallel_jobs=2,
            random_seed=1,
            **more,
        )
        tuner.fit({"train": uri}, job_name=name, wait=False)
        job = ended(session, name)
        best = job.get("BestTrainingJob", {})
        value = best.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
        found[strategy] = [
            job["HyperParameterTuningJobStatus"],
            job.get("FailureReason", ""),
            value,
            best.get("TrainingJobName", ""),
        ]
    return found


def several(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """Two estimators in one tuning job."""
    inputs = cancer(session)
    tuner = HyperparameterTuner.create(
        estimator_dict={"deep": boosted(session, role), "flat": boosted(session, role)},
        objective_metric_name_dict={"deep": "validation:logloss", "flat": "validation:logloss"},
        hyperparameter_ranges_dict={
            "deep": {"max_depth": IntegerParameter(4, 9)},
            "flat": {"max_depth": IntegerParameter(1, 2)},
        },
        objective_type="Minimize",
        max_jobs=4,
        max_parallel_jobs=2,
        random_seed=1,
    )
    tuner.fit(
        {"deep": inputs, "flat": inputs},
        job_name="cancer-several",
        include_cls_metadata={},
        wait=False,
    )
    job = ended(session, "cancer-several")
    summary = tuner.describe()
    best = {}
    for name in ("deep", "flat"):
        rows = [
            trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
            for trial in session.sagemaker_client.list_training_jobs_for_hyper_parameter_tuning_job(
                HyperParameterTuningJobName="cancer-several"
            )["TrainingJobSummaries"]
            if trial["TrainingJobDefinitionName"] == name
        ]
        best[name] = len(rows)
    return {
        "status": job["HyperParameterTuningJobStatus"],
        "reason": job.get("FailureReason", ""),
        "names": [d["DefinitionName"] for d in summary["TrainingJobDefinitions"]],
        "counts": best,
        "best": tuner.best_training_job(),
    }


LAB_TRAIN = """\
import argparse, os
import numpy as np
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--learning_rate", type=float, default=0.01)
parser.add_argument("--train_batch_size", type=int, default=128)
parser.add_argument("--freeze_bert_layer", type=eval, default=False)
parser.add_argument("--epochs", type=int, default=3)
arguments, _ = parser.parse_known_args()
rows = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "digits.csv"), delimiter=",")
features = torch.tensor(rows[:, 1:], dtype=torch.float32)
labels = torch.tensor(rows[:, 0], dtype=torch.int64)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
optimizer = torch.optim.Adam(model.parameters(), arguments.learning_rate)
for epoch in range(arguments.epochs):
    for start in range(400, len(rows), arguments.train_batch_size):
        batch = slice(start, start + arguments.train_batch_size)
        loss = torch.nn.functional.cross_entropy(model(features[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = (model(features[:400]).argmax(1) == labels[:400]).float().mean().item()
    print(f"val_loss: {loss.item():.4f} - val_acc: {100 * right:.2f}", flush=True)
torch.save(model.state_dict(), os.path.join(os.environ["SM_MODEL_DIR"], "model.pth"))
"""
LAB_EVALUATE = """\
import json, os, tarfile
import numpy as np
import torch

with tarfile.open("/opt/ml/processing/input/model/model.tar.gz") as archive:
    archive.extractall("/tmp/model", filter="data")
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
model.load_state_dict(torch.load("/tmp/model/model.pth"))
rows = np.loadtxt("/opt/ml/processing/input/data/digits.csv", delimiter=",")[:400]
answers = model(torch.tensor(rows[:, 1:], dtype=torch.float32)).argmax(1).numpy()
report = {"metrics": {"accuracy": {"value": float((answers == rows[:, 0]).mean())}}}
os.makedirs("/opt/ml/processing/output/metrics", exist_ok=True)
with open("/opt/ml/processing/output/metrics/evaluation.json", "w") as stream:
    json.dump(report, stream)
"""


def lab(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """The course's first lab: tune a PyTorch classifier, take the best job, evaluate its model."""
    uri = digits(session)
    estimator = PyTorch(
        entry_point="train.py",
        source_dir=folder_of({"train.py": LAB_TRAIN}),
        role=role,
        instance_count=1,
        instance_type=MACHINE,
        py_version="py3",
        framework_version="1.6.0",
        hyperparameters={"epochs": 3, "freeze_bert_layer": False},
        metric_definitions=[
            {"Name": "validation:loss", "Regex": "val_loss: ([0-9.]+)"},
            {"Name": "validation:accuracy", "Regex": "val_acc: ([0-9.]+)"},
        ],
        sagemaker_session=session,
    )
    tuner = HyperparameterTuner(
        estimator=estimator,
        hyperparameter_ranges={
            "learning_rate": ContinuousParameter(0.001, 0.05, scaling_type="Linear"),
            "train_batch_size": CategoricalParameter([128, 256]),
        },
        metric_definitions=estimator.metric_definitions,
        strategy="Bayesian",
        objective_type="Maximize",
        objective_metric_name="validation:accuracy",
        max_jobs=2,
        max_parallel_jobs=1,
        early_stopping_type="Auto",
    )
    tuner.fit(
        inputs={"train": TrainingInput(s3_data=uri)},
        job_name="lab-tuning",
        include_cls_metadata=False,
        wait=False,
    )
    job = ended(session, "lab-tuning")
    frame = HyperparameterTuningJobAnalytics(
        sagemaker_session=session, hyperparameter_tuning_job_name="lab-tuning"
    ).dataframe()
    frame = frame.sort_values("FinalObjectiveValue", ascending=False)
    best = str(frame.head(1)["TrainingJobName"].iloc[0])
    model = session.sagemaker_client.describe_training_job(TrainingJobName=best)
    processor = SKLearnProcessor(
        framework_version="1.2-1",
        role=role,
        instance_type=MACHINE,
        instance_count=1,
        sagemaker_session=session,
    )
    processor.run(
        code=folder_of({"evaluate.py": LAB_EVALUATE}) + "/evaluate.py",
        inputs=[
            ProcessingInput(
                source=model["ModelArtifacts"]["S3ModelArtifacts"],
                destination="/opt/ml/processing/input/model/",
            ),
            ProcessingInput(source=uri, destination="/opt/ml/processing/input/data/"),
        ],
        outputs=[
            ProcessingOutput(
                output_name="metrics", s3_upload_mode="EndOfJob",
                source="/opt/ml/processing/output/metrics/",
            )
        ],
        wait=False,
    )  # fmt: skip
    done = final(
        lambda: session.sagemaker_client.describe_processing_job(
            ProcessingJobName=processor.latest_job.job_name
        ),
        "ProcessingJobStatus",
    )
    output = done["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    report = json.loads(sagemaker.s3.S3Downloader.read_file(
        f"{output}/evaluation.json", sagemaker_session=session
    ))  # fmt: skip
    return {
        "status": [job["HyperParameterTuningJobStatus"], done["ProcessingJobStatus"]],
        "reason": job.get("FailureReason", "") + done.get("FailureReason", ""),
        "columns": sorted(frame.columns),
        "best": [best, job["BestTrainingJob"]["TrainingJobName"], tuner.best_training_job()],
        "accuracy": [
            float(frame["FinalObjectiveValue"].max()),
            report["metrics"]["accuracy"]["value"],
        ],
    }


FLOWS = {"xgboost": xgboost, "mlp": mlp, "several": several, "lab": lab}

if __name__ == "__main__":
    current = sagemaker.Session()
    print(json.dumps(FLOWS[sys.argv[1]](current, sagemaker.get_execution_role(current))))
