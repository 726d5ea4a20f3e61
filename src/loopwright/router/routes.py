"""Routes as the control plane publishes them: immutable documents in files, one an endpoint.

The gateway reads files and nothing else, so it serves while the control plane is away, and after
its own restart. A file is replaced by rename; the folder's own time says when to look again.
"""

import hashlib
import random
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson

from loopwright.router.tallies import Key, Tallies, Tally
from loopwright.wire.errors import ApiError
from loopwright.wire.near import did_you_mean

SETTLED_NS: Final = 100_000_000


@dataclass(eq=False)
class Instance:
    """One instance that answers. `outstanding` counts the requests it is working on."""

    unit_id: str
    address: str
    outstanding: int = 0


@dataclass(frozen=True)
class Variant:
    """A production variant: its share of the traffic is `weight` over the sum of weights.

    While an endpoint is updated, a variant may be there twice: with its old configuration and
    with the new one.
    """

    name: str
    weight: float
    least_outstanding: bool
    instances: tuple[Instance, ...]
    config: str = ""
    tally: Tally = field(default_factory=Tally, compare=False)

    def choose(
        self, avoid: frozenset[str] = frozenset(), session: str | None = None
    ) -> Instance | None:
        """An instance by the variant's routing strategy, none of `avoid`; None when all are out.

        A session stays with its instance while that is there (rendezvous hashing).
        """
        free = [item for item in self.instances if item.unit_id not in avoid]
        if not free:
            return None
        if len(free) == 1:
            return free[0]
        if session is not None:
            return max(free, key=lambda item: position(f"{session}@{item.unit_id}"))
        if self.least_outstanding:
            least = min(item.outstanding for item in free)
            free = [item for item in free if item.outstanding == least]
        return random.choice(free)


@dataclass(frozen=True)
class Shadow:
    """A variant that gets copies of `share` of the requests to the production variant `of`."""

    of: str
    share: float
    variant: Variant


@dataclass(frozen=True)
class Capture:
    """`DataCaptureConfig` of an endpoint in service.

    Attributes:
        share: Of the requests that are captured, 0 to 1.
        requests, answers: Whether these are kept.
        told: What the control plane needs to know, as JSON: see `hosting.plan`.
    """

    share: float
    requests: bool
    answers: bool
    told: orjson.Fragment


@dataclass(frozen=True)
class Group:
    """Users whose attribute has one of the values go to one variant."""

    attribute: str
    values: frozenset[str]
    variant: str


