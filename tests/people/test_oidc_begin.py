"""Where a browser is sent to sign in at a provider."""

import base64
import hashlib
from urllib.parse import parse_qsl, urlsplit

from loopwright.people.oidc import begin

CONFIG = {
    "ClientId": "loop & wright",
    "ClientSecret": "s",
    "AuthorizationEndpoint": "https://idp.example:8443/auth?p=B2C_1|sign{in}&q=a%20b#",
    "Scope": "openid profile",
    "AuthenticationRequestExtraParams": {"prompt": "login", "state": "fixed", "nonce": "fixed"},
}


def test_the_request_holds_what_the_flow_needs_and_what_the_provider_wants() -> None:
    going = begin(CONFIG, "http://127.0.0.1:8017/work/oidc/callback")
    parts = urlsplit(going.address)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "idp.example:8443", "/auth")
    pairs = parse_qsl(parts.query)
    asked = dict(pairs)
    assert len(pairs) == len(asked), "nothing twice"
    digest = hashlib.sha256(going.verifier.encode()).digest()
    assert asked == {
        "p": "B2C_1|sign{in}",
        "q": "a b",
        "response_type": "code",
        "client_id": "loop & wright",
        "redirect_uri": "http://127.0.0.1:8017/work/oidc/callback",
        "scope": "openid profile",
        "state": going.state,
        "nonce": going.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "prompt": "login",
    }


def test_no_two_sign_ins_share_a_secret_and_openid_is_asked_for_by_itself() -> None:
    bare = {name: CONFIG[name] for name in ("ClientId", "ClientSecret", "AuthorizationEndpoint")}
    one, other = (begin(bare, "http://127.0.0.1/") for _ in range(2))
    assert not {one.state, one.nonce, one.verifier} & {other.state, other.nonce, other.verifier}
    assert all(len(text) >= 43 for text in (one.state, one.nonce, one.verifier))
    assert dict(parse_qsl(urlsplit(one.address).query))["scope"] == "openid"
