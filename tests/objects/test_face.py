"""The face through boto3 in a real server: what the AWS CLI and the SDKs do all day."""

import hashlib
import os
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from loopwright.objects.routes import find_route
from loopwright.objects.store import LocalObjects
from loopwright.testing.objects import wrong
from loopwright.wire.http import Request
from tests.objects.serving import Reply, bare, client, send

KEYS = [
    "a b/c+d?e#f%g",
    "ünï/ключ/鍵/🗝",
    "prefix",
    "prefix/",
    "prefix/file",
    "n" * 900,
    "../../etc/passwd",
    "..",
    "x/../../y",
    "//a//",
    "tilde~*'()!",
    "\x01control\r\n",
]


def refused(code: str, call: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """The response of a call that must fail with this code."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response: dict[str, Any] = caught.value.response
    assert response["Error"]["Code"] == code
    return response


def got(s3: Any, **arguments: Any) -> dict[str, Any]:
    """The response of GetObject with its body read as `Content`: one unread keeps a socket."""
    response: dict[str, Any] = s3.get_object(**arguments)
    with response["Body"] as body:
        response["Content"] = body.read()
    return response


def test_buckets(s3: Any, local: LocalObjects) -> None:
    refused("404", s3.head_bucket, Bucket="face-bucket")
    s3.create_bucket(Bucket="face-bucket")
    s3.create_bucket(Bucket="face-bucket")
    s3.head_bucket(Bucket="face-bucket", ExpectedBucketOwner=local.account)
    refused("403", s3.head_bucket, Bucket="face-bucket", ExpectedBucketOwner="999999999999")
    refused("404", s3.head_bucket, Bucket="face-none", ExpectedBucketOwner="999999999999")
    assert "face-bucket" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_location(Bucket="face-bucket")["LocationConstraint"] is None
    s3.put_object(Bucket="face-bucket", Key="a", Body=b"")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket="face-bucket")
    s3.delete_object(Bucket="face-bucket", Key="a")
    s3.create_multipart_upload(Bucket="face-bucket", Key="a")
    s3.delete_bucket(Bucket="face-bucket")
    refused("NoSuchBucket", s3.delete_bucket, Bucket="face-bucket")
    refused("InvalidBucketName", s3.create_bucket, Bucket="Face_Bucket")


def test_a_bucket_of_another_region(s3: Any) -> None:
    where = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="face-europe", CreateBucketConfiguration=where)
    assert s3.get_bucket_location(Bucket="face-europe")["LocationConstraint"] == "eu-west-1"
    refused(
        "BucketAlreadyOwnedByYou",
        s3.create_bucket,
        Bucket="face-europe",
        CreateBucketConfiguration=where,
    )
    s3.delete_bucket(Bucket="face-europe")
    where = {"LocationConstraint": "x" * 70}
    refused(
        "InvalidLocationConstraint",
        s3.create_bucket,
        Bucket="face-nowhere",
        CreateBucketConfiguration=where,
    )


def test_an_object_and_all_that_is_said_about_it(s3: Any, bucket: str) -> None:
    about = {
        "ContentType": "text/plain",
        "ContentEncoding": "gzip",
        "ContentDisposition": 'attachment; filename="a.txt"',
        "ContentLanguage": "de",
        "CacheControl": "max-age=60",
        "Metadata": {"who": "me", "where": "here and there"},
        "StorageClass": "STANDARD_IA",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key/1",
    }
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"hello", Tagging="k=v&l=w%20x", **about)
    assert put["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"]) == ("aws:kms", "key/1")
    for found in (got(s3, Bucket=bucket, Key="a"), s3.head_object(Bucket=bucket, Key="a")):
        assert {name: found[name] for name in about} == about
        assert (found["ContentLength"], found["ETag"], found["TagCount"]) == (5, put["ETag"], 2)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"hello"
    tags = s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"]
    assert tags == [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w x"}]
    overridden = got(
        s3, Bucket=bucket, Key="a", ResponseContentType="a/b", ResponseCacheControl="no-store"
    )
    assert (overridden["ContentType"], overridden["CacheControl"]) == ("a/b", "no-store")
    refused("404", s3.head_object, Bucket=bucket, Key="none")
    injected = {"ResponseContentType": "a/b\r\nset-cookie: c"}
    refused("InvalidArgument", s3.get_object, Bucket=bucket, Key="a", **injected)
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="none")
    refused("NoSuchBucket", s3.get_object, Bucket="face-none", Key="none")
    refused("NoSuchBucket", s3.put_object, Bucket="face-none", Key="none", Body=b"x" * 10**6)
    refused("NoSuchBucket", s3.put_object, Bucket="face-none", Key="none", Body=b"x" * 20 * 10**6)


def test_awkward_keys(s3: Any, bucket: str) -> None:
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in KEYS:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        s3.copy_object(Bucket=bucket, Key=f"copy/{key}", CopySource={"Bucket": bucket, "Key": key})
    listed = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted([*KEYS, *(f"copy/{key}" for key in KEYS)], key=str.encode)
    named = [{"Key": key} for key in listed if not key.endswith("\r\n")]
    assert s3.delete_objects(Bucket=bucket, Delete={"Objects": named})["Deleted"] == named


def test_paths_are_taken_as_sent(url: str, s3: Any, bucket: str) -> None:
    for path, key in (("../../up", "../../up"), ("a/./b/../c", "a/./b/../c"), ("%2e%2e/x", "../x")):
        assert send(url, "PUT", f"/{bucket}/{path}", b"x").status == 200
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == 1
    assert send(url, "PUT", f"/{bucket}/%ff%fe", b"x").code == "InvalidURI"


def test_a_large_file_goes_up_and_down(s3: Any, bucket: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(20 << 20))
    s3.upload_file(str(source), bucket, "large", ExtraArgs={"Metadata": {"a": "b"}})
    s3.download_file(bucket, "large", str(target))
    assert source.read_bytes() == target.read_bytes()
    found = s3.head_object(Bucket=bucket, Key="large")
    assert found["ETag"].endswith('-3"')
    assert found["Metadata"] == {"a": "b"}
    part = got(s3, Bucket=bucket, Key="large", PartNumber=3)
    assert part["Content"] == source.read_bytes()[16 << 20 :]
    assert part["PartsCount"] == 3
    refused("InvalidPartNumber", s3.get_object, Bucket=bucket, Key="large", PartNumber=4)
    config = TransferConfig(multipart_threshold=8 << 20)
    s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "copied", Config=config)
    assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == source.read_bytes()
    whole = s3.copy_object(Bucket=bucket, Key="whole", CopySource=f"{bucket}/large")
    assert whole["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(source.read_bytes()).hexdigest()}"'
    shown = s3.get_object_attributes(
        Bucket=bucket, Key="large", ObjectAttributes=["ObjectSize", "ObjectParts", "Checksum"]
    )
    assert shown["ObjectSize"] == 20 << 20
    assert [part["Size"] for part in shown["ObjectParts"]["Parts"]] == [8 << 20, 8 << 20, 4 << 20]
    assert shown["Checksum"]["ChecksumType"] == "COMPOSITE"


@pytest.mark.parametrize(
    ("text", "wanted", "span"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=-50", b"0123456789", "bytes 0-9/10"),
        ("bytes=5-500", b"56789", "bytes 5-9/10"),
    ],
)
def test_ranges(s3: Any, bucket: str, text: str, wanted: bytes, span: str) -> None:
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    found = got(s3, Bucket=bucket, Key="digits", Range=text)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (found["Content"], found["ContentRange"]) == (wanted, span)


def test_ranges_that_select_nothing(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    for text in ("bytes=10-", "bytes=-0"):
        response = refused("InvalidRange", s3.get_object, Bucket=bucket, Key="digits", Range=text)
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 416
    for text in ("bytes=3-1", "lines=1-2", "bytes=0-1,3-4"):
        found = got(s3, Bucket=bucket, Key="digits", Range=text)
        assert found["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert found["Content"] == b"0123456789"


def test_listings(s3: Any, bucket: str) -> None:
    keys = [f"{folder}/{n}" for folder in "abc" for n in range(30)] + ["b", "d"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b"x"), keys))
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(
            Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1}
        )
        shown = []
        for page in pages:
            shown += [group["Prefix"] for group in page.get("CommonPrefixes", [])]
            shown += [found["Key"] for found in page.get("Contents", [])]
        assert shown == ["a/", "b", "b/", "c/", "d"]
        pages = s3.get_paginator(operation).paginate(
            Bucket=bucket, Prefix="b/", PaginationConfig={"PageSize": 7}
        )
        assert [found["Key"] for page in pages for found in page["Contents"]] == sorted(
            key for key in keys if key.startswith("b/")
        )
    after = s3.list_objects_v2(Bucket=bucket, StartAfter="c/5", FetchOwner=True)
    assert [found["Key"] for found in after["Contents"]] == ["c/6", "c/7", "c/8", "c/9", "d"]
    assert "Owner" in after["Contents"][0]
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0
    versions = s3.list_object_versions(Bucket=bucket, Prefix="d")["Versions"]
    assert [(v["Key"], v["VersionId"], v["IsLatest"]) for v in versions] == [("d", "null", True)]
    refused(
        "InvalidArgument", s3.list_objects_v2, Bucket=bucket, ContinuationToken="not base64 at all!"
    )


def test_many_are_deleted_at_once(s3: Any, bucket: str) -> None:
    for key in "abc":
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    etag = s3.head_object(Bucket=bucket, Key="c")["ETag"]
    named = [
        {"Key": "a"},
        {"Key": "none"},
        {"Key": "b", "ETag": '"other"'},
        {"Key": "c", "ETag": etag},
    ]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": named})
    assert [item["Key"] for item in answer["Deleted"]] == ["a", "none", "c"]
    assert [(e["Key"], e["Code"]) for e in answer["Errors"]] == [("b", "PreconditionFailed")]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_conditional_reads(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    calls = ((partial(got, s3), "PreconditionFailed"), (s3.head_object, "412"))
    for call, code in calls:
        call(Bucket=bucket, Key="a", IfMatch=etag)
        call(Bucket=bucket, Key="a", IfNoneMatch='"other"')
        call(Bucket=bucket, Key="a", IfUnmodifiedSince=modified)
        refused(code, call, Bucket=bucket, Key="a", IfMatch='"other"')
        refused("304", call, Bucket=bucket, Key="a", IfNoneMatch=etag)
        refused("304", call, Bucket=bucket, Key="a", IfModifiedSince=modified)


def test_conditional_writes(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="a", Body=b"2", IfNoneMatch="*")
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="a", Body=b"2", IfMatch='"o"')
    refused("NoSuchKey", s3.put_object, Bucket=bucket, Key="none", Body=b"2", IfMatch=etag)
    refused("NotImplemented", s3.put_object, Bucket=bucket, Key="a", Body=b"2", IfNoneMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    s3.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch=etag)
    refused("PreconditionFailed", s3.delete_object, Bucket=bucket, Key="a", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"2"


def test_one_of_many_conditional_writers_wins(s3: Any, bucket: str) -> None:
    def write(number: int) -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="one", Body=b"%d" % number, IfNoneMatch="*")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(write, range(32))) == 1


def test_many_writers_of_one_key(s3: Any, bucket: str, local: LocalObjects) -> None:
    bodies = [os.urandom(50_000) for _ in range(32)]
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda body: s3.put_object(Bucket=bucket, Key="one", Body=body), bodies))
    assert s3.get_object(Bucket=bucket, Key="one")["Body"].read() in bodies
    files = [path for path in local.files.folder.glob("??/*") if path.is_file()]
    assert len(files) == sum(len(list(local.list(b.name, ""))) for b in local.buckets.all())


def test_copies(s3: Any, bucket: str) -> None:
    s3.put_object(
        Bucket=bucket, Key="a", Body=b"x", Metadata={"a": "b"}, ContentType="a/b", Tagging="k=v"
    )
    source = {"Bucket": bucket, "Key": "a"}
    etag = s3.copy_object(Bucket=bucket, Key="b", CopySource=source)["CopyObjectResult"]["ETag"]
    found = got(s3, Bucket=bucket, Key="b")
    assert (found["Metadata"], found["ContentType"], found["TagCount"]) == ({"a": "b"}, "a/b", 1)
    s3.copy_object(
        Bucket=bucket,
        Key="a",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"c": "d"},
        ContentType="c/d",
        TaggingDirective="REPLACE",
        Tagging="x=y&z=w",
    )
    found = got(s3, Bucket=bucket, Key="a")
    assert (found["Metadata"], found["ContentType"], found["TagCount"]) == ({"c": "d"}, "c/d", 2)
    assert found["Content"] == b"x"
    arguments = {"Bucket": bucket, "CopySource": source}
    refused("InvalidRequest", s3.copy_object, Key="a", **arguments)
    failed = {"CopySourceIfMatch": '"o"'}, {"CopySourceIfNoneMatch": etag}
    for condition in failed:
        refused("PreconditionFailed", s3.copy_object, Key="c", **arguments, **condition)
    s3.copy_object(Key="c", CopySourceIfMatch=etag, **arguments)
    missing = {"Bucket": bucket, "Key": "none"}
    refused("NoSuchKey", s3.copy_object, Bucket=bucket, Key="c", CopySource=missing)


def test_tags(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    tags = {"TagSet": [{"Key": "k", "Value": "ü v"}]}
    s3.put_object_tagging(Bucket=bucket, Key="a", Tagging=tags)
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == tags["TagSet"]
    s3.delete_object_tagging(Bucket=bucket, Key="a")
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == []
    refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket=bucket)
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tags)
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags["TagSet"]
    s3.delete_bucket_tagging(Bucket=bucket)
    twice = {"TagSet": [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]}
    refused("InvalidTag", s3.put_object_tagging, Bucket=bucket, Key="a", Tagging=twice)
    refused("NoSuchKey", s3.put_object_tagging, Bucket=bucket, Key="none", Tagging=tags)


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_addresses(url: str, bucket: str, version: str) -> None:
    signer = client(url, signature_version=version)
    place = {"Bucket": bucket, "Key": "a b+ü"}
    address = signer.generate_presigned_url("put_object", Params=place, ExpiresIn=60)
    request = urllib.request.Request(address, b"content", method="PUT")
    request.add_header("content-type", "")
    with urllib.request.urlopen(request) as response:
        assert response.status == 200
    address = signer.generate_presigned_url(
        "get_object", Params=place | {"ResponseContentType": "a/b"}, ExpiresIn=60
    )
    with urllib.request.urlopen(address) as response:
        assert (response.read(), response.headers["content-type"]) == (b"content", "a/b")
    for broken in (
        signer.generate_presigned_url("get_object", Params=place, ExpiresIn=-10),
        address.replace("a%20b", "other"),
    ):
        assert bare(url, "GET", broken.removeprefix(url)).status in (400, 403)
    signer.close()


def test_headers_in_a_presigned_query(url: str, s3: Any, bucket: str) -> None:
    """Where boto3's default form of a signature puts them: no bearer sends them again."""
    place = {"Bucket": bucket, "Key": "a"}
    about = {
        "Metadata": {"who": "me"},
        "ServerSideEncryption": "AES256",
        "StorageClass": "STANDARD_IA",
    }
    signer = client(url, signature_version="s3")

    def put(**more: Any) -> Reply:
        address = signer.generate_presigned_url("put_object", place | about | more)
        return bare(url, "PUT", address.removeprefix(url), b"content")

    assert put().status == 200
    found = s3.head_object(**place)
    assert {name: found[name] for name in about} == about
    assert put(ACL="public-read").code == "AccessControlListNotSupported"
    signer.close()
    two_headers = Request("PUT", "/b/k", "Signature=s&x-amz-meta-a=a%0d%0aset-cookie:%20b")
    with wrong("InvalidArgument"):
        find_route(two_headers)


def test_an_error_about_control_characters_can_be_read(url: str, s3: Any, bucket: str) -> None:
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="\x00\x01\x1b\ufffe")
    upload = {"Bucket": bucket, "Key": "a", "UploadId": "\x00"}
    refused("InvalidArgument", s3.list_parts, **upload)
    assert send(url, "GET", "/a%00b/key").code == "InvalidArgument"
    copy = {"x-amz-copy-source": "a%00b/key"}
    assert send(url, "PUT", f"/{bucket}/a", headers=copy).code == "InvalidArgument"
    marker = f"/{bucket}?uploads&key-marker=a&upload-id-marker=%00"
    assert send(url, "GET", marker).code == "InvalidArgument"


