"""Workforces, workteams and task UIs: what the generic verbs cannot know of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Final

import orjson

from loopwright.kernel.kinds import Kind
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Query
from loopwright.kernel.verbs import (
    Context,
    Operation,
    create,
    describe,
    find,
    list_member,
    make_token,
    project,
    read_token,
)
from loopwright.people.kinds import HUMAN_TASK_UI_KIND, WORKFORCE_KIND, WORKTEAM_KIND
from loopwright.people.links import ObjectLinks
from loopwright.people.liquid import TemplateError, check, render
from loopwright.people.pools import Pools
from loopwright.people.templates import Templates
from loopwright.wire.depth import read_json
from loopwright.wire.errors import ApiError, validation
from loopwright.wire.services import operation

Params = dict[str, Any]
SORTS: Final = {"Name": "name", "CreateDate": "created"}
LIBRARY: Final = "/work/static/crowd/crowd-html-elements.js"
OWN_UIS: Final = "human-task-ui/"
TEMPLATE_PATH: Final = "/work/templates/"


def library_tag(base: str = "") -> str:
    """The markup that loads our elements into a task's page."""
    return f'<script type="module" src="{base}{LIBRARY}"></script>'


@dataclass(frozen=True)
class People:
    """What the operations of this room work with.

    Attributes:
        url: The platform's public address, empty until it is known.
        open_tasks: How many tasks of a workteam's ARN wait for answers.
    """

    pools: Pools
    templates: Templates
    links: ObjectLinks
    url: Callable[[], str]
    open_tasks: Callable[[str], int]


def people_operations(people: People) -> dict[str, Operation]:
    """By operation name."""
    return {
        **_workforce_operations(people),
        **_workteam_operations(people),
        **_ui_operations(people),
    }


# Workforces


def _workforce_operations(people: People) -> dict[str, Operation]:
    def create_workforce(context: Context, params: Params) -> Params:
        _check_workforce(people, context, params)
        return create(context, WORKFORCE_KIND, params)

    def describe_workforce(context: Context, params: Params) -> Params:
        record = find(context, WORKFORCE_KIND, params["WorkforceName"])
        return {"Workforce": shown_workforce(people, record)}

    def update(context: Context, params: Params) -> Params:
        record = find(context, WORKFORCE_KIND, params["WorkforceName"])
        _check_network(params)
        if params.get("OidcConfig") and record.spec.get("CognitoConfig"):
            raise ApiError(
                "ConflictException",
                f"Workforce {record.name} signs in by Cognito; a workforce keeps its way of "
                "signing in. Delete it and create another.",
            )
        changed = _replace(context, WORKFORCE_KIND, record.name, params)
        return {"Workforce": shown_workforce(people, changed)}

    def list_workforces(context: Context, params: Params) -> Params:
        return _list(context, "ListWorkforces", "Workforce", params, people, shown_workforce)

    def delete(context: Context, params: Params) -> Params:
        record = find(context, WORKFORCE_KIND, params["WorkforceName"])
        teams = [team.name for team in _all(context, "Workteam")]
        if teams:
            raise validation(
                f"Workforce {record.name} has the workteams {', '.join(teams[:10])}; delete them "
                "first."
            )
        context.store.delete(record)
        return {}

    return {
        "CreateWorkforce": create_workforce,
        "DescribeWorkforce": describe_workforce,
        "UpdateWorkforce": update,
        "ListWorkforces": list_workforces,
        "DeleteWorkforce": delete,
    }


def _check_workforce(people: People, context: Context, params: Mapping[str, Any]) -> None:
    _check_network(params)
    cognito, oidc = params.get("CognitoConfig"), params.get("OidcConfig")
    if bool(cognito) == bool(oidc):
        raise validation("Give either CognitoConfig or OidcConfig: how the workforce signs in.")
    others = [other.name for other in _all(context, "Workforce")]
    if others and params["WorkforceName"] not in others:
        raise validation(
            f"The region has the private workforce {others[0]!r} already, and a region has one; "
            "delete it first, or create workteams in it."
        )
    if cognito:
        people.pools.client(people.pools.get(cognito["UserPool"])["Id"], cognito["ClientId"])


def _check_network(params: Mapping[str, Any]) -> None:
    """Refuse what would promise a way in that is not guarded here, and networks that are none."""
    if params.get("WorkforceVpcConfig"):
        raise validation(
            "WorkforceVpcConfig is not offered: the portal is on Loopwright's own address. Give "
            "SourceIpConfig to take work from given networks only."
        )
    for cidr in params.get("SourceIpConfig", {}).get("Cidrs", ()):
        try:
            ip_network(cidr, strict=False)
        except ValueError as error:
            raise validation(f"SourceIpConfig.Cidrs has {cidr!r}: {error}.") from None


