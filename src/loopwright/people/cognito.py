"""Cognito's user pools, as far as a private workforce needs them: real users who really sign in.

Nothing is mailed: an invitation is a link that `loopwright workers invite` prints. Times are real.
"""

import base64
import re
import secrets
import string
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from loopwright.kernel.store import Query
from loopwright.kernel.verbs import Context, Operation
from loopwright.people.accounts import CONFIRMED, DAY_S, FORCE_CHANGE, Accounts, User
from loopwright.people.passwords import POLICY_DEFAULT, new_password, weakness
from loopwright.people.pools import Pools
from loopwright.wire.errors import ApiError

LETTERS: Final = string.ascii_letters + string.digits
PAGE_MAX: Final = 60
REFUSED: Final = ("LambdaConfig", "UserPoolAddOns")
FILTER: Final = re.compile(r'\s*"?([\w:.-]+)"?\s*(\^?=)\s*"((?:[^"\\]|\\.)*)"\s*')
FILTERED: Final[Mapping[str, Callable[[User], str]]] = {
    "username": lambda user: user.username,
    "sub": lambda user: user.sub,
    "status": lambda user: "Enabled" if user.enabled else "Disabled",
    "cognito:user_status": lambda user: user.status,
}
Params = dict[str, Any]


def cognito_operations(pools: Pools, accounts: Accounts) -> dict[str, Operation]:
    """By operation name."""
    return {
        **_pool_operations(pools),
        **_client_operations(pools),
        **_domain_operations(pools),
        **_group_operations(pools, accounts),
        **_user_operations(pools, accounts),
        **_membership_operations(pools, accounts),
    }


def _pool_operations(pools: Pools) -> dict[str, Operation]:
    def create(context: Context, params: Params) -> Params:
        _refuse(params)
        now = time.time()
        pool = f"{context.region}_{_letters(9)}"
        document = {
            **{name: value for name, value in params.items() if name != "PoolName"},
            "Id": pool,
            "Name": params["PoolName"],
            "Arn": f"arn:aws:cognito-idp:{context.region}:{context.kinds.account}:userpool/{pool}",
            "Policies": {"PasswordPolicy": _policy(params)},
            "MfaConfiguration": "OFF",
            "DeletionProtection": params.get("DeletionProtection", "INACTIVE"),
            "CreationDate": now,
            "LastModifiedDate": now,
        }
        pools.add(pool, context.region, now, document)
        return {"UserPool": document}

    def describe(_context: Context, params: Params) -> Params:
        pool = pools.get(params["UserPoolId"])
        shown = {**pool, "EstimatedNumberOfUsers": pools.user_count(pool["Id"])}
        if domains := pools.domains(pool["Id"]):
            shown["Domain"] = domains[0]
        return {"UserPool": shown}

    def update(_context: Context, params: Params) -> Params:
        _refuse(params)
        document = pools.get(params["UserPoolId"])
        changes = {name: value for name, value in params.items() if name != "UserPoolId"}
        if "Policies" in changes:
            changes["Policies"] = {"PasswordPolicy": _policy(params)}
        changed = {**document, **changes, "LastModifiedDate": time.time()}
        pools.change(params["UserPoolId"], changed)
        return {}

    def list_pools(context: Context, params: Params) -> Params:
        items, token = _page(pools.all(context.region), params, "MaxResults")
        return {"UserPools": items, "NextToken": token}

    def delete(context: Context, params: Params) -> Params:
        pool = pools.get(params["UserPoolId"])
        _refuse_used(context, pool["Id"], "", f"User pool {pool['Id']}")
        if pools.domains(pool["Id"]):
            raise _invalid(
                "User pool cannot be deleted. It has a domain configured that should be deleted "
                "first."
            )
        if pool.get("DeletionProtection") == "ACTIVE":
            raise _invalid(
                f"User pool {pool['Id']} cannot be deleted: DeletionProtection is ACTIVE; set it "
                "to INACTIVE by UpdateUserPool first."
            )
        pools.remove(pool["Id"])
        return {}

    return {
        "CreateUserPool": create,
        "DescribeUserPool": describe,
        "UpdateUserPool": update,
        "ListUserPools": list_pools,
        "DeleteUserPool": delete,
    }


