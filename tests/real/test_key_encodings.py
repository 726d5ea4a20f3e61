"""Keys of every kind of character in every place of a request, beside a second S3 server (moto).

Each form is asked of both and what they answer must be the same; where moto departs from S3 the
right value stands here with its source.
"""

import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.server import Server, await_that

pytestmark = pytest.mark.real
BUCKET = "encodings"
KEYS = {
    "plus": "a+b.txt",
    "space": "a b.txt",
    "percent": "a%2Bb%20c%.txt",
    "ampersand": "a&b=c&d.txt",
    "hash": "a#b.txt",
    "question": "a?versionId=1&b.txt",
    "colon": "2017-11-21_22:24:03+0000.jpg",
    "at": "user@host;x,y.txt",
    "quotes": 'it\'s "so".txt',
    "brackets": "a[1](2){3}<4>.txt",
    "signs": "a!$*~^`|_-.txt",
    "backslash": "a\\b.txt",
    "unicode": "ä/日本語/é.txt",
    "astral": "a\U0001f600.txt",
    "slashes": "a//b/./c.txt",
    "equals": "year=2024/part=a+b%3D/x.parquet",
    "trailing": "folder/",
}


class Store:
    """One S3 server."""

    def __init__(self, url: str, access_key: str, secret: str) -> None:
        self.url = url
        self.s3 = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0},
                          signature_version="s3v4"),
        )  # fmt: skip
        self.s3.create_bucket(Bucket=BUCKET)
        self.credentials = self.s3._request_signer._credentials

    def raw(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], str]:
        """What a signed request as it stands is answered with; a signature's space is `%20`."""
        place, mark, query = path.partition("?")
        signed = self.url + place + mark + query.replace("+", "%20")
        asked = AWSRequest(method, signed, data=body, headers=headers or {})
        S3SigV4Auth(self.credentials, "s3", "us-east-1").add_auth(asked)
        sent = urllib.request.Request(
            self.url + path, data=body or None, method=method, headers=dict(asked.headers.items())
        )
        try:
            with urllib.request.urlopen(sent) as answer:
                return answer.status, dict(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()


@pytest.fixture(scope="module")
def other() -> Iterator[Store]:
    """moto's server, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=dict(os.environ), **quiet)

    def ready() -> bool | None:
        assert process.poll() is None, "moto's server ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0 or None

    try:
        await_that(ready, "moto's server")
        yield Store(f"http://127.0.0.1:{port}", "a", "b")
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def ours(server: Server) -> Store:
    credentials = server.client("s3")._request_signer._credentials
    return Store(server.url, credentials.access_key, credentials.secret_key)


@pytest.fixture(scope="module", autouse=True)
def filled(ours: Store, other: Store) -> None:
    for store in (ours, other):
        for key in KEYS.values():
            store.s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())


def _get(store: Store, key: str) -> str:
    return str(store.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode())


def _copied(store: Store, source: str) -> str:
    """What a copy whose header reads so is a copy of."""
    headers = {"x-amz-copy-source": source}
    code, _, text = store.raw("PUT", f"/{BUCKET}/copied", headers)
    if code != 200:
        return f"{code} {''.join(re.findall('<Code>(.*?)</Code>', text))}"
    found = _get(store, "copied")
    store.s3.delete_object(Bucket=BUCKET, Key="copied")
    return found


def _part_copied(store: Store, source: str) -> str:
    upload = store.s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    place = {"Bucket": BUCKET, "Key": "parts", "UploadId": upload}
    path = f"/{BUCKET}/parts?partNumber=1&uploadId={quote(upload, safe='')}"
    code, _, text = store.raw("PUT", path, {"x-amz-copy-source": source})
    if code != 200:
        store.s3.abort_multipart_upload(**place)
        return f"{code} {''.join(re.findall('<Code>(.*?)</Code>', text))}"
    tag = unescape("".join(re.findall("<ETag>(.*?)</ETag>", text)))
    parts = [{"PartNumber": 1, "ETag": tag}]
    store.s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    return _get(store, "parts")


def _listed(text: str, tag: str = "Key", encoded: bool = False) -> list[str]:
    found = [unescape(item) for item in re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)]
    return [unquote_plus(item) for item in found] if encoded else found


def _query(store: Store, query: str, tag: str = "Key") -> list[str]:
    code, _, text = store.raw("GET", f"/{BUCKET}?{query}")
    assert code == 200, text
    return _listed(text, tag, "encoding-type=url" in query)


def _deleted(store: Store, key: str) -> list[str]:
    name = f"deleted/{key}"
    store.s3.put_object(Bucket=BUCKET, Key=name)
    answer = store.s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": name}]})
    left = _query(store, f"list-type=2&prefix={quote('deleted/', safe='')}")
    return [item["Key"] for item in answer["Deleted"]] + left


def _presigned(store: Store, key: str) -> tuple[str, str]:
    """An object that a presigned PUT puts and a presigned GET, with a header's value, reads."""
    place = {"Bucket": BUCKET, "Key": f"presigned/{key}"}
    put = store.s3.generate_presigned_url("put_object", Params=place)
    body, kind = b"x" + key.encode(), {"Content-Type": "text/plain"}
    with urllib.request.urlopen(urllib.request.Request(put, body, kind, method="PUT")):
        pass
    shown = f"attachment; filename*=UTF-8''{quote(key, safe='')}"
    asked = {**place, "ResponseContentDisposition": shown}
    with urllib.request.urlopen(store.s3.generate_presigned_url("get_object", asked)) as answer:
        found = answer.headers["Content-Disposition"], answer.read().decode()
    store.s3.delete_object(**place)
    return found


def _pages(store: Store, operation: str, member: str, key: str) -> list[str]:
    """All keys by pages of one; of V1 by markers, of V2 by tokens."""
    pages = store.s3.get_paginator(operation).paginate(
        Bucket=BUCKET, PaginationConfig={"PageSize": 1}
    )
    found = [item["Key"] for page in pages for item in page.get(member, ())]
    return found[found.index(key) :][:2]


def _uploads(store: Store, key: str) -> list[str]:
    place = {"Bucket": BUCKET, "Key": f"uploads/{key}"}
    upload = store.s3.create_multipart_upload(**place)["UploadId"]
    found = _query(store, f"uploads&prefix={quote('uploads/' + key, safe='')}")
    store.s3.abort_multipart_upload(**place, UploadId=upload)
    return found


def _tagged(store: Store, key: str) -> list[dict[str, str]]:
    """A tag's value in a header is the value of a query string; those of tags are not all keys."""
    value = re.sub(r"[^\w +\-=.:/@]", "", key)
    place = {"Bucket": BUCKET, "Key": f"tagged/{key}"}
    store.s3.put_object(**place, Tagging=f"key={quote_plus(value)}")
    found = store.s3.get_object_tagging(**place)["TagSet"]
    store.s3.delete_object(**place)
    return list(found)


FORMS: dict[str, Callable[[Store, str], Any]] = {
    "path": _get,
    "path, all escaped": lambda s, k: s.raw("GET", f"/{BUCKET}/{quote(k, safe='')}")[2],
    "path, slashes kept": lambda s, k: s.raw("GET", f"/{BUCKET}/{quote(k, safe='/~')}")[2],
    "copy source": lambda s, k: _copied(s, quote(f"{BUCKET}/{k}", safe="/~")),
    "copy source with a slash": lambda s, k: _copied(s, quote(f"/{BUCKET}/{k}", safe="/")),
    "copy source, all escaped": lambda s, k: _copied(s, f"{BUCKET}/{quote(k, safe='')}"),
    "copy source by boto3": lambda s, k: (
        s.s3.copy_object(Bucket=BUCKET, Key="c", CopySource={"Bucket": BUCKET, "Key": k}),
        _get(s, "c"), s.s3.delete_object(Bucket=BUCKET, Key="c"),
    )[1],
    "part's source": lambda s, k: _part_copied(s, quote(f"{BUCKET}/{k}", safe="/~")),
    "prefix": lambda s, k: _query(s, f"list-type=2&prefix={quote(k, safe='')}"),
    "prefix as of a form": lambda s, k: _query(s, f"list-type=2&prefix={quote_plus(k)}"),
    "prefix, V1": lambda s, k: _query(s, f"prefix={quote(k, safe='')}"),
    "prefix, encoded answer": lambda s, k: _query(
        s, f"list-type=2&encoding-type=url&prefix={quote(k, safe='')}"
    ),
    "prefix, encoded answer, V1": lambda s, k: _query(
        s, f"encoding-type=url&prefix={quote(k, safe='')}"
    ),
    "delimiter": lambda s, k: _query(
        s, f"list-type=2&delimiter={quote(k[1:3], safe='')}", "Prefix"
    ),
    "marker": lambda s, k: _query(s, f"marker={quote(k, safe='')}"),
    "start after": lambda s, k: _query(s, f"list-type=2&start-after={quote(k, safe='')}"),
    "versions": lambda s, k: _query(s, f"versions&prefix={quote(k, safe='')}"),
    "uploads": _uploads,
    "pages": lambda s, k: _pages(s, "list_objects_v2", "Contents", k),
    "pages, V1": lambda s, k: _pages(s, "list_objects", "Contents", k),
    "delete": _deleted,
    "presigned": _presigned,
    "tagging": _tagged,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_key_means_the_same_as_elsewhere(ours: Store, other: Store, form: str) -> None:
    ask = FORMS[form]
    mine = {name: _outcome(ask, ours, key) for name, key in KEYS.items()}
    theirs = {name: _outcome(ask, other, key) for name, key in KEYS.items()}
    assert mine == theirs


def _outcome(ask: Callable[[Store, str], Any], store: Store, key: str) -> Any:
    try:
        return ask(store, key)
    except ClientError as error:
        return error.response["Error"]["Code"]


@pytest.mark.parametrize("copied", [_copied, _part_copied])
@pytest.mark.parametrize(
    ("source", "copy"),
    [
        # As S3 does, moto does not: a plus sign in the header is a space (aws-sdk-js#1821,
        # aws-doc-sdk-examples#4781: the examples for Go send what `url.QueryEscape` makes).
        (f"{BUCKET}/a+b.txt", "a b.txt"),
        (f"{BUCKET}/a%2Bb.txt", "a+b.txt"),
        (f"{BUCKET}/a%20b.txt", "a b.txt"),
        (quote_plus(f"{BUCKET}/a b.txt"), "a b.txt"),
        (quote_plus(f"{BUCKET}/a+b.txt"), "a+b.txt"),
        (quote_plus(f"{BUCKET}/a%2Bb%20c%.txt"), "a%2Bb%20c%.txt"),
        (f"{BUCKET}/a+b.txt?versionId=null", "a b.txt"),
        (f"{BUCKET}/a%2Bb.txt?versionId=null", "a+b.txt"),
        (f"{BUCKET}/a%3FversionId%3D1%26b.txt", "a?versionId=1&b.txt"),
        (f"{BUCKET}/a%2Bb.txt?versionId=other", "404 NoSuchVersion"),
        (f"{BUCKET}/%ff", "400 InvalidArgument"),
        (f"{BUCKET}", "400 InvalidArgument"),
    ],
)
def test_the_source_of_a_copy(
    ours: Store, copied: Callable[[Store, str], str], source: str, copy: str
) -> None:
    assert copied(ours, source) == copy


def test_plus_in_a_query_is_a_space_and_in_a_path_itself(ours: Store) -> None:
    assert _query(ours, "list-type=2&prefix=a+b") == ["a b.txt"]
    assert _query(ours, "list-type=2&prefix=a%2Bb") == ["a+b.txt"]
    url = ours.s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "a+b.txt"})
    assert "a%2Bb.txt" in urlsplit(url).path
    assert ours.raw("GET", f"/{BUCKET}/a+b.txt")[2] == "a+b.txt"


@pytest.mark.parametrize("tag", ["Key", "Prefix"])
@pytest.mark.parametrize("version", ["", "list-type=2&"])
def test_encoded_answers_are_decoded_alike_by_both_kinds_of_decoders(
    ours: Store, tag: str, version: str
) -> None:
    """moto leaves a plus sign in a group as it is, which botocore then makes a space."""
    for delimiter in {key[1:3] for key in KEYS.values()}:
        query = f"{version}delimiter={quote(delimiter, safe='')}"
        plain = _query(ours, query, tag)
        text = ours.raw("GET", f"/{BUCKET}?encoding-type=url&{query}")[2]
        for decode in (unquote, unquote_plus):
            assert [decode(item) for item in _listed(text, tag)] == plain
