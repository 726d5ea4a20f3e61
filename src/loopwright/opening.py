"""What a control plane is opened with, by its settings: clock, object store, capacity, spot."""

from pathlib import Path
from urllib.parse import urlsplit

import orjson

from loopwright.compute.folder import write_durably
from loopwright.config import Settings
from loopwright.database import Database
from loopwright.kernel.clock import ScaledClock, clock_file, turns_of
from loopwright.kernel.units import Capacity
from loopwright.objects.base import Objects
from loopwright.objects.external import ExternalObjects
from loopwright.objects.face import S3Face
from loopwright.objects.store import LocalObjects
from loopwright.training.spot import Schedule
from loopwright.wire.errors import ApiError


def clock_of_home(home: Path, scale: float) -> ScaledClock:
    """The clock of a home, which goes on where it stood.

    Args:
        scale: Platform seconds per real second from now on.
    """
    turns = turns_of(home)
    clock = ScaledClock(scale, turns)
    if len(clock.turns) != len(turns):
        write_durably(clock_file(home), orjson.dumps(clock.turns))
    return clock


def spot_schedule(settings: Settings) -> Schedule | None:
    """When managed spot jobs are interrupted; None for never."""
    if settings.spot_mean_s <= 0:
        return None
    return Schedule(settings.spot_seed, settings.spot_mean_s)


def capacity(settings: Settings) -> Capacity | None:
    """What units may occupy together; None takes what the machine has."""
    return Capacity(settings.cpus, 2**62) if settings.cpus else None


def object_store(settings: Settings, database: Database) -> tuple[Objects, S3Face | None]:
    """The object store and, of our own one, its S3 face.

    Raises:
        ApiError: `ValidationException`: the address of the external store is none.
    """
    if not settings.objects:
        local = LocalObjects(
            database, settings.home / "objects", account=settings.account, region=settings.region
        )
        return local, S3Face(local)
    parts = urlsplit(settings.objects)
    if parts.scheme not in ("s3", "s3+http") or not parts.username or not parts.password:
        raise ApiError(
            "ValidationException",
            f"--objects is {settings.objects!r}; it must be s3://ACCESS:SECRET@HOST[:PORT].",
        )
    external = ExternalObjects(
        endpoint_url=settings.objects_url,
        region=settings.region,
        access_key=parts.username,
        secret=parts.password,
    )
    return external, None
