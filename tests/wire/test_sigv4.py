"""Signatures: AWS's own vectors, and what botocore's signers make of real requests."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from loopwright.wire.http import Request
from loopwright.wire.sigv4 import SignatureError, verify
from tests.wire.botocore_cases import source

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = {"AKIDEXAMPLE": SECRET}
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
# Raw UTF-8 and folded headers: no HTTP client sends them.
UNSENDABLE = {"get-utf8", "get-header-value-multiline"}
# In this vector the token was added after the signature was made.
UNSENDABLE |= {"get-vanilla-with-session-token"}


def _vectors() -> list[Path]:
    root = source() / "auth" / "aws4_testsuite"
    return sorted(
        path.parent for path in root.rglob("*.sreq") if path.parent.name not in UNSENDABLE
    )


def _read(path: Path) -> Request:
    head, _, body = path.read_text().partition("\n\n")
    first, *lines = head.split("\n")
    method, _, rest = first.partition(" ")
    target = rest.rsplit(" ", 1)[0]
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        value = value.strip()
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    raw_path, _, query = target.partition("?")
    return Request(method, raw_path, query, headers, body.encode())


@pytest.mark.parametrize("folder", _vectors(), ids=lambda folder: folder.name)
def test_a_vector_of_aws_verifies(folder: Path) -> None:
    request = _read(next(folder.glob("*.sreq")))
    assert verify(request, KEYS, AT).access_key == "AKIDEXAMPLE"


def _as_request(sent: Any, body: bytes = b"") -> Request:
    parts = urlsplit(sent.url)
    headers = {k.lower(): v for k, v in sent.headers.items()} | {"host": parts.netloc}
    return Request(sent.method, parts.path, parts.query, headers, body)


def _signed(auth: Any, method: str = "POST", url: str = "http://127.0.0.1:80/", body: bytes = b""):
    sent = AWSRequest(method=method, url=url, data=body, headers={"Host": "127.0.0.1:80"})
    auth.add_auth(sent)
    return _as_request(sent.prepare(), body)


CREDENTIALS = Credentials("AKIDEXAMPLE", SECRET)


def _now() -> float:
    return datetime.now(UTC).timestamp()


def test_a_request_of_botocore_verifies_and_a_changed_one_does_not() -> None:
    request = _signed(SigV4Auth(CREDENTIALS, "sagemaker", "us-east-1"), body=b'{"a": 1}')
    assert verify(request, KEYS, _now()).service == "sagemaker"
    changed = Request(request.method, request.path, request.query, request.headers, b'{"a": 2}')
    with pytest.raises(SignatureError, match="does not"):
        verify(changed, KEYS, _now())


def test_a_wrong_secret_an_unknown_key_and_a_late_clock_are_told_apart() -> None:
    request = _signed(SigV4Auth(CREDENTIALS, "sagemaker", "us-east-1"))
    kinds = []
    for keys, now in (
        ({"AKIDEXAMPLE": "other"}, _now()),
        ({}, _now()),
        (KEYS, _now() + 3600),
    ):
        with pytest.raises(SignatureError) as caught:
            verify(request, keys, now)
        kinds.append(caught.value.as_api_error("json").code)
    assert kinds == [
        "InvalidSignatureException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
    ]


@pytest.mark.parametrize("key", ["a b+c", "ümlaut/~x", "p%20q"])
def test_a_presigned_address_verifies_until_it_expires(key: str) -> None:
    auth = S3SigV4QueryAuth(CREDENTIALS, "s3", "us-east-1", expires=60)
    request = _signed(auth, "GET", f"http://127.0.0.1:80/bucket/{quote(key)}")
    assert verify(request, KEYS, _now()).payload == "UNSIGNED-PAYLOAD"
    with pytest.raises(SignatureError, match="expired"):
        verify(request, KEYS, _now() + 61)


def test_the_old_presigned_form_verifies_until_it_expires() -> None:
    auth = HmacV1QueryAuth(CREDENTIALS, expires=60)
    request = _signed(auth, "GET", "http://127.0.0.1:80/bucket/key")
    assert verify(request, KEYS, _now()).service == "s3"
    with pytest.raises(SignatureError) as caught:
        verify(request, KEYS, _now() + 3600)
    assert caught.value.as_api_error("rest-xml").code == "AccessDenied"


def test_an_unsigned_request_says_how_to_sign() -> None:
    with pytest.raises(SignatureError, match="loopwright env"):
        verify(Request("POST", "/"), KEYS, _now())
