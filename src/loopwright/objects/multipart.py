"""Operations of uploads in parts."""

from collections.abc import AsyncIterator
from typing import Any, Final

from loopwright.objects.attributes import checksum_headers, encryption_headers, read_attributes
from loopwright.objects.call import Call, moment, quoted, url_encoded
from loopwright.objects.checksums import (
    COMPOSITE_ONLY,
    FULL_OBJECT_ONLY,
    HEADER_START,
    NOT_VALUES,
    algorithm_of,
    as_text,
    member_of,
    new_hasher,
)
from loopwright.objects.conditions import bare_etag, read_copy_range, write_conditions
from loopwright.objects.files import Reading
from loopwright.objects.intake import NUMBER, Hop
from loopwright.objects.names import invalid_argument
from loopwright.objects.tables import Stored
from loopwright.objects.uploads import PART_NUMBER_MAX, Upload, Wanted, Whole
from loopwright.objects.writes import check_source, receive, settle, source_place
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Response
from loopwright.wire.sigv4 import Signed


def create_multipart_upload(call: Call) -> Response:
    attributes = read_attributes(call.headers)
    algorithm = call.headers.get("x-amz-checksum-algorithm", "").upper()
    kind = _checksum_type(call, algorithm)
    upload = call.objects.uploads.begin((call.bucket, call.key), attributes, algorithm, kind)
    response = call.reply({"Bucket": call.bucket, "Key": call.key, "UploadId": upload})
    response.headers |= encryption_headers(attributes)
    if algorithm:
        response.headers["x-amz-checksum-algorithm"] = algorithm
        response.headers["x-amz-checksum-type"] = kind
    return response


def _checksum_type(call: Call, algorithm: str) -> str:
    """How the parts' checksums become the object's.

    Raises:
        ApiError: `InvalidRequest`.
    """
    given = call.headers.get("x-amz-checksum-type", "").upper()
    if not algorithm:
        if given:
            raise ApiError(
                "InvalidRequest",
                "x-amz-checksum-type needs x-amz-checksum-algorithm beside it.",
                400,
            )
        return ""
    new_hasher(algorithm)
    kind = given or ("FULL_OBJECT" if algorithm in FULL_OBJECT_ONLY else "COMPOSITE")
    refused = FULL_OBJECT_ONLY if kind == "COMPOSITE" else COMPOSITE_ONLY
    if kind not in ("COMPOSITE", "FULL_OBJECT") or algorithm in refused:
        raise ApiError(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm.lower()} algorithm.",
            400,
        )
    return kind


async def upload_part(call: Call, signed: Signed, body: AsyncIterator[bytes], hop: Hop) -> Response:
    number, upload_id = part_number(call), call.request.arguments["uploadId"]
    writing, intake, last = await receive(call, signed, body, hop)

    def finish() -> Response:
        try:
            intake.feed(last)
            checksums = intake.finish()
            upload = call.objects.uploads.get(call.bucket, call.key, upload_id)
            _check_algorithm(upload, checksums)
            place = (call.bucket, call.key, upload_id)
            etag = call.objects.uploads.add_part(place, number, writing, checksums)
        finally:
            writing.discard()
        headers = {"ETag": quoted(etag)} | encryption_headers(upload.attributes)
        return Response(200, headers | checksum_headers(checksums, ""))

    return await settle(call, writing, finish)


def _check_algorithm(upload: Upload, checksums: dict[str, str]) -> None:
    """A part's checksum must be of the upload's algorithm; uploads without one take any."""
    if upload.algorithm and checksums and upload.algorithm not in checksums:
        raise ApiError(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {upload.algorithm.lower()}, "
            f"actual checksum Type: {next(iter(checksums)).lower()}",
            400,
        )


def part_number(call: Call) -> int:
    """The part's number.

    Raises:
        ApiError: `InvalidArgument`.
    """
    text = call.request.arguments["partNumber"]
    if not NUMBER.fullmatch(text) or not 1 <= int(text) <= PART_NUMBER_MAX:
        raise invalid_argument(
            "partNumber",
            text,
            f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive",
        )
    return int(text)


