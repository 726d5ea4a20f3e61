"""The evaluation of alarms, by the control plane's loop.

What is due is known in memory only: a control plane that starts evaluates every alarm at once and
carries out what its predecessor left, so nothing has to be recovered.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.aws.alarm_composite import read_rule
from loopwright.aws.alarm_records import (
    DUE,
    NewState,
    account_of,
    actions_done,
    actions_of,
    change_state,
    is_composite,
    is_scaling,
)
from loopwright.aws.alarm_rules import queries_of, samples_needed, watched
from loopwright.aws.alarm_state import Found, evaluate, iso, reason_data, window
from loopwright.aws.metric_math.queries import Refused, Window, answers
from loopwright.aws.metrics import Metrics
from loopwright.aws.statistics import Watched
from loopwright.aws.tables import ALARM_HISTORY
from loopwright.kernel.clock import Clock
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record
from loopwright.kernel.store import Outdated, Store

EVALUATE_S: Final = 60.0
SETTLE_S: Final = 2.0
"""How long after a period's end its last points may still come in, in real seconds."""
HISTORY_S: Final = 30 * 86_400.0
PRUNE_S: Final = 3600.0
Act = Callable[[Record, str, float | None, float], str]
"""`act(alarm, action, value, at)`: carry out an action; the text says why it was not, if so.
Repeating it for one `at` is harmless."""


@dataclass(frozen=True)
class _Seen:
    """What is remembered of an alarm: as it was, when it is due, since when its settings hold."""

    revision: int
    due: float
    configured: float
    composite: bool


