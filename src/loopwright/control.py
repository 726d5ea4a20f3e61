"""The control plane, put together: store, kinds, engine, units, objects, operations."""

import json
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright import opening
from loopwright.api import Api
from loopwright.aws import repositories
from loopwright.aws import tables as aws_tables
from loopwright.aws.alarm_events import for_function
from loopwright.aws.alarm_records import ALARM_KIND, is_scaling
from loopwright.aws.alarm_rounds import SETTLE_S, AlarmRounds
from loopwright.aws.alarm_rules import check_alarm
from loopwright.aws.alarms import alarm_operations
from loopwright.aws.events import tables as events_tables
from loopwright.aws.events.bus import Bus
from loopwright.aws.events.delivery import Delivery
from loopwright.aws.events.operations import events_operations
from loopwright.aws.events.states import StateEvents
from loopwright.aws.functions.kinds import FUNCTION_KIND, INVOCATION_KIND, function_functions
from loopwright.aws.functions.operations import Functions, function_of
from loopwright.aws.functions.operations import start as start_function
from loopwright.aws.identity import iam_operations, sts_operations
from loopwright.aws.images import ecr_operations
from loopwright.aws.logs import Logs, logs_operations
from loopwright.aws.metric_retention import Retention
from loopwright.aws.metrics import Metrics, announce_variant, cloudwatch_operations
from loopwright.aws.quiet import Serving
from loopwright.aws.registry import Registry
from loopwright.client import variables
from loopwright.compute.backends import Backends
from loopwright.compute.checkpoints import CheckpointSync, Watched
from loopwright.compute.collect import collector
from loopwright.compute.disk import DiskGuard
from loopwright.compute.folder import unit_folder, write_durably
from loopwright.compute.outputs import OutputSync, running_outputs
from loopwright.compute.points import PointFiles
from loopwright.compute.process import ProcessBackend
from loopwright.compute.staging import split_uri, stage
from loopwright.config import Settings
from loopwright.containers import Containers
from loopwright.contract.instances import Machine
from loopwright.database import Database
from loopwright.health import Health
from loopwright.hosting import tables as hosting_tables
from loopwright.hosting.experiments.kinds import BANDIT_KIND, EXPERIMENT_KIND
from loopwright.hosting.experiments.operations import experiment_operations
from loopwright.hosting.experiments.rounds import OnlineRounds
from loopwright.hosting.experiments.taking import take_observations
from loopwright.hosting.journal import JournalTaker
from loopwright.hosting.kinds import hosting_kinds
from loopwright.hosting.operations import hosting_operations
from loopwright.hosting.own import own_hosting_operations
from loopwright.hosting.scaling.operations import TARGET_KIND, scaling_operations
from loopwright.hosting.scaling.triggers import breach, scaling_functions
from loopwright.hosting.shadow_tests import shadow_test_functions
from loopwright.kernel.engine import Engine
from loopwright.kernel.history import history_operations
from loopwright.kernel.kinds import Kind, Kinds, Lookup
from loopwright.kernel.records import Record
from loopwright.kernel.store import Store
from loopwright.kernel.tables import RECORDS, UNITS
from loopwright.kernel.units import Program, Supervisor
from loopwright.kernel.verbs import Context, Operation, generic_operations, projected
from loopwright.keys import KeyFile
from loopwright.objects.base import Objects
from loopwright.objects.store import LocalObjects
from loopwright.people import tables as people_tables
from loopwright.people.kinds import people_kinds
from loopwright.processing.plan import processing_kinds
from loopwright.review import tables as review_tables
from loopwright.review.kinds import review_kinds
from loopwright.review.own import arm_function
from loopwright.review.taking import take_reviews
from loopwright.router.publishing import PREFIX, Publisher
from loopwright.router.waiting import Waiting
from loopwright.training.kinds import training_kinds
from loopwright.training.operations import own_training_operations
from loopwright.training.spot import Schedule
from loopwright.tuning.functions import tuning_functions
from loopwright.tuning.kinds import tuning_kinds
from loopwright.tuning.operations import tuning_advice, tuning_operations
from loopwright.wire.errors import ApiError
from loopwright.wire.services import service
from loopwright.workforce import Outside, Workforce

