"""Lambda's API for Python functions from a zip archive."""

import base64
import hashlib
import io
import time
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from loopwright.aws.functions.kinds import DONE, FUNCTION_KIND, INVOCATION_KIND
from loopwright.aws.logs import Logs
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Query, Taken, new_uid
from loopwright.kernel.verbs import Context, Operation, create, find, make_token, read_token
from loopwright.objects.base import Objects
from loopwright.wire.depth import read_json
from loopwright.wire.errors import ApiError

Params = dict[str, Any]
BUCKET: Final = "loopwright-functions"
TIMEOUT_DEFAULT_S: Final = 3
TIMEOUT_MAX_S: Final = 900
MEMORY_DEFAULT_MB: Final = 128
PAYLOAD_BYTES_MAX: Final = 6_291_456
WAIT_MORE_S: Final = 60.0
"""How much longer than its Timeout a caller waits for an answer: starting takes time too."""
LOOK_S: Final = 0.02
TAIL_BYTES: Final = 4096
REFUSED: Final = frozenset(
    "Layers ImageConfig FileSystemConfigs DeadLetterConfig SnapStart DurableConfig "
    "CapacityProviderConfig TenancyConfig CodeSigningConfigArn Publish PublishTo RuntimeConfig "
    "AcceleratorConfig".split()
)
SETTINGS: Final = frozenset(
    "Handler Runtime Timeout MemorySize Environment Description Role VpcConfig KMSKeyArn "
    "TracingConfig LoggingConfig EphemeralStorage Architectures".split()
)
"""What is kept of a request as it is; Lambda's docs say what the last seven would do on AWS."""
UNMET: Final = (
    "FunctionUrlAuthType",
    "InvokedViaFunctionUrl",
    "EventSourceToken",
    "PrincipalOrgID",
)
"""Conditions of AddPermission about callers that there are none of."""
UNPACKED_BYTES_MAX: Final = 262_144_000
RESERVED: Final = frozenset(
    "_HANDLER _X_AMZN_TRACE_ID AWS_DEFAULT_REGION AWS_REGION AWS_EXECUTION_ENV "
    "AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_VERSION "
    "AWS_LAMBDA_INITIALIZATION_TYPE AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME "
    "AWS_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN "
    "AWS_LAMBDA_RUNTIME_API LAMBDA_TASK_ROOT LAMBDA_RUNTIME_DIR".split()
)
"""Names that Lambda gives a function itself."""


