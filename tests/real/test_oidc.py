"""Workers whom a provider of one's own signs in: a whole code flow against an HTTPS provider."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from botocore.exceptions import ClientError
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.real.certificates import certified
from tests.real.people import flow
from tests.real.test_portal_security import Visitor
from tests.server import BUCKET, Server

pytestmark = pytest.mark.real
CLIENT, SECRET = "loopwright", "s3 cr+t/&=%7E"


class Provider:
    """An OpenID Connect provider whose next token a test can spoil."""

    def __init__(self, folder: Path) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.stranger = RSAKey.generate_key(2048, {"kid": "one"})
        self.path = folder
        self.reset()
        self.codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._send(*provider.token(dict(parse_qsl(body))))

            def do_GET(self) -> None:
                if self.path == "/keys":
                    self._send(200, {"keys": provider.published})
                else:
                    right = self.headers.get("Authorization") == "Bearer access"
                    self._send(200 if right else 401, provider.info)

            def _send(self, status: int, document: Any) -> None:
                content = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                return

        made = certified(folder)
        self.certificate = made.certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.certificate, made.key_file)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """Right answers again."""
        self.claims: dict[str, Any] = {"sagemaker:groups": ["labelers"]}
        self.info: dict[str, Any] = {}
        self.signed_by: Any = self.key
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.published: Any = [{**self.key.as_dict(private=False), "use": "sig", "alg": "RS256"}]
        self.answer: dict[str, Any] = {}

    def allow(self, address: str) -> dict[str, str]:
        """Somebody says yes at the provider; what the browser brings back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = f"code/+ =&%20{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        secret = (form["client_id"], form["client_secret"]) == (CLIENT, SECRET)
        if asked is None or challenge != asked["code_challenge"] or not secret:
            return 400, {"error": "invalid_grant"}
        assert form["redirect_uri"] == asked["redirect_uri"]
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "person-1",
            "iat": now,
            "exp": now + 60,
            "nonce": asked["nonce"],
            "name": "Ana",
            **self.claims,
        }
        for name in [name for name, value in claims.items() if value is ...]:
            del claims[name]
        token = self.sign(json.dumps(claims).encode())
        return 200, {
            "id_token": token, "access_token": "access", "token_type": "Bearer", **self.answer,
        }  # fmt: skip

    def sign(self, content: bytes) -> str:
        if callable(self.signed_by):
            return str(self.signed_by(self.header, content))
        registry = jws.JWSRegistry(algorithms=[self.header["alg"]], strict_check_header=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of EdDSA's old name, which providers go on using.
            found = jws.serialize_compact(self.header, content, self.signed_by, registry=registry)
        return str(found)


def _packed(header: dict[str, Any], content: bytes) -> str:
    parts = (json.dumps(header).encode(), content)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def unsigned(header: dict[str, Any], content: bytes) -> str:
    return _packed(header, content) + "."


def confused(provider: Provider) -> Any:
    """Signs as with a shared secret, which is the provider's public key."""

    def sign(header: dict[str, Any], content: bytes) -> str:
        text = _packed(header, content)
        found = hmac.digest(provider.key.as_pem(private=False), text.encode(), "sha256")
        return f"{text}.{base64.urlsafe_b64encode(found).rstrip(b'=').decode()}"

    return sign


def half(text: str, algorithm: str = "sha256") -> str:
    """`at_hash` of an access token (OpenID Connect Core 1.0, 3.1.3.6)."""
    digest = hashlib.new(algorithm, text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    made = Provider(tmp_path_factory.mktemp("provider"))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def trusting(
    provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server that trusts the provider's certificate, with a workforce and a team of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(provider.certificate))
        server = Server(tmp_path_factory.mktemp("oidc") / "home", cpus=1)
        server.start()
    config = {
        "ClientId": CLIENT,
        "ClientSecret": SECRET,
        "Issuer": provider.url,
        "AuthorizationEndpoint": f"{provider.url}/authorize",
        "TokenEndpoint": f"{provider.url}/token",
        "UserInfoEndpoint": f"{provider.url}/info",
        "LogoutEndpoint": f"{provider.url}/logout",
        "JwksUri": f"{provider.url}/keys",
    }
    sagemaker = server.client("sagemaker")
    sagemaker.create_workforce(WorkforceName="force", OidcConfig=config)
    sagemaker.create_workteam(
        WorkteamName="reviewers",
        WorkforceName="force",
        Description="of the provider",
        MemberDefinitions=[{"OidcMemberDefinition": {"Groups": ["labelers"]}}],
    )
    server.client("s3").create_bucket(Bucket=BUCKET)
    arn = flow(server, "flow", "reviewers")
    server.client("sagemaker-a2i-runtime").start_human_loop(
        HumanLoopName="loop",
        FlowDefinitionArn=arn,
        HumanLoopInput={"InputContent": '{"text": "hello"}'},
    )
    yield server, config
    server.stop()


def _come(server: Server, provider: Provider, **spoiled: str) -> tuple[int, str, Visitor]:
    """Sign in by the provider; status, text or where to, and the visitor."""
    visitor = Visitor(server)
    status, headers, _ = visitor.ask("GET", "/work/oidc/us-east-1/force")
    assert status == 303
    assert headers["Location"].startswith(f"{provider.url}/authorize?")
    back = {**provider.allow(headers["Location"]), **spoiled}
    status, headers, text = visitor.ask("GET", f"/work/oidc/callback?{urlencode(back)}")
    return status, headers.get("Location") or text, visitor


def test_a_person_of_the_right_group_works_and_keeps_who_they_are(
    trusting: tuple[Server, dict[str, Any]], provider: Provider
) -> None:
    server, _ = trusting
    provider.reset()
    shown = server.client("sagemaker").describe_workforce(WorkforceName="force")["Workforce"]
    assert "ClientSecret" not in shown["OidcConfig"]
    provider.claims, provider.info = {"sagemaker:groups": ["labelers"]}, {}
    status, where, visitor = _come(server, provider)
    assert (status, where) == (303, "/work")
    page = visitor.ask("GET", "/work")[2]
    assert "Ana" in page
    assert "review/flow" in page
    first = visitor.cookies["loopwright_work"]
    # The same person again, whose groups now come from the user info.
    provider.claims, provider.info = {}, {"sub": "person-1", "sagemaker:groups": "labelers"}
    _, _, again = _come(server, provider)
    assert "review/flow" in again.ask("GET", "/work")[2]
    assert again.cookies["loopwright_work"] != first
    # Out of the group: signed in, but without work.
    provider.claims, provider.info = {"sagemaker:groups": ["cooks"]}, {}
    _, where, out = _come(server, provider)
    assert where == "/work"
    assert "You are in no workteam yet" in out.ask("GET", "/work")[2]


@pytest.mark.parametrize(
    ("claims", "match"),
    [
        ({"nonce": "other"}, "another sign-in"),
        ({"nonce": ...}, "another sign-in"),
        ({"aud": "somebody"}, "not right"),
        ({"aud": ["somebody", "else"]}, "not right"),
        ({"aud": [CLIENT, "else"]}, "azp"),
        ({"azp": "somebody"}, "azp"),
        ({"aud": ...}, "not right"),
        ({"iss": "https://evil.example"}, "not right"),
        ({"iss": ...}, "not right"),
        ({"exp": 1}, "not right"),
        ({"exp": ...}, "not right"),
        ({"exp": "never"}, "not right"),
        ({"exp": int(time.time()) - 120}, "not right"),
        ({"nbf": int(time.time()) + 900}, "not right"),
        ({"iat": int(time.time()) + 900}, "not right"),
        ({"iat": ...}, "not right"),
        ({"sub": None}, "not right"),
        ({"sub": ""}, "not right"),
        ({"sub": ...}, "not right"),
        ({"at_hash": half("other")}, "at_hash"),
    ],
)
def test_a_token_that_is_not_right_signs_nobody_in(
    trusting: tuple[Server, dict[str, Any]],
    provider: Provider,
    claims: dict[str, Any],
    match: str,
) -> None:
    provider.reset()
    provider.claims |= claims
    status, text, visitor = _come(trusting[0], provider)
    assert status == 403
    assert match in text
    assert visitor.ask("GET", "/work")[1]["Location"] == "/work/sign-in"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 1, "iat": int(time.time()) + 30},
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "else"], "azp": CLIENT},
        {"at_hash": half("access")},
    ],
)
def test_what_a_right_token_may_hold(
    trusting: tuple[Server, dict[str, Any]], provider: Provider, claims: dict[str, Any]
) -> None:
    provider.reset()
    provider.claims |= claims
    if "exp" in claims:
        # Clocks may differ by a minute.
        provider.claims |= {"exp": int(time.time()) - 20, "iat": int(time.time()) + 20}
    assert _come(trusting[0], provider)[:2] == (303, "/work")


