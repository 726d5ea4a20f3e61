"""From live answers to human loops: each answer that a rule picks starts one loop, once.

Rules are read and loops begun in the transaction that takes the gateway's frames, so neither a
crash nor a second reading starts a loop twice.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.contract.frames import REVIEWED
from loopwright.kernel.kinds import Kinds
from loopwright.kernel.records import Record
from loopwright.kernel.store import add_event, insert_record, new_uid
from loopwright.kernel.tables import RECORDS
from loopwright.review.kinds import LOOP_KIND, RULE_KIND
from loopwright.review.rules import Verdict, decide, parse, rows_of, source_of
from loopwright.review.tables import REVIEWS

Frame = tuple[list[Any], bytes, bytes]
INPUT_BYTES_MAX: Final = 3 * 1024 * 1024
OPEN_MAX: Final = 1000
"""Loops that a rule keeps open at most, unless it says otherwise."""


def take_reviews(
    kinds: Kinds, now: Callable[[], float]
) -> Callable[[sa.Connection, list[Frame]], None]:
    """Takes the frames of answers that review rules look at.

    Args:
        now: Platform time.
    """

    def take(connection: sa.Connection, frames: list[Frame]) -> None:
        wanted = [item for item in frames if item[0][0] == REVIEWED]
        if not wanted:
            return
        rules = _rules(connection)
        counts: dict[str, int] = {}
        for head, request, answer in wanted:
            for rule in rules.get((head[1], head[2]), ()):
                _consider(connection, kinds, rule, (head, request, answer), now(), counts)

    return take


def _rules(connection: sa.Connection) -> dict[tuple[str, str], list[Any]]:
    statement = sa.select(RECORDS.c.uid, RECORDS.c.region, RECORDS.c.spec).where(
        RECORDS.c.kind == RULE_KIND.name
    )
    found: dict[tuple[str, str], list[Any]] = {}
    for row in connection.execute(statement):
        spec = orjson.loads(row.spec)
        found.setdefault((row.region, spec["EndpointName"]), []).append((row.uid, spec))
    return found


def _consider(
    connection: sa.Connection,
    kinds: Kinds,
    rule: tuple[str, Mapping[str, Any]],
    frame: Frame,
    now: float,
    counts: dict[str, int],
) -> None:
    uid, spec = rule
    head, request, answer = frame
    shown = parse(answer, head[8])
    verdict = decide(spec, rows_of(shown, spec), head[5])
    if verdict is None:
        return
    if uid not in counts:
        held = sa.select(sa.func.count()).where(REVIEWS.c.rule == uid, REVIEWS.c.state == "open")
        counts[uid] = int(connection.execute(held).scalar_one())
    if counts[uid] >= spec.get("MaximumOpenLoops", OPEN_MAX):
        return
    content = orjson.dumps(_content(spec, frame, shown, verdict)).decode()
    if len(content) > INPUT_BYTES_MAX:
        return
    counts[uid] += 1
    loop = _begin(connection, kinds, spec, head, content, now)
    connection.execute(
        sa.insert(REVIEWS).values(
            loop=loop, rule=uid, begun=now, state="open", source=source_of(request, head[7])
        )
    )


def _content(spec: Mapping[str, Any], frame: Frame, shown: Any, verdict: Verdict) -> dict[str, Any]:
    """What the worker's template sees as `task.input`."""
    head, request, answer = frame
    source = source_of(request, head[7])
    asked = parse(request, head[7])
    return {
        "source": source,
        "request": asked if asked is not None else source,
        "requestContentType": head[7],
        "response": shown if shown is not None else source_of(answer, head[8]),
        "predictedLabel": verdict.row.label if verdict.row else None,
        "confidence": round(verdict.row.confidence, 6) if verdict.row else None,
        "labels": list(spec.get("Labels", ())),
        "reason": verdict.reason,
        "endpointName": head[2],
        "variantName": head[3],
        "eventId": head[5],
        "inferenceId": head[6] or None,
    }


def loop_name(rule: str, event: str) -> str:
    """A loop's name, at most 63 letters: of each rule another one, even where names begin alike."""
    mark = hashlib.sha256(rule.encode()).hexdigest()[:8]
    return f"{rule.lower()[:17].rstrip('-')}-{mark}-{event}"


def _begin(
    connection: sa.Connection,
    kinds: Kinds,
    spec: Mapping[str, Any],
    head: list[Any],
    content: str,
    now: float,
) -> str:
    """Begin a loop; its uid."""
    name = loop_name(spec["RuleName"], head[5])
    uid = new_uid()
    loop = {
        "HumanLoopName": name,
        "FlowDefinitionArn": spec["FlowDefinitionArn"],
        "HumanLoopInput": {"InputContent": content},
        "Flow": spec["Flow"],
        "Rule": {
            "ground_truth": spec.get("GroundTruthS3Uri", ""),
            "label_path": spec.get("AnswerLabelPath", ""),
            "event": head[6] or head[5],
            "loop": uid,
        },
    }
    arn = kinds.arn(LOOP_KIND, head[1], name)
    status = {"HumanLoopStatus": "InProgress"}
    record = Record(head[1], LOOP_KIND.name, name, uid, arn, loop, status, now, now)
    insert_record(connection, record, state="InProgress", due=now)
    add_event(connection, uid, now, f"Begun by the review rule {spec['RuleName']}")
    return uid
