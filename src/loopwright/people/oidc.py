"""Signing in by a provider of one's own: OpenID Connect's code flow with PKCE.

Authlib makes the requests of the flow and checks the ID token's claims (issuer, audience,
authorized party, times, nonce, hash of the access token: OpenID Connect Core 1.0, 3.1.3.7);
joserfc, which it stands on, checks the signature. The provider's keys are asked for at each
sign-in, so from the next one on a new key counts and a withdrawn one does not. Groups come from the
token or from the user-info endpoint, in the claim that SageMaker names: `sagemaker:groups`
(developer guide, "Create a Private Workforce (OIDC IdP)").
"""

import hashlib
import importlib
import json
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from loopwright.outgoing import ask
from loopwright.people.accounts import CONFIRMED, Accounts, User
from loopwright.wire.errors import ApiError

# The last one is what many providers have by themselves; it counts when neither token nor user
# info has one of SageMaker's.
GROUP_CLAIMS: Final = ("sagemaker:groups", "sagemaker-groups", "groups")
KEY_TYPES: Final = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "ES256": "EC", "ES384": "EC",
    "EdDSA": "OKP",
}  # fmt: skip
"""The signatures that count, by what signs them: of keys that only the provider has."""
OURS: Final = (
    "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
    "code_challenge_method",
)  # fmt: skip
"""What no extra parameter of a workforce takes the place of."""
TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 1_048_576
LEEWAY_S: Final = 60
HEADER_BYTES_MAX: Final = 16_384
"""Some providers put their certificates there."""


class OidcError(Exception):
    """Why the provider's answer signs nobody in."""


@dataclass(frozen=True, slots=True)
class Going:
    """Somebody on the way to the provider: what must come back, and what proves it."""

    address: str
    state: str
    nonce: str
    verifier: str


def pool_of(region: str, workforce: str) -> str:
    """The pool in which users of a workforce are kept whom a provider signs in."""
    return f"oidc/{region}/{workforce}"


def begin(config: Mapping[str, Any], callback: str) -> Going:
    """Where to send a browser.

    Args:
        config: `OidcConfig` of the workforce.
        callback: Our own address that the provider sends it back to.
    """
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    more = config.get("AuthenticationRequestExtraParams", {})
    address, _ = _client(config, callback).create_authorization_url(
        _encoded(config["AuthorizationEndpoint"]), state=state, code_verifier=verifier, nonce=nonce,
        **{name: text for name, text in more.items() if name not in OURS},
    )  # fmt: skip
    return Going(address, state, nonce, verifier)


