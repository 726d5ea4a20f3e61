"""Cross-origin rules of buckets: their checks, preflight answers, and headers on responses."""

import re
from typing import Any, Final

from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request, Response

RULES_MAX: Final = 100
METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD")
VARY: Final = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"

Rule = dict[str, Any]


def check_rules(rules: list[Rule]) -> list[Rule]:
    """The rules of a bucket as stored.

    Raises:
        ApiError: `MalformedXML`, `InvalidRequest`.
    """
    if not 1 <= len(rules) <= RULES_MAX:
        raise ApiError("MalformedXML", f"A bucket has 1 to {RULES_MAX} CORS rules.", 400)
    for rule in rules:
        if not rule.get("AllowedMethods") or not rule.get("AllowedOrigins"):
            raise ApiError(
                "MalformedXML", "A CORS rule needs an AllowedMethod and an AllowedOrigin.", 400
            )
        for method in rule["AllowedMethods"]:
            if method not in METHODS:
                raise ApiError(
                    "InvalidRequest",
                    f"Found unsupported HTTP method in CORS config. Unsupported method is {method}",
                    400,
                )
        for pattern in [*rule["AllowedOrigins"], *rule.get("AllowedHeaders", [])]:
            if pattern.count("*") > 1:
                raise ApiError(
                    "InvalidRequest", f"{pattern!r} cannot have more than one wildcard.", 400
                )
    return rules


def preflight(request: Request, rules: list[Rule]) -> Response:
    """The answer to an OPTIONS request.

    Raises:
        ApiError: `BadRequest`, `AccessForbidden`.
    """
    origin = request.headers.get("origin")
    method = request.headers.get("access-control-request-method")
    if not origin:
        raise ApiError("BadRequest", "Insufficient information. Origin request header needed.", 400)
    if method not in METHODS:
        raise ApiError("BadRequest", f"Invalid Access-Control-Request-Method: {method}", 400)
    asked = [
        name.strip().lower()
        for name in request.headers.get("access-control-request-headers", "").split(",")
        if name.strip()
    ]
    rule = _find(rules, origin, method, asked)
    if rule is None:
        raise ApiError(
            "AccessForbidden",
            "CORSResponse: This CORS request is not allowed. This is usually because the "
            "evaluation of Origin, request method / Access-Control-Request-Method or "
            "Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
            403,
            Method=method,
            ResourceType="OBJECT",
        )
    headers = _headers(rule, origin)
    if asked:
        headers["Access-Control-Allow-Headers"] = ", ".join(asked)
    if "MaxAgeSeconds" in rule:
        headers["Access-Control-Max-Age"] = str(rule["MaxAgeSeconds"])
    return Response(200, headers | {"Content-Length": "0"})


def response_headers(request: Request, rules: list[Rule]) -> dict[str, str]:
    """The headers that let a page of the request's origin read the response; maybe none."""
    origin = request.headers.get("origin", "")
    rule = _find(rules, origin, request.method, [])
    return {} if rule is None else _headers(rule, origin)


def _headers(rule: Rule, origin: str) -> dict[str, str]:
    headers = {"Access-Control-Allow-Methods": ", ".join(rule["AllowedMethods"]), "Vary": VARY}
    if "*" in rule["AllowedOrigins"]:
        headers["Access-Control-Allow-Origin"] = "*"
    else:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"
    if rule.get("ExposeHeaders"):
        headers["Access-Control-Expose-Headers"] = ", ".join(rule["ExposeHeaders"])
    return headers


def _find(rules: list[Rule], origin: str, method: str, asked: list[str]) -> Rule | None:
    """The first rule that allows all of it."""
    for rule in rules:
        if (
            method in rule["AllowedMethods"]
            and any(_fits(pattern, origin) for pattern in rule["AllowedOrigins"])
            and all(
                any(_fits(pattern.lower(), name) for pattern in rule.get("AllowedHeaders", []))
                for name in asked
            )
        ):
            return rule
    return None


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None
