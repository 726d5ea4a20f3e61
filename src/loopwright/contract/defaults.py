"""What the service fills into training requests, which tuning jobs hold as well.

Source: the service model's documentation, and what DescribeTrainingJob shows of jobs that left
these members out.
"""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.images import CONTAINER, runtime_of
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
    script = "sagemaker_program" in parameters
    own = built_in(runtime.name) if runtime.builtin and not script else []
    given = list(algorithm.get("MetricDefinitions") or ())
    metrics = {"MetricDefinitions": [*given, *own]} if given or own else {}
    # The model's rule: built-in algorithms, AWS's own framework images, and jobs with metrics.
    series = bool(metrics) or runtime.name == "pytorch"
    return {"EnableSageMakerMetricsTimeSeries": series, **algorithm, **metrics}
