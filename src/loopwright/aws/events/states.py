"""Tells the bus of every state that a resource comes into, in the transaction of the change.

So an event is put exactly when its change holds, whatever is killed and when; the bus brings it
to the targets of the rules that want it. Forms: the developer guide, "Events that Amazon
SageMaker AI sends to Amazon EventBridge"; CloudWatch's of alarms are in `alarm_events.py`.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from botocore.model import Shape
from sqlalchemy.exc import SQLAlchemyError

from loopwright.aws.alarm_events import alarm_events
from loopwright.aws.events.bus import Bus
from loopwright.kernel.kinds import DELETING
from loopwright.kernel.records import Record
from loopwright.kernel.tables import TAGS
from loopwright.kernel.verbs import Context, describe, project
from loopwright.wire.services import operation

LOG = logging.getLogger(__name__)
DEPLOYMENT: Final = "SageMaker Endpoint Deployment State Change"


@dataclass(frozen=True)
class Telling:
    """How the changes of a kind are told.

    Attributes:
        detail_type: Of its events.
        watched: Status members of which a new value is a change of state; with none, it is told
            of when it is created and when it is deleted.
        spelled: Whether its states are told as `IN_SERVICE`, not `InService`; its end is one then.
    """

    detail_type: str
    watched: Sequence[str] = ()
    spelled: bool = False


TELLINGS: Final[Mapping[str, Telling]] = {
    "TrainingJob": Telling(
        "SageMaker Training Job State Change", ("TrainingJobStatus", "SecondaryStatus")
    ),
    "HyperParameterTuningJob": Telling(
        "SageMaker HyperParameter Tuning Job State Change", ("HyperParameterTuningJobStatus",)
    ),
    "ProcessingJob": Telling("SageMaker Processing Job State Change", ("ProcessingJobStatus",)),
    "Endpoint": Telling("SageMaker Endpoint State Change", ("EndpointStatus", DELETING), True),
    "EndpointConfig": Telling("SageMaker Endpoint Config State Change"),
    "Model": Telling("SageMaker Model State Change"),
}


class StateEvents:
    """Hears of all changes of records; see `kernel.store.Announce`.

    Args:
        context: `context(region)`, with which records are described.
    """

    def __init__(self, bus: Bus, context: Callable[[str], Context]) -> None:
        self._bus = bus
        self._context = context

    def __call__(
        self, connection: sa.Connection, before: Record | None, after: Record | None
    ) -> None:
        """Put the events of a change, if any rule could want one."""
        record = after or before
        if record is None or (record.kind != "Alarm" and record.kind not in TELLINGS):
            return
        try:
            for event in self._events(connection, record, before, after):
                self._bus.put_within(connection, event)
        except SQLAlchemyError:
            raise  # The transaction is lost; who began it repeats it.
        except Exception:
            # What cannot be told must not hold up what happens.
            LOG.exception("an event of %s could not be told", record.key)

    def _events(
        self,
        connection: sa.Connection,
        record: Record,
        before: Record | None,
        after: Record | None,
    ) -> Sequence[Mapping[str, Any]]:
        if record.kind == "Alarm":
            return alarm_events(
                before, after, self._now(record), lambda: self._wanted(connection, record)
            )
        telling = TELLINGS[record.kind]
        found = []
        if _is_told(telling, before, after) and self._wanted(connection, record):
            found.append(self._event(connection, telling, record, after is None))
        steps = _steps(after)
        if steps and steps != _steps(before) and self._wanted(connection, record):
            told = Telling(DEPLOYMENT, telling.watched, telling.spelled)
            found.append(self._event(connection, told, record, False))
        return found

    def _wanted(self, connection: sa.Connection, record: Record) -> bool:
        return self._bus.has_rules(connection, record.region)

    def _now(self, record: Record) -> float:
        return self._context(record.region).clock.now()

    def _event(
        self, connection: sa.Connection, telling: Telling, record: Record, is_gone: bool
    ) -> Mapping[str, Any]:
        context = self._context(record.region)
        kind = context.kinds[record.kind]
        shape = operation("sagemaker", f"Describe{record.kind}").output_shape
        detail = _in_ms(shape, project(shape, describe(context, kind, record)))
        rows = connection.execute(sa.select(TAGS).where(TAGS.c.arn == record.arn))
        detail["Tags"] = {row.key: row.value for row in rows}
        if telling.spelled:
            state = "Deleted" if is_gone else detail[telling.watched[0]]
            detail[telling.watched[0]] = re.sub(r"(?<!^)(?=[A-Z])", "_", state).upper()
        what = "gone" if is_gone else record.revision
        return {
            "id": f"{record.uid}/{what}/{telling.detail_type}",
            "region": record.region,
            "source": "aws.sagemaker",
            "detail-type": telling.detail_type,
            "time": context.clock.now() if is_gone else record.modified,
            "resources": [record.arn],
            "detail": detail,
        }


def _is_told(telling: Telling, before: Record | None, after: Record | None) -> bool:
    if before is None:
        return True
    if after is None:
        return telling.spelled or not telling.watched
    return any(before.status.get(name) != after.status.get(name) for name in telling.watched)


def _steps(record: Record | None) -> list[tuple[str, str, str]]:
    """What `VariantStatus` says of each variant of an endpoint: where a deployment is."""
    if record is None or record.kind != "Endpoint":
        return []
    pending = record.status.get("PendingDeploymentSummary") or {}
    return [
        (variant["VariantName"], state["Status"], state.get("StatusMessage", ""))
        for holder in (record.status, pending)
        for variant in holder.get("ProductionVariants") or ()
        for state in variant.get("VariantStatus", ())
    ]


def _in_ms(shape: Shape, value: Any) -> Any:
    """A description with its times in milliseconds since the epoch, as events have them."""
    if shape.type_name == "timestamp":
        return round(float(value) * 1000)
    if shape.type_name == "structure":
        return {name: _in_ms(shape.members[name], item) for name, item in value.items()}
    if shape.type_name == "list":
        return [_in_ms(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {name: _in_ms(shape.value, item) for name, item in value.items()}
    return value
