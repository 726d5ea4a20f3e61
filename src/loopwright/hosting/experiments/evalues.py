"""E-processes and confidence sequences: tests that stay valid however often one looks.

An e-process is a wealth that a gambler against "no difference" has: under it, the wealth is
expected not to grow, so it passes 1/alpha with a chance of at most alpha, at any time (Ville's
inequality). The chance by which each request's variant was chosen is known exactly, so the
processes are exact: for canaries, ramps and bandits too, and for few and rare events.

Sources: Ramdas, Grunwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid
inference" (2023); Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting" (2024), Theorem 2 for the sequence of bounded values; Robbins, "Statistical methods related
to the law of the iterated logarithm" (1970) for the mixture that gives the sequence of rates.

All states are plain dictionaries, so that they can be stored between requests.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

State = dict[str, Any]
TINY: Final = 1e-12
CAREFUL: Final = 0.05
BET_MOST: Final = 0.5
"""Of the largest bet that cannot ruin the gambler."""


def empty_arm() -> State:
    """Nothing seen of a variant."""
    return {"n": 0, "sum": 0.0, "squares": 0.0, "bets": 0.0, "betted": 0.0, "spent": 0.0,
            "mean": 0.5, "spread": 0.25}  # fmt: skip


def empty_test() -> State:
    """Nothing seen of two variants."""
    return {"log": 0.0, "log_most": 0.0, "n": 0, "z": 0.0, "zz": 0.0, "bold": 0.0, "careful": 0.0}


def see(arm: State, value: float, alpha: float) -> None:
    """Add one value, from 0 to 1, to what is known of a variant.

    Args:
        alpha: For which `value_interval` will hold.
    """
    count = arm["n"] + 1
    # The bet is made before the value is seen.
    spread = max(arm["spread"] / (arm["n"] + 1), 1e-6)
    bet = min(math.sqrt(2 * math.log(2 / alpha) / (spread * count * math.log(count + 1))), 0.5)
    arm["bets"] += bet
    arm["betted"] += bet * value
    arm["spent"] += 4 * (value - arm["mean"]) ** 2 * (-math.log(1 - bet) - bet) / 4
    arm["n"] = count
    arm["sum"] += value
    arm["squares"] += value * value
    arm["mean"] = (0.5 + arm["sum"]) / (count + 1)
    arm["spread"] += (value - arm["mean"]) ** 2


def rate_of(arm: Mapping[str, Any]) -> float:
    """An estimate of a rate that is never 0 or 1."""
    return float((arm["sum"] + 0.5) / (arm["n"] + 1))


def bet_on_rates(
    test: State, control: State, treatment: State, treated: bool, value: bool, chance: float,
    one_sided: bool = False,
) -> None:  # fmt: skip
    """One request's factor for "both variants have the same rate", before its value is seen.

    Half of the wealth is bet by the rates as they were seen, which finds large effects soon, and
    half by a difference that is shrunk towards none (a normal prior of `CAREFUL` standard
    deviations of a single outcome), which does not lose much before small ones are known.

    Args:
        treated: Whether the treatment answered.
        chance: That the treatment answered, given that it was one of the two.
        one_sided: Whether it is tested that the treatment's rate is not higher.
    """
    ours, theirs = rate_of(control), rate_of(treatment)
    test["n"] += 1
    if one_sided and theirs <= ours:
        return
    test["bold"] += _growth(ours, theirs, treated, value, chance)
    test["careful"] += _growth(*_shrunk(control, treatment, chance), treated, value, chance)
    high, low = max(test["bold"], test["careful"]), min(test["bold"], test["careful"])
    test["log"] = high + math.log1p(math.exp(low - high)) - math.log(2)
    test["log_most"] = max(test["log_most"], test["log"])


def _growth(ours: float, theirs: float, treated: bool, value: bool, chance: float) -> float:
    """Logarithm of how much likelier a value is by two rates than by their mixture."""
    null = (1 - chance) * ours + chance * theirs
    mine = theirs if treated else ours
    return math.log(mine / null if value else (1 - mine) / (1 - null))


def _shrunk(
    control: Mapping[str, Any], treatment: Mapping[str, Any], chance: float
) -> tuple[float, float]:
    """Both rates with their difference shrunk towards none."""
    ours, theirs = rate_of(control), rate_of(treatment)
    pooled = (control["sum"] + treatment["sum"] + 0.5) / (control["n"] + treatment["n"] + 1)
    noise = 1 / (control["n"] + 1) + 1 / (treatment["n"] + 1)
    difference = (theirs - ours) * CAREFUL**2 / (CAREFUL**2 + noise)
    rates = (pooled - chance * difference, pooled + (1 - chance) * difference)
    return _inside(rates[0]), _inside(rates[1])


def _inside(rate: float) -> float:
    return min(max(rate, 1e-4), 1 - 1e-4)


def bet_on_values(test: State, treated: bool, value: float, middle: float, chance: float) -> None:
    """One request's factor for "both variants have the same mean" of values from 0 to 1.

    Args:
        middle: A guess of the mean from earlier requests.
        chance: As for `bet_on_rates`.
    """
    # Weighted by chances, the centred value has the difference of the means as its mean.
    weighted = (value - middle) * (1 / chance if treated else -1 / (1 - chance))
    bound = 1 / min(chance, 1 - chance)
    count = test["n"] + 1
    mean = test["z"] / count
    square = (test["zz"] + bound * bound / 4) / count
    most = BET_MOST / bound
    bet = max(-most, min(most, mean / square))
    test["n"] = count
    test["z"] += weighted
    test["zz"] += weighted * weighted
    test["log"] += math.log1p(bet * weighted)
    test["log_most"] = max(test["log_most"], test["log"])


def p_value(test: Mapping[str, Any]) -> float:
    """Always valid: at most alpha with a chance of at most alpha, whenever one looks."""
    return math.exp(-max(0.0, float(test["log_most"])))


def rate_interval(arm: Mapping[str, Any], alpha: float) -> tuple[float, float]:
    """The rate of a variant, at all times together with a chance of at least 1 - alpha."""
    n, hits = arm["n"], arm["sum"]
    if n == 0:
        return 0.0, 1.0
    limit = math.log(1 / alpha)
    mixture = _log_beta(hits + 0.5, n - hits + 0.5) - _log_beta(0.5, 0.5)

    def wealth(rate: float) -> float:
        misses = n - hits
        log_rate = (hits * math.log(rate) if hits else 0.0) + (
            misses * math.log1p(-rate) if misses else 0.0
        )
        return mixture - log_rate - limit

    middle = min(max(hits / n, TINY), 1 - TINY)
    low = 0.0 if wealth(TINY) <= 0 else _crossing(wealth, TINY, middle)
    high = 1.0 if wealth(1 - TINY) <= 0 else _crossing(wealth, 1 - TINY, middle)
    return low, high


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)


def _crossing(function: Callable[[float], float], outside: float, inside: float) -> float:
    """Where a function falls to zero between two points, from the outside, which is safe.

    By halving: importing SciPy for it would double the time that the server takes to start.
    """
    for _ in range(60):
        middle = (outside + inside) / 2
        if function(middle) > 0:
            outside = middle
        else:
            inside = middle
    return outside


def value_interval(arm: Mapping[str, Any], alpha: float) -> tuple[float, float]:
    """The same for a mean of values from 0 to 1, of the alpha that `see` was given."""
    if arm["n"] == 0:
        return 0.0, 1.0
    middle = arm["betted"] / arm["bets"]
    width = (math.log(2 / alpha) + arm["spent"]) / arm["bets"]
    return max(0.0, middle - width), min(1.0, middle + width)


def requests_needed(control: float, treatment: float, chance: float, alpha: float) -> float:
    """About how many requests it takes until the e-process of two rates passes 1/alpha.

    The gambler's wealth grows each request by the information that it gives; what the rates have
    to be learned for costs half the logarithm of the number of requests for each of them.
    """
    null = (1 - chance) * control + chance * treatment
    growth = 0.0
    for share, rate in ((1 - chance, control), (chance, treatment)):
        growth += share * rate * math.log(rate / null)
        growth += share * (1 - rate) * math.log((1 - rate) / (1 - null))
    if growth <= 0:
        return math.inf
    needed = math.log(1 / alpha) / growth
    for _ in range(20):
        needed = (math.log(1 / alpha) + 0.5 * math.log(max(needed, math.e))) / growth
    return needed