LOG = logging.getLogger(__name__)
BUSY_S: Final = 0.03
LIVE_S: Final = 0.1
IDLE_S: Final = 0.5
SYNC_S: Final = 0.5
JOURNAL_S: Final = 0.25
DELIVERY_S: Final = 0.25
RETENTION_S: Final = 300.0
EVENTS: Final = uuid.UUID("4c1f1b0a-6c0e-4f53-9d6f-4b7c8a6f1d2e")
OTHER_TABLES: Final = (
    aws_tables.METADATA,
    hosting_tables.METADATA,
    events_tables.METADATA,
    people_tables.METADATA,
    review_tables.METADATA,
    repositories.METADATA,
)


def all_kinds(machine: Machine, schedule: Schedule | None = None) -> list[Kind]:
    """Every kind of every room."""
    return [
        *training_kinds(machine, schedule),
        *processing_kinds(machine),
        *hosting_kinds(machine),
        *tuning_kinds(),
        ALARM_KIND,
        TARGET_KIND,
        EXPERIMENT_KIND,
        BANDIT_KIND,
        FUNCTION_KIND,
        INVOCATION_KIND,
        *people_kinds(),
        *review_kinds(),
    ]


def all_operations(
    kinds: Kinds, database: Database, home: Path, objects: Objects, workforce: Workforce
) -> dict[str, dict[str, Operation]]:
    """Every operation that works, by service and name."""
    of_people = workforce.operations()
    return {
        **of_people,
        "sagemaker": {
            **generic_operations(kinds, service("sagemaker")),
            **hosting_operations(),
            **tuning_operations(),
            **of_people["sagemaker"],
        },
        "loopwright": {
            **history_operations(),
            **tuning_advice(),
            **own_training_operations(),
            **own_hosting_operations(database),
            **experiment_operations(database, objects),
            **of_people["loopwright"],
        },
        "sts": sts_operations(),
        "iam": iam_operations(database),
        "ecr": ecr_operations(repositories.Repositories(database, Registry(home))),
        "logs": logs_operations(home),
        "events": projected(service("events"), events_operations(Bus(database, kinds.account))),
        "lambda": projected(service("lambda"), Functions(objects, Logs(home)).operations()),
        "application-autoscaling": scaling_operations(check_alarm),
        "cloudwatch": {**cloudwatch_operations(database), **alarm_operations(database)},
    }


