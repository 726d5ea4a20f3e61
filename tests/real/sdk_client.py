"""What a user of the `sagemaker` SDK writes; a test runs one flow of it in a process of its own.

It imports boto3 and sagemaker only and knows of Loopwright nothing but its environment. The last
line on standard output is the flow's result as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer, NumpyDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.processing import (
    FrameworkProcessor,
    ProcessingInput,
    ProcessingOutput,
    ScriptProcessor,
)
from sagemaker.pytorch import PyTorch, PyTorchModel
from sagemaker.serializers import CSVSerializer, JSONSerializer, NumpySerializer
from sagemaker.sklearn import SKLearn, SKLearnModel, SKLearnProcessor
from sagemaker.xgboost import XGBoost, XGBoostModel

MACHINE = "ml.m5.large"
FINAL = ("Completed", "Failed", "Stopped", "InService")
ROWS = "\n".join(f"{int(x > 5)},{x},{(x * 7) % 3}" for x in range(12))

SKLEARN_TRAIN = """\
import argparse, os
import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from helper import PENALTIES


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--strength", type=float)
    parser.add_argument("--note", type=str)
    parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    arguments = parser.parse_args()
    rows = np.loadtxt(os.path.join(arguments.train, "rows.csv"), delimiter=",")
    model = LogisticRegression(C=arguments.strength).fit(rows[:, 1:], rows[:, 0])
    print("note is", repr(arguments.note), PENALTIES)
    for epoch in range(3):
        print(f"epoch={epoch} val_acc: {0.5 + epoch / 10}")
    joblib.dump(model, os.path.join(arguments.model_dir, "model.joblib"))
"""
SKLEARN_SERVE = """\
import os
import joblib


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))
"""
XGBOOST_TRAIN = """\
import argparse, os
import numpy as np
import xgboost

parser = argparse.ArgumentParser()
parser.add_argument("--num_round", type=int)
arguments = parser.parse_args()
rows = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "rows.csv"), delimiter=",")
data = xgboost.DMatrix(rows[:, 1:], label=rows[:, 0])
booster = xgboost.train({"objective": "binary:logistic"}, data, arguments.num_round)
booster.save_model(os.path.join(os.environ["SM_MODEL_DIR"], "xgboost-model.json"))
print("rounds", booster.num_boosted_rounds())
"""
XGBOOST_SERVE = """\
import os
import xgboost


def model_fn(model_dir):
    booster = xgboost.Booster()
    booster.load_model(os.path.join(model_dir, "xgboost-model.json"))
    return booster
"""
TORCH_TRAIN = """\
import os
import torch

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
with torch.no_grad():
    model.weight.copy_(torch.tensor([[2.0, 3.0]]))
    model.bias.fill_(1.0)
torch.save(model.state_dict(), os.path.join(os.environ["SM_MODEL_DIR"], "model.pth"))
print("gpus", os.environ["SM_NUM_GPUS"])
"""
TORCH_SERVE = """\
import os
import torch


def model_fn(model_dir):
    model = torch.nn.Linear(2, 1)
    model.load_state_dict(torch.load(os.path.join(model_dir, "model.pth")))
    return model.eval()
"""
PROCESS = """\
import os, sys

text = open("/opt/ml/processing/input/rows.csv").read()
os.makedirs("/opt/ml/processing/output/deep", exist_ok=True)
with open("/opt/ml/processing/output/deep/count.txt", "w") as stream:
    stream.write(f"{len(text.splitlines())} {' '.join(sys.argv[1:])}")
print("processed", sys.argv[1:])
"""


def folder_of(files: dict[str, str]) -> str:
    """A source folder in the working directory."""
    folder = Path(f"source-{time.monotonic_ns()}")
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return str(folder)


def file_of(name: str, text: str) -> str:
    """A source file in the working directory."""
    return str(Path(folder_of({name: text})) / name)


def final(describe: Callable[[], dict[str, Any]], member: str) -> dict[str, Any]:
    """The description once it is final."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = describe()
        if found[member] in FINAL:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{member} is still {found[member]}")


def trained(session: sagemaker.Session, name: str) -> dict[str, Any]:
    """The description of a finished training job."""
    return final(lambda: session.describe_training_job(name), "TrainingJobStatus")