def test_a_wrong_secret(url: str, bucket: str) -> None:
    wrong = client(url, aws_secret_access_key="wrong")
    refused("SignatureDoesNotMatch", wrong.list_objects_v2, Bucket=bucket)
    unknown = client(url, aws_access_key_id="AKIAUNKNOWN")
    refused("InvalidAccessKeyId", unknown.list_objects_v2, Bucket=bucket)
    wrong.close()
    unknown.close()


def test_the_bucket_in_the_host(url: str, bucket: str) -> None:
    for host in (f"{bucket}.localhost:1234", f"{bucket}.s3.us-east-1.amazonaws.com"):
        assert send(url, "PUT", "/k/x", b"hosted", {"host": host}).status == 200
        assert send(url, "GET", f"/{bucket}/k/x").body == b"hosted"
        listed = send(url, "GET", "/?list-type=2", headers={"host": host})
        assert b"<Key>k/x</Key>" in listed.body
        assert b"<ListBucketResult xmlns=" in listed.body


def test_what_a_plain_bucket_answers(s3: Any, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    for call, more in ((s3.get_object_acl, {}), (s3.put_object_acl, {"ACL": "private"})):
        refused("NoSuchKey", call, Bucket=bucket, Key="none", **more)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert s3.list_bucket_metrics_configurations(Bucket=bucket)["IsTruncated"] is False
    blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocked)
    controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)
    refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=bucket)
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    refused("NoSuchWebsiteConfiguration", s3.get_bucket_website, Bucket=bucket)
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_bucket_lifecycle(Bucket=bucket)


