"""What happens between two steps of one request, with the other request put exactly there."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from loopwright.objects.face import S3Face
from loopwright.objects.rows import NO_CONDITIONS
from loopwright.objects.store import LocalObjects
from loopwright.objects.tables import Attributes, Stored
from loopwright.objects.uploads import Wanted, Whole
from loopwright.testing.objects import wrong
from loopwright.wire.http import Request, Response
from loopwright.wire.sigv4 import UNSIGNED, Signed

SIGNED = Signed("AKIA", "us-east-1", "s3", UNSIGNED, b"", "", "", "")
Step = Callable[..., Any]


def put_part(local: LocalObjects, place: tuple[str, str, str], body: bytes) -> None:
    writing = local.files.begin()
    writing.write(body)
    local.uploads.add_part(place, 1, writing, {})


def complete(local: LocalObjects, place: tuple[str, str, str], body: bytes) -> dict[str, Any]:
    wanted = [Wanted(1, hashlib.md5(body).hexdigest(), {})]
    return local.uploads.complete(place, wanted, NO_CONDITIONS, Whole({}))


@pytest.fixture
def place(local: LocalObjects, bucket: str) -> tuple[str, str, str]:
    """An upload with one part."""
    upload = local.uploads.begin((bucket, "up"), Attributes(), "", "")
    put_part(local, (bucket, "up", upload), b"first")
    return bucket, "up", upload


def between(monkeypatch: pytest.MonkeyPatch, local: LocalObjects, step: Step) -> None:
    """Have a step happen once, after a completion has joined its parts and before its commit."""
    join = local.uploads._join

    def joined(*arguments: Any) -> Any:
        found = join(*arguments)
        monkeypatch.undo()
        step()
        return found

    monkeypatch.setattr(local.uploads, "_join", joined)


def count_of_contents(local: LocalObjects) -> int:
    return len([path for path in local.files.folder.glob("[0-9a-f][0-9a-f]/*") if path.is_file()])


def test_two_completions_at_once(
    local: LocalObjects, place: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both get the same answer, and one content stays."""
    before = count_of_contents(local)
    answers: list[dict[str, Any]] = []
    between(monkeypatch, local, lambda: answers.append(complete(local, place, b"first")))
    answers.append(complete(local, place, b"first"))
    assert answers[0] == answers[1]
    assert b"".join(local.open(*place[:2])) == b"first"
    assert count_of_contents(local) == before


def test_a_part_is_replaced_during_a_completion(
    local: LocalObjects, place: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = count_of_contents(local)
    between(monkeypatch, local, lambda: put_part(local, place, b"second"))
    with wrong("InvalidPart"):
        complete(local, place, b"first")
    assert local.head(*place[:2]) is None
    assert count_of_contents(local) == before
    complete(local, place, b"second")
    assert b"".join(local.open(*place[:2])) == b"second"


def test_an_upload_is_given_up_during_a_completion(
    local: LocalObjects, place: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    between(monkeypatch, local, lambda: local.uploads.abort(*place))
    with wrong("NoSuchUpload"):
        complete(local, place, b"first")
    assert local.head(*place[:2]) is None


def test_a_bucket_goes_during_a_put(local: LocalObjects) -> None:
    local.create_bucket("short-lived")
    before = count_of_contents(local)

    def chunks() -> Any:
        yield b"content"
        local.buckets.delete("short-lived")

    with wrong("NoSuchBucket"):
        local.put("short-lived", "a", chunks())
    assert count_of_contents(local) == before


def answered(local: LocalObjects, path: str, body: AsyncIterator[bytes]) -> Response:
    """A PUT straight to a face; returns once its threads have ended all they had to do."""
    face = S3Face(local)
    try:
        return asyncio.run(face(Request("PUT", path), SIGNED, body))
    finally:
        face.close()


@pytest.mark.parametrize("failure", [RuntimeError, asyncio.CancelledError])
def test_a_body_that_breaks_leaves_nothing(
    local: LocalObjects, bucket: str, failure: type[BaseException]
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2 << 20)
        raise failure

    before = count_of_contents(local)
    with pytest.raises(failure):
        answered(local, f"/{bucket}/a", broken())
    assert local.head(bucket, "a") is None
    assert [path.name for path in local.files.folder.glob("incoming/*/*")] == ["lock"]
    assert count_of_contents(local) == before


def test_a_client_that_leaves_during_the_commit_undoes_nothing(
    local: LocalObjects, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its place and its row the content must not be taken away."""
    commit = local.commit
    reached, go_on = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Stored:
        reached.set()
        assert go_on.wait(20)
        return commit(*arguments)

    monkeypatch.setattr(local, "commit", slow)

    async def whole() -> AsyncIterator[bytes]:
        yield b"content"

    async def leave(face: S3Face) -> None:
        task = asyncio.ensure_future(face(Request("PUT", f"/{bucket}/a"), SIGNED, whole()))
        await asyncio.to_thread(reached.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    face = S3Face(local)
    asyncio.run(leave(face))
    face.close()
    assert b"".join(local.open(bucket, "a")) == b"content"
