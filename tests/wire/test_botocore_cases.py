"""botocore's own protocol cases, read and written by our side of the wire."""

import base64
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import HeadersDict
from botocore.parsers import create_parser
from botocore.utils import parse_timestamp

from loopwright.wire.http import Request
from loopwright.wire.protocols import parse_request, serialize_response
from tests.wire.botocore_cases import Case, cases, plain, same

# Cases that state what a client fills in, or a form that no operation of SageMaker or of its
# neighbours uses: by the case's id, with the reason.
KNOWN = {
    "ContentEncoding": "the body of the case is not compressed; decompression is the server's",
    "GzipAfterProvidedEncoding": "the body of the case is not compressed",
    "GzipAndIgnoresHttpProvidedEncoding": "the body of the case is not compressed",
    "IdempotencyTokenAutoFill": "the client fills the token in, so the server reads one",
    "EmptyQueryMaps": "an empty map leaves no trace in a form",
    "PrefixHeadersAreNotPresent": "an empty header map leaves no trace in a request",
    "OmitsEmptyListQueryValues": "an empty list leaves no trace in a query string",
    "MediaTypeHeaderInputBase64": "the case's value is text that happens to be JSON",
    "QueryPrecedence": "the client's precedence rule cannot be read back",
    "WithEmptyStructurePayload": "an empty payload is an empty structure here",
    "WithHeadersButNoPayload": "an empty payload is an empty structure here",
    "rest-xml-0-": "a query map beside named parameters: no service of ours has one",
    "QueryParamsStringListMap": "a query map beside named parameters",
    "BodyWithXmlName": "a shape-level XML name on a nested member",
    "XmlLists": "flattened lists with a member name: no service of ours has them",
    "DocumentTypeAsPayloadOutput": "documents as payload: no service of ours has them",
    "TraitsWithNoBlobBody": "the client reads an absent blob as an empty one",
    "PayloadWithUnsetUnion": "the client refuses an unset union as payload",
    "QuotedStringHeaders": "the client does not unquote list headers",
    "TimestampHeaders": "the client splits HTTP dates at their comma",
    "IgnoreQueryParamsInResponse": "a query parameter in an output",
    "ComplexEscapes": "carriage returns are normalised by the client's XML parser",
}


def _known(case: Case) -> str | None:
    return next((why for part, why in KNOWN.items() if part in case.name), None)


def _request(case: Case) -> Request:
    sent = case.case["serialized"]
    parts = urlsplit(sent.get("uri", "/"))
    headers = {k.lower(): str(v) for k, v in sent.get("headers", {}).items()}
    body = sent.get("body", "").encode()
    if case.protocol == "smithy-rpc-v2-cbor":
        body = base64.b64decode(body)
    method = sent.get("method", "POST")
    return Request(method, parts.path, parts.query, headers, body)


def _typed(shape: Any, value: Any) -> Any:
    """The case's expected JSON as the values a room returns: bytes and datetimes."""
    if value is None or shape is None:
        return value
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        return {k: _typed(shape.members[k], v) for k, v in value.items() if k in shape.members}
    if shape.type_name == "list":
        return [_typed(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {k: _typed(shape.value, v) for k, v in value.items()}
    if shape.type_name == "blob" and isinstance(value, str):
        return value.encode()
    if shape.type_name == "timestamp":
        return parse_timestamp(value)
    if shape.type_name in ("float", "double") and isinstance(value, str):
        return float(value)
    return value


@pytest.mark.parametrize("case", list(cases("input")), ids=lambda case: case.name)
def test_a_request_is_read(case: Case) -> None:
    got = parse_request(case.operation, _request(case), case.protocol)
    shape = case.operation.input_shape
    payload = shape.serialization.get("payload") if shape is not None else None
    wanted = plain(case.case.get("params", {}))
    if payload and shape.members[payload].serialization.get("streaming"):
        wanted.pop(payload, None)
    if _known(case) is None:
        assert same(plain(got), wanted), (plain(got), wanted)


@pytest.mark.parametrize(
    "case",
    [c for c in cases("output") if "error" not in c.case and "errorCode" not in c.case],
    ids=lambda case: case.name,
)
def test_a_response_is_written(case: Case) -> None:
    shape = case.operation.output_shape
    result = _typed(shape, case.case["result"])
    response = serialize_response(case.operation, result, case.protocol)
    assert isinstance(response.body, bytes)
    if _known(case) is not None:
        return
    parser = create_parser(case.protocol)
    got = parser.parse(
        {
            "body": response.body,
            "headers": HeadersDict({k.lower(): v for k, v in response.headers.items()}),
            "status_code": response.status,
            "context": {"operation_name": case.operation.name},
        },
        shape,
    )
    got.pop("ResponseMetadata", None)
    assert same(plain(got), plain(result)), (plain(got), plain(result))
