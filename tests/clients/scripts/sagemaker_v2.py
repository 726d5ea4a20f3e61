"""The `sagemaker` SDK, version 2: estimator, processor, tuner, analytics, attach, deploy."""

import contextlib
import importlib.metadata
import os
import time

import boto3
import told

# The SDK waits 45 s for a job that takes one, and 30 s for an endpoint: its clock goes faster here.
began, now, sleep = time.time(), time.time, time.sleep
time.time = lambda: began + (now() - began) * 30
time.sleep = lambda seconds: sleep(seconds / 30)

import sagemaker
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.sklearn import SKLearn, SKLearnModel
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner

told.client("sagemaker SDK, version 2", importlib.metadata.version("sagemaker"))
BUCKET = "sdk2-bucket"
told.prepare(boto3.client("s3"), BUCKET)
os.makedirs("source", exist_ok=True)
for name, text in (("train.py", told.TRAIN), ("serve.py", told.SERVE)):
    with open(f"source/{name}", "w") as file:
        file.write(text)
with open("count.py", "w") as file:
    file.write(told.COUNT)
ROWS = f"s3://{BUCKET}/train/"
with told.check("get_execution_role, default bucket, upload_data and read_s3_file"):
    session = sagemaker.Session()
    role = sagemaker.get_execution_role()
    with open("rows.csv", "w") as file:
        file.write(told.ROWS)
    address = session.upload_data("rows.csv", key_prefix="sdk2")
    assert session.read_s3_file(session.default_bucket(), "sdk2/rows.csv") == told.ROWS


def estimator():
    """A script on scikit-learn's image."""
    return SKLearn("train.py", source_dir="source", role=role, instance_type=told.MACHINE,
                   framework_version="1.2-1", base_job_name="sdk2",
                   metric_definitions=told.METRICS)  # fmt: skip


with told.check("SKLearn estimator: fit with logs, model_data, attach, job analytics"):
    fitted = estimator()
    with told.printed() as lines:
        fitted.fit({"train": ROWS})
    assert "read 3 rows, mean 3.0" in lines[0], lines
    name = fitted.latest_training_job.name
    assert SKLearn.attach(name).model_data == fitted.model_data
    assert not fitted.training_job_analytics.dataframe().empty

with told.check("ScriptProcessor: run, download the output"):
    processor = ScriptProcessor(
        image_uri=told.IMAGE, command=["python3"], role=role, instance_count=1,
        instance_type=told.MACHINE, base_job_name="sdk2-count",
    )  # fmt: skip
    processor.run(
        "count.py",
        inputs=[ProcessingInput(source=ROWS, destination="/opt/ml/processing/input")],
        outputs=[ProcessingOutput(source="/opt/ml/processing/output", output_name="count")],
    )
    output = processor.latest_job.outputs[0].destination
    sagemaker.s3.S3Downloader.download(output, "counted")
    assert open("counted/count.txt").read() == "3"

with told.check("HyperparameterTuner: fit, best job, analytics"):
    tuner = HyperparameterTuner(
        estimator(), "score", {"guess": ContinuousParameter(0, 6)}, strategy="Random", max_jobs=2,
        max_parallel_jobs=2, base_tuning_job_name="sdk2-tune",
        metric_definitions=told.METRICS,
    )  # fmt: skip
    tuner.fit({"train": ROWS})
    assert tuner.best_training_job().startswith("sdk2-tune")
    assert len(tuner.analytics().dataframe()) == 2

with told.check("deploy, predict, update the endpoint, delete"):
    model = SKLearnModel(fitted.model_data, role=role, entry_point="source/serve.py",
                         framework_version="1.2-1")  # fmt: skip
    predictor = model.deploy(
        1, told.MACHINE, serializer=sagemaker.serializers.JSONSerializer(),
        deserializer=sagemaker.deserializers.JSONDeserializer(),
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.callback(predictor.delete_endpoint)
        stack.callback(predictor.delete_model)
        assert predictor.predict([1, 2]) == [4.0, 5.0]
        predictor.update_endpoint(initial_instance_count=1, instance_type="ml.m5.xlarge")
        assert predictor.predict([1]) == [4.0]

with told.check("Transformer", later="batch transform is not there yet"):
    model = SKLearnModel(fitted.model_data, role=role, entry_point="source/serve.py",
                         framework_version="1.2-1")  # fmt: skip
    with told.refused(Exception, "CreateTransformJob"):
        model.transformer(1, told.MACHINE).transform(ROWS, content_type="text/csv")
told.end()
