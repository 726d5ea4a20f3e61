"""Operations about people that AWS's console does and its API lacks: invite, see how work goes."""

import time
from typing import Any, Final

from loopwright.database import Database
from loopwright.kernel.records import Record
from loopwright.kernel.store import Query
from loopwright.kernel.verbs import Context, Operation, find
from loopwright.people.accounts import Accounts, User
from loopwright.people.cognito import cognito_operations
from loopwright.people.kinds import WORKTEAM_KIND
from loopwright.people.operations import People, people_operations
from loopwright.people.pools import Pools
from loopwright.people.progress import progress_of
from loopwright.people.sessions import (
    INVITATION,
    INVITATION_S,
    OWNER,
    OWNER_LINK_S,
    OWNER_SUB,
    Sessions,
)
from loopwright.wire.errors import ApiError, validation

Params = dict[str, Any]
POOL_NAME: Final = "loopwright-workers"
CLIENT_NAME: Final = "loopwright-portal"


def own_people_operations(
    people: People, accounts: Accounts, sessions: Sessions, database: Database
) -> dict[str, Operation]:
    """By operation name."""
    cognito = cognito_operations(people.pools, accounts)
    teams = people_operations(people)

    def invite(context: Context, params: Params) -> Params:
        team = context.store.get(context.region, "Workteam", params["WorkteamName"])
        if team is None:
            team = _new_team(context, people, cognito, teams, params["WorkteamName"])
        member = team.spec["MemberDefinitions"][0].get("CognitoMemberDefinition")
        if member is None:
            raise validation(
                f"Members of workteam {team.name} come from a provider of their own; add them "
                "there, to one of the groups of its MemberDefinitions."
            )
        user = _user(context, cognito, accounts, member["UserPool"], params["Email"])
        accounts.join(user, member["UserGroup"])
        now = time.time()
        token = sessions.link(INVITATION, user.sub, now, INVITATION_S)
        return {
            "InvitationUrl": f"{people.url()}/work/join/{token}",
            "ExpirationTime": now + INVITATION_S,
            "Username": user.username,
            "UserPoolId": user.pool,
            "WorkteamArn": team.arn,
        }

    def owner_link(_context: Context, _params: Params) -> Params:
        now = time.time()
        token = sessions.link(OWNER, OWNER_SUB, now, OWNER_LINK_S)
        return {"Url": f"{people.url()}/work/owner/{token}", "ExpirationTime": now + OWNER_LINK_S}

    def describe(_context: Context, _params: Params) -> Params:
        found = progress_of(database, accounts)
        return {"Jobs": found["jobs"], "Workers": found["workers"]}

    return {
        "InviteWorker": invite,
        "CreateOwnerLink": owner_link,
        "DescribeWorkers": describe,
    }


def _new_team(
    context: Context,
    people: People,
    cognito: dict[str, Operation],
    teams: dict[str, Operation],
    name: str,
) -> Record:
    """A workteam with a group of its own, in the region's workforce or in a new pool."""
    forces, _ = context.store.find(Query(context.region, "Workforce", limit=1))
    if forces and "CognitoConfig" not in forces[0].spec:
        raise validation(
            f"The workforce {forces[0].name} signs in by its own provider; create the workteam "
            f"{name!r} with OidcMemberDefinition."
        )
    if forces:
        config = forces[0].spec["CognitoConfig"]
        pool, client = config["UserPool"], config["ClientId"]
    else:
        pool, client = _own_pool(context, people.pools, cognito)
    try:
        cognito["CreateGroup"](context, {"UserPoolId": pool, "GroupName": name})
    except ApiError as error:
        if error.code != "GroupExistsException":
            raise
    member = {"UserPool": pool, "UserGroup": name, "ClientId": client}
    teams["CreateWorkteam"](
        context,
        {
            "WorkteamName": name,
            "MemberDefinitions": [{"CognitoMemberDefinition": member}],
            "Description": f"Invited to {name}",
        },
    )
    return find(context, WORKTEAM_KIND, name)


def _own_pool(context: Context, pools: Pools, cognito: dict[str, Operation]) -> tuple[str, str]:
    """Our own pool and client; those that an invitation made which a crash cut off, if any."""
    known = [item for item in pools.all(context.region) if item["Name"] == POOL_NAME]
    asked: Params = {"PoolName": POOL_NAME}
    pool = (known[0] if known else cognito["CreateUserPool"](context, asked)["UserPool"])["Id"]
    clients = [item for item in pools.clients(pool) if item["ClientName"] == CLIENT_NAME]
    if clients:
        return pool, clients[0]["ClientId"]
    asked = {"UserPoolId": pool, "ClientName": CLIENT_NAME}
    return pool, cognito["CreateUserPoolClient"](context, asked)["UserPoolClient"]["ClientId"]


def _user(
    context: Context, cognito: dict[str, Operation], accounts: Accounts, pool: str, email: str
) -> User:
    users = accounts.of_pool(pool)
    known = [user for user in users if email.lower() in (user.email, user.username.lower())]
    if known:
        if not known[0].enabled:
            raise validation(f"The user {email} is disabled; AdminEnableUser lets it in again.")
        return known[0]
    asked = {
        "UserPoolId": pool,
        "Username": email,
        "UserAttributes": [{"Name": "email", "Value": email}],
    }
    cognito["AdminCreateUser"](context, asked)
    return accounts.find(pool, email)
