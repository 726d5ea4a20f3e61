"""Human loops by A2I's runtime API: start, describe, list, stop, delete."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from loopwright.kernel.kinds import STOPPING
from loopwright.kernel.records import Record
from loopwright.kernel.store import Query, Taken, encode, new_uid
from loopwright.kernel.tables import RECORDS
from loopwright.kernel.verbs import (
    Context,
    Operation,
    describe,
    find,
    make_token,
    mutate,
    read_token,
    seconds,
)
from loopwright.review.kinds import FLOW_KIND, LOOP_KIND
from loopwright.review.plan import LOOP_FINISHED
from loopwright.wire.depth import read_json
from loopwright.wire.errors import ApiError, validation

Params = dict[str, Any]
INPUT_BYTES_MAX: Final = 3 * 1024 * 1024


def loop_operations(forget: Callable[[str], None]) -> dict[str, Operation]:
    """By operation name.

    Args:
        forget: Removes the answers of a task, by its uid.
    """

    def delete(context: Context, params: Params) -> Params:
        record = find(context, LOOP_KIND, params["HumanLoopName"])
        state = record.status["HumanLoopStatus"]
        if state not in LOOP_FINISHED:
            raise validation(
                f"The human loop {record.name} is {state}; only one that has ended can be "
                "deleted: stop it first."
            )
        tasks = context.store.children(record.uid)
        for task in tasks:
            forget(task.uid)
        context.store.delete(record, *tasks)
        return {}

    return {
        "StartHumanLoop": _start,
        "DescribeHumanLoop": _describe,
        "ListHumanLoops": _list,
        "StopHumanLoop": _stop,
        "DeleteHumanLoop": delete,
    }


def _start(context: Context, params: Params) -> Params:
    text = params["HumanLoopInput"]["InputContent"]
    size = len(text.encode())
    if size > INPUT_BYTES_MAX:
        raise validation(
            f"HumanLoopInput.InputContent has {size} bytes; at most {INPUT_BYTES_MAX}: put large "
            "things into S3 and give their addresses."
        )
    try:
        content = read_json(text)
    except ValueError as error:
        raise validation(f"HumanLoopInput.InputContent is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise validation("HumanLoopInput.InputContent must be a JSON object.")
    flow = flow_of(context, params["FlowDefinitionArn"])
    return {"HumanLoopArn": start_loop(context, flow, params["HumanLoopName"], params)}


def flow_of(context: Context, arn: str) -> Record:
    """The flow definition of an ARN.

    Raises:
        ApiError: `ValidationException`: there is none.
    """
    record = context.store.get(context.region, FLOW_KIND.name, arn.rpartition("/")[2])
    if record is None or record.arn != arn:
        raise validation(f"There is no flow definition {arn!r} in this region.")
    return record


def loop_spec(context: Context, flow: Record, params: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a loop: its request, and what its flow says now.

    Raises:
        ApiError: `ValidationException`: the flow's task UI is gone.
    """
    arn = flow.spec["HumanLoopConfig"]["HumanTaskUiArn"]
    ui = context.store.get(context.region, "HumanTaskUi", arn.rpartition("/")[2])
    if ui is None:
        raise validation(
            f"The human task UI {arn!r} of flow definition {flow.name} was deleted; create a flow "
            "definition with another one."
        )
    snapshot = {
        **{name: value for name, value in flow.spec.items() if name != "Tags"},
        "TemplateSha": ui.status["ContentSha256"],
    }
    return {**params, "Flow": snapshot}


def start_loop(context: Context, flow: Record, name: str, params: Mapping[str, Any]) -> str:
    """Have a loop run; its ARN. The same name with the same input starts it once.

    Raises:
        ApiError: `ConflictException`: a loop of this name has another input.
    """
    arn = context.kinds.arn(LOOP_KIND, context.region, name)
    known = context.store.get(context.region, LOOP_KIND.name, name)
    if known is None:
        spec = loop_spec(context, flow, params)
        now = context.clock.now()
        record = Record(
            context.region, LOOP_KIND.name, name, new_uid(), arn, spec,
            LOOP_KIND.initial_status(spec, now), now, now,
        )  # fmt: skip
        try:
            context.store.create(record, state="InProgress", tags={}, event="Started", due=now)
            context.wake()
            return arn
        except Taken:
            known = find(context, LOOP_KIND, name)
    if not all(known.spec.get(member) == value for member, value in params.items()):
        raise ApiError(
            "ConflictException",
            f"The human loop {name} exists with other input; give this one another name.",
            409,
        )
    return arn


def _describe(context: Context, params: Params) -> Params:
    return describe(context, LOOP_KIND, find(context, LOOP_KIND, params["HumanLoopName"]))


def _list(context: Context, params: Params) -> Params:
    arn = params["FlowDefinitionArn"]
    descending = params.get("SortOrder") == "Descending"
    fingerprint = ["ListHumanLoops", arn, descending, context.region]
    query = Query(
        context.region, LOOP_KIND.name, descending=descending,
        limit=params.get("MaxResults") or 10,
        after=read_token(params.get("NextToken"), fingerprint),
        created=(
            seconds(params.get("CreationTimeAfter")), seconds(params.get("CreationTimeBefore")),
        ),
    )  # fmt: skip
    # A loop's spec is written with sorted members, so this text stands in no other loop's spec.
    of_flow = RECORDS.c.spec.contains(encode({"FlowDefinitionArn": arn})[1:-1], autoescape=True)
    records, following = context.store.find(query, of_flow)
    shown = [
        {
            **record.status,
            "HumanLoopName": record.name,
            "CreationTime": record.created,
            "FlowDefinitionArn": record.spec["FlowDefinitionArn"],
        }
        for record in records
    ]
    return {"HumanLoopSummaries": shown, "NextToken": make_token(following, fingerprint)}


def _stop(context: Context, params: Params) -> Params:
    def change(record: Record) -> Mapping[str, Any] | None:
        if record.status["HumanLoopStatus"] in LOOP_FINISHED or record.status.get(STOPPING):
            return None
        return {**record.status, STOPPING: True, "HumanLoopStatus": "Stopping"}

    mutate(context, LOOP_KIND, params["HumanLoopName"], change, "Stop requested")
    return {}
