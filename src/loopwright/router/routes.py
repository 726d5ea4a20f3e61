"""Routes as the control plane publishes them: immutable documents in files, one an endpoint.

The gateway reads files and nothing else, so it serves while the control plane is away, and after
its own restart. A file is replaced by rename; the folder's own time says when to look again.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import orjson

from loopwright.router.tallies import Key, Tallies, Tally
from loopwright.wire.errors import ApiError

SETTLED_NS: Final = 100_000_000


@dataclass(eq=False)
class Instance:
    """One instance that answers. `outstanding` counts the requests it is working on."""

    unit_id: str
    address: str
    outstanding: int = 0


@dataclass(frozen=True)
class Variant:
    """A production variant: its share of the traffic is `weight` over the sum of weights."""

    name: str
    weight: float
    least_outstanding: bool
    instances: tuple[Instance, ...]
    tally: Tally = field(default_factory=Tally, compare=False)

    def choose(self, avoid: frozenset[str] = frozenset()) -> Instance | None:
        """An instance by the variant's routing strategy, none of `avoid`; None when all are out."""
        free = [item for item in self.instances if item.unit_id not in avoid]
        if not free:
            return None
        if len(free) == 1:
            return free[0]
        if self.least_outstanding:
            least = min(item.outstanding for item in free)
            free = [item for item in free if item.outstanding == least]
        return random.choice(free)


@dataclass(frozen=True)
class Route:
    """Where the requests of an endpoint go."""

    endpoint: str
    region: str
    arn: str
    variants: tuple[Variant, ...]

    def choose(self, target: str | None) -> Variant:
        """The variant of a request.

        Raises:
            ApiError: `ValidationError` when `target` names no variant.
        """
        if target is not None:
            for variant in self.variants:
                if variant.name == target:
                    return variant
            names = ", ".join(variant.name for variant in self.variants)
            raise ApiError(
                "ValidationError",
                f"Variant {target} not found for endpoint {self.endpoint}; it has {names}.",
            )
        if len(self.variants) == 1:
            return self.variants[0]
        weights = [variant.weight for variant in self.variants]
        return random.choices(self.variants, weights)[0]


def route_of(
    document: Mapping[str, object],
    known: dict[str, Instance],
    tally_of: Callable[[Key, int], Tally] = lambda key, instances: Tally(),
) -> Route:
    """A route from its document; instances already known keep their counts."""
    variants = []
    region, endpoint = str(document["region"]), str(document["endpoint"])
    for item in document["variants"]:  # type: ignore[attr-defined]
        instances = []
        for entry in item["instances"]:
            instance = known.get(entry["id"])
            if instance is None or instance.address != entry["address"]:
                instance = Instance(entry["id"], entry["address"])
                known[entry["id"]] = instance
            instances.append(instance)
        variants.append(
            Variant(
                item["name"],
                float(item["weight"]),
                item["strategy"] == "LEAST_OUTSTANDING_REQUESTS",
                tuple(instances),
                tally_of(
                    (region, endpoint, str(document.get("config", "")), item["name"]),
                    len(instances),
                ),
            )
        )
    return Route(endpoint, region, str(document["arn"]), tuple(variants))


def route_file(folder: Path, key: str) -> Path:
    """The file of a published route."""
    return folder / f"{quote(key, safe='')}.json"


@dataclass
class Routes:
    """All routes of a folder, read again when it changes."""

    folder: Path
    tallies: Tallies | None = None
    _stamp: int = -1
    _routes: dict[tuple[str, str], Route] = field(default_factory=dict)
    _known: dict[str, Instance] = field(default_factory=dict)

    def get(self, region: str, endpoint: str) -> Route | None:
        """The route of an endpoint, or None."""
        return self._routes.get((region, endpoint))

    def __len__(self) -> int:
        return len(self._routes)

    def refresh(self) -> bool:
        """Read the folder again if it changed; whether it did."""
        try:
            stamp = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if stamp == self._stamp:
            return False
        found: dict[tuple[str, str], Route] = {}
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
        # The kernel's time stamps are coarse: a second change in the same tick would go unseen.
        settled = time.time_ns() - stamp > SETTLED_NS
        self._stamp, self._routes = (stamp if settled else -1), found
        live = {
            instance.unit_id
            for route in found.values()
            for variant in route.variants
            for instance in variant.instances
        }
        self._known = {key: value for key, value in self._known.items() if key in live}
        return True
