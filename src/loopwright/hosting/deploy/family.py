"""The policy that a `DeploymentConfig` names, found by the name of its file."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loopwright.hosting.deploy.steps import Step

FAMILY: Final = {"ALL_AT_ONCE": "all_at_once", "CANARY": "canary", "LINEAR": "linear"}


def policy_of(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The name and the policy of a `DeploymentConfig`; all at once where none is given."""
    rolling = config.get("RollingUpdatePolicy")
    if rolling:
        return "rolling", rolling
    policy = config.get("BlueGreenUpdatePolicy") or {}
    kind = policy.get("TrafficRoutingConfiguration", {}).get("Type", "ALL_AT_ONCE")
    return FAMILY[kind], policy


def steps_of(config: Mapping[str, Any], counts: Mapping[str, int]) -> Sequence[Step]:
    """The steps of an update, each followed by its time of baking."""
    name, policy = policy_of(config)
    found: Sequence[Step] = importlib.import_module(f"loopwright.hosting.deploy.{name}").steps(
        policy, counts
    )
    return found
