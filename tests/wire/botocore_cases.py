"""botocore's own protocol cases, from its source distribution, fetched once into `.cache/`.

They belong to botocore and are loaded at test time; nothing of them is kept in this repository.
"""

import base64
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore
from botocore.model import OperationModel, ServiceModel

CACHE = Path(__file__).parents[2] / ".cache" / "botocore"


@cache
def source() -> Path:
    """The unpacked `tests/unit` folder of the installed botocore's source distribution."""
    folder = CACHE / f"botocore-{botocore.__version__}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        requirement = f"botocore=={botocore.__version__}"
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--no-binary",
                ":all:",
                requirement,
                "-d",
                str(CACHE),
            ],
            check=True,
        )
        with tarfile.open(next(CACHE.glob(f"botocore-{botocore.__version__}.tar.gz"))) as archive:
            members = [m for m in archive.getmembers() if "/tests/unit/" in m.name]
            archive.extractall(CACHE, members=members, filter="data")
    return folder / "tests" / "unit"


@dataclass
class Case:
    protocol: str
    name: str
    operation: OperationModel
    suite: dict[str, Any]
    case: dict[str, Any]


def cases(kind: str) -> Iterator[Case]:
    """Every case of `input` or `output`, with its model made."""
    for path in sorted((source() / "protocols" / kind).glob("*.json")):
        if path.stem.startswith("ec2"):
            continue  # SageMaker and its neighbours do not speak the EC2 protocol.
        for number, suite in enumerate(json.loads(path.read_text())):
            metadata = suite["metadata"]
            for index, case in enumerate(suite["cases"]):
                model = {
                    "metadata": metadata,
                    "operations": {case["given"]["name"]: case["given"]},
                    "shapes": suite["shapes"],
                }
                service = ServiceModel(model, service_name="cases")
                name = f"{path.stem}-{number}-{index}-{case.get('id', '')}"
                operation = service.operation_model(case["given"]["name"])
                yield Case(metadata["protocol"], name, operation, suite, case)


def plain(value: Any) -> Any:
    """Values in one form: bytes as text, whole floats as they are, timestamps as seconds."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if hasattr(value, "timestamp"):
        return value.timestamp()
    if isinstance(value, float) and value != value:
        return "NaN"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def same(got: Any, wanted: Any) -> bool:
    """Equal, where a number may stand for a timestamp and base64 for a blob."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(same(got[k], wanted[k]) for k in got)
    if isinstance(got, list) and isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(same, got, wanted))
    if isinstance(got, float | int) and isinstance(wanted, float | int):
        return abs(float(got) - float(wanted)) < 1e-6 * max(1.0, abs(float(wanted)))
    if isinstance(got, str) and isinstance(wanted, str) and got != wanted:
        try:
            return base64.b64decode(wanted).decode("utf-8", "replace") == got
        except ValueError:
            return False
    return bool(got == wanted)
