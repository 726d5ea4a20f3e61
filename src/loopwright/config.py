"""The settings of a home, each documented in `docs/settings.md`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ACCOUNT_DEFAULT: Final = "123456789012"
REGION_DEFAULT: Final = "us-east-1"


@dataclass(frozen=True)
class Settings:
    """What `loopwright serve` runs with.

    Attributes:
        home: Folder of all state.
        host, port: The public address; port 0 takes a free one.
        database: SQLAlchemy URL; empty for SQLite in the home.
        objects: Empty for the own object store, or `s3://ACCESS:SECRET@HOST:PORT` of an external
            one (`s3+http://` without TLS).
        compute: `process`; units as sandboxed processes of this machine.
        allow_reset: Whether `POST /loopwright/reset` empties everything.
        account: Account id of every ARN, 12 digits.
        region: Region that `loopwright env` tells clients.
        time_scale: Platform seconds per real second.
        cpus: CPUs that units may occupy; 0 for the machine's own.
        spot_seed, spot_mean_s: Managed spot jobs are interrupted at random times with this mean
            (platform seconds), the same for the same seed; 0 only when others need the room.
        engine: Container engine for images of one's own: empty for Loopwright's own podman, else
            Docker's socket; `podman`, `docker`, `none`, or an address such as
            `unix:///var/run/docker.sock`.
        gateway_workers: Processes that share the public port.
        warm: Whether a warm interpreter is kept.
        page_sources: Addresses from which pages of people's tasks may load scripts, styles and
            pictures, such as `https://cdn.example.org`; without any they reach nothing but us.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 8017
    database: str = ""
    objects: str = ""
    compute: str = "process"
    allow_reset: bool = False
    account: str = ACCOUNT_DEFAULT
    region: str = REGION_DEFAULT
    time_scale: float = 1.0
    cpus: float = 0.0
    spot_seed: int = 0
    spot_mean_s: float = 0.0
    engine: str = ""
    warm: bool = True
    page_sources: tuple[str, ...] = ()
    gateway_workers: int = 1

    @property
    def objects_url(self) -> str:
        """Address of the external object store, without its keys; empty for the own one."""
        scheme, _, rest = self.objects.partition("://")
        address = rest.rpartition("@")[2].rstrip("/")
        return address and f"{'http' if scheme == 's3+http' else 'https'}://{address}"

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.home / 'loopwright.db'}"
