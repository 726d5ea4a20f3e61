"""STS and IAM: one identity, roles that exist as soon as somebody names them, everything allowed.

Permission is decided by the signature alone: whoever holds a key pair of this Loopwright may do
all that it offers, and simulated policies say so.
"""

from typing import Any, Final
from urllib.parse import quote

import orjson
import sqlalchemy as sa

from loopwright.aws.tables import ROLES
from loopwright.database import Database
from loopwright.kernel.verbs import Context, Operation
from loopwright.wire.errors import ApiError

ROLE: Final = "LoopwrightRole"
TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def sts_operations() -> dict[str, Operation]:
    """By operation name."""
    return {"GetCallerIdentity": _caller_identity}


def _caller_identity(context: Context, _params: dict[str, Any]) -> dict[str, Any]:
    account = context.kinds.account
    return {
        "UserId": f"AROALOOPWRIGHTROLE00:{ROLE}",
        "Account": account,
        # The SDK takes the role's name from an assumed-role ARN and refuses any other form.
        "Arn": f"arn:aws:sts::{account}:assumed-role/{ROLE}/loopwright",
    }


def iam_operations(database: Database) -> dict[str, Operation]:
    """By operation name."""
    roles = Roles(database)
    return {
        "GetRole": roles.get,
        "CreateRole": roles.create,
        "DeleteRole": roles.delete,
        "ListRoles": roles.list,
        "SimulatePrincipalPolicy": _simulate,
    }


def _simulate(_context: Context, params: dict[str, Any]) -> dict[str, Any]:
    resources = params.get("ResourceArns") or ["*"]
    return {
        "EvaluationResults": [
            {"EvalActionName": action, "EvalResourceName": arn, "EvalDecision": "allowed"}
            for action in params["ActionNames"]
            for arn in resources
        ],
        "IsTruncated": False,
    }


class Roles:
    """Roles in the database; a role that is asked for and does not exist is made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        name = params["RoleName"]
        known = self._read(name)
        if known is None:
            known = _role(context, name, {})
            self._insert(name, known)
        return {"Role": known}

    def create(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        name = params["RoleName"]
        if self._read(name) is not None:
            raise ApiError("EntityAlreadyExists", f"Role with name {name} already exists.", 409)
        role = _role(context, name, params)
        self._insert(name, role)
        return {"Role": role}

    def delete(self, _context: Context, params: dict[str, Any]) -> dict[str, Any]:
        name = params["RoleName"]
        if self._read(name) is None:
            raise ApiError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
        statement = sa.delete(ROLES).where(ROLES.c.name == name)
        self._database.write(lambda connection: connection.execute(statement))
        return {}

    def list(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        prefix = params.get("PathPrefix", "/")
        with self._database.read() as connection:
            rows = connection.execute(sa.select(ROLES).order_by(ROLES.c.name)).all()
        found = [orjson.loads(row.role) for row in rows]
        if not any(row.name == ROLE for row in rows):
            found.insert(0, _role(context, ROLE, {}))
        kept = [role for role in found if role["Path"].startswith(prefix)]
        return {"Roles": kept, "IsTruncated": False}

    def _read(self, name: str) -> dict[str, Any] | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(ROLES).where(ROLES.c.name == name)).first()
        return orjson.loads(row.role) if row is not None else None

    def _insert(self, name: str, role: dict[str, Any]) -> None:
        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(ROLES).where(ROLES.c.name == name))
            connection.execute(sa.insert(ROLES).values(name=name, role=orjson.dumps(role).decode()))

        self._database.write(work)


def _role(context: Context, name: str, params: dict[str, Any]) -> dict[str, Any]:
    document = params.get("AssumeRolePolicyDocument") or orjson.dumps(TRUST).decode()
    path = params.get("Path", "/")
    found = {
        "Path": path,
        "RoleName": name,
        "RoleId": "AROA" + name.upper()[:16].ljust(16, "0"),
        "Arn": f"arn:aws:iam::{context.kinds.account}:role{path}{name}",
        "CreateDate": context.clock.now(),
        "AssumeRolePolicyDocument": quote(document, safe=""),
        "MaxSessionDuration": params.get("MaxSessionDuration", 3600),
    }
    if params.get("Description"):
        found["Description"] = params["Description"]
    return found
