"""Operations of online experiments, bandits and outcomes, of our own service model."""

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.compute.staging import split_uri
from loopwright.contract.programs import check_uri
from loopwright.database import Database
from loopwright.hosting.experiments import state as experiment
from loopwright.hosting.experiments.evalues import requests_needed
from loopwright.hosting.experiments.kinds import BANDIT_KIND, EXPERIMENT_KIND
from loopwright.hosting.experiments.taking import begin, record_outcomes, settings_of
from loopwright.hosting.tables import ALLOCATIONS, ONLINE_STATES, SEEN_USERS
from loopwright.hosting.traffic import arms as bandit
from loopwright.kernel.records import Record
from loopwright.kernel.store import Query
from loopwright.kernel.verbs import (
    Context,
    Operation,
    create,
    describe,
    find,
    generic_operations,
    mutate,
)
from loopwright.objects.base import Objects
from loopwright.wire.errors import ApiError, validation
from loopwright.wire.services import service

ALLOCATIONS_SHOWN: Final = 500
OUTCOMES_MAX: Final = 1000
FINEST: Final = 1e-9
"""The finest rate, effect or chance that advice is given for."""
POWER: Final = 0.8
NORMAL: Final = NormalDist()


def experiment_operations(database: Database, objects: Objects) -> dict[str, Operation]:
    """By operation name."""
    online = Online(database, objects)
    return {
        "CreateOnlineExperiment": online.create_experiment,
        "DescribeOnlineExperiment": online.describe_experiment,
        "ListOnlineExperiments": online.generic["ListOnlineExperiments"],
        "StopOnlineExperiment": online.stop_experiment,
        "DeleteOnlineExperiment": online.delete_experiment,
        "RecordOutcome": online.record,
        "ImportOutcomes": online.import_outcomes,
        "AdviseSampleSize": _advise,
        "PutBandit": online.put_bandit,
        "DescribeBandit": online.describe_bandit,
        "DeleteBandit": online.delete_bandit,
    }


