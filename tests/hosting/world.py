"""An endpoint on the simulated world, and what its users must never see."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loopwright.hosting.kinds import hosting_kinds
from loopwright.hosting.operations import hosting_operations
from loopwright.kernel.kinds import Kind
from loopwright.kernel.records import Record
from loopwright.testing.simulation import REGION, Effects, SimulatedWorld
from tests.simulation.scenarios import IMAGE, MACHINE, ROLE, script_of

ALARM = Kind("Alarm", arn="alarm", state="StateValue", missing=("ResourceNotFound", "{name}"))


class World:
    """A simulated world whose endpoint `e` is looked at after every step."""

    def __init__(self, folder: Path, effects: Effects | None = None) -> None:
        self.simulated = self._make(folder, effects or Effects())
        self.call = self.simulated.call
        self.seen: list[tuple[str, dict[str, float]]] = []
        container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}
        self.call("CreateModel", ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)

    def _make(self, folder: Path, effects: Effects) -> SimulatedWorld:
        simulated = SimulatedWorld(
            folder,
            [*hosting_kinds(MACHINE), ALARM],
            effects,
            collected=lambda arguments: None,
            more_operations=hosting_operations(),
        )
        simulated.backend.script_of = script_of
        return simulated

    def config(self, name: str, counts: Mapping[str, int], **members: Any) -> None:
        """An endpoint configuration with these variants, each of weight 1."""
        variants = [
            {
                "VariantName": variant,
                "ModelName": "m",
                "InstanceType": "ml.t2.medium",
                "InitialInstanceCount": count,
            }
            for variant, count in counts.items()
        ]
        self.call(
            "CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=variants, **members
        )

    def serve(self, config: str) -> None:
        """Endpoint `e`, in service."""
        self.call("CreateEndpoint", EndpointName="e", EndpointConfigName=config)
        self.run_until(lambda: self.status["EndpointStatus"] == "InService")

    def alarm(self, name: str, state: str) -> None:
        """An alarm in this state."""
        simulated = self.simulated
        record = simulated.record("Alarm", name)
        now = simulated.clock.now()
        if record is None:
            new = Record(
                REGION, "Alarm", name, f"uid-{name}", f"arn:{name}", {}, {"StateValue": state},
                now, now,
            )  # fmt: skip
            simulated.store.create(new, state=state, tags={}, event="made", due=None)
        else:
            simulated.store.change(
                record, {"StateValue": state}, state=state, now=now, event="state"
            )

    @property
    def memory_bytes(self) -> int:
        """That one instance reserves."""
        return MACHINE.hosting("ml.t2.medium").memory_bytes

    @property
    def record(self) -> Record:
        """Of the endpoint."""
        found = self.simulated.record("Endpoint", "e")
        assert found is not None
        return found

    @property
    def status(self) -> Mapping[str, Any]:
        """Of the endpoint."""
        return self.record.status

    def shares(self) -> dict[str, float]:
        """The part of the traffic by configuration, of what the gateway reads."""
        found = self.simulated.store.document(f"route/{REGION}/e")
        if found is None:
            return {}
        total = sum(variant["weight"] for variant in found[1]["variants"])
        shares: dict[str, float] = {}
        for variant in found[1]["variants"]:
            config = variant["config"]
            shares[config] = round(shares.get(config, 0.0) + variant["weight"] / total, 6)
        return shares

    def look(self) -> None:
        """Every variant that gets traffic must have an instance that runs."""
        found = self.simulated.store.document(f"route/{REGION}/e")
        assert found is not None
        running = set(self.simulated.backend.running())
        for variant in found[1]["variants"]:
            if variant["weight"] > 0:
                ids = {item["id"] for item in variant["instances"]}
                assert ids & running, f"{variant} has no instance that runs"
        state = (self.status["EndpointStatus"], self.shares())
        if not self.seen or self.seen[-1] != state:
            self.seen.append(state)

    def run_until(self, condition: Callable[[], bool], rounds: int = 2000) -> None:
        """Step until it holds, and look after each step once the endpoint served."""
        for _ in range(rounds):
            if condition():
                return
            self.simulated.step()
            if self.seen or self.status["EndpointStatus"] == "InService":
                self.look()
        raise AssertionError(f"does not hold after {rounds} rounds: {self.status}")

    def update(self, config: str, deployment: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Begin an update."""
        given = {"DeploymentConfig": deployment} if deployment else {}
        self.call("UpdateEndpoint", EndpointName="e", EndpointConfigName=config, **given, **more)

    def settled(self) -> bool:
        """Whether the update is over and nothing runs that should not."""
        status = self.status
        if status["EndpointStatus"] != "InService":
            return False
        count = sum(
            variant["count"]
            for family in ("variants", "shadows")
            for variant in status["Fleet"][family]
        )
        return len(self.simulated.backend.running()) == count
