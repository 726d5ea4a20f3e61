"""Operations that write, copy, tag and delete objects."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from loopwright.objects.attributes import (
    checksum_headers,
    encryption_headers,
    read_attributes,
)
from loopwright.objects.call import Call, moment, quoted
from loopwright.objects.checksums import as_text, member_of, new_hasher
from loopwright.objects.conditions import bare_etag, read_conditions, write_conditions
from loopwright.objects.files import PIECE_BYTES, Writing
from loopwright.objects.intake import Hop, Intake, pour
from loopwright.objects.names import (
    OBJECT_TAGS_MAX,
    invalid_argument,
    key_bytes,
    precondition_failed,
    read_tags,
    refuse_nul,
)
from loopwright.objects.reads import check_version
from loopwright.objects.rows import WriteConditions
from loopwright.objects.tables import Attributes, Stored
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Response
from loopwright.wire.sigv4 import Signed

COPY_BYTES_MAX: Final = 5 * 1024**3
DELETE_MAX: Final = 1000


async def put_object(call: Call, signed: Signed, body: AsyncIterator[bytes], hop: Hop) -> Response:
    key_bytes(call.key)
    attributes = read_attributes(call.headers)
    conditions = write_conditions(call.headers)
    writing, intake, last = await receive(call, signed, body, hop)

    def finish() -> Response:
        try:
            intake.feed(last)
            checksums = intake.finish()
            place = (call.bucket, call.key)
            stored = call.objects.commit(place, writing, attributes, checksums, conditions)
        finally:
            writing.discard()
        headers = {"ETag": quoted(stored.etag), "x-amz-object-size": str(stored.size)}
        headers |= encryption_headers(attributes)
        return Response(200, headers | checksum_headers(checksums, stored.checksum_type))

    return await settle(call, writing, finish)


async def settle(call: Call, writing: Writing, finish: Callable[[], Response]) -> Response:
    """Run the end of a write in a thread; a client that leaves meanwhile does not undo it.

    Nothing else may discard the content while `finish` runs: between its place and its row it
    would be taken from under the row.
    """
    future = call.executor.submit(finish)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        if future.cancelled():
            call.executor.submit(writing.discard)
        raise


async def receive(
    call: Call, signed: Signed, body: AsyncIterator[bytes], hop: Hop
) -> tuple[Writing, Intake, bytes]:
    """Write a body to a new content, all but its last piece.

    Raises:
        ApiError: `IncompleteBody` and others of `Intake`; nothing is left behind.
    """
    writing = call.objects.files.begin()
    try:
        intake = Intake(call.request, signed, writing)
        if intake.length is None or intake.length > PIECE_BYTES:
            # A long body is refused before it is sent; a short one is not worth the hop.
            await hop(call.objects.buckets.get, call.bucket)
        return writing, intake, await pour(body, intake, hop)
    except ApiError:
        await hop(writing.discard)  # Gone before the client hears of the refusal.
        raise
    except BaseException:
        # In a thread, since a write of this content may be under way there.
        call.executor.submit(writing.discard)
        raise


def source_place(call: Call) -> tuple[str, str]:
    """The bucket and key that `x-amz-copy-source` names.

    S3 decodes it as a form's value, so a plus sign is a space and `%2B` a plus sign: clients that
    leave one as it is get NoSuchKey there (aws-sdk-js#1821, aws-doc-sdk-examples#4781).

    Raises:
        ApiError: `InvalidArgument`, `NoSuchVersion`.
    """
    text = call.headers["x-amz-copy-source"]
    path, _, version = text.partition("?versionId=")
    if version not in ("", "null"):
        raise ApiError("NoSuchVersion", "The specified version does not exist.", 404)
    try:
        decoded = unquote_to_bytes(path.replace("+", " ")).decode()
    except UnicodeDecodeError:
        decoded = ""
    bucket, separator, key = decoded.removeprefix("/").partition("/")
    refuse_nul("x-amz-copy-source", bucket)
    if not separator or not key or bucket.startswith("arn:"):
        raise invalid_argument(
            "x-amz-copy-source",
            text,
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        )
    return bucket, key


def check_source(call: Call, source: Stored) -> None:
    """Refuse a source of which the copy's conditions do not hold.

    Raises:
        ApiError: `PreconditionFailed`.
    """
    conditions = read_conditions(call.headers, "x-amz-copy-source-")
    if not conditions.holds(source.etag, source.modified):
        raise precondition_failed("x-amz-copy-source-If-None-Match")


def copy_object(call: Call) -> Response:
    directives = [_directive(call, name) for name in ("metadata", "tagging")]
    key_bytes(call.key)
    given = read_attributes(call.headers)

    def once(source: Stored) -> Stored:
        check_source(call, source)
        return _copy(call, source, _merged(source, given, directives), directives)

    stored: Stored = call.objects.with_content(*source_place(call), once)[1]
    response = call.reply({"CopyObjectResult": copy_result(stored)})
    response.headers |= encryption_headers(stored.attributes)
    return response


def copy_result(stored: Stored) -> dict[str, Any]:
    result: dict[str, Any] = {member_of(name): text for name, text in stored.checksums.items()}
    return result | {"ETag": quoted(stored.etag), "LastModified": moment(stored.modified)}


def _directive(call: Call, subject: str) -> str:
    name = f"x-amz-{subject}-directive"
    value = call.headers.get(name, "COPY")
    if value not in ("COPY", "REPLACE"):
        raise invalid_argument(name, value, f"Unknown {subject} directive: COPY or REPLACE.")
    return value


def _merged(source: Stored, given: Attributes, directives: list[str]) -> Attributes:
    """The copy's attributes; storage class and encryption are never copied."""
    metadata_directive, tagging_directive = directives
    tags = source.attributes.tags if tagging_directive == "COPY" else given.tags
    if metadata_directive == "REPLACE":
        return Attributes(given.headers, given.metadata, tags)
    own = {k: v for k, v in given.headers.items() if k.startswith("x-amz-")}
    kept = {k: v for k, v in source.attributes.headers.items() if not k.startswith("x-amz-")}
    return Attributes(kept | own, source.attributes.metadata, tags)


def _copy(call: Call, source: Stored, attributes: Attributes, directives: list[str]) -> Stored:
    """Copy a content: by a second name for it, or by reading it where a new hash is due."""
    place = (call.bucket, call.key)
    own = {"x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-tagging"}
    is_same_place = place == (source.bucket, source.key)
    if is_same_place and directives == ["COPY", "COPY"] and not own & call.headers.keys():
        raise ApiError(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself "
            "without changing the object's metadata, storage class, website redirect "
            "location or encryption attributes.",
            400,
        )
    if source.size > COPY_BYTES_MAX:
        raise ApiError(
            "InvalidRequest",
            "The specified copy source is larger than the maximum allowable size for a copy "
            f"source: {COPY_BYTES_MAX}",
            400,
        )
    conditions = write_conditions(call.headers)
    algorithm = call.headers.get("x-amz-checksum-algorithm", "").upper()
    is_same = not source.parts and (not algorithm or algorithm in source.checksums)
    if is_same:
        return call.objects.duplicate(source, place, attributes, conditions)
    return _rewrite(call, source, attributes, conditions)


def _rewrite(
    call: Call, source: Stored, attributes: Attributes, conditions: WriteConditions
) -> Stored:
    """Copy by reading: the copy of an upload in parts is one part with its own MD5."""
    default = next(iter(source.checksums), "")
    algorithm = call.headers.get("x-amz-checksum-algorithm", default).upper()
    hasher = new_hasher(algorithm) if algorithm else None
    with call.objects.files.open(source.file) as file:
        writing = call.objects.files.begin()
        try:
            while piece := file.read(PIECE_BYTES):
                writing.write(piece)
                if hasher is not None:
                    hasher.update(piece)
            checksums = {} if hasher is None else {algorithm: as_text(hasher.digest())}
            place = (call.bucket, call.key)
            return call.objects.commit(place, writing, attributes, checksums, conditions)
        finally:
            writing.discard()


def delete_object(call: Call) -> Response:
    check_version(call)
    call.objects.delete_if(call.bucket, call.key, write_conditions(call.headers))
    return Response(204)


def delete_objects(call: Call) -> Response:
    wanted = call.params.get("Delete", {})
    named = wanted.get("Objects", [])
    if not 1 <= len(named) <= DELETE_MAX:
        raise ApiError(
            "MalformedXML", f"A deletion names 1 to {DELETE_MAX} objects; not {len(named)}.", 400
        )
    call.objects.buckets.get(call.bucket)
    asked = [_conditions_of(item) for item in named]
    places = [
        (item.get("Key", ""), conditions)
        for item, conditions in zip(named, asked, strict=True)
        if isinstance(conditions, WriteConditions)
    ]
    outcomes = iter(call.objects.delete_many(call.bucket, places))
    deleted: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for item, conditions in zip(named, asked, strict=True):
        refusal = conditions if isinstance(conditions, ApiError) else next(outcomes)
        if refusal is None:
            deleted.append({"Key": item.get("Key", "")})
        else:
            code, message = refusal.code, refusal.message
            errors.append({"Key": item.get("Key", ""), "Code": code, "Message": message})
    if wanted.get("Quiet"):
        deleted = []
    return call.reply({"Deleted": deleted, "Errors": errors})


def _conditions_of(item: dict[str, Any]) -> WriteConditions | ApiError:
    """The conditions of one deletion of many; a refusal is its own result and stops nothing."""
    if item.get("VersionId", "null") != "null":
        return ApiError("NoSuchVersion", "The specified version does not exist.")
    for name in ("LastModifiedTime", "Size"):
        if name in item:
            return ApiError("NotImplemented", f"The condition {name} is not implemented.")
    etag = item.get("ETag")
    return WriteConditions(bare_etag(etag) if etag else None)


def put_object_tagging(call: Call) -> Response:
    check_version(call)
    pairs = ((tag["Key"], tag["Value"]) for tag in tag_set(call))
    call.objects.set_tags(call.bucket, call.key, read_tags(pairs, OBJECT_TAGS_MAX))
    return Response(200)


def tag_set(call: Call) -> list[dict[str, str]]:
    """The tags of the body.

    Raises:
        ApiError: `MalformedXML`.
    """
    tags: list[dict[str, str]] | None = call.params.get("Tagging", {}).get("TagSet")
    if tags is None or any({"Key", "Value"} - tag.keys() for tag in tags):
        raise ApiError("MalformedXML", "The body must be <Tagging> with a <TagSet> of tags.", 400)
    return tags


def delete_object_tagging(call: Call) -> Response:
    check_version(call)
    call.objects.set_tags(call.bucket, call.key, {})
    return Response(204)


OPERATIONS: Final = {
    "CopyObject": copy_object,
    "DeleteObject": delete_object,
    "DeleteObjects": delete_objects,
    "PutObjectTagging": put_object_tagging,
    "DeleteObjectTagging": delete_object_tagging,
}
BODY_OPERATIONS: Final = {"PutObject": put_object}