class Online:
    """The operations that need the database or the objects."""

    def __init__(self, database: Database, objects: Objects) -> None:
        self._database = database
        self._objects = objects
        self.generic = generic_operations([EXPERIMENT_KIND], service("loopwright"))

    def create_experiment(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Begin an experiment: from now on the gateway tells of each request."""
        result = self.generic["CreateOnlineExperiment"](context, params)
        self._begin(context, find(context, EXPERIMENT_KIND, params["OnlineExperimentName"]))
        return result

    def describe_experiment(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        record = find(context, EXPERIMENT_KIND, params["OnlineExperimentName"])
        setting = experiment.setting_of(record.spec)
        state = self._state(record.uid) or experiment.empty_state(setting)
        return {
            **describe(context, EXPERIMENT_KIND, record),
            "Variants": experiment.report(setting, state),
            "TrippedGuards": [
                {"VariantName": name, "Guard": guard}
                for name, guard in experiment.tripped(setting, state)
            ],
            "Effects": [
                {
                    "Outcomes": int(count),
                    "VariantName": setting.treatments[int(index)],
                    "Effect": effect,
                    "EffectLow": low,
                    "EffectHigh": high,
                }
                for count, index, effect, low, high in state["history"]
            ],
        }

    def stop_experiment(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """End it; what is known stays to be read."""

        def change(record: Record) -> Mapping[str, Any] | None:
            if record.status["Status"] == "Stopped":
                return None
            return {**record.status, "Status": "Stopped", "StoppedTime": context.clock.now()}

        name = params["OnlineExperimentName"]
        record = mutate(context, EXPERIMENT_KIND, name, change, "Stopped")
        _watch(context, record.spec["EndpointName"])
        return {}

    def delete_experiment(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        record = find(context, EXPERIMENT_KIND, params["OnlineExperimentName"])
        self._forget(context, record)
        return {}

    def record(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Take outcomes; each inference id counts once, whatever comes first."""
        find(context, context.kinds["Endpoint"], params["EndpointName"])
        given = [(item["InferenceId"], float(item["Value"])) for item in params["Outcomes"]]
        return self._record(context, params["EndpointName"], given)

    def _record(
        self, context: Context, endpoint: str, given: list[tuple[str, float]]
    ) -> dict[str, Any]:
        for inference, value in given:
            if not math.isfinite(value):
                raise validation(f"The outcome of {inference} is {value}; it must be a number.")
        now = context.clock.now()
        new, old = record_outcomes(self._database, context.region, endpoint, given, now)
        return {"Recorded": new, "AlreadyRecorded": old}

    def import_outcomes(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Take the ground truth files below a prefix, as SageMaker's monitors read them."""
        find(context, context.kinds["Endpoint"], params["EndpointName"])
        check_uri(params["S3Uri"], "S3Uri")
        bucket, prefix = split_uri(params["S3Uri"])
        total = {"Recorded": 0, "AlreadyRecorded": 0}
        batch: list[tuple[str, float]] = []
        for line, where in self._lines(bucket, prefix):
            batch.append(_ground_truth(line, where))
            if len(batch) == OUTCOMES_MAX:
                _sum(total, self._record(context, params["EndpointName"], batch))
                batch = []
        _sum(total, self._record(context, params["EndpointName"], batch))
        return total

    def _lines(self, bucket: str, prefix: str) -> Iterator[tuple[bytes, str]]:
        for item in self._objects.list(bucket, prefix):
            body = b"".join(self._objects.open(bucket, item.key))
            for number, line in enumerate(body.splitlines(), 1):
                if line.strip():
                    yield line, f"line {number} of s3://{bucket}/{item.key}"

    # Bandits

    def put_bandit(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Let a bandit choose an endpoint's weights; it begins anew with each put. Of two at once
        the later one decides."""
        name = params["EndpointName"]
        if BANDIT_KIND.check is not None:
            BANDIT_KIND.check(params, context.lookup)
        spec = orjson.loads(orjson.dumps(params))
        while True:
            before = context.store.get(context.region, "Bandit", name)
            try:
                if before is not None:
                    self._forget(context, before)
                create(context, BANDIT_KIND, {**spec, "BanditName": name})
                self._begin(context, find(context, BANDIT_KIND, name))
            except ApiError as error:
                if error.code in (BANDIT_KIND.missing[0], BANDIT_KIND.taken[0]):
                    continue  # Another one was put or deleted meanwhile.
                raise
            return {}

    def describe_bandit(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        record = find(context, BANDIT_KIND, params["EndpointName"])
        settings = settings_of(record.spec)
        state = self._state(record.uid) or bandit.empty(tuple(record.spec["VariantNames"]))
        scale = settings.high - settings.low
        arms = [
            {"VariantName": name, "Rewards": count}
            | ({"Mean": settings.low + scale * total / count} if count else {})
            for name, (count, total, _) in state["arms"].items()
        ]
        statement = (
            sa.select(ALLOCATIONS)
            .where(ALLOCATIONS.c.uid == record.uid)
            .order_by(ALLOCATIONS.c.id.desc())
            .limit(ALLOCATIONS_SHOWN)
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return {
            **describe(context, BANDIT_KIND, record),
            "Arms": arms,
            "Allocations": [
                {"Time": row.at, "Rewards": row.rewards, "Shares": orjson.loads(row.shares)}
                for row in reversed(rows)
            ],
        }

    def delete_bandit(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """The weights of the endpoint's configuration hold again."""
        self._forget(context, find(context, BANDIT_KIND, params["EndpointName"]))
        return {}

    # What both share

    def _state(self, uid: str) -> dict[str, Any] | None:
        statement = sa.select(ONLINE_STATES.c.state).where(ONLINE_STATES.c.uid == uid)
        with self._database.read() as connection:
            text = connection.execute(statement).scalar()
        return None if text is None else dict(orjson.loads(text))

    def _begin(self, context: Context, record: Record) -> None:
        endpoint = context.store.get(context.region, "Endpoint", record.spec["EndpointName"])
        if endpoint is not None:
            begin(self._database, record, endpoint)
        _watch(context, record.spec["EndpointName"])

    def _forget(self, context: Context, record: Record) -> None:
        """Delete it, last of all its record, so that what a kill cuts off can be asked for again;
        and stop it first of all, so that no round gives the endpoint weights again."""

        def stopped(current: Record) -> Mapping[str, Any]:
            return {**current.status, "Status": "Stopped"}

        kind = EXPERIMENT_KIND if record.kind == EXPERIMENT_KIND.name else BANDIT_KIND
        current = mutate(context, kind, record.name, stopped, "Deleted")
        _watch(context, record.spec["EndpointName"])

        def work(connection: sa.Connection) -> None:
            for table in (ONLINE_STATES, SEEN_USERS, ALLOCATIONS):
                connection.execute(sa.delete(table).where(table.c.uid == current.uid))

        self._database.write(work)
        context.store.delete(current)
        context.wake()


def _watch(context: Context, endpoint: str) -> None:
    """Bring an endpoint in line with what runs on it: requests told of, weights its own again."""
    running = [
        record
        for kind in ("OnlineExperiment", "Bandit")
        for record in _running(context, kind)
        if record.spec["EndpointName"] == endpoint
    ]
    has_bandit = any(record.kind == "Bandit" for record in running)
    if context.store.get(context.region, "Endpoint", endpoint) is None:
        return

    def change(record: Record) -> Mapping[str, Any]:
        changed = {**record.status, "Observed": bool(running)}
        if not has_bandit:
            changed.pop("Allocation", None)
        return changed

    mutate(context, context.kinds["Endpoint"], endpoint, change, "")


def _running(context: Context, kind: str) -> Iterator[Record]:
    after = None
    while True:
        query = Query(
            region=context.region, kind=kind, sort="name", limit=100, after=after, state="Running"
        )
        page, after = context.store.find(query)
        yield from page
        if after is None:
            return


def _ground_truth(line: bytes, where: str) -> tuple[str, float]:
    """Inference id and value of a line of a ground truth file.

    Raises:
        ApiError: `ValidationException` naming the line.
    """
    try:
        told = orjson.loads(line)
        return str(told["eventMetadata"]["eventId"]), float(told["groundTruthData"]["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise validation(
            f"{where} is no ground truth with a number as its data and an eventId: {error!r}."
        ) from None


def _sum(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name in total:
        total[name] += more[name]


def _advise(_context: Context, params: dict[str, Any]) -> dict[str, Any]:
    """How many requests a test of two rates takes, looked at once or always."""
    base, effect = float(params["BaselineRate"]), float(params["MinimumEffect"])
    share, alpha = float(params.get("TreatmentShare", 0.5)), float(params.get("Alpha", 0.05))
    other = base + effect
    if not (0 < base < 1 and 0 < other < 1 and effect):
        raise validation(
            f"BaselineRate {base} and BaselineRate + MinimumEffect {other} must both be between 0 "
            "and 1, and differ."
        )
    if not FINEST <= share <= 1 - FINEST or not FINEST <= alpha < 0.5:
        raise validation(
            f"TreatmentShare is {share} and Alpha {alpha}; they must be from {FINEST}, and below 1 "
            "and 0.5."
        )
    if min(base, 1 - base, other, 1 - other, abs(effect)) < FINEST:
        raise validation(
            f"BaselineRate {base} and MinimumEffect {effect} are finer than {FINEST}; no number of "
            "requests would tell."
        )
    normal = NORMAL.inv_cdf(1 - alpha / 2) + NORMAL.inv_cdf(POWER)
    spread = base * (1 - base) / (1 - share) + other * (1 - other) / share
    fixed = normal**2 * spread / effect**2
    return {
        "RequestsIfLookedAtOnce": math.ceil(fixed),
        "RequestsTypically": math.ceil(requests_needed(base, other, share, alpha)),
    }
