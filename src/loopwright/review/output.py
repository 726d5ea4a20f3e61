"""What people answered, written where the flow says, in the documented form and place."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa

from loopwright.compute.staging import split_uri
from loopwright.database import Database
from loopwright.objects.base import Objects
from loopwright.review.rules import label_of
from loopwright.review.tables import REVIEWS

Answers = Callable[[str], list[dict[str, Any]]]


def output_key(arguments: Mapping[str, Any]) -> str:
    """`PATH/FLOW/YYYY/MM/DD/hh/mm/ss/LOOP/output.json`, by the loop's creation time."""
    moment = datetime.fromtimestamp(arguments["created"], UTC)
    path = arguments["path"].rstrip("/")
    when = f"{moment:%Y/%m/%d/%H/%M/%S}"
    return f"{path}/{arguments['flow_name']}/{when}/{arguments['loop']}/output.json"


def output_document(arguments: Mapping[str, Any], answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The file of a loop (developer guide, "Amazon A2I Output Data")."""
    document: dict[str, Any] = {
        "flowDefinitionArn": arguments["flow"],
        "humanAnswers": [human_answer(item, arguments["region"]) for item in answers],
        "humanLoopName": arguments["loop"],
        "inputContent": orjson.loads(arguments["input"]),
    }
    if arguments["source"]:
        document["awsManagedHumanLoopRequestSource"] = arguments["source"]
    return document


def human_answer(item: Mapping[str, Any], region: str) -> dict[str, Any]:
    """One answer in the service's form."""
    return {
        "acceptanceTime": stamp(item["accepted"]),
        "answerContent": item["answer"],
        "submissionTime": stamp(item["submitted"]),
        "timeSpentInSeconds": round(item["submitted"] - item["accepted"], 3),
        "workerId": item["identity"]["workerId"],
        "workerMetadata": {
            "identityData": {
                "identityProviderType": item["identity"]["type"],
                "issuer": item["identity"]["issuer"],
                "sub": item["identity"]["sub"],
            }
        },
    }


def stamp(moment: float) -> str:
    """A time as the service writes it, such as `2020-06-10T20:17:42.118Z`."""
    found = datetime.fromtimestamp(moment, UTC)
    return f"{found:%Y-%m-%dT%H:%M:%S}.{found.microsecond // 1000:03d}Z"


def output_function(
    objects: Objects, answers: Answers, database: Database
) -> Callable[[Mapping[str, Any]], Any]:
    """`review.output`: write the file and what a rule's loop teaches; repeating changes nothing."""

    def write(arguments: Mapping[str, Any]) -> dict[str, Any]:
        uri = output_key(arguments)
        given = answers(arguments["task"])
        rule = arguments["rule"]
        if given:
            bucket, key = split_uri(uri)
            document = output_document(arguments, given)
            objects.put(bucket, key, [orjson.dumps(document)], content_type="application/json")
        if rule:
            _learn(objects, database, rule, given)
        return {"uri": uri}

    return write


def _learn(
    objects: Objects,
    database: Database,
    rule: Mapping[str, Any],
    given: Sequence[Mapping[str, Any]],
) -> None:
    """Write the label as ground truth, by the inference id, and keep it for the manifest."""
    label, share = label_of([item["answer"] for item in given], rule["label_path"])
    at = float(given[-1]["submitted"]) if given else 0.0
    if label is not None and rule["ground_truth"]:
        moment = datetime.fromtimestamp(at, UTC)
        name = f"{moment:%Y/%m/%d/%H}/{rule['loop']}.jsonl"
        bucket, key = split_uri(f"{rule['ground_truth'].rstrip('/')}/{name}")
        line = {
            "groundTruthData": {"data": label, "encoding": "CSV"},
            "eventMetadata": {"eventId": rule["event"]},
            "eventVersion": "0",
        }
        content = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        objects.put(bucket, key, [content], content_type="application/jsonlines")
    values = {
        "state": "closed" if label is None else "answered",
        "label": label,
        "confidence": share,
        "answered": at or None,
    }
    statement = sa.update(REVIEWS).where(REVIEWS.c.loop == rule["loop"]).values(**values)
    database.write(lambda connection: connection.execute(statement))
