"""The user's hooks: found in their module, called with or without a context as written."""

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.server.exchange import Answer, Exchange, Streamed

_NAMES = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
_CUSTOM = "x-amzn-sagemaker-custom-attributes"
_FRAMING = ("content-length", "transfer-encoding", "connection")

Hook = Callable[..., Any]


class Context:
    """What a hook may ask about the request and set on the answer.

    The method names are those of the contexts that the public toolkits hand to hooks.
    """

    def __init__(self, model_folder: str, exchange: Exchange | None = None) -> None:
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
        self.system_properties = {"model_dir": model_folder, "gpu_id": int(gpu) if gpu else None}
        self._exchange = exchange
        self.status = 200
        self.content_type: str | None = None
        self.headers: dict[str, str] = {}
        self.request_processor = [self]

    def get_request_properties(self) -> dict[str, str]:
        """All request headers; names in lower case."""
        if self._exchange is None:
            return {}
        found = self._exchange.headers.items()
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in found}

    def get_all_request_header(self, index: int = 0) -> dict[str, str]:
        """The same, by its other name; `index` is always 0, one request a call."""
        return self.get_request_properties()

    def get_request_header(self, index: int, name: str) -> str | None:
        """One request header, or None."""
        return self.get_request_properties().get(name.lower())

    @property
    def custom_attributes(self) -> str:
        """The caller's X-Amzn-SageMaker-Custom-Attributes."""
        return self.get_request_properties().get(_CUSTOM, "")

    def set_response_content_type(self, index: int, value: str) -> None:
        """The answer's content type, unless output_fn returns one itself."""
        self.content_type = value

    def set_response_header(self, index: int, name: str, value: str) -> None:
        """A header of the answer, such as X-Amzn-SageMaker-Custom-Attributes."""
        self.headers[name.lower()] = value

    def set_response_status(self, code: int = 200, phrase: str = "", index: int = 0) -> None:
        """The answer's status."""
        self.status = code


@dataclass(frozen=True)
class UserHooks:
    """The hooks a module defines; a missing one is None, and takes no context otherwise told.

    Attributes:
        functions: name -> function taking (arguments..., context).
    """

    functions: dict[str, Hook]

    def get(self, name: str) -> Hook | None:
        return self.functions.get(name)


def load_module(path: Path) -> ModuleType:
    """Import the user's script under its own name, with its folder on the search path.

    Raises:
        Exception: whatever the script raises.
    """
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UnitFailure(f"{path} is not a Python script.")
    module = importlib.util.module_from_spec(spec)
    # Before it runs, so that classes defined in it can be found by pickle.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def find(module: ModuleType | None) -> UserHooks:
    """The hooks of a module.

    Raises:
        UnitFailure: transform_fn together with a hook that it replaces, or a hook that takes
            neither the documented arguments nor these and a context.
    """
    functions = {name: getattr(module, name, None) for name in _NAMES}
    defined = {name: function for name, function in functions.items() if function is not None}
    replaced = [name for name in ("input_fn", "predict_fn", "output_fn") if name in defined]
    if "transform_fn" in defined and replaced:
        raise UnitFailure(f"transform_fn cannot be used together with {', '.join(replaced)}.")
    return UserHooks({name: _with_context(name, hook) for name, hook in defined.items()})


# hook -> the number of its arguments without a context.
_ARITIES = {"model_fn": 1, "input_fn": 2, "predict_fn": 2, "output_fn": 2, "transform_fn": 4}


def _with_context(name: str, hook: Hook) -> Hook:
    arity = _ARITIES[name]
    kinds = inspect.Parameter
    parameters = list(inspect.signature(hook).parameters.values())
    positional = [
        p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ]
    required = sum(1 for p in positional if p.default is kinds.empty)
    named = len(positional) > arity and positional[arity].name == "context"
    if required == arity + 1 or (named and required <= arity + 1):
        return hook
    variadic = any(p.kind is kinds.VAR_POSITIONAL for p in parameters)
    if required <= arity and (len(positional) >= arity or variadic):
        return lambda *arguments: hook(*arguments[:arity])
    raise UnitFailure(f"{name} takes {required} arguments; it must take {arity}, or a context too.")


def answer_of(result: Any, accept: str, context: Context, encode: Callable[[Any], bytes]) -> Answer:
    """What output_fn or transform_fn returned, as an answer.

    Args:
        result: bytes or str; (body, content type); (body, content type, headers); or a response
            object of Flask's or Starlette's kind. The body may be an iterator of bytes and str, as
            generators are: it is sent while it is made. Other bodies are encoded as JSON.
        accept: The content type if the hook does not name one.
        context: What the hook has set.
        encode: Makes JSON of other bodies.
    """
    media, headers, status = context.content_type or accept, dict(context.headers), context.status
    if isinstance(result, tuple) and len(result) in (2, 3) and isinstance(result[1], str):
        if len(result) == 3:
            headers |= {str(name).lower(): str(value) for name, value in result[2].items()}
        result, media = result[0], result[1]
    elif hasattr(result, "status_code") and hasattr(result, "headers"):
        status = int(result.status_code)
        found = {str(name).lower(): str(value) for name, value in result.headers.items()}
        media = found.pop("content-type", media)
        found.pop("content-length", None)
        headers |= found
        result = result.get_data() if hasattr(result, "get_data") else result.body
    if isinstance(result, str):
        result = result.encode()
    elif isinstance(result, bytearray | memoryview):
        result = bytes(result)
    elif hasattr(result, "__next__"):
        return streamed(result, status, media, headers)
    elif not isinstance(result, bytes):
        result = encode(result)
    return Answer(status, result, media, headers or None)


def streamed(parts: Iterator[Any], status: int, media: str, headers: dict[str, str]) -> Answer:
    """An answer whose parts, bytes or str, are sent while they are made."""
    # How the answer ends is the server's to say.
    kept = {name: value for name, value in headers.items() if name not in _FRAMING}
    return Streamed(status, b"", media, kept or None, _encoded(parts))


def _encoded(parts: Iterator[Any]) -> Iterator[bytes]:
    try:
        for part in parts:
            if isinstance(part, str):
                yield part.encode()
            elif isinstance(part, bytes | bytearray | memoryview):
                yield bytes(part)
            else:
                kind = type(part).__name__
                raise TypeError(f"A part of the answer is a {kind}; it must be bytes or str.")
    finally:
        if hasattr(parts, "close"):
            parts.close()
