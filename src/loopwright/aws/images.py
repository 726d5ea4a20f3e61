"""ECR's look-ups: the runtimes appear as repositories; there is no registry to push to."""

from typing import Any

from loopwright.contract.images import catalogue
from loopwright.kernel.verbs import Context, Operation
from loopwright.wire.errors import ApiError


def ecr_operations() -> dict[str, Operation]:
    """By operation name."""
    return {"DescribeRepositories": _repositories, "DescribeImages": _images}


def _known(params: dict[str, Any], name: str) -> None:
    if name not in dict(catalogue()):
        raise ApiError(
            "RepositoryNotFoundException",
            f"The repository with name '{name}' does not exist here; "
            "`loopwright images` lists those that do.",
        )


def _repositories(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    names = params.get("repositoryNames") or [name for name, _ in catalogue()]
    for name in names:
        _known(params, name)
    account = context.kinds.account
    host = f"{account}.dkr.ecr.{context.region}.amazonaws.com"
    return {
        "repositories": [
            {
                "repositoryName": name,
                "registryId": account,
                "repositoryUri": f"{host}/{name}",
                "repositoryArn": f"arn:aws:ecr:{context.region}:{account}:repository/{name}",
            }
            for name in names
        ]
    }


def _images(context: Context, params: dict[str, Any]) -> dict[str, Any]:
    name = params["repositoryName"]
    _known(params, name)
    tags = [item["imageTag"] for item in params.get("imageIds", ()) if item.get("imageTag")]
    return {
        "imageDetails": [
            {
                "registryId": context.kinds.account,
                "repositoryName": name,
                "imageTags": tags or ["latest"],
            }
        ]
    }
