"""What a body promises is checked: hashes, checksums, chunks, trailers, length."""

import base64
import hashlib
import hmac
import os
import socket
import zlib
from collections.abc import Callable
from glob import glob

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.objects.checksums import ALGORITHMS, as_text, header_of, new_hasher
from loopwright.objects.store import LocalObjects
from loopwright.wire.chunked import SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER, ChunkedDecoder
from loopwright.wire.errors import ApiError
from loopwright.wire.sigv4 import Signed, signing_key
from tests.objects.serving import Reply, client, eventually, send

DOCUMENTED_KEY = signing_key(
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3"
)
BODY = bytes(range(256)) * 500
CRC32 = as_text(zlib.crc32(BODY).to_bytes(4, "big"))
TRAILER = {"x-amz-trailer": "x-amz-checksum-crc32", "content-encoding": "aws-chunked"}
LENGTH = {"x-amz-decoded-content-length": str(len(BODY))}


def documented(seed: str) -> Signed:
    """The head of the examples in the AWS documentation."""
    scope = "20130524/us-east-1/s3/aws4_request"
    return Signed("AKIA", "us-east-1", "s3", "", DOCUMENTED_KEY, seed, "20130524T000000Z", scope)


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("size", [1, 7, 4096, 100_000])
def test_the_documented_chunks(size: int) -> None:
    body = (
        b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
        + b"a" * 65536
        + b"\r\n400;chunk-signature="
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
        + b"a"
        * 1024
        + b"\r\n0;chunk-signature="
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
    )
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    decoder = ChunkedDecoder(SIGNED, documented(seed))
    decoded = b"".join(part for piece in pieces(body, size) for part in decoder.feed(piece))
    assert (decoded, decoder.finish()) == (b"a" * 66560, {})
    changed = ChunkedDecoder(SIGNED, documented(seed))
    with pytest.raises(ApiError, match="SignatureDoesNotMatch"):
        changed.feed(body.replace(b"a" * 1024, b"a" * 1023 + b"b"))


def test_the_documented_trailer() -> None:
    body = (
        b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"
        + b"a" * 65536
        + b"\r\n400;chunk-signature="
        b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n"
        + b"a"
        * 1024
        + b"\r\n0;chunk-signature="
        b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
        b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
        b"x-amz-trailer-signature:"
        b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
    )
    seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    decoder = ChunkedDecoder(SIGNED_TRAILER, documented(seed))
    assert b"".join(decoder.feed(body)) == b"a" * 66560
    assert decoder.finish() == {"x-amz-checksum-crc32c": "sOO8/Q=="}
    hasher = new_hasher("CRC32C")
    hasher.update(b"a" * 66560)
    assert as_text(hasher.digest()) == "sOO8/Q=="
    with pytest.raises(ApiError, match="SignatureDoesNotMatch"):
        ChunkedDecoder(SIGNED_TRAILER, documented(seed)).feed(body.replace(b"sOO8", b"sOO9"))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "IncompleteBody"),
        (b"5\r\nhel", "IncompleteBody"),
        (b"5\r\nhello\r\n", "IncompleteBody"),
        (b"5\r\nhello\r\n0\r\n", "IncompleteBody"),
        (b"x\r\n", "InvalidRequest"),
        (b"3\r\nhello\r\n0\r\n\r\n", "InvalidRequest"),
        (b"1" * 5000, "InvalidRequest"),
        (b"0\r\n\r\nmore", "InvalidRequest"),
        (b"0\r\nno trailer\r\n\r\n", "MalformedTrailerError"),
        (b"0\r\na:1\r\na:2\r\n\r\n", "MalformedTrailerError"),
        (b"0\r\n" + b"".join(b"a%d:1\r\n" % n for n in range(99)), "MalformedTrailerError"),
    ],
)
def test_broken_chunks(body: bytes, code: str) -> None:
    decoder = ChunkedDecoder(UNSIGNED_TRAILER, documented(""))
    with pytest.raises(ApiError) as caught:
        decoder.feed(body)
        decoder.finish()
    assert caught.value.code == code


def test_another_form_is_refused() -> None:
    with pytest.raises(ApiError, match="NotImplemented"):
        ChunkedDecoder("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", documented(""))


def unsigned_chunks(body: bytes, trailer: str) -> bytes:
    out = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces(body, 65536))
    return out + f"0\r\n{trailer}\r\n\r\n".encode()