def _client_operations(pools: Pools) -> dict[str, Operation]:
    def create(_context: Context, params: Params) -> Params:
        pool = pools.get(params["UserPoolId"])["Id"]
        now = time.time()
        client = _letters(26).lower()
        document = {name: value for name, value in params.items() if name != "GenerateSecret"}
        document |= {"ClientId": client, "CreationDate": now, "LastModifiedDate": now}
        if params.get("GenerateSecret"):
            document["ClientSecret"] = _letters(51).lower()
        pools.add_client(pool, client, document)
        return {"UserPoolClient": document}

    def describe(_context: Context, params: Params) -> Params:
        return {"UserPoolClient": pools.client(params["UserPoolId"], params["ClientId"])}

    def list_clients(_context: Context, params: Params) -> Params:
        pool = pools.get(params["UserPoolId"])["Id"]
        items, token = _page(pools.clients(pool), params, "MaxResults")
        return {"UserPoolClients": items, "NextToken": token}

    def delete(context: Context, params: Params) -> Params:
        pools.client(params["UserPoolId"], params["ClientId"])
        _refuse_used(
            context, params["UserPoolId"], params["ClientId"], f"App client {params['ClientId']}"
        )
        pools.remove_client(params["UserPoolId"], params["ClientId"])
        return {}

    return {
        "CreateUserPoolClient": create,
        "DescribeUserPoolClient": describe,
        "ListUserPoolClients": list_clients,
        "DeleteUserPoolClient": delete,
    }


def _domain_operations(pools: Pools) -> dict[str, Operation]:
    def create(_context: Context, params: Params) -> Params:
        if params.get("CustomDomainConfig"):
            raise _invalid("CustomDomainConfig is not offered: workers sign in at /work.")
        pools.add_domain(params["Domain"], pools.get(params["UserPoolId"])["Id"])
        return {}

    def describe(context: Context, params: Params) -> Params:
        pool = pools.domain_pool(params["Domain"])
        if pool is None:
            return {"DomainDescription": {}}
        return {
            "DomainDescription": {
                "Domain": params["Domain"],
                "UserPoolId": pool,
                "AWSAccountId": context.kinds.account,
                "Status": "ACTIVE",
            }
        }

    def delete(_context: Context, params: Params) -> Params:
        if pools.domain_pool(params["Domain"]) != params["UserPoolId"]:
            raise _invalid(
                f"The user pool {params['UserPoolId']} has no domain {params['Domain']!r}."
            )
        pools.remove_domain(params["Domain"])
        return {}

    return {
        "CreateUserPoolDomain": create,
        "DescribeUserPoolDomain": describe,
        "DeleteUserPoolDomain": delete,
    }


def _group_operations(pools: Pools, accounts: Accounts) -> dict[str, Operation]:
    def create(_context: Context, params: Params) -> Params:
        pool = pools.get(params["UserPoolId"])["Id"]
        now = time.time()
        document = {**params, "CreationDate": now, "LastModifiedDate": now}
        pools.add_group(pool, params["GroupName"], document)
        return {"Group": document}

    def get(_context: Context, params: Params) -> Params:
        return {"Group": pools.group(params["UserPoolId"], params["GroupName"])}

    def list_groups(_context: Context, params: Params) -> Params:
        pool = pools.get(params["UserPoolId"])["Id"]
        items, token = _page(pools.groups(pool), params, "Limit")
        return {"Groups": items, "NextToken": token}

    def delete(_context: Context, params: Params) -> Params:
        pools.group(params["UserPoolId"], params["GroupName"])
        pools.remove_group(params["UserPoolId"], params["GroupName"])
        return {}

    def list_users(_context: Context, params: Params) -> Params:
        pools.group(params["UserPoolId"], params["GroupName"])
        users = accounts.in_group(params["UserPoolId"], params["GroupName"])
        items, token = _page([_shown(user) for user in users], params, "Limit")
        return {"Users": items, "NextToken": token}

    def groups_of(_context: Context, params: Params) -> Params:
        user = accounts.find(params["UserPoolId"], params["Username"])
        found = [pools.group(user.pool, name) for name in accounts.groups_of(user)]
        items, token = _page(found, params, "Limit")
        return {"Groups": items, "NextToken": token}

    return {
        "CreateGroup": create,
        "GetGroup": get,
        "ListGroups": list_groups,
        "DeleteGroup": delete,
        "ListUsersInGroup": list_users,
        "AdminListGroupsForUser": groups_of,
    }


