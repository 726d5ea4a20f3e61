"""The repositories of this Loopwright, and what an image's name in a request means here.

They are the same in every region: one registry keeps their images, under one address.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
import sqlalchemy as sa

from loopwright.aws.registry import USER, Registry
from loopwright.compute.container import Images
from loopwright.contract.images import URI
from loopwright.database import Database
from loopwright.wire.errors import validation

METADATA: Final = sa.MetaData()
REPOSITORIES: Final = sa.Table(
    "repositories",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)
ECR_HOST: Final = re.compile(r"(\d{12})\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
DIGEST: Final = re.compile(r"@(sha256:[0-9a-f]{64})$")


class Repositories(Images):
    """One per control plane.

    Args:
        registry: That keeps the images.
    """

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self.registry = registry

    # Kept

    def get(self, name: str) -> dict[str, Any] | None:
        """What was said of a repository when it was made, and its tags; None without it."""
        statement = sa.select(REPOSITORIES.c.document).where(REPOSITORIES.c.name == name)
        with self._database.read() as connection:
            row = connection.execute(statement).first()
        return dict(orjson.loads(row.document)) if row is not None else None

    def names(self) -> list[str]:
        """Sorted."""
        statement = sa.select(REPOSITORIES.c.name).order_by(REPOSITORIES.c.name)
        with self._database.read() as connection:
            return [row.name for row in connection.execute(statement)]

    def put(self, name: str, document: Mapping[str, Any]) -> None:
        """Keep or replace a repository's document."""

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(REPOSITORIES).where(REPOSITORIES.c.name == name))
            text = orjson.dumps(document).decode()
            connection.execute(sa.insert(REPOSITORIES).values(name=name, document=text))

        self._database.write(work)

    def add(self, name: str, document: Mapping[str, Any]) -> bool:
        """Keep a new repository; False when the name is taken."""

        def work(connection: sa.Connection) -> bool:
            known = sa.select(REPOSITORIES.c.name).where(REPOSITORIES.c.name == name)
            if connection.execute(known).first() is not None:
                return False
            text = orjson.dumps(document).decode()
            connection.execute(sa.insert(REPOSITORIES).values(name=name, document=text))
            return True

        return bool(self._database.write(work))

    def remove(self, name: str) -> None:
        """Forget a repository, then its images."""
        statement = sa.delete(REPOSITORIES).where(REPOSITORIES.c.name == name)
        self._database.write(lambda connection: connection.execute(statement))
        self.registry.remove_repository(name)

    def reset(self) -> None:
        """Forget everything."""
        for name in self.names():
            self.remove(name)

    # Names

    def reference(self, image: str) -> str:
        """The name under which the engine finds an image: ECR's host stands for our registry."""
        name = self._own_name(image)
        if name is None:
            return image
        return f"{self.registry.address}/{name}{_version(image)}"

    def login(self, reference: str) -> dict[str, str] | None:
        """The password of our own registry, for references to it."""
        if not self.registry.used or not reference.startswith(f"{self.registry.address}/"):
            return None
        self.registry.ensure()
        return {"username": USER, "password": self.registry.password}

    def _own_name(self, image: str) -> str | None:
        """The repository that an image is of, when it is named by ECR's host or our registry's."""
        match = URI.fullmatch(image)
        host = (match and match["host"]) or ""
        if match is None:
            return None
        ours = set()
        if self.registry.named:
            port = self.registry.address.rpartition(":")[2]
            ours = {f"localhost:{port}", f"127.0.0.1:{port}"}
        return match["repository"] if host in ours or ECR_HOST.fullmatch(host) else None

    def check(self, image: str, member: str) -> None:
        """Refuse an image that names a repository of ours which, or whose image, does not exist.

        Images of other hosts, and those that were only built here, are the engine's to find.

        Raises:
            ApiError: `ValidationException`.
        """
        name = self._own_name(image)
        if name is None:
            return
        if self.get(name) is None:
            raise validation(
                f"{member} is {image!r}: Cannot find repository: {name}. Loopwright has no runtime "
                "of that name either (`loopwright images` lists them). Create the repository with "
                f"ECR's CreateRepository and push the image to its repositoryUri."
            )
        version = _version(image)
        digest = version[1:] if version.startswith("@") else None
        tag = None if digest else version[1:]
        if self.registry.find(name, tag, digest) is None:
            known = [found for item in self.registry.images(name) for found in item.tags]
            has = f"it has the tags {', '.join(sorted(known)[:20])}" if known else "it is empty"
            raise validation(
                f"{member} is {image!r}: Requested image not found in the repository {name}; "
                f"{has}. Push the image to {self.registry.address}/{name} first."
            )


def _version(image: str) -> str:
    """`:TAG` or `@DIGEST` of an image; without either `:latest`, with both the digest."""
    if found := DIGEST.search(image):
        return f"@{found[1]}"
    match = URI.fullmatch(image)
    return f":{(match and match['tag']) or 'latest'}"
