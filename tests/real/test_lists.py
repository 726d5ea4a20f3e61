"""Lists, tags and deletions through boto3: pages, order, filters, regions.

Each test works in a region of its own, so that its lists hold nothing of other tests.
"""

import math
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server import ROLE, SKLEARN, Server, await_that, packed, training_request, variant

pytestmark = pytest.mark.real


def _train(server: Server, sagemaker: Any, name: str, script: str = "print('done')") -> str:
    """Create a training job; its ARN."""
    request = training_request(name, server.put_source(f"lists-{name}", {"train.py": script}))
    return str(sagemaker.create_training_job(**request)["TrainingJobArn"])


def _finished(sagemaker: Any, name: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        found = dict(sagemaker.describe_training_job(TrainingJobName=name))
        return None if found["TrainingJobStatus"] in ("InProgress", "Stopping") else found

    return await_that(over, f"the end of {name}")


def _model(sagemaker: Any, name: str, **more: Any) -> str:
    container = {"Image": SKLEARN}
    made = sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, **more
    )
    return str(made["ModelArn"])


def _jobs(sagemaker: Any, **query: Any) -> list[str]:
    page = sagemaker.list_training_jobs(**query)
    return [item["TrainingJobName"] for item in page["TrainingJobSummaries"]]


def _models(sagemaker: Any, **query: Any) -> list[str]:
    return [item["ModelName"] for item in sagemaker.list_models(**query)["Models"]]


def _code(error: "pytest.ExceptionInfo[ClientError]") -> str:
    return str(error.value.response["Error"]["Code"])


def test_pages_hold_every_job_once_while_jobs_come_and_go(server: Server) -> None:
    sagemaker = server.client("sagemaker", region_name="eu-west-1")
    names = [f"page-{number}" for number in range(7)]
    for name in names:
        _train(server, sagemaker, name)
    page = sagemaker.list_training_jobs(MaxResults=3)
    assert [item["TrainingJobName"] for item in page["TrainingJobSummaries"]] == names[:3]
    _finished(sagemaker, names[0])
    sagemaker.delete_training_job(TrainingJobName=names[0])
    _train(server, sagemaker, "page-7")
    rest = []
    while token := page.get("NextToken"):
        page = sagemaker.list_training_jobs(MaxResults=3, NextToken=token)
        rest += [item["TrainingJobName"] for item in page["TrainingJobSummaries"]]
    assert rest == [*names[3:], "page-7"]
    paginator = sagemaker.get_paginator("list_training_jobs")
    seen = [
        item["TrainingJobName"]
        for found in paginator.paginate(PaginationConfig={"PageSize": 2})
        for item in found["TrainingJobSummaries"]
    ]
    assert seen == [*names[1:], "page-7"]
    for name in seen:
        _finished(sagemaker, name)


def test_a_page_of_ten_is_the_default_and_models_come_newest_first(server: Server) -> None:
    sagemaker = server.client("sagemaker", region_name="eu-west-2")
    names = [f"order-{number:02}" for number in range(12)]
    for name in names:
        _model(sagemaker, name)
    page = sagemaker.list_models()
    assert [item["ModelName"] for item in page["Models"]] == names[:1:-1]
    more = sagemaker.list_models(NextToken=page["NextToken"])
    assert [item["ModelName"] for item in more["Models"]] == names[1::-1]
    assert "NextToken" not in more
    assert _models(sagemaker, SortOrder="Ascending", MaxResults=2) == names[:2]
    assert _models(sagemaker, SortBy="Name", SortOrder="Descending", MaxResults=1) == names[-1:]
    assert _models(sagemaker, NameContains="r-1") == ["order-11", "order-10"]
    assert _models(sagemaker, NameContains="rder-2") == []


def test_endpoints_come_newest_first_with_their_states(server: Server) -> None:
    sagemaker = server.client("sagemaker", region_name="eu-west-3")
    source = server.put_source("lists-serve", {"serve.py": "def model_fn(folder):\n    return 1\n"})
    model = server.put("lists/model.tar.gz", packed({"note.txt": "x"}))
    environment = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": source}
    sagemaker.create_model(
        ModelName="seen",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": SKLEARN, "ModelDataUrl": model, "Environment": environment},
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName="seen", ProductionVariants=[variant("AllTraffic", "seen")]
    )
    for name in ("first", "second"):
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="seen")
    listed = sagemaker.list_endpoints()["Endpoints"]
    assert [item["EndpointName"] for item in listed] == ["second", "first"]

    def serving() -> list[str] | None:
        found = sagemaker.list_endpoints(StatusEquals="InService", SortBy="Name")["Endpoints"]
        return [item["EndpointName"] for item in found] if len(found) == 2 else None

    assert await_that(serving, "two endpoints") == ["second", "first"]
    assert sagemaker.list_endpoints(StatusEquals="Failed")["Endpoints"] == []
    for name in ("first", "second"):
        sagemaker.delete_endpoint(EndpointName=name)


