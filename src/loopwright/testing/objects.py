"""What every object store must do: `ObjectsContract`, to be run over each of them."""

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from loopwright.objects.base import Objects
from loopwright.wire.errors import ApiError

AWKWARD_KEYS = (
    "plain",
    "with space",
    "a+b?c#d%20e&f=g",
    "ünïcödé/ключ/鍵/🗝",
    "../../../etc/passwd",
    "a/../b",
    "./x",
    "//double//slash",
    "/leading",
    "folder/",
    "folder",
    "folder/file",
    "quote\"'<>\\|*",
    "new\nline\ttab",
    "x" * 1024,
)


def wrong(code: str) -> "pytest.RaisesExc[ApiError]":
    """Expects an `ApiError` with this code."""
    return pytest.RaisesExc(ApiError, check=lambda error: error.code == code)


class ObjectsContract:
    """Test methods over a fixture `objects` (an `Objects`); subclass it and provide the fixture."""

    @pytest.fixture
    def bucket(self, objects: Objects) -> str:
        """A new bucket."""
        name = f"contract-{uuid4().hex[:20]}"
        objects.create_bucket(name)
        return name

    def test_files_are_replaced_together(
        self, objects: Objects, bucket: str, tmp_path: Path
    ) -> None:
        objects.put(bucket, "c/old", [b"old"])
        objects.put(bucket, "c/one", [b"first"])
        files = {}
        for name in ("one", "two"):
            (tmp_path / name).write_text(name)
            files[f"c/{name}"] = tmp_path / name
        objects.replace_files(bucket, files, ["c/old", "c/never"])
        keys = [entry.key for entry in objects.list(bucket, "c/")]
        found = {key: b"".join(objects.open(bucket, key)) for key in keys}
        assert found == {"c/one": b"one", "c/two": b"two"}
        missing = {"c/one": tmp_path / "two", "c/three": tmp_path / "nowhere"}
        with pytest.raises(OSError):
            objects.replace_files(bucket, missing, ["c/two"])
        assert objects.head(bucket, "c/three") is None
        assert objects.head(bucket, "c/two") is not None

    def test_what_is_put_is_read(self, objects: Objects, bucket: str) -> None:
        put = objects.put(
            bucket, "a/b", [b"one ", b"", b"two"], content_type="text/x", metadata={"Who": "me"}
        )
        assert put.size == 7
        assert put.etag == hashlib.md5(b"one two").hexdigest()
        found = objects.head(bucket, "a/b")
        assert found is not None
        assert (found.bucket, found.key, found.size, found.etag) == (bucket, "a/b", 7, put.etag)
        assert (found.content_type, dict(found.metadata)) == ("text/x", {"who": "me"})
        # The same moment, in the same zone; S3 tells whole seconds, and a busy machine takes some.
        assert abs(found.modified - put.modified) < 60
        assert b"".join(objects.open(bucket, "a/b")) == b"one two"

    def test_what_is_not_there(self, objects: Objects, bucket: str) -> None:
        assert objects.head(bucket, "none") is None
        assert objects.head("no-such-bucket-here", "none") is None
        assert not objects.bucket_exists("no-such-bucket-here")
        assert objects.bucket_exists(bucket)
        with wrong("NoSuchKey"):
            objects.open(bucket, "none")
        with wrong("NoSuchBucket"):
            objects.open("no-such-bucket-here", "none")
        with wrong("NoSuchBucket"):
            objects.put("no-such-bucket-here", "a", [b"x"])
        with wrong("NoSuchBucket"):
            objects.list("no-such-bucket-here", "")
        with wrong("NoSuchBucket"):
            objects.delete("no-such-bucket-here", "a")
        objects.delete(bucket, "none")

    def test_a_bucket_is_made_once(self, objects: Objects, bucket: str) -> None:
        objects.put(bucket, "kept", [b"x"])
        objects.create_bucket(bucket)
        assert objects.head(bucket, "kept") is not None

    def test_an_empty_object(self, objects: Objects, bucket: str, tmp_path: Path) -> None:
        assert objects.put(bucket, "empty", []).size == 0
        assert list(objects.open(bucket, "empty")) == []
        objects.link(bucket, "empty", tmp_path / "empty")
        assert (tmp_path / "empty").read_bytes() == b""

    @pytest.mark.parametrize(
        ("start", "end", "wanted"),
        [
            (0, None, b"0123456789"),
            (3, None, b"3456789"),
            (3, 5, b"34"),
            (0, 1, b"0"),
            (8, 100, b"89"),
            (5, 5, b""),
            (10, None, b""),
            (50, 60, b""),
        ],
    )
    def test_a_part_is_read(
        self, objects: Objects, bucket: str, start: int, end: int | None, wanted: bytes
    ) -> None:
        objects.put(bucket, "digits", [b"0123456789"])
        assert b"".join(objects.open(bucket, "digits", start, end)) == wanted

    def test_awkward_keys(self, objects: Objects, bucket: str, tmp_path: Path) -> None:
        for key in AWKWARD_KEYS:
            objects.put(bucket, key, [key.encode()])
        assert [found.key for found in objects.list(bucket, "")] == sorted(
            AWKWARD_KEYS, key=lambda key: key.encode()
        )
        for key in AWKWARD_KEYS:
            assert b"".join(objects.open(bucket, key)) == key.encode()
            objects.delete(bucket, key)
        assert list(objects.list(bucket, "")) == []

    def test_a_key_of_1025_bytes_is_refused(self, objects: Objects, bucket: str) -> None:
        with wrong("KeyTooLongError"):
            objects.put(bucket, "ü" * 512 + "x", [b""])

    def test_a_listing_pages(self, objects: Objects, bucket: str) -> None:
        with ThreadPoolExecutor(8) as pool:
            keys = [f"p/{number:04d}" for number in range(1005)]
            list(pool.map(lambda key: objects.put(bucket, key, [b"x"]), keys))
        objects.put(bucket, "o", [b""])
        objects.put(bucket, "p", [b""])
        objects.put(bucket, "p0", [b""])
        assert [found.key for found in objects.list(bucket, "p/")] == keys
        assert [found.key for found in objects.list(bucket, "p/1")] == keys[1000:]

    def test_a_large_object(self, objects: Objects, bucket: str, tmp_path: Path) -> None:
        piece = os.urandom(1 << 20)
        put = objects.put(bucket, "large", (piece for _ in range(18)))
        assert put.size == 18 << 20
        objects.copy_to(bucket, "large", tmp_path / "deep" / "copy")
        assert (tmp_path / "deep" / "copy").read_bytes() == piece * 18
        assert b"".join(objects.open(bucket, "large", 5 << 20, (5 << 20) + 10)) == piece[:10]

    def test_files_go_in_and_out(self, objects: Objects, bucket: str, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"content")
        objects.put_file(bucket, "file", source, content_type="a/b")
        linked, copied = tmp_path / "in" / "linked", tmp_path / "in" / "copied"
        for _ in range(2):
            objects.link(bucket, "file", linked)
            objects.copy_to(bucket, "file", copied)
        assert linked.read_bytes() == copied.read_bytes() == b"content"
        assert copied.stat().st_mode & 0o777 == 0o644
        copied.write_bytes(b"changed")
        assert b"".join(objects.open(bucket, "file")) == b"content"
        assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["copied", "linked"]
        with wrong("NoSuchKey"):
            objects.link(bucket, "none", tmp_path / "none")
        assert not (tmp_path / "none").exists()

    def test_a_link_outlives_its_object(
        self, objects: Objects, bucket: str, tmp_path: Path
    ) -> None:
        objects.put(bucket, "a", [b"old"])
        objects.link(bucket, "a", tmp_path / "a")
        objects.put(bucket, "a", [b"new"])
        assert (tmp_path / "a").read_bytes() == b"old"
        objects.link(bucket, "a", tmp_path / "a")
        objects.delete(bucket, "a")
        assert (tmp_path / "a").read_bytes() == b"new"

    def test_a_failed_put_changes_nothing(self, objects: Objects, bucket: str) -> None:
        objects.put(bucket, "a", [b"old"])

        def broken() -> Iterator[bytes]:
            yield b"x" * (9 << 20)
            yield b"x" * (9 << 20)
            raise RuntimeError("the source broke")

        with pytest.raises(RuntimeError, match="the source broke"):
            objects.put(bucket, "a", broken())
        assert b"".join(objects.open(bucket, "a")) == b"old"

    def test_a_reader_sees_one_version(self, objects: Objects, bucket: str) -> None:
        size = 2 << 20
        objects.put(bucket, "a", [b"a" * size])
        reading = objects.open(bucket, "a")
        first = next(reading)
        objects.put(bucket, "a", [b"b" * size])
        assert first + b"".join(reading) == b"a" * size

    def test_concurrent_writers_of_one_key(
        self, objects: Objects, bucket: str, tmp_path: Path
    ) -> None:
        objects.put(bucket, "one", [b"start"])
        ended = threading.Event()

        def read() -> None:
            count = 0
            while not ended.is_set():
                content = b"".join(objects.open(bucket, "one"))
                assert content == b"start" or len(set(content)) == 1
                objects.link(bucket, "one", tmp_path / f"{count}")
                count += 1

        with ThreadPoolExecutor(10) as pool:
            readers = [pool.submit(read) for _ in range(1)]
            writers = [
                pool.submit(objects.put, bucket, "one", [bytes([65 + n % 26]) * 100_000])
                for n in range(32)
            ]
            try:
                puts = [writer.result() for writer in writers]
            finally:
                ended.set()
            for reader in readers:
                reader.result()
        found = objects.head(bucket, "one")
        assert found is not None
        assert found.etag in {put.etag for put in puts}
