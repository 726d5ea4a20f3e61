"""Users of private workforces: kept, signed in by password, locked out while someone guesses.

Times here are real seconds since the epoch: browsers and cookies live by them.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.people.passwords import hash_password, is_right
from loopwright.people.tables import GROUPS, LINKS, MEMBERSHIPS, SESSIONS, USERS
from loopwright.wire.errors import ApiError

CONFIRMED: Final = "CONFIRMED"
FORCE_CHANGE: Final = "FORCE_CHANGE_PASSWORD"
RESET_REQUIRED: Final = "RESET_REQUIRED"
FREE_FAILURES: Final = 5
"""Wrong passwords before a user is locked: for 1 s, doubled with each further one."""
LOCK_S_MAX: Final = 900.0
DAY_S: Final = 86_400.0


class SignInError(Exception):
    """Why somebody is not signed in, in words that tell a stranger nothing."""


@dataclass(frozen=True, slots=True)
class User:
    """One user of a pool.

    Attributes:
        pool: Id of the user pool, or `oidc/WORKFORCE` of one whom another provider signs in.
        sub: Never reused, in UUID form.
        status: Cognito's: `FORCE_CHANGE_PASSWORD` until the user chose a password, `CONFIRMED`.
        attributes: By name, such as `email`.
    """

    pool: str
    username: str
    sub: str
    email: str
    status: str
    enabled: bool
    created: float
    modified: float
    attributes: Mapping[str, str]


def _user(row: Any) -> User:
    return User(
        row.pool, row.username, row.sub, row.email, row.status, bool(row.enabled), row.created,
        row.modified, orjson.loads(row.attributes),
    )  # fmt: skip


class Accounts:
    """The users of all pools. Thread-safe; every change is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading

    def find(self, pool: str, username: str) -> User:
        """A user by name, or by sub.

        Raises:
            ApiError: `UserNotFoundException`.
        """
        row = self._row(USERS.c.pool == pool, _named(username))
        if row is None:
            raise ApiError("UserNotFoundException", f"User does not exist: {username!r}.", 400)
        return _user(row)

    def by_sub(self, sub: str) -> User | None:
        """The user with this sub."""
        row = self._row(USERS.c.sub == sub)
        return _user(row) if row is not None else None

    def of_pool(self, pool: str) -> list[User]:
        """All users of a pool, by name."""
        return self._users(USERS.c.pool == pool)

    def in_group(self, pool: str, name: str) -> list[User]:
        """The users of a group, by name."""
        names = sa.select(MEMBERSHIPS.c.username).where(
            MEMBERSHIPS.c.pool == pool, MEMBERSHIPS.c.name == name
        )
        return self._users(USERS.c.pool == pool, USERS.c.username.in_(names))

    def groups_of(self, user: User) -> list[str]:
        """The names of the groups that a user is in."""
        statement = sa.select(MEMBERSHIPS.c.name).where(
            MEMBERSHIPS.c.pool == user.pool, MEMBERSHIPS.c.username == user.username
        )
        with self._database.read() as connection:
            return sorted(row.name for row in connection.execute(statement))

    def _row(self, *where: sa.ColumnElement[bool]) -> Any:
        with self._database.read() as connection:
            return connection.execute(sa.select(USERS).where(*where)).first()

    def _users(self, *where: sa.ColumnElement[bool]) -> list[User]:
        statement = sa.select(USERS).where(*where).order_by(USERS.c.username)
        with self._database.read() as connection:
            return [_user(row) for row in connection.execute(statement)]

    # Changing

    def add(
        self,
        pool: str,
        username: str,
        attributes: Mapping[str, str],
        now: float,
        *,
        password: str = "",
        status: str = FORCE_CHANGE,
        password_until: float | None = None,
    ) -> User:
        """Make a user.

        Raises:
            ApiError: `UsernameExistsException`, also when another user has the address.
        """
        sub = str(uuid.uuid4())
        email = attributes.get("email", "").lower()
        row = {
            "pool": pool,
            "username": username,
            "sub": sub,
            "email": email,
            "status": status,
            "enabled": True,
            "password": hash_password(password) if password else "",
            "password_until": password_until,
            "failures": 0,
            "locked_until": 0.0,
            "created": now,
            "modified": now,
            "attributes": orjson.dumps({**attributes, "sub": sub}).decode(),
        }

        def work(connection: sa.Connection) -> None:
            same = USERS.c.username == username
            if email:
                same = same | (USERS.c.email == email)
            known = sa.select(USERS.c.username).where(USERS.c.pool == pool, same)
            if connection.execute(known).first() is not None:
                raise ApiError(
                    "UsernameExistsException",
                    f"User account already exists: {username!r}, or another one with its address.",
                )
            connection.execute(sa.insert(USERS).values(**row))

        self._database.write(work)
        return self.find(pool, username)

    def set_password(
        self, user: User, password: str, now: float, *, permanent: bool, until: float | None = None
    ) -> None:
        """Give a user another password; all sessions and links of the user end."""
        values = {
            "password": hash_password(password),
            "password_until": None if permanent else until,
            "status": CONFIRMED if permanent else FORCE_CHANGE,
            "failures": 0,
            "locked_until": 0.0,
            "modified": now,
        }
        self._change(user, values, ends_sessions=True)

    def require_reset(self, user: User, now: float) -> None:
        """No password is right any more until the user chose another by an invitation."""
        values = {"password": "", "status": RESET_REQUIRED, "modified": now}
        self._change(user, values, ends_sessions=True)

    def set_enabled(self, user: User, enabled: bool, now: float) -> None:
        """Let a user in, or not any more; sessions of one who is disabled end."""
        self._change(user, {"enabled": enabled, "modified": now}, ends_sessions=not enabled)

    def set_attributes(self, user: User, changes: Mapping[str, str], now: float) -> None:
        """Merge attributes; an empty value removes one.

        Raises:
            ApiError: `AliasExistsException`: another user of the pool has the address.
        """
        merged = {**user.attributes, **changes}
        kept = {name: value for name, value in merged.items() if value}
        values = {
            "attributes": orjson.dumps(kept).decode(),
            "email": kept.get("email", "").lower(),
            "modified": now,
        }

        def work(connection: sa.Connection) -> None:
            others = sa.select(USERS.c.sub).where(
                USERS.c.pool == user.pool, USERS.c.sub != user.sub,
                USERS.c.email == values["email"], USERS.c.email != "",
            )  # fmt: skip
            if connection.execute(others).first() is not None:
                raise ApiError(
                    "AliasExistsException", "An account with the given email already exists."
                )
            connection.execute(sa.update(USERS).where(USERS.c.sub == user.sub).values(**values))

        self._database.write(work)

    def remove(self, user: User) -> None:
        """Forget a user. What was answered stays."""

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(USERS).where(USERS.c.sub == user.sub))
            connection.execute(
                sa.delete(MEMBERSHIPS).where(
                    MEMBERSHIPS.c.pool == user.pool, MEMBERSHIPS.c.username == user.username
                )
            )
            _end_sessions(connection, user.sub)

        self._database.write(work)

    def set_groups(self, user: User, names: Iterable[str]) -> None:
        """Have a user in just these groups; for users whom another provider describes."""
        wanted = sorted(set(names))

        def work(connection: sa.Connection) -> None:
            where = (MEMBERSHIPS.c.pool == user.pool, MEMBERSHIPS.c.username == user.username)
            connection.execute(sa.delete(MEMBERSHIPS).where(*where))
            for name in wanted:
                connection.execute(
                    sa.insert(MEMBERSHIPS).values(pool=user.pool, name=name, username=user.username)
                )

        self._database.write(work)

    def join(self, user: User, name: str) -> None:
        """Put a user into a group of its pool.

        Raises:
            ApiError: `ResourceNotFoundException`: there is no such group.
        """

        def work(connection: sa.Connection) -> None:
            group = sa.select(GROUPS.c.name).where(
                GROUPS.c.pool == user.pool, GROUPS.c.name == name
            )
            if connection.execute(group).first() is None:
                raise ApiError("ResourceNotFoundException", f"Group not found: {name!r}.")
            values = {"pool": user.pool, "name": name, "username": user.username}
            where = [MEMBERSHIPS.c[column] == value for column, value in values.items()]
            if connection.execute(sa.select(MEMBERSHIPS).where(*where)).first() is None:
                connection.execute(sa.insert(MEMBERSHIPS).values(**values))

        self._database.write(work)

    def leave(self, user: User, name: str) -> None:
        """Take a user out of a group."""
        statement = sa.delete(MEMBERSHIPS).where(
            MEMBERSHIPS.c.pool == user.pool,
            MEMBERSHIPS.c.username == user.username,
            MEMBERSHIPS.c.name == name,
        )
        self._database.write(lambda connection: connection.execute(statement))

    def _change(
        self, user: User, values: Mapping[str, Any], *, ends_sessions: bool = False
    ) -> None:
        def work(connection: sa.Connection) -> None:
            connection.execute(sa.update(USERS).where(USERS.c.sub == user.sub).values(**values))
            if ends_sessions:
                _end_sessions(connection, user.sub)

        self._database.write(work)

    # Signing in

    def sign_in(self, name: str, password: str, now: float) -> User:
        """The user of this name or address whose password this is.

        An attempt counts as a failure before the password is looked at, so that many at once are
        no more than many in turn; the right one sets the count back.

        Raises:
            SignInError: wrong, locked, disabled, or a temporary password that has ended.
        """
        found: User | None = None
        rows = self._attempt(name.strip(), now)
        for row in rows:
            if is_right(row.password, password) and found is None:
                found = _user(row)
                self._succeeded(row, rows)
                until = row.password_until
        if found is None:
            raise SignInError("Incorrect username or password.")
        if not found.enabled:
            raise SignInError("This account is disabled. Ask the owner of the workforce.")
        if until is not None and now >= until:
            raise SignInError(
                "The temporary password has expired. Ask the owner for a new invitation."
            )
        return found

    def _attempt(self, name: str, now: float) -> list[Any]:
        """Who may be meant; each has one more failure now."""

        def work(connection: sa.Connection) -> list[Any]:
            where = (USERS.c.username == name) | (
                (USERS.c.email == name.lower()) & (USERS.c.email != "")
            )
            rows = list(connection.execute(sa.select(USERS).where(where)))
            free = [row for row in rows if row.locked_until <= now]
            if rows and not free:
                wait_s = max(1, round(min(row.locked_until for row in rows) - now))
                raise SignInError(f"Too many wrong passwords. Try again in {wait_s} s.")
            for row in free:
                failures = row.failures + 1
                locked = 0.0
                if failures >= FREE_FAILURES:
                    locked = now + min(2.0 ** (failures - FREE_FAILURES), LOCK_S_MAX)
                connection.execute(
                    sa.update(USERS)
                    .where(USERS.c.sub == row.sub)
                    .values(failures=failures, locked_until=locked)
                )
            return free

        rows = self._database.write(work)
        if not rows:
            is_right("", password="x")
        return rows

    def _succeeded(self, row: Any, meant: Sequence[Any]) -> None:
        """Forgive the failures of who signed in; who has the same name in another pool was not
        meant, and is as before."""

        def work(connection: sa.Connection) -> None:
            for other in meant:
                mine = other.sub == row.sub
                values = {
                    "failures": 0 if mine else other.failures,
                    "locked_until": 0.0 if mine else other.locked_until,
                }
                connection.execute(sa.update(USERS).where(USERS.c.sub == other.sub).values(values))

        self._database.write(work)


def _named(name: str) -> sa.ColumnElement[bool]:
    return (USERS.c.username == name) | (USERS.c.sub == name)


def _end_sessions(connection: sa.Connection, sub: str) -> None:
    connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.sub == sub))
    connection.execute(sa.delete(LINKS).where(LINKS.c.sub == sub))
