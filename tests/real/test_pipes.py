"""Pipe mode and augmented manifests through boto3."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server import BUCKET, Server, channel, training_request

pytestmark = pytest.mark.real
READING = """\
import hashlib, os, sys
for epoch in range(int(os.environ.get("EPOCHS", "2"))):
    with open(f"/opt/ml/input/data/train_{epoch}", "rb") as stream:
        body = stream.read(int(os.environ.get("LIMIT", "-1")))
    print("epoch", epoch, len(body), hashlib.md5(body).hexdigest(), flush=True)
    if len(body) < 100:
        print("body", body, flush=True)
open("/opt/ml/model/done", "w").close()
"""


def _run(server: Server, name: str, made: dict[str, Any], **variables: str) -> list[str]:
    source = server.put_source("pipes", {"train.py": READING})
    request = training_request(name, source)
    request["AlgorithmSpecification"]["TrainingInputMode"] = "Pipe"
    request["Environment"] = variables
    request["InputDataConfig"] = [made]
    server.client("sagemaker").create_training_job(**request)
    found = server.trained(name)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    return server.log_of(name)


def test_every_epoch_reads_all_files(server: Server) -> None:
    server.put("pipes/1.csv", "a,1\n")
    server.put("pipes/2.csv", "b,2\n")
    lines = _run(server, "pipe-files", channel("train", f"s3://{BUCKET}/pipes/"))
    assert [line for line in lines if line.startswith("body")] == ["body b'a,1\\nb,2\\n'"] * 2


def test_records_are_wrapped_and_shuffled(server: Server) -> None:
    for number in range(8):
        server.put(f"wrapped/{number}", str(number))
    made = channel(
        "train",
        f"s3://{BUCKET}/wrapped/",
        RecordWrapperType="RecordIO",
        ShuffleConfig={"Seed": 5},
    )
    lines = _run(server, "pipe-records", made)
    epochs = [line.split() for line in lines if line.startswith("epoch")]
    assert [int(words[2]) for words in epochs] == [8 * 12, 8 * 12]
    assert epochs[0][3] != epochs[1][3], "each epoch has an order of its own"
    bodies = [eval(line[5:]) for line in lines if line.startswith("body")]
    records = {bodies[0][start : start + 12] for start in range(0, 96, 12)}
    assert records == {b"\x0a\x23\xd7\xce\x01\0\0\0%d\0\0\0" % number for number in range(8)}


def test_a_reader_that_stops_early_goes_on_with_the_next_epoch(server: Server) -> None:
    server.put("large/1.bin", b"x" * 3_000_000)
    made = channel("train", f"s3://{BUCKET}/large/")
    lines = _run(server, "pipe-early", made, LIMIT="10", EPOCHS="3")
    assert [line.split()[2] for line in lines if line.startswith("epoch")] == ["10"] * 3


def test_an_augmented_manifest_feeds_its_attributes(server: Server) -> None:
    server.put("images/1.png", "PNG1")
    server.put("images/2.png", "PNG2")
    rows = [
        {"source-ref": f"s3://{BUCKET}/images/{n}.png", "label": n, "other": "x"} for n in (1, 2)
    ]
    server.put("images/manifest.jsonl", "\n".join(json.dumps(row) for row in rows))
    made = channel("train", f"s3://{BUCKET}/images/manifest.jsonl")
    made["DataSource"]["S3DataSource"] |= {
        "S3DataType": "AugmentedManifestFile",
        "AttributeNames": ["source-ref", "label"],
    }
    lines = _run(server, "pipe-augmented", made, EPOCHS="1")
    assert "body b'PNG11PNG22'" in lines
    request = training_request("no-pipe", server.put_source("pipes", {"train.py": READING}))
    request["InputDataConfig"] = [made]
    with pytest.raises(ClientError, match="Pipe"):
        server.client("sagemaker").create_training_job(**request)
