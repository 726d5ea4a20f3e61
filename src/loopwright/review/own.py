"""Operations of review rules, which AWS lacks: put, describe, list, delete, export a manifest."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.compute.staging import split_uri
from loopwright.contract.programs import check_uri
from loopwright.database import Database
from loopwright.kernel.kinds import Kind
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Query
from loopwright.kernel.verbs import Context, Operation, create, find, make_token, read_token
from loopwright.objects.base import Objects
from loopwright.review.kinds import RULE_KIND
from loopwright.review.operations import flow_of, loop_spec
from loopwright.review.rules import check_rule
from loopwright.review.tables import REVIEWS
from loopwright.wire.errors import validation

Params = dict[str, Any]
REVIEWED: Final = "Reviewed"
"""Status member of an endpoint: whether its gateway tells of answers for review."""


def review_operations(database: Database, objects: Objects) -> dict[str, Operation]:
    """By operation name."""

    def describe(context: Context, params: Params) -> Params:
        return _shown(database, find(context, RULE_KIND, params["RuleName"]))

    def list_rules(context: Context, params: Params) -> Params:
        fingerprint = ["ListReviewRules", context.region]
        query = Query(
            context.region, RULE_KIND.name, sort="name", limit=params.get("MaxResults") or 10,
            after=read_token(params.get("NextToken"), fingerprint),
        )  # fmt: skip
        records, following = context.store.find(query)
        shown = [_shown(database, record) for record in records]
        return {"ReviewRules": shown, "NextToken": make_token(following, fingerprint)}

    def export(context: Context, params: Params) -> Params:
        record = find(context, RULE_KIND, params["RuleName"])
        check_uri(params["S3OutputUri"], "S3OutputUri")
        bucket, key = split_uri(params["S3OutputUri"])
        name = params.get("LabelAttributeName", "label")
        lines = [_line(record, name, row) for row in _answered(database, record.uid)]
        objects.put(bucket, key, lines, content_type="application/jsonlines")
        return {"Lines": len(lines)}

    return {
        "PutReviewRule": _put,
        "DescribeReviewRule": describe,
        "ListReviewRules": list_rules,
        "DeleteReviewRule": _delete,
        "ExportReviews": export,
    }


def _put(context: Context, params: Params) -> Params:
    check_rule(params)
    if uri := params.get("GroundTruthS3Uri"):
        check_uri(uri, "GroundTruthS3Uri")
    endpoint = context.store.get(context.region, "Endpoint", params["EndpointName"])
    if endpoint is None:
        raise validation(f"There is no endpoint {params['EndpointName']!r} in this region.")
    flow = flow_of(context, params["FlowDefinitionArn"])
    if flow.spec.get("HumanLoopRequestSource"):
        raise validation(
            f"Flow definition {flow.name} is of a built-in task type; a review rule needs a custom "
            "one, without HumanLoopRequestSource."
        )
    spec = {**params, "Flow": loop_spec(context, flow, {})["Flow"]}
    known = context.store.get(context.region, RULE_KIND.name, params["RuleName"])
    if known is None:
        arn = create(context, RULE_KIND, spec)[RULE_KIND.arn_member]
    else:
        if known.spec["EndpointName"] != params["EndpointName"]:
            raise validation(
                f"The review rule {known.name} is of endpoint {known.spec['EndpointName']}; give "
                "this one another name."
            )
        try:
            context.store.replace_spec(known, orjson.loads(orjson.dumps(spec)), context.clock.now())
        except Outdated:
            # Another put came between: the later one decides, upon what is there now.
            return _put(context, params)
        arn = known.arn
    set_reviewed(context, params["EndpointName"])
    return {"ReviewRuleArn": arn}


def _delete(context: Context, params: Params) -> Params:
    record = find(context, RULE_KIND, params["RuleName"])
    context.store.delete(record)
    set_reviewed(context, record.spec["EndpointName"])
    return {}


def arm_function(context: Callable[[str], Context]) -> Callable[[Mapping[str, Any]], None]:
    """`review.arm`: have the gateway of an endpoint tell of answers; repeating changes nothing."""

    def arm(arguments: Mapping[str, Any]) -> None:
        set_reviewed(context(arguments["region"]), arguments["endpoint"])

    return arm


def set_reviewed(context: Context, endpoint: str) -> None:
    """Have an endpoint's gateway tell of answers if any rule looks at them, else not."""
    while True:
        record = context.store.get(context.region, "Endpoint", endpoint)
        if record is None:
            return
        wanted = any(rule.spec["EndpointName"] == endpoint for rule in _all(context, RULE_KIND))
        if bool(record.status.get(REVIEWED)) == wanted:
            return
        status = {**record.status, REVIEWED: wanted}
        try:
            state = str(record.status["EndpointStatus"])
            context.store.change(
                record, status, state=state, now=context.clock.now(), event="Review rules changed"
            )
        except Outdated:
            continue
        context.wake()
        return


def _all(context: Context, kind: Kind) -> list[Record]:
    found: list[Record] = []
    after = None
    while True:
        records, after = context.store.find(
            Query(context.region, kind.name, limit=100, sort="name", after=after)
        )
        found += records
        if after is None:
            return found


def _shown(database: Database, record: Record) -> dict[str, Any]:
    statement = (
        sa.select(REVIEWS.c.state, sa.func.count())
        .where(REVIEWS.c.rule == record.uid)
        .group_by(REVIEWS.c.state)
    )
    with database.read() as connection:
        counts = {row[0]: row[1] for row in connection.execute(statement)}
    return {
        **record.spec,
        "ReviewRuleArn": record.arn,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "OpenLoops": counts.get("open", 0),
        "AnsweredLoops": counts.get("answered", 0),
        "ClosedLoops": counts.get("closed", 0),
    }


def _answered(database: Database, rule: str) -> list[Any]:
    statement = (
        sa.select(REVIEWS)
        .where(REVIEWS.c.rule == rule, REVIEWS.c.state == "answered")
        .order_by(REVIEWS.c.begun, REVIEWS.c.loop)
    )
    with database.read() as connection:
        return list(connection.execute(statement).all())


def _line(record: Record, name: str, row: Any) -> bytes:
    """A line of an augmented manifest (developer guide, "Output Data")."""
    moment = datetime.fromtimestamp(row.answered, UTC)
    labels = list(record.spec.get("Labels", ()))
    value: Any = labels.index(row.label) if row.label in labels else row.label
    line: Mapping[str, Any] = {
        "source": row.source,
        name: value,
        f"{name}-metadata": {
            "class-name": row.label,
            "confidence": row.confidence,
            "human-annotated": "yes",
            "creation-date": f"{moment:%Y-%m-%dT%H:%M:%S.%f}",
            "type": "groundtruth/text-classification",
            "job-name": f"review-rule/{record.name}",
        },
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
