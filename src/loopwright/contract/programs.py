"""Parts of unit programs that training, processing and hosting share."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from loopwright.contract.images import CONTAINER, Runtime, runtime_of
from loopwright.kernel.kinds import Lookup
from loopwright.runtime.versions import IMAGE
from loopwright.wire.errors import ApiError, validation

INTERFACE: Final = "lo"
REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION", "SAGEMAKER_REGION")
SOURCE_PATH: Final = ".loopwright/sourcedir.tar.gz"


def decoded(text: str) -> str:
    """A hyperparameter's value without the JSON quotes that framework estimators put around it."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, str) else text


def source_input(uri: str) -> dict[str, Any]:
    """The input that lays out a `sourcedir.tar.gz` for the runtime."""
    return {"type": "object", "uri": uri, "path": SOURCE_PATH}


def common_environment(
    runtime: str, region: str, cpus: float, extra: Mapping[str, str], image: str = ""
) -> dict[str, str]:
    """Variables of every unit: runtime, region, threads, image, then the request's own.

    An image of one's own is told nothing of Loopwright's runtimes.
    """
    if runtime == CONTAINER.name:
        return {**dict.fromkeys(REGION_VARIABLES, region), **extra}
    threads = str(max(1, int(cpus)))
    found = {
        "LOOPWRIGHT_RUNTIME": runtime,
        "LOOPWRIGHT_CPUS": threads,
        "OMP_NUM_THREADS": threads,
        IMAGE: image,
        **dict.fromkeys(REGION_VARIABLES, region),
    }
    return found | dict(extra)


def container_of(
    runtime: Runtime, image: str, command: Sequence[str], entrypoint: Sequence[str] = ()
) -> dict[str, Any]:
    """The member `container` of a program whose image is no runtime of ours; else nothing.

    Args:
        command: What the image's entry point gets as arguments, such as `train`; with an
            `entrypoint` of the request's, that one's arguments. Empty: the image's own.
    """
    if runtime is not CONTAINER:
        return {}
    return {
        "container": {
            "image": image,
            "command": list(command) or None,
            "entrypoint": list(entrypoint) or None,
        }
    }


def check_image(image: str, member: str, lookup: Lookup) -> Runtime:
    """The runtime of an image; one that runs in no engine or registry here is refused.

    Raises:
        ApiError: `ValidationException` naming the member.
    """
    runtime = runtime_of(image, member)
    if runtime is CONTAINER:
        lookup.check_image(image, member)
    return runtime


def failed_reason(code: int | None, message: str) -> str:
    """`FailureReason` of a unit that ended badly: AWS's prefix, then the unit's own words."""
    if message.startswith(("ClientError", "InternalServerError")):
        return message[:1024]
    exit_code = f", exit code: {code}" if code is not None else ""
    text = message or "the process ended without a word"
    return f"AlgorithmError: {text}{exit_code}"[:1024]


def check_uri(uri: str, member: str) -> None:
    """Refuse an address that is no `s3://BUCKET/…`.

    Raises:
        ApiError: `ValidationException` naming the member.
    """
    if not uri.startswith("s3://") or not uri[5:].strip("/"):
        raise validation(f"{member} is {uri!r}; it must be an address s3://BUCKET/PREFIX.")


def refuse(member: str, value: Any, why: str) -> ApiError:
    """The refusal, by name, of a field that would change the outcome and is not supported."""
    return validation(f"{member} is {value!r}, which Loopwright does not support: {why}")
