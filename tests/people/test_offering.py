"""A task whose page cannot be made is never offered, and says why."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from loopwright.database import Database
from loopwright.kernel.records import Record
from loopwright.kernel.store import Store
from loopwright.people.links import ObjectLinks
from loopwright.people.offering import offer_function
from loopwright.people.pool import TaskPool
from loopwright.people.tables import METADATA, TASKS
from loopwright.people.templates import Templates

TEMPLATE = '<img src="{{ task.input.at | grant_read_access }}">'


@pytest.mark.parametrize(
    ("given", "kept", "why"),
    [
        ({"at": "s3://bucket/key"}, True, ""),
        ({}, True, "grant_read_access: the input lacks this variable"),
        ({"at": "s3://bucket"}, True, "grant_read_access: the S3 URI is 's3://bucket'"),
        ({"at": "s3://bucket/key"}, False, "its template is not there"),
    ],
)
def test_what_cannot_be_shown_is_not_offered(
    tmp_path: Path, given: dict[str, Any], kept: bool, why: str
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'db.sqlite'}")
    store = Store(database)
    store.create_tables()
    METADATA.create_all(database.engine)
    templates = Templates(database)
    sha = templates.keep(TEMPLATE) if kept else "0" * 64
    spec = {"TemplateSha": sha, "Input": given}
    record = Record("us-east-1", "HumanTask", "t", "uid", "arn:t", spec, {}, 0.0, 0.0)
    store.create(record, state="Open", tags={}, event="Created", due=None)
    links = ObjectLinks(tmp_path / "links.key", lambda: "http://127.0.0.1:1")
    offer = offer_function(TaskPool(database), store, templates, links)
    task = {
        "uid": "uid", "region": "us-east-1", "team": "team", "job": "job", "title": "", "wanted": 1,
        "description": "", "created": 0.0, "until": 9.0, "limit_s": 1.0,
    }  # fmt: skip
    refused = offer(task).get("refused", "")
    assert refused.startswith(why)
    assert bool(refused) == bool(why)
    with database.read() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(TASKS)).scalar()
    assert count == (0 if why else 1)
