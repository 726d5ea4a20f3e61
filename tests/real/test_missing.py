"""Every operation on a name that does not exist answers with its kind's code and words."""

import re

import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel

from loopwright.contract.instances import Machine
from loopwright.control import all_kinds
from loopwright.wire.services import service
from tests.kernel.test_missing import WORDS
from tests.server import Server
from tests.wire.samples import least

pytestmark = pytest.mark.real
SERVICES = {"HumanLoop": "sagemaker-a2i-runtime"}
VERBS = ("Describe", "Stop", "Delete", "Update", "Start")
NOT_OF_ONE = {"StartHumanLoop", "UpdateTrainingJob"}
"""The first makes what it names, the second is not offered."""


def _operations() -> list[tuple[str, str, str]]:
    found = []
    for kind in all_kinds(Machine(2.0, 4 * 2**30)):
        of = SERVICES.get(kind.name, "sagemaker")
        for name in service(of).operation_names:
            verb = next((verb for verb in VERBS if name == f"{verb}{kind.name}"), None)
            if verb is not None and name not in NOT_OF_ONE:
                found.append((kind.name, of, name))
    found.append(("Endpoint", "sagemaker", "UpdateEndpointWeightsAndCapacities"))
    return found


def _request(model: OperationModel, kind: str) -> dict[str, object]:
    shape = model.input_shape
    named = [member for member in (f"{kind}Name", "Name") if member in shape.members]
    return {**least(shape), named[0]: "nope"}


@pytest.mark.parametrize(("kind", "of", "name"), _operations(), ids=lambda value: value)
def test_nobody_of_this_name(server: Server, kind: str, of: str, name: str) -> None:
    client = server.client(of)
    method = {api: python for python, api in client.meta.method_to_api_mapping.items()}[name]
    with pytest.raises(ClientError) as caught:
        getattr(client, method)(**_request(client.meta.service_model.operation_model(name), kind))
    error = caught.value.response["Error"]
    code, words = WORDS[kind]
    assert (error["Code"], bool(re.fullmatch(words, error["Message"]))) == (code, True), error