@dataclass(frozen=True)
class Route:
    """Where the requests of an endpoint go.

    Attributes:
        variants: With weights; `totals` are their sums up to each one.
        sticky: The custom attribute by which users keep their variant; empty: the session only.
        observed: Whether each request is told to the control plane.
        reviewed: Whether requests and answers are told to the control plane, for review rules.
        plain: Whether nothing but a variant is to be found for a request.
        chances: By variant's name, of a request without a target, as JSON.
    """

    endpoint: str
    region: str
    arn: str
    variants: tuple[Variant, ...]
    totals: tuple[float, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    capture: Capture | None = None
    sticky: str = ""
    groups: tuple[Group, ...] = ()
    observed: bool = False
    plain: bool = True
    chances: orjson.Fragment | None = None
    reviewed: bool = False

    def choose(self, target: str | None, at: float | None = None) -> Variant:
        """The variant of a request.

        Args:
            target: Its name, if the request says so.
            at: Where on the line of all weights, 0 to 1; None: anywhere.

        Raises:
            ApiError: `ValidationError` when `target` names no variant.
        """
        if target is not None:
            return self._named(target, at)
        if len(self.variants) == 1:
            return self.variants[0]
        point = (random.random() if at is None else at) * self.totals[-1]
        return self.variants[min(bisect_right(self.totals, point), len(self.variants) - 1)]

    def _named(self, target: str, at: float | None) -> Variant:
        found = [variant for variant in self.variants if variant.name == target]
        if not found:
            names = list(dict.fromkeys(variant.name for variant in self.variants))
            raise ApiError(
                "ValidationError",
                f"Variant {target} not found for endpoint {self.endpoint}; it has "
                f"{', '.join(names)}.{did_you_mean(target, names)}",
            )
        if len(found) == 1:
            return found[0]
        weights = [variant.weight for variant in found]
        point = (random.random() if at is None else at) * sum(weights)
        for variant, weight in zip(found, weights, strict=True):
            point -= weight
            if point < 0:
                return variant
        return found[-1]


def position(key: str) -> float:
    """Where a key stands between 0 and 1: always the same place, evenly spread over the keys."""
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2.0**56


Document = Mapping[str, Any]


def route_of(
    document: Document,
    known: dict[str, Instance],
    tally_of: Callable[[Key, int], Tally] = lambda key, instances: Tally(),
) -> Route:
    """A route from its document; instances already known keep their counts."""
    region, endpoint = str(document["region"]), str(document["endpoint"])

    def read(item: Document) -> Variant:
        instances = tuple(_instance(entry, known) for entry in item["instances"])
        config = str(item.get("config") or document.get("config", ""))
        return Variant(
            item["name"],
            float(item["weight"]),
            item["strategy"] == "LEAST_OUTSTANDING_REQUESTS",
            instances,
            config,
            tally_of((region, endpoint, config, item["name"]), len(instances)),
        )

    variants = tuple(read(item) for item in document["variants"])
    shadows = tuple(
        Shadow(item["of"], float(item["share"]), read(item)) for item in document.get("shadows", ())
    )
    capture = _capture(document, region, endpoint)
    groups = tuple(
        Group(item["attribute"], frozenset(item["values"]), item["variant"])
        for item in document.get("groups", ())
    )
    observed = bool(document.get("observed"))
    reviewed = bool(document.get("reviewed"))
    return Route(
        endpoint, region, str(document["arn"]), variants,
        tuple(accumulate(variant.weight for variant in variants)),
        shadows, capture, str(document.get("sticky") or ""), groups, observed,
        not (shadows or capture or observed or reviewed),
        orjson.Fragment(orjson.dumps(_chances(variants))), reviewed,
    )  # fmt: skip


def _chances(variants: tuple[Variant, ...]) -> dict[str, float]:
    total = sum(variant.weight for variant in variants)
    found: dict[str, float] = {}
    for variant in variants:
        share = variant.weight / total if total > 0 else 0.0
        found[variant.name] = found.get(variant.name, 0.0) + share
    return found


def _instance(entry: Document, known: dict[str, Instance]) -> Instance:
    instance = known.get(entry["id"])
    if instance is None or instance.address != entry["address"]:
        instance = known[entry["id"]] = Instance(entry["id"], entry["address"])
    return instance


def _capture(document: Document, region: str, endpoint: str) -> Capture | None:
    given = document.get("capture")
    if not given:
        return None
    told = {"region": region, "endpoint": endpoint, **given["told"]}
    return Capture(
        float(given["share"]),
        bool(given["requests"]),
        bool(given["answers"]),
        orjson.Fragment(orjson.dumps(told)),
    )


def route_file(folder: Path, key: str) -> Path:
    """The file of a published route."""
    return folder / f"{quote(key, safe='')}.json"


@dataclass
class Routes:
    """All routes of a folder, read again when it changes; of each file the version read."""

    folder: Path
    tallies: Tallies | None = None
    _stamp: int = -1
    _routes: dict[tuple[str, str], Route] = field(default_factory=dict)
    _known: dict[str, Instance] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def get(self, region: str, endpoint: str) -> Route | None:
        """The route of an endpoint, or None."""
        return self._routes.get((region, endpoint))

    def __len__(self) -> int:
        return len(self._routes)

    def all(self) -> list[Route]:
        """All routes."""
        return list(self._routes.values())

    def refresh(self) -> bool:
        """Read the folder again if it changed; whether it did."""
        try:
            stamp = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if stamp == self._stamp:
            return False
        found: dict[tuple[str, str], Route] = {}
        versions: dict[str, str] = {}
        for path in self.folder.glob("*.json"):
            try:
                document = orjson.loads(path.read_bytes())
            except FileNotFoundError:
                continue
            route = (
                route_of(document, self._known)
                if self.tallies is None
                else route_of(document, self._known, self.tallies.of)
            )
            found[route.region, route.endpoint] = route
            versions[path.name] = str(document.get("version", ""))
        # The kernel's time stamps are coarse: a second change in the same tick would go unseen.
        settled = time.time_ns() - stamp > SETTLED_NS
        self._stamp, self._routes = (stamp if settled else -1), found
        self.versions = versions
        live = {
            instance.unit_id
            for route in found.values()
            for variant in (*route.variants, *(item.variant for item in route.shadows))
            for instance in variant.instances
        }
        self._known = {key: value for key, value in self._known.items() if key in live}
        return True
