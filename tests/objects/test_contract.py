"""The contract of object stores over every one we have."""

from collections.abc import Iterator

import pytest

from loopwright.objects.base import Objects
from loopwright.objects.external import ExternalObjects
from loopwright.objects.store import LocalObjects
from loopwright.testing.objects import ObjectsContract, wrong
from tests.objects.conftest import opened
from tests.objects.serving import ACCESS_KEY, SECRET


class TestLocal(ObjectsContract):
    @pytest.fixture(scope="class")
    def objects(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalObjects]:
        folder = tmp_path_factory.mktemp("local")
        yield from opened(f"sqlite:///{folder}/objects.db", folder / "contents")


class TestPostgres(ObjectsContract):
    @pytest.fixture(scope="class")
    def objects(
        self, postgres: str, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[LocalObjects]:
        yield from opened(postgres, tmp_path_factory.mktemp("postgres"))


class TestExternal(ObjectsContract):
    """A client of our own face."""

    @pytest.fixture(scope="class")
    def objects(self, url: str) -> Iterator[Objects]:
        store = ExternalObjects(url, "us-east-1", ACCESS_KEY, SECRET)
        yield store
        store.close()

    def test_an_unreachable_endpoint_is_named(self) -> None:
        store = ExternalObjects("http://127.0.0.1:9", "us-east-1", "a", "b")
        with wrong("ServiceUnavailable"):
            store.bucket_exists("bucket")
        store.close()
