"""What a misspelt name probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """` Did you mean 'ml.m5.large'?` of the nearest name; empty when none is near.

    Args:
        names: Those that there are. Case does not matter.
    """
    by_lower = {known.lower(): known for known in names}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""
