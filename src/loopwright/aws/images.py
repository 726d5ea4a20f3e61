"""ECR in front of the home's registry; Loopwright's own runtimes appear as repositories too."""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from loopwright.aws.registry import USER, Image, NoRegistry
from loopwright.aws.repositories import Repositories
from loopwright.compute.daemon import DaemonError
from loopwright.contract.images import catalogue
from loopwright.kernel.verbs import Context, Operation
from loopwright.wire.errors import ApiError

Params = dict[str, Any]
TOKEN_S: Final = 12 * 3600.0
"""What clients are told of the password's life; it stays the same for the home's."""
ECHOED: Final = ("imageScanningConfiguration", "encryptionConfiguration")


def ecr_operations(repositories: Repositories) -> dict[str, Operation]:
    """By operation name."""
    face = _Face(repositories)
    return {
        "CreateRepository": face.create,
        "DescribeRepositories": face.describe,
        "DeleteRepository": face.delete,
        "GetAuthorizationToken": face.token,
        "DescribeImages": face.images,
        "ListImages": face.image_ids,
        "BatchGetImage": face.get,
        "BatchDeleteImage": face.remove,
        "ListTagsForResource": face.tags,
        "TagResource": face.tag,
        "UntagResource": face.untag,
    }


class _Face:
    """The operations."""

    def __init__(self, repositories: Repositories) -> None:
        self._kept = repositories
        self._registry = repositories.registry

    # Repositories

    def create(self, context: Context, params: Params) -> Params:
        name = params["repositoryName"]
        if params.get("imageTagMutability", "MUTABLE") != "MUTABLE":
            raise ApiError(
                "InvalidParameterException",
                f"imageTagMutability is {params['imageTagMutability']!r}; the registry here lets "
                "every tag be pushed again: use MUTABLE, and name images by digest.",
            )
        self._ensure()
        document: dict[str, Any] = {
            "created": context.clock.now(),
            "arn": _arn(context, name),
            "tags": params.get("tags", []),
            **{member: params[member] for member in ECHOED if member in params},
        }
        if name in dict(catalogue()) or not self._kept.add(name, document):
            hint = " It is the name of a runtime: choose another." if self._is_runtime(name) else ""
            raise ApiError(
                "RepositoryAlreadyExistsException",
                f"The repository with name '{name}' already exists in the registry with id "
                f"'{context.kinds.account}'.{hint}",
            )
        return {"repository": self._shown(context, name, document)}

    def describe(self, context: Context, params: Params) -> Params:
        runtimes = [name for name, _ in catalogue()]
        asked = params.get("repositoryNames")
        for name in asked or ():
            self._known(context, name)
        names = asked or [*self._kept.names(), *(n for n in runtimes)]
        page, token = _page(names, params)
        found = [self._shown(context, name, self._kept.get(name)) for name in page]
        return {"repositories": found, **token}

    def delete(self, context: Context, params: Params) -> Params:
        name = params["repositoryName"]
        document = self._own(context, name)
        if not params.get("force") and self._registry.images(name):
            raise ApiError(
                "RepositoryNotEmptyException",
                f"The repository with name '{name}' in registry with id "
                f"'{context.kinds.account}' cannot be deleted because it still contains images; "
                "delete them with BatchDeleteImage, or give force.",
            )
        shown = self._shown(context, name, document)
        self._kept.remove(name)
        return {"repository": shown}

    def token(self, context: Context, _params: Params) -> Params:
        self._ensure()
        words = f"{USER}:{self._registry.password}".encode()
        return {
            "authorizationData": [
                {
                    "authorizationToken": base64.b64encode(words).decode(),
                    "expiresAt": context.clock.now() + TOKEN_S,
                    "proxyEndpoint": f"http://{self._registry.address}",
                }
            ]
        }

    def _ensure(self) -> None:
        try:
            self._registry.ensure()
        except (NoRegistry, DaemonError) as error:
            raise ApiError("ServerException", str(error), 500) from error

    def _is_runtime(self, name: str) -> bool:
        return name in dict(catalogue())

    def _known(self, context: Context, name: str) -> None:
        if not self._is_runtime(name):
            self._own(context, name)

    def _own(self, context: Context, name: str) -> dict[str, Any]:
        document = self._kept.get(name)
        if document is not None:
            return document
        if self._is_runtime(name):
            raise ApiError(
                "InvalidParameterException",
                f"'{name}' is a runtime of Loopwright's own, which holds no images to change.",
            )
        raise ApiError(
            "RepositoryNotFoundException",
            f"The repository with name '{name}' does not exist in the registry with id "
            f"'{context.kinds.account}'.",
        )

    def _shown(
        self, context: Context, name: str, document: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        account = context.kinds.account
        if document is None:
            host = f"{account}.dkr.ecr.{context.region}.amazonaws.com"
            return {
                "repositoryName": name,
                "registryId": account,
                "repositoryUri": f"{host}/{name}",
                "repositoryArn": _arn(context, name),
            }
        return {
            "repositoryName": name,
            "registryId": account,
            "repositoryUri": f"{self._registry.address}/{name}",
            "repositoryArn": document["arn"],
            "createdAt": document["created"],
            "imageTagMutability": "MUTABLE",
            "imageScanningConfiguration": document.get(
                "imageScanningConfiguration", {"scanOnPush": False}
            ),
            "encryptionConfiguration": document.get(
                "encryptionConfiguration", {"encryptionType": "AES256"}
            ),
        }

    # Images

    def images(self, context: Context, params: Params) -> Params:
        name = params["repositoryName"]
        account = context.kinds.account
        if self._is_runtime(name):
            tags = [item["imageTag"] for item in params.get("imageIds", ()) if "imageTag" in item]
            known = {"registryId": account, "repositoryName": name, "imageTags": tags or ["latest"]}
            return {"imageDetails": [known]}
        self._own(context, name)
        found = self._registry.images(name)
        if params.get("imageIds"):
            wanted = [self._digest(context, name, item) for item in params["imageIds"]]
            found = [image for image in found if image.digest in wanted]
        found = [image for image in found if _passes(image, params)]
        page, token = _page(found, params)
        return {"imageDetails": [_detail(account, name, image) for image in page], **token}

    def _digest(self, context: Context, name: str, item: Mapping[str, Any]) -> str:
        tag, digest = item.get("imageTag"), item.get("imageDigest")
        found = self._registry.find(name, tag, digest)
        if found is None:
            raise ApiError(
                "ImageNotFoundException",
                f"The image with imageId {{imageDigest:'{digest or 'null'}', "
                f"imageTag:'{tag or 'null'}'}} does not exist within the repository with name "
                f"'{name}' in the registry with id '{context.kinds.account}'",
            )
        return found

    def image_ids(self, context: Context, params: Params) -> Params:
        name = params["repositoryName"]
        self._own(context, name)
        ids: list[dict[str, str]] = []
        for image in self._registry.images(name):
            if _passes(image, params):
                tagged = [{"imageDigest": image.digest, "imageTag": tag} for tag in image.tags]
                ids += tagged or [{"imageDigest": image.digest}]
        page, token = _page(ids, params)
        return {"imageIds": page, **token}

    def get(self, context: Context, params: Params) -> Params:
        name = params["repositoryName"]
        self._own(context, name)

        def one(item: Mapping[str, Any], digest: str) -> dict[str, Any]:
            manifest = (self._registry.manifest(digest) or b"{}").decode()
            given = {"imageTag": item["imageTag"]} if item.get("imageTag") else {}
            kind = orjson.loads(manifest).get("mediaType")
            return {
                "registryId": context.kinds.account,
                "repositoryName": name,
                "imageId": {"imageDigest": digest, **given},
                "imageManifest": manifest,
                **({"imageManifestMediaType": kind} if kind else {}),
            }

        found, failures = self._each(name, params, one)
        return {"images": found, "failures": failures}

    def remove(self, context: Context, params: Params) -> Params:
        name = params["repositoryName"]
        self._own(context, name)

        def one(item: Mapping[str, Any], digest: str) -> dict[str, Any]:
            if item.get("imageTag"):
                self._registry.remove_tag(name, item["imageTag"])
            else:
                self._registry.remove_image(name, digest)
            return {**item, "imageDigest": digest}

        found, failures = self._each(name, params, one)
        return {"imageIds": found, "failures": failures}

    def _each(
        self,
        name: str,
        params: Params,
        one: Callable[[Mapping[str, Any], str], dict[str, Any]],
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """What `one` makes of every image that is asked for, and the failures."""
        found: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        for item in params["imageIds"]:
            tag, digest = item.get("imageTag"), item.get("imageDigest")
            known = self._registry.find(name, tag, None if tag else digest)
            if tag and digest and known is not None and known != digest:
                failures.append(_failure(item, "ImageTagDoesNotMatchDigest"))
            elif not tag and not digest:
                failures.append(_failure(item, "MissingDigestAndTag"))
            elif known is None:
                failures.append(_failure(item, "ImageNotFound"))
            else:
                found.append(one(item, known))
        return found, failures

    # Tags

    def tags(self, context: Context, params: Params) -> Params:
        return {"tags": self._tagged(context, params)[1].get("tags", [])}

    def tag(self, context: Context, params: Params) -> Params:
        name, document = self._tagged(context, params)
        new = {tag["Key"]: tag for tag in (*document.get("tags", ()), *params["tags"])}
        self._kept.put(name, {**document, "tags": list(new.values())})
        return {}

    def untag(self, context: Context, params: Params) -> Params:
        name, document = self._tagged(context, params)
        left = [tag for tag in document.get("tags", ()) if tag["Key"] not in params["tagKeys"]]
        self._kept.put(name, {**document, "tags": left})
        return {}

    def _tagged(self, context: Context, params: Params) -> tuple[str, dict[str, Any]]:
        arn = params["resourceArn"]
        name = arn.partition(":repository/")[2]
        if not name:
            raise ApiError(
                "InvalidParameterException",
                f"resourceArn is {arn!r}; it must be arn:aws:ecr:REGION:ACCOUNT:repository/NAME.",
            )
        return name, self._own(context, name)


def _arn(context: Context, name: str) -> str:
    return f"arn:aws:ecr:{context.region}:{context.kinds.account}:repository/{name}"


def _passes(image: Image, params: Params) -> bool:
    wanted = (params.get("filter") or {}).get("tagStatus", "ANY")
    return bool(wanted == "ANY" or (wanted == "TAGGED") == bool(image.tags))


def _detail(account: str, name: str, image: Image) -> dict[str, Any]:
    found = {
        "registryId": account,
        "repositoryName": name,
        "imageDigest": image.digest,
        "imageSizeInBytes": image.size_bytes,
        "imagePushedAt": image.pushed,
        "imageManifestMediaType": image.media_type,
    }
    return {**found, "imageTags": list(image.tags)} if image.tags else found


def _failure(item: Mapping[str, Any], code: str) -> dict[str, Any]:
    reasons = {
        "ImageNotFound": "Requested image not found",
        "ImageTagDoesNotMatchDigest": "The tag is another image's than the digest",
        "MissingDigestAndTag": "Give imageTag or imageDigest",
    }
    return {"imageId": dict(item), "failureCode": code, "failureReason": reasons[code]}


def _page(items: Sequence[Any], params: Params) -> tuple[list[Any], dict[str, str]]:
    """A page, and the token of the next one."""
    try:
        start = int(params.get("nextToken") or 0)
    except ValueError:
        raise ApiError(
            "InvalidParameterException",
            f"nextToken is {params['nextToken']!r}; it is none of ours.",
        ) from None
    end = start + int(params.get("maxResults") or 100)
    return list(items[start:end]), {"nextToken": str(end)} if end < len(items) else {}
