"""Texts of templates, by their SHA-256: what a task shows stays, whatever becomes of its source."""

import hashlib

import sqlalchemy as sa

from loopwright.database import Database
from loopwright.people.tables import TEMPLATES


class Templates:
    """The templates of a home. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, content: str) -> str:
        """Keep a text; its SHA-256 in hex."""
        sha = hashlib.sha256(content.encode()).hexdigest()

        def work(connection: sa.Connection) -> None:
            known = sa.select(TEMPLATES.c.sha).where(TEMPLATES.c.sha == sha)
            if connection.execute(known).first() is None:
                connection.execute(sa.insert(TEMPLATES).values(sha=sha, content=content))

        self._database.write(work)
        return sha

    def get(self, sha: str) -> str | None:
        """The text of a SHA-256."""
        statement = sa.select(TEMPLATES.c.content).where(TEMPLATES.c.sha == sha)
        with self._database.read() as connection:
            return connection.execute(statement).scalar()
