"""Units in the store: admitted in order while capacity lasts, started, observed, discarded.

The supervisor is level-triggered like the planners: each round compares what the store says with
what the backend sees. A unit is marked as placed before the backend is asked to start it, and
starting is idempotent, so a crash between the two only repeats the request.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

import orjson
import sqlalchemy as sa

from loopwright.kernel.clock import Clock
from loopwright.kernel.records import Observation
from loopwright.kernel.statements import UNNEEDED, units_in
from loopwright.kernel.store import Store, encode, set_due
from loopwright.kernel.tables import UNITS

SPOT_GRACE_S: Final = 120.0
"""A spot unit's notice before it is killed, as the service gives it."""
Program = Mapping[str, Any]
"""What a unit runs and needs. Members:

- `verb`: `train`, `serve` or `run`; `arguments`: what follows it.
- `runtime`: name of the runtime (`sklearn`, `xgboost`, `pytorch`, `python`).
- `container`: {"image", "command", "entrypoint"}: it runs in a container, not in a runtime.
- `environment`: variables of the process, as they are; `places`: those in which `{base}` stands for
  the unit's base folder, which only its backend knows.
- `files`: text by path below the unit's base folder.
- `inputs`: what is laid out before the start; `cpus`, `memory_bytes`: what it occupies.
- `log`: {"group", "stream"}; `metrics`: [{"Name", "Regex"}] matched on every line.
- `objective`: {"metric", "rungs"}: the metric whose reports make up `Observation.curve`.
- `spot`: whether it runs on idle capacity only, and gives it back when others need it.
- `checkpoints`: {"folder", "uri"}: what is published of it while it runs.
- `network`: False cuts it off; `serves`: whether it listens and is health-checked.
"""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a backend can give: whole CPUs (0.0 and up) and bytes of memory."""

    cpus: float
    memory_bytes: int


class Backend(Protocol):
    """Where units run. Every method may be called again at any time with the same arguments."""

    def capacity(self) -> Capacity:
        """All that the backend has, whether or not units occupy it."""

    def start(self, unit_id: str, program: Program) -> None:
        """Start the unit unless it was started before. Returns soon; preparing goes on."""

    def observe(self, unit_id: str, program: Program) -> Observation | None:
        """What is known of the unit; None when it was never started here."""

    def stop(self, unit_id: str, grace_s: float, notice: str = "") -> None:
        """SIGTERM now, SIGKILL after `grace_s`; on a unit that is over, nothing.

        Args:
            notice: Why the unit's capacity is taken back; it finds a file that says so.
        """

    def discard(self, unit_id: str) -> None:
        """Remove what the unit left behind, its logs excepted."""


class Supervisor:
    """Brings the backend and the rows of `units` together. One per control plane."""

    def __init__(
        self, store: Store, backend: Backend, clock: Clock, wake: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._backend = backend
        self._clock = clock
        self._wake = wake
        self._lock = threading.Lock()

    def round(self) -> None:
        """Admit what fits, start what is placed, observe what is live, discard what is done."""
        with self._lock:
            self._observe()
            if self._admit():
                self._observe()
            self._discard()

    def _rows(self, *states: str) -> list[Any]:
        with self._store.reading() as connection:
            return list(connection.execute(units_in(*states)))

    def _observe(self) -> None:
        for row in self._rows("placed", "preparing", "running"):
            program = orjson.loads(row.program)
            seen = self._backend.observe(row.id, program)
            known = decode_observation(row.observation)
            if seen is None:
                if row.stop_grace_s is not None:
                    seen = Observation("exited", 143, "stopped before its start")
                else:
                    self._backend.start(row.id, program)
                    continue
            elif row.stop_grace_s is not None and not seen.over:
                self._backend.stop(row.id, row.stop_grace_s, row.interruption)
            seen = replace(
                seen,
                placed=known.placed,
                stopping=row.stop_grace_s is not None,
                interruption=row.interruption,
            )
            if seen != known:
                self._save(row, seen)

    def _save(self, row: Any, seen: Observation) -> None:
        """Keep what was seen and have the owner planned, in one transaction."""
        now = self._clock.now()

        def work(connection: sa.Connection) -> None:
            statement = (
                sa.update(UNITS)
                .where(UNITS.c.id == row.id)
                .values(state=seen.state, observation=encode(asdict(seen)))
            )
            connection.execute(statement)
            set_due(connection, row.record, now)

        self._store.database.write(work)
        self._wake()

    def _admit(self) -> bool:
        """Place queued units, oldest first; nothing overtakes a unit that waits for room.

        Spot units come after all others, and those that run give way to others that wait.
        """
        queued = self._rows("queued")
        if not queued:
            return False
        total = self._backend.capacity()
        cpus, memory_bytes = total.cpus, total.memory_bytes
        live = self._rows("placed", "preparing", "running")
        for row in live:
            cpus -= row.cpus
            memory_bytes -= row.memory_bytes
        admitted = False
        blocked = ""
        for gang in sorted(_gangs(queued), key=lambda gang: bool(gang[0].spot)):
            if gang[0].stop_grace_s is not None:
                self._end_queued(gang)
                continue
            needs_cpus = sum(row.cpus for row in gang)
            needs_memory = sum(row.memory_bytes for row in gang)
            fits = needs_cpus <= cpus + 1e-9 and needs_memory <= memory_bytes
            if (blocked and needs_cpus > 0) or not fits:
                if not blocked and not gang[0].spot:
                    self._preempt(live, needs_cpus - cpus, needs_memory - memory_bytes, gang[0].id)
                blocked = blocked or gang[0].id
                self._explain(gang, needs_cpus, total, cpus)
                continue
            cpus -= needs_cpus
            memory_bytes -= needs_memory
            self._place(gang)
            admitted = True
        return admitted

    def _preempt(self, live: list[Any], cpus: float, memory_bytes: int, wanted_by: str) -> None:
        """Take back spot capacity, the newest first, until what is missing will be free."""
        leaving = [row for row in live if row.interruption]
        cpus -= sum(row.cpus for row in leaving)
        memory_bytes -= sum(row.memory_bytes for row in leaving)
        staying = [row for row in live if row.spot and row.stop_grace_s is None]
        name = wanted_by.split("/")[1]
        for gang in reversed(_gangs(staying)):
            if cpus <= 1e-9 and memory_bytes <= 0:
                return
            cpus -= sum(row.cpus for row in gang)
            memory_bytes -= sum(row.memory_bytes for row in gang)
            reason = f"{name} needs the capacity"
            statement = (
                sa.update(UNITS)
                .where(UNITS.c.id.in_([row.id for row in gang]), UNITS.c.stop_grace_s.is_(None))
                .values(stop_grace_s=SPOT_GRACE_S, interruption=reason)
            )
            self._store.database.write(partial(_execute, statement))
            self._wake()

    def _place(self, gang: list[Any]) -> None:
        now = self._clock.now()

        def work(connection: sa.Connection) -> None:
            for row in gang:
                seen = Observation("placed", placed=now)
                statement = (
                    sa.update(UNITS)
                    .where(UNITS.c.id == row.id, UNITS.c.state == "queued")
                    .values(state="placed", observation=encode(asdict(seen)))
                )
                connection.execute(statement)
                set_due(connection, row.record, now)

        self._store.database.write(work)
        self._wake()

    def _end_queued(self, gang: list[Any]) -> None:
        for row in gang:
            self._save(row, Observation("exited", 143, "stopped while it waited for capacity"))

    def _explain(self, gang: list[Any], needs: float, total: Capacity, left: float) -> None:
        text = (
            f"Waiting for capacity: needs {needs:g} of {total.cpus:g} CPUs, {max(left, 0):g} free"
        )
        for row in gang:
            known = decode_observation(row.observation)
            if known.message != text:
                self._save(row, replace(known, message=text))

    def _discard(self) -> None:
        """Free the disk of units that are over and whose record wants nothing more of them."""
        for row in self._unneeded():
            self._backend.discard(row.id)
            self._end(row)
        for row in self._rows("queued", "placed", "preparing", "running"):
            if not row.record:
                self._orphan(row)

    def _end(self, row: Any) -> None:
        """Remember that the unit ran while its record lives; then forget it."""

        def work(connection: sa.Connection) -> None:
            if row.record:
                gone = sa.update(UNITS).where(UNITS.c.id == row.id).values(state="gone")
                connection.execute(gone)
            else:
                connection.execute(sa.delete(UNITS).where(UNITS.c.id == row.id))

        self._store.database.write(work)

    def _unneeded(self) -> list[Any]:
        """Units that are over, of records that are gone or planned no more, and servers.

        A server leaves nothing that its record could still want.
        """
        with self._store.reading() as connection:
            return list(connection.execute(UNNEEDED))

    def _orphan(self, row: Any) -> None:
        """A unit whose record was deleted is stopped; it is discarded once it is over."""
        if row.stop_grace_s is None:
            statement = sa.update(UNITS).where(UNITS.c.id == row.id).values(stop_grace_s=5.0)
            self._store.database.write(lambda connection: connection.execute(statement))


def decode_observation(text: str) -> Observation:
    """An observation as the store keeps it."""
    return Observation(**orjson.loads(text))


def insert_unit(
    connection: sa.Connection, record_uid: str, unit_id: str, program: Program, gang: str
) -> bool:
    """Queue a unit unless its id is known; whether it was new."""
    known = sa.select(UNITS.c.id).where(UNITS.c.id == unit_id)
    if connection.execute(known).first() is not None:
        return False
    connection.execute(
        sa.insert(UNITS).values(
            id=unit_id,
            record=record_uid,
            gang=gang or unit_id,
            program=encode(program),
            cpus=float(program.get("cpus", 0)),
            memory_bytes=int(program.get("memory_bytes", 0)),
            spot=bool(program.get("spot")),
            state="queued",
            observation=encode(asdict(Observation("queued"))),
        )
    )
    return True


def _execute(statement: sa.Update, connection: sa.Connection) -> None:
    connection.execute(statement)


def _gangs(rows: list[Any]) -> list[list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.gang, []).append(row)
    return list(found.values())
