"""ECR's operations over the real registry, through boto3 and the docker command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.images import Workshop
from tests.server import Server

pytestmark = pytest.mark.real


def refused(call: Callable[[], Any]) -> str:
    """The error code of a call that is refused."""
    with pytest.raises(ClientError) as error:
        call()
    return str(error.value.response["Error"]["Code"])


def push(workshop: Workshop, folder: Path, uri: str, text: str) -> None:
    """Push an image of one small file."""
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text(text)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    workshop.docker("build", "-q", "-t", uri, str(folder))
    workshop.docker("push", "-q", uri)


def test_repositories(workshop: Workshop) -> None:
    ecr = workshop.server.client("ecr")
    tags = [{"Key": "team", "Value": "one"}]
    made = ecr.create_repository(repositoryName="shelf/first", tags=tags)["repository"]
    assert made["repositoryUri"] == f"{workshop.uri.partition('/')[0]}/shelf/first"
    assert refused(lambda: ecr.create_repository(repositoryName="shelf/first")) == (
        "RepositoryAlreadyExistsException"
    )
    # The names of runtimes are taken: images of the catalogue would not be told apart from them.
    assert refused(lambda: ecr.create_repository(repositoryName="sagemaker-xgboost")) == (
        "RepositoryAlreadyExistsException"
    )
    assert refused(
        lambda: ecr.create_repository(repositoryName="fixed", imageTagMutability="IMMUTABLE")
    ) == "InvalidParameterException"  # fmt: skip
    (found,) = ecr.describe_repositories(repositoryNames=["shelf/first"])["repositories"]
    assert found == made
    pages = ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 3})
    names = [item["repositoryName"] for page in pages for item in page["repositories"]]
    assert len(names) == len(set(names))
    assert {"shelf/first", "sagemaker-xgboost"} <= set(names)
    arn = made["repositoryArn"]
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == tags
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "team", "Value": "two"}])
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "team", "Value": "two"}]
    ecr.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == []
    ecr.delete_repository(repositoryName="shelf/first")
    for call in (
        lambda: ecr.delete_repository(repositoryName="shelf/first"),
        lambda: ecr.describe_repositories(repositoryNames=["shelf/first"]),
        lambda: ecr.list_images(repositoryName="shelf/first"),
        lambda: ecr.describe_images(repositoryName="shelf/first"),
        lambda: ecr.list_tags_for_resource(resourceArn=arn),
    ):
        assert refused(call) == "RepositoryNotFoundException"
    assert refused(lambda: ecr.delete_repository(repositoryName="pytorch-training")) == (
        "InvalidParameterException"
    )


def test_images(workshop: Workshop, tmp_path: Path) -> None:
    ecr = workshop.server.client("ecr")
    name = "shelf/images"
    uri = ecr.create_repository(repositoryName=name)["repository"]["repositoryUri"]
    push(workshop, tmp_path / "a", f"{uri}:one", "first")
    workshop.docker("tag", f"{uri}:one", f"{uri}:same")
    workshop.docker("push", "-q", f"{uri}:same")
    push(workshop, tmp_path / "b", f"{uri}:two", "second")
    details = ecr.describe_images(repositoryName=name)["imageDetails"]
    assert [detail["imageTags"] for detail in details] == [["two"], ["one", "same"]]
    assert all(detail["imageSizeInBytes"] > 0 for detail in details)
    first = details[1]["imageDigest"]
    (one,) = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": "same"}])[
        "imageDetails"
    ]
    assert one["imageDigest"] == first
    assert refused(
        lambda: ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": "three"}])
    ) == "ImageNotFoundException"  # fmt: skip
    got = ecr.batch_get_image(
        repositoryName=name, imageIds=[{"imageTag": "one"}, {"imageTag": "three"}]
    )
    assert got["images"][0]["imageId"] == {"imageDigest": first, "imageTag": "one"}
    assert got["failures"][0]["failureCode"] == "ImageNotFound"
    assert refused(lambda: ecr.delete_repository(repositoryName=name)) == (
        "RepositoryNotEmptyException"
    )
    # The same tag of another image leaves the first one without.
    push(workshop, tmp_path / "c", f"{uri}:two", "third")
    untagged = ecr.list_images(repositoryName=name, filter={"tagStatus": "UNTAGGED"})["imageIds"]
    assert untagged == [{"imageDigest": details[0]["imageDigest"]}]
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "one"}])
    left = ecr.list_images(repositoryName=name, filter={"tagStatus": "TAGGED"})["imageIds"]
    assert {item["imageTag"] for item in left} == {"same", "two"}
    gone = ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": first}])
    assert gone["failures"] == []
    assert refused(
        lambda: ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": "same"}])
    ) == "ImageNotFoundException"  # fmt: skip
    assert workshop.docker("pull", "-q", f"{uri}:same", check=False).returncode != 0
    ecr.delete_repository(repositoryName=name, force=True)
    ecr.create_repository(repositoryName=name)
    assert ecr.describe_images(repositoryName=name)["imageDetails"] == []
    ecr.delete_repository(repositoryName=name)


def test_a_password_is_needed(workshop: Workshop, tmp_path: Path) -> None:
    host = workshop.uri.partition("/")[0]
    wrong = workshop.docker(
        "login", "-u", "AWS", "--password-stdin", host, given="guessed", check=False
    )
    assert wrong.returncode != 0
    stranger = Workshop(
        workshop.server, workshop.engine, workshop.uri,
        {**workshop.environment, "DOCKER_CONFIG": str(tmp_path)},
    )  # fmt: skip
    assert stranger.docker("push", "-q", workshop.uri, check=False).returncode != 0


def test_what_is_pushed_outlives_the_server(tmp_path: Path, workshop: Workshop) -> None:
    """The port, the password, the repositories and the images are the same at the next start."""
    server = Server(tmp_path / "home", cpus=1, engine="")
    server.start()
    try:
        ecr = server.client("ecr")
        uri = ecr.create_repository(repositoryName="kept")["repository"]["repositoryUri"]
        token = ecr.get_authorization_token()["authorizationData"][0]
        environment = {**workshop.environment, "DOCKER_CONFIG": str(tmp_path / "docker")}
        shell = Workshop(server, workshop.engine, uri, {**environment, **server.variables()})
        shell.environment["PATH"] = workshop.environment["PATH"]
        shell.login()
        push(shell, tmp_path / "a", f"{uri}:1", "kept")
        server.stop()
        server.start()
        ecr = server.client("ecr")
        assert ecr.create_repository(repositoryName="other")["repository"]["repositoryUri"] == (
            uri.replace("kept", "other")
        )
        assert (
            ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
            == (token["authorizationToken"])
        )
        (detail,) = ecr.describe_images(repositoryName="kept")["imageDetails"]
        assert detail["imageTags"] == ["1"]
    finally:
        server.stop()
