"""The gateway's own counts as a page for Prometheus: `GET /metrics` with basic authentication.

User and password are an access key and its secret, since Prometheus cannot sign as AWS's clients
do. Format: the Prometheus documentation on exposition formats, text, version 0.0.4.
"""

import base64
import binascii
import hmac
from collections.abc import Iterator, Mapping
from typing import Final

from loopwright.router.routes import Route, Routes
from loopwright.router.tallies import BUCKETS, MICROSECONDS, Counted, Key, Tallies

PATH: Final = b"/metrics"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
COUNTERS: Final = (
    ("loopwright_invocations_total", "Invocations that a model server had.", 0),
    ("loopwright_invocation_4xx_errors_total", "Answers of models with a 4XX status.", 1),
    ("loopwright_invocation_5xx_errors_total", "Answers with a 5XX status, or none.", 2),
)
LATENCY: Final = "loopwright_model_latency_seconds"


def allowed(authorization: str, keys: Mapping[str, str]) -> bool:
    """Whether basic authentication names an access key and its secret."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    secret = keys.get(user)
    return secret is not None and hmac.compare_digest(secret.encode(), password.encode())


def page(tallies: Tallies, routes: Routes) -> str:
    """All counts of all workers since the gateway began, and the instances that answer now."""
    held = tallies.all()
    lines: list[str] = []
    for name, text, index in COUNTERS:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
        lines += [f"{name}{_labels(key)} {tally.ever[index]:.15g}" for key, tally in held]
    lines += [f"# HELP {LATENCY} Time at the model server.", f"# TYPE {LATENCY} histogram"]
    for key, tally in held:
        lines += _histogram(key, tally)
    name = "loopwright_instances"
    lines += [f"# HELP {name} Instances that answer.", f"# TYPE {name} gauge"]
    for route in routes.all():
        lines += _instances(name, route)
    return "\n".join(lines) + "\n"


def _histogram(key: Key, tally: Counted) -> Iterator[str]:
    seen = 0
    for index in range(BUCKETS - 1):
        seen += tally.buckets[index]
        le = 2.0**index / MICROSECONDS
        yield f"{LATENCY}_bucket{_labels(key, le=f'{le:g}')} {seen}"
    total = sum(tally.buckets)
    yield f"{LATENCY}_bucket{_labels(key, le='+Inf')} {total}"
    yield f"{LATENCY}_sum{_labels(key)} {tally.ever[3]:.9g}"
    yield f"{LATENCY}_count{_labels(key)} {total}"


def _instances(name: str, route: Route) -> Iterator[str]:
    for variant in (*route.variants, *(item.variant for item in route.shadows)):
        key = (route.region, route.endpoint, variant.config, variant.name)
        yield f"{name}{_labels(key)} {len(variant.instances)}"


def _labels(key: Key, **more: str) -> str:
    names = dict(zip(("region", "endpoint", "config", "variant"), key, strict=True)) | more
    # Names of SageMaker's resources have no character that would have to be escaped.
    return "{" + ",".join(f'{name}="{value}"' for name, value in names.items()) + "}"