def _user_operations(pools: Pools, accounts: Accounts) -> dict[str, Operation]:
    def create(_context: Context, params: Params) -> Params:
        pool = pools.get(params["UserPoolId"])
        policy = pool["Policies"]["PasswordPolicy"]
        now = time.time()
        until = now + policy["TemporaryPasswordValidityDays"] * DAY_S
        password = params.get("TemporaryPassword") or new_password(policy)
        _check_password(password, policy)
        if params.get("MessageAction") == "RESEND":
            user = accounts.find(pool["Id"], params["Username"])
            if user.status != FORCE_CHANGE:
                raise ApiError("UnsupportedUserStateException", f"The user is {user.status}.")
            accounts.set_password(user, password, now, permanent=False, until=until)
            return {"User": _shown(user)}
        attributes = _attributes(params.get("UserAttributes", ()))
        name = params["Username"]
        if "email" in pool.get("UsernameAttributes", ()):
            attributes.setdefault("email", name)
        user = accounts.add(
            pool["Id"], name, attributes, now, password=password, password_until=until
        )
        return {"User": _shown(user)}

    def get(_context: Context, params: Params) -> Params:
        user = _of(params)
        shown = _shown(user)
        return {**shown, "UserAttributes": shown["Attributes"]}

    def list_users(_context: Context, params: Params) -> Params:
        pool = pools.get(params["UserPoolId"])["Id"]
        users = _filtered(accounts.of_pool(pool), params.get("Filter", ""))
        wanted = params.get("AttributesToGet")
        shown = [_shown(user, wanted) for user in users]
        items, token = _page(shown, params, "Limit", "PaginationToken")
        return {"Users": items, "PaginationToken": token}

    def set_password(_context: Context, params: Params) -> Params:
        user = _of(params)
        policy = pools.get(user.pool)["Policies"]["PasswordPolicy"]
        _check_password(params["Password"], policy)
        now = time.time()
        until = now + policy["TemporaryPasswordValidityDays"] * DAY_S
        accounts.set_password(
            user, params["Password"], now, permanent=params.get("Permanent", False), until=until
        )
        return {}

    def _of(params: Params) -> User:
        return accounts.find(pools.get(params["UserPoolId"])["Id"], params["Username"])

    return {
        "AdminCreateUser": create,
        "AdminGetUser": get,
        "ListUsers": list_users,
        "AdminSetUserPassword": set_password,
        **_change_operations(pools, accounts),
    }


def _change_operations(pools: Pools, accounts: Accounts) -> dict[str, Operation]:
    """Those that change one user and answer nothing."""

    def changing(change: Callable[[User, Params], None]) -> Operation:
        def operation(_context: Context, params: Params) -> Params:
            pool = pools.get(params["UserPoolId"])["Id"]
            change(accounts.find(pool, params["Username"]), params)
            return {}

        return operation

    return {
        "AdminDeleteUser": changing(lambda user, _: accounts.remove(user)),
        "AdminResetUserPassword": changing(
            lambda user, _: accounts.require_reset(user, time.time())
        ),
        "AdminEnableUser": changing(lambda user, _: accounts.set_enabled(user, True, time.time())),
        "AdminDisableUser": changing(
            lambda user, _: accounts.set_enabled(user, False, time.time())
        ),
        "AdminUserGlobalSignOut": changing(
            lambda user, _: accounts.set_enabled(user, user.enabled, time.time())
        ),
        "AdminUpdateUserAttributes": changing(
            lambda user, params: accounts.set_attributes(
                user, _attributes(params["UserAttributes"]), time.time()
            )
        ),
        "AdminDeleteUserAttributes": changing(
            lambda user, params: accounts.set_attributes(
                user,
                _attributes([{"Name": name} for name in params["UserAttributeNames"]]),
                time.time(),
            )
        ),
        "AdminConfirmSignUp": changing(_already_confirmed),
    }


