"""User pools, their app clients, domains and groups: documents by id. Knows no user."""

from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.people.tables import (
    CLIENTS,
    DOMAINS,
    GROUPS,
    LINKS,
    MEMBERSHIPS,
    POOLS,
    SESSIONS,
    USERS,
)
from loopwright.wire.errors import ApiError


class Pools:
    """The user pools of a home. Thread-safe; every change is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Pools

    def add(self, pool: str, region: str, now: float, document: Mapping[str, Any]) -> None:
        """Keep a new pool."""
        values = {"id": pool, "region": region, "created": now, "document": _encode(document)}
        self._write(sa.insert(POOLS).values(**values))

    def get(self, pool: str) -> dict[str, Any]:
        """What is kept of a pool.

        Raises:
            ApiError: `ResourceNotFoundException`.
        """
        row = self._first(sa.select(POOLS.c.document).where(POOLS.c.id == pool))
        if row is None:
            raise ApiError("ResourceNotFoundException", f"User pool {pool} does not exist.")
        return dict(orjson.loads(row.document))

    def change(self, pool: str, document: Mapping[str, Any]) -> None:
        """Keep another document of a pool."""
        self._write(sa.update(POOLS).where(POOLS.c.id == pool).values(document=_encode(document)))

    def all(self, region: str) -> list[dict[str, Any]]:
        """The pools of a region, oldest first."""
        statement = sa.select(POOLS.c.document).where(POOLS.c.region == region)
        return self._documents(statement.order_by(POOLS.c.created, POOLS.c.id))

    def remove(self, pool: str) -> None:
        """Forget a pool with all that belongs to it."""
        subs = sa.select(USERS.c.sub).where(USERS.c.pool == pool)

        def work(connection: sa.Connection) -> None:
            for table in (SESSIONS, LINKS):
                connection.execute(sa.delete(table).where(table.c.sub.in_(subs)))
            for table in (USERS, MEMBERSHIPS, GROUPS, CLIENTS, DOMAINS):
                connection.execute(sa.delete(table).where(table.c.pool == pool))
            connection.execute(sa.delete(POOLS).where(POOLS.c.id == pool))

        self._database.write(work)

    # Clients

    def add_client(self, pool: str, client: str, document: Mapping[str, Any]) -> None:
        """Keep a new app client."""
        self._write(sa.insert(CLIENTS).values(id=client, pool=pool, document=_encode(document)))

    def client(self, pool: str, client: str) -> dict[str, Any]:
        """What is kept of an app client.

        Raises:
            ApiError: `ResourceNotFoundException`.
        """
        where = (CLIENTS.c.id == client, CLIENTS.c.pool == pool)
        row = self._first(sa.select(CLIENTS.c.document).where(*where))
        if row is None:
            raise ApiError(
                "ResourceNotFoundException", f"User pool client {client} does not exist."
            )
        return dict(orjson.loads(row.document))

    def clients(self, pool: str) -> list[dict[str, Any]]:
        """The app clients of a pool."""
        statement = sa.select(CLIENTS.c.document).where(CLIENTS.c.pool == pool)
        return self._documents(statement.order_by(CLIENTS.c.id))

    def remove_client(self, pool: str, client: str) -> None:
        """Forget an app client."""
        self._write(sa.delete(CLIENTS).where(CLIENTS.c.id == client, CLIENTS.c.pool == pool))

    # Domains

    def add_domain(self, domain: str, pool: str) -> None:
        """Keep a domain's pool.

        Raises:
            ApiError: `InvalidParameterException`: another pool has it.
        """

        def work(connection: sa.Connection) -> None:
            known = sa.select(DOMAINS.c.pool).where(DOMAINS.c.domain == domain)
            if connection.execute(known).first() is not None:
                raise ApiError("InvalidParameterException", f"Domain {domain} already exists.")
            connection.execute(sa.insert(DOMAINS).values(domain=domain, pool=pool))

        self._database.write(work)

    def domain_pool(self, domain: str) -> str | None:
        """The pool that a domain belongs to."""
        row = self._first(sa.select(DOMAINS.c.pool).where(DOMAINS.c.domain == domain))
        return str(row.pool) if row is not None else None

    def domains(self, pool: str) -> list[str]:
        """The domains of a pool."""
        statement = sa.select(DOMAINS.c.domain).where(DOMAINS.c.pool == pool)
        with self._database.read() as connection:
            return sorted(connection.execute(statement).scalars())

    def user_count(self, pool: str) -> int:
        """How many users a pool has."""
        statement = sa.select(sa.func.count()).select_from(USERS).where(USERS.c.pool == pool)
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def remove_domain(self, domain: str) -> None:
        """Forget a domain."""
        self._write(sa.delete(DOMAINS).where(DOMAINS.c.domain == domain))

    # Groups

    def add_group(self, pool: str, name: str, document: Mapping[str, Any]) -> None:
        """Keep a new group.

        Raises:
            ApiError: `GroupExistsException`.
        """

        def work(connection: sa.Connection) -> None:
            known = sa.select(GROUPS.c.name).where(GROUPS.c.pool == pool, GROUPS.c.name == name)
            if connection.execute(known).first() is not None:
                raise ApiError(
                    "GroupExistsException", f"A group with the name {name!r} already exists."
                )
            connection.execute(
                sa.insert(GROUPS).values(pool=pool, name=name, document=_encode(document))
            )

        self._database.write(work)

    def group(self, pool: str, name: str) -> dict[str, Any]:
        """What is kept of a group.

        Raises:
            ApiError: `ResourceNotFoundException`.
        """
        where = (GROUPS.c.pool == pool, GROUPS.c.name == name)
        row = self._first(sa.select(GROUPS.c.document).where(*where))
        if row is None:
            raise ApiError("ResourceNotFoundException", f"Group not found: {name!r}.")
        return dict(orjson.loads(row.document))

    def groups(self, pool: str) -> list[dict[str, Any]]:
        """The groups of a pool, by name."""
        statement = sa.select(GROUPS.c.document).where(GROUPS.c.pool == pool)
        return self._documents(statement.order_by(GROUPS.c.name))

    def remove_group(self, pool: str, name: str) -> None:
        """Forget a group and who was in it."""

        def work(connection: sa.Connection) -> None:
            for table in (GROUPS, MEMBERSHIPS):
                connection.execute(
                    sa.delete(table).where(table.c.pool == pool, table.c.name == name)
                )

        self._database.write(work)

    # Rows

    def _first(self, statement: sa.Select[Any]) -> Any:
        with self._database.read() as connection:
            return connection.execute(statement).first()

    def _documents(self, statement: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._database.read() as connection:
            return [dict(orjson.loads(row.document)) for row in connection.execute(statement)]

    def _write(self, statement: sa.Executable) -> None:
        self._database.write(lambda connection: connection.execute(statement))


def _encode(document: Mapping[str, Any]) -> str:
    return orjson.dumps(document).decode()
