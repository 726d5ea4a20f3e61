"""The `sagemaker` SDK, version 3: ModelTrainer, processor, tuner, resources, ModelBuilder."""

import contextlib
import importlib.metadata
import json
import logging
import os
import pathlib
import re
import runpy
import sys
import time

import boto3
import told

began, now, sleep = time.time(), time.time, time.sleep
time.time = lambda: began + (now() - began) * 30
time.sleep = lambda seconds: sleep(seconds / 30)

from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.shapes import (
    ContainerDefinition,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    ProductionVariant,
)
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.core.transformer import Transformer
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

logging.basicConfig(level=logging.INFO)  # without it the SDK shows nothing of a job's log
told.client("sagemaker SDK, version 3", importlib.metadata.version("sagemaker"))
BUCKET = "sdk3-bucket"
told.prepare(boto3.client("s3"), BUCKET)
os.makedirs("source", exist_ok=True)
with open("source/train.py", "w") as file:
    file.write(told.TRAIN)
with open("count.py", "w") as file:
    file.write(told.COUNT)
ROWS = f"s3://{BUCKET}/train/"

with told.check("Session, get_execution_role, upload_data"):
    session = Session()
    role = get_execution_role()
    with open("rows.csv", "w") as file:
        file.write(told.ROWS)
    assert session.upload_data("rows.csv", key_prefix="sdk3").startswith("s3://")


def trainer():
    """A script on scikit-learn's image."""
    return ModelTrainer(
        training_image=told.IMAGE, role=role, base_job_name="sdk3", hyperparameters={"guess": 3},
        source_code=SourceCode(source_dir="source", entry_script="train.py"),
        compute=Compute(instance_type=told.MACHINE, instance_count=1),
    )  # fmt: skip


with told.check("examples/quickstart/v3.py"):
    example = pathlib.Path(__file__).parents[3] / "examples" / "quickstart" / "v3.py"
    sys.path.insert(0, str(example.parent))
    with told.printed() as lines:
        runpy.run_path(str(example), run_name="__main__")
    assert ": Completed" in lines[0] and "validation r2: 0.9" in lines[0], lines
    found = re.search(r"costs (\d+)\s+The endpoint says (\d+)", lines[0])
    assert found and abs(int(found[1]) - int(found[2])) < 40, lines
    told.wait_until(
        lambda: not boto3.client("sagemaker").list_endpoints(NameContains="quickstart")["Endpoints"]
    )

DATA = [InputData(channel_name="train", data_source=ROWS)]
with told.check("ModelTrainer: train with logs"):
    trained = trainer()
    with told.printed() as lines:
        trained.train(input_data_config=DATA)
    job = trained._latest_training_job
    assert job.training_job_status == "Completed", job
    assert "read 3 rows, mean 3.0" in lines[0], lines
    assert TrainingJob.get(job.training_job_name).model_artifacts.s3_model_artifacts

with told.check("ScriptProcessor"):
    processor = ScriptProcessor(
        image_uri=told.IMAGE, command=["python3"], role=role, instance_count=1,
        instance_type=told.MACHINE, base_job_name="sdk3-count",
    )  # fmt: skip
    source = ProcessingS3Input(s3_uri=ROWS, local_path="/opt/ml/processing/input",
                               s3_data_type="S3Prefix", s3_input_mode="File")  # fmt: skip
    target = ProcessingS3Output(s3_uri=f"s3://{BUCKET}/counted", s3_upload_mode="EndOfJob",
                                local_path="/opt/ml/processing/output")  # fmt: skip
    processor.run(
        "count.py",
        inputs=[ProcessingInput(input_name="rows", s3_input=source)],
        outputs=[ProcessingOutput(output_name="count", s3_output=target)],
    )
    found = boto3.client("s3").get_object(Bucket=BUCKET, Key="counted/count.txt")
    assert found["Body"].read() == b"3"

with told.check("HyperparameterTuner"):
    tuner = HyperparameterTuner(
        trainer(), "score", {"guess": ContinuousParameter(0, 6)}, strategy="Random", max_jobs=2,
        max_parallel_jobs=2, base_tuning_job_name="sdk3-tune",
        metric_definitions=told.METRICS,
    )  # fmt: skip
    tuner.tune(inputs=DATA)
    assert tuner.best_training_job().startswith("sdk3-tune")

with told.check("resources: Model, EndpointConfig, Endpoint, invoke, lists, delete"):
    container = ContainerDefinition(
        image=told.IMAGE, model_data_url=job.model_artifacts.s3_model_artifacts,
        environment={"SAGEMAKER_PROGRAM": "serve.py",
                     "SAGEMAKER_SUBMIT_DIRECTORY": f"s3://{BUCKET}/code/serve.tar.gz"},
    )  # fmt: skip
    variant = ProductionVariant(variant_name="AllTraffic", model_name="sdk3",
                                instance_type=told.MACHINE, initial_instance_count=1)  # fmt: skip
    with contextlib.ExitStack() as stack:
        model = Model.create(
            model_name="sdk3", primary_container=container, execution_role_arn=role
        )
        stack.callback(model.delete)
        config = EndpointConfig.create(endpoint_config_name="sdk3", production_variants=[variant])
        stack.callback(config.delete)
        endpoint = Endpoint.create(endpoint_name="sdk3", endpoint_config_name="sdk3")
        stack.callback(endpoint.delete)
        endpoint.wait_for_status("InService")
        answer = endpoint.invoke(body=json.dumps([1, 2]), content_type="application/json",
                                 accept="application/json")  # fmt: skip
        assert json.loads(answer.body.read()) == [4.0, 5.0]
        assert "sdk3" in [found.endpoint_name for found in Endpoint.get_all(name_contains="sdk3")]
        with told.refused(Exception, "already existing"):
            Endpoint.create(endpoint_name="sdk3", endpoint_config_name="sdk3")

with told.check("Transformer", later="batch transform is not there yet"):
    Model.create(model_name="sdk3-batch", primary_container=container, execution_role_arn=role)
    transformer = Transformer(model_name="sdk3-batch", instance_count=1, instance_type=told.MACHINE,
                              output_path=f"s3://{BUCKET}/transformed")  # fmt: skip
    with told.refused(Exception, "CreateTransformJob"):
        transformer.transform(ROWS, content_type="text/csv")
told.end()