def signed_chunks(body: bytes, trailer: str = "") -> Callable[[Signed], bytes]:
    """An encoder of signed chunks, with a signed trailer if there is one."""

    def sign(signed: Signed, kind: str, *lines: str) -> str:
        text = "\n".join((f"AWS4-HMAC-SHA256-{kind}", signed.timestamp, signed.scope, *lines))
        return hmac.digest(signed.signing_key, text.encode(), "sha256").hex()

    def encode(signed: Signed) -> bytes:
        out, previous = b"", signed.signature
        empty = hashlib.sha256().hexdigest()
        for piece in [*pieces(body, 65536), b""]:
            digest = hashlib.sha256(piece).hexdigest()
            previous = sign(signed, "PAYLOAD", previous, empty, digest)
            out += b"%x;chunk-signature=%b\r\n" % (len(piece), previous.encode())
            out += piece + b"\r\n" if piece else b""
        if trailer:
            digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
            signature = sign(signed, "TRAILER", previous, digest)
            out += f"{trailer}\r\nx-amz-trailer-signature:{signature}\r\n".encode()
        return out + b"\r\n"

    return encode


def stored(local: LocalObjects, bucket: str, reply: Reply) -> None:
    """The reply is a success and the body is stored."""
    assert (reply.status, reply.code) == (200, "")
    assert b"".join(local.open(bucket, "a")) == BODY


def refused(local: LocalObjects, bucket: str, reply: Reply, code: str) -> None:
    """The reply is this refusal, and nothing stays behind."""
    assert reply.code == code
    assert local.head(bucket, "a") is None
    [own] = [path for path in local.files.folder.glob("incoming/*") if path.is_dir()]
    assert [path.name for path in own.iterdir()] == ["lock"]


def test_chunks_with_a_trailer(url: str, local: LocalObjects, bucket: str) -> None:
    path = f"/{bucket}/a"
    body = unsigned_chunks(BODY, f"x-amz-checksum-crc32:{CRC32}")
    stored(
        local,
        bucket,
        send(url, "PUT", path, body, TRAILER | LENGTH, payload=UNSIGNED_TRAILER),
    )
    found = send(url, "GET", path, headers={"x-amz-checksum-mode": "ENABLED"})
    assert found.headers["x-amz-checksum-crc32"] == CRC32
    assert "content-encoding" not in found.headers
    ranged = {"x-amz-checksum-mode": "ENABLED", "range": "bytes=0-9"}
    assert "x-amz-checksum-crc32" not in send(url, "GET", path, headers=ranged).headers


def test_chunks_with_signatures(url: str, local: LocalObjects, bucket: str) -> None:
    path = f"/{bucket}/a"
    encode = signed_chunks(BODY)
    stored(local, bucket, send(url, "PUT", path, headers=LENGTH, payload=SIGNED, encode=encode))
    local.delete(bucket, "a")
    trailer = f"x-amz-checksum-crc32:{CRC32}"
    arguments = {"headers": TRAILER | LENGTH, "payload": SIGNED_TRAILER}
    stored(local, bucket, send(url, "PUT", path, encode=signed_chunks(BODY, trailer), **arguments))


def test_chunks_that_are_refused(url: str, local: LocalObjects, bucket: str) -> None:
    path = f"/{bucket}/a"

    def put(body: bytes, code: str, headers: dict[str, str] = LENGTH) -> None:
        reply = send(url, "PUT", path, body, TRAILER | headers, payload=UNSIGNED_TRAILER)
        refused(local, bucket, reply, code)

    put(unsigned_chunks(BODY, "x-amz-checksum-crc32:AAAAAA=="), "BadDigest")
    put(unsigned_chunks(BODY, "x-amz-checksum-crc32:???"), "InvalidRequest")
    put(unsigned_chunks(BODY, "x-amz-other:1"), "MalformedTrailerError")
    put(unsigned_chunks(BODY[1:], f"x-amz-checksum-crc32:{CRC32}"), "IncompleteBody")
    put(unsigned_chunks(BODY, f"x-amz-checksum-crc32:{CRC32}")[:-9], "IncompleteBody")
    put(unsigned_chunks(BODY, f"x-amz-checksum-crc32:{CRC32}"), "MissingContentLength", {})
    good = signed_chunks(BODY)
    reply = send(
        url,
        "PUT",
        path,
        headers=LENGTH,
        payload=SIGNED,
        encode=lambda signed: good(signed).replace(b"\x01\x02", b"\x02\x01", 1),
    )
    refused(local, bucket, reply, "SignatureDoesNotMatch")


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_checksums_in_headers(url: str, local: LocalObjects, bucket: str, algorithm: str) -> None:
    path, name = f"/{bucket}/a", header_of(algorithm)
    hasher = new_hasher(algorithm)
    hasher.update(BODY)
    text = as_text(hasher.digest())
    wrong = as_text(bytes(len(hasher.digest())))
    refused(local, bucket, send(url, "PUT", path, BODY, {name: wrong}), "BadDigest")
    refused(local, bucket, send(url, "PUT", path, BODY, {name: "AAA="}), "InvalidRequest")
    stored(local, bucket, send(url, "PUT", path, BODY, {name: text}))
    found = send(url, "HEAD", path, headers={"x-amz-checksum-mode": "ENABLED"})
    assert (found.headers[name], found.headers["x-amz-checksum-type"]) == (text, "FULL_OBJECT")


