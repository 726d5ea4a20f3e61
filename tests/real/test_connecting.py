"""`loopwright.connect` in a process that runs already, as a notebook's does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server import Server

pytestmark = pytest.mark.real
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    # Somebody's own, which must neither be used nor lost.
    "AWS_ACCESS_KEY_ID": "AKIAOTHER",
    "AWS_SECRET_ACCESS_KEY": "other",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_MAX_ATTEMPTS": "1",
    "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    # What is sent past Loopwright ends here.
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "HTTP_PROXY": "http://127.0.0.1:1",
}


def _run(folder: Path, text: str, *arguments: str) -> Any:
    """The last line that a program printed, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", text, *arguments],
        env={**ENVIRONMENT, "HOME": str(folder)}, cwd=folder, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_sdk_of_a_running_process_talks_to_the_server(server: Server, tmp_path: Path) -> None:
    text = """
import json, sys
import boto3, sagemaker
early = boto3.client("sts")                 # notebooks begin with this
import loopwright
found = loopwright.connect(sys.argv[1])
again = loopwright.connect(sys.argv[1])
session = sagemaker.Session()
role = sagemaker.get_execution_role(session)
bucket = session.default_bucket()
open("data.csv", "w").write("1,2")
uri = session.upload_data("data.csv", key_prefix="connect")
who = boto3.client("sts").get_caller_identity()["Account"]
own = boto3.client("loopwright").list_online_experiments()["OnlineExperiments"]
print(json.dumps([found.url, again == found, role, bucket, uri, who, own, str(found),
                  found._repr_html_()]))
"""
    url, same, role, bucket, uri, who, own, told, page = _run(tmp_path, text, str(server.home))
    assert (url, same, who) == (server.url, True, "123456789012")
    assert role.startswith("arn:aws:iam::123456789012:role/")
    assert bucket == "sagemaker-us-east-1-123456789012"
    assert uri.startswith(f"s3://{bucket}/connect")
    assert isinstance(own, list)
    assert server.url in told and f'href="{server.url}/work"' in page


def test_child_processes_and_the_environment(server: Server, tmp_path: Path) -> None:
    text = """
import json, os, subprocess, sys
import loopwright
before = dict(os.environ)
loopwright.connect(sys.argv[1])
loopwright.connect(sys.argv[1])
child = "import boto3; url = 'https://sts.us-east-1.amazonaws.com'; "
child += "sts = boto3.client('sts', endpoint_url=url); print(sts.get_caller_identity()['Account'])"
who = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
path = os.environ["PYTHONPATH"]
loopwright.disconnect()
print(json.dumps([who.stdout.strip(), path, dict(os.environ) == before]))
"""
    who, path, restored = _run(tmp_path, text, str(server.home))
    assert who == "123456789012"
    assert path == str(server.home / "client"), "once, however often one connects"
    assert restored


CLIENTS = """
import json, os, sys, warnings
import boto3
{before}
import loopwright
from loopwright.connecting import BeyondError, BeyondWarning
warnings.simplefilter("error", BeyondWarning)
loopwright.connect(sys.argv[1])
{after}
try:
    client.{call}()
    told = "answered"
except (BeyondError, BeyondWarning) as error:
    told = type(error).__name__ + ": " + str(error)
print(json.dumps(told))
"""
EARLY = 'client = boto3.client("{}")'
NAMED = 'client = boto3.client("{0}", endpoint_url="https://{1}.us-east-1.amazonaws.com")'
OTHERS = (
    'client = boto3.client("sts", endpoint_url="https://sts.eu-west-1.amazonaws.com", '
    'aws_access_key_id="AKIAELSE", aws_secret_access_key="x")'
)
UNSIGNED = (
    "from botocore import UNSIGNED; from botocore.config import Config; "
    'client = boto3.client("s3", endpoint_url="https://s3.amazonaws.com", '
    "config=Config(signature_version=UNSIGNED))"
)


@pytest.mark.parametrize(
    ("before", "after", "call", "told"),
    [
        ("", EARLY.format("sagemaker"), "list_models", "answered"),
        ("boto3.client('s3')", EARLY.format("s3"), "list_buckets", "answered"),
        ("", NAMED.format("sts", "sts"), "get_caller_identity", "answered"),
        ("", NAMED.format("sagemaker", "api.sagemaker"), "list_models", "BeyondError"),
        ("", NAMED.format("s3", "s3"), "list_buckets", "BeyondError"),
        (EARLY.format("sagemaker"), "", "list_models", "BeyondWarning"),
        (EARLY.format("sts"), "", "get_caller_identity", "BeyondWarning"),
        ("", OTHERS, "get_caller_identity", "BeyondWarning"),
        ("", UNSIGNED, "list_buckets", "BeyondWarning"),
    ],
)
def test_clients_that_reach_beyond_are_told_of(
    server: Server, tmp_path: Path, before: str, after: str, call: str, told: str
) -> None:
    text = CLIENTS.format(before=before, after=after, call=call)
    found = _run(tmp_path, text, str(server.home))
    assert found.startswith(told), found
    if told != "answered":
        assert "amazonaws.com" in found and server.url in found
        assert "without endpoint_url" in found


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path) -> None:
    text = """
import json, os, sys
import loopwright
before = dict(os.environ)
try:
    loopwright.connect(sys.argv[1])
except Exception as error:
    print(json.dumps([type(error).__name__, str(error), dict(os.environ) == before]))
"""
    home = str(tmp_path / "none")
    kind, told, untouched = _run(tmp_path, text, home)
    assert kind == "NotRunning"
    assert f"loopwright serve --home {home}" in told
    assert untouched and not Path(home).exists()


def test_the_notebook_extension(server: Server, tmp_path: Path) -> None:
    # What IPython calls, by its names for it: `%load_ext loopwright`, then `%loopwright HOME`.
    text = """
import json, os, sys
import loopwright
magics = {}
class Shell:
    def register_magic_function(self, function, magic_kind, magic_name):
        magics[magic_kind, magic_name] = function
os.environ["LOOPWRIGHT_HOME"] = sys.argv[1] + "/none"
loopwright.load_ipython_extension(Shell())
found = magics["line", "loopwright"](f'"{sys.argv[1]}" ')
print(json.dumps([found.url, os.environ["AWS_ENDPOINT_URL"]]))
"""
    assert _run(tmp_path, text, str(server.home)) == [server.url, server.url]


def test_importing_the_package_costs_nothing(tmp_path: Path) -> None:
    text = (
        "import sys; before = {*sys.modules}; import loopwright, json; "
        "print(json.dumps(sorted({*sys.modules} - before - {'json', *json.__dict__})))"
    )
    found = [name for name in _run(tmp_path, text) if not name.startswith("json")]
    assert set(found) <= {"loopwright", "typing", "collections.abc", "_json"} | {
        name for name in found if name.split(".")[0] in sys.stdlib_module_names
    }
    assert "loopwright.connecting" not in found
