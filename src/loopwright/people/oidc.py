"""Signing in by a provider of one's own: OpenID Connect's code flow with PKCE.

The ID token is checked by PyJWT against the provider's keys (signature, issuer, audience, times,
nonce); groups come from the token or from the user-info endpoint, in the claim that SageMaker
names: `sagemaker:groups` (developer guide, "Create a Private Workforce (OIDC IdP)").
"""

import base64
import hashlib
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import jwt

from loopwright.people.accounts import CONFIRMED, Accounts, User
from loopwright.wire.errors import ApiError

# The last one is what many providers have by themselves; it counts when neither token nor user
# info has one of SageMaker's.
GROUP_CLAIMS: Final = ("sagemaker:groups", "sagemaker-groups", "groups")
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "EdDSA")
TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 1_048_576
LEEWAY_S: Final = 60


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
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    query = {
        **config.get("AuthenticationRequestExtraParams", {}),
        "response_type": "code",
        "client_id": config["ClientId"],
        "redirect_uri": callback,
        "scope": config.get("Scope") or "openid",
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge.rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    mark = "&" if "?" in config["AuthorizationEndpoint"] else "?"
    address = f"{config['AuthorizationEndpoint']}{mark}{urlencode(query)}"
    return Going(address, state, nonce, verifier)


def finish(
    config: Mapping[str, Any], code: str, callback: str, nonce: str, verifier: str
) -> dict[str, Any]:
    """The claims of whom the provider signed in, with user info merged in.

    Raises:
        OidcError: the provider refuses, does not answer, or its token is not right.
    """
    tokens = _call(
        config["TokenEndpoint"],
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
            "client_id": config["ClientId"],
            "client_secret": config["ClientSecret"],
            "code_verifier": verifier,
        },
    )
    claims = _checked(config, str(tokens.get("id_token", "")), nonce)
    if not _groups(claims, GROUP_CLAIMS[:2]) and tokens.get("access_token"):
        more = _call(config["UserInfoEndpoint"], None, str(tokens["access_token"]))
        if more.get("sub") not in (None, claims["sub"]):
            raise OidcError("The provider's user info is about somebody else.")
        claims = {**more, **claims}
    return claims


def _checked(config: Mapping[str, Any], token: str, nonce: str) -> dict[str, Any]:
    keys = _call(config["JwksUri"], None)
    try:
        header = jwt.get_unverified_header(token)
        found = jwt.PyJWKSet.from_dict(keys)
        key = next(
            (key for key in found.keys if key.key_id == header.get("kid")),
            found.keys[0] if len(found.keys) == 1 else None,
        )
        if key is None:
            raise OidcError("The provider signed with a key that it does not publish.")
        claims: dict[str, Any] = jwt.decode(
            token, key=key, algorithms=list(ALGORITHMS), audience=config["ClientId"],
            issuer=config["Issuer"], leeway=LEEWAY_S,
            options={"require": ["exp", "iat", "sub", "iss", "aud"]},
        )  # fmt: skip
    except jwt.PyJWTError as error:
        raise OidcError(f"The provider's token is not right: {error}.") from None
    if claims.get("nonce") != nonce:
        raise OidcError("The provider's token belongs to another sign-in.")
    return claims


def _groups(claims: Mapping[str, Any], names: Sequence[str] = GROUP_CLAIMS) -> list[str]:
    for name in names:
        found = claims.get(name)
        if isinstance(found, str):
            return [found]
        if isinstance(found, list):
            return [str(item) for item in found]
    return []


def _call(address: str, form: Mapping[str, str] | None, token: str = "") -> dict[str, Any]:
    headers = {"Accept": "application/json", "User-Agent": "loopwright"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(address, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            found = json.loads(answer.read(ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        words = error.read(500).decode("utf-8", "replace")
        raise OidcError(f"{address} answered {error.code}: {words}") from None
    except (OSError, ValueError) as error:
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