def _keys() -> dict[str, tuple[Any, dict[str, Any]]]:
    p256 = ECKey.generate_key("P-256", {"kid": "p256"})
    p384 = ECKey.generate_key("P-384", {"kid": "p384"})
    edwards = OKPKey.generate_key("Ed25519", {"kid": "ed"})
    rsa = RSAKey.generate_key(2048, {"kid": "two"})
    return {
        "ES256": (p256, {"alg": "ES256", "kid": "p256"}),
        "ES384": (p384, {"alg": "ES384", "kid": "p384"}),
        "EdDSA": (edwards, {"alg": "EdDSA", "kid": "ed"}),
        "PS256": (rsa, {"alg": "PS256", "kid": "two"}),
        "RS512": (rsa, {"alg": "RS512", "kid": "two"}),
        "certificates in the header": (
            rsa, {"alg": "RS256", "kid": "two", "x5c": ["MIIC" + "A" * 2000], "custom": 1},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(_keys()))
def test_a_new_key_counts_from_the_next_sign_in_on(
    trusting: tuple[Server, dict[str, Any]], provider: Provider, name: str
) -> None:
    """Whatever the kinds of keys beside it, also of such as nobody here can read."""
    provider.reset()
    key, provider.header = _keys()[name]
    provider.signed_by = key
    before = list(provider.published)
    status, text, _ = _come(trusting[0], provider)
    assert (status, "does not publish" in text or "bad_signature" in text) == (403, True)
    strange = [{"kty": "AKP", "kid": "pq", "alg": "ML-DSA-65", "pub": "x"}, {"kty": "EC"}, "text"]
    provider.published = [*strange, *before, key.as_dict(private=False)]
    assert _come(trusting[0], provider)[:2] == (303, "/work")
    provider.published = before
    assert _come(trusting[0], provider)[0] == 403, "a withdrawn key"


def test_a_set_of_one_key_needs_no_name(
    trusting: tuple[Server, dict[str, Any]], provider: Provider
) -> None:
    provider.reset()
    provider.header = {"alg": "RS256"}
    provider.signed_by = RSAKey.import_key(provider.key.as_dict(private=True, kid="x"))
    assert _come(trusting[0], provider)[:2] == (303, "/work")
    provider.published = [*provider.published, provider.stranger.as_dict(private=False)]
    status, text, _ = _come(trusting[0], provider)
    assert (status, "does not publish" in text) == (403, True)


def test_only_signatures_of_the_provider_s_own_key_count(
    trusting: tuple[Server, dict[str, Any]], provider: Provider
) -> None:
    shared = OctKey.import_key(SECRET * 4)
    forgeries: list[tuple[Any, dict[str, Any]]] = [
        (unsigned, {"alg": "none", "kid": "one"}),
        (unsigned, {"alg": "RS256", "kid": "one"}),
        (confused(provider), {"alg": "HS256", "kid": "one"}),
        (shared, {"alg": "HS256", "kid": "shared"}),
        (provider.stranger, {"alg": "RS256", "kid": "one"}),
        (provider.stranger, {"alg": "RS256", "kid": "one", "jwk": provider.stranger.as_dict()}),
        (lambda *_: "no token at all", {}),
        (lambda *_: "", {}),
    ]
    for signed_by, header in forgeries:
        provider.reset()
        provider.published = [*provider.published, {**shared.as_dict(), "kid": "shared"}]
        provider.signed_by, provider.header = signed_by, header
        assert _come(trusting[0], provider)[0] == 403, header


@pytest.mark.parametrize(
    ("spoiled", "match"),
    [
        ({"published": None}, "no key set"),
        ({"published": []}, "does not publish"),
        ({"answer": {"id_token": None}}, "not right"),
        ({"answer": {"error": "slow_down"}}, "slow_down"),
    ],
)
def test_a_provider_s_odd_answers_are_told(
    trusting: tuple[Server, dict[str, Any]],
    provider: Provider,
    spoiled: dict[str, Any],
    match: str,
) -> None:
    provider.reset()
    for name, value in spoiled.items():
        setattr(provider, name, value)
    status, text, _ = _come(trusting[0], provider)
    assert (status, match in text) == (403, True), text


def test_forged_keys_states_and_codes_sign_nobody_in(
    trusting: tuple[Server, dict[str, Any]], provider: Provider
) -> None:
    server, _ = trusting
    provider.reset()
    provider.signed_by = provider.stranger
    status, text, _ = _come(server, provider)
    provider.signed_by = provider.key
    assert (status, "not right" in text) == (403, True)
    assert _come(server, provider, state="guess")[0] == 403
    status, text, _ = _come(server, provider, code="guess")
    assert (status, "invalid_grant" in text) == (403, True)
    provider.claims, provider.info = {}, {"sub": "somebody-else", "sagemaker:groups": "labelers"}
    status, text, _ = _come(server, provider)
    assert (status, "somebody else" in text) == (403, True)
    assert Visitor(server).ask("GET", "/work/oidc/us-east-1/nobody")[0] == 404
    with pytest.raises(ClientError, match="provider of their own"):
        server.client("loopwright").invite_worker(WorkteamName="reviewers", Email="a@example.com")