def test_jobs_are_found_by_state_and_sorted_by_name_and_state(server: Server) -> None:
    sagemaker = server.client("sagemaker", region_name="us-west-1")
    for name, script in (("b-good", "pass"), ("c-bad", "raise ValueError('no')"), ("a-good", "")):
        _train(server, sagemaker, name, script)
        _finished(sagemaker, name)
    assert _jobs(sagemaker) == ["b-good", "c-bad", "a-good"]
    assert _jobs(sagemaker, SortOrder="Descending") == ["a-good", "c-bad", "b-good"]
    assert _jobs(sagemaker, SortBy="Name") == ["a-good", "b-good", "c-bad"]
    assert _jobs(sagemaker, SortBy="Status", SortOrder="Descending")[0] == "c-bad"
    assert _jobs(sagemaker, StatusEquals="Failed") == ["c-bad"]
    assert _jobs(sagemaker, StatusEquals="Completed", NameContains="good") == ["b-good", "a-good"]
    assert _jobs(sagemaker, StatusEquals="InProgress") == []
    summary = sagemaker.list_training_jobs(NameContains="c-bad")["TrainingJobSummaries"][0]
    described = sagemaker.describe_training_job(TrainingJobName="c-bad")
    assert {name: described[name] for name in summary} == summary


def test_a_time_divides_what_was_made_before_and_after(server: Server) -> None:
    sagemaker = server.client("sagemaker", region_name="us-west-2")
    _model(sagemaker, "early")
    # boto3 sends whole seconds.
    boundary = math.floor(time.time()) + 1
    await_that(lambda: time.time() > boundary or None, "the next second")
    _model(sagemaker, "late")
    assert _models(sagemaker, CreationTimeAfter=boundary) == ["late"]
    assert _models(sagemaker, CreationTimeBefore=boundary) == ["early"]
    hour = {"CreationTimeAfter": boundary - 3600, "CreationTimeBefore": boundary + 3600}
    assert _models(sagemaker, **hour) == ["late", "early"]
    assert _models(sagemaker, CreationTimeAfter=boundary + 3600) == []


def test_a_token_of_another_query_is_refused(server: Server) -> None:
    sagemaker = server.client("sagemaker", region_name="ca-central-1")
    for name in ("one", "two", "three"):
        _model(sagemaker, name)
    token = sagemaker.list_models(MaxResults=1)["NextToken"]
    assert _models(sagemaker, MaxResults=1, NextToken=token) == ["two"]
    for call, query in (
        (sagemaker.list_models, {"NextToken": "nonsense"}),
        (sagemaker.list_models, {"NextToken": token, "SortOrder": "Ascending"}),
        (sagemaker.list_endpoints, {"NextToken": token}),
        (server.client("sagemaker", region_name="sa-east-1").list_models, {"NextToken": token}),
    ):
        with pytest.raises(ClientError, match="NextToken") as error:
            call(**query)
        assert _code(error) == "ValidationException"


def test_tags_are_added_listed_and_deleted(server: Server) -> None:
    sagemaker = server.client("sagemaker", region_name="ap-south-1")
    arn = _model(sagemaker, "tagged", Tags=[{"Key": "team", "Value": "blue"}])
    added = sagemaker.add_tags(
        ResourceArn=arn, Tags=[{"Key": "team", "Value": "red"}, {"Key": "cost", "Value": ""}]
    )["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in added} == {"team": "red", "cost": ""}
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team", "absent"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "cost", "Value": ""}]
    for number in range(49):
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": f"k{number}", "Value": "v"}])
    with pytest.raises(ClientError, match="50"):
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "one-more", "Value": "v"}])
    keys = [tag["Key"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]]
    assert len(keys) == len(set(keys)) == 50
    sagemaker.delete_model(ModelName="tagged")
    with pytest.raises(ClientError, match=arn):
        sagemaker.list_tags(ResourceArn=arn)
    again = _model(sagemaker, "tagged")
    assert sagemaker.list_tags(ResourceArn=again)["Tags"] == []


def test_only_a_finished_job_can_be_deleted(server: Server) -> None:
    sagemaker = server.client("sagemaker", region_name="ap-northeast-1")
    _train(server, sagemaker, "kept", "import time; time.sleep(300)")
    with pytest.raises(ClientError, match="stop it first") as error:
        sagemaker.delete_training_job(TrainingJobName="kept")
    assert _code(error) == "ValidationException"
    sagemaker.stop_training_job(TrainingJobName="kept")
    assert _finished(sagemaker, "kept")["TrainingJobStatus"] == "Stopped"
    sagemaker.delete_training_job(TrainingJobName="kept")
    assert _jobs(sagemaker) == []
    with pytest.raises(ClientError, match="Requested resource not found") as error:
        sagemaker.describe_training_job(TrainingJobName="kept")
    assert _code(error) == "ValidationException"
    _train(server, sagemaker, "kept")
    assert _finished(sagemaker, "kept")["TrainingJobStatus"] == "Completed"


def test_regions_are_kept_apart(server: Server) -> None:
    north = server.client("sagemaker", region_name="eu-north-1")
    south = server.client("sagemaker", region_name="eu-south-1")
    assert ":eu-north-1:" in _model(north, "same", Tags=[{"Key": "side", "Value": "north"}])
    assert _models(south) == []
    with pytest.raises(ClientError, match="Could not find"):
        south.describe_model(ModelName="same")
    arn = _model(south, "same")
    assert ":eu-south-1:" in arn
    assert south.list_tags(ResourceArn=arn)["Tags"] == []
    north.delete_model(ModelName="same")
    assert _models(north) == []
    assert _models(south) == ["same"]


def test_an_operation_that_is_not_there_is_named(server: Server) -> None:
    sagemaker = server.client("sagemaker")
    for name, call in (
        ("ListPipelines", sagemaker.list_pipelines),
        ("DeleteCluster", lambda: sagemaker.delete_cluster(ClusterName="none")),
    ):
        with pytest.raises(ClientError, match=f"does not implement sagemaker:{name}") as error:
            call()
        assert _code(error) == "UnknownOperationException"
