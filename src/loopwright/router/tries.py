"""Which instances a request may meet, one after the other, until one answers."""

from collections.abc import Callable, Mapping
from typing import Protocol

from loopwright.router.routes import Instance, Route, Variant
from loopwright.router.upstream import Broken, NeverAccepted, NotListening
from loopwright.wire.errors import ApiError


class NoInstance(ApiError):
    """No instance took the request, so it is safe to ask again."""


class Sought(Protocol):
    """A request, as `invoke.Exchange` is."""

    headers: Mapping[str, str]
    session: str | None
    free: bool


class Tries:
    """What a request has met so far at the instances that it may ask.

    These are its variant's, then those of the same variant's other configuration (while an
    update moves the traffic), then, unless it named its variant, all others that have a weight.
    `lost` hears of a variant that had the request when another one is asked.
    """

    def __init__(
        self,
        lost: Callable[[Variant], None],
        exchange: Sought,
        route: Route,
        variant: Variant,
        first: tuple[Instance, Exception] | None = None,
    ) -> None:
        self._lose = lost
        self._exchange = exchange
        self.variant = variant
        self._variants = _order(exchange, route, variant)
        self._first = first
        self._tried: set[str] = set()
        self._broken = 0
        self._lost = False

    def begin(self) -> None:
        """Take into account what happened on the short way.

        Raises:
            Broken: as `failed`.
        """
        first, self._first = self._first, None
        if first is not None:
            self.failed(*first)

    def next(self) -> Instance:
        """The instance to ask, of `variant`.

        Raises:
            NoInstance: all have been asked and none took the request.
            Broken: the same, but one may have had it.
        """
        avoid = frozenset(self._tried)
        for variant in self._variants:
            instance = variant.choose(avoid, self._exchange.session)
            if instance is None:
                continue
            if variant is not self.variant:
                if self._broken:
                    # The answer will come from elsewhere, but this variant owes one.
                    self._lose(self.variant)
                self._exchange.free = False
                self.variant = variant
            return instance
        if self._lost:
            raise Broken("the model server ended while it had the request")
        raise NoInstance(
            "ServiceUnavailable",
            f"No instance of variant {self.variant.name} is ready; try again shortly.",
            503,
        )

    def failed(self, instance: Instance, error: Exception) -> None:
        """Ask on, unless the request must not be sent again.

        Raises:
            Broken: it must not.
        """
        if isinstance(error, NotListening):
            self._tried.add(instance.unit_id)
        elif isinstance(error, NeverAccepted):
            # Only the kept connection may be stale; the instance itself may be well.
            self._lost = True
        else:
            # No byte came back: another instance may compute the answer, once.
            self._broken += 1
            self._tried.add(instance.unit_id)
            alone = not any(variant.choose(frozenset(self._tried)) for variant in self._variants)
            if self._broken > 1 or alone or not isinstance(error, Broken) or not error.silent:
                raise error


def _order(exchange: Sought, route: Route, variant: Variant) -> tuple[Variant, ...]:
    if len(route.variants) == 1:
        return (variant,)
    same = [v for v in route.variants if v.name == variant.name and v is not variant]
    targeted = "x-amzn-sagemaker-target-variant" in exchange.headers
    others = [v for v in route.variants if v.name != variant.name and v.weight > 0]
    others.sort(key=lambda item: -item.weight)
    return (variant, *same, *(() if targeted else others))
