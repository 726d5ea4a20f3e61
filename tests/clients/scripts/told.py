"""What the clients' scripts share: a line of JSON for each check, and requests in boto3's shape.

Runs under the Pythons of foreign clients: nothing of Loopwright is imported here.
"""

import contextlib
import io
import json
import os
import sys
import tarfile
import tempfile
import time
import traceback

ACCOUNT = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
IMAGE = f"{ACCOUNT}/sagemaker-scikit-learn:1.2-1-cpu-py3"
MACHINE = "ml.m5.large"
ROLE_NAME = "ClientsRole"
ROLE = f"arn:aws:iam::123456789012:role/{ROLE_NAME}"
URL = os.environ["AWS_ENDPOINT_URL"]
KEY, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]

TRAIN = """
import json, os
lines = open(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "rows.csv")).read().split()
mean = sum(float(line.split(",")[1]) for line in lines) / len(lines)
json.dump({"mean": mean}, open(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"), "w"))
print(f"read {len(lines)} rows, mean {mean}")
print(f"score: {1 / (1 + abs(float(os.environ.get('SM_HP_GUESS', 0)) - mean))}")
"""
METRICS = [{"Name": "score", "Regex": "score: ([0-9.e+-]+)"}]
COUNT = """
rows = open("/opt/ml/processing/input/rows.csv").read().split()
open("/opt/ml/processing/output/count.txt", "w").write(str(len(rows)))
"""
ROWS = "a,1\nb,2\nc,6\n"
SERVE = """
import json, os
def model_fn(folder):
    return json.load(open(os.path.join(folder, "model.json")))
def input_fn(body, kind):
    return json.loads(body)
def predict_fn(rows, model):
    return [row + model["mean"] for row in rows]
"""
FAILS = 'import sys; sys.exit("no such column: age")'

_out = os.fdopen(os.dup(1), "w")
# The libraries' own output must not get between the lines of JSON.
os.dup2(2, 1)


def _tell(**line):
    _out.write(json.dumps(line) + "\n")
    _out.flush()


def client(name, version):
    """Say which client this script is."""
    _tell(client=name, version=version)


@contextlib.contextmanager
def check(name, later=None):
    """One check; an exception fails it, and the next ones go on.

    `later` says that the server cannot do it yet: the body asserts its refusal.
    """
    began = time.perf_counter()
    detail = ""
    try:
        yield
    except Exception:
        detail = traceback.format_exc()[-3000:]
    _tell(
        name=name,
        ok=not detail,
        detail=detail,
        later=later,
        seconds=round(time.perf_counter() - began, 2),
    )


@contextlib.contextmanager
def refused(kind, *words):
    """The body raises `kind`, whose text holds all `words`."""
    try:
        yield
    except kind as error:
        told = str(error)
        missing = [word for word in words if word not in told]
        assert not missing, f"{missing} not in {told!r}"
    else:
        raise AssertionError(f"nothing was raised; {words} was expected")


@contextlib.contextmanager
def printed():
    """What the body and its libraries print, in a list of one text once it is over."""
    found = []
    with tempfile.TemporaryFile("w+") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield found
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept, 1)
            os.dup2(kept, 2)
            file.seek(0)
            found.append(file.read())


def wait_until(condition, seconds=90):
    """What `condition` returns once that is true."""
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise TimeoutError("it did not come in time")


def packed(files):
    """A tar.gz of text files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return stream.getvalue()


def training(name, bucket, role=ROLE):
    """A training job of `code/train.tar.gz` on `train/rows.csv` of a bucket."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": role,
        "HyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": f"s3://{bucket}/code/train.tar.gz",
        },
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/train/"}
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/jobs"},
        "ResourceConfig": {"InstanceType": MACHINE, "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
    }


def processing(name, bucket, script, role=ROLE):
    """A processing job that runs a shell line on `train/` and uploads `/opt/ml/processing/out`."""
    return {
        "ProcessingJobName": name,
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["/bin/sh", "-c", script],
        },
        "RoleArn": role,
        "ProcessingInputs": [
            {
                "InputName": "rows",
                "S3Input": {
                    "S3Uri": f"s3://{bucket}/train/",
                    "LocalPath": "/opt/ml/processing/in",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "summary",
                    "S3Output": {
                        "S3Uri": f"s3://{bucket}/processed/{name}",
                        "LocalPath": "/opt/ml/processing/out",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": MACHINE, "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
    }


def model(name, data, code, role=ROLE):
    """A model of a script in an archive."""
    return {
        "ModelName": name,
        "ExecutionRoleArn": role,
        "PrimaryContainer": {
            "Image": IMAGE,
            "ModelDataUrl": data,
            "Environment": {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": code},
        },
    }


def variant(model_name, **more):
    """The only variant of an endpoint."""
    return {
        "VariantName": "AllTraffic",
        "ModelName": model_name,
        "InstanceType": MACHINE,
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 1.0,
        **more,
    }


def prepare(s3, bucket):
    """A bucket with rows and both scripts, by a boto3 client."""
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="train/rows.csv", Body=ROWS)
    s3.put_object(Bucket=bucket, Key="code/train.tar.gz", Body=packed({"train.py": TRAIN}))
    s3.put_object(Bucket=bucket, Key="code/serve.tar.gz", Body=packed({"serve.py": SERVE}))
    s3.put_object(Bucket=bucket, Key="code/fails.tar.gz", Body=packed({"train.py": FAILS}))


def end(code=0):
    """Leave at once: no library's own threads or exit handlers."""
    for stream in (_out, sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
