"""The verb `serve`: load the model, then answer /ping and /invocations until SIGTERM."""

import importlib
import logging
import os
import socket
import stat
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopwright.runtime import environment, paths, source
from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.paths import Tree

if TYPE_CHECKING:
    from loopwright.runtime.server.turns import Model

_DEFAULT_ENTRY = "inference.py"
_HERE = "loopwright.runtime.server.frameworks"
# LOOPWRIGHT_RUNTIME -> module and name of its defaults.
_FRAMEWORKS = {
    "sklearn": (f"{_HERE}.scikit", "framework"),
    "xgboost": (f"{_HERE}.boosted", "framework"),
    "pytorch": (f"{_HERE}.pytorch", "framework"),
    "python": (f"{_HERE}.plain", "framework"),
}
# A framework whose image serves without any script.
_ALGORITHMS = {"xgboost": (f"{_HERE}.boosted", "algorithm")}
# Built-in algorithms, whose images take no script.
_BUILT_IN = {
    "linear-learner": ("loopwright.algorithms.linear_model", "algorithm"),
    "kmeans": ("loopwright.algorithms.kmeans_model", "algorithm"),
    "pca": ("loopwright.algorithms.pca_model", "algorithm"),
    "knn": ("loopwright.algorithms.knn_model", "algorithm"),
    "randomcutforest": ("loopwright.algorithms.forest_model", "algorithm"),
    "blazingtext": ("loopwright.algorithms.text_model", "algorithm"),
}


@dataclass(frozen=True)
class Listen:
    """Where to listen: a Unix socket's path, or host and port."""

    path: str | None
    host: str
    port: int


def serve(argv: list[str]) -> int:
    """Serve until SIGTERM.

    Args:
        argv: Must be empty; all settings are environment variables.
    Returns:
        The exit code 0.
    Raises:
        UnitFailure: the model or the script cannot be loaded, or the address is taken.
    """
    if argv:
        raise UnitFailure(f"`serve` takes no arguments, but got {argv}.", 2)
    tree = paths.tree()
    listen = _listen(os.environ.get("LOOPWRIGHT_LISTEN", ""))
    script = _script(tree)
    if script is not None:
        source.install(script.parent, tree, ["serve"])
    _set_variables(tree, script)
    _log_to_stderr()
    # Only now, because starting anew for the user's packages must not load anything for nothing.
    http = importlib.import_module("loopwright.runtime.server.http")
    limits = _limits(http.Limits)
    count = int(_number("SAGEMAKER_MODEL_SERVER_WORKERS", 1))
    if count == 1:
        model = _load(tree, script)
        http.serve(_bind(listen), model, limits, 1)
        return 0
    bound = _bind(listen)
    workers = importlib.import_module("loopwright.runtime.server.workers")

    def work(ready: Callable[[], None]) -> None:
        model = _load(tree, script)
        ready()
        http.serve(bound, model, limits, count)

    workers.run(count, work, limits.drain_s + 5)
    return 0


def _script(tree: Tree) -> Path | None:
    """The user's script: in the submitted code, else in the model's code folder; None if none."""
    named = os.environ.get("SAGEMAKER_PROGRAM")
    submitted = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY")
    in_model = tree.model / "code"
    if named is None:
        found = in_model / _DEFAULT_ENTRY
        return found if found.is_file() else None
    folder = in_model
    local = _localized(submitted, tree)
    if os.environ.get("LOOPWRIGHT_SOURCE") or local is not None:
        folder = source.place(tree, None if local is None else str(local))
    for candidate in (folder / named, in_model / named):
        if candidate.is_file():
            return candidate.absolute()
    raise UnitFailure(
        f"SAGEMAKER_PROGRAM is {named!r}, but neither {folder} nor {in_model} has such a file "
        f"(SAGEMAKER_SUBMIT_DIRECTORY is {submitted!r})."
    )


def _localized(submitted: str | None, tree: Tree) -> Path | None:
    """A local submit directory; clients write /opt/ml, which may lie below another base here."""
    if not submitted or submitted.startswith("s3://"):
        return None
    path = Path(submitted.removeprefix("file://"))
    if path.is_relative_to("/opt/ml") and not path.exists():
        return tree.base / path.relative_to("/opt/ml")
    return path


