"""What a name that does not exist is answered with: the code and words that clients test for."""

import re

import pytest

from loopwright.contract.instances import Machine
from loopwright.control import all_kinds

MACHINE = Machine(2.0, 4 * 2**30)
# Terraform's provider, ACK's controllers, Airflow's operators and botocore's waiters look for these
# in SageMaker's kinds; those of other services and of Loopwright's own have their model's codes.
WORDS = {
    "TrainingJob": ("ValidationException", r"Requested resource not found\. There is no .*nope.*"),
    "ProcessingJob": ("ValidationException", r"Could not find requested job with name: nope"),
    "HyperParameterTuningJob": ("ResourceNotFound", r".*nope.*"),
    "Model": ("ValidationException", r'Could not find model ".*/nope"\.'),
    "EndpointConfig": ("ValidationException", r'Could not find endpoint configuration ".*/nope"\.'),
    "Endpoint": ("ValidationException", r'Could not find endpoint ".*/nope"\.'),
    "Workforce": ("ValidationException", r"No workforce .*nope.*"),
    "Workteam": ("ValidationException", r"The work team .*nope.*"),
    "HumanTaskUi": ("ResourceNotFound", r".*nope.*"),
    "FlowDefinition": ("ResourceNotFound", r".*nope.*"),
    "InferenceExperiment": ("ResourceNotFound", r".*nope.*"),
    "HumanLoop": ("ResourceNotFoundException", r".*nope.*"),
    "Function": ("ResourceNotFoundException", r"Function not found: .*nope"),
    "FunctionInvocation": ("ResourceNotFoundException", r".*nope.*"),
    "Alarm": ("ResourceNotFound", r".*nope.*"),
    "ScalableTarget": ("ObjectNotFoundException", r".*nope.*"),
    "OnlineExperiment": ("ResourceNotFound", r".*nope.*"),
    "Bandit": ("ResourceNotFound", r".*nope.*"),
    "HumanTask": ("ResourceNotFound", r".*nope.*"),
    "ReviewRule": ("ResourceNotFound", r".*nope.*"),
}


def test_the_table_has_every_kind() -> None:
    assert {kind.name for kind in all_kinds(MACHINE)} == set(WORDS)


@pytest.mark.parametrize("kind", all_kinds(MACHINE), ids=lambda kind: kind.name)
def test_a_kind_says_what_the_table_says(kind) -> None:
    code, message = kind.missing
    arn = f"arn:aws:{kind.service}:us-east-1:123456789012:{kind.arn}{kind.separator}nope"
    said = message.format(kind=kind.name, name="nope", arn=arn)
    wanted, words = WORDS[kind.name]
    assert code == wanted
    assert re.fullmatch(words, said), said
