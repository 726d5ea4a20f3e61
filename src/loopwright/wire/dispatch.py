"""Which service and operation a request asks for: by target header, form, or path.

One port serves every service: JSON services are told apart by the prefix of `X-Amz-Target`, STS
and IAM by the version of their form, REST services by their paths, and the rest is S3.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import parse_qsl

from botocore.model import OperationModel, OperationNotFoundError

from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request
from loopwright.wire.near import did_you_mean
from loopwright.wire.protocols import matches
from loopwright.wire.services import service

TARGETS: Final = {
    "SageMaker": "sagemaker",
    "Loopwright": "loopwright",
    "Logs_20140328": "logs",
    "GraniteServiceVersion20100801": "cloudwatch",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "AnyScaleFrontendService": "application-autoscaling",
    "AWSEvents": "events",
    "Textract": "textract",
    "RekognitionService": "rekognition",
    "AWSCognitoIdentityProviderService": "cognito-idp",
    "ResourceGroupsTaggingAPI_20170126": "resourcegroupstaggingapi",
}
FORM_VERSIONS: Final = {"2011-06-15": "sts", "2010-05-08": "iam", "2010-08-01": "cloudwatch"}
REST_PATHS: Final = (
    ("/endpoints/", "sagemaker-runtime"),
    ("/human-loops", "sagemaker-a2i-runtime"),
    ("/BatchPutMetrics", "sagemaker-metrics"),
    ("/FeatureGroup", "sagemaker-featurestore-runtime"),
    ("/2015-03-31/", "lambda"),
    ("/GetDeviceRegistration", "sagemaker-edge"),
    ("/SendHeartbeat", "sagemaker-edge"),
    ("/GetDeployments", "sagemaker-edge"),
)
S3: Final = "s3"


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks for; `operation` is None for S3, which matches its own operations."""

    service: str
    operation: OperationModel | None


def find_target(request: Request) -> Target:
    """The service and operation of a request.

    Raises:
        ApiError: `UnknownOperationException` (JSON, REST) or `InvalidAction` (forms).
    """
    target = request.headers.get("x-amz-target")
    if target is not None:
        prefix, _, name = target.rpartition(".")
        found = TARGETS.get(prefix.rsplit(".", 1)[-1])
        if found is None:
            raise ApiError("UnknownOperationException", f"Loopwright has no service {prefix!r}.")
        return Target(found, _operation(found, name, "UnknownOperationException"))
    if request.path.startswith("/service/"):
        return _rpc_v2(request.path)
    if request.method == "POST" and request.path == "/" and "action=" in _form(request).lower():
        return _form_target(request)
    for start, name in REST_PATHS:
        if request.path.startswith(start):
            rest = _rest_operation(name, request)
            if rest is not None:
                return Target(name, rest)
    return Target(S3, None)


def _form(request: Request) -> str:
    return request.query or request.body[:8192].decode("utf-8", "replace")


def _form_target(request: Request) -> Target:
    form = dict(parse_qsl(request.query)) | dict(parse_qsl(request.body.decode("utf-8", "replace")))
    version = form.get("Version", "2011-06-15")
    if version not in FORM_VERSIONS:
        raise ApiError("InvalidAction", f"Loopwright serves no query API of version {version!r}.")
    name = FORM_VERSIONS[version]
    return Target(name, _operation(name, form["Action"], "InvalidAction"))


def _rpc_v2(path: str) -> Target:
    parts = path.split("/")
    if len(parts) != 5 or parts[3] != "operation" or parts[2] not in TARGETS:
        raise ApiError("UnknownOperationException", f"Loopwright has no operation at {path!r}.")
    name = TARGETS[parts[2]]
    return Target(name, _operation(name, parts[4], "UnknownOperationException"))


def _operation(service_name: str, name: str, code: str) -> OperationModel:
    try:
        return service(service_name).operation_model(name)
    except OperationNotFoundError:
        near = did_you_mean(name, service(service_name).operation_names)
        text = f"The service {service_name} has no operation {name!r}.{near}"
        raise ApiError(code, text) from None


@cache
def _rest_routes(service_name: str) -> tuple[tuple[str, str, str], ...]:
    model = service(service_name)
    routes = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        routes.append((http["method"], http["requestUri"], name))
    return tuple(sorted(routes, key=lambda route: -len(route[1])))


def _rest_operation(service_name: str, request: Request) -> OperationModel | None:
    for method, template, name in _rest_routes(service_name):
        if method == request.method and matches(template, request.path):
            return service(service_name).operation_model(name)
    return None
