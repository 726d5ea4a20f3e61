"""Defaults are filled in at every depth, and only where the structure is there."""

from typing import Any

import pytest
from botocore.model import Shape

from loopwright.contract.instances import Machine
from loopwright.control import all_kinds
from loopwright.kernel.defaults import Each, Given, filled
from loopwright.wire.services import service

DEFAULTS = {
    "Flag": False,
    "Made": {"Limit": 7},
    "Held": Given({"Mode": "File", "Deep": Given({"Way": "Fast"})}),
    "Items": Each({"Weight": 1.0, "Source": Given({"Kind": "S3"})}),
}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"Flag": False, "Made": {"Limit": 7}}),
        ({"Flag": True, "Made": {}}, {"Flag": True, "Made": {"Limit": 7}}),
        ({"Made": {"Limit": 0, "Other": 1}}, {"Flag": False, "Made": {"Limit": 0, "Other": 1}}),
        (
            {"Held": {}, "Items": []},
            {"Flag": False, "Made": {"Limit": 7}, "Held": {"Mode": "File"}, "Items": []},
        ),
        (
            {"Held": {"Deep": {}}, "Items": [{}, {"Weight": 0.0, "Source": {}}]},
            {
                "Flag": False,
                "Made": {"Limit": 7},
                "Held": {"Mode": "File", "Deep": {"Way": "Fast"}},
                "Items": [{"Weight": 1.0}, {"Weight": 0.0, "Source": {"Kind": "S3"}}],
            },
        ),
    ],
)
def test_what_is_left_out_is_filled_in(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert filled(given, DEFAULTS) == wanted
    assert filled(wanted, DEFAULTS) == wanted


def _check(shape: Shape, defaults: Any, where: str) -> int:
    """Each default is a member of the model, of its type, and one of its values."""
    count = 0
    for name, default in defaults.items():
        member = shape.members[name]
        at = f"{where}.{name}"
        if isinstance(default, Each):
            count += _check(member.member, default.members, at)
        elif isinstance(default, Given | dict):
            inner = default.members if isinstance(default, Given) else default
            count += _check(member, inner, at)
        else:
            types = {"string": str, "boolean": bool, "integer": int, "float": float}
            assert isinstance(default, types[member.type_name]), at
            assert default in (member.metadata.get("enum") or [default]), at
            count += 1
    return count


def test_every_default_is_one_that_the_model_knows() -> None:
    model = service("sagemaker")
    counts = {}
    for kind in all_kinds(Machine(2.0, 2**30)):
        if kind.spec_defaults and kind.service == "sagemaker":
            shape = model.operation_model(f"Create{kind.name}").input_shape
            counts[kind.name] = _check(shape, kind.spec_defaults, kind.name)
    assert set(counts) == {
        "TrainingJob", "ProcessingJob", "Model", "EndpointConfig", "HyperParameterTuningJob",
        "FlowDefinition",
    }  # fmt: skip
    assert all(counts.values())