def shown_workforce(people: People, record: Record) -> dict[str, Any]:
    """A workforce as Describe shows it: never with the client's secret."""
    spec = dict(record.spec)
    if "OidcConfig" in spec:
        spec["OidcConfig"] = {
            name: value for name, value in spec["OidcConfig"].items() if name != "ClientSecret"
        }
    return {
        **spec,
        **record.status,
        "WorkforceArn": record.arn,
        "SubDomain": _sub_domain(people),
        "CreateDate": record.created,
        "LastUpdatedDate": record.modified,
    }


def _sub_domain(people: People) -> str:
    """Where workers go, without the scheme, as clients put `https://` before it."""
    return f"{people.url().partition('://')[2]}/work"


# Workteams


def _workteam_operations(people: People) -> dict[str, Operation]:
    def create_workteam(context: Context, params: Params) -> Params:
        _check_access(params)
        if context.store.get(context.region, "Workteam", params["WorkteamName"]) is not None:
            # Before a workforce is made for a team that is not.
            return create(context, WORKTEAM_KIND, params)
        force = _check_members(people, context, params.get("WorkforceName"), params)
        return create(context, WORKTEAM_KIND, {**params, "WorkforceName": force})

    def describe_workteam(context: Context, params: Params) -> Params:
        record = find(context, WORKTEAM_KIND, params["WorkteamName"])
        return {"Workteam": shown_workteam(people, record)}

    def update(context: Context, params: Params) -> Params:
        record = find(context, WORKTEAM_KIND, params["WorkteamName"])
        _check_access(params)
        if params.get("MemberDefinitions"):
            _check_members(people, context, record.spec["WorkforceName"], params)
        changed = _replace(context, WORKTEAM_KIND, record.name, params)
        return {"Workteam": shown_workteam(people, changed)}

    def list_workteams(context: Context, params: Params) -> Params:
        return _list(context, "ListWorkteams", "Workteam", params, people, shown_workteam)

    def delete(context: Context, params: Params) -> Params:
        record = find(context, WORKTEAM_KIND, params["WorkteamName"])
        if count := people.open_tasks(record.arn):
            raise validation(
                f"Workteam {record.name} has {count} open tasks, which nobody else could answer; "
                "stop their loops first, or wait for them."
            )
        context.store.delete(record)
        return {"Success": True}

    def subscribed(context: Context, params: Params) -> Params:
        raise ApiError(
            "ValidationException",
            f"There is no vendor's workteam {params['WorkteamArn']!r}: Loopwright has no "
            "marketplace. Use a private workteam.",
        )

    return {
        "CreateWorkteam": create_workteam,
        "DescribeWorkteam": describe_workteam,
        "UpdateWorkteam": update,
        "ListWorkteams": list_workteams,
        "DeleteWorkteam": delete,
        "DescribeSubscribedWorkteam": subscribed,
        "ListSubscribedWorkteams": lambda context, params: {"SubscribedWorkteams": []},
    }


def _check_access(params: Mapping[str, Any]) -> None:
    constraints = (
        params.get("WorkerAccessConfiguration", {}).get("S3Presign", {}).get("IamPolicyConstraints")
    )
    for name, value in (constraints or {}).items():
        if value == "Enabled":
            raise validation(
                f"WorkerAccessConfiguration.S3Presign.IamPolicyConstraints.{name} is not offered: "
                "addresses of objects are signed, for one object and for two hours at most."
            )


def _check_members(
    people: People, context: Context, wanted: str | None, params: Mapping[str, Any]
) -> str:
    """The workforce that the members are of; made when there is none, as the service does."""
    forces = {force.name: force for force in _all(context, "Workforce")}
    if wanted and wanted not in forces:
        raise validation(f"No workforce {wanted!r} was found in this region.")
    members = params["MemberDefinitions"]
    cognito = [
        item["CognitoMemberDefinition"] for item in members if "CognitoMemberDefinition" in item
    ]
    if cognito and len(cognito) < len(members):
        raise validation("MemberDefinitions mix Cognito and OIDC groups; a team has one kind.")
    force = forces.get(wanted) if wanted else next(iter(forces.values()), None)
    for item in cognito:
        people.pools.client(item["UserPool"], item["ClientId"])
        people.pools.group(item["UserPool"], item["UserGroup"])
    if force is None:
        if not cognito:
            raise validation("There is no workforce yet; create one with OidcConfig first.")
        config = {"UserPool": cognito[0]["UserPool"], "ClientId": cognito[0]["ClientId"]}
        asked = {"WorkforceName": "default", "CognitoConfig": config}
        try:
            create(context, WORKFORCE_KIND, asked)
            return "default"
        except ApiError as error:
            if error.code != "ResourceInUse":
                raise
            # Another team was made at the same moment.
            force = find(context, WORKFORCE_KIND, "default")
    signs_in = force.spec.get("CognitoConfig")
    if bool(signs_in) != bool(cognito):
        way = "CognitoMemberDefinition" if signs_in else "OidcMemberDefinition"
        raise validation(f"Members of workforce {force.name} are given by {way}.")
    for item in cognito:
        if signs_in and item["UserPool"] != signs_in["UserPool"]:
            raise validation(
                f"UserPool is {item['UserPool']}; members of workforce {force.name} are in "
                f"{signs_in['UserPool']}."
            )
    return force.name


