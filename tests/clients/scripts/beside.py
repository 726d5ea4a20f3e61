"""boto3 with two servers: SageMaker's services of Loopwright, all else of another emulator.

Each service's address is in a variable of its own, as docs/clients.md shows.
"""

import importlib.metadata
import json
import os
import sys

import boto3
import told

OTHERS = {"moto": "moto's server beside Loopwright", "ministack": "MiniStack beside Loopwright"}
other = sys.argv[1]
told.client(OTHERS[other], importlib.metadata.version(other))
BUCKET = f"{other}-bucket"
s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
assert (
    s3.meta.endpoint_url != sagemaker.meta.endpoint_url == os.environ["AWS_ENDPOINT_URL_SAGEMAKER"]
)


def over(name):
    """A training job's description once it is over."""
    found = sagemaker.describe_training_job(TrainingJobName=name)
    return found if found["TrainingJobStatus"] not in ("InProgress", "Stopping") else None


with told.check("a training job whose code, data and model lie in the other's S3"):
    told.prepare(s3, BUCKET)
    sagemaker.create_training_job(**told.training("beside", BUCKET))
    found = told.wait_until(lambda: over("beside"))
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert s3.head_object(Bucket=BUCKET, Key="jobs/beside/output/model.tar.gz")["ContentLength"] > 0

with told.check("its log in Loopwright's CloudWatch Logs"):
    found = boto3.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="beside/"
    )
    assert "read 3 rows, mean 3.0" in [event["message"] for event in found["events"]]

with told.check(
    "code in a job that uses boto3: its S3 is the other's, as with `loopwright env` alone"
):
    script = f"import botocore.session as b; s3 = b.get_session().create_client('s3'); " \
             f"s3.put_object(Bucket='{BUCKET}', Key='by-code', Body=b'hello')"  # fmt: skip
    request = told.processing("beside-code", BUCKET, f'python3 -c "{script}"')
    sagemaker.create_processing_job(**request)
    sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
        ProcessingJobName="beside-code", WaiterConfig={"Delay": 1, "MaxAttempts": 90}
    )
    assert s3.get_object(Bucket=BUCKET, Key="by-code")["Body"].read() == b"hello"

with told.check("a processing job that reads and writes there"):
    script = "wc -l < /opt/ml/processing/in/rows.csv > /opt/ml/processing/out/count"
    sagemaker.create_processing_job(**told.processing("beside", BUCKET, script))
    waiter = sagemaker.get_waiter("processing_job_completed_or_stopped")
    waiter.wait(ProcessingJobName="beside", WaiterConfig={"Delay": 1, "MaxAttempts": 90})
    body = s3.get_object(Bucket=BUCKET, Key="processed/beside/count")["Body"].read()
    assert body.strip() == b"3", body

with told.check("an endpoint of the model that lies there, invoked at Loopwright"):
    data, code = (
        f"s3://{BUCKET}/jobs/beside/output/model.tar.gz", f"s3://{BUCKET}/code/serve.tar.gz",
    )  # fmt: skip
    sagemaker.create_model(**told.model("beside", data, code))
    sagemaker.create_endpoint_config(
        EndpointConfigName="beside", ProductionVariants=[told.variant("beside")]
    )
    sagemaker.create_endpoint(EndpointName="beside", EndpointConfigName="beside")
    waiter = sagemaker.get_waiter("endpoint_in_service")
    waiter.wait(EndpointName="beside", WaiterConfig={"Delay": 1, "MaxAttempts": 90})
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="beside", ContentType="application/json", Body=b"[1, 2]"
    )
    assert json.load(answer["Body"]) == [4.0, 5.0]

with told.check("the other's own services at its own address (SQS, DynamoDB, STS)"):
    queue = boto3.client("sqs").create_queue(QueueName="tasks")["QueueUrl"]
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody="hello")
    boto3.client("dynamodb").create_table(
        TableName="jobs", BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )  # fmt: skip
    assert boto3.client("sts").get_caller_identity()["Account"]
told.end()
