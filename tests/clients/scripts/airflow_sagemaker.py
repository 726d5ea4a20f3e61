"""Airflow's SageMaker operators and sensors, executed without a scheduler."""

import asyncio
import importlib.metadata
import json
import os
import time
import types

os.environ["AIRFLOW_HOME"] = os.path.join(os.getcwd(), "airflow")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

import boto3
import told
from airflow.exceptions import AirflowException
from airflow.providers.amazon.aws.hooks import sagemaker as hooks
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerDeleteModelOperator,
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import (
    SageMakerEndpointSensor,
    SageMakerProcessingSensor,
    SageMakerTrainingSensor,
    SageMakerTransformSensor,
    SageMakerTuningSensor,
)
from airflow.providers.common.compat.sdk import TaskDeferred
from botocore.exceptions import ClientError

# With print_log the hook asks for the status each 30 s, whatever check_interval is: its clock goes
# faster here.
hooks.time = types.SimpleNamespace(
    monotonic=lambda: time.monotonic() * 30, sleep=lambda seconds: time.sleep(min(seconds, 0.5))
)
BUCKET = "airflow-bucket"
s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")


def run(operator_class, task, **settings):
    """Execute an operator; what it returns."""
    return operator_class(task_id=task, aws_conn_id=None, **settings).execute({})


# Waits, in a job, until the object `go` is there.
AWAIT = f"""
import time
import botocore.exceptions, botocore.session
s3 = botocore.session.get_session().create_client("s3")
while True:
    try:
        s3.head_object(Bucket="{BUCKET}", Key="go")
        break
    except botocore.exceptions.ClientError:
        time.sleep(0.2)
"""


def deferred(operator_class, task, **settings):
    """Execute an operator that defers, its trigger, and what comes after; what that returns.

    A job that awaits `go` is not over before the operator has deferred.
    """
    s3.delete_object(Bucket=BUCKET, Key="go")
    operator = operator_class(task_id=task, aws_conn_id=None, deferrable=True, **settings)
    try:
        operator.execute({})
    except TaskDeferred as waiting:
        s3.put_object(Bucket=BUCKET, Key="go", Body=b"")
        event = asyncio.run(anext(waiting.trigger.run()))
        return getattr(operator, waiting.method_name)({}, event.payload)
    raise AssertionError("it did not defer")


def sense(sensor_class, **settings):
    """Poke until the sensor is content, as its `execute` does between pokes."""
    sensor = sensor_class(task_id="sense", aws_conn_id=None, **settings)
    told.wait_until(lambda: sensor.poke({}))


def role_by_name(request):
    """The role's name alone: Airflow asks IAM for its ARN."""
    return {**request, "RoleArn": told.ROLE_NAME}


told.client("Airflow's SageMaker operators and sensors",
            f"{importlib.metadata.version('apache-airflow')}, provider "
            f"{importlib.metadata.version('apache-airflow-providers-amazon')}")  # fmt: skip
told.prepare(s3, BUCKET)

with told.check("Training operator: waits, prints the job's log, expands a role's name"):
    with told.printed() as lines:
        found = run(SageMakerTrainingOperator, "train", check_interval=1,
                    config=role_by_name(told.training("airflow-train", BUCKET)))  # fmt: skip
    assert "read 3 rows, mean 3.0" in lines[0], lines
    assert "Billable seconds:" in lines[0], lines
    assert found["Training"]["TrainingJobStatus"] == "Completed", found
    assert found["Training"]["RoleArn"].startswith("arn:aws:iam::"), found["Training"]["RoleArn"]