def test_hashes_in_headers(url: str, local: LocalObjects, bucket: str) -> None:
    path = f"/{bucket}/a"
    wrong = send(url, "PUT", path, BODY, payload=hashlib.sha256(b"other").hexdigest())
    refused(local, bucket, wrong, "XAmzContentSHA256Mismatch")
    md5 = base64.b64encode(hashlib.md5(BODY).digest()).decode()
    refused(local, bucket, send(url, "PUT", path, b"", {"content-md5": md5}), "BadDigest")
    refused(local, bucket, send(url, "PUT", path, BODY, {"content-md5": "x"}), "InvalidDigest")
    two = {"x-amz-checksum-crc32": CRC32, "x-amz-checksum-sha1": "AAAA"}
    refused(local, bucket, send(url, "PUT", path, BODY, two), "InvalidRequest")
    unknown = {"x-amz-checksum-xxhash64": "AAAA"}
    refused(local, bucket, send(url, "PUT", path, BODY, unknown), "InvalidRequest")
    stored(local, bucket, send(url, "PUT", path, BODY, {"content-md5": md5}))
    stored(local, bucket, send(url, "PUT", path, BODY, payload="UNSIGNED-PAYLOAD"))


def test_a_client_that_leaves(url: str, local: LocalObjects, bucket: str) -> None:
    """Half a body, then nothing: afterwards no object and no temporary file is there."""
    address = client(url).generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a"})
    host, port = url.removeprefix("http://").split(":")
    target = address.removeprefix(url)
    head = f"PUT {target} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {50 << 20}\r\n\r\n"
    incoming = local.files.folder.glob
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + bytes(3 << 20))
        eventually(lambda: any(p.stat().st_size > 1 << 20 for p in incoming("incoming/*/*")))
    eventually(lambda: [p.name for p in incoming("incoming/*/*")] == ["lock"])
    assert local.head(bucket, "a") is None


def test_a_reader_that_leaves(url: str, local: LocalObjects, bucket: str) -> None:
    """The content that it read is closed."""
    local.put(bucket, "a", (bytes(1 << 20) for _ in range(50)))

    def is_open() -> bool:
        root = str(local.files.folder)
        targets = [os.path.realpath(path) for path in glob("/proc/self/fd/*")]
        return any(text.startswith(root) and "incoming" not in text for text in targets)

    address = client(url).generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a"})
    host, port = url.removeprefix("http://").split(":")
    head = f"GET {address.removeprefix(url)} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        eventually(is_open)
    eventually(lambda: not is_open())


@given(st.binary(max_size=3000), st.integers(1, 200))
def test_tables_agree_with_bits(content: bytes, size: int) -> None:
    for algorithm, polynomial, bits in (
        ("CRC32C", 0x82F63B78, 32),
        ("CRC64NVME", 0x9A6C9329AC4BC9B5, 64),
    ):
        hasher = new_hasher(algorithm)
        for piece in pieces(content, size):
            hasher.update(piece)
        value = mask = (1 << bits) - 1
        for byte in content:
            value ^= byte
            for _ in range(8):
                value = (value >> 1) ^ (polynomial if value & 1 else 0)
        assert hasher.digest() == (value ^ mask).to_bytes(bits // 8, "big")
