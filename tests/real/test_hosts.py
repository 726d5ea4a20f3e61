"""Jobs of several hosts, instance groups, and what jobs use, through boto3."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server import BUCKET, Server, await_that, channel, training_request

pytestmark = pytest.mark.real
MEETING = """\
import json, os, socket, time

hosts = json.loads(os.environ["SM_HOSTS"])
me = os.environ["SM_CURRENT_HOST"]
config = json.load(open("/opt/ml/input/config/resourceconfig.json"))
print("group", config["current_group_name"], config["current_instance_type"])
for name in ("a", "b", "all"):
    folder = f"/opt/ml/input/data/{name}"
    found = sorted(os.listdir(folder)) if os.path.isdir(folder) else None
    print("channel", name, json.dumps(found))
# Every host listens on the same port of its own address, and asks all others.
server = socket.create_server((me, 5151))
for host in hosts:
    for _ in range(600):
        try:
            socket.create_connection((host, 5151), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    else:
        raise SystemExit(f"{host} cannot be reached")
print("met", ",".join(hosts))
time.sleep(0.5)
open("/opt/ml/model/done", "w").close()
"""
BUSY = """\
import time
block = bytearray(200 * 2**20)
end = time.monotonic() + 2.5
while time.monotonic() < end:
    sum(range(10_000))
"""


def _request(server: Server, name: str, script: str, **more: Any) -> dict[str, Any]:
    source = server.put_source(name, {"train.py": script})
    return {**training_request(name, source), **more}


def test_groups_get_their_own_channels_and_hosts_reach_each_other(server: Server) -> None:
    for name in ("a/1.csv", "b/1.csv", "all/1.csv", "all/2.csv", "all/3.csv"):
        server.put(f"groups/{name}", "1")
    resources = {
        "InstanceGroups": [
            {"InstanceGroupName": "first", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
            {"InstanceGroupName": "second", "InstanceType": "ml.m5.large", "InstanceCount": 1},
        ],
        "VolumeSizeInGB": 1,
    }
    channels = []
    for name, group in (("a", "first"), ("b", "second")):
        made = channel(name, f"s3://{BUCKET}/groups/{name}/")
        made["DataSource"]["S3DataSource"]["InstanceGroupNames"] = [group]
        channels.append(made)
    sharded = channel("all", f"s3://{BUCKET}/groups/all/")
    sharded["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    request = _request(
        server, "groups", MEETING, ResourceConfig=resources, InputDataConfig=[*channels, sharded]
    )
    server.client("sagemaker").create_training_job(**request)
    found = server.trained("groups")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    lines = server.log_of("groups")
    assert lines.count("met algo-1,algo-2,algo-3") == 3
    assert lines.count("group first ml.c5.xlarge") == 2
    assert lines.count("group second ml.m5.large") == 1
    assert lines.count('channel a ["1.csv"]') == 2
    assert lines.count('channel b ["1.csv"]') == 1
    shards = [json.loads(line.split(" ", 2)[2]) for line in lines if line.startswith("channel all")]
    assert sorted(name for shard in shards for name in shard) == ["1.csv", "2.csv", "3.csv"]


def test_groups_that_cannot_be_are_refused(server: Server) -> None:
    group = {"InstanceGroupName": "one", "InstanceType": "ml.m5.large", "InstanceCount": 1}
    made = channel("a", f"s3://{BUCKET}/code/")
    made["DataSource"]["S3DataSource"]["InstanceGroupNames"] = ["other"]
    server.put("code/x", "1")
    for resources, channels, word in (
        ({"InstanceGroups": [group, group]}, [], "twice"),
        ({"InstanceGroups": [group], "InstanceType": "ml.m5.large"}, [], "either"),
        ({"InstanceGroups": [group]}, [made], "'other'"),
    ):
        request = _request(server, "no-groups", MEETING)
        request["ResourceConfig"] = {**resources, "VolumeSizeInGB": 1}
        if channels:
            request["InputDataConfig"] = channels
        with pytest.raises(ClientError, match=word):
            server.client("sagemaker").create_training_job(**request)


def test_what_a_job_used_is_in_cloudwatch_and_told_by_describe(server: Server) -> None:
    server.client("sagemaker").create_training_job(**_request(server, "busy", BUSY))
    assert server.trained("busy")["TrainingJobStatus"] == "Completed"
    cloudwatch = server.client("cloudwatch")

    def used(name: str) -> dict[str, Any] | None:
        points = cloudwatch.get_metric_statistics(
            Namespace="/aws/sagemaker/TrainingJobs",
            MetricName=name,
            Dimensions=[{"Name": "Host", "Value": "busy/algo-1"}],
            StartTime=datetime.now(UTC) - timedelta(hours=1),
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=3600,
            Statistics=["Maximum"],
        )["Datapoints"]
        return dict(points[-1]) if points else None

    cpu = await_that(lambda: used("CPUUtilization"), "the CPU's points")
    assert 5 < cpu["Maximum"] < 300
    assert cpu["Unit"] == "Percent"
    memory = used("MemoryUtilization")
    assert memory is not None
    assert memory["Maximum"] > 100 * 200 * 2**20 / (8 * 2**30) * 0.9
    assert "CPUUtilization" in server.cli("describe", "busy").stdout