def test_what_is_not_done_is_refused_by_name(s3: Any, bucket: str) -> None:
    response = refused(
        "NotImplemented",
        s3.put_bucket_versioning,
        Bucket=bucket,
        VersioningConfiguration={"Status": "Enabled"},
    )
    assert "PutBucketVersioning" in response["Error"]["Message"]
    refused("NotImplemented", s3.put_bucket_policy, Bucket=bucket, Policy="{}")
    refused("NoSuchVersion", s3.get_object, Bucket=bucket, Key="a", VersionId="other")
    put = {"Bucket": bucket, "Key": "a", "Body": b"x"}
    refused("AccessControlListNotSupported", s3.put_object, ACL="public-read", **put)
    refused(
        "NotImplemented", s3.put_object, SSECustomerAlgorithm="AES256", SSECustomerKey="k", **put
    )
    refused("InvalidStorageClass", s3.put_object, StorageClass="DEEP_ARCHIVE", **put)
    refused("MetadataTooLarge", s3.put_object, Metadata={"a": "x" * 2100}, **put)


def test_other_origins(url: str, s3: Any, bucket: str) -> None:
    origin = {"Origin": "https://pages.example.com"}
    asked = origin | {"Access-Control-Request-Method": "PUT"}
    asked["Access-Control-Request-Headers"] = "Content-Type"
    assert send(url, "OPTIONS", f"/{bucket}/a", headers=asked).status == 403
    rule = {
        "AllowedOrigins": ["https://*.example.com"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    }
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    allowed = send(url, "OPTIONS", f"/{bucket}/a", headers=asked)
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == origin["Origin"]
    assert allowed.headers["access-control-allow-headers"] == "content-type"
    assert allowed.headers["access-control-max-age"] == "60"
    missing = send(url, "GET", f"/{bucket}/none", headers=origin)
    assert missing.code == "NoSuchKey"
    assert missing.headers["access-control-allow-origin"] == origin["Origin"]
    other = asked | {"Origin": "https://example.org"}
    assert send(url, "OPTIONS", f"/{bucket}/a", headers=other).status == 403
    s3.delete_bucket_cors(Bucket=bucket)
