"""Sessions of signed-in people, and links that let somebody in once.

Only hashes of the secrets are kept. Times are real seconds since the epoch.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.people.tables import LINKS, SESSIONS

SESSION_S: Final = 12 * 3600.0
INVITATION: Final = "invitation"
OWNER: Final = "owner"
INVITATION_S: Final = 7 * 86_400.0
OWNER_LINK_S: Final = 300.0
OWNER_SUB: Final = "owner"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in.

    Attributes:
        sub: Of the user; `OWNER_SUB` of the owner.
        csrf: What every form and call of this session must bring along.
    """

    sub: str
    csrf: str
    document: Mapping[str, Any]


class Sessions:
    """The sessions and links of a home. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, sub: str, now: float, document: Mapping[str, Any] | None = None) -> str:
        """A new session's token, for the cookie; ended ones are forgotten."""
        token = secrets.token_urlsafe(32)
        values = {
            "token": _hash(token),
            "sub": sub,
            "csrf": secrets.token_urlsafe(24),
            "until": now + SESSION_S,
            "document": orjson.dumps(document or {}).decode(),
        }

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.until < now))
            connection.execute(sa.insert(SESSIONS).values(**values))

        self._database.write(work)
        return token

    def get(self, token: str, now: float) -> Session | None:
        """The session of a cookie."""
        if not token:
            return None
        statement = sa.select(SESSIONS).where(
            SESSIONS.c.token == _hash(token), SESSIONS.c.until > now
        )
        with self._database.read() as connection:
            row = connection.execute(statement).first()
        return None if row is None else Session(row.sub, row.csrf, orjson.loads(row.document))

    def close(self, token: str) -> None:
        """End a session."""
        statement = sa.delete(SESSIONS).where(SESSIONS.c.token == _hash(token))
        self._database.write(lambda connection: connection.execute(statement))

    def link(self, purpose: str, sub: str, now: float, lasts_s: float) -> str:
        """The secret of a link that works once until it ends; earlier ones of its kind end."""
        token = secrets.token_urlsafe(32)

        def work(connection: sa.Connection) -> None:
            ended = (LINKS.c.until < now) | ((LINKS.c.sub == sub) & (LINKS.c.purpose == purpose))
            connection.execute(sa.delete(LINKS).where(ended))
            connection.execute(
                sa.insert(LINKS).values(
                    token=_hash(token), purpose=purpose, sub=sub, until=now + lasts_s
                )
            )

        self._database.write(work)
        return token

    def linked(self, token: str, purpose: str, now: float) -> str | None:
        """Whom a link is for; it still works afterwards."""
        statement = sa.select(LINKS.c.sub).where(*_open_link(token, purpose, now))
        with self._database.read() as connection:
            return connection.execute(statement).scalar()

    def redeem(self, token: str, purpose: str, now: float) -> str | None:
        """Whom a link is for; it works no more."""

        def work(connection: sa.Connection) -> str | None:
            where = _open_link(token, purpose, now)
            sub: str | None = connection.execute(sa.select(LINKS.c.sub).where(*where)).scalar()
            if sub is not None:
                connection.execute(sa.delete(LINKS).where(*where))
            return sub

        return self._database.write(work)


def _open_link(token: str, purpose: str, now: float) -> tuple[sa.ColumnElement[bool], ...]:
    return (LINKS.c.token == _hash(token), LINKS.c.purpose == purpose, LINKS.c.until > now)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
