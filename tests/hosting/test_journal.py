"""From a gateway's files to captured objects: also of shadows, whose requests stand elsewhere."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from loopwright.contract.frames import CAPTURED, read_frames
from loopwright.database import Database
from loopwright.hosting.journal import JournalTaker
from loopwright.hosting.tables import METADATA
from loopwright.objects.base import Objects
from tests.router.outside import Gateway, Model, one
from tests.server import await_that

CAPTURE = {
    "share": 1.0,
    "requests": True,
    "answers": True,
    "told": {"region": "us-east-1", "endpoint": "e", "uri": "s3://bucket/captured", "csv": [],
             "json": ["application/json"]},
}  # fmt: skip


class Kept:
    """Objects, as far as the taker uses them."""

    def __init__(self) -> None:
        self.lines: dict[str, list[dict[str, Any]]] = {}

    def put(self, bucket: str, key: str, parts: Sequence[bytes], **_: Any) -> None:
        content = b"".join(parts).splitlines()
        self.lines[f"s3://{bucket}/{key}"] = [orjson.loads(line) for line in content]

    def requests(self, variant: str) -> Counter[str]:
        """The captured requests of a variant."""
        return Counter(
            line["captureData"]["endpointInput"]["data"]
            for uri, lines in self.lines.items()
            if f"/e/{variant}/" in uri
            for line in lines
        )


@pytest.fixture
def models(tmp_path: Path) -> Iterator[list[Model]]:
    made = [Model(tmp_path / f"{name}.sock", name) for name in "ab"]
    yield made
    for model in made:
        model.stop()


def test_records_of_a_shadow_have_the_requests_that_are_written_once(
    tmp_path: Path, models: list[Model]
) -> None:
    live, shadow = models
    gateway = Gateway(tmp_path / "home")
    copy = {**one("S", 1, shadow), "of": "A", "share": 1.0}
    gateway.route("e", [one("A", 1, live)], shadows=[copy], capture=CAPTURE)
    bodies = [orjson.dumps({"n": n, "x": "y" * (n * 300)}) for n in range(12)]
    for body in bodies:
        assert gateway.ask("e", body, **{"Content-Type": "application/json"})[0] == 200
    folder = gateway.home / "journal"

    def frames() -> list[tuple[list[Any], bytes]] | None:
        (path,) = folder.glob("*.frames")
        found = [
            (head, body) for _, head, body, _ in read_frames(path.read_bytes())
            if head[0] == CAPTURED
        ]  # fmt: skip
        return found if len(found) == 2 * len(bodies) else None

    found = await_that(frames, "records of both variants")
    # Long requests are in the file once, short ones rather twice.
    repeated = {body for head, body in found if head[2] == "S"}
    assert repeated == {b""} | {body for body in bodies if len(body) <= 1024}
    gateway.stop()
    database = Database(f"sqlite:///{tmp_path}/taken.db")
    METADATA.create_all(database.engine)
    kept = Kept()
    taker = JournalTaker(gateway.home, database, cast(Objects, kept))
    for moment in (1e10, 2e10):
        taker.round(moment)
    wanted = Counter(body.decode() for body in bodies)
    assert kept.requests("A") == wanted
    assert kept.requests("S") == wanted
    assert not list(folder.glob("*.frames"))
    database.close()