def upload_part_copy(call: Call) -> Response:
    number, upload_id = part_number(call), call.request.arguments["uploadId"]
    upload = call.objects.uploads.get(call.bucket, call.key, upload_id)
    text = call.headers.get("x-amz-copy-source-range")

    def once(source: Stored) -> tuple[str, dict[str, str]]:
        check_source(call, source)
        span = (0, source.size) if text is None else read_copy_range(text, source.size)
        return _copy_part(call, upload, number, source, span)

    etag, checksums = call.objects.with_content(*source_place(call), once)[1]
    result: dict[str, Any] = {member_of(name): value for name, value in checksums.items()}
    parts = call.objects.uploads.parts(upload_id, number - 1, 1)
    modified = parts[0].modified if parts else upload.created
    result |= {"ETag": quoted(etag), "LastModified": moment(modified)}
    return call.reply({"CopyPartResult": result})


def _copy_part(
    call: Call, upload: Upload, number: int, source: Stored, span: tuple[int, int]
) -> tuple[str, dict[str, str]]:
    """Copy the bytes `span` of a source to a part; returns its ETag and checksums."""
    hasher = new_hasher(upload.algorithm) if upload.algorithm else None
    file = call.objects.files.open(source.file)
    writing = call.objects.files.begin()
    try:
        for piece in Reading(file, span[0], span[1] - span[0]):
            writing.write(piece)
            if hasher is not None:
                hasher.update(piece)
        checksums = {} if hasher is None else {upload.algorithm: as_text(hasher.digest())}
        place = (call.bucket, call.key, upload.id)
        return call.objects.uploads.add_part(place, number, writing, checksums), checksums
    finally:
        writing.discard()


def complete_multipart_upload(call: Call) -> Response:
    named = call.params.get("MultipartUpload", {}).get("Parts", [])
    if not named:
        raise ApiError("MalformedXML", "You must specify at least one part", 400)
    size = call.headers.get("x-amz-mp-object-size")
    if size is not None and not NUMBER.fullmatch(size):
        raise invalid_argument("x-amz-mp-object-size", size, "It must be a number of bytes.")
    whole = Whole(
        {
            algorithm_of(name): text
            for name, text in call.headers.items()
            if name.startswith(HEADER_START) and name not in NOT_VALUES
        },
        None if size is None else int(size),
        call.headers.get("x-amz-checksum-type", "").upper(),
    )
    place = (call.bucket, call.key, call.request.arguments["uploadId"])
    wanted = [_wanted(part) for part in named]
    answer = call.objects.uploads.complete(place, wanted, write_conditions(call.headers), whole)
    result = {member_of(name): text for name, text in answer["checksums"].items()}
    if result:
        result["ChecksumType"] = answer["checksum_type"]
    host = call.headers.get("host", "localhost")
    result |= {
        "Location": f"http://{host}/{url_encoded(call.bucket)}/{url_encoded(call.key)}",
        "Bucket": call.bucket,
        "Key": call.key,
        "ETag": quoted(answer["etag"]),
    }
    return call.reply(result)


def _wanted(part: dict[str, Any]) -> Wanted:
    if "PartNumber" not in part or "ETag" not in part:
        raise ApiError("MalformedXML", "Every part needs a PartNumber and an ETag.", 400)
    start = member_of("")
    checksums = {name.removeprefix(start): part[name] for name in part if name.startswith(start)}
    return Wanted(int(part["PartNumber"]), bare_etag(part["ETag"]), checksums)


def abort_multipart_upload(call: Call) -> Response:
    call.objects.uploads.abort(call.bucket, call.key, call.request.arguments["uploadId"])
    return Response(204)


OPERATIONS: Final = {
    "CreateMultipartUpload": create_multipart_upload,
    "UploadPartCopy": upload_part_copy,
    "CompleteMultipartUpload": complete_multipart_upload,
    "AbortMultipartUpload": abort_multipart_upload,
}
BODY_OPERATIONS: Final = {"UploadPart": upload_part}
