"""Brings events to their targets: an HTTP address with its connection's secret, or a function."""

import base64
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import orjson

from loopwright.aws.events.bus import Bus
from loopwright.outgoing import ask
from loopwright.wire.errors import ApiError

LOG = logging.getLogger(__name__)
TIMEOUT_S: Final = 5.0
"""EventBridge's own limit for an API destination."""
RETRY_S_MAX: Final = 300.0
ATTEMPTS_DEFAULT: Final = 185
AGE_DEFAULT_S: Final = 86_400
RATE_DEFAULT: Final = 300
"""Requests a second to one API destination that names no `InvocationRateLimitPerSecond`."""
QUOTE: Final = re.compile(r'(?<!\\)"')
VARIABLE: Final = re.compile(r"<([A-Za-z0-9_.-]+)>")
Invoke = Callable[[str, str, bytes], None]


class Delivery:
    """Empties the outbox; called by one thread.

    Args:
        invoke: `invoke(function ARN, id, payload)` has a function run once for an id.
    """

    def __init__(self, bus: Bus, invoke: Invoke) -> None:
        self._bus = bus
        self._invoke = invoke
        self._rates = Rates()

    def round(self, now: float) -> int:
        """Try what is due; how many were tried or given a later time."""
        rows = self._bus.due(now)
        for row in rows:
            target = orjson.loads(row.target)
            try:
                if not self._deliver(row, target, now):
                    continue
                self._bus.settle(row.id, row.attempts + 1, None, "delivered")
            except (OSError, ApiError, ValueError) as error:
                # ValueError: a header or an address that no request can be made of. It must not
                # keep what is due after it from being delivered.
                self._failed(row, target, str(error))
        return len(rows)

    def _failed(self, row: Any, target: Mapping[str, Any], reason: str) -> None:
        policy = target.get("RetryPolicy", {})
        attempts = row.attempts + 1
        now = time.time()
        tries = policy.get("MaximumRetryAttempts", ATTEMPTS_DEFAULT) + 1
        age_s = policy.get("MaximumEventAgeInSeconds", AGE_DEFAULT_S)
        over = attempts >= tries or now - row.put >= age_s
        wait_s = min(2.0**row.attempts, RETRY_S_MAX)
        level = logging.ERROR if over else logging.WARNING
        what = "given up" if over else f"tried again in {wait_s:g} s"
        LOG.log(level, "event %s to %s: %s; %s", row.id, target["Arn"], reason, what)
        self._bus.settle(row.id, attempts, None if over else now + wait_s, reason)

    def _deliver(self, row: Any, target: Mapping[str, Any], now: float) -> bool:
        """Deliver; False if the destination's rate allows it only later, for which it is kept."""
        payload = payload_of(target, orjson.loads(row.event), row.id.split("/")[1])
        if ":lambda:" in target["Arn"]:
            self._invoke(target["Arn"], row.id, payload)
            return True
        name = target["Arn"].split(":api-destination/")[1].split("/")[0]
        destination = self._bus.entry("destination", row.region, name)
        if destination is None:
            raise ApiError("ResourceNotFoundException", f"API destination {name} is gone")
        rate = destination.get("InvocationRateLimitPerSecond", RATE_DEFAULT)
        due = self._rates.due(f"{row.region}/{name}", row.id, rate, now)
        if due > now:
            self._bus.settle(row.id, row.attempts, due, f"waits for its turn: {rate} a second")
            return False
        connection = destination["ConnectionArn"].split(":connection/")[1].split("/")[0]
        secret = self._bus.entry("connection", row.region, connection)
        if secret is None:
            raise ApiError("ResourceNotFoundException", f"connection {connection} is gone")
        _send(destination, secret, target.get("HttpParameters", {}), payload)
        return True


class Rates:
    """When requests to destinations are due, so that none gets more a second than it allows.

    Each request is given its own time once. A restart forgets the times: what waited then gets
    a new one, so the rate is kept, and at most the second of the restart has more.
    """

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._given: dict[str, float] = {}

    def due(self, destination: str, request: str, rate: float, now: float) -> float:
        """The time of a request, seconds since the epoch: `now`, or later. `rate`: a second."""
        given = self._given.get(request)
        if given is not None and given > now:
            return given
        if given is not None:
            del self._given[request]
            return now
        due = max(now, self._next.get(destination, 0.0))
        self._next[destination] = due + 1.0 / rate
        if due > now:
            self._given[request] = due
        return due


def payload_of(target: Mapping[str, Any], event: Mapping[str, Any], rule: str = "") -> bytes:
    """What a target gets: the event, a part of it, a constant, or a text made of parts."""
    if "Input" in target:
        return str(target["Input"]).encode()
    if "InputPath" in target:
        return orjson.dumps(_at(target["InputPath"], event))
    transformer = target.get("InputTransformer")
    if transformer is None:
        return orjson.dumps(event)
    values = {name: _at(path, event) for name, path in transformer.get("InputPathsMap", {}).items()}
    values |= {
        "aws.events.event": event,
        "aws.events.event.json": event,
        "aws.events.event.ingestion-time": event["time"],
        "aws.events.rule-name": rule,
        "aws.events.rule-arn": f"arn:aws:events:{event['region']}:{event['account']}:rule/{rule}",
    }
    return _filled(transformer["InputTemplate"], values).encode()


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """A template with its variables: as JSON where a value stands, as text within quotes."""
    is_json = template.lstrip()[:1] in ("{", "[", '"')
    parts: list[str] = []
    at, quoted = 0, False
    for match in VARIABLE.finditer(template):
        before = template[at : match.start()]
        at = match.end()
        quoted ^= len(QUOTE.findall(before)) % 2 == 1
        value = values.get(match[1])
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        if is_json and not quoted:
            text = orjson.dumps(value).decode()
        elif value is None:
            text = ""
        elif is_json:
            text = orjson.dumps(text).decode()[1:-1]
        parts += [before, text]
    return "".join(parts) + template[at:]


def _at(path: str, event: Any) -> Any:
    """The part of an event at a JSON path such as `$.detail.list[0]`; None when it has none."""
    found = event
    for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path):
        try:
            found = found[name] if name else found[int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return found


def _send(
    destination: Mapping[str, Any],
    connection: Mapping[str, Any],
    parameters: Mapping[str, Any],
    payload: bytes,
) -> None:
    given = connection["AuthParameters"]
    more = given.get("InvocationHttpParameters", {})
    headers = {"Content-Type": "application/json", "User-Agent": "Loopwright/EventBridge"}
    headers |= {item["Key"]: item["Value"] for item in more.get("HeaderParameters", ())}
    headers |= parameters.get("HeaderParameters", {})
    if basic := given.get("BasicAuthParameters"):
        both = f"{basic['Username']}:{basic['Password']}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(both).decode()}"
    if key := given.get("ApiKeyAuthParameters"):
        headers[key["ApiKeyName"]] = key["ApiKeyValue"]
    address = destination["InvocationEndpoint"]
    for value in parameters.get("PathParameterValues", ()):
        address = address.replace("*", quote(value, safe=""), 1)
    query = {item["Key"]: item["Value"] for item in more.get("QueryStringParameters", ())}
    query |= parameters.get("QueryStringParameters", {})
    if query:
        address += ("&" if urlsplit(address).query else "?") + urlencode(query)
    method = destination["HttpMethod"]
    body = None if method in ("GET", "HEAD", "OPTIONS") else payload
    answer = ask(address, method, headers, body, timeout_s=TIMEOUT_S)
    if not 200 <= answer.status < 300:
        raise OSError(f"{address} answered {answer.status}")
