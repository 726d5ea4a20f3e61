"""Requests in, responses out, for every protocol of botocore's models.

A server reads a request the way a client reads a response, and writes a response the way a client
writes a request. So botocore's response parsers read request bodies against the *input* shape,
and its request serializers write response bodies from the *output* shape; only URI labels, query
strings, the query protocol's form, XML result wrappers and errors are ours. botocore's own
protocol cases (`tests/wire/test_botocore_cases.py`) guard the few private methods used here.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote
from uuid import uuid4
from xml.sax.saxutils import escape

import orjson
from botocore.exceptions import ParamValidationError
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.parsers import ResponseParserError, create_parser
from botocore.serialize import create_serializer
from botocore.utils import parse_timestamp

from loopwright.wire.errors import ApiError
from loopwright.wire.form import read_form
from loopwright.wire.http import Request, Response

JSON_PROTOCOLS: Final = ("json", "rest-json")
REST_PROTOCOLS: Final = ("rest-json", "rest-xml")
UNREADABLE: Final = (
    ValueError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError,
    ResponseParserError,
)  # fmt: skip
"""What parsers raise of bodies that are none; RuntimeError of times that no calendar has."""
SCALAR_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": lambda text: {"true": True, "false": False}[text.lower()],
}


def protocol_of(model: ServiceModel, request: Request) -> str:
    """The protocol this request speaks: services with several are told apart by its headers."""
    offered = model.metadata.get("protocols") or [model.metadata["protocol"]]
    if len(offered) == 1:
        return str(offered[0])
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor" or request.path.startswith(
        "/service/"
    ):
        return "smithy-rpc-v2-cbor"
    if "x-amz-target" in request.headers:
        return "json"
    if "form-urlencoded" in request.headers.get("content-type", "") or "Action=" in request.query:
        return "query"
    return str(model.metadata["protocol"])


def parse_request(
    operation: OperationModel, request: Request, protocol: str | None = None
) -> dict[str, Any]:
    """The parameters of a request, by the operation's input shape.

    A streaming payload (an S3 object, an invocation's body) is left to the caller.

    Raises:
        ApiError: `SerializationException` when the body is no document of the protocol.
    """
    protocol = protocol or protocol_of(operation.service_model, request)
    shape = operation.input_shape
    if shape is None:
        return {}
    try:
        if protocol in ("query", "ec2"):
            return read_form(shape, request.body.decode() or request.query)
        if protocol in REST_PROTOCOLS:
            return _parse_rest(operation, request, protocol)
        return _parse_body(protocol, shape, request.body or b"{}")
    except ApiError:
        raise
    except UNREADABLE as error:
        raise ApiError(
            _malformed_code(protocol),
            f"The request body could not be read as {protocol} for {operation.name}: {error}",
            400,
        ) from error


def serialize_response(
    operation: OperationModel, result: dict[str, Any], protocol: str | None = None
) -> Response:
    """The HTTP response that carries `result` to a client of the operation."""
    protocol = protocol or operation.service_model.metadata["protocol"]
    status = int(operation.http.get("responseCode", 200))
    shape = operation.output_shape
    if protocol in ("query", "ec2"):
        return Response(status, {"Content-Type": "text/xml"}, _query_result(operation, result))
    if shape is None:
        if protocol == "json":
            return Response(200, {"Content-Type": _json_type(operation.service_model)}, b"")
        if protocol == "smithy-rpc-v2-cbor":
            return Response(200, {"smithy-protocol": "rpc-v2-cbor"}, b"\xa0")
        return Response(status, {}, b"")
    for name, member in shape.members.items():
        if member.serialization.get("location") == "statusCode" and name in result:
            status = int(result[name])
    kept = {
        name: value
        for name, value in result.items()
        if value is not None
        and name in shape.members
        and shape.members[name].serialization.get("location") != "statusCode"
    }
    serialized = _serializer(protocol).serialize_to_request(kept, _stand_in(operation, shape))
    headers = {str(k): str(v) for k, v in serialized["headers"].items() if k != "X-Amz-Target"}
    if protocol == "smithy-rpc-v2-cbor":
        headers = {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
    elif protocol == "rest-xml" and serialized["body"] and "payload" not in shape.serialization:
        headers.setdefault("Content-Type", "application/xml")
    elif protocol == "rest-xml" and isinstance(serialized["body"], bytes) and serialized["body"]:
        payload = shape.members[shape.serialization["payload"]]
        if payload.type_name == "structure":
            headers.setdefault("Content-Type", "application/xml")
    body = serialized["body"]
    return Response(status, headers, body.encode() if isinstance(body, str) else body)


def serialize_error(
    model: ServiceModel,
    operation: OperationModel | None,
    error: ApiError,
    request_id: str,
    request: Request | None = None,
) -> Response:
    """An error in the form that the service's clients read, with its modelled members."""
    protocol = protocol_of(model, request) if request is not None else model.metadata["protocol"]
    shape = _error_shape(model, error.code)
    status = error.status or _error_status(shape)
    headers = {"x-amzn-RequestId": request_id}
    if protocol in ("query", "ec2"):
        fault = "Receiver" if status >= 500 else "Sender"
        text = (
            f"<ErrorResponse><Error><Type>{fault}</Type><Code>{escape(error.code)}</Code>"
            f"<Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return Response(status, headers | {"Content-Type": "text/xml"}, text.encode())
    if protocol == "rest-xml":
        headers["x-amz-request-id"] = request_id
        if request is not None and request.method == "HEAD":
            return Response(status, headers, b"")
        extra = "".join(
            f"<{k}>{escape(str(v))}</{k}>" for k, v in error.members.items() if v is not None
        )
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
            f"{extra}<RequestId>{request_id}</RequestId></Error>"
        )
        return Response(status, headers | {"Content-Type": "application/xml"}, text.encode())
    return _json_error(model, protocol, error, shape, Response(status, headers))


def _json_error(
    model: ServiceModel, protocol: str, error: ApiError, shape: Shape | None, response: Response
) -> Response:
    name = shape.name if shape is not None else error.code
    response.headers["x-amzn-ErrorType"] = error.code
    message_key = "message"
    if shape is not None and "Message" in getattr(shape, "members", {}):
        message_key = "Message"
    document = {"__type": name, message_key: error.message, **error.members}
    if "awsQueryCompatible" in model.metadata:
        fault = "Receiver" if response.status >= 500 else "Sender"
        response.headers["x-amzn-query-error"] = f"{error.code};{fault}"
    if protocol == "smithy-rpc-v2-cbor":
        response.headers |= {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
        body = bytearray()
        members = {key: _text_shape() for key in document}
        _serializer(protocol)._serialize_data_item(
            body,
            {k: str(v) for k, v in document.items()},
            SimpleNamespace(
                type_name="structure", members=members, is_document_type=False, serialization={}
            ),
        )
        response.body = bytes(body)
        return response
    response.headers["Content-Type"] = _json_type(model)
    response.body = orjson.dumps(document, default=str)
    return response


@cache
def _text_shape() -> Any:
    return SimpleNamespace(type_name="string", serialization={})


@cache
def _parser(protocol: str) -> Any:
    return create_parser(protocol)


@cache
def _serializer(protocol: str) -> Any:
    return create_serializer(protocol, include_validation=False)


def _malformed_code(protocol: str) -> str:
    return "MalformedXML" if protocol == "rest-xml" else "SerializationException"


def _json_type(model: ServiceModel) -> str:
    if model.metadata["protocol"] == "rest-json":
        return "application/json"
    return f"application/x-amz-json-{model.metadata.get('jsonVersion', '1.1')}"


def _parse_body(protocol: str, shape: Shape, body: bytes) -> dict[str, Any]:
    parser = _parser(protocol)
    if protocol in JSON_PROTOCOLS:
        document = orjson.loads(body) if body else {}
        if not isinstance(document, dict):
            raise ValueError("the document is no object")
    else:
        document = parser._initial_body_parse(body if body != b"{}" else b"")
    parsed = parser._parse_shape(shape, document)
    return parsed if isinstance(parsed, dict) else {}


def _parse_rest(operation: OperationModel, request: Request, protocol: str) -> dict[str, Any]:
    """Labels, query string and headers, then the body or its payload member."""
    shape = operation.input_shape
    labels = uri_labels(operation.http["requestUri"], request.path)
    pairs = parse_qsl(request.query, keep_blank_values=True)
    params: dict[str, Any] = {}
    in_body = False
    parser = _parser(protocol)
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        if location == "uri" and wire_name in labels:
            params[name] = _read_scalar(member, labels[wire_name])
        elif location == "querystring":
            _read_query(params, name, member, pairs)
        elif location == "header" and wire_name.lower() in request.headers:
            params[name] = _read_header(parser, member, request.headers[wire_name.lower()])
        elif location == "headers":
            prefix = wire_name.lower()
            found = {
                k[len(prefix) :]: v for k, v in request.headers.items() if k.startswith(prefix)
            }
            if found:
                params[name] = found
        elif location is None:
            in_body = True
    payload = shape.serialization.get("payload")
    if payload is not None:
        _read_payload(params, payload, shape.members[payload], request.body, protocol)
    elif in_body and request.body:
        body = _parse_body(protocol, shape, request.body)
        params.update({k: v for k, v in body.items() if _in_body(shape.members[k])})
    return params


def _in_body(member: Shape) -> bool:
    return "location" not in member.serialization


def _read_payload(
    params: dict[str, Any], name: str, member: Shape, body: bytes, protocol: str
) -> None:
    if member.serialization.get("streaming") or member.serialization.get("eventstream"):
        return
    if not body:
        return
    if member.type_name == "blob":
        params[name] = body
    elif member.type_name == "string":
        params[name] = body.decode()
    elif getattr(member, "is_document_type", False):
        params[name] = orjson.loads(body)
    else:
        params[name] = _parse_body(protocol, member, body)


def _read_query(
    params: dict[str, Any],
    name: str,
    member: Shape,
    pairs: list[tuple[str, str]],
) -> None:
    wire_name = member.serialization.get("name", name)
    values = [value for key, value in pairs if key == wire_name]
    if member.type_name == "list":
        if values:
            params[name] = [_read_scalar(member.member, value) for value in values]
    elif member.type_name == "map":
        found: dict[str, Any] = {}
        for key, value in pairs:
            if member.value.type_name == "list":
                found.setdefault(key, []).append(value)
            else:
                found[key] = value
        if found:
            params[name] = found
    elif values:
        params[name] = _read_scalar(member, values[-1])


def _read_header(parser: Any, member: Shape, text: str) -> Any:
    if member.type_name == "list":
        return [_read_scalar(member.member, item) for item in _split_header(member.member, text)]
    if member.type_name == "string" and member.serialization.get("jsonvalue"):
        return parser._handle_string(member, text)
    return _read_scalar(member, text)


def _split_header(member: Shape, text: str) -> Iterable[str]:
    """Items of a header list: commas inside quotes do not split, nor the one in an HTTP date."""
    if member.type_name == "timestamp" and member.serialization.get("timestampFormat") in (
        None,
        "rfc822",
    ):
        parts = text.split(",")
        return [f"{a},{b}".strip() for a, b in zip(parts[::2], parts[1::2], strict=False)]
    found = re.findall(r'"(?:[^"\\]|\\.)*"|[^,]+', text)
    return [_unquoted(item.strip()) for item in found if item.strip()]


def _unquoted(item: str) -> str:
    if len(item) >= 2 and item[0] == item[-1] == '"':
        return item[1:-1].replace('\\"', '"')
    return item


def _read_scalar(member: Shape, text: str) -> Any:
    kind = member.type_name
    if kind == "timestamp":
        return parse_timestamp(text)
    if kind == "blob":
        return text.encode()
    return SCALAR_READERS.get(kind, str)(text)


@cache
def _label_pattern(template: str) -> re.Pattern[str]:
    """A request URI template as an expression over raw paths."""
    path = template.split("?", 1)[0]
    out = ""
    for piece in re.split(r"(\{[^}]+\})", path):
        if piece.startswith("{"):
            name = piece[1:-1]
            group = re.sub(r"\W", lambda m: f"_{ord(m[0]):02x}_", name.rstrip("+"))
            out += f"(?P<{group}>.*)" if name.endswith("+") else f"(?P<{group}>[^/]*)"
        else:
            out += re.escape(piece)
    return re.compile(out + "/?" if not out.endswith("/") else out + "?")


def uri_labels(template: str, path: str) -> dict[str, str]:
    """The decoded labels of a raw path under a template; empty when it does not match."""
    match = _label_pattern(template).fullmatch(path)
    if match is None:
        return {}
    names = [name.rstrip("+") for name in re.findall(r"\{([^}]+)\}", template.split("?", 1)[0])]
    return {name: unquote(text) for name, text in zip(names, match.groups(), strict=True)}


def matches(template: str, path: str) -> bool:
    """Whether a raw path is one of the template's."""
    return _label_pattern(template).fullmatch(path) is not None


class _StandIn:
    """An operation as the request serializers see it, with the output where the input was."""

    def __init__(self, operation: OperationModel, shape: Shape) -> None:
        self.name = operation.name
        self.input_shape = shape
        self.http = {"method": "POST", "requestUri": "/"}
        self.service_model = operation.service_model
        self.endpoint = None
        self.metadata = {
            "targetPrefix": "",
            "jsonVersion": operation.service_model.metadata.get("jsonVersion", "1.1"),
            "apiVersion": "",
            **{
                k: v
                for k, v in operation.service_model.metadata.items()
                if k not in ("awsQueryCompatible",)
            },
        }
        self.output_shape = operation.output_shape
        self.has_event_stream_output = False
        self.has_event_stream_input = False


def _stand_in(operation: OperationModel, shape: Shape) -> Any:
    if operation.service_model.metadata["protocol"] == "rest-xml":
        shape.serialization.setdefault("name", shape.name)
        payload = shape.serialization.get("payload")
        if payload is not None:
            member = shape.members[payload]
            member.serialization.setdefault("name", payload)
    return _StandIn(operation, shape)


def _query_result(operation: OperationModel, result: dict[str, Any]) -> bytes:
    """`<OpResponse><OpResult>…</OpResult><ResponseMetadata/></OpResponse>`."""
    shape = operation.output_shape
    inner = ""
    if shape is not None:
        inner = _xml_body(shape, result)
        wrapper = shape.serialization.get("resultWrapper")
        if wrapper:
            inner = f"<{wrapper}>{inner}</{wrapper}>"
    version = operation.service_model.metadata.get("xmlNamespace", "")
    space = f' xmlns="{version}"' if isinstance(version, str) and version else ""
    return (
        f"<{operation.name}Response{space}>{inner}"
        f"<ResponseMetadata><RequestId>{uuid4()}</RequestId></ResponseMetadata>"
        f"</{operation.name}Response>"
    ).encode()


def _xml_body(shape: Shape, result: dict[str, Any]) -> str:
    serializer = _serializer("rest-xml")
    kept = {k: v for k, v in result.items() if v is not None and k in shape.members}
    root = serializer._serialize_body_params(kept, _Named(shape)).decode()
    start, end = root.find(">", root.find("<R")) + 1, root.rfind("</R>")
    return root[start:end] if end > 0 else ""


class _Named:
    """A shape under the root name `R`, so that its content can be cut out of the document."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self.type_name = shape.type_name
        self.members = shape.members
        self.serialization = {"name": "R"}
        self.metadata = shape.metadata
        self.is_document_type = False


@cache
def _errors_by_code(model: ServiceModel) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for shape in model.error_shapes:
        found[shape.name] = shape
        found.setdefault(shape.error_code, shape)
    return found


def _error_shape(model: ServiceModel, code: str) -> Shape | None:
    return _errors_by_code(model).get(code)


def _error_status(shape: Shape | None) -> int:
    if shape is None:
        return 400
    if "httpStatusCode" in shape.metadata.get("error", {}):
        return int(shape.metadata["error"]["httpStatusCode"])
    return 500 if shape.metadata.get("fault") else 400


__all__ = [
    "ParamValidationError",
    "matches",
    "parse_request",
    "protocol_of",
    "serialize_error",
    "serialize_response",
    "uri_labels",
]