def _load(tree: Tree, script: Path | None) -> "Model":
    """Import the script and load the model.

    Raises:
        UnitFailure: with the traceback on stderr if it came from the user's code.
    """
    try:
        return _load_unguarded(tree, script)
    except UnitFailure:
        raise
    except Exception as error:
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise UnitFailure(
            f"The model could not be loaded: {type(error).__name__}: {error} "
            f"({last.filename}, line {last.lineno}, in {last.name})"
        ) from error


def _load_unguarded(tree: Tree, script: Path | None) -> "Model":
    hooking = importlib.import_module("loopwright.runtime.server.hooks")
    models = importlib.import_module("loopwright.runtime.server.model")
    framework = _framework(script)
    module = None if script is None else hooking.load_module(script)
    if not logging.getLogger().handlers:
        # The script had its chance; else its log lines of level INFO shall be seen, as in AWS's.
        level = int(_number("SAGEMAKER_CONTAINER_LOG_LEVEL", logging.INFO))
        logging.basicConfig(level=level, stream=sys.stderr)
    hooks = hooking.find(module)
    folder = str(tree.model)
    model_fn = hooks.get("model_fn")
    if model_fn is None:
        model = framework.load(tree.model)
    else:
        model = model_fn(folder, hooking.Context(folder))
    accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or framework.accept
    rows = None
    if not set(hooks.functions) - {"model_fn"} and _micro_batching():
        rows = framework.rows(model)
    loaded: Model = (
        models.HookedModel(model, folder, hooks, framework, accept)
        if rows is None
        else models.RowModel(rows, model, folder, framework, accept)
    )
    return loaded


def _framework(script: Path | None) -> Any:
    name = os.environ.get("LOOPWRIGHT_RUNTIME") or "python"
    known = {**_FRAMEWORKS, **_BUILT_IN, **(_ALGORITHMS if script is None else {})}
    if name not in known:
        raise UnitFailure(f"LOOPWRIGHT_RUNTIME is {name!r}; this server knows {', '.join(known)}.")
    module, attribute = known[name]
    return getattr(importlib.import_module(module), attribute)


def _micro_batching() -> bool:
    return os.environ.get("LOOPWRIGHT_MICRO_BATCHING", "on").lower() not in ("off", "0", "false")


def _set_variables(tree: Tree, script: Path | None) -> None:
    """What the containers of AWS set for hooks; a variable given already is left alone."""
    for name, value in {
        "SM_MODEL_DIR": str(tree.model),
        "SM_NUM_CPUS": str(environment.cpu_count()),
        "SM_NUM_GPUS": str(environment.gpu_count()),
        "SM_MODULE_NAME": script.stem if script else "",
    }.items():
        os.environ.setdefault(name, value)


def _log_to_stderr() -> None:
    # Not the root logger: the user's script may want to set that up itself.
    logger = logging.getLogger("loopwright")
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.handlers[:] = [shown]
    logger.propagate = False


def _limits(kind: Any) -> Any:
    return kind(
        body_bytes_max=int(_number("SAGEMAKER_MAX_PAYLOAD_IN_MB", 100) * 1024**2),
        timeout_s=_number("SAGEMAKER_MODEL_SERVER_TIMEOUT", 60),
        idle_s=_number("LOOPWRIGHT_IDLE_S", 600),
        stall_s=_number("LOOPWRIGHT_STALL_S", 60),
        drain_s=_number("LOOPWRIGHT_DRAIN_S", 30),
    )


def _number(name: str, default: float) -> float:
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise UnitFailure(f"{name} is {text!r}; it must be a number above 0.")
    return value


def _listen(text: str) -> Listen:
    kind, _, rest = text.partition(":")
    if not text:
        port = int(_number("SAGEMAKER_BIND_TO_PORT", 8080))
        return Listen(None, "0.0.0.0", port)
    if kind == "unix" and rest:
        return Listen(rest, "", 0)
    host, _, port_text = rest.rpartition(":")
    if kind == "tcp" and host and port_text.isdigit():
        return Listen(None, host.strip("[]"), int(port_text))
    raise UnitFailure(f"LOOPWRIGHT_LISTEN is {text!r}; it must be unix:PATH or tcp:HOST:PORT.")


def _bind(listen: Listen) -> socket.socket:
    try:
        if listen.path is not None:
            return _bind_path(listen.path)
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((listen.host, listen.port))
        return bound
    except OSError as error:
        address = listen.path or f"{listen.host}:{listen.port}"
        raise UnitFailure(f"The server cannot listen at {address}: {error}.") from error


def _bind_path(path: str) -> socket.socket:
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            # A server that died left it; a live one would have another path.
            os.unlink(path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(path)
    return bound
