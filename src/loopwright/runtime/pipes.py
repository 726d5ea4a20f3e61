"""Pipe mode: the content of a channel through a named pipe for each epoch.

A feeder is a process of its own inside the unit. It ends with the unit; a reader that stops early
or never comes does not keep anybody waiting but the feeder itself.
"""

import base64
import json
import os
import random
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

FOLDER: Final = ".loopwright/pipes"
"""Below the base: what is fed of a channel: `CHANNEL/files`, or what `CHANNEL/list.json` names."""
PIECE_BYTES: Final = 1024 * 1024
RECORDIO_MAGIC: Final = 0xCED7230A
RECORD_BYTES_MAX: Final = 2**29 - 1


def feed(base: Path, pipe: Mapping[str, Any]) -> None:
    """Feed one channel, epoch after epoch, until the process is ended.

    Args:
        base: The unit's `/opt/ml`.
        pipe: `channel`; `recordio`, whether every file (or attribute) is wrapped as a record;
            `seed` of the shuffling, or None.
    """
    epoch = 0
    made = _make(base, pipe["channel"], epoch)
    while True:
        # The next pipe is there before this one ends, so that a reader finds it at once.
        following = _make(base, pipe["channel"], epoch + 1)
        with made.open("wb", buffering=0) as stream:
            try:
                for part in _parts(base, pipe, epoch):
                    _write(stream, part, bool(pipe.get("recordio")))
            except BrokenPipeError:
                # The reader has closed its end: it wants no more of this epoch.
                pass
        made, epoch = following, epoch + 1


def _make(base: Path, channel: str, epoch: int) -> Path:
    path = base / "input" / "data" / f"{channel}_{epoch}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.mkfifo(path, 0o644)
    return path


def _parts(base: Path, pipe: Mapping[str, Any], epoch: int) -> Iterator[Path | bytes]:
    """Files and texts in their order; shuffled anew in every epoch when there is a seed."""
    folder = base / FOLDER / pipe["channel"]
    listed = folder / "list.json"
    records: list[list[Path | bytes]]
    if listed.exists():
        rows = json.loads(listed.read_text())
        records = [[_part(folder, cell) for cell in row] for row in rows]
    else:
        files = sorted(path for path in (folder / "files").rglob("*") if path.is_file())
        records = [[path] for path in files]
    if pipe.get("seed") is not None:
        random.Random(f"{pipe['seed']}/{epoch}").shuffle(records)
    for record in records:
        yield from record


def _part(folder: Path, cell: Mapping[str, str]) -> Path | bytes:
    return folder / cell["file"] if "file" in cell else base64.b64decode(cell["bytes"])


def _write(stream: BinaryIO, part: Path | bytes, recordio: bool) -> None:
    size = len(part) if isinstance(part, bytes) else part.stat().st_size
    if recordio:
        if size > RECORD_BYTES_MAX:
            raise ValueError(f"{part!r} has {size} bytes; a record has at most {RECORD_BYTES_MAX}")
        stream.write(struct.pack("<II", RECORDIO_MAGIC, size))
    if isinstance(part, bytes):
        _all(stream, part)
    else:
        with part.open("rb") as reader:
            while piece := reader.read(PIECE_BYTES):
                _all(stream, piece)
    if recordio:
        _all(stream, b"\0" * (-size % 4))


def _all(stream: BinaryIO, piece: bytes) -> None:
    """Write a piece whole: an unbuffered pipe may take a part of it."""
    view = memoryview(piece)
    while view:
        written = stream.write(view)
        view = view[written or 0 :]
