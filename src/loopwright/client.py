"""The client set-up: variables, and files in Loopwright's own home, that point AWS clients here.

The sagemaker SDK gives its STS client a fixed public address, which no variable overrides. The
set-up closes that gap with a `sitecustomize.py` on PYTHONPATH: it waits for botocore to be
imported and adds one handler that sends STS requests to AWS_ENDPOINT_URL, as all others go.
"""

import shlex
from pathlib import Path
from typing import Final

from loopwright.compute.folder import write_durably
from loopwright.keys import KeyFile
from loopwright.wire.services import OWN_MODELS

SITE: Final = '''\
"""Written by Loopwright: sends the STS requests of AWS clients to AWS_ENDPOINT_URL."""

import importlib.machinery
import importlib.util
import os
import sys
from urllib.parse import urlsplit, urlunsplit


def _to_loopwright(request, **_):
    endpoint = os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL")
    parts = urlsplit(request.url)
    if not endpoint or not (parts.hostname or "").endswith(".amazonaws.com"):
        return None
    from botocore.httpsession import URLLib3Session

    request.headers["Host"] = parts.netloc
    there = urlsplit(endpoint)
    request.url = urlunsplit((there.scheme, there.netloc, parts.path, parts.query, ""))
    # The client's own sending may go through a proxy, which does not lead here.
    return URLLib3Session().send(request)


class _Waiting:
    """Finds botocore.handlers as ever, and adds the handler once it is loaded."""

    def find_spec(self, name, path=None, target=None):
        if name != "botocore.handlers":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                module.BUILTIN_HANDLERS.append(("before-send.sts", _to_loopwright))

            spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Waiting())

# The interpreter looks for one sitecustomize only: run the next one, which this file stands before.
# Not one that stands before this file: it may have run this one, as others of Loopwright's do.
_here = os.path.dirname(os.path.abspath(__file__))
_places = [os.path.abspath(entry or ".") for entry in sys.path]
_behind = len(_places) - _places[::-1].index(_here) if _here in _places else 0
_next = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path[_behind:])
if _next is not None and _next.loader is not None:
    _next.loader.exec_module(importlib.util.module_from_spec(_next))
'''

S3_URL: Final = "AWS_ENDPOINT_URL_S3"
"""Set where objects are kept in an external S3, else cleared: another home's may still be there."""
MODELS_PATH: Final = "AWS_DATA_PATH"
"""Where botocore looks for further service models: ours is there."""
SDK_CONFIG: Final = """\
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""


def write_client(home: Path) -> Path:
    """Write the client's files; repeatable. Returns their folder."""
    folder = home / "client"
    folder.mkdir(parents=True, exist_ok=True)
    files = {"sitecustomize.py": SITE, "sagemaker.yaml": SDK_CONFIG}
    for model in OWN_MODELS.rglob("*.json"):
        files[f"models/{model.relative_to(OWN_MODELS)}"] = model.read_text()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            write_durably(path, text.encode())
    return folder


def variables(home: Path, url: str, region: str, objects: str = "") -> dict[str, str]:
    """The variables of a client of this home; `objects` is the address of an external S3."""
    folder = write_client(home)
    access_key, secret = KeyFile(home / "keys.json").ensure()
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        **({S3_URL: objects} if objects else {}),
        MODELS_PATH: str(folder / "models"),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(folder / "sagemaker.yaml"),
    }


def shell_lines(home: Path, url: str, region: str, objects: str = "") -> str:
    """What `eval` takes in a POSIX shell; arguments as of `variables`."""
    lines = [
        f"export {name}={shlex.quote(value)}"
        for name, value in variables(home, url, region, objects).items()
        if name != MODELS_PATH
    ]
    models = shlex.quote(str(home / "client" / "models"))
    folder = shlex.quote(str(home / "client"))
    lines += [
        f'export PYTHONPATH={folder}"${{PYTHONPATH:+:$PYTHONPATH}}"',
        f'export {MODELS_PATH}={models}"${{{MODELS_PATH}:+:${MODELS_PATH}}}"',
        'export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}"',
        'export no_proxy="$NO_PROXY"',
        "unset AWS_PROFILE AWS_SESSION_TOKEN AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
        + ("" if objects else f" {S3_URL}"),
    ]
    return "\n".join(lines)
