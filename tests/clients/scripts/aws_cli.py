"""The AWS CLI, version 1 from its package, with its waiters and its s3 commands."""

import importlib.metadata
import json
import os
import subprocess
import sys

import boto3
import told


def aws(*words, code=0, **files):
    """Run a command; what it printed as JSON where it did. Dicts become JSON."""
    given = [word if isinstance(word, str) else json.dumps(word) for word in words]
    done = subprocess.run([sys.executable, "-m", "awscli", *given], capture_output=True, text=True,
                          timeout=120)  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr[-1500:])
    if code:
        return done.stderr
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


def wait(waiter, name):
    """Let the CLI wait for what has come to pass; to ask again it would sleep 30 to 120 s."""
    kind = waiter.rpartition("-")[0].replace("-completed-or", "").replace("-in", "")
    named = "".join(word.capitalize() for word in kind.split("-")) + "Name"
    quick = boto3.client("sagemaker").get_waiter(waiter.replace("-", "_"))
    quick.wait(**{named: name}, WaiterConfig={"Delay": 0.2, "MaxAttempts": 400})
    aws("sagemaker", "wait", waiter, f"--{kind}-name", name)


told.client("AWS CLI", importlib.metadata.version("awscli"))
BUCKET = "cli-bucket"
with told.check("s3: mb, cp, sync, ls, presign, rm"):
    aws("s3", "mb", f"s3://{BUCKET}")
    os.makedirs("data/train", exist_ok=True)
    with open("data/train/rows.csv", "w") as file:
        file.write(told.ROWS)
    for name, script in (("train", told.TRAIN), ("serve", told.SERVE)):
        with open(f"{name}.tar.gz", "wb") as file:
            file.write(told.packed({f"{name}.py": script}))
        aws("s3", "cp", f"{name}.tar.gz", f"s3://{BUCKET}/code/{name}.tar.gz", "--no-progress")
    aws("s3", "sync", "data", f"s3://{BUCKET}", "--no-progress")
    assert "train/rows.csv" in aws("s3", "ls", f"s3://{BUCKET}", "--recursive")
    assert aws("s3", "presign", f"s3://{BUCKET}/train/rows.csv").startswith(told.URL)
    with open("big.bin", "wb") as file:
        file.write(bytes(9 * 2**20))
    aws("s3", "cp", "big.bin", f"s3://{BUCKET}/tmp/big + 1.bin", "--no-progress")
    aws("s3", "mv", f"s3://{BUCKET}/tmp/big + 1.bin", f"s3://{BUCKET}/tmp/big.bin", "--no-progress")
    aws("s3", "rm", f"s3://{BUCKET}/tmp", "--recursive")
    aws("s3", "rb", f"s3://{BUCKET}", code=1)

with told.check("sagemaker create-training-job, wait training-job-completed-or-stopped, logs tail"):
    request = told.training("cli-train", BUCKET)
    aws("sagemaker", "create-training-job", "--cli-input-json", request)
    wait("training-job-completed-or-stopped", "cli-train")
    found = aws("sagemaker", "describe-training-job", "--training-job-name", "cli-train")
    assert found["TrainingJobStatus"] == "Completed", found
    found = aws("logs", "filter-log-events", "--log-group-name", "/aws/sagemaker/TrainingJobs",
                "--log-stream-name-prefix", "cli-train/")  # fmt: skip
    assert "read 3 rows, mean 3.0" in [event["message"] for event in found["events"]]

with told.check("waiters end at once with failure for a job that is not there"):
    for waiter, option in (("training-job-completed-or-stopped", "--training-job-name"),
                           ("processing-job-completed-or-stopped", "--processing-job-name"),
                           ("endpoint-in-service", "--endpoint-name")):  # fmt: skip
        told_so = aws("sagemaker", "wait", waiter, option, "nothing", code=255)
        assert "Waiter encountered a terminal failure state" in told_so, told_so

with told.check("sagemaker create-processing-job, wait processing-job-completed-or-stopped"):
    script = "wc -l < /opt/ml/processing/in/rows.csv > /opt/ml/processing/out/count"
    aws("sagemaker", "create-processing-job", "--cli-input-json",
        told.processing("cli-process", BUCKET, script))  # fmt: skip
    wait("processing-job-completed-or-stopped", "cli-process")
    assert aws("s3", "cp", f"s3://{BUCKET}/processed/cli-process/count", "-").strip() == "3"

with told.check(
    "model, endpoint, wait endpoint-in-service, invoke-endpoint, wait endpoint-deleted"
):
    data = f"s3://{BUCKET}/jobs/cli-train/output/model.tar.gz"
    aws("sagemaker", "create-model", "--cli-input-json",
        told.model("cli", data, f"s3://{BUCKET}/code/serve.tar.gz"))  # fmt: skip
    aws("sagemaker", "create-endpoint-config", "--endpoint-config-name", "cli",
        "--production-variants", "VariantName=AllTraffic,ModelName=cli,InstanceType=ml.m5.large,"
        "InitialInstanceCount=1")  # fmt: skip
    aws("sagemaker", "create-endpoint", "--endpoint-name", "cli", "--endpoint-config-name", "cli")
    wait("endpoint-in-service", "cli")
    aws("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "cli", "--content-type",
        "application/json", "--body", "[1, 2]", "answer.json")  # fmt: skip
    assert json.load(open("answer.json")) == [4.0, 5.0]
    aws("sagemaker", "delete-endpoint", "--endpoint-name", "cli")
    wait("endpoint-deleted", "cli")

with told.check("create-transform-job", later="batch transform is not there yet"):
    request = {
        "TransformJobName": "cli", "ModelName": "cli",
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://a/b"}}},
        "TransformOutput": {"S3OutputPath": "s3://a/c"},
        "TransformResources": {"InstanceType": told.MACHINE, "InstanceCount": 1},
    }  # fmt: skip
    told_so = aws("sagemaker", "create-transform-job", "--cli-input-json", request, code=255)
    assert "CreateTransformJob" in told_so, told_so
told.end()
