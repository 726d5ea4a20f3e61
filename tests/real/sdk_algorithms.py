"""What users of the SDK's classes for built-in algorithms write; all flows side by side.

It knows of Loopwright nothing but its environment. The last line on standard output is the results
by flow as JSON; of a flow that failed, its traceback.
"""

import json
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer
from sklearn import datasets

MACHINE = "ml.m5.large"
FINAL = ("Completed", "Failed", "Stopped", "InService")


def final(describe: Callable[[], dict[str, Any]], member: str) -> dict[str, Any]:
    """The description once it is final."""
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        found = describe()
        if found[member] in FINAL:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{member} is still {found[member]}")


def trained(session: sagemaker.Session, estimator: Any) -> dict[str, Any]:
    """Status, reason and last metrics of the estimator's job."""
    name = estimator.latest_training_job.name
    found = final(lambda: session.describe_training_job(name), "TrainingJobStatus")
    metrics = {m["MetricName"]: m["Value"] for m in found.get("FinalMetricDataList", [])}
    return {
        "status": found["TrainingJobStatus"],
        "reason": found.get("FailureReason"),
        "metrics": metrics,
    }


def deployed(session: sagemaker.Session, estimator: Any, **options: Any) -> Any:
    """A predictor whose endpoint is in service."""
    predictor = estimator.deploy(1, MACHINE, wait=False, **options)
    client, name = session.sagemaker_client, predictor.endpoint_name
    found = final(lambda: client.describe_endpoint(EndpointName=name), "EndpointStatus")
    if found["EndpointStatus"] == "Failed":
        raise RuntimeError(found["FailureReason"])
    return predictor


def common(session: sagemaker.Session, role: str, hosts: int = 1) -> dict[str, Any]:
    return {
        "role": role,
        "instance_count": hosts,
        "instance_type": MACHINE,
        "sagemaker_session": session,
    }


def values(records: Any, label: str) -> list[list[float]]:
    """One label of records that an endpoint answered."""
    return [list(record.label[label].float32_tensor.values) for record in records]


