"""Outputs that are uploaded while their unit still writes others (`S3UploadMode: Continuous`).

A file is uploaded once nobody has it open for writing and nothing of it changed since the round
before, and again whenever it changed; its object changes at once. Which state of a file was
uploaded is remembered in memory only: after a restart it is uploaded again, and all of them are at
the unit's end (`compute.collect`), so nothing depends on it.
"""

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import sqlalchemy as sa

from loopwright.compute.checkpoints import (
    Stamp,
    Target,
    frozen,
    regular_files,
    stamp_of,
    unwritten,
)
from loopwright.compute.collect import NAME_REFUSED
from loopwright.compute.folder import unit_folder
from loopwright.compute.staging import split_uri
from loopwright.kernel.store import Store
from loopwright.kernel.tables import UNITS
from loopwright.wire.errors import ApiError

LOG = logging.getLogger(__name__)
PARTS_MAX: Final = 4
"""How many such steps one output has in a round."""
FILES_MAX: Final = 64
"""How many files go to the store in one step."""


@dataclass(frozen=True)
class Output:
    """A folder of a unit, by its path below the unit's base, and the address it goes to."""

    unit: str
    folder: str
    uri: str


class OutputSync:
    """Uploads continuous outputs of running units. One per control plane, rounds in one thread."""

    def __init__(self, home: Path, target: Target) -> None:
        self._home = home
        self._target = target
        self._seen: dict[Output, Mapping[Path, Stamp]] = {}
        self._uploaded: dict[Output, dict[Path, Stamp]] = {}
        self._faults: dict[Output, str] = {}

    def round(self, outputs: Sequence[Output]) -> None:
        """Upload what came to rest. A fault of one output is no fault of the next."""
        for output in outputs:
            try:
                self._look(output)
            except (OSError, ApiError, ValueError) as error:
                # The upload at the end tries again, and tells the job's owner.
                if str(error) != self._faults.get(output):
                    LOG.warning("%s could not go to %s: %s", output.folder, output.uri, error)
                self._faults[output] = str(error)
        self._seen = {output: self._seen[output] for output in outputs if output in self._seen}
        self._faults = {
            output: self._faults[output] for output in outputs if output in self._faults
        }
        self._uploaded = {
            output: self._uploaded[output] for output in outputs if output in self._uploaded
        }

    def _look(self, output: Output) -> None:
        base = unit_folder(self._home, output.unit).base
        root = base / output.folder
        if Path(os.path.realpath(root)) != Path(os.path.realpath(base)) / output.folder:
            return  # A link leads elsewhere.
        found: dict[Path, Stamp] = {}
        for path in regular_files(root):
            with contextlib.suppress(FileNotFoundError):
                found[path] = stamp_of(path)
        before = self._seen.get(output, {})
        uploaded = self._uploaded.setdefault(output, {})
        self._seen[output] = found
        ready = [
            path
            for path, stamp in found.items()
            if before.get(path) == stamp and uploaded.get(path) != stamp and unwritten(path)
        ]
        refused: ApiError | None = None
        # What is more waits for the next round: other jobs' outputs have their turn before.
        for start in range(0, min(len(ready), PARTS_MAX * FILES_MAX), FILES_MAX):
            part = {path: found[path] for path in ready[start : start + FILES_MAX]}
            refused = self._upload_part(output, root, part) or refused
            uploaded |= part
        if refused is not None:
            raise refused

    def _upload_part(
        self, output: Output, root: Path, part: Mapping[Path, Stamp]
    ) -> ApiError | None:
        """Upload files; where a name cannot be a key, the others, and the error of that one."""
        try:
            self._upload(output, root, part)
        except ApiError as error:
            if error.code not in NAME_REFUSED:
                raise
            if len(part) == 1:
                return error
            each = [self._upload_part(output, root, {path: part[path]}) for path in part]
            return next(filter(None, each), None)
        return None

    def _upload(self, output: Output, root: Path, part: Mapping[Path, Stamp]) -> None:
        bucket, prefix = split_uri(output.uri)
        start = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        files = {start + str(path.relative_to(root)): (path, part[path]) for path in part}
        bases = (os.path.realpath(unit_folder(self._home, output.unit).base) + "/",)
        with contextlib.ExitStack() as stack:
            self._target.replace_files(bucket, frozen(files, bases, stack), [])


def running_outputs(store: Store) -> list[Output]:
    """The continuous outputs of all units that run."""
    statement = sa.select(UNITS.c.id, UNITS.c.program).where(
        UNITS.c.state == "running", UNITS.c.program.contains('"continuous":[{')
    )
    with store.reading() as connection:
        rows = connection.execute(statement).all()
    return [
        Output(row.id, item["folder"], item["uri"])
        for row in rows
        for item in orjson.loads(row.program)["continuous"]
    ]
