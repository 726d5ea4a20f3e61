"""Signatures of requests: AWS Signature Version 4 in headers and queries, and S3's old query form.

Formulas: the AWS documentation, "Create a signed AWS API request" (Version 4) and "Signing and
authenticating REST requests" (Version 2, query string authentication). Written here rather than
by botocore's signers because the gateway verifies every invocation and must do it in about 30 us.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qsl, quote, unquote

from loopwright.wire.errors import ApiError

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
SKEW_S: Final = 900
# A session token may be added after signing; the payload's hash is in the signed text anyway.
MAY_BE_UNSIGNED: Final = frozenset({"x-amz-security-token", "x-amz-content-sha256"})
EXPIRES_S_MAX: Final = 604_800
SPACES: Final = re.compile(r"\s+")
SUB_RESOURCES: Final = frozenset(
    "accelerate acl cors defaultObjectAcl location logging partNumber policy requestPayment "
    "torrent versioning versionId versions website uploads uploadId response-content-type "
    "response-content-language response-expires response-cache-control "
    "response-content-disposition response-content-encoding delete lifecycle tagging restore "
    "storageClass notification replication analytics metrics inventory select select-type "
    "object-lock".split()
)


class Signable(Protocol):
    """What is signed of a request: the attributes of `wire.http.Request`."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes | memoryview: ...


class Signed(NamedTuple):
    """A request whose head carries a right signature.

    Attributes:
        access_key: Who signed.
        region: Of the credential scope; empty in the old query form.
        service: The signing name of the scope, such as `sagemaker` or `s3`.
        payload: `x-amz-content-sha256`: a hex digest that the body must have,
            `UNSIGNED-PAYLOAD`, or a `STREAMING-…` form whose chunks must be checked.
        signing_key: The derived key, for the signatures of chunks.
        signature: Of the head, in hex: the seed of the chunk signatures.
        timestamp: `YYYYMMDDTHHMMSSZ` as signed.
        scope: `date/region/service/aws4_request`.
    """

    access_key: str
    region: str
    service: str
    payload: str
    signing_key: bytes
    signature: str
    timestamp: str
    scope: str


class SignatureError(ApiError):
    """A refusal whose code depends on the protocol; `kind` says what was wrong."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message, 403)
        self.kind = kind

    def as_api_error(self, protocol: str) -> ApiError:
        """The refusal with the code and status that AWS uses under this protocol."""
        code, status = CODES[self.kind][_COLUMN[protocol]]
        return ApiError(code, self.message, status)


_COLUMN: Final = {
    "json": 0, "rest-json": 0, "smithy-rpc-v2-cbor": 0, "query": 1, "rest-xml": 2,
}  # fmt: skip
CODES: Final = {
    "missing": (
        ("MissingAuthenticationTokenException", 403),
        ("MissingAuthenticationToken", 403),
        ("AccessDenied", 403),
    ),
    "incomplete": (
        ("IncompleteSignatureException", 400),
        ("IncompleteSignature", 400),
        ("AuthorizationHeaderMalformed", 400),
    ),
    "unknown-key": (
        ("UnrecognizedClientException", 403),
        ("InvalidClientTokenId", 403),
        ("InvalidAccessKeyId", 403),
    ),
    "mismatch": (
        ("InvalidSignatureException", 403),
        ("SignatureDoesNotMatch", 403),
        ("SignatureDoesNotMatch", 403),
    ),
    "unsigned": (
        ("InvalidSignatureException", 403),
        ("SignatureDoesNotMatch", 403),
        ("AccessDenied", 403),
    ),
    "skewed": (
        ("InvalidSignatureException", 403),
        ("SignatureDoesNotMatch", 403),
        ("RequestTimeTooSkewed", 403),
    ),
    "expired": (
        ("InvalidSignatureException", 403),
        ("SignatureDoesNotMatch", 403),
        ("AccessDenied", 403),
    ),
}


def verify(request: Signable, keys: Mapping[str, str], now: float) -> Signed:
    """Check the signature of a request's head.

    Args:
        request: Its `body` is hashed unless the head says how the payload is signed; a caller that
            streams the body leaves it empty and checks it against `Signed.payload`.
        keys: Secret by access key.
        now: Seconds since the epoch, for the clock's skew (15 minutes) and expiry.

    Raises:
        SignatureError: unsigned, malformed, unknown key, wrong signature, skewed clock, expired.
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return _verify_header(request, authorization, keys, now)
    if "X-Amz-Signature=" in request.query:
        return _verify_query(request, keys, now)
    if "Signature=" in request.query and "AWSAccessKeyId=" in request.query:
        return _verify_old_query(request, keys, now)
    raise SignatureError(
        "missing",
        "Missing Authentication Token: sign the request with a key pair of this Loopwright; "
        "`loopwright env --home DIR` prints the settings for clients.",
    )