class Functions:
    """The functions of a home."""

    def __init__(self, objects: Objects, logs: Logs) -> None:
        self._objects = objects
        self._logs = logs

    def operations(self) -> dict[str, Operation]:
        """By operation name."""
        return {
            "CreateFunction": self.create,
            "GetFunction": self.get,
            "GetFunctionConfiguration": lambda context, params: _shown(_find(context, params)),
            "UpdateFunctionCode": self.update_code,
            "UpdateFunctionConfiguration": self.update_settings,
            "DeleteFunction": self.delete,
            "ListFunctions": self.list,
            "Invoke": self.invoke,
            "AddPermission": self.add_permission,
            "RemovePermission": self.remove_permission,
            "GetPolicy": self.policy,
        }

    # Functions

    def create(self, context: Context, params: Params) -> Params:
        name = _name(params["FunctionName"])
        _check_settings({"Runtime": "", "Handler": "", **params})
        if params.get("PackageType", "Zip") != "Zip":
            raise _wrong("PackageType", params["PackageType"], "give a zip archive")
        if context.store.get(context.region, FUNCTION_KIND.name, name) is not None:
            raise ApiError("ResourceConflictException", f"Function already exist: {name}", 409)
        spec = {key: params[key] for key in SETTINGS if key in params}
        spec |= self._keep_code(context, name, params["Code"])
        spec |= {"FunctionName": name, "RevisionId": str(uuid.uuid4())}
        spec.setdefault("Timeout", TIMEOUT_DEFAULT_S)
        spec.setdefault("MemorySize", MEMORY_DEFAULT_MB)
        tags = [{"Key": key, "Value": value} for key, value in params.get("Tags", {}).items()]
        create(context, FUNCTION_KIND, {**spec, "Tags": tags})
        return _shown(_find(context, params))

    def _keep_code(self, context: Context, name: str, code: Mapping[str, Any]) -> dict[str, Any]:
        """Keep an archive; where it is, its SHA-256 in base64 and its size."""
        if code.get("ImageUri"):
            raise _wrong("Code.ImageUri", code["ImageUri"], "give ZipFile, or S3Bucket and S3Key")
        if code.get("S3ObjectVersion"):
            raise _wrong("S3ObjectVersion", code["S3ObjectVersion"], "objects have one version")
        content = code.get("ZipFile")
        if content is None:
            if not code.get("S3Bucket") or not code.get("S3Key"):
                raise ApiError(
                    "InvalidParameterValueException", "Give ZipFile, or S3Bucket and S3Key.", 400
                )
            content = self._stored(code["S3Bucket"], code["S3Key"])
        _check_archive(content)
        digest = hashlib.sha256(content)
        key = f"{context.region}/{name}/{digest.hexdigest()}.zip"
        self._objects.create_bucket(BUCKET)
        self._objects.put(BUCKET, key, [content], content_type="application/zip")
        return {
            "CodeUri": f"s3://{BUCKET}/{key}",
            "CodeSha256": base64.b64encode(digest.digest()).decode(),
            "CodeSize": len(content),
        }

    def _stored(self, bucket: str, key: str) -> bytes:
        try:
            return b"".join(self._objects.open(bucket, key))
        except ApiError as error:
            raise ApiError(
                "InvalidParameterValueException",
                f"Error occurred while GetObject of s3://{bucket}/{key}: {error.message}",
                400,
            ) from None

    def get(self, context: Context, params: Params) -> Params:
        record = _find(context, params)
        tags = context.store.tags(record.arn)
        code = {"RepositoryType": "S3", "Location": record.spec["CodeUri"]}
        return {"Configuration": _shown(record), "Code": code, "Tags": tags}

    def update_code(self, context: Context, params: Params) -> Params:
        record = _find(context, params)
        _check_revision(record, params)
        if params.get("Publish") or params.get("PublishTo"):
            raise _wrong("Publish", "given", "functions have no versions here; leave it out")
        changes = self._keep_code(context, record.name, params)
        if params.get("DryRun"):
            return {**_shown(record), **changes}
        return _shown(_change(context, record.name, changes))

    def update_settings(self, context: Context, params: Params) -> Params:
        record = _find(context, params)
        _check_revision(record, params)
        _check_settings(params)
        changes = {key: params[key] for key in SETTINGS if key in params}
        return _shown(_change(context, record.name, changes))

    def delete(self, context: Context, params: Params) -> Params:
        context.store.delete(_find(context, params))
        return {"StatusCode": 204}

    def list(self, context: Context, params: Params) -> Params:
        fingerprint = ["ListFunctions", context.region]
        query = Query(
            context.region, FUNCTION_KIND.name, sort="name", limit=params.get("MaxItems") or 50,
            after=read_token(params.get("Marker"), fingerprint),
        )  # fmt: skip
        records, following = context.store.find(query)
        return {
            "Functions": [_shown(record) for record in records],
            "NextMarker": make_token(following, fingerprint),
        }

    # Permissions: kept and shown; every signed request is the owner's own.

    def add_permission(self, context: Context, params: Params) -> Params:
        record = _find(context, params)
        _check_revision(record, params)
        statement = {
            "Sid": params["StatementId"],
            "Effect": "Allow",
            "Principal": {"Service": params["Principal"]},
            "Action": params["Action"],
            "Resource": record.arn,
        }
        for member in UNMET:
            if params.get(member):
                raise _wrong(member, params[member], "nobody asks for it here; leave it out")
        condition: dict[str, Any] = {}
        if params.get("SourceArn"):
            condition["ArnLike"] = {"AWS:SourceArn": params["SourceArn"]}
        if params.get("SourceAccount"):
            condition["StringEquals"] = {"AWS:SourceAccount": params["SourceAccount"]}
        if condition:
            statement["Condition"] = condition
        kept = record.spec.get("Statements", [])
        if any(item["Sid"] == statement["Sid"] for item in kept):
            raise ApiError(
                "ResourceConflictException",
                f"The statement id ({statement['Sid']}) provided already exists.",
                409,
            )
        _change(context, record.name, {"Statements": [*kept, statement]})
        return {"Statement": orjson.dumps(statement).decode()}

    def remove_permission(self, context: Context, params: Params) -> Params:
        record = _find(context, params)
        _check_revision(record, params)
        kept = record.spec.get("Statements", [])
        left = [item for item in kept if item["Sid"] != params["StatementId"]]
        if len(left) == len(kept):
            raise ApiError(
                "ResourceNotFoundException", f"Statement {params['StatementId']} is not found.", 404
            )
        _change(context, record.name, {"Statements": left})
        return {}

    def policy(self, context: Context, params: Params) -> Params:
        record = _find(context, params)
        kept = record.spec.get("Statements", [])
        if not kept:
            raise ApiError("ResourceNotFoundException", "The function has no policy.", 404)
        document = {"Version": "2012-10-17", "Id": "default", "Statement": kept}
        return {
            "Policy": orjson.dumps(document).decode(),
            "RevisionId": record.spec["RevisionId"],
        }

    # Invocations

    def invoke(self, context: Context, params: Params) -> Params:
        record = _find(context, params)
        for member in ("TenantId", "DurableExecutionName"):
            if params.get(member):
                raise _wrong(member, params[member], "it is not offered; leave it out")
        kind = params.get("InvocationType", "RequestResponse")
        if kind == "DryRun":
            return {"StatusCode": 204}
        payload = params.get("Payload") or b""
        if hasattr(payload, "read"):
            payload = payload.read()
        told = _client_context(params.get("ClientContext"))
        name = str(uuid.uuid4())
        uid = start(
            context, record, name, payload or b"{}", asynchronous=kind == "Event", told=told
        )
        if kind == "Event":
            return {"StatusCode": 202}
        answer = self._await(context, uid, float(record.spec["Timeout"]) + WAIT_MORE_S)
        found: Params = {
            "StatusCode": 200,
            "Payload": answer["payload"].encode(),
            "ExecutedVersion": "$LATEST",
        }
        if answer.get("failed"):
            found["FunctionError"] = "Unhandled"
        if params.get("LogType") == "Tail":
            found["LogResult"] = self._tail(context, record.name, name)
        return found

    def _await(self, context: Context, uid: str, lasts_s: float) -> Mapping[str, Any]:
        end = time.monotonic() + lasts_s
        while time.monotonic() < end:
            record = context.store.by_uid(uid)
            if record is None:
                break
            if record.status["State"] == DONE:
                answer: Mapping[str, Any] = record.status["Answer"]
                return answer
            time.sleep(LOOK_S)
        raise ApiError("ServiceException", "The function did not start in time; try again.", 500)

    def _tail(self, context: Context, function: str, request: str) -> str:
        asked = {
            "logGroupName": f"/aws/lambda/{function}",
            "logStreamName": f"{request}-0",
            "limit": 100,
        }
        lines = self._logs.events(context, asked)["events"]
        text = "".join(f"{line['message']}\n" for line in lines)
        return base64.b64encode(text.encode()[-TAIL_BYTES:]).decode()