class ControlPlane:
    """One per home. `start` begins to plan, `app` answers requests, `close` lets units run on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        home = settings.home
        self._url = ""
        for name in ("run", "routes", "logs"):
            (home / name).mkdir(parents=True, exist_ok=True)
        self.clock = opening.clock_of_home(home, settings.time_scale)
        self.database = Database(settings.database_url)
        self._health = Health(self.database)
        self.bus = Bus(self.database, settings.account)
        self.store = Store(self.database, StateEvents(self.bus, self.context))
        self.keys = KeyFile(home / "keys.json")
        self.keys.ensure()
        self.objects, face = opening.object_store(settings, self.database)
        self.containers = Containers(home, settings.engine, self.database)
        outside = Outside(lambda: self._url, self.bus.put)
        self.workforce = Workforce(
            settings, self.database, self.store, self.objects, self.clock, outside
        )
        self._delivery = Delivery(self.bus, self._invoke)
        self.backend = self._backend()
        total = self.backend.capacity()
        self.kinds = Kinds(
            all_kinds(Machine(total.cpus, total.memory_bytes), opening.spot_schedule(settings)),
            account=settings.account,
        )
        self._routes, self._waiting = Publisher(home), Waiting(home)
        self.engine = Engine(
            self.store,
            self.kinds,
            self.clock,
            self._functions(home),
            self._routes.taken,
        )
        self.supervisor = Supervisor(self.store, self.backend, self.clock, self.engine.wake)
        self._metrics = Metrics(self.database)
        self._serving = Serving(self.database, announce_variant)
        self._alarms = AlarmRounds(
            self.store, self._metrics, self.clock, self._act, SETTLE_S * settings.time_scale
        )
        self._taken: dict[str, int] = {}
        self._points = PointFiles()
        self._checkpoints = CheckpointSync(home, self.objects)
        self._outputs = OutputSync(home, self.objects)
        self.backend.call_before_stop(self._checkpoints.before_stop)
        takes = (
            take_observations(self.clock.platform),
            take_reviews(self.kinds, self.clock.now),
        )
        self._journal = JournalTaker(home, self.database, self.objects, takes)
        self._disk = DiskGuard(home)
        self._online = OnlineRounds(self.database, self.store, self.clock)
        self._stopping = threading.Event()
        self._rounds = threading.Lock()
        self._retention = Retention(self.database, self._stopping.is_set)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="call")
        self._threads: list[threading.Thread] = []
        self._create_tables()
        own: dict[str, Callable[[], dict[str, Any]]] = {}
        if settings.allow_reset:
            own["/loopwright/reset"] = self.reset
        operations = all_operations(self.kinds, self.database, home, self.objects, self.workforce)
        pages = self.workforce.portal(self.engine.wake, self._health.state)
        self.app = Api(operations, self.context, face, self.keys, own, pages)

    def _functions(self, home: Path) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """What planners may call, by name."""
        return {
            "collect": collector(home, self.objects),
            **tuning_functions(self.store, self.objects, home),
            **scaling_functions(self.store, self.clock),
            **shadow_test_functions(self.store, self.clock),
            **self.workforce.functions(),
            **function_functions(home),
            "events.put": self.bus.put,
            "review.arm": arm_function(self.context),
        }

    def _backend(self) -> Backends:
        def lay_out(program: Program, base: Path) -> None:
            stage(self.objects, program, base)

        processes = ProcessBackend(
            self.settings.home,
            lay_out,
            capacity=opening.capacity(self.settings),
            warm=self.settings.warm,
            environment=self._client_variables,
            platform=self.clock.platform,
        )
        return self.containers.beside(
            processes, lay_out, self._client_variables, self.clock.platform
        )

    def _create_tables(self) -> None:
        self.store.create_tables()
        for metadata in OTHER_TABLES:
            metadata.create_all(self.database.engine)
        for table in aws_tables.GAINED:
            self.database.add_columns(table)
        if isinstance(self.objects, LocalObjects):
            self.objects.create_tables()
            self.objects.sweep()

    def context(self, region: str) -> Context:
        """What an operation of a caller in this region runs with."""

        def record(kind: str, name: str) -> Record | None:
            return self.store.get(region or self.settings.region, kind, name)

        return Context(
            region=region or self.settings.region,
            store=self.store,
            kinds=self.kinds,
            clock=self.clock,
            lookup=Lookup(record, self.object_exists, self.kinds, self.containers.check),
            wake=self.engine.wake,
        )

    def object_exists(self, uri: str) -> bool:
        """Whether an object, or one below the URI as a prefix, exists."""
        try:
            bucket, key = split_uri(uri)
            if not self.objects.bucket_exists(bucket):
                return False
            return next(iter(self.objects.list(bucket, key)), None) is not None
        except (ApiError, ValueError):
            return False

    # Running

    def announce(self, url: str) -> None:
        """The public address is known: units get it as their clients' endpoint."""
        self._url = url

    def _client_variables(self) -> dict[str, str]:
        """What lets a unit's own boto3 talk to this Loopwright."""
        if not self._url:
            return {}
        home, settings = self.settings.home, self.settings
        found = variables(home, self._url, settings.region, settings.objects_url)
        return {**found, "PYTHONPATH": str(home / "client")}

    def start(self) -> None:
        """Begin to plan and to watch units, in threads."""
        loops = (
            *(self._loop, self._sync_loop, self._journal_loop, self._delivery_loop),
            *(self._retention_loop, self.backend.warm_up, self.containers.watch),
        )
        for target in loops:
            thread = threading.Thread(target=target, daemon=True, name=target.__name__)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Stop planning. Units and the gateway run on."""
        self._stopping.set()
        self.engine.wake()
        for thread in self._threads[:5]:
            thread.join(10)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.backend.close()
        self.workforce.vision.close()
        self.containers.close()
        self.database.close()

    def _loop(self) -> None:
        """Observe, plan, publish, again and again; a fault of one round is no fault of the next."""
        while not self._stopping.is_set():
            try:
                with self._rounds:
                    self._disk.look()
                    self.step()
                    wait_s = self._pace()
                self._health.planned()
            except Exception as error:
                self._health.failed(error)
                LOG.exception("a round of the control plane failed; the next one repeats it")
                wait_s = IDLE_S
            self.engine.wait(wait_s)

    def _sync_loop(self) -> None:
        """Publish what running jobs write, apart from planning: a copy may take long."""
        while not self._stopping.wait(SYNC_S):
            try:
                self._checkpoints.round(self._watched())
                self._outputs.round(running_outputs(self.store))
            except Exception:
                LOG.exception("checkpoints could not be published; the next round tries again")

    def _journal_loop(self) -> None:
        """Take what gateways wrote of single requests, apart from planning: there may be much."""
        while not self._stopping.wait(JOURNAL_S):
            try:
                self._journal.round(time.time())
                if self._online.round():
                    self.engine.wake()
            except Exception:
                LOG.exception("the gateways' journal could not be taken; the next round repeats it")

    def _delivery_loop(self) -> None:
        """Bring events to their targets, apart from planning: addresses may be slow."""
        while not self._stopping.wait(DELIVERY_S):
            try:
                self._delivery.round(time.time())
            except Exception:
                LOG.exception("events could not be delivered; the next round tries again")

    def _retention_loop(self) -> None:
        """Join old points of metrics, apart from planning: after a long pause there are many."""
        while not self._stopping.wait(RETENTION_S):
            try:
                self._retention.round(self.clock.now())
            except Exception:
                LOG.exception("old points could not be joined; the next round tries again")

    def _invoke(self, arn: str, event: str, payload: bytes) -> None:
        """Have a function run once for an event."""
        context = self.context(arn.split(":")[3])
        name = str(uuid.uuid5(EVENTS, event))
        start_function(context, function_of(context, arn), name, payload, asynchronous=True)

    def _invoke_for(self, alarm: Record, function: str) -> str:
        """Have a function run once for a new state of an alarm; or why it does not."""
        event = f"{alarm.uid}/{alarm.status['StateTransitionedTimestamp']}/{function}"
        try:
            self._invoke(function, event, orjson.dumps(for_function(alarm)))
        except ApiError as error:
            return error.message
        return ""

    def _watched(self) -> list[Watched]:
        """The running jobs that write checkpoints."""
        statement = (
            sa.select(UNITS.c.id, UNITS.c.gang, UNITS.c.program)
            .where(UNITS.c.state == "running", UNITS.c.program.contains('"checkpoints":{'))
            .order_by(UNITS.c.seq)
        )
        gangs: dict[str, list[Any]] = {}
        with self.store.reading() as connection:
            for row in connection.execute(statement):
                gangs.setdefault(row.gang, []).append(row)
        found = []
        for rows in gangs.values():
            kept = orjson.loads(rows[0].program)["checkpoints"]
            found.append(Watched(tuple(row.id for row in rows), kept["folder"], kept["uri"]))
        return found

    def step(self) -> None:
        """One round."""
        self._take_metrics()
        self._alarms.round()
        self.supervisor.round()
        self.engine.plan_due()
        self.engine.run_calls(self._pool)
        self._publish()

    def _act(self, alarm: Record, action: str, value: float | None, at: float) -> str:
        """Carry out an action of an alarm, or say why not; topics are only shown."""
        if action.split(":")[2] == "sns":
            return "Loopwright has no topics; the action is kept and shown"
        if not is_scaling(action):
            return self._invoke_for(alarm, action)
        why = breach(self.store, alarm, action, value, at)
        self.engine.wake()
        return why

    def _pace(self) -> float:
        """How long to wait for news: the ends of units bring none."""
        due = self.store.next_due()
        if self._routes.waits or (due is not None and due <= self.clock.now()):
            return BUSY_S
        with self.store.reading() as connection:
            rows = connection.execute(
                sa.select(UNITS.c.state, UNITS.c.program).where(
                    UNITS.c.state.in_(("placed", "preparing", "running"))
                )
            ).all()
        if not rows:
            return IDLE_S
        settled = all(row.state == "running" for row in rows)
        servers = all(b'"serves":true' in row.program.encode() for row in rows)
        if settled and servers:
            return IDLE_S / 2
        return LIVE_S if settled else BUSY_S

    def _publish(self) -> None:
        """Bring the routes in line, and have the records planned of which all gateways go by."""
        documents = self.store.documents(PREFIX)
        self._serving.show(route for _, route in documents.values())
        self._waiting.tell(self.store.states("Endpoint"))
        for uid in self._routes.publish(documents):
            self.store.wake(uid, self.clock.now())
            self.engine.wake()

    def _take_metrics(self) -> None:
        """Take what jobs printed as metrics, and what they used, into CloudWatch."""
        statement = (
            sa.select(UNITS.c.id, UNITS.c.program, RECORDS.c.region, RECORDS.c.kind, RECORDS.c.name)
            .join(RECORDS, RECORDS.c.uid == UNITS.c.record)
            .where(
                RECORDS.c.kind.in_(("TrainingJob", "ProcessingJob", "Endpoint")),
                UNITS.c.state.in_(("running", "exited", "lost")),
            )
        )
        with self.store.reading() as connection:
            rows = connection.execute(statement).all()
        taken: dict[str, int] = {}
        files = [
            (row, unit_folder(self.settings.home, row.id).path / file)
            for row in rows
            for file in ("metrics.jsonl", "usage.jsonl")
        ]
        for row, path in files:
            self._take_points(row, path, taken)
        self._points.keep([path for _, path in files])
        folder = self.settings.home / "run"
        self._serving.note(self.clock.now())
        taken |= self._metrics.take_tallies(folder, self._taken, self.clock.platform)
        self._taken = taken

    def _take_points(self, row: Any, path: Path, taken: dict[str, int]) -> None:
        """Take what is new in one of a unit's files; a file that did not grow is not read."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        key = row.id if path.name == "metrics.jsonl" else f"{row.id}/{path.name}"
        taken[key] = size
        if not size or self._taken.get(key) == size:
            return
        dimensions = [{"Name": "TrainingJobName", "Value": row.name}]
        if path.name == "usage.jsonl":
            host = f"{row.name}/{orjson.loads(row.program).get('hostname', 'algo-1')}"
            dimensions = [{"Name": "Host", "Value": host}]
        if row.kind == "Endpoint":
            variant = orjson.loads(row.program)["log"]["stream"].partition("/")[0]
            dimensions = [
                {"Name": "EndpointName", "Value": row.name},
                {"Name": "VariantName", "Value": variant},
            ]
        self._metrics.take_unit_points(
            key,
            f"/aws/sagemaker/{row.kind}s",
            row.region,
            dimensions,
            partial(self._points.read, path),
        )

    def reset(self) -> dict[str, Any]:
        """Empty everything: records, units, objects, metrics, logs. For test suites.

        Units end while their records are there, and rounds wait: a kill in between leaves ended
        units of known records, never units that nobody knows.

        Raises:
            ApiError: `ServiceUnavailable` when units could not be ended; nothing was emptied.
        """
        with self._rounds:
            with self.store.reading() as connection:
                rows = connection.execute(sa.select(UNITS.c.id, UNITS.c.program)).all()
            units = {row.id: orjson.loads(row.program) for row in rows}
            if left := self.backend.end(units):
                raise ApiError(
                    "ServiceUnavailable",
                    f"{len(left)} of {len(units)} units could not be ended, such as {left[0]}; "
                    "nothing was reset. Ask again, or end the server and remove its home.",
                    503,
                )
            self.store.reset()
            for metadata in OTHER_TABLES:
                for table in reversed(metadata.sorted_tables):
                    self.database.write(partial(_empty, table))
            for unit_id in units:
                self.backend.discard(unit_id)
            self.containers.repositories.reset()
            self._serving.reset()
            if isinstance(self.objects, LocalObjects):
                self.objects.reset()
            shutil.rmtree(self.settings.home / "logs", ignore_errors=True)
        self.engine.wake()
        return {"reset": True, "units": len(units)}


def _empty(table: sa.Table, connection: sa.Connection) -> None:
    connection.execute(sa.delete(table))


def write_state(home: Path, state: Mapping[str, Any]) -> None:
    """Tell other commands which process serves this home."""
    write_durably(home / "run" / "control.json", json.dumps(state).encode())