def _verify_header(
    request: Signable, authorization: str, keys: Mapping[str, str], now: float
) -> Signed:
    if not authorization.startswith(ALGORITHM):
        raise SignatureError(
            "incomplete",
            f"Authorization must begin with {ALGORITHM}, not {authorization[:40]!r}.",
        )
    head, _, given = authorization.rpartition("Signature=")
    access_key, date, region, service, names = _credential(head)
    timestamp = request.headers.get("x-amz-date") or _from_http_date(request)
    _check_skew(timestamp, now)
    payload = request.headers.get("x-amz-content-sha256")
    hashed_by_client = payload is not None
    if payload is None:
        payload = hashlib.sha256(request.body).hexdigest()
    _check_signed_names(request, names)
    key = signing_key(_secret(keys, access_key), date, region, service)
    scope = f"{date}/{region}/{service}/aws4_request"
    canonical = _canonical(request, request.query, names, payload, service)
    wanted = _signature(key, timestamp, scope, canonical)
    _compare(wanted, given)
    if hashed_by_client and service != "s3" and payload != UNSIGNED:
        actual = hashlib.sha256(request.body).hexdigest()
        if not hmac.compare_digest(actual, payload):
            raise SignatureError("mismatch", "The body does not have the signed SHA-256.")
    return Signed(access_key, region, service, payload, key, given, timestamp, scope)


@lru_cache(maxsize=1024)
def _credential(head: str) -> tuple[str, str, str, str, str]:
    """(access key, date, region, service, signed headers) of an Authorization up to its signature.

    A client sends the same text all day, so it is read once.
    """
    fields = dict(part.strip().partition("=")[::2] for part in head[len(ALGORITHM) :].split(","))
    try:
        credential, names = fields["Credential"], fields["SignedHeaders"]
        access_key, date, region, service, end = credential.rsplit("/", 4)
    except (KeyError, ValueError):
        raise SignatureError(
            "incomplete", "Authorization needs Credential, SignedHeaders and Signature."
        ) from None
    if end != "aws4_request":
        raise SignatureError("incomplete", "Credential must end with aws4_request.")
    return access_key, date, region, service, names


def _verify_query(request: Signable, keys: Mapping[str, str], now: float) -> Signed:
    fields = dict(parse_qsl(request.query, keep_blank_values=True))
    try:
        access_key, date, region, service, _ = fields["X-Amz-Credential"].rsplit("/", 4)
        timestamp, expires_s = fields["X-Amz-Date"], int(fields["X-Amz-Expires"])
        names, given = fields["X-Amz-SignedHeaders"], fields["X-Amz-Signature"]
    except (KeyError, ValueError):
        raise SignatureError(
            "incomplete",
            "A presigned query needs X-Amz-Credential, Date, Expires, SignedHeaders, Signature.",
        ) from None
    if not 1 <= expires_s <= EXPIRES_S_MAX:
        raise SignatureError(
            "incomplete", f"X-Amz-Expires is {expires_s}; it must be 1 to {EXPIRES_S_MAX} seconds."
        )
    signed_at = _seconds(timestamp)
    if now > signed_at + expires_s:
        raise SignatureError("expired", "Request has expired")
    if signed_at > now + SKEW_S:
        raise SignatureError("skewed", "The request is signed in the future.")
    pieces = [p for p in request.query.split("&") if not p.startswith("X-Amz-Signature=")]
    payload = UNSIGNED
    if service != "s3":
        payload = hashlib.sha256(request.body).hexdigest()
    _check_signed_names(request, names)
    key = signing_key(_secret(keys, access_key), date, region, service)
    scope = f"{date}/{region}/{service}/aws4_request"
    canonical = _canonical(request, "&".join(pieces), names, payload, service)
    _compare(_signature(key, timestamp, scope, canonical), given)
    return Signed(access_key, region, service, payload, key, given, timestamp, scope)


def _check_signed_names(request: Signable, names: str) -> None:
    """Refuse headers that change what a request means but are not part of its signature.

    The bearer of a presigned PUT could otherwise add `x-amz-copy-source` and read any object.
    """
    unsigned = _unsigned(names, tuple(request.headers))
    if unsigned:
        raise SignatureError(
            "unsigned",
            f"There were headers present in the request which were not signed: "
            f"{', '.join(unsigned)}.",
        )


@lru_cache(maxsize=256)
def _unsigned(names: str, present: tuple[str, ...]) -> list[str]:
    """Which headers of those present had to be among the signed `names`, but are not."""
    signed = MAY_BE_UNSIGNED.union(names.split(";"))
    return [
        name
        for name in present
        if name not in signed and (name == "host" or name.startswith("x-amz-"))
    ]


