"""How people's work goes: by job what is done and open, by worker time and agreement."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.people.accounts import Accounts
from loopwright.people.pool import DECLINED, LATE, SUBMITTED
from loopwright.people.tables import ASSIGNMENTS, TASKS

PAIRS_MAX: Final = 5_000
"""Agreement looks at so many of the latest answers at most."""
SIDES: Final = ("left", "top", "width", "height")


def progress_of(database: Database, accounts: Accounts) -> dict[str, Any]:
    """`jobs` and `workers`, as the owner's page and `DescribeWorkers` show them."""
    with database.read() as connection:
        jobs = _jobs(connection)
        workers = _workers(connection)
        agreed = _agreement(connection)
    for worker in workers:
        user = accounts.by_sub(worker["Worker"])
        worker["Name"] = (user.email or user.username) if user is not None else "(removed)"
        shares = agreed.get(worker["Worker"], [])
        if shares:
            worker["Agreement"] = round(sum(shares) / len(shares), 4)
            worker["ComparedAnswers"] = len(shares)
    return {"jobs": jobs, "workers": workers}


def _jobs(connection: sa.Connection) -> list[dict[str, Any]]:
    count, total = sa.func.count(), sa.func.sum
    statement = (
        sa.select(
            TASKS.c.team, TASKS.c.job, count.label("tasks"), total(TASKS.c.given).label("given"),
            total(TASKS.c.wanted).label("wanted"),
            total(sa.case((TASKS.c.state == "open", 1), else_=0)).label("open"),
            total(sa.case((TASKS.c.state == "answered", 1), else_=0)).label("answered"),
        )
        .group_by(TASKS.c.team, TASKS.c.job)
        .order_by(TASKS.c.job)
    )  # fmt: skip
    return [
        {
            "Job": row.job,
            "WorkteamArn": row.team,
            "Tasks": row.tasks,
            "OpenTasks": row.open,
            "AnsweredTasks": row.answered,
            "Answers": row.given,
            "WantedAnswers": row.wanted,
        }
        for row in connection.execute(statement)
    ]


def _workers(connection: sa.Connection) -> list[dict[str, Any]]:
    statement = sa.select(
        ASSIGNMENTS.c.worker, ASSIGNMENTS.c.state, ASSIGNMENTS.c.accepted, ASSIGNMENTS.c.submitted
    ).where(ASSIGNMENTS.c.state.in_((SUBMITTED, LATE, DECLINED)))
    seconds: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in connection.execute(statement):
        counts[row.worker][row.state] += 1
        if row.state == SUBMITTED:
            seconds[row.worker].append(row.submitted - row.accepted)
    return [
        {
            "Worker": worker,
            "Answers": found[SUBMITTED],
            "LateAnswers": found[LATE],
            "Declined": found[DECLINED],
            "MedianSeconds": round(median(seconds[worker]), 2) if seconds[worker] else 0.0,
        }
        for worker, found in sorted(counts.items())
    ]


def _agreement(connection: sa.Connection) -> dict[str, list[float]]:
    """For each worker, how alike each answer was to another's of the same task."""
    statement = (
        sa.select(ASSIGNMENTS.c.task, ASSIGNMENTS.c.worker, ASSIGNMENTS.c.answer)
        .join(TASKS, TASKS.c.uid == ASSIGNMENTS.c.task)
        .where(ASSIGNMENTS.c.state == SUBMITTED, TASKS.c.given > 1)
        .order_by(ASSIGNMENTS.c.submitted.desc())
        .limit(PAIRS_MAX)
    )
    tasks: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for row in connection.execute(statement):
        tasks[row.task].append((row.worker, orjson.loads(row.answer)))
    found: dict[str, list[float]] = defaultdict(list)
    for given in tasks.values():
        for (one, first), (other, second) in combinations(given, 2):
            share = likeness(first, second)
            found[one].append(share)
            found[other].append(share)
    return found


def likeness(one: Any, other: Any) -> float:
    """How alike two answers are, from 0 to 1.

    Equal values count 1. Maps compare member by member; lists of boxes by the intersection over
    union of boxes with the same label, matched from the best pair down; other lists by the share
    of items in both. Numbers of a picture's size and the like count as any member.
    """
    if one == other:
        return 1.0
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = set(one) | set(other)
        return sum(likeness(one.get(name), other.get(name)) for name in names) / len(names)
    if isinstance(one, list) and isinstance(other, list):
        if _are_boxes(one) and _are_boxes(other):
            return _boxes(one, other)
        both = sum(item in other for item in one)
        return both / max(1, len(one) + len(other) - both)
    return 0.0


def _are_boxes(items: Sequence[Any]) -> bool:
    return all(isinstance(item, Mapping) and all(side in item for side in SIDES) for item in items)


def _boxes(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> float:
    pairs = sorted(
        (
            (_overlap(a, b), i, j)
            for i, a in enumerate(one)
            for j, b in enumerate(other)
            if a.get("label") == b.get("label")
        ),
        reverse=True,
    )
    left, right, total = set(range(len(one))), set(range(len(other))), 0.0
    for share, i, j in pairs:
        if i in left and j in right:
            left.discard(i)
            right.discard(j)
            total += share
    return total / max(len(one), len(other))


def _overlap(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Intersection over union of two boxes."""
    width = min(a["left"] + a["width"], b["left"] + b["width"]) - max(a["left"], b["left"])
    height = min(a["top"] + a["height"], b["top"] + b["height"]) - max(a["top"], b["top"])
    inner = max(0.0, width) * max(0.0, height)
    outer = a["width"] * a["height"] + b["width"] * b["height"] - inner
    return float(inner / outer) if outer > 0 else 0.0
