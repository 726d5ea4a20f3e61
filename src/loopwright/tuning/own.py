"""The user's own strategy: every question to it is a sandboxed unit."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from loopwright.kernel.actions import Action, Call, SetStatus, Start
from loopwright.kernel.engine import View
from loopwright.kernel.records import Record
from loopwright.runtime.search import Space, Trial, space_document, trial_document
from loopwright.runtime.suggest import ANSWER, QUESTION, STRATEGY

ASKED: Final = "Asked"
"""Status: {"number", "definition", "progress"} of the question that is open."""
QUESTIONS: Final = "Questions"
"""Status: how many questions were asked: the number of the next one."""
OWN_STRATEGY: Final = "OwnStrategy"
"""Status: S3 URI of the user's strategy, from the tag."""
MEMORY_BYTES: Final = 2**30
LOG_GROUP: Final = "/aws/sagemaker/HyperParameterTuningJobs"


def ask(
    record: Record, space: Space, history: Sequence[Trial], arguments: Mapping[str, Any]
) -> list[Action]:
    """Start the unit that answers the next question.

    Args:
        arguments: `definition`, `seed` and `progress` of the question.
    """
    number = record.status.get(QUESTIONS, 0)
    question = {
        "space": space_document(space),
        "history": [trial_document(trial) for trial in history],
        "seed": arguments["seed"],
    }
    program = {
        "verb": "suggest",
        "arguments": [],
        "runtime": "python",
        "environment": {"LOOPWRIGHT_RUNTIME": "python", "OMP_NUM_THREADS": "1"},
        "folders": ["output/data", "input/config"],
        "files": {QUESTION: orjson.dumps(question).decode()},
        "inputs": [{"type": "object", "uri": record.status[OWN_STRATEGY], "path": STRATEGY}],
        # A question is short; it must not wait until a trial leaves it a CPU.
        "cpus": 0.0,
        "memory_bytes": MEMORY_BYTES,
        "log": {"group": LOG_GROUP, "stream": f"{record.name}/strategy-{number + 1:04d}"},
        "metrics": [],
        "network": False,
        "hostname": "algo-1",
        "hosts": ["algo-1"],
    }
    asked = {
        "number": number,
        "definition": arguments["definition"],
        "progress": arguments["progress"],
    }
    return [
        Start(record.unit_id(number), program),
        SetStatus({ASKED: asked, QUESTIONS: number + 1}),
    ]


def answered(record: Record, view: View, key: str) -> list[Action]:
    """Read the answer, as the call `key`, once the unit is over."""
    asked = record.status[ASKED]
    unit_id = record.unit_id(asked["number"])
    unit = view.units.get(unit_id)
    if unit is None or not unit.over:
        return []
    arguments = {
        "unit": unit_id,
        "file": ANSWER,
        "failure": "" if unit.exit_code == 0 else (unit.message or "the unit was lost"),
        "definition": asked["definition"],
        "progress": asked["progress"],
    }
    return [Call("tuning.answer", key, arguments), SetStatus({ASKED: None})]
