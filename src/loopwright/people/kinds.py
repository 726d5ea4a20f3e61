"""What the API offers about people: workforces, workteams, task UIs; and the tasks themselves."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from loopwright.kernel.actions import Action, Call, Forget, Rest, SetStatus, Wake
from loopwright.kernel.engine import View
from loopwright.kernel.kinds import DELETING, STOPPING, Kind
from loopwright.kernel.records import Record

ANSWERED: Final = "Answered"
EXPIRED: Final = "Expired"
STOPPED: Final = "Stopped"
UNSHOWN: Final = "Failed"
"""Of a task whose page cannot be made of its template and input, so that nobody was asked."""
TASK_FINISHED: Final = frozenset({ANSWERED, EXPIRED, STOPPED, UNSHOWN})
COMPLETE: Final = "Complete"
"""Status of a task, True once the last wanted answer was given."""


def _plan_task(record: Record, view: View, now: float) -> list[Action]:
    """Offer a task to its team; end it when it is answered, stopped or too old."""
    offered, closed = f"{record.key}/offer", f"{record.key}/close"
    if record.status.get(DELETING):
        forgotten = f"{record.key}/forget"
        if view.calls.get(forgotten) is None:
            return [Call("people.forget", forgotten, {"uid": record.uid})]
        return [Forget()]
    until = record.created + float(record.spec["AvailabilityLifetimeInSeconds"])
    if offered not in view.calls:
        return [Call("people.offer", offered, _offer(record, until)), Wake(until)]
    result = view.calls[offered]
    if result is None:
        return []
    if why := (result.get("value") or {}).get("refused"):
        changes = {"HumanTaskStatus": UNSHOWN, "AnswerCount": 0, "EndTime": now}
        return [SetStatus({**changes, "FailureReason": why}, f"{UNSHOWN}: {why}")]
    over = now >= until or record.status.get(STOPPING) or record.status.get(COMPLETE)
    if not over:
        return [Rest(), Wake(until)]
    if view.calls.get(closed) is None:
        return [Call("people.close", closed, {"uid": record.uid})]
    count = view.calls[closed]["value"]["answers"]
    state = STOPPED if record.status.get(STOPPING) else EXPIRED
    if count >= record.spec["Count"]:
        state = ANSWERED
    changes = {"HumanTaskStatus": state, "AnswerCount": count, "EndTime": now}
    return [SetStatus(changes, f"{state} with {count} of {record.spec['Count']} answers")]


def _offer(record: Record, until: float) -> Mapping[str, Any]:
    spec = record.spec
    return {
        "uid": record.uid,
        "region": record.region,
        "team": spec["WorkteamArn"],
        "job": spec["Job"],
        "title": spec["TaskTitle"],
        "description": spec["TaskDescription"],
        "created": record.created,
        "until": until,
        "limit_s": float(spec["TaskTimeLimitInSeconds"]),
        "wanted": int(spec["Count"]),
    }


HUMAN_TASK_KIND: Final = Kind(
    "HumanTask",
    arn="human-task",
    state="HumanTaskStatus",
    finished=TASK_FINISHED,
    initial_status=lambda spec, now: {"HumanTaskStatus": "Open"},
    planner=_plan_task,
    missing=("ResourceNotFound", "There is no human task {name!r} in this region."),
)
"""One question to a team, made by a loop or a labeling job through `CreateChild`.

Its spec: `WorkteamArn`, `Job` (how workers see what it belongs to), `TaskTitle`, `TaskDescription`,
`TemplateSha` (of `people.templates`), `Input` (what the template sees as `task.input`), `Count` of
answers, `TaskTimeLimitInSeconds`, `AvailabilityLifetimeInSeconds`. Its status: `HumanTaskStatus`
(Open, Answered, Expired, Stopped, Failed with a `FailureReason`), `AnswerCount`.
"""

WORKFORCE_KIND: Final = Kind(
    "Workforce",
    arn="workforce",
    state="Status",
    initial_status=lambda spec, now: {"Status": "Active"},
    taken=("ResourceInUse", "Workforce {name} already exists: {arn}"),
    missing=("ValidationException", "No workforce {name!r} was found in this region."),
)

WORKTEAM_KIND: Final = Kind(
    "Workteam",
    arn="workteam/private-crowd",
    taken=("ResourceInUse", "Workteam {name} already exists: {arn}"),
    missing=("ValidationException", "The work team {name!r} does not exist in this region."),
)


def _ui_status(spec: Mapping[str, Any], _now: float) -> Mapping[str, Any]:
    sha = hashlib.sha256(spec["UiTemplate"]["Content"].encode()).hexdigest()
    return {"HumanTaskUiStatus": "Active", "ContentSha256": sha}


HUMAN_TASK_UI_KIND: Final = Kind(
    "HumanTaskUi",
    arn="human-task-ui",
    state="HumanTaskUiStatus",
    initial_status=_ui_status,
    missing=("ResourceNotFound", "There is no human task UI {name!r} in this region."),
)


def people_kinds() -> list[Kind]:
    """The kinds of this room."""
    return [HUMAN_TASK_KIND, WORKFORCE_KIND, WORKTEAM_KIND, HUMAN_TASK_UI_KIND]
