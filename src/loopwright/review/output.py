"""What people answered, written where the flow says, in the documented form and place."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from loopwright.compute.staging import split_uri
from loopwright.objects.base import Objects

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


def output_function(objects: Objects, answers: Answers) -> Callable[[Mapping[str, Any]], Any]:
    """`review.output`: write the file; repeating it writes the same."""

    def write(arguments: Mapping[str, Any]) -> dict[str, Any]:
        uri = output_key(arguments)
        bucket, key = split_uri(uri)
        document = output_document(arguments, answers(arguments["task"]))
        objects.put(bucket, key, [orjson.dumps(document)], content_type="application/json")
        return {"uri": uri}

    return write
