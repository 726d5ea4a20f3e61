"""Passwords: kept as Argon2id, checked against a pool's policy. Knows no user."""

import secrets
import string
from collections.abc import Mapping
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# RFC 9106's second recommendation (64 MiB, 3 passes) made lighter in memory, as OWASP allows, so
# that a handful of sign-ins at once do not take a small machine's memory.
HASHER: Final = PasswordHasher(time_cost=3, memory_cost=19_456, parallelism=1)
DUMMY: Final = HASHER.hash(secrets.token_urlsafe(16))
SYMBOLS: Final = "^$*.[]{}()?-\"!@#%&/\\,><':;|_~`+="
LENGTH_MAX: Final = 256
POLICY_DEFAULT: Final[Mapping[str, Any]] = {
    "MinimumLength": 8,
    "RequireUppercase": True,
    "RequireLowercase": True,
    "RequireNumbers": True,
    "RequireSymbols": True,
    "TemporaryPasswordValidityDays": 7,
}
RULES: Final = (
    ("RequireUppercase", string.ascii_uppercase, "an upper-case letter"),
    ("RequireLowercase", string.ascii_lowercase, "a lower-case letter"),
    ("RequireNumbers", string.digits, "a digit"),
    ("RequireSymbols", SYMBOLS, "a symbol such as ! or #"),
)


def hash_password(password: str) -> str:
    """Argon2id in PHC string form, with a salt of its own."""
    return HASHER.hash(password)


def is_right(kept: str, password: str) -> bool:
    """Whether a password is the kept one; takes the same time when there is none."""
    try:
        HASHER.verify(kept or DUMMY, password[:LENGTH_MAX])
    except (VerificationError, InvalidHashError):
        return False
    return bool(kept)


def weakness(password: str, policy: Mapping[str, Any]) -> str:
    """What a password lacks by the pool's policy, as words for its user; empty: nothing.

    The messages begin as Cognito's do: "Password did not conform with policy: …".
    """
    least = policy["MinimumLength"]
    if len(password) < least:
        return f"Password not long enough: it needs at least {least} characters"
    if len(password) > LENGTH_MAX:
        return f"Password too long: it can have {LENGTH_MAX} characters"
    missing = [
        words
        for rule, letters, words in RULES
        if policy[rule] and not any(letter in letters for letter in password)
    ]
    return f"Password must have {' and '.join(missing)}" if missing else ""


def rules(policy: Mapping[str, Any]) -> str:
    """What a pool's policy asks of a password, as a sentence for its user."""
    wanted = [words for rule, _, words in RULES if policy[rule]]
    listed = f"{', '.join(wanted[:-1])} and {wanted[-1]}" if len(wanted) > 1 else "".join(wanted)
    return f"At least {policy['MinimumLength']} characters{f', with {listed}' if listed else ''}."


def new_password(policy: Mapping[str, Any]) -> str:
    """A random password that a policy accepts."""
    letters = string.ascii_letters + string.digits + "!#%-_"
    while True:
        found = "".join(secrets.choice(letters) for _ in range(max(16, policy["MinimumLength"])))
        if not weakness(found, policy):
            return found
