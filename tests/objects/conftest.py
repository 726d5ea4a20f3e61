"""Stores and servers for the tests of the object tree."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.database import Database
from loopwright.objects.store import LocalObjects
from tests.objects.serving import client, serving


def opened(url: str, folder: Path) -> Iterator[LocalObjects]:
    database = Database(url)
    store = LocalObjects(database, folder)
    store.create_tables()
    store.reset()
    try:
        yield store
    finally:
        store.close()
        database.close()


DATABASES = ["sqlite", "postgres"]


@pytest.fixture(scope="module", params=DATABASES)
def local(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalObjects]:
    """A store that the tests of a module share."""
    folder = tmp_path_factory.mktemp("objects")
    url = (
        f"sqlite:///{folder}/objects.db"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres")
    )
    yield from opened(url, folder / "contents")


@pytest.fixture(scope="module")
def url(local: LocalObjects) -> Iterator[str]:
    """The address of a face of `local`."""
    with serving(local) as address:
        yield address


@pytest.fixture(scope="module")
def s3(url: str) -> Iterator[Any]:
    """A boto3 client of the face."""
    made = client(url)
    yield made
    made.close()


@pytest.fixture
def bucket(local: LocalObjects, request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket of the test's own, empty."""
    name = f"test-{abs(hash(request.node.nodeid)) % 10**15}"
    local.create_bucket(name)
    yield name
    for found in list(local.list(name, "")):
        local.delete(name, found.key)
    local.buckets.delete(name)
