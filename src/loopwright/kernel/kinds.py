"""What the platform offers: one declaration a kind, from which its verbs follow by the model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loopwright.kernel.defaults import filled
from loopwright.kernel.records import Record

DELETING: Final = "Deleting"
"""Status member, True once deletion was asked for; the planner clears up and ends with Forget."""

STOPPING: Final = "StopRequested"
"""Status member, True once a stop was asked for."""


def _no_status(_spec: Mapping[str, Any], _now: float) -> Mapping[str, Any]:
    return {}


def _any_image(_uri: str, _member: str) -> None:
    return


@dataclass(frozen=True)
class Kind:
    """A resource kind.

    Attributes:
        name: As in the operations, such as `TrainingJob` in `CreateTrainingJob`.
        arn: The resource part of its ARNs, such as `training-job`.
        state: The status member that lists filter by, such as `TrainingJobStatus`.
        finished: Values of `state` after which nothing is planned and a job may be deleted.
        initial_status: Of a new record, from its spec and the time.
        planner: `plan(record, view, now) -> actions`; None for kinds that only store.
        check: Refuses a spec that the model allows but the platform does not (ApiError).
        present: Members of Describe that are neither in the spec nor in the status.
        missing: (code, message) of a name that does not exist, which each kind declares: clients
            look for the service's own code and words. `{kind}`, `{name}`, `{arn}`.
        taken: The same of a name that does.
        stop_when: Values of `state` in which Stop is allowed.
        delete_when: Values of `state` in which Delete is allowed; None: in any.
        plural: Of the List operation, when it is not the name with an s.
        spec_defaults: What the service fills in when the request leaves it out, at every depth
            (`kernel.defaults`); stored with the spec, so that all read the same.
        service, separator: Of its ARNs.
        name_as: The member that names a record, where it is not the kind's name and `Name`.
    """

    name: str
    arn: str
    state: str | None = None
    finished: frozenset[str] = frozenset()
    initial_status: Callable[[Mapping[str, Any], float], Mapping[str, Any]] = _no_status
    planner: Callable[..., Sequence[Any]] | None = None
    check: Callable[[Mapping[str, Any], "Lookup"], None] | None = None
    present: Callable[[Record, "Lookup"], Mapping[str, Any]] | None = None
    missing: tuple[str, str] = field(kw_only=True)
    taken: tuple[str, str] = ("ResourceInUse", "{kind} {name} already exists: {arn}")
    stop_when: frozenset[str] = frozenset()
    delete_when: frozenset[str] | None = None
    plural: str = ""
    spec_defaults: Mapping[str, Any] = field(default_factory=dict)
    service: str = "sagemaker"
    separator: str = "/"
    name_as: str = ""

    @property
    def name_member(self) -> str:
        """The request member that names a record."""
        return self.name_as or f"{self.name}Name"

    @property
    def arn_member(self) -> str:
        """The response member with the record's ARN."""
        return f"{self.name}Arn"

    def filled(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """A request with the kind's defaults."""
        return filled(spec, self.spec_defaults)

    def state_of(self, status: Mapping[str, Any]) -> str:
        """The value that lists filter by; empty for kinds without one."""
        return str(status.get(self.state, "")) if self.state is not None else ""

    def is_finished(self, status: Mapping[str, Any]) -> bool:
        """Whether nothing is planned any more for a record with this status."""
        return not status.get(DELETING) and self.state_of(status) in self.finished


@dataclass(frozen=True)
class Lookup:
    """What checks may ask: other records of the region, and whether an object exists.

    Attributes:
        record: `record(kind, name)`.
        object_exists: `object_exists(uri)`: whether an object or a prefix with objects is there.
        kinds: For `check`; None where nothing of another kind is checked.
        check_image: `check_image(uri, member)` refuses an image that cannot run here (ApiError).
    """

    record: Callable[[str, str], Record | None]
    object_exists: Callable[[str], bool]
    kinds: "Kinds | None" = None
    check_image: Callable[[str, str], None] = _any_image

    def check(self, kind: str, spec: Mapping[str, Any]) -> None:
        """Refuse the request of a child of another kind by that kind's own rules.

        Raises:
            ApiError: what creating it would raise.
        """
        if self.kinds is not None and (check := self.kinds[kind].check) is not None:
            check(self.kinds[kind].filled(spec), self)


class Kinds:
    """The kinds by name, and how ARNs are made of them.

    Args:
        account: Account id, 12 digits.
    """

    def __init__(self, kinds: Iterable[Kind], account: str) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self.account = account

    def __getitem__(self, name: str) -> Kind:
        return self._kinds[name]

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def arn(self, kind: Kind, region: str, name: str) -> str:
        """`arn:aws:SERVICE:REGION:ACCOUNT:KIND/NAME`."""
        resource = f"{kind.arn}{kind.separator}{name}"
        return f"arn:aws:{kind.service}:{region}:{self.account}:{resource}"