def _verify_old_query(request: Signable, keys: Mapping[str, str], now: float) -> Signed:
    """S3's query string authentication of Version 2: HMAC-SHA1 over method, expiry, resource."""
    pairs = parse_qsl(request.query, keep_blank_values=True)
    fields = dict(pairs)
    access_key, expires = fields["AWSAccessKeyId"], fields.get("Expires", "")
    if not expires.isdigit():
        raise SignatureError("incomplete", f"Expires must be seconds; it is {expires!r}.")
    if now > int(expires):
        raise SignatureError("expired", "Request has expired")
    amz = {k: v for k, v in request.headers.items() if k.startswith("x-amz-")}
    amz.update({k.lower(): v for k, v in pairs if k.lower().startswith("x-amz-")})
    headers = "".join(f"{k}:{SPACES.sub(' ', v.strip())}\n" for k, v in sorted(amz.items()))
    sub = sorted((k, v) for k, v in pairs if k in SUB_RESOURCES)
    resource = _old_resource(request)
    if sub:
        resource += "?" + "&".join(f"{k}={v}" if v else k for k, v in sub)
    text = "\n".join(
        [
            request.method,
            request.headers.get("content-md5", ""),
            request.headers.get("content-type", ""),
            expires,
            headers + resource,
        ]
    )
    secret = _secret(keys, access_key)
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()
    _compare(b64encode(digest).decode(), fields["Signature"].replace(" ", "+"))
    return Signed(access_key, "", "s3", UNSIGNED, b"", fields["Signature"], expires, "")


def _old_resource(request: Signable) -> str:
    """`/bucket/key`: in the virtual-host form the bucket stands in the Host header."""
    host = request.headers.get("host", "").partition(":")[0]
    for base in (".localhost", ".s3.amazonaws.com"):
        if host.endswith(base):
            return f"/{host[: -len(base)]}{request.path}"
    # A bucket alone is signed with the slash that its path may lack.
    return f"{request.path}/" if request.path.count("/") == 1 < len(request.path) else request.path


def _canonical(request: Signable, query: str, names: str, payload: str, service: str) -> str:
    headers = request.headers
    lines = []
    for name in names.split(";"):
        value = headers.get(name, "").strip()
        lines.append(f"{name}:{SPACES.sub(' ', value) if '  ' in value else value}\n")
    path = request.path if service == "s3" else _normal_path(request.path)
    return (
        f"{request.method}\n{path or '/'}\n{_canonical_query(query) if query else ''}\n"
        f"{''.join(lines)}\n{names}\n{payload}"
    )


@lru_cache(maxsize=4096)
def _normal_path(path: str) -> str:
    """The path without dot segments and doubled slashes, percent-encoded once more."""
    kept: list[str] = []
    for piece in path.split("/"):
        if piece == "..":
            kept = kept[:-1]
        elif piece not in ("", "."):
            kept.append(piece)
    out = "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")
    return quote(out, safe="/~")


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = []
    for piece in query.split("&"):
        key, _, value = piece.partition("=")
        pairs.append((_encoded(key), _encoded(value)))
    return "&".join(f"{key}={value}" for key, value in sorted(pairs))


def _encoded(text: str) -> str:
    return quote(unquote(text.replace("+", "%20")), safe="-_.~")


@lru_cache(maxsize=1024)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The derived key of a day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _signature(key: bytes, timestamp: str, scope: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}"
    # HMAC as RFC 2104 defines it: the two hashes that have read the key are kept and copied.
    start = _hmac_start(key)
    inner, outer = start[0].copy(), start[1].copy()
    inner.update(text.encode())
    outer.update(inner.digest())
    return outer.hexdigest()


@lru_cache(maxsize=256)
def _hmac_start(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """SHA-256 after the inner and the outer pad of a key of at most 64 bytes."""
    padded = key.ljust(64, b"\0")
    return (
        hashlib.sha256(bytes(byte ^ 0x36 for byte in padded)),
        hashlib.sha256(bytes(byte ^ 0x5C for byte in padded)),
    )


def _secret(keys: Mapping[str, str], access_key: str) -> str:
    secret = keys.get(access_key)
    if secret is None:
        raise SignatureError(
            "unknown-key",
            f"The security token included in the request is invalid: no key {access_key!r} here; "
            "`loopwright keys list --home DIR` lists the valid ones.",
        )
    return secret


def _compare(wanted: str, given: str) -> None:
    if not hmac.compare_digest(wanted.encode(), given.encode()):
        raise SignatureError(
            "mismatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your secret access key and signing method.",
        )


@lru_cache(maxsize=64)
def _seconds(timestamp: str) -> float:
    try:
        return datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise SignatureError(
            "incomplete", f"X-Amz-Date must be YYYYMMDDTHHMMSSZ; it is {timestamp!r}."
        ) from None


def _from_http_date(request: Signable) -> str:
    text = request.headers.get("date")
    if text is None:
        raise SignatureError("incomplete", "The request needs an X-Amz-Date or Date header.")
    try:
        moment = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT")
    except ValueError:
        return text
    return moment.strftime("%Y%m%dT%H%M%SZ")


def _check_skew(timestamp: str, now: float) -> None:
    signed_at = _seconds(timestamp)
    if abs(now - signed_at) > SKEW_S:
        raise SignatureError(
            "skewed",
            f"Signature expired: {timestamp} is more than {SKEW_S // 60} minutes from the "
            "server's time; set the client's clock.",
        )
