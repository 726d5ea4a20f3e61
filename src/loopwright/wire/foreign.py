"""Requests for services that are not here, told by what they are signed for.

Without this a request of an unknown REST service would be taken for S3's, and one of an unknown
query service could not be answered in a form that its client reads.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from botocore.exceptions import UnknownServiceError
from botocore.model import ServiceModel

from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request
from loopwright.wire.services import service

SIGNED_FOR: Final = frozenset(
    "application-autoscaling cognito-idp ecr events iam lambda logs loopwright monitoring "
    "rekognition s3 sagemaker sts tagging textract".split()
)
"""The names in the signatures of what is served; s3 stands for all its parts."""
SCOPE: Final = re.compile(r"Credential=[^/\s,]+/\d{8}/[^/\s,]*/([\w-]+)/aws4_request")


def foreign_service(request: Request) -> str | None:
    """The name of the service that a request is signed for, when it is none of ours."""
    text = request.headers.get("authorization", "")
    if not text and "X-Amz-Credential" in request.query:
        text = "Credential=" + unquote(request.arguments.get("X-Amz-Credential", ""))
    match = SCOPE.search(text)
    if match is None or match[1] in SIGNED_FOR or match[1].startswith("s3"):
        return None
    return match[1]


def model_of(name: str, request: Request) -> ServiceModel:
    """A model whose clients read errors in the same form."""
    try:
        return service(name)
    except UnknownServiceError:
        # Several services sign with another name than botocore has for them.
        if "x-amz-target" in request.headers:
            return service("sagemaker")
        form = "form-urlencoded" in request.headers.get("content-type", "")
        return service("sts" if form else "lambda")


def no_service(name: str, model: ServiceModel, served: Iterable[str]) -> ApiError:
    """What a caller of a service that is not here is told.

    Args:
        served: Names of the services that are.
    """
    query = model.metadata["protocol"] in ("query", "ec2")
    way = "endpoint_url"
    if model.service_name == name:
        way += f", or AWS_ENDPOINT_URL_{re.sub('[^A-Z0-9]', '_', str(model.service_id).upper())}"
    return ApiError(
        "InvalidAction" if query else "UnknownOperationException",
        f"Loopwright has no service {name!r}; it has {', '.join(sorted(served))}. Give the client "
        f"of another service an address of its own: {way}.",
        400,
    )
