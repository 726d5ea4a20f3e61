"""What the service fills into training requests, which tuning jobs hold as well.

Source: the service model's documentation, and what DescribeTrainingJob shows of jobs that left
these members out.
"""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.images import CONTAINER, Runtime, runtime_of
from loopwright.contract.metrics import built_in
from loopwright.kernel.defaults import Each, Given

RUNTIME_S: Final = 86_400
TRAINING: Final[Mapping[str, Any]] = {
    "InputDataConfig": Each(
        {
            "CompressionType": "None",
            "RecordWrapperType": "None",
            "DataSource": Given(
                {"S3DataSource": Given({"S3DataDistributionType": "FullyReplicated"})}
            ),
        }
    ),
    "OutputDataConfig": Given({"KmsKeyId": "", "CompressionType": "GZIP"}),
    "StoppingCondition": {"MaxRuntimeInSeconds": RUNTIME_S},
    "EnableNetworkIsolation": False,
    "EnableInterContainerTrafficEncryption": False,
    "EnableManagedSpotTraining": False,
}


def metrics_of(
    runtime: Runtime, algorithm: Mapping[str, Any], parameters: Mapping[str, str]
) -> list[dict[str, str]]:
    """A job's metric definitions: those given, then its built-in algorithm's others.

    A job that was made from what Describe shows of another brings the algorithm's own with it. A
    script of the user's brings its own alone.
    """
    script = "sagemaker_program" in parameters
    own = built_in(runtime.name) if runtime.builtin and not script else []
    given = list(algorithm.get("MetricDefinitions") or ())
    return [*given, *(definition for definition in own if definition not in given)]


def algorithm_shown(
    algorithm: Mapping[str, Any], parameters: Mapping[str, str]
) -> Mapping[str, Any]:
    """`AlgorithmSpecification` as the service shows it: built-in algorithms bring their metrics.

    They are as many as to make a stored request ten times as long, so they are only shown.

    Args:
        parameters: Hyperparameters; a script of the user's brings metrics of its own.
    """
    image = algorithm.get("TrainingImage")
    runtime = runtime_of(image, "TrainingImage") if image else CONTAINER
    found = metrics_of(runtime, algorithm, parameters)
    metrics = {"MetricDefinitions": found} if found else {}
    # The model's rule: built-in algorithms, AWS's own framework images, and jobs with metrics.
    series = bool(metrics) or runtime.name == "pytorch"
    return {"EnableSageMakerMetricsTimeSeries": series, **algorithm, **metrics}
