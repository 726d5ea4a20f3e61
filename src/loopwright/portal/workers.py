"""Who is signed in, and the teams that they work in."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from loopwright.kernel.records import Record
from loopwright.kernel.store import Store
from loopwright.people.accounts import Accounts, User
from loopwright.people.oidc import pool_of


@dataclass(frozen=True, slots=True)
class Worker:
    """A signed-in worker.

    Attributes:
        sub: The worker's own id, which assignments carry.
        teams: ARNs of the workteams.
        identity: What outputs tell of the worker: `workerId`, `type`, `issuer`, `sub`.
    """

    sub: str
    name: str
    teams: tuple[str, ...]
    identity: Mapping[str, Any]


class Workers:
    """Finds workers and teams. Teams are read again only when one changed."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts
        self._known: dict[str, tuple[Any, list[Record]]] = {}

    def find(self, sub: str, address: str) -> Worker | None:
        """The worker of a session, or None when it may not work any more.

        Args:
            address: Where the request came from, for workforces that work from given networks.
        """
        user = self._accounts.by_sub(sub)
        if user is None or not user.enabled:
            return None
        groups = set(self._accounts.groups_of(user))
        forces = {(force.region, force.name): force for force in self._all("Workforce")}
        teams = tuple(
            team.arn
            for team in self._all("Workteam")
            if _is_member(team, user, groups)
            and _may_come(forces.get((team.region, team.spec["WorkforceName"])), address)
        )
        return Worker(user.sub, _name(user), teams, identity(user))

    def forces(self) -> list[Record]:
        """Every workforce."""
        return self._all("Workforce")

    def teams(self) -> list[Record]:
        """Every workteam."""
        return self._all("Workteam")

    def _all(self, kind: str) -> list[Record]:
        heads = self._store.heads(kind)
        known = self._known.get(kind)
        if known is None or known[0] != heads:
            found = (self._store.by_uid(uid) for uid, _ in heads)
            known = (heads, [record for record in found if record is not None])
            self._known[kind] = known
        return known[1]


def _is_member(team: Record, user: User, groups: set[str]) -> bool:
    for item in team.spec["MemberDefinitions"]:
        cognito = item.get("CognitoMemberDefinition")
        if cognito and cognito["UserPool"] == user.pool and cognito["UserGroup"] in groups:
            return True
        oidc = item.get("OidcMemberDefinition")
        pool = pool_of(team.region, team.spec["WorkforceName"])
        if oidc and user.pool == pool and groups.intersection(oidc.get("Groups", ())):
            return True
    return False


def _may_come(force: Record | None, address: str) -> bool:
    """Whether a workforce takes work from an address: `SourceIpConfig`."""
    if force is None:
        return False
    cidrs = force.spec.get("SourceIpConfig", {}).get("Cidrs", ())
    if not cidrs:
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in ip_network(cidr, strict=False) for cidr in cidrs)


def _name(user: User) -> str:
    return user.attributes.get("name") or user.email or user.username


def identity(user: User) -> dict[str, Any]:
    """What an output tells of a worker."""
    digest = hashlib.sha256(user.sub.encode()).hexdigest()[:16]
    if user.pool.startswith("oidc/"):
        region = user.pool.split("/")[1]
        return {
            "workerId": f"private.{region}.{digest}",
            "type": "Oidc",
            "issuer": user.attributes["iss"],
            "sub": user.attributes["oidc_sub"],
        }
    region = user.pool.partition("_")[0]
    return {
        "workerId": f"private.{region}.{digest}",
        "type": "Cognito",
        "issuer": f"https://cognito-idp.{region}.amazonaws.com/{user.pool}",
        "sub": user.sub,
    }
