"""No endpoint says that a change is in force before all gateways go by it, and none is stopped
that a gateway may still send a request to."""

from pathlib import Path

import pytest

from tests.hosting.test_deployments import POLICIES
from tests.hosting.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.config("old", {"A": 2, "B": 1})
    made.config("new", {"A": 2, "B": 1})
    made.serve("old")
    return made


def steps(world: World, count: int = 20) -> None:
    for _ in range(count):
        world.simulated.step()


def hold(world: World, held: bool = True) -> None:
    """The gateways do not look, or look again."""
    world.simulated.taken = lambda key, version: not held


def change(world: World, **members: object) -> None:
    wanted = [{"VariantName": "A", **members}]
    world.call(
        "UpdateEndpointWeightsAndCapacities", EndpointName="e", DesiredWeightsAndCapacities=wanted
    )


def test_weights(world: World) -> None:
    hold(world)
    change(world, DesiredWeight=0.0)
    steps(world)
    route = world.simulated.store.document("route/us-east-1/e")
    assert route is not None and route[1]["variants"][0]["weight"] == 0
    assert world.status["EndpointStatus"] == "Updating"
    hold(world, False)
    world.run_until(world.settled)


def test_instances_that_leave(world: World) -> None:
    hold(world)
    change(world, DesiredInstanceCount=1)
    steps(world)
    assert world.status["EndpointStatus"] == "Updating"
    assert len(world.simulated.backend.running()) == 3
    hold(world, False)
    world.run_until(world.settled)
    assert len(world.simulated.backend.running()) == 2


@pytest.mark.parametrize("policy", POLICIES)
def test_each_step_of_an_update(world: World, policy: str) -> None:
    world.update("new", POLICIES[policy])
    world.run_until(lambda: "Deployment" in world.status)
    seen = 0
    while world.status["EndpointStatus"] != "InService":
        # The first route of every step is not looked at for a while.
        hold(world)
        before = world.shares()
        world.run_until(
            lambda before=before: (
                world.shares() != before or world.status["EndpointStatus"] == "InService"
            )
        )
        if world.status["EndpointStatus"] == "InService":
            break
        running = set(world.simulated.backend.running())
        steps(world, 200)
        assert world.status["Deployment"]["phase"] == "shift"
        assert set(world.simulated.backend.running()) >= running
        hold(world, False)
        world.run_until(lambda: world.status.get("Deployment", {}).get("phase") != "shift")
        seen += 1
    assert seen >= 1
    hold(world, False)
    world.run_until(world.settled)
    assert world.shares() == {"new": 1.0}


def test_an_endpoint_comes_and_goes(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.config("old", {"A": 1})
    hold(world)
    world.call("CreateEndpoint", EndpointName="e", EndpointConfigName="old")
    world.simulated.step(0.1)
    assert world.simulated.store.document("route/us-east-1/e") is None
    steps(world)
    assert world.simulated.store.document("route/us-east-1/e") is not None
    assert world.status["EndpointStatus"] == "Creating"
    hold(world, False)
    world.run_until(world.settled)
    hold(world)
    world.call("DeleteEndpoint", EndpointName="e")
    steps(world)
    assert world.simulated.store.document("route/us-east-1/e") is None
    assert len(world.simulated.backend.running()) == 1
    hold(world, False)
    steps(world)
    assert world.simulated.record("Endpoint", "e") is None
    assert not world.simulated.backend.running()
