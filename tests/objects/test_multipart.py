"""Uploads in parts: every step, its refusals, and the answer that was lost."""

import hashlib
import os
from typing import Any

import pytest

from tests.objects.serving import send
from tests.objects.test_face import refused

FIVE = 5 << 20


def begun(s3: Any, bucket: str, key: str = "up", **more: Any) -> dict[str, str]:
    """Where a new upload goes."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]
    return {"Bucket": bucket, "Key": key, "UploadId": upload}


def part(s3: Any, place: dict[str, str], number: int, body: bytes) -> dict[str, Any]:
    answer = s3.upload_part(PartNumber=number, Body=body, **place)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def test_parts_become_one_object(s3: Any, bucket: str) -> None:
    place = begun(s3, bucket, ContentType="a/b", Metadata={"k": "v"}, Tagging="t=u")
    first, second = os.urandom(FIVE), os.urandom(FIVE)
    parts = [part(s3, place, 7, first), part(s3, place, 9, b"replaced")]
    parts[1] = part(s3, place, 9, second)
    parts.append(part(s3, place, 10_000, b"end"))
    part(s3, place, 8, b"left out")
    wanted = {"Parts": parts}
    digests = [hashlib.md5(body).digest() for body in (first, second, b"end")]
    etag = f'"{hashlib.md5(b"".join(digests)).hexdigest()}-3"'
    for _ in range(2):
        # The second time is that of a client that lost the first answer.
        done = s3.complete_multipart_upload(MultipartUpload=wanted, **place)
        assert done["ETag"] == etag
    found = s3.get_object(Bucket=bucket, Key="up")
    assert found["Body"].read() == first + second + b"end"
    assert (found["ContentType"], found["Metadata"], found["TagCount"]) == ("a/b", {"k": "v"}, 1)
    refused("NoSuchUpload", s3.list_parts, **place)
    refused("NoSuchUpload", s3.upload_part, PartNumber=1, Body=b"", **place)
    refused("NoSuchUpload", s3.abort_multipart_upload, **place)


def test_completions_that_are_refused(s3: Any, bucket: str) -> None:
    place = begun(s3, bucket)
    big, small, last = (
        part(s3, place, 1, bytes(FIVE)),
        part(s3, place, 2, b"small"),
        part(s3, place, 3, b"last"),
    )

    def complete(code: str, *parts: dict[str, Any], **more: Any) -> None:
        wanted = {"Parts": list(parts)}
        refused(code, s3.complete_multipart_upload, MultipartUpload=wanted, **place, **more)

    complete("InvalidPart", big | {"ETag": '"other"'})
    complete("InvalidPart", {"PartNumber": 4, "ETag": big["ETag"]})
    complete("InvalidPartOrder", last, big)
    complete("EntityTooSmall", big, small, last)
    complete("MalformedXML")
    complete("InvalidRequest", big, last, MpuObjectSize=7)
    s3.put_object(Bucket=bucket, Key="up", Body=b"here first")
    complete("PreconditionFailed", big, last, IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="up")["Body"].read() == b"here first"
    assert len(s3.list_parts(**place)["Parts"]) == 3
    s3.abort_multipart_upload(**place)


def test_parts_that_are_refused(s3: Any, bucket: str) -> None:
    place = begun(s3, bucket)
    for number in (0, 10_001):
        refused("InvalidArgument", s3.upload_part, PartNumber=number, Body=b"", **place)
    s3.abort_multipart_upload(**place)
    refused("NoSuchUpload", s3.upload_part, PartNumber=1, Body=b"", **place)
    other = place | {"UploadId": "none"}
    refused("NoSuchUpload", s3.list_parts, **other)


def test_listings_of_uploads_and_parts(s3: Any, bucket: str) -> None:
    places = [begun(s3, bucket, key) for key in ("a", "a", "d/x", "d/y", "e")]
    shown: list[str] = []
    markers: dict[str, str] = {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", MaxUploads=1, **markers)
        shown += [upload["UploadId"] for upload in page.get("Uploads", [])]
        shown += [group["Prefix"] for group in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            break
        markers = {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextUploadIdMarker"):
            markers["UploadIdMarker"] = page["NextUploadIdMarker"]
    assert shown == [places[0]["UploadId"], places[1]["UploadId"], "d/", places[4]["UploadId"]]
    prefixed = s3.list_multipart_uploads(Bucket=bucket, Prefix="d/")["Uploads"]
    assert [upload["Key"] for upload in prefixed] == ["d/x", "d/y"]
    for number in (3, 1, 2):
        part(s3, places[0], number, b"x" * number)
    pages = s3.get_paginator("list_parts").paginate(**places[0], PaginationConfig={"PageSize": 1})
    sizes = [found["Size"] for page in pages for found in page.get("Parts", [])]
    assert sizes == [1, 2, 3]
    for place in places:
        s3.abort_multipart_upload(**place)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_parts_are_copied(s3: Any, bucket: str) -> None:
    content = os.urandom(FIVE + 100)
    s3.put_object(Bucket=bucket, Key="source", Body=content)
    place = begun(s3, bucket)
    source = {"Bucket": bucket, "Key": "source"}
    parts = []
    for number, span in enumerate((f"bytes=0-{FIVE - 1}", f"bytes={FIVE}-{FIVE + 99}"), 1):
        answer = s3.upload_part_copy(
            PartNumber=number, CopySource=source, CopySourceRange=span, **place
        )
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    refused(
        "InvalidArgument",
        s3.upload_part_copy,
        PartNumber=3,
        CopySource=source,
        CopySourceRange=f"bytes=0-{FIVE + 100}",
        **place,
    )
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **place)
    assert s3.get_object(Bucket=bucket, Key="up")["Body"].read() == content


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_checksum_of_the_whole(url: str, s3: Any, bucket: str, algorithm: str) -> None:
    kind = {"ChecksumAlgorithm": algorithm, "ChecksumType": "FULL_OBJECT"}
    place = begun(s3, bucket, **kind)
    # By hand, since botocore without its C part knows CRC32 only.
    path = f"/{bucket}/up?partNumber=1&uploadId={place['UploadId']}"
    etag = send(url, "PUT", path, b"checked" * 1000).headers["etag"]
    parts = [{"PartNumber": 1, "ETag": etag}]
    done = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **place)
    once = s3.get_object_attributes(Bucket=bucket, Key="up", ObjectAttributes=["Checksum"])
    s3.copy_object(
        Bucket=bucket, Key="copy", CopySource=f"{bucket}/up", ChecksumAlgorithm=algorithm
    )
    again = s3.get_object_attributes(Bucket=bucket, Key="copy", ObjectAttributes=["Checksum"])
    assert once["Checksum"] == again["Checksum"]
    assert done[f"Checksum{algorithm}"] == once["Checksum"][f"Checksum{algorithm}"]
    sha = {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}
    refused("InvalidRequest", begun, s3=s3, bucket=bucket, **sha)


def test_a_wrong_checksum_of_the_whole(s3: Any, bucket: str) -> None:
    place = begun(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    wanted = {"Parts": [part(s3, place, 1, b"content")]}
    refused(
        "BadDigest",
        s3.complete_multipart_upload,
        MultipartUpload=wanted,
        ChecksumCRC32="AAAAAA==",
        **place,
    )
    s3.abort_multipart_upload(**place)
