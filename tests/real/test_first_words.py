"""What a newcomer is told: services that are not here, misspelt names, endpoints not yet there."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.scripts import SERVE
from tests.server import ROLE, SKLEARN, Server, packed, training_request, variant

pytestmark = pytest.mark.real
# Each of another protocol: query, EC2's, JSON, REST with JSON, REST with XML.
FOREIGN = {
    "sns": ("list_topics", "AWS_ENDPOINT_URL_SNS"),
    "ec2": ("describe_instances", "AWS_ENDPOINT_URL_EC2"),
    "dynamodb": ("list_tables", "AWS_ENDPOINT_URL_DYNAMODB"),
    "stepfunctions": ("list_state_machines", "of its own: endpoint_url."),
    "batch": ("list_jobs", "AWS_ENDPOINT_URL_BATCH"),
    "apigateway": ("get_rest_apis", "AWS_ENDPOINT_URL_API_GATEWAY"),
    "route53": ("list_hosted_zones", "AWS_ENDPOINT_URL_ROUTE_53"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_service_that_is_not_here_says_which_are(server: Server, name: str) -> None:
    method, variable = FOREIGN[name]
    with pytest.raises(ClientError) as caught:
        getattr(server.client(name), method)()
    error = caught.value.response["Error"]
    assert error["Code"] in ("UnknownOperationException", "InvalidAction")
    assert "Loopwright has no service" in error["Message"]
    assert "sagemaker-runtime" in error["Message"] and " s3," in error["Message"]
    assert variable in error["Message"]


def _train(server: Server) -> None:
    request = training_request("first-words", server.put("code/x.tar.gz", packed({"train.py": ""})))
    request["ResourceConfig"]["InstanceType"] = "ml.m5.larg"
    server.client("sagemaker").create_training_job(**request)


def _config(server: Server) -> None:
    variants = [{**variant("v", "m"), "InstanceType": "ml.m5.xlrage"}]
    server.client("sagemaker").create_endpoint_config(
        EndpointConfigName="first-words", ProductionVariants=variants
    )


@pytest.mark.parametrize(("call", "near"), [(_train, "ml.m5.large"), (_config, "ml.m5.xlarge")])
def test_a_misspelt_instance_type(server: Server, call: Callable[[Server], Any], near: str) -> None:
    with pytest.raises(ClientError, match=rf"enum value set: .*Did you mean '{near}'\?"):
        call(server)


def test_an_endpoint_says_why_it_cannot_be_invoked(server: Server) -> None:
    sagemaker, runtime = server.client("sagemaker"), server.client("sagemaker-runtime")
    data = server.put("first/model.tar.gz", packed({"note.txt": "x"}))
    slow = "import time\n\n" + SERVE.replace("def model_fn", "time.sleep(600)\n\ndef model_fn")
    for name, script in (("first-slow", slow), ("first-bad", "raise ValueError('no')")):
        source = server.put_source(name, {"serve.py": script})
        sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": SKLEARN, "ModelDataUrl": data,
                "Environment": {
                    "SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": source,
                },
            },
        )  # fmt: skip
        sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant("AllTraffic", name)]
        )
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def refused(name: str) -> str:
        with pytest.raises(ClientError) as caught:
            runtime.invoke_endpoint(EndpointName=name, Body=b"x")
        error = caught.value.response
        assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (
            "ValidationError", 400,
        )  # fmt: skip
        said = str(error["Error"]["Message"])
        assert said.startswith(f"Endpoint {name} of account 123456789012 not found.")
        return said

    assert "It is being created" in refused("first-slow")
    assert server.endpoint("first-bad")["EndpointStatus"] == "Failed"
    assert "FailureReason of DescribeEndpoint" in refused("first-bad")
    assert "Did you mean 'first-slow'?" in refused("first-slwo")
    assert refused("nowhere-at-all").endswith("not found.")
    sagemaker.delete_endpoint(EndpointName="first-slow")
    sagemaker.delete_endpoint(EndpointName="first-bad")


def test_a_job_s_log_says_once_that_other_versions_run(server: Server) -> None:
    server.train("first-versions", "print('of the script')")
    assert server.trained("first-versions")["TrainingJobStatus"] == "Completed"
    lines = server.log_of("first-versions")
    notes = [line for line in lines if "The image asks for scikit-learn 1.2" in line]
    assert lines[:1] == notes
    assert "`loopwright stop first-versions`" in lines[1]
    assert "of the script" in lines
