"""Cognito's face by boto3: a pool, people, a forced new password, what is in use."""

import re
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.people import flow
from tests.real.test_portal_security import Visitor
from tests.server import Server, await_that

pytestmark = pytest.mark.real
FIRST, SECOND = "First-Word-77", "Second-Word-88"


@pytest.fixture
def pool(server: Server) -> str:
    client = server.client("cognito-idp")
    name = f"pool-{uuid.uuid4().hex[:6]}"
    return str(client.create_user_pool(PoolName=name)["UserPool"]["Id"])


def user(server: Server, pool: str, name: str, **more: Any) -> dict[str, Any]:
    client = server.client("cognito-idp")
    made = client.admin_create_user(
        UserPoolId=pool, Username=name, TemporaryPassword=FIRST, MessageAction="SUPPRESS", **more
    )
    return dict(made["User"])


def test_a_user_signs_in_with_a_temporary_password_and_chooses_another(
    server: Server, pool: str
) -> None:
    client = server.client("cognito-idp")
    app = client.create_user_pool_client(UserPoolId=pool, ClientName="app", GenerateSecret=True)
    assert app["UserPoolClient"]["ClientSecret"]
    client.create_group(UserPoolId=pool, GroupName="team", Precedence=1)
    name = f"ana-{uuid.uuid4().hex[:8]}"
    made = user(server, pool, name, UserAttributes=[{"Name": "email", "Value": f"{name}@x.org"}])
    assert made["UserStatus"] == "FORCE_CHANGE_PASSWORD"
    client.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName="team")
    groups = client.admin_list_groups_for_user(UserPoolId=pool, Username=name)["Groups"]
    assert [(item["GroupName"], item["Precedence"]) for item in groups] == [("team", 1)]
    visitor = Visitor(server)
    status, headers, _ = visitor.sign_in(name, FIRST)
    where = headers["Location"]
    assert (status, where.startswith("/work/join/")) == (303, True)
    # Signed in is nobody who has not chosen yet.
    assert visitor.ask("GET", "/work")[1]["Location"] == "/work/sign-in"
    fields = {"csrf": visitor.token(where), "password": SECOND, "again": SECOND}
    assert visitor.post(where, fields)[1]["Location"] == "/work"
    assert "You are in no workteam" in visitor.ask("GET", "/work")[2]
    found = client.admin_get_user(UserPoolId=pool, Username=name)
    assert found["UserStatus"] == "CONFIRMED"
    assert Visitor(server).sign_in(name, FIRST)[0] == 401
    assert Visitor(server).sign_in(f"{name}@X.org", SECOND)[0] == 303
    # Reset: nothing is right until an invitation was followed; its session is over.
    client.admin_reset_user_password(UserPoolId=pool, Username=name)
    assert visitor.ask("GET", "/work")[1]["Location"] == "/work/sign-in"
    assert Visitor(server).sign_in(name, SECOND)[0] == 401
    described = client.describe_user_pool(UserPoolId=pool)["UserPool"]
    assert described["EstimatedNumberOfUsers"] == 1
    assert described["MfaConfiguration"] == "OFF"
    client.delete_user_pool(UserPoolId=pool)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.admin_get_user(UserPoolId=pool, Username=name)


def test_errors_are_those_that_clients_know(server: Server, pool: str) -> None:
    client = server.client("cognito-idp")
    errors = client.exceptions
    name = f"ben-{uuid.uuid4().hex[:8]}"
    who = {"UserPoolId": pool, "Username": name}
    user(server, pool, name)
    with pytest.raises(ClientError, match="UsernameExistsException"):
        user(server, pool, name)
    with pytest.raises(errors.UserNotFoundException):
        client.admin_get_user(UserPoolId=pool, Username="nobody")
    with pytest.raises(errors.ResourceNotFoundException):
        client.admin_get_user(UserPoolId="us-east-1_nothing12", Username=name)
    with pytest.raises(errors.ResourceNotFoundException):
        client.admin_add_user_to_group(
            UserPoolId="us-east-1_nothing12", Username=name, GroupName="g"
        )
    with pytest.raises(errors.ResourceNotFoundException):
        client.admin_add_user_to_group(**who, GroupName="nothing")
    with pytest.raises(errors.InvalidPasswordException, match="did not conform"):
        client.admin_set_user_password(**who, Password="weak", Permanent=True)
    with pytest.raises(errors.InvalidParameterException, match="sub"):
        client.admin_update_user_attributes(
            **who, UserAttributes=[{"Name": "sub", "Value": "chosen"}]
        )
    with pytest.raises(errors.InvalidParameterException, match="sub"):
        client.admin_delete_user_attributes(**who, UserAttributeNames=["sub"])
    with pytest.raises(errors.InvalidParameterException, match="MfaConfiguration"):
        client.create_user_pool(PoolName="mfa", MfaConfiguration="ON")
    with pytest.raises(errors.InvalidParameterException, match="Filter"):
        client.list_users(UserPoolId=pool, Filter="username")
    client.admin_set_user_password(**who, Password=SECOND, Permanent=True)
    with pytest.raises(errors.UnsupportedUserStateException):
        client.admin_create_user(**who, MessageAction="RESEND")
    client.create_group(UserPoolId=pool, GroupName="g")
    with pytest.raises(errors.GroupExistsException):
        client.create_group(UserPoolId=pool, GroupName="g")
    domain = f"d-{uuid.uuid4().hex[:8]}"
    client.create_user_pool_domain(UserPoolId=pool, Domain=domain)
    with pytest.raises(errors.InvalidParameterException, match="domain"):
        client.delete_user_pool(UserPoolId=pool)
    client.delete_user_pool_domain(UserPoolId=pool, Domain=domain)
    client.delete_user_pool(UserPoolId=pool)


