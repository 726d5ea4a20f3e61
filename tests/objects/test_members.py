"""No member of a request is ignored by accident: honoured, refused by name, or listed here.

The headers and query arguments that botocore's model gives to the operations that work are pinned
with what is done about each. One that a later model adds fails the first test until it is decided.
"""

from typing import Any, Final

import pytest

from loopwright.objects.attributes import KEPT
from loopwright.objects.checksums import ALGORITHMS, header_of
from loopwright.objects.face import BODY_OPERATIONS, OPERATIONS
from loopwright.objects.store import LocalObjects
from loopwright.wire.services import operation
from tests.objects.serving import send
from tests.objects.test_face import refused

# Refused with any value but the one that asks for what is the case already.
REFUSED: Final = {
    "x-amz-acl": ("public-read", "private"),
    "x-amz-bucket-namespace": ("account-regional", "global"),
    "x-amz-bucket-object-lock-enabled": ("true", "false"),
    "x-amz-checksum-xxhash128": ("AAAA", None),
    "x-amz-checksum-xxhash3": ("AAAA", None),
    "x-amz-checksum-xxhash64": ("AAAA", None),
    "x-amz-grant-full-control": ("id=1", None),
    "x-amz-grant-read": ("id=1", None),
    "x-amz-grant-read-acp": ("id=1", None),
    "x-amz-grant-write": ("id=1", None),
    "x-amz-grant-write-acp": ("id=1", None),
    "x-amz-if-match-initiated-time": ("Thu, 01 Jan 2026 00:00:00 GMT", None),
    "x-amz-if-match-last-modified-time": ("Thu, 01 Jan 2026 00:00:00 GMT", None),
    "x-amz-if-match-size": ("7", None),
    "x-amz-object-lock-event-hold": ("ON", None),
    "x-amz-object-lock-event-hold-duration-days": ("1", None),
    "x-amz-object-lock-event-hold-duration-years": ("1", None),
    "x-amz-object-lock-legal-hold": ("ON", None),
    "x-amz-object-lock-mode": ("GOVERNANCE", None),
    "x-amz-object-lock-retain-until-date": ("2030-01-01T00:00:00Z", None),
    "x-amz-object-ownership": ("ObjectWriter", "BucketOwnerEnforced"),
    "x-amz-server-side-encryption-customer-algorithm": ("AES256", None),
    "x-amz-server-side-encryption-customer-key": ("k", None),
    "x-amz-server-side-encryption-customer-key-md5": ("k", None),
    "x-amz-copy-source-server-side-encryption-customer-algorithm": ("AES256", None),
    "x-amz-copy-source-server-side-encryption-customer-key": ("k", None),
    "x-amz-copy-source-server-side-encryption-customer-key-md5": ("k", None),
    "x-amz-write-offset-bytes": ("0", None),
}
# There is nothing that they could change: no paying requesters, locks, MFA, archives, annotations.
WITHOUT_EFFECT: Final = frozenset(
    "x-amz-request-payer x-amz-bypass-governance-retention x-amz-mfa "
    "x-amz-optional-object-attributes x-amz-object-annotation-directive "
    "version-id-marker".split()
)
HONOURED: Final = frozenset(
    "bucket-region content-encoding content-length content-md5 continuation-token delimiter "
    "encoding-type fetch-owner id if-match if-modified-since if-none-match if-unmodified-since "
    "key-marker marker max-buckets max-keys max-parts max-uploads part-number-marker "
    "partnumber prefix range response-cache-control response-content-disposition "
    "response-content-encoding response-content-language response-content-type response-expires "
    "start-after upload-id-marker uploadid versionid x-amz-checksum-algorithm "
    "x-amz-checksum-mode x-amz-checksum-type x-amz-copy-source x-amz-copy-source-if-match "
    "x-amz-copy-source-if-modified-since x-amz-copy-source-if-none-match "
    "x-amz-copy-source-if-unmodified-since x-amz-copy-source-range x-amz-expected-bucket-owner "
    "x-amz-max-parts x-amz-meta- x-amz-metadata-directive x-amz-mp-object-size "
    "x-amz-object-attributes x-amz-part-number-marker x-amz-sdk-checksum-algorithm "
    "x-amz-source-expected-bucket-owner x-amz-tagging x-amz-tagging-directive".split()
)


def test_every_member_is_decided() -> None:
    decided = HONOURED | WITHOUT_EFFECT | REFUSED.keys()
    decided |= {name.lower() for name in KEPT} | {header_of(name) for name in ALGORITHMS}
    found = set()
    for name in OPERATIONS.keys() | BODY_OPERATIONS.keys():
        shape = operation("s3", name).input_shape
        for member_name, member in () if shape is None else shape.members.items():
            if member.serialization.get("location") in ("header", "headers", "querystring"):
                found.add(member.serialization.get("name", member_name).lower())
    assert sorted(found - decided) == []
    assert sorted(decided - found) == []


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused(url: str, local: LocalObjects, bucket: str, name: str) -> None:
    value, allowed = REFUSED[name]
    path = f"/{bucket}/a"
    for method in ("PUT", "DELETE"):
        local.put(bucket, "a", [b"kept"])
        if method == "DELETE" and name.startswith("x-amz-checksum-"):
            continue  # A deletion has no body that a checksum could speak of.
        reply = send(url, method, path, headers={name: value})
        assert reply.status in (400, 501), reply
        assert b"".join(local.open(bucket, "a")) == b"kept"
    if allowed is not None:
        assert send(url, "PUT", path, headers={name: allowed}).status == 200


def test_what_a_completion_expects(s3: Any, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "up"}
    place["UploadId"] = s3.create_multipart_upload(
        ChecksumAlgorithm="CRC32", ChecksumType="COMPOSITE", **place
    )["UploadId"]
    answer = s3.upload_part(PartNumber=1, Body=b"x", ChecksumAlgorithm="CRC32", **place)
    part = {"PartNumber": 1, "ETag": answer["ETag"]}

    def complete(code: str, part: dict[str, Any], **more: Any) -> None:
        wanted = {"Parts": [part]}
        refused(code, s3.complete_multipart_upload, MultipartUpload=wanted, **place, **more)

    complete("InvalidPart", part | {"ChecksumXXHASH64": "AAAA"})
    complete("InvalidPart", part | {"ChecksumSHA256": "AAAA"})
    complete("InvalidRequest", part, ChecksumXXHASH64="AAAA")
    complete("InvalidRequest", part, ChecksumType="FULL_OBJECT")
    s3.abort_multipart_upload(**place)


def test_an_announced_checksum_that_does_not_come(url: str, bucket: str) -> None:
    for more in ({}, {"x-amz-checksum-sha1": "AAAA"}):
        headers = {"x-amz-sdk-checksum-algorithm": "CRC32"} | more
        assert send(url, "PUT", f"/{bucket}/a", b"x", headers).code == "InvalidRequest"


def test_the_context_of_an_encryption_is_for_writers(s3: Any, bucket: str) -> None:
    about = {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": "e30="}
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"", **about)
    assert {name: put[name] for name in about} == about
    headers = s3.head_object(Bucket=bucket, Key="a")["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert "x-amz-server-side-encryption-context" not in headers
