"""Processing jobs: outputs uploaded while they run, what they leave to be told, packages."""

import sys
from typing import Any

import pytest

from tests.runtime.test_packages import wheel_bytes
from tests.server import BUCKET, ROLE, SKLEARN, Server, await_that

AWAIT = f"""
import os, time
import boto3
s3 = boto3.client("s3")
def await_object(key, body):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if s3.get_object(Bucket={BUCKET!r}, Key=key)["Body"].read() == body:
                return
        except s3.exceptions.NoSuchKey:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{{key}} is not {{body!r}}")
os.makedirs("/opt/ml/output", exist_ok=True)
"""


def process(server: Server, name: str, script: str, **more: Any) -> dict[str, Any]:
    """The description of a processing job of a one-file script, once it is over."""
    code = server.put(f"{name}/code/job.py", script).rpartition("/")[0]
    sagemaker = server.client("sagemaker")
    entry = more.pop("entry", ["python3", "/opt/ml/processing/input/code/job.py"])
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": SKLEARN, "ContainerEntrypoint": entry},
        ProcessingInputs=[
            _input("code", code, "/opt/ml/processing/input/code"),
            *more.pop("inputs", []),
        ],
        ProcessingResources={
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            }
        },
        **more,
    )

    def over() -> dict[str, Any] | None:
        found = dict(sagemaker.describe_processing_job(ProcessingJobName=name))
        done = found["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped")
        return found if done else None

    return await_that(over, f"the end of {name}")


def _input(name: str, uri: str, path: str) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": source}


def _output(name: str, mode: str) -> dict[str, Any]:
    target = {
        "S3Uri": f"s3://{BUCKET}/{name}/out",
        "LocalPath": "/opt/ml/processing/out",
        "S3UploadMode": mode,
    }
    return {"Outputs": [{"OutputName": "out", "S3Output": target}]}


def test_continuous_outputs_are_uploaded_while_the_job_runs(server: Server) -> None:
    script = f"""{AWAIT}
folder = "/opt/ml/processing/out"
os.makedirs(folder + "/deep")
held = open(folder + "/held.txt", "w")
held.write("half"); held.flush()
for text in ("first", "second"):
    with open(folder + "/deep/a.txt", "w") as stream:
        stream.write(text)
    await_object("continuous/out/deep/a.txt", text.encode())
listed = s3.list_objects_v2(Bucket={BUCKET!r}, Prefix="continuous/out")["Contents"]
keys = [found["Key"] for found in listed]
assert keys == ["continuous/out/deep/a.txt"], keys
held.write(" and whole"); held.close()
await_object("continuous/out/held.txt", b"half and whole")
with open(folder + "/last.tmp", "w") as stream:
    stream.write("last")
with open("/opt/ml/output/message", "w") as stream:
    stream.write("all " + "x" * 2000)
"""
    output = _output("continuous", "Continuous")
    found = process(server, "continuous", script, ProcessingOutputConfig=output)
    assert found["ProcessingJobStatus"] == "Completed", found
    assert found["ExitMessage"] == ("all " + "x" * 2000)[:1024]
    s3 = server.client("s3")
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="continuous/out")["Contents"]
    assert {item["Key"].rpartition("/")[2] for item in listed} == {"a.txt", "held.txt", "last.tmp"}