def start(
    context: Context,
    function: Record,
    name: str,
    payload: bytes,
    *,
    asynchronous: bool,
    told: Mapping[str, Any] | None = None,
) -> str:
    """Have a function run once under this name; the invocation's uid.

    Args:
        told: The caller's `ClientContext`.

    Raises:
        ApiError: the payload is no JSON, or too large.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ApiError(
            "RequestTooLargeException",
            f"The payload has {len(payload)} bytes; at most {PAYLOAD_BYTES_MAX}.",
            413,
        )
    try:
        read_json(payload)
    except ValueError as error:
        raise ApiError(
            "InvalidRequestContentException",
            f"Could not parse request body into json: {error}",
            400,
        ) from None
    spec = {
        "FunctionName": function.name,
        "FunctionArn": function.arn,
        "CodeUri": function.spec["CodeUri"],
        "Handler": function.spec["Handler"],
        "Timeout": function.spec["Timeout"],
        "MemorySize": function.spec["MemorySize"],
        "Variables": function.spec.get("Environment", {}).get("Variables", {}),
        "Payload": base64.b64encode(payload).decode(),
        "Asynchronous": asynchronous,
        "ClientContext": told,
    }
    now = context.clock.now()
    arn = context.kinds.arn(INVOCATION_KIND, function.region, name)
    record = Record(
        function.region, INVOCATION_KIND.name, name, new_uid(), arn, spec, {"State": "Running"},
        now, now,
    )  # fmt: skip
    try:
        context.store.create(record, state="Running", tags={}, event="Invoked", due=now)
    except Taken:
        known = context.store.get(function.region, INVOCATION_KIND.name, name)
        return known.uid if known is not None else record.uid
    context.wake()
    return record.uid


def function_of(context: Context, name: str) -> Record:
    """The function of a name or an ARN.

    Raises:
        ApiError: `ResourceNotFoundException`.
    """
    try:
        return find(context, FUNCTION_KIND, _name(name))
    except ApiError as error:
        raise ApiError(error.code, error.message, 404) from None


def _find(context: Context, params: Params) -> Record:
    """The function that a request names.

    Raises:
        ApiError: `ResourceNotFoundException`, also of a version or an alias: there are none.
    """
    whole = params["FunctionName"]
    last = whole.partition(":function:")[2] or whole
    for qualifier in (params.get("Qualifier"), last.partition(":")[2]):
        if qualifier and qualifier != "$LATEST":
            raise ApiError(
                "ResourceNotFoundException",
                f"Function not found: {whole} has no version or alias {qualifier!r} here.",
                404,
            )
    return function_of(context, params["FunctionName"])


def _name(given: str) -> str:
    """The bare name in a name, a partial or a whole ARN."""
    return (given.partition(":function:")[2] or given).split(":")[0]


def _check_archive(content: bytes) -> None:
    """Refuse what no function can be unpacked from.

    Raises:
        ApiError: `InvalidParameterValueException`.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        size = sum(entry.file_size for entry in archive.infolist())
        if size > UNPACKED_BYTES_MAX:
            text = f"Unzipped size must be smaller than {UNPACKED_BYTES_MAX} bytes"
            raise ApiError("InvalidParameterValueException", text, 400)
        broken = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        broken = str(error)
    if broken is not None:
        raise ApiError(
            "InvalidParameterValueException",
            f"Could not unzip uploaded file: {broken}. Please check your file, then try again.",
            400,
        )


