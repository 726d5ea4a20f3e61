"""What CreateProcessingJob refuses beyond the model's own constraints."""

from collections.abc import Mapping
from typing import Any, Final

from loopwright.contract.defaults import RUNTIME_S
from loopwright.contract.images import CONTAINER
from loopwright.contract.instances import check_count
from loopwright.contract.programs import check_image, check_uri, refuse
from loopwright.kernel.defaults import Each, Given
from loopwright.kernel.kinds import Lookup
from loopwright.wire.errors import validation

ROOT: Final = "/opt/ml/processing/"
DEFAULTS: Final = {
    "ProcessingInputs": Each(
        {
            "AppManaged": False,
            "S3Input": Given(
                {
                    "S3InputMode": "File",
                    "S3DataDistributionType": "FullyReplicated",
                    "S3CompressionType": "None",
                }
            ),
        }
    ),
    "ProcessingOutputConfig": Given({"Outputs": Each({"AppManaged": False})}),
    "NetworkConfig": Given(
        {"EnableInterContainerTrafficEncryption": False, "EnableNetworkIsolation": False}
    ),
    "StoppingCondition": {"MaxRuntimeInSeconds": RUNTIME_S},
}
"""What the service fills in."""


def check_processing(spec: Mapping[str, Any], lookup: Lookup) -> None:
    """Refuse a processing job that could not run as asked.

    Raises:
        ApiError: `ValidationException` naming the member, its value and the way out.
    """
    application = spec["AppSpecification"]
    runtime = check_image(application["ImageUri"], "AppSpecification.ImageUri", lookup)
    if runtime is not CONTAINER and not application.get("ContainerEntrypoint"):
        raise validation(
            "AppSpecification.ContainerEntrypoint is missing; the runtimes have no program of "
            "their own for processing: name the command, such as ['python3', 'script.py']."
        )
    cluster = spec["ProcessingResources"]["ClusterConfig"]
    if cluster.get("InstancePreferences"):
        raise refuse("InstancePreferences", cluster["InstancePreferences"], "use InstanceType.")
    check_count("The job", cluster.get("InstanceCount") or 0)
    if not cluster.get("InstanceType"):
        raise validation("ProcessingResources.ClusterConfig.InstanceType is missing.")
    names: set[str] = set()
    for item in spec.get("ProcessingInputs", ()):
        _unique(names, item["InputName"], "ProcessingInputs")
        _check_input(item, lookup)
    names = set()
    for item in spec.get("ProcessingOutputConfig", {}).get("Outputs", ()):
        _unique(names, item["OutputName"], "ProcessingOutputConfig.Outputs")
        _check_output(item)


def _unique(names: set[str], name: str, where: str) -> None:
    if name in names:
        raise validation(f"{where} has the name {name!r} twice; names are unique.")
    names.add(name)


def _check_input(item: Mapping[str, Any], lookup: Lookup) -> None:
    where = f"ProcessingInputs {item['InputName']}"
    if item.get("DatasetDefinition"):
        raise refuse(f"{where}.DatasetDefinition", "given", "put the data into S3.")
    source = item.get("S3Input")
    if source is None:
        raise validation(f"{where} needs S3Input.")
    if source["S3InputMode"] == "Pipe":
        raise refuse(f"{where}.S3InputMode", "Pipe", "use File.")
    check_uri(source["S3Uri"], f"{where}.S3Input.S3Uri")
    _check_path(source.get("LocalPath"), f"{where}.S3Input.LocalPath")
    if not lookup.object_exists(source["S3Uri"]):
        raise validation(f"No S3 objects found under S3 URL {source['S3Uri']!r} given in {where}.")


def _check_output(item: Mapping[str, Any]) -> None:
    where = f"ProcessingOutputConfig.Outputs {item['OutputName']}"
    if item.get("FeatureStoreOutput"):
        raise refuse(f"{where}.FeatureStoreOutput", "given", "write the output to S3.")
    output = item.get("S3Output")
    if output is None:
        raise validation(f"{where} needs S3Output.")
    check_uri(output["S3Uri"], f"{where}.S3Output.S3Uri")
    _check_path(output.get("LocalPath"), f"{where}.S3Output.LocalPath")


def _check_path(path: str | None, where: str) -> None:
    if path is None:
        raise validation(f"{where} is missing; it must lie below {ROOT}.")
    if not (path + "/").startswith(ROOT) or ".." in path.split("/"):
        raise validation(f"{where} is {path!r}; it must lie below {ROOT}.")
