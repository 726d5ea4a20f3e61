"""The service models that Loopwright speaks, loaded once, by botocore's own loader."""

from functools import cache
from pathlib import Path
from typing import Final

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

OWN_MODELS: Final = Path(__file__).parent / "models"


@cache
def _loader() -> Loader:
    return Loader(extra_search_paths=[str(OWN_MODELS)], include_default_search_paths=True)


@cache
def service(name: str) -> ServiceModel:
    """The model of a service by botocore's name (`sagemaker`, `s3`, `logs`, …).

    Raises:
        botocore.exceptions.UnknownServiceError: botocore ships no such service.
    """
    return ServiceModel(_loader().load_service_model(name, "service-2"), service_name=name)


@cache
def operation(service_name: str, operation_name: str) -> OperationModel:
    """The model of one operation.

    Raises:
        botocore.model.OperationNotFoundError: the service has no such operation.
    """
    return service(service_name).operation_model(operation_name)