def linear_learner(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """Two classes with record_set, trained, deployed, asked; then trained on from the model."""
    rows, labels = datasets.load_breast_cancer(return_X_y=True)
    rows, labels = rows.astype("float32"), labels.astype("float32")
    estimator = sagemaker.LinearLearner(
        **common(session, role), predictor_type="binary_classifier", epochs=20
    )
    train = estimator.record_set(rows[:400], labels[:400])
    test = estimator.record_set(rows[400:], labels[400:], channel="test")
    estimator.fit([train, test], wait=False)
    first = trained(session, estimator)
    predictor = deployed(session, estimator)
    answers = predictor.predict(rows[400:])
    predictor.delete_endpoint()
    image = estimator.training_image_uri()
    again = Estimator(
        image,
        **common(session, role),
        model_uri=estimator.model_data,
        hyperparameters={"predictor_type": "binary_classifier", "feature_dim": 30, "epochs": 1},
    )
    again.fit({"train": train.records_s3_input()}, wait=False)
    return {
        **first,
        "accuracy": float((np.ravel(values(answers, "predicted_label")) == labels[400:]).mean()),
        "scores": len(values(answers, "score")),
        "image": image,
        "again": trained(session, again),
    }


def kmeans(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """Clusters learnt by two hosts, of a shard each."""
    rows = datasets.load_iris().data.astype("float32")
    estimator = sagemaker.KMeans(**common(session, role, hosts=2), k=3, epochs=10)
    estimator.fit(estimator.record_set(rows), mini_batch_size=50, wait=False)
    first = trained(session, estimator)
    predictor = deployed(session, estimator)
    answers = predictor.predict(rows)
    predictor.delete_endpoint()
    return {
        **first,
        "clusters": len(np.unique(values(answers, "closest_cluster"))),
        "msd": float((np.ravel(values(answers, "distance_to_cluster")) ** 2).mean()),
    }


def pca(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """Projections."""
    rows = datasets.load_iris().data.astype("float32")
    estimator = sagemaker.PCA(**common(session, role), num_components=2)
    estimator.fit(estimator.record_set(rows), wait=False)
    first = trained(session, estimator)
    predictor = deployed(session, estimator)
    answers = predictor.predict(rows)
    predictor.delete_endpoint()
    return {**first, "variances": np.var(values(answers, "projection"), axis=0).tolist()}


def knn(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """Neighbours vote."""
    rows, labels = datasets.load_iris(return_X_y=True)
    rows, labels = rows.astype("float32"), labels.astype("float32")
    estimator = sagemaker.KNN(
        **common(session, role), k=5, sample_size=150, predictor_type="classifier"
    )
    train = estimator.record_set(rows[::2], labels[::2])
    test = estimator.record_set(rows[1::2], labels[1::2], channel="test")
    estimator.fit([train, test], wait=False)
    first = trained(session, estimator)
    predictor = deployed(session, estimator)
    answers = predictor.predict(rows[1::2])
    predictor.delete_endpoint()
    right = np.ravel(values(answers, "predicted_label")) == labels[1::2]
    return {**first, "accuracy": float(right.mean())}


def forest(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """A row far out has the highest score."""
    rows = np.random.default_rng(0).normal(size=(400, 3)).astype("float32")
    estimator = sagemaker.RandomCutForest(
        **common(session, role), num_samples_per_tree=128, num_trees=50
    )
    estimator.fit(estimator.record_set(rows), wait=False)
    first = trained(session, estimator)
    predictor = deployed(session, estimator)
    answers = predictor.predict(np.vstack([rows[:20], [[9.0, 9.0, 9.0]]]).astype("float32"))
    predictor.delete_endpoint()
    return {**first, "highest": int(np.ravel(values(answers, "score")).argmax())}


def blazingtext(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """Sentences in a text file, JSON at the endpoint; and a mode that is refused by name."""
    good, bad = "a fine and lovely film", "a dull and boring film"
    lines = [f"__label__good {good} {n}\n__label__bad {bad} {n}" for n in range(40)]
    Path("text.txt").write_text("\n".join(lines))
    where = session.upload_data("text.txt", key_prefix="blazingtext")
    image = image_uris.retrieve("blazingtext", "us-east-1")
    bucket = session.default_bucket()
    options = {**common(session, role), "output_path": f"s3://{bucket}/blazingtext-models"}
    found = {}
    for mode in ("supervised", "cbow"):
        estimator = Estimator(image, **options)
        estimator.set_hyperparameters(mode=mode, buckets=1000, epochs=10, learning_rate=0.5)
        content = TrainingInput(where, content_type="text/plain")
        estimator.fit({"train": content, "validation": content}, wait=False)
        found[mode] = trained(session, estimator)
        if mode == "supervised":
            predictor = deployed(
                session,
                estimator,
                serializer=sagemaker.serializers.JSONSerializer(),
                deserializer=sagemaker.deserializers.JSONDeserializer(),
            )
            answers = predictor.predict({"instances": [good, bad], "configuration": {"k": 2}})
            predictor.delete_endpoint()
    return {**found, "answers": answers}


def csv(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """A generic estimator with CSV: label first; and hyperparameters that are refused."""
    rows, labels = datasets.load_diabetes(return_X_y=True)
    np.savetxt("rows.csv", np.column_stack([labels, rows]), delimiter=",")
    where = session.upload_data("rows.csv", key_prefix="linear-csv")
    image = image_uris.retrieve("linear-learner", "us-east-1")
    bucket = session.default_bucket()
    options = {**common(session, role), "output_path": f"s3://{bucket}/linear-models"}
    found = {}
    for case, more in (("good", {}), ("wrong", {"epochs": 0}), ("unknown", {"epoch": 3})):
        estimator = Estimator(image, **options)
        estimator.set_hyperparameters(predictor_type="regressor", **more)
        content = TrainingInput(where, content_type="text/csv")
        estimator.fit({"train": content, "validation": content}, wait=False)
        found[case] = trained(session, estimator)
        if case == "good":
            predictor = deployed(session, estimator, serializer=CSVSerializer())
            found["answer"] = json.loads(predictor.predict(rows[:3]))
            predictor.delete_endpoint()
    return found


FLOWS = (linear_learner, kmeans, pca, knn, forest, blazingtext, csv)


def answer_of(flow: Callable[..., dict[str, Any]], session: sagemaker.Session, role: str) -> Any:
    """A flow's result, or what went wrong."""
    try:
        return flow(session, role)
    except Exception:  # noqa: BLE001  # the test shows it
        return traceback.format_exc()


if __name__ == "__main__":
    sessions = [sagemaker.Session(boto3.Session()) for _ in FLOWS]
    role_of_all = sagemaker.get_execution_role(sessions[0])
    # The bucket is made once.
    buckets = [session.default_bucket() for session in sessions]
    with ThreadPoolExecutor(len(FLOWS)) as threads:
        roles = [role_of_all] * len(FLOWS)
        results = list(threads.map(answer_of, FLOWS, sessions, roles))
    named = {flow.__name__: result for flow, result in zip(FLOWS, results, strict=True)}
    print(json.dumps(named))
