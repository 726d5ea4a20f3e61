"""Every operation of the SageMaker model, through botocore's own client, in process.

The client serializes a sample request; our side reads and validates it, and writes a sample
result; the client parses that. Then requests with one broken constraint are refused by name.
"""

import json
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.model import OperationModel

from loopwright.wire.dispatch import find_target
from loopwright.wire.errors import ApiError
from loopwright.wire.http import Request, Response
from loopwright.wire.protocols import parse_request, serialize_error, serialize_response
from loopwright.wire.services import service
from loopwright.wire.validate import unknown_members, validate
from tests.wire.botocore_cases import plain, same
from tests.wire.samples import NoSample, chosen, mutations, sample

MODEL = service("sagemaker")
MUTATIONS_MAX = 12


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self._body


class _Loop:
    """A client whose requests are answered by a function of this process."""

    def __init__(self) -> None:
        session = botocore.session.Session()
        self.client = session.create_client(
            "sagemaker",
            region_name="us-east-1",
            endpoint_url="http://127.0.0.1:1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(parameter_validation=False, retries={"max_attempts": 0}),
        )
        self.client.meta.events.register("before-send.sagemaker", self._answer)
        self.seen: dict[str, Any] = {}
        self.result: dict[str, Any] = {}
        self.error: ApiError | None = None

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        headers = {
            k.lower(): v.decode() if isinstance(v, bytes) else v for k, v in request.headers.items()
        }
        mine = Request("POST", "/", "", headers, request.body or b"")
        target = find_target(mine)
        assert target.operation is not None
        try:
            if self.error is not None:
                raise self.error
            self.seen = parse_request(target.operation, mine)
            assert unknown_members(target.operation, json.loads(mine.body or b"{}")) == []
            validate(target.operation, self.seen)
            response = serialize_response(target.operation, self.result)
        except ApiError as error:
            response = serialize_error(MODEL, target.operation, error, "id", mine)
        return _client_response(request.url, response)

    def call(self, operation: OperationModel, params: dict[str, Any]) -> dict[str, Any]:
        answer = self.client._make_api_call(operation.name, params)
        answer.pop("ResponseMetadata")
        return dict(answer)


def _client_response(url: str, response: Response) -> AWSResponse:
    assert isinstance(response.body, bytes)
    return AWSResponse(url, response.status, response.headers, _Raw(response.body))


@pytest.fixture(scope="module")
def loop() -> _Loop:
    return _Loop()


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_an_operation_round_trips(name: str, loop: _Loop) -> None:
    operation = MODEL.operation_model(name)
    params = sample(operation.input_shape) if operation.input_shape is not None else {}
    result = sample(operation.output_shape) if operation.output_shape is not None else {}
    loop.result, loop.error = result, None
    answer = loop.call(operation, params)
    assert same(plain(loop.seen), plain(params))
    assert same(plain(answer), plain(result))


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_a_broken_request_is_refused_naming_the_member(name: str, loop: _Loop) -> None:
    operation = MODEL.operation_model(name)
    if operation.input_shape is None:
        return
    params = sample(operation.input_shape)
    loop.result, loop.error = {}, None
    found = list(mutations(operation.input_shape, params))
    for path, (container, key), bad in chosen(found, MUTATIONS_MAX, len(name)):
        kept = container[key]
        if bad is None:
            del container[key]
        else:
            container[key] = bad
        with pytest.raises(ClientError) as caught:
            loop.call(operation, params)
        container[key] = kept
        error = caught.value.response["Error"]
        assert error["Code"] == "ValidationException"
        member = path.rpartition(".")[2]
        shown = member[:1].lower() + member[1:]
        assert shown in error["Message"], (path, bad, error["Message"])


def test_errors_reach_the_client_as_the_exceptions_of_its_model(loop: _Loop) -> None:
    operation = MODEL.operation_model("DescribeTrainingJob")
    loop.error = ApiError("ResourceNotFound", "Requested resource not found.")
    with pytest.raises(loop.client.exceptions.ResourceNotFound) as caught:
        loop.call(operation, {"TrainingJobName": "x"})
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    loop.error = ApiError("ThrottlingException", "Slow down.", 429)
    with pytest.raises(ClientError, match="Slow down") as raised:
        loop.call(operation, {"TrainingJobName": "x"})
    assert raised.value.response["Error"]["Code"] == "ThrottlingException"


def test_the_samples_cover_nearly_every_shape() -> None:
    missed = []
    for name in MODEL.shape_names:
        try:
            sample(MODEL.shape_for(name), depth=9)
        except (NoSample, RecursionError):
            missed.append(name)
    assert len(missed) < 60, missed