def in_service(session: sagemaker.Session, name: str) -> str:
    """The status of an endpoint that serves.

    Raises:
        RuntimeError: it failed; with its reason.
    """
    client = session.sagemaker_client
    found = final(lambda: client.describe_endpoint(EndpointName=name), "EndpointStatus")
    if found["EndpointStatus"] == "Failed":
        raise RuntimeError(found["FailureReason"])
    return str(found["EndpointStatus"])


def upload_rows(session: sagemaker.Session, prefix: str) -> str:
    """The address of an uploaded table."""
    return str(session.upload_data(file_of("rows.csv", ROWS), key_prefix=prefix))


def identity(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """The session's own questions: who, where, which role."""
    rows = upload_rows(session, "identity")
    return {
        "account": session.account_id(),
        "bucket": session.default_bucket(),
        "again": sagemaker.Session().default_bucket(),
        "role": role,
        "rows": rows,
        "read": session.read_s3_file(session.default_bucket(), "identity/rows.csv"),
        "listed": session.list_s3_files(session.default_bucket(), "identity/"),
        "downloaded": session.download_data(".", session.default_bucket(), "identity/rows.csv"),
    }


def sklearn(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """Train with the log in sight, attach, read the metrics, deploy, predict in three formats."""
    estimator = SKLearn(
        entry_point="train.py",
        source_dir=folder_of({"train.py": SKLEARN_TRAIN, "helper.py": "PENALTIES = ['l2']\n"}),
        framework_version="1.2-1",
        py_version="py3",
        instance_type=MACHINE,
        role=role,
        base_job_name="sdk-sklearn",
        hyperparameters={"strength": 0.5, "note": "two words"},
        metric_definitions=[{"Name": "val_acc", "Regex": "val_acc: ([0-9.]+)"}],
        tags=[{"Key": "team", "Value": "blue"}],
        sagemaker_session=session,
    )
    estimator.fit({"train": upload_rows(session, "sklearn")}, wait=True, logs="All")
    name = estimator.latest_training_job.name
    described = estimator.latest_training_job.describe()
    attached = SKLearn.attach(name, sagemaker_session=session)
    frame = attached.training_job_analytics.dataframe()
    artifact = attached.model_data.removeprefix(f"s3://{session.default_bucket()}/")
    size = session.boto_session.resource("s3").Object(session.default_bucket(), artifact)
    predictor = attached.deploy(1, MACHINE, wait=False)
    state = in_service(session, predictor.endpoint_name)
    rows = [[9, 0], [1, 1]]
    answers = {}
    for kind, serializer, deserializer in (
        ("json", JSONSerializer(), JSONDeserializer()),
        ("csv", CSVSerializer(), CSVDeserializer()),
        ("numpy", NumpySerializer(), NumpyDeserializer()),
    ):
        predictor.serializer, predictor.deserializer = serializer, deserializer
        body = np.array(rows, dtype=float) if kind == "numpy" else rows
        answers[kind] = np.asarray(predictor.predict(body)).tolist()
    predictor.delete_model()
    predictor.delete_endpoint()
    client = session.sagemaker_client

    def gone() -> dict[str, Any]:
        try:
            client.describe_endpoint(EndpointName=predictor.endpoint_name)
        except client.exceptions.ClientError as error:
            return {"State": "Completed", "words": error.response["Error"]["Message"]}
        return {"State": "Deleting"}

    return {
        "status": described["TrainingJobStatus"],
        "steps": [step["Status"] for step in described["SecondaryStatusTransitions"]],
        "metrics": {m["MetricName"]: m["Value"] for m in described["FinalMetricDataList"]},
        "attached": attached.hyperparameters(),
        "columns": list(frame.columns),
        "points": frame.values.tolist(),
        "artifact": artifact,
        "job": name,
        "bytes": size.content_length,
        "state": state,
        "answers": answers,
        "models": client.list_models(NameContains=name)["Models"],
        "gone": final(gone, "State")["words"],
    }


def sklearn_model(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """A model of an artifact alone; its endpoint is updated, listed and found by its name."""
    rows = upload_rows(session, "sklearn-model")
    source = folder_of({"train.py": SKLEARN_TRAIN, "helper.py": "PENALTIES = []\n"})
    trainer = Estimator(
        image_uris.retrieve("sklearn", "us-east-1", version="1.2-1", instance_type=MACHINE),
        entry_point="train.py",
        source_dir=source,
        instance_type=MACHINE,
        instance_count=1,
        role=role,
        output_path=f"s3://{session.default_bucket()}/plain",
        hyperparameters={"strength": 2, "note": "plain"},
        sagemaker_session=session,
    )
    trainer.fit({"train": rows}, wait=False, job_name="sdk-plain")
    described = trained(session, "sdk-plain")
    model = SKLearnModel(
        model_data=trainer.model_data,
        role=role,
        entry_point=file_of("serve.py", SKLEARN_SERVE),
        framework_version="1.2-1",
        py_version="py3",
        sagemaker_session=session,
    )
    model.deploy(1, MACHINE, endpoint_name="sdk-plain", wait=False)
    state = in_service(session, "sdk-plain")
    predictor = sagemaker.predictor.Predictor(
        "sdk-plain", session, serializer=CSVSerializer(), deserializer=JSONDeserializer()
    )
    predictor.deserializer.accept = ("application/json",)
    answer = predictor.predict("9,0\n1,1")
    predictor.update_endpoint(
        initial_instance_count=2, instance_type=MACHINE, model_name=model.name, wait=False
    )
    client = session.sagemaker_client

    def updated() -> dict[str, Any]:
        found = client.describe_endpoint(EndpointName="sdk-plain")
        count = found["ProductionVariants"][0].get("CurrentInstanceCount")
        state = found["EndpointStatus"] if count == 2 else "Updating"
        return {"State": state, "count": count}

    result = {
        "status": described["TrainingJobStatus"],
        "reason": described.get("FailureReason"),
        "state": state,
        "answer": answer,
        "updated": final(updated, "State"),
        "after": predictor.predict("9,0\n1,1"),
    }
    predictor.delete_endpoint()
    return result


def xgboost_script(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """XGBoost in script mode."""
    estimator = XGBoost(
        entry_point=file_of("train.py", XGBOOST_TRAIN),
        framework_version="1.7-1",
        instance_type=MACHINE,
        instance_count=1,
        role=role,
        hyperparameters={"num_round": 4},
        sagemaker_session=session,
    )
    estimator.fit({"train": upload_rows(session, "xgboost-script")}, wait=False)
    described = trained(session, estimator.latest_training_job.name)
    model = XGBoostModel(
        model_data=estimator.model_data,
        role=role,
        entry_point=file_of("serve.py", XGBOOST_SERVE),
        framework_version="1.7-1",
        sagemaker_session=session,
    )
    predictor = model.deploy(1, MACHINE, wait=False)
    state = in_service(session, predictor.endpoint_name)
    predictor.serializer, predictor.deserializer = CSVSerializer(), CSVDeserializer()
    answer = predictor.predict("9,0\n1,1")
    predictor.delete_endpoint()
    return {
        "status": described["TrainingJobStatus"],
        "reason": described.get("FailureReason"),
        "state": state,
        "answer": answer,
    }


def xgboost_builtin(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """The built-in algorithm: no script, CSV channels, metrics of its own."""
    estimator = Estimator(
        image_uris.retrieve("xgboost", "us-east-1", version="1.7-1"),
        role=role,
        instance_count=1,
        instance_type=MACHINE,
        output_path=f"s3://{session.default_bucket()}/builtin",
        sagemaker_session=session,
    )
    estimator.set_hyperparameters(num_round=5, objective="binary:logistic", max_depth=2)
    train = upload_rows(session, "builtin/train")
    validation = upload_rows(session, "builtin/validation")
    channels = {
        "train": TrainingInput(train, content_type="text/csv"),
        "validation": TrainingInput(validation, content_type="text/csv"),
    }
    estimator.fit(channels, wait=False)
    described = trained(session, estimator.latest_training_job.name)
    predictor = estimator.deploy(
        1, MACHINE, wait=False, serializer=CSVSerializer(), deserializer=CSVDeserializer()
    )
    state = in_service(session, predictor.endpoint_name)
    answer = predictor.predict([[9, 0], [1, 1]])
    predictor.delete_endpoint()
    return {
        "status": described["TrainingJobStatus"],
        "reason": described.get("FailureReason"),
        "metrics": sorted(m["MetricName"] for m in described.get("FinalMetricDataList", [])),
        "state": state,
        "answer": answer,
    }


def pytorch(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """PyTorch: the client packs model and code into one archive."""
    estimator = PyTorch(
        entry_point=file_of("train.py", TORCH_TRAIN),
        framework_version="2.0",
        py_version="py310",
        instance_type=MACHINE,
        instance_count=1,
        role=role,
        sagemaker_session=session,
    )
    estimator.fit(wait=False)
    described = trained(session, estimator.latest_training_job.name)
    model = PyTorchModel(
        model_data=estimator.model_data,
        role=role,
        entry_point=file_of("serve.py", TORCH_SERVE),
        framework_version="2.0",
        py_version="py310",
        sagemaker_session=session,
    )
    predictor = model.deploy(1, MACHINE, wait=False)
    state = in_service(session, predictor.endpoint_name)
    by_numpy = predictor.predict(np.array([[1, 1], [0, 2]], dtype=np.float32)).tolist()
    predictor.serializer, predictor.deserializer = JSONSerializer(), JSONDeserializer()
    by_json = predictor.predict([[1, 1], [0, 2]])
    container = session.sagemaker_client.describe_model(ModelName=model.name)["PrimaryContainer"]
    predictor.delete_endpoint()
    return {
        "status": described["TrainingJobStatus"],
        "reason": described.get("FailureReason"),
        "state": state,
        "numpy": by_numpy,
        "json": by_json,
        "submit": container["Environment"]["SAGEMAKER_SUBMIT_DIRECTORY"],
    }


def processing(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """Three processors, the same work."""
    rows = upload_rows(session, "processing")
    image = image_uris.retrieve("sklearn", "us-east-1", version="1.2-1", instance_type=MACHINE)
    common = {
        "role": role, "instance_type": MACHINE, "instance_count": 1, "sagemaker_session": session,
    }  # fmt: skip
    processors = {
        "sklearn": SKLearnProcessor("1.2-1", **common),
        "script": ScriptProcessor(image_uri=image, command=["python3"], **common),
        "framework": FrameworkProcessor(SKLearn, "1.2-1", **common),
    }
    found = {}
    for kind, processor in processors.items():
        source = folder_of({"work.py": PROCESS})
        code = {"code": "work.py", "source_dir": source}
        if kind != "framework":
            code = {"code": f"{source}/work.py"}
        destination = f"s3://{session.default_bucket()}/processed/{kind}"
        processor.run(
            **code,
            inputs=[ProcessingInput(rows, "/opt/ml/processing/input")],
            outputs=[ProcessingOutput("/opt/ml/processing/output", destination)],
            arguments=["--kind", kind],
            wait=False,
        )
        described = final(processor.latest_job.describe, "ProcessingJobStatus")
        state = described.get("FailureReason", described["ProcessingJobStatus"])
        files = session.list_s3_files(session.default_bucket(), f"processed/{kind}")
        text = session.read_s3_file(session.default_bucket(), files[0]) if files else ""
        found[kind] = [state, files, text]
    return found


def refusals(session: sagemaker.Session, role: str) -> dict[str, Any]:
    """A job stopped by its estimator, a name used twice, an image that nothing runs."""
    source = file_of("train.py", "import time\nprint('ready', flush=True)\ntime.sleep(300)\n")

    def estimator(image: str) -> Estimator:
        return Estimator(
            image, role, 1, MACHINE, entry_point=source, sagemaker_session=session,
            output_path=f"s3://{session.default_bucket()}/refusals",
        )  # fmt: skip

    known = image_uris.retrieve("sklearn", "us-east-1", version="1.2-1", instance_type=MACHINE)
    first = estimator(known)
    first.fit(wait=False, job_name="sdk-stopped")
    words = {}
    for case, image, name in (
        ("taken", known, "sdk-stopped"),
        ("image", "123456789012.dkr.ecr.us-east-1.amazonaws.com/my-own:7", "sdk-image"),
    ):
        try:
            estimator(image).fit(wait=False, job_name=name)
        except session.sagemaker_client.exceptions.ClientError as error:
            words[case] = [error.response["Error"]["Code"], error.response["Error"]["Message"]]
    first.latest_training_job.stop()
    return {**words, "stopped": trained(session, "sdk-stopped")["TrainingJobStatus"]}


FLOWS = {
    flow.__name__: flow
    for flow in (
        identity, sklearn, sklearn_model, xgboost_script, xgboost_builtin, pytorch, processing,
        refusals,
    )
}  # fmt: skip

if __name__ == "__main__":
    made = sagemaker.Session(boto3.Session())
    answer_of_flow = FLOWS[sys.argv[1]](made, sagemaker.get_execution_role(made))
    print(json.dumps(answer_of_flow))
