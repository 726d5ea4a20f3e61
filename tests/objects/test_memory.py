"""Bodies of any size pass through bounded memory, both ways."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIZE = 200 << 20
GROWTH_MAX = 40 << 20
PROGRAM = f"""
import http.client, resource, sys
from pathlib import Path
from loopwright.database import Database
from loopwright.objects.store import LocalObjects
from tests.objects.serving import client, serving

folder = Path(sys.argv[1])
store = LocalObjects(Database(f"sqlite:///{{folder}}/objects.db"), folder / "contents")
store.create_tables()
store.create_bucket("memory")
PIECE = bytes(1 << 20)
with serving(store) as url:
    s3 = client(url, signature_version="s3v4")
    place = {{"Bucket": "memory", "Key": "warm"}}
    s3.put_object(Body=b"x" * (4 << 20), **place)
    s3.get_object(**place)["Body"].read()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    place["Key"] = "large"
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    address = s3.generate_presigned_url("put_object", place).removeprefix(url)
    pieces = (PIECE for _ in range({SIZE >> 20}))
    connection.request("PUT", address, pieces, {{"Content-Length": "{SIZE}"}})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()
    address = s3.generate_presigned_url("get_object", place).removeprefix(url)
    connection.request("GET", address)
    answer = connection.getresponse()
    size = 0
    while piece := answer.read(1 << 20):
        size += len(piece)
    assert size == {SIZE}, size
    connection.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
store.close()
"""


def test_a_large_body_takes_little_memory(tmp_path: Path) -> None:
    """In a process of its own, client and server together, measured by its greatest size."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < GROWTH_MAX