def _encoded(address: str) -> str:
    """With a query that holds only what a query may hold."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(query=quote(parts.query, safe="%=&+~!$,;:'()*/?@")))


def _lazy(name: str) -> ModuleType:
    """A declared lazy seam: what only a sign-in needs is not loaded by `serve`."""
    return importlib.import_module(name)


def _client(config: Mapping[str, Any], callback: str) -> Any:
    return _lazy("authlib.oauth2.client").OAuth2Client(
        _Session(), config["ClientId"], config["ClientSecret"],
        token_endpoint_auth_method="client_secret_post", scope=config.get("Scope") or "openid",
        redirect_uri=callback, code_challenge_method="S256",
    )  # fmt: skip


def finish(
    config: Mapping[str, Any], code: str, callback: str, nonce: str, verifier: str
) -> dict[str, Any]:
    """The claims of whom the provider signed in, with user info merged in.

    Raises:
        OidcError: the provider refuses, does not answer, or its token is not right.
    """
    tokens = _client(config, callback).fetch_token(
        config["TokenEndpoint"],
        grant_type="authorization_code",
        code=code,
        code_verifier=verifier,
    )
    claims = _checked(config, tokens, nonce)
    if not _groups(claims, GROUP_CLAIMS[:2]) and tokens.get("access_token"):
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        more = _asked(config["UserInfoEndpoint"], bearer)
        if more.get("sub") not in (None, claims["sub"]):
            raise OidcError("The provider's user info is about somebody else.")
        claims = {**more, **claims}
    return claims


def _checked(config: Mapping[str, Any], tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
    """The claims of the ID token."""
    keys = _asked(config["JwksUri"], {}).get("keys")
    if not isinstance(keys, list):
        raise OidcError(f"{config['JwksUri']} answered no key set.")
    jose, registry = _lazy("joserfc.errors"), _lazy("joserfc.jws").JWSRegistry
    # RFC 9864 gives EdDSA a name for each curve; providers go on using the old one.
    warnings.filterwarnings("ignore", "EdDSA is deprecated", jose.SecurityWarning)
    lenient = registry(algorithms=list(KEY_TYPES), strict_check_header=False)
    lenient.max_header_length = HEADER_BYTES_MAX
    lenient.max_payload_length = ANSWER_BYTES_MAX
    client = config["ClientId"]
    try:
        token = _lazy("joserfc.jwt").decode(
            str(tokens.get("id_token", "")), _picked(keys), registry=lenient
        )
        claims = _lazy("authlib.oidc.core.claims").CodeIDToken(
            token.claims,
            token.header,
            {
                "iss": {"essential": True, "value": config["Issuer"]},
                "aud": {"essential": True, "value": client},
                "sub": {"essential": True},
            },
            {
                "client_id": client,
                "nonce": nonce,
                "access_token": tokens.get("access_token"),
            },
        )
        claims.validate(leeway=LEEWAY_S)
    except (jose.JoseError, ValueError, TypeError, KeyError) as error:
        if isinstance(error, jose.ClaimError) and error.claim == "nonce":
            raise OidcError("The provider's token belongs to another sign-in.") from None
        raise OidcError(f"The provider's token is not right: {error}.") from None
    return dict(claims)


def _picked(keys: Sequence[Any]) -> Callable[[Any], Any]:
    """Chooses the key that a token names; a set of one needs no name.

    A set may hold keys that we cannot read: only the chosen one is read.
    """

    def pick(token: Any) -> Any:
        header = token.headers()
        fitting = [
            key
            for key in keys
            if isinstance(key, dict)
            and key.get("kty") == KEY_TYPES.get(header["alg"])
            and key.get("alg", header["alg"]) == header["alg"]
            and key.get("use", "sig") == "sig"
        ]
        name = header.get("kid")
        named = [key for key in fitting if name is not None and key.get("kid") == name]
        if len(keys) == 1:
            named = fitting
        if not named:
            raise OidcError("The provider signed with a key that it does not publish.")
        return _lazy("joserfc.jwk").import_key(dict(named[0]))

    return pick


def _groups(claims: Mapping[str, Any], names: Sequence[str] = GROUP_CLAIMS) -> list[str]:
    for name in names:
        found = claims.get(name)
        if isinstance(found, str):
            return [found]
        if isinstance(found, list):
            return [str(item) for item in found]
    return []


class _Session:
    """What Authlib's client asks by."""

    def post(
        self, url: str, data: Mapping[str, str], headers: Mapping[str, str], auth: Any
    ) -> "_Tokens":
        to, more, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        found = _asked(to, more, body.encode())
        if "error" in found:
            raise OidcError(f"{url} answered {found['error']}: {found.get('error_description')}")
        return _Tokens(found)


class _Tokens:
    """A token endpoint's answer, which was 200 and a JSON object."""

    status_code = 200

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def json(self) -> dict[str, Any]:
        return self._document


def _asked(address: str, headers: Mapping[str, str], body: bytes | None = None) -> dict[str, Any]:
    """The JSON object that a provider answers."""
    given = {"Accept": "application/json", "User-Agent": "loopwright", **headers}
    try:
        answer = ask(
            address, "POST" if body is not None else "GET", given, body,
            timeout_s=TIMEOUT_S, bytes_max=ANSWER_BYTES_MAX,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise OidcError(f"{address} could not be asked: {error}") from None
    if not 200 <= answer.status < 300:
        words = answer.content[:500].decode("utf-8", "replace")
        raise OidcError(f"{address} answered {answer.status}: {words}")
    try:
        found = json.loads(answer.content)
    except ValueError as error:
        raise OidcError(f"{address} could not be asked: {error}") from None
    if not isinstance(found, dict):
        raise OidcError(f"{address} answered no JSON object.")
    return found


def keep_user(
    accounts: Accounts, region: str, workforce: str, claims: Mapping[str, Any], now: float
) -> User:
    """The user of these claims, made at the first sign-in; groups follow the provider each time."""
    pool = pool_of(region, workforce)
    name = hashlib.sha256(f"{claims['iss']}\n{claims['sub']}".encode()).hexdigest()[:32]
    attributes = {
        "iss": str(claims["iss"]),
        "oidc_sub": str(claims["sub"]),
        "name": str(claims.get("name") or claims.get("preferred_username") or ""),
    }
    try:
        user = accounts.find(pool, name)
        accounts.set_attributes(user, attributes, now)
    except ApiError:
        user = accounts.add(pool, name, attributes, now, status=CONFIRMED)
    accounts.set_groups(user, _groups(claims))
    return accounts.find(pool, name)