class AlarmRounds:
    """Evaluates what is due. One per control plane.

    Args:
        act: Carries out the actions of alarms: when the state changes, and again at each
            evaluation while it stays ALARM, as scaling policies need it.
        settle_s: Platform seconds after a period's end in which its last points may come in.
    """

    def __init__(
        self, store: Store, metrics: Metrics, clock: Clock, act: Act, settle_s: float = SETTLE_S
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._act = act
        self._settle_s = settle_s
        self._seen: dict[str, _Seen] = {}
        self._pruned = 0.0

    def round(self) -> None:
        """Look at the alarms that changed or are due; without any it is one cheap query."""
        now = self._clock.now()
        heads = self._store.heads("Alarm")
        kept: dict[str, _Seen] = {}
        news = len(heads) != len(self._seen)
        for uid, revision in heads:
            known = self._seen.get(uid)
            if known is not None and known.revision == revision and now < known.due:
                kept[uid] = known
                continue
            seen = self._visit(uid, known, now)
            if seen is not None:
                kept[uid] = seen
                news = news or known is None or seen.revision != known.revision
        self._seen = kept
        if news:
            self._composites([uid for uid, seen in kept.items() if seen.composite], now)
        self._prune(now)

    def _visit(self, uid: str, known: _Seen | None, now: float) -> _Seen | None:
        """Carry out and evaluate what is due of one alarm; None to look again in the next round."""
        record = self._store.by_uid(uid)
        if record is None or record.status.get(DELETING):
            return None
        configured = float(record.status["AlarmConfigurationUpdatedTimestamp"])
        due = known.due if known is not None and known.configured == configured else now
        try:
            record = self._carry_out(record, now)
            if is_composite(record):
                return _Seen(record.revision, float("inf"), configured, True)
            if now >= due:
                pace = min(EVALUATE_S, float(record.spec["Period"]))
                turn = (now - self._settle_s) // pace * pace + self._settle_s
                record = self._evaluate(record, now, turn)
                due = turn + pace
        except Outdated:
            return None
        return _Seen(record.revision, due, configured, False)

    def _carry_out(self, record: Record, now: float) -> Record:
        """The actions of a new state. They may happen again after a crash."""
        due = record.status.get(DUE)
        if due is None:
            return record
        told = [
            (action, self._act(record, action, due["value"], due["at"]))
            for action in actions_of(record, record.status["StateValue"])
        ]
        return actions_done(self._store, record, told, now)

    def _evaluate(self, record: Record, now: float, turn: float) -> Record:
        """What is told of one turn is the same whenever in it the evaluation happens."""
        spec = record.spec
        start, end = window(spec, now - self._settle_s)
        points = self._points(record, (start, end))
        before = record.status["StateValue"]
        found = evaluate(spec, points, end, before)
        if self._has_few_samples(record, found):
            return record
        state = found.state or before
        value = found.points[-1][1] if found.points else None
        if state != before:
            data = orjson.dumps(reason_data(spec, found, now)).decode()
            new = NewState(state, found.reason, data, value, turn)
            return self._carry_out(change_state(self._store, record, new, now), now)
        if state == "ALARM" and value is not None:
            for action in actions_of(record, state):
                if is_scaling(action):
                    self._act(record, action, value, turn)
        return record

    def _points(self, record: Record, window: Window) -> list[tuple[float, float]]:
        """The datapoints of the metric or the expression that an alarm watches."""

        def fetch(metric: Watched, period_s: int, window: Window) -> list[tuple[float, float]]:
            series = self._metrics.series(record.region, metric, period_s, window)
            return [(at, value) for at, value in series if window[0] <= at < window[1]]

        metric = watched(record.spec)
        if metric is not None:
            return fetch(metric, int(record.spec["Period"]), window)
        try:
            queries = queries_of(record.spec, account_of(record))
            found = answers(queries, fetch, window)
        except Refused:
            # Only of this window's datapoints, as SLICE at an average that is no whole number.
            return []
        (answer,) = (answer for answer in found.values() if answer.query.returned)
        points = answer.series[0].points
        return [(at, points[at]) for at in sorted(points) if window[0] <= at < window[1]]

    def _has_few_samples(self, record: Record, found: Found) -> bool:
        """Whether there are datapoints of a percentile, but of too few samples to go by."""
        needed, metric = samples_needed(record.spec), watched(record.spec)
        if needed is None or metric is None or not found.points:
            return False
        period = int(record.spec["Period"])
        window = found.points[0][0], found.points[-1][0] + period
        counts = dict(
            self._metrics.series(
                record.region, replace(metric, statistic="SampleCount"), period, window
            )
        )
        return sum(counts.get(at, 0.0) for at, _ in found.points) < needed

    def _composites(self, uids: list[str], now: float) -> None:
        """Bring composite alarms in line with the others; a cycle of them is left as it is."""
        for _ in uids:
            changed = False
            for uid in uids:
                record = self._store.by_uid(uid)
                if record is not None and not record.status.get(DELETING):
                    changed = self._combine(record, now) or changed
            if not changed:
                return

    def _combine(self, record: Record, now: float) -> bool:
        """Whether the state of a composite alarm changed."""
        children: dict[str, Record] = {}

        def state_of(name: str) -> str:
            child = self._store.get(record.region, "Alarm", name)
            if child is None:
                return "OK"
            children[name] = child
            return str(child.status["StateValue"])

        state = "ALARM" if read_rule(record.spec["AlarmRule"]).holds(state_of) else "OK"
        if state == record.status["StateValue"]:
            return False
        new = NewState(state, *_caused(record, list(children.values()), state))
        try:
            self._carry_out(change_state(self._store, record, new, now), now)
        except Outdated:
            self._seen.pop(record.uid, None)
            return False
        return True

    def _prune(self, now: float) -> None:
        """Forget history after 30 days, as the service does."""
        if now < self._pruned + PRUNE_S:
            return
        self._pruned = now
        statement = sa.delete(ALARM_HISTORY).where(ALARM_HISTORY.c.at < now - HISTORY_S)
        self._store.database.write(lambda connection: connection.execute(statement))


def _caused(record: Record, children: list[Record], state: str) -> tuple[str, str]:
    """Reason and data: the child that changed last."""
    if not children:
        return f"{record.spec['AlarmRule']} is {str(state == 'ALARM').upper()}", ""
    last = max(children, key=lambda child: float(child.status["StateTransitionedTimestamp"]))
    moment = datetime.fromtimestamp(float(last.status["StateTransitionedTimestamp"]), UTC)
    value = last.status["StateValue"]
    told: dict[str, Any] = {
        "triggeringAlarms": [
            {
                "arn": last.arn,
                "state": {
                    "value": value,
                    "timestamp": iso(moment.timestamp()),
                },
            }
        ]
    }
    reason = f"{last.arn} transitioned to {value} at {moment:%A %d %B, %Y %H:%M:%S} UTC"
    return reason, orjson.dumps(told).decode()
