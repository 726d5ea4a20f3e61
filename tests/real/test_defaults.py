"""Describe of the smallest request says what the service filled in, at every depth."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server import BUCKET, ROLE, SKLEARN, XGBOOST, Server, training_request

pytestmark = pytest.mark.real


def _channel(uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri}
    return {"ChannelName": "train", "DataSource": {"S3DataSource": source}}


SHOWN_CHANNEL = {
    "CompressionType": "None",
    "RecordWrapperType": "None",
    "DataSource": {"S3DataSource": {"S3DataDistributionType": "FullyReplicated"}},
}
SHOWN_TRAINING = {
    "InputDataConfig": [SHOWN_CHANNEL],
    "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP"},
    "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
    "EnableNetworkIsolation": False,
    "EnableInterContainerTrafficEncryption": False,
    "EnableManagedSpotTraining": False,
}


def _training(server: Server) -> dict[str, Any]:
    sagemaker, name = server.client("sagemaker"), "defaults-training"
    source = server.put_source(name, {"train.py": "print(1)"})
    asked = training_request(name, source)
    asked |= {"StoppingCondition": {}, "InputDataConfig": [_channel(source)]}
    sagemaker.create_training_job(**asked)
    found = dict(sagemaker.describe_training_job(TrainingJobName=name))
    assert "MetricDefinitions" not in found["AlgorithmSpecification"]
    return found


def _algorithm(image: str, **more: Any) -> dict[str, Any]:
    return {"TrainingImage": image, "TrainingInputMode": "File", **more}


def _definition(server: Server) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": _algorithm(XGBOOST),
        "StaticHyperParameters": {"num_round": "1"},
        "RoleArn": ROLE,
        "InputDataConfig": [_channel(server.put("defaults/train.csv", "1,2\n0,3\n"))],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/jobs"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {},
    }


def _tuning(server: Server) -> dict[str, Any]:
    sagemaker, name = server.client("sagemaker"), "defaults-tuning"
    ranges = {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.3"}]}
    sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {
                "Type": "Minimize", "MetricName": "validation:rmse",
            },
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": ranges,
        },
        TrainingJobDefinition=_definition(server),
    )  # fmt: skip
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    found = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return dict(found)


def _processing(server: Server) -> dict[str, Any]:
    sagemaker, name = server.client("sagemaker"), "defaults-processing"
    uri = server.put("defaults/input.txt", "x")
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": SKLEARN, "ContainerEntrypoint": ["true"]},
        ProcessingResources={
            "ClusterConfig": {
                "InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1,
            }
        },
        NetworkConfig={},
        ProcessingInputs=[
            {
                "InputName": "in",
                "S3Input": {
                    "S3Uri": uri, "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix",
                },
            }
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": f"s3://{BUCKET}/out", "LocalPath": "/opt/ml/processing/out",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    )  # fmt: skip
    return dict(sagemaker.describe_processing_job(ProcessingJobName=name))


def _model(server: Server) -> dict[str, Any]:
    sagemaker = server.client("sagemaker")
    sagemaker.create_model(
        ModelName="defaults", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": SKLEARN}
    )
    sagemaker.create_model(
        ModelName="defaults-list", ExecutionRoleArn=ROLE, Containers=[{"Image": SKLEARN}]
    )
    listed = sagemaker.describe_model(ModelName="defaults-list")
    assert listed["Containers"] == [{"Image": SKLEARN, "Mode": "SingleModel"}]
    assert "PrimaryContainer" not in listed
    return dict(sagemaker.describe_model(ModelName="defaults"))


def _config(server: Server) -> dict[str, Any]:
    sagemaker = server.client("sagemaker")
    sagemaker.create_model(
        ModelName="defaults-config", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": SKLEARN}
    )
    bare = {"ModelName": "defaults-config", "InstanceType": "ml.m5.large"}
    bare["InitialInstanceCount"] = 1
    sagemaker.create_endpoint_config(
        EndpointConfigName="defaults",
        ProductionVariants=[{"VariantName": "live", **bare}],
        ShadowProductionVariants=[{"VariantName": "shadow", **bare}],
        DataCaptureConfig={
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{BUCKET}/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}],
        },
    )
    found = dict(sagemaker.describe_endpoint_config(EndpointConfigName="defaults"))
    # Infrastructure tools see a field that nobody wrote as a change to be undone.
    weighed = {"VariantName": "live", **bare, "InitialVariantWeight": 1.0}
    assert found["ProductionVariants"] == [weighed]
    assert set(found) - {"ResponseMetadata"} == {
        "EndpointConfigName", "EndpointConfigArn", "ProductionVariants", "ShadowProductionVariants",
        "DataCaptureConfig", "CreationTime", "EnableNetworkIsolation",
    }  # fmt: skip
    return found


CASES: dict[str, tuple[Callable[[Server], dict[str, Any]], dict[str, Any]]] = {
    "training": (
        _training,
        {**SHOWN_TRAINING, "AlgorithmSpecification": {"EnableSageMakerMetricsTimeSeries": False}},
    ),
    "tuning": (
        _tuning,
        {
            "HyperParameterTuningJobConfig": {
                "TrainingJobEarlyStoppingType": "Off",
                "ParameterRanges": {"ContinuousParameterRanges": [{"ScalingType": "Auto"}]},
            },
            "TrainingJobDefinition": SHOWN_TRAINING,
        },
    ),
    "processing": (
        _processing,
        {
            "ProcessingInputs": [
                {
                    "AppManaged": False,
                    "S3Input": {
                        "S3InputMode": "File",
                        "S3DataDistributionType": "FullyReplicated",
                        "S3CompressionType": "None",
                    },
                }
            ],
            "ProcessingOutputConfig": {"Outputs": [{"AppManaged": False}]},
            "NetworkConfig": {
                "EnableNetworkIsolation": False,
                "EnableInterContainerTrafficEncryption": False,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
        },
    ),
    "model": (
        _model,
        {"PrimaryContainer": {"Mode": "SingleModel"}, "EnableNetworkIsolation": False},
    ),
    "configuration": (
        _config,
        {
            "ProductionVariants": [{"InitialVariantWeight": 1.0}],
            "ShadowProductionVariants": [{"InitialVariantWeight": 1.0}],
            "DataCaptureConfig": {"EnableCapture": True},
            "EnableNetworkIsolation": False,
        },
    ),
}


def _holds(shown: Any, wanted: Any, where: str) -> None:
    if isinstance(wanted, dict):
        for name, value in wanted.items():
            assert name in shown, f"{where}.{name}"
            _holds(shown[name], value, f"{where}.{name}")
    elif isinstance(wanted, list):
        for index, value in enumerate(wanted):
            _holds(shown[index], value, f"{where}[{index}]")
    else:
        assert shown == wanted, where


@pytest.mark.parametrize("name", CASES)
def test_describe_says_what_was_filled_in(server: Server, name: str) -> None:
    create, wanted = CASES[name]
    _holds(create(server), wanted, name)


def test_built_in_algorithms_show_their_metrics(server: Server) -> None:
    """The SDK's `training_job_analytics` reads the names of a job's metrics there."""
    sagemaker, name = server.client("sagemaker"), "defaults-built-in"
    definition = _definition(server)
    parameters = definition.pop("StaticHyperParameters")
    asked = {"TrainingJobName": name, "HyperParameters": parameters, **definition}
    sagemaker.create_training_job(**asked)
    found = sagemaker.describe_training_job(TrainingJobName=name)["AlgorithmSpecification"]
    names = [metric["Name"] for metric in found["MetricDefinitions"]]
    assert {"train:rmse", "validation:auc"} <= set(names)
    assert len(set(names)) == len(names)
    assert found["EnableSageMakerMetricsTimeSeries"] is True
    tuned = sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=_tuning_name(server)
    )
    algorithm = tuned["TrainingJobDefinition"]["AlgorithmSpecification"]
    assert [metric["Name"] for metric in algorithm["MetricDefinitions"]] == names
    stored = server.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert stored["HyperParameters"] == parameters


def test_what_describe_shows_of_a_built_in_algorithm_makes_the_same_again(server: Server) -> None:
    """As tools do that clone jobs; its own metrics count once, not as the user's."""
    sagemaker, kind = server.client("sagemaker"), "HyperParameterTuningJob"
    definition = _definition(server)
    parameters = definition.pop("StaticHyperParameters")
    asked = {"HyperParameters": parameters, **definition}
    mine = [{"Name": f"mine{number}", "Regex": f"m{number}=([0-9]+)"} for number in range(41)]
    asked["AlgorithmSpecification"] = {**asked["AlgorithmSpecification"], "MetricDefinitions": []}
    shown: list[Any] = []
    for name in ("defaults-first", "defaults-again"):
        sagemaker.create_training_job(TrainingJobName=name, **asked)
        shown.append(sagemaker.describe_training_job(TrainingJobName=name))
        asked = {member: shown[-1][member] for member in asked}
    assert len(shown[0]["AlgorithmSpecification"]["MetricDefinitions"]) > 40
    assert all(shown[0][member] == shown[1][member] for member in asked)
    tuned = sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=_tuning_name(server)
    )
    trial = tuned["TrainingJobDefinition"]
    again = {f"{kind}Name": "defaults-again", f"{kind}Config": tuned[f"{kind}Config"]}
    sagemaker.create_hyper_parameter_tuning_job(**again, TrainingJobDefinition=trial)
    trial["AlgorithmSpecification"]["MetricDefinitions"] += mine
    asked["AlgorithmSpecification"]["MetricDefinitions"] += mine
    for refused in (
        lambda: sagemaker.create_training_job(TrainingJobName="defaults-more", **asked),
        lambda: sagemaker.create_hyper_parameter_tuning_job(
            **{**again, f"{kind}Name": "defaults-more"}, TrainingJobDefinition=trial
        ),
    ):
        with pytest.raises(ClientError, match=r"41 entries .* less than or equal to 40"):
            refused()


def _tuning_name(server: Server) -> str:
    sagemaker = server.client("sagemaker")
    listed = sagemaker.list_hyper_parameter_tuning_jobs(NameContains="defaults-tuning")
    if not listed["HyperParameterTuningJobSummaries"]:
        _tuning(server)
    return "defaults-tuning"
