"""Workers whom a provider of one's own signs in: a whole code flow against an HTTPS provider."""

import base64
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.real.people import flow
from tests.real.test_portal_security import Visitor
from tests.server import BUCKET, Server

pytestmark = pytest.mark.real
CLIENT, SECRET = "loopwright", "s3cret"


class Provider:
    """An OpenID Connect provider whose next token a test can spoil."""

    def __init__(self, folder: Path) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.stranger = rsa.generate_private_key(65537, 2048)
        self.claims: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        self.signed_by: Any = self.key
        self.codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._send(*provider.token(dict(parse_qsl(body))))

            def do_GET(self) -> None:
                if self.path == "/keys":
                    self._send(200, provider.keys())
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

        self.certificate = folder / "provider.pem"
        self._certify(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, folder / "provider.key")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _certify(self, folder: Path) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.now(UTC)
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        found = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(address, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.certificate.write_bytes(found.public_bytes(serialization.Encoding.PEM))
        (folder / "provider.key").write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def keys(self) -> dict[str, Any]:
        document = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**document, "kid": "one", "use": "sig", "alg": "RS256"}]}

    def allow(self, address: str) -> dict[str, str]:
        """Somebody says yes at the provider; what the browser brings back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
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
        token = jwt.encode(claims, self.signed_by, "RS256", headers={"kid": "one"})
        return 200, {"id_token": token, "access_token": "access", "token_type": "Bearer"}


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
        ({"aud": "somebody"}, "not right"),
        ({"iss": "https://evil.example"}, "not right"),
        ({"exp": 1}, "not right"),
        ({"sub": None}, "not right"),
    ],
)
def test_a_token_that_is_not_right_signs_nobody_in(
    trusting: tuple[Server, dict[str, Any]],
    provider: Provider,
    claims: dict[str, Any],
    match: str,
) -> None:
    provider.claims = {"sagemaker:groups": ["labelers"], **claims}
    status, text, visitor = _come(trusting[0], provider)
    provider.claims = {}
    assert status == 403
    assert match in text
    assert visitor.ask("GET", "/work")[1]["Location"] == "/work/sign-in"


def test_forged_keys_states_and_codes_sign_nobody_in(
    trusting: tuple[Server, dict[str, Any]], provider: Provider
) -> None:
    server, _ = trusting
    provider.claims, provider.info = {"sagemaker:groups": ["labelers"]}, {}
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
