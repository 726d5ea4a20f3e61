"""People's work, put together: accounts, tasks, pages, review loops."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.config import Settings
from loopwright.database import Database
from loopwright.kernel.clock import Clock
from loopwright.kernel.engine import Function
from loopwright.kernel.store import Store
from loopwright.kernel.verbs import Operation, projected
from loopwright.objects.base import Objects
from loopwright.people.accounts import Accounts
from loopwright.people.cognito import cognito_operations
from loopwright.people.links import ObjectLinks
from loopwright.people.offering import offer_function
from loopwright.people.operations import People, people_operations
from loopwright.people.own import own_people_operations
from loopwright.people.pool import TaskPool
from loopwright.people.pools import Pools
from loopwright.people.sessions import Sessions
from loopwright.people.templates import Templates
from loopwright.portal.app import Routes, portal_app
from loopwright.portal.desk import Desk
from loopwright.portal.files import FileRoutes
from loopwright.portal.front import FrontRoutes
from loopwright.portal.owner import OwnerRoutes
from loopwright.portal.signing import SigningRoutes
from loopwright.portal.tasks import TaskRoutes
from loopwright.portal.workers import Workers
from loopwright.review.builtin.operations import builtin_operations
from loopwright.review.builtin.vision import Vision
from loopwright.review.operations import loop_operations
from loopwright.review.output import output_function
from loopwright.review.own import review_operations
from loopwright.wire.services import service


@dataclass(frozen=True)
class Outside:
    """What people's work needs of the rest.

    Attributes:
        url: The platform's public address, empty until it is known.
        put_event: Puts an event on the bus, once for its id.
    """

    url: Callable[[], str]
    put_event: Callable[[Mapping[str, Any]], Any] = lambda event: None


class Workforce:
    """One per control plane."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        store: Store,
        objects: Objects,
        clock: Clock,
        outside: "Outside",
    ) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._objects = objects
        self._clock = clock
        self.accounts = Accounts(database)
        self.sessions = Sessions(database)
        self._outside = outside
        self.pool = TaskPool(database, self._notify)
        self.vision = Vision()
        links = ObjectLinks(settings.home / "links.key", outside.url)
        self.people = People(
            Pools(database), Templates(database), links, outside.url, self.pool.open_tasks
        )

    def _notify(self, team: str, task: str) -> None:
        """Tell of work for a team that has a topic: there are no topics here, but events."""
        record = self._store.by_arn(team)
        topic = record.spec.get("NotificationConfiguration", {}) if record is not None else {}
        if record is None or not topic.get("NotificationTopicArn"):
            return
        event = {
            "id": f"work-{task}",
            "region": record.region,
            "time": self._clock.now(),
            "source": "loopwright.people",
            "detail-type": "Workteam Work Available",
            "resources": [team],
            "detail": {
                "workteamArn": team,
                "workteamName": record.name,
                "notificationTopicArn": topic["NotificationTopicArn"],
                "portalUrl": f"{self._outside.url()}/work",
            },
        }
        self._outside.put_event(event)

    def functions(self) -> dict[str, Function]:
        """The calls of the planners of people's tasks and loops."""
        return {
            **self.pool.functions(),
            "people.offer": offer_function(
                self.pool, self._store, self.people.templates, self.people.links
            ),
            "review.output": output_function(self._objects, self.pool.answers, self._database),
        }

    def operations(self) -> dict[str, dict[str, Operation]]:
        """By service and name."""
        found: dict[str, dict[str, Operation]] = {
            "sagemaker": people_operations(self.people),
            "sagemaker-a2i-runtime": loop_operations(self.pool.forget),
            "cognito-idp": cognito_operations(self.people.pools, self.accounts),
            "loopwright": {
                **own_people_operations(self.people, self.accounts, self.sessions, self._database),
                **review_operations(self._database, self._objects),
            },
            **builtin_operations(self._objects, self.vision),
        }
        return {name: projected(service(name), item) for name, item in found.items()}

    def portal(self, wake: Callable[[], None], state: Callable[[], Mapping[str, Any]]) -> Any:
        """The pages, as an ASGI application.

        Args:
            wake: Has the control plane plan at once.
            state: Whether it can (`loopwright.health.Health.state`).
        """
        people = self.people
        workers = Workers(self._store, self.accounts)
        desk = Desk(
            self._store, self._objects, self._clock, self.accounts, people.pools, self.sessions,
            workers, self.pool, people.templates, people.links, self._settings.time_scale, wake,
            self._settings.page_sources,
        )  # fmt: skip
        signing = SigningRoutes(self.accounts, self.sessions, people.pools, workers)
        tasks, owner, files = TaskRoutes(desk), OwnerRoutes(desk), FileRoutes(desk)
        return portal_app(Routes(signing, tasks, owner, files, FrontRoutes(state)))