with told.check("Training operator: S3Operations upload a file and a tarred folder"):
    os.makedirs("source", exist_ok=True)
    with open("source/train.py", "w") as file:
        file.write(told.TRAIN)
    with open("rows.csv", "w") as file:
        file.write(told.ROWS)
    request = told.training("airflow-uploads", BUCKET)
    request["HyperParameters"]["sagemaker_submit_directory"] = "s3://airflow-made/code.tar.gz"
    source = request["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    source["S3Uri"] = "s3://airflow-made/data/rows.csv"
    request["ResourceConfig"] |= {"InstanceCount": "1", "VolumeSizeInGB": "1"}
    request["S3Operations"] = {
        "S3CreateBucket": [{"Bucket": "airflow-made"}],
        "S3Upload": [
            {"Path": "source", "Bucket": "airflow-made", "Key": "code.tar.gz", "Tar": True},
            {"Path": "rows.csv", "Bucket": "airflow-made", "Key": "data/rows.csv", "Tar": False},
        ],
    }
    found = run(
        SageMakerTrainingOperator, "upload", config=request, check_interval=1, print_log=False
    )
    assert found["Training"]["TrainingJobStatus"] == "Completed", found

with told.check("Training operator: a name that is taken gets a time stamp, or fails if told so"):
    found = run(SageMakerTrainingOperator, "again", print_log=False, check_interval=1,
                config=told.training("airflow-train", BUCKET))  # fmt: skip
    assert found["Training"]["TrainingJobName"].startswith("airflow-train-"), found
    with told.refused(AirflowException, "airflow-train already exists"):
        run(SageMakerTrainingOperator, "taken", action_if_job_exists="fail",
            config=told.training("airflow-train", BUCKET))  # fmt: skip
    with told.refused(ClientError, "ResourceInUse"):
        run(SageMakerTrainingOperator, "unchecked", check_if_job_exists=False,
            config=told.training("airflow-train", BUCKET))  # fmt: skip

with told.check("Training operator: fails with the job's reason, and for a missing input"):
    request = told.training("airflow-fails", BUCKET)
    request["HyperParameters"]["sagemaker_submit_directory"] = f"s3://{BUCKET}/code/fails.tar.gz"
    with told.refused(AirflowException, "AlgorithmError", "no such column: age"):
        run(SageMakerTrainingOperator, "fails", config=request, check_interval=1)
    request = told.training("airflow-nothing", BUCKET)
    source = request["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    source["S3Uri"] = f"s3://{BUCKET}/nothing/"
    with told.refused(AirflowException, "does not exist in the Bucket"):
        run(SageMakerTrainingOperator, "nothing", config=request)

with told.check("an Airflow connection with endpoint_url, and nothing in the environment"):
    extra = {"endpoint_url": told.URL, "region_name": "us-east-1"}
    os.environ["AIRFLOW_CONN_LOOPWRIGHT"] = json.dumps(
        {"conn_type": "aws", "login": told.KEY, "password": told.SECRET, "extra": extra}
    )
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_")}
    try:
        operator = SageMakerTrainingOperator(
            task_id="connected", aws_conn_id="loopwright", check_interval=1,
            config=role_by_name(told.training("airflow-connected", BUCKET)),
        )  # fmt: skip
        with told.printed() as lines:
            found = operator.execute({})
        assert found["Training"]["TrainingJobStatus"] == "Completed", found
        assert "read 3 rows, mean 3.0" in lines[0], lines
    finally:
        os.environ.update(kept)

with told.check("Training operator: deferrable"):
    request = told.training("airflow-deferred", BUCKET)
    s3.put_object(Bucket=BUCKET, Key="code/awaits.tar.gz",
                  Body=told.packed({"train.py": AWAIT + told.TRAIN}))  # fmt: skip
    request["HyperParameters"]["sagemaker_submit_directory"] = f"s3://{BUCKET}/code/awaits.tar.gz"
    found = deferred(SageMakerTrainingOperator, "defer", check_interval=1, config=request)
    assert found["Training"]["TrainingJobStatus"] == "Completed", found

with told.check("Training sensor: prints the log, and fails with the job's reason"):
    run(SageMakerTrainingOperator, "go", wait_for_completion=False, print_log=False,
        config=told.training("airflow-sensed", BUCKET))  # fmt: skip
    with told.printed() as lines:
        sense(SageMakerTrainingSensor, job_name="airflow-sensed")
    assert "read 3 rows, mean 3.0" in lines[0], lines
    with told.refused(AirflowException, "no such column: age"):
        sense(SageMakerTrainingSensor, job_name="airflow-fails", print_log=False)

FOLDER = "/opt/ml/processing"
COUNT = f'printf "{{\\"rows\\": %d}}" $(wc -l < {FOLDER}/in/rows.csv) > {FOLDER}/out/summary.json'

with told.check("Processing operator: waits, and hands on an output file's content"):
    found = run(SageMakerProcessingOperator, "process", check_interval=1,
                config=role_by_name(told.processing("airflow-process", BUCKET, COUNT)),
                output_files_to_xcom=[{"output_name": "summary", "file_name": "summary.json",
                                       "result_name": "Summary"}])  # fmt: skip
    assert found["Processing"]["ProcessingJobStatus"] == "Completed", found
    assert found["OutputFiles"] == {"Summary": {"rows": 3}}, found["OutputFiles"]

with told.check("Processing operator: deferrable; a taken name gets a time stamp, or fails"):
    s3.put_object(Bucket=BUCKET, Key="train/await.py", Body=AWAIT)
    waits = f"python3 {FOLDER}/in/await.py && {COUNT}"
    request = told.processing("airflow-process", BUCKET, waits)
    found = deferred(SageMakerProcessingOperator, "defer", check_interval=1, config=request)
    assert found["Processing"]["ProcessingJobStatus"] == "Completed", found
    assert found["Processing"]["ProcessingJobName"].startswith("airflow-process-"), found
    with told.refused(AirflowException, "airflow-process already exists"):
        run(SageMakerProcessingOperator, "taken", action_if_job_exists="fail",
            config=told.processing("airflow-process", BUCKET, COUNT))  # fmt: skip

with told.check("Processing sensor"):
    run(SageMakerProcessingOperator, "go", wait_for_completion=False,
        config=told.processing("airflow-process-sensed", BUCKET, COUNT))  # fmt: skip
    sense(SageMakerProcessingSensor, job_name="airflow-process-sensed")
    run(SageMakerProcessingOperator, "bad", wait_for_completion=False,
        config=told.processing("airflow-process-fails", BUCKET, "exit 3"))  # fmt: skip
    with told.refused(AirflowException, "failed for the following reason"):
        sense(SageMakerProcessingSensor, job_name="airflow-process-fails")


def tuning(name):
    """A random search of two trials."""
    definition = told.training("unused", BUCKET)
    del definition["TrainingJobName"]
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    definition["AlgorithmSpecification"]["MetricDefinitions"] = told.METRICS
    limits = {"MaxNumberOfTrainingJobs": "2", "MaxParallelTrainingJobs": "2"}
    guess = {"Name": "guess", "MinValue": "0", "MaxValue": "6", "ScalingType": "Linear"}
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": limits,
            "ParameterRanges": {"ContinuousParameterRanges": [guess]},
        },
        "TrainingJobDefinition": definition,
    }