def shown_workteam(people: People, record: Record) -> dict[str, Any]:
    """A workteam as Describe shows it."""
    stem = record.arn.partition(":workteam/")[0]
    return {
        **record.spec,
        "WorkteamArn": record.arn,
        "WorkforceArn": f"{stem}:workforce/{record.spec['WorkforceName']}",
        "SubDomain": _sub_domain(people),
        "CreateDate": record.created,
        "LastUpdatedDate": record.modified,
    }


# Task UIs


def _ui_operations(people: People) -> dict[str, Operation]:
    def create_ui(context: Context, params: Params) -> Params:
        content = params["UiTemplate"]["Content"]
        wrong = check(content)
        if wrong:
            raise validation(f"UiTemplate.Content is no Liquid template: {wrong[0]['Message']}")
        people.templates.keep(content)
        return create(context, HUMAN_TASK_UI_KIND, params)

    def describe_ui(context: Context, params: Params) -> Params:
        record = find(context, HUMAN_TASK_UI_KIND, params["HumanTaskUiName"])
        sha = record.status["ContentSha256"]
        shown = {"ContentSha256": sha, "Url": f"{people.url()}{TEMPLATE_PATH}{sha}"}
        return {**describe(context, HUMAN_TASK_UI_KIND, record), "UiTemplate": shown}

    def render_ui(context: Context, params: Params) -> Params:
        content = params.get("UiTemplate", {}).get("Content")
        arn = params.get("HumanTaskUiArn")
        if bool(content) == bool(arn):
            raise validation("Give either UiTemplate or HumanTaskUiArn.")
        if arn:
            content = template_of(context, arn)[1]
        try:
            given = read_json(params["Task"]["Input"])
        except ValueError as error:
            wrong = {"Code": "InvalidTaskInput", "Message": f"Task.Input is no JSON: {error}"}
            return {"RenderedContent": "", "Errors": [wrong]}
        tag = library_tag(people.url())
        try:
            page = render(content, {"input": given}, people.links.absolute, tag)
        except TemplateError as error:
            wrong = {"Code": "TemplateError", "Message": str(error)}
            return {"RenderedContent": "", "Errors": [wrong]}
        return {"RenderedContent": page, "Errors": []}

    return {
        "CreateHumanTaskUi": create_ui,
        "DescribeHumanTaskUi": describe_ui,
        "RenderUiTemplate": render_ui,
    }


def template_of(context: Context, arn: str) -> tuple[str, str]:
    """SHA-256 and text of a task UI's template.

    Raises:
        ApiError: `ResourceNotFound`.
    """
    name = arn.rpartition(OWN_UIS)[2]
    record = context.store.get(context.region, "HumanTaskUi", name)
    if record is None or record.arn != arn:
        raise ApiError("ResourceNotFound", f"There is no human task UI {arn!r} in this region.")
    return record.status["ContentSha256"], record.spec["UiTemplate"]["Content"]


# Shared


def _all(context: Context, kind: str) -> list[Record]:
    found: list[Record] = []
    after = None
    while True:
        records, after = context.store.find(
            Query(context.region, kind, limit=100, sort="name", after=after)
        )
        found += records
        if after is None:
            return found


def _replace(context: Context, kind: Kind, name: str, params: Mapping[str, Any]) -> Record:
    """Merge an update's members into the spec."""
    while True:
        record = find(context, kind, name)
        spec = orjson.loads(orjson.dumps({**record.spec, **params}))
        try:
            return context.store.replace_spec(record, spec, context.clock.now())
        except Outdated:
            continue


def _list(
    context: Context,
    name: str,
    kind: str,
    params: Mapping[str, Any],
    people: People,
    shown: Callable[[People, Record], dict[str, Any]],
) -> dict[str, Any]:
    sort, descending = (
        SORTS[params.get("SortBy", "CreateDate")],
        params.get("SortOrder") == "Descending",
    )
    fingerprint = [name, sort, descending, context.region]
    query = Query(
        context.region, kind, sort=sort, descending=descending,
        limit=params.get("MaxResults") or 10,
        after=read_token(params.get("NextToken"), fingerprint),
        name_contains=params.get("NameContains"),
    )  # fmt: skip
    records, following = context.store.find(query)
    member, shape = list_member(operation("sagemaker", name))
    items = [project(shape, shown(people, record)) for record in records]
    return {member: items, "NextToken": make_token(following, fingerprint)}