def _membership_operations(pools: Pools, accounts: Accounts) -> dict[str, Operation]:
    def join(_context: Context, params: Params) -> Params:
        pools.group(pools.get(params["UserPoolId"])["Id"], params["GroupName"])
        user = accounts.find(params["UserPoolId"], params["Username"])
        accounts.join(user, params["GroupName"])
        return {}

    def leave(_context: Context, params: Params) -> Params:
        pools.group(pools.get(params["UserPoolId"])["Id"], params["GroupName"])
        user = accounts.find(params["UserPoolId"], params["Username"])
        accounts.leave(user, params["GroupName"])
        return {}

    return {"AdminAddUserToGroup": join, "AdminRemoveUserFromGroup": leave}


def _already_confirmed(user: User, _params: Params) -> None:
    if user.status != CONFIRMED:
        raise ApiError(
            "NotAuthorizedException",
            f"User cannot be confirmed. Current status is {user.status}; users are made by "
            "AdminCreateUser and choose their password by an invitation.",
        )


def _refuse_used(context: Context, pool: str, client: str, what: str) -> None:
    """Refuse to delete what workers sign in by."""
    forces, _ = context.store.find(Query(context.region, "Workforce", limit=100))
    for force in forces:
        config = force.spec.get("CognitoConfig", {})
        if config.get("UserPool") == pool and client in ("", config["ClientId"]):
            raise _invalid(
                f"{what} cannot be deleted: the workers of workforce {force.name} sign in by it; "
                "delete the workforce first."
            )


def _policy(params: Mapping[str, Any]) -> dict[str, Any]:
    given = params.get("Policies", {}).get("PasswordPolicy", {})
    if given.get("PasswordHistorySize"):
        raise _invalid("PasswordHistorySize is not offered: former passwords are not kept.")
    return {**POLICY_DEFAULT, **given}


def _check_password(password: str, policy: Mapping[str, Any]) -> None:
    if wrong := weakness(password, policy):
        text = f"Password did not conform with policy: {wrong}"
        raise ApiError("InvalidPasswordException", text)


def _refuse(params: Mapping[str, Any]) -> None:
    """Refuse what would change how people sign in, and is not offered."""
    for name in REFUSED:
        if params.get(name):
            raise _invalid(f"{name} is not offered here; leave it out.")
    if params.get("MfaConfiguration", "OFF") != "OFF":
        raise _invalid(
            f"MfaConfiguration is {params['MfaConfiguration']}; only OFF is offered. For a second "
            "factor let a provider of your own sign workers in: CreateWorkforce with OidcConfig."
        )


def _invalid(text: str) -> ApiError:
    return ApiError("InvalidParameterException", text)


def _attributes(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found = {item["Name"]: item.get("Value", "") for item in items}
    if "sub" in found:
        raise _invalid("The attribute sub is given by the pool; leave it out.")
    return found


def _shown(user: User, wanted: Sequence[str] | None = None) -> dict[str, Any]:
    return {
        "Username": user.username,
        "Attributes": [
            {"Name": name, "Value": value}
            for name, value in user.attributes.items()
            if wanted is None or name in wanted
        ],
        "UserCreateDate": user.created,
        "UserLastModifiedDate": user.modified,
        "Enabled": user.enabled,
        "UserStatus": user.status,
    }


def _filtered(users: list[User], text: str) -> list[User]:
    """Cognito's filter: `attribute = "value"` or `attribute ^= "start"`."""
    if not text.strip():
        return users
    match = FILTER.fullmatch(text)
    if match is None:
        raise _invalid(f'Filter is {text!r}; it must be `name = "value"` or `name ^= "start"`.')
    name, comparison, value = match[1], match[2], re.sub(r"\\(.)", r"\1", match[3])

    def read(user: User) -> str:
        return FILTERED[name](user) if name in FILTERED else user.attributes.get(name, "")

    if comparison == "=":
        return [user for user in users if read(user) == value]
    return [user for user in users if read(user).startswith(value)]


def _page(
    items: Sequence[dict[str, Any]], params: Params, size: str, token: str = "NextToken"
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a list, and the token of the next one."""
    start = 0
    if params.get(token):
        try:
            start = int(base64.urlsafe_b64decode(params[token]))
        except ValueError:
            raise _invalid(f"{token} is not one of this query; repeat the call without it.") from (
                None
            )
    end = start + (params.get(size) or PAGE_MAX)
    following = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return list(items[start:end]), following


def _letters(count: int) -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(count))
