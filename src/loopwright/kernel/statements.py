"""The kernel's statements of every round, built once: building one costs more than to run it.

What differs from run to run is bound by name.
"""

from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from loopwright.kernel.tables import CALLS, DOCUMENTS, EVENTS, RECORDS, UNITS

OF: Final[sa.BindParameter[Any]] = sa.bindparam("of")

# Records

RECORD_OF: Final = sa.select(RECORDS).where(RECORDS.c.uid == OF)
REVISION_OF: Final = sa.select(RECORDS.c.revision).where(RECORDS.c.uid == OF)
RECORD_NAMED: Final = sa.select(RECORDS).where(
    RECORDS.c.region == sa.bindparam("region"),
    RECORDS.c.kind == sa.bindparam("kind"),
    RECORDS.c.name == sa.bindparam("name"),
)
CHILDREN_OF: Final = (
    sa.select(RECORDS.c.uid, RECORDS.c.revision).where(RECORDS.c.owner == OF).order_by(RECORDS.c.id)
)
DUE: Final = (
    sa.select(RECORDS.c.uid)
    .where(RECORDS.c.due <= sa.bindparam("now"))
    .order_by(RECORDS.c.due, RECORDS.c.id)
    .limit(sa.bindparam("most"))
)
_AT: Final[sa.BindParameter[Any]] = sa.bindparam("at", type_=sa.Float)
_WAKES: Final = sa.func.coalesce(RECORDS.c.wakes, 0)
SET_DUE: Final = sa.update(RECORDS).where(RECORDS.c.uid == OF).values(due=_AT, wakes=_WAKES + 1)
SETTLE: Final = (
    sa.update(RECORDS)
    .where(RECORDS.c.uid == OF)
    .values(
        due=sa.case(
            (
                sa.or_(
                    sa.bindparam("seen", type_=sa.Integer) == _WAKES,
                    RECORDS.c.due.is_(None),
                    RECORDS.c.due > _AT,
                ),
                _AT,
            ),
            else_=RECORDS.c.due,
        )
    )
)
ADD_EVENT: Final = sa.insert(EVENTS)

# Units and calls

UNITS_OF: Final = sa.select(UNITS.c.id, UNITS.c.observation, UNITS.c.stop_grace_s).where(
    UNITS.c.record == OF
)
UNNEEDED: Final = (
    sa.select(UNITS)
    .outerjoin(RECORDS, RECORDS.c.uid == UNITS.c.record)
    .where(
        sa.or_(UNITS.c.state == "exited", UNITS.c.state == "lost"),
        sa.or_(RECORDS.c.due.is_(None), UNITS.c.program.contains('"serves":true')),
    )
)
CALLS_OF: Final = sa.select(CALLS).where(CALLS.c.record == OF)
CALL_NAMED: Final = sa.select(CALLS.c.key).where(CALLS.c.key == OF)
DOCUMENT_NAMED: Final = sa.select(DOCUMENTS).where(DOCUMENTS.c.key == OF)
PENDING: Final = sa.select(CALLS).where(CALLS.c.state == "pending")


@cache
def units_in(*states: str) -> sa.Select[Any]:
    """The units in one of the states, oldest first. `IN` would be written anew each time."""
    wanted = sa.or_(*(UNITS.c.state == state for state in states))
    return sa.select(UNITS).where(wanted).order_by(UNITS.c.seq)