@pytest.mark.parametrize("mode", ["Continuous", "EndOfJob"])
@pytest.mark.parametrize(
    ("name", "told"),
    [("'caf\\udce9.txt'", "caf\\udce9.txt"), ("'/'.join(['d' * 240] * 5)", "ddd ... ddd")],
)
def test_a_name_that_cannot_be_a_key_hinders_no_other(
    server: Server, mode: str, name: str, told: str
) -> None:
    job = f"no-key-{mode}-{len(name)}"
    script = f"""{AWAIT}
from pathlib import Path
for name in ("a.txt", {name}, "z.txt"):
    path = Path("/opt/ml/processing/out", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
deadline = time.monotonic() + 60
while {mode == "Continuous"} and time.monotonic() < deadline:
    if s3.list_objects_v2(Bucket={BUCKET!r}, Prefix="{job}/out")["KeyCount"] == 2:
        print("BOTH THERE")
        break
    time.sleep(0.2)
"""
    found = process(server, job, script, ProcessingOutputConfig=_output(job, mode))
    assert found["ProcessingJobStatus"] == "Failed"
    assert "The name of the file " in found["FailureReason"], found
    assert told in found["FailureReason"]
    listed = server.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"{job}/out")["Contents"]
    assert [item["Key"].rpartition("/")[2] for item in listed] == ["a.txt", "z.txt"]
    if mode == "Continuous":
        assert "BOTH THERE" in server.cli("logs", job).stdout


def test_outputs_at_the_end_are_not_there_before(server: Server) -> None:
    script = f"""{AWAIT}
os.makedirs("/opt/ml/processing/out", exist_ok=True)
for name in ("early", "late"):
    open(f"/opt/ml/processing/out/{{name}}.txt", "w").close()
    os.sync()
# Several rounds of what looks at the outputs of running jobs.
deadline = time.monotonic() + 3
while time.monotonic() < deadline:
    listed = s3.list_objects_v2(Bucket={BUCKET!r}, Prefix="at-the-end/out")
    assert not listed["KeyCount"], listed
    time.sleep(0.2)
open("/opt/ml/output/message", "w").write("3 columns dropped")
raise SystemExit("no rows left")
"""
    output = _output("at-the-end", "EndOfJob")
    found = process(server, "at-the-end", script, ProcessingOutputConfig=output)
    assert (found["ProcessingJobStatus"], found["ExitMessage"]) == ("Failed", "3 columns dropped")
    assert 'ErrorMessage "no rows left"' in found["FailureReason"]


@pytest.mark.parametrize("warm", [False, True])
def test_a_job_installs_packages_by_itself(server: Server, warm: bool) -> None:
    """As the SDK's FrameworkProcessor does it, and a script that has imported nothing yet."""
    name = f"installs-{'warm' if warm else 'shell'}"
    server.client("s3").create_bucket(Bucket=BUCKET)
    folder = "/opt/ml/processing/input/wheels"
    for package, version in (("joblib", "99.0"), ("tiny", "1.0")):
        server.client("s3").put_object(
            Bucket=BUCKET,
            Key=f"{name}/wheels/{package}-{version}-py3-none-any.whl",
            Body=wheel_bytes(package, version),
        )
    wheels = _input("wheels", f"s3://{BUCKET}/{name}/wheels", folder)
    install = f"pip install --no-index --find-links {folder} joblib==99.0 tiny"
    script = f"import os\nassert os.system({install!r}) == 0\n" if warm else ""
    script += "import joblib, tiny\nprint('GOT', joblib.VERSION, tiny.VERSION, joblib.__file__)\n"
    # The runtime's own interpreter is what its console scripts (torchrun ...) name.
    ours = f"{sys.executable} -c 'import tiny, sys; print(\"OURS\", tiny.VERSION, sys.prefix)'"
    shell = f"pip uninstall --yes typing; {install} && tiny-tell && python3 input/code/job.py"
    shell += f" && {ours}"
    server.put(f"{name}/code/go.sh", f"set -e\ncd /opt/ml/processing\n{shell}\n")
    entry = {} if warm else {"entry": ["/bin/bash", "/opt/ml/processing/input/code/go.sh"]}
    found = process(server, name, script, inputs=[wheels], **entry)
    log = server.log_of(name, "/aws/sagemaker/ProcessingJobs")
    assert found["ProcessingJobStatus"] == "Completed", log
    packages = "/opt/ml/.loopwright/env/lib/python3"
    assert warm or "OURS 1.0 /opt/ml/.loopwright/env" in log, log
    assert any(line.startswith(f"GOT 99.0 1.0 {packages}") for line in log), log