def test_lists_are_paged_and_filtered(server: Server, pool: str) -> None:
    client = server.client("cognito-idp")
    client.create_group(UserPoolId=pool, GroupName="all")
    names = [f"user-{number}" for number in range(7)]
    for name in names:
        user(server, pool, name)
        client.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName="all")
    pages = client.get_paginator("list_users").paginate(
        UserPoolId=pool, PaginationConfig={"PageSize": 3}
    )
    sizes = [[item["Username"] for item in page["Users"]] for page in pages]
    assert sizes == [names[:3], names[3:6], names[6:]]
    members = client.get_paginator("list_users_in_group").paginate(
        UserPoolId=pool, GroupName="all", PaginationConfig={"PageSize": 5}
    )
    assert [item["Username"] for page in members for item in page["Users"]] == names

    def found(text: str) -> list[str]:
        return [
            item["Username"] for item in client.list_users(UserPoolId=pool, Filter=text)["Users"]
        ]

    assert found('username = "user-3"') == ["user-3"]
    assert found('username ^= "user-"') == names
    assert found('cognito:user_status = "CONFIRMED"') == []
    client.admin_disable_user(UserPoolId=pool, Username="user-1")
    assert found('status = "Disabled"') == ["user-1"]
    with pytest.raises(client.exceptions.InvalidParameterException, match="PaginationToken"):
        client.list_users(UserPoolId=pool, PaginationToken="x")


def test_what_people_work_by_is_not_deleted_under_them(server: Server) -> None:
    own, sagemaker = server.client("loopwright"), server.client("sagemaker")
    client = server.client("cognito-idp")
    team = f"team-{uuid.uuid4().hex[:8]}"
    invited = own.invite_worker(WorkteamName=team, Email=f"{team}@example.com")
    pool = invited["UserPoolId"]
    with pytest.raises(ClientError, match="sign in by it"):
        client.delete_user_pool(UserPoolId=pool)
    member = sagemaker.describe_workteam(WorkteamName=team)["Workteam"]["MemberDefinitions"][0]
    with pytest.raises(ClientError, match="sign in by it"):
        client.delete_user_pool_client(
            UserPoolId=pool, ClientId=member["CognitoMemberDefinition"]["ClientId"]
        )
    arn = flow(server, f"flow-{team}", team)
    runtime = server.client("sagemaker-a2i-runtime")
    runtime.start_human_loop(
        HumanLoopName=team, FlowDefinitionArn=arn, HumanLoopInput={"InputContent": '{"text": "x"}'}
    )

    visitor = Visitor(server)
    path = re.sub("^https?://[^/]*", "", invited["InvitationUrl"])
    fields = {"csrf": visitor.token(path), "password": SECOND, "again": SECOND}
    visitor.post(path, fields)
    await_that(
        lambda: True if "Judge a message" in visitor.ask("GET", "/work")[2] else None, "the task"
    )
    with pytest.raises(ClientError, match="1 open tasks"):
        sagemaker.delete_workteam(WorkteamName=team)
    # A flow and its page may go: what runs goes on by what they said when it began.
    sagemaker.delete_flow_definition(FlowDefinitionName=f"flow-{team}")
    sagemaker.delete_human_task_ui(HumanTaskUiName=f"flow-{team}-ui")
    fields = {"csrf": visitor.token("/work"), "job": f"review/flow-{team}"}
    task = visitor.post("/work/take", fields)[1]["Location"]
    assert "crowd-classifier" in visitor.ask("GET", f"{task}/page")[2]
    with pytest.raises(ClientError, match="is InProgress; only one that has ended"):
        runtime.delete_human_loop(HumanLoopName=team)
    with pytest.raises(ClientError, match="already exists"):
        sagemaker.create_workteam(
            WorkteamName=team, Description="again", MemberDefinitions=[member]
        )


def test_invitations_find_who_is_there_already(server: Server) -> None:
    own, client = server.client("loopwright"), server.client("cognito-idp")
    team = f"team-{uuid.uuid4().hex[:8]}"
    first = own.invite_worker(WorkteamName=team, Email=f"{team}@example.com")
    other = f"{team}-other@example.com"
    # Made by Cognito's own operation, with the address as name and without the attribute.
    user(server, first["UserPoolId"], other)
    assert own.invite_worker(WorkteamName=team, Email=other)["Username"] == other
    client.admin_disable_user(UserPoolId=first["UserPoolId"], Username=other)
    with pytest.raises(ClientError, match="disabled"):
        own.invite_worker(WorkteamName=team, Email=other)


def test_what_would_guard_nothing_is_refused(server: Server) -> None:
    own, sagemaker = server.client("loopwright"), server.client("sagemaker")
    team = f"team-{uuid.uuid4().hex[:8]}"
    own.invite_worker(WorkteamName=team, Email=f"{team}@example.com")
    force = sagemaker.list_workforces()["Workforces"][0]["WorkforceName"]
    vpc = {"VpcId": "vpc-1", "SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    with pytest.raises(ClientError, match="WorkforceVpcConfig is not offered"):
        sagemaker.update_workforce(WorkforceName=force, WorkforceVpcConfig=vpc)
    with pytest.raises(ClientError, match=r"999\.1\.1\.1/8"):
        sagemaker.update_workforce(WorkforceName=force, SourceIpConfig={"Cidrs": ["999.1.1.1/8"]})
    constraint = {"S3Presign": {"IamPolicyConstraints": {"SourceIp": "Enabled"}}}
    with pytest.raises(ClientError, match="SourceIp is not offered"):
        sagemaker.update_workteam(WorkteamName=team, WorkerAccessConfiguration=constraint)