def _client_context(given: str | None) -> dict[str, Any] | None:
    """`ClientContext` of a request: base64 of a JSON object.

    Raises:
        ApiError: `InvalidRequestContentException`.
    """
    if not given:
        return None
    try:
        found = orjson.loads(base64.b64decode(given, validate=True))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ApiError(
            "InvalidRequestContentException", "ClientContext must be base64 of a JSON object.", 400
        )
    return found


def _check_settings(params: Mapping[str, Any]) -> None:
    for name in sorted(REFUSED):
        if params.get(name):
            raise _wrong(name, "given", "leave it out")
    runtime = params.get("Runtime")
    if runtime is not None and not runtime.startswith("python3"):
        raise _wrong("Runtime", runtime, "only Python functions run here: python3.x")
    handler = params.get("Handler")
    if handler is not None and "." not in handler:
        raise _wrong("Handler", handler, "it must be file.function")
    taken = sorted(RESERVED & set(params.get("Environment", {}).get("Variables", {})))
    if taken:
        raise _wrong("Environment", taken[0], "a reserved key, which Lambda sets itself")
    timeout_s = params.get("Timeout", TIMEOUT_DEFAULT_S)
    if timeout_s > TIMEOUT_MAX_S:
        raise _wrong("Timeout", timeout_s, f"at most {TIMEOUT_MAX_S} s")


def _wrong(name: str, value: Any, rule: str) -> ApiError:
    return ApiError("InvalidParameterValueException", f"{name} is {value!r}: {rule}.", 400)


def _check_revision(record: Record, params: Mapping[str, Any]) -> None:
    wanted = params.get("RevisionId")
    if wanted is not None and wanted != record.spec["RevisionId"]:
        raise ApiError(
            "PreconditionFailedException",
            f"RevisionId is {wanted}; the function's is {record.spec['RevisionId']}.",
            412,
        )


def _change(context: Context, name: str, changes: Mapping[str, Any]) -> Record:
    while True:
        record = find(context, FUNCTION_KIND, name)
        spec = {**record.spec, **changes, "RevisionId": str(uuid.uuid4())}
        try:
            return context.store.replace_spec(record, spec, context.clock.now())
        except Outdated:
            continue


def _shown(record: Record) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.modified, UTC)
    return {
        **record.spec,
        "FunctionArn": record.arn,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "Version": "$LATEST",
        "PackageType": "Zip",
        "LastModified": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000",
        "Architectures": record.spec.get("Architectures", ["x86_64"]),
    }