with told.check("Tuning operator and sensor: waits, deferrable"):
    found = run(SageMakerTuningOperator, "tune", config=tuning("airflow-tune"), check_interval=1)
    assert found["Tuning"]["HyperParameterTuningJobStatus"] == "Completed", found
    assert found["Tuning"]["BestTrainingJob"]["TrainingJobName"].startswith("airflow-tune-"), found
    found = deferred(SageMakerTuningOperator, "tune", config=tuning("airflow-tune-deferred"),
                     check_interval=1)  # fmt: skip
    assert found["Tuning"]["HyperParameterTuningJobStatus"] == "Completed", found
    sense(SageMakerTuningSensor, job_name="airflow-tune")

DATA = f"s3://{BUCKET}/jobs/airflow-train/output/model.tar.gz"
CODE = f"s3://{BUCKET}/code/serve.tar.gz"

with told.check("Model, EndpointConfig and Endpoint operators, Endpoint sensor"):
    request = told.model("airflow-model", DATA, CODE, role=told.ROLE_NAME)
    found = run(SageMakerModelOperator, "model", config=request)
    assert found["Model"]["ModelName"] == "airflow-model", found
    request = {
        "EndpointConfigName": "airflow-config",
        "ProductionVariants": [told.variant("airflow-model", InitialInstanceCount="1")],
    }
    found = run(SageMakerEndpointConfigOperator, "config", config=request)
    assert found["EndpointConfig"]["ProductionVariants"][0]["ModelName"] == "airflow-model", found
    request = {"EndpointName": "airflow", "EndpointConfigName": "airflow-config"}
    run(SageMakerEndpointOperator, "endpoint", config=dict(request), wait_for_completion=False)
    sense(SageMakerEndpointSensor, endpoint_name="airflow")
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="airflow", ContentType="application/json", Body=b"[1, 2]"
    )
    assert json.load(answer["Body"]) == [4.0, 5.0]

with told.check("Endpoint operator: all three at once, deferrable, and an update where it exists"):
    request = {
        "Model": told.model("airflow-model-2", DATA, CODE),
        "EndpointConfig": {
            "EndpointConfigName": "airflow-config-2",
            "ProductionVariants": [told.variant("airflow-model-2")],
        },
        "Endpoint": {
            "EndpointName": "airflow",
            "EndpointConfigName": "airflow-config-2",
            "Tags": [{"Key": "team", "Value": "data"}],
        },
    }
    found = run(SageMakerEndpointOperator, "replace", config=request, check_interval=1)
    assert found["Endpoint"]["EndpointConfigName"] == "airflow-config-2", found
    assert found["Endpoint"]["EndpointStatus"] == "InService", found
    request = {"EndpointName": "airflow", "EndpointConfigName": "airflow-config"}
    found = deferred(SageMakerEndpointOperator, "back", config=request, check_interval=1,
                     operation="update")  # fmt: skip
    assert found["Endpoint"]["EndpointConfigName"] == "airflow-config", found

with told.check("DeleteModel operator"):
    run(SageMakerDeleteModelOperator, "delete", config={"ModelName": "airflow-model-2"})
    with told.refused(ClientError, "Could not find model"):
        sagemaker.describe_model(ModelName="airflow-model-2")

with told.check("Transform operator and sensor", later="batch transform is not there yet"):
    request = {
        "Transform": {
            "TransformJobName": "airflow-transform",
            "ModelName": "airflow-model",
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/"}
                }
            },
            "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/transformed"},
            "TransformResources": {"InstanceType": told.MACHINE, "InstanceCount": 1},
        }
    }
    with told.refused(ClientError, "DescribeTransformJob"):
        run(SageMakerTransformOperator, "transform", config=request)
    with told.refused(ClientError, "CreateTransformJob"):
        run(SageMakerTransformOperator, "transform", config=request, check_if_job_exists=False)
    with told.refused(ClientError, "DescribeTransformJob"):
        sense(SageMakerTransformSensor, job_name="airflow-transform")

sagemaker.delete_endpoint(EndpointName="airflow")
told.end()
