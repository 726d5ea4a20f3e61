"""Print docs/operations.md: every operation that works, from the code that serves it."""

import sys
import tempfile
from pathlib import Path

from loopwright.config import Settings
from loopwright.contract.instances import Machine
from loopwright.control import all_kinds, all_operations
from loopwright.database import Database
from loopwright.kernel.clock import ScaledClock
from loopwright.kernel.kinds import Kinds
from loopwright.kernel.store import Store
from loopwright.objects.face import BODY_OPERATIONS, OPERATIONS
from loopwright.objects.store import LocalObjects
from loopwright.wire.services import service
from loopwright.workforce import Workforce

HEAD = """\
# Operations that work

Made by `make docs` from the code; a test compares it. An operation that is not listed answers an
error that names it. S3's operations are listed by their own table.
"""


def page() -> str:
    """The whole page."""
    kinds = Kinds(all_kinds(Machine(2.0, 8 * 2**30)), account="123456789012")
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/x.db")
        objects = LocalObjects(database, Path(folder))
        settings = Settings(Path(folder))
        workforce = Workforce(
            settings, database, Store(database), objects, ScaledClock(1.0), lambda: ""
        )
        found = all_operations(kinds, database, Path(folder), objects, workforce)
        database.close()
    lines = [HEAD]
    for name, operations in sorted(found.items()):
        total = len(service(name).operation_names)
        lines.append(f"## {name} ({len(operations)} of {total})\n")
        lines += [f"- `{operation}`" for operation in sorted(operations)]
        lines.append("")
    lines.append("## sagemaker-runtime (2 of 3, answered by the gateway)\n")
    lines += ["- `InvokeEndpoint`", "- `InvokeEndpointWithResponseStream`", ""]
    s3 = sorted(s3_operations())
    lines.append(f"## s3 ({len(s3)} of {len(service('s3').operation_names)})\n")
    lines += [f"- `{operation}`" for operation in s3]
    return "\n".join(lines) + "\n"


def s3_operations() -> set[str]:
    """Names of the object store's operations."""
    return {*OPERATIONS, *BODY_OPERATIONS}


if __name__ == "__main__":
    sys.stdout.write(page())
