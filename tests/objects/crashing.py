"""A process that writes until it is killed; it prints what was acknowledged.

Run as `python -m tests.objects.crashing FOLDER SEED`.
"""

import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from loopwright.database import Database
from loopwright.objects.rows import NO_CONDITIONS
from loopwright.objects.store import LocalObjects
from loopwright.objects.tables import Attributes
from loopwright.objects.uploads import PART_BYTES_MIN, Wanted, Whole

BUCKET = "crash-test"


def opened(folder: Path) -> LocalObjects:
    store = LocalObjects(Database(f"sqlite:///{folder}/objects.db"), folder / "contents")
    store.create_tables()
    return store


def content(key: str, version: int, size: int) -> Iterator[bytes]:
    """What an object holds says which one it is, in every line."""
    line = f"{key}:{version}:{size}\n".encode()
    left = size
    while left > 0:
        piece = (line * 4096)[: min(left, 4096 * len(line))]
        left -= len(piece)
        yield piece


def say(text: str) -> None:
    """One line in one system call, so that lines of several threads stay whole."""
    os.write(1, f"{text}\n".encode())


def write(store: LocalObjects, writer: int, seed: int) -> None:
    """Put, replace, delete and upload in parts, without end."""
    chance = random.Random(seed * 100 + writer)
    for version in count(seed * 100_000):
        key = f"{writer}/{chance.randrange(20)}"
        if chance.random() < 0.2:
            say(f"try-delete {key} {version} 0")
            store.delete(BUCKET, key)
            say(f"deleted {key} {version} 0")
            continue
        size = chance.choice((0, 10, 5_000, 1_500_000))
        is_upload = chance.random() < 0.1
        size = PART_BYTES_MIN + size if is_upload else size
        say(f"try-put {key} {version} {size}")
        if is_upload:
            upload(store, key, version, size)
        else:
            store.put(BUCKET, key, content(key, version, size))
        say(f"put {key} {version} {size}")


def upload(store: LocalObjects, key: str, version: int, size: int) -> None:
    whole = b"".join(content(key, version, size))
    name = store.uploads.begin((BUCKET, key), Attributes(), "", "")
    wanted = []
    for number, body in enumerate((whole[:PART_BYTES_MIN], whole[PART_BYTES_MIN:]), 1):
        writing = store.files.begin()
        writing.write(body)
        etag = store.uploads.add_part((BUCKET, key, name), number, writing, {})
        wanted.append(Wanted(number, etag, {}))
    store.uploads.complete((BUCKET, key, name), wanted, NO_CONDITIONS, Whole({}))


def main() -> None:
    store = opened(Path(sys.argv[1]))
    store.create_bucket(BUCKET)
    store.sweep()
    with ThreadPoolExecutor(4) as pool:
        for ended in [pool.submit(write, store, n, int(sys.argv[2])) for n in range(4)]:
            ended.result()


if __name__ == "__main__":
    main()
