"""The training environment: the three files of input/config, and the SM_* variables made of them.

Names and formats are those of the public sagemaker-training toolkit (environment.py, mapping.py),
because scripts read them: strings as they are, None as "", anything else as compact JSON with
sorted keys.
"""

import glob
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.paths import Tree

Hyperparameters = dict[str, Any]

_OWN_PREFIX = "sagemaker_"
_OWN_NAMES = frozenset({"default_user_module_name", "_tuning_objective_metric"})
# These go by names of their own; what else begins with sagemaker_ concerns the framework.
_PLATFORM_NAMES = frozenset(
    {
        "sagemaker_program",
        "sagemaker_submit_directory",
        "sagemaker_enable_cloudwatch_metrics",
        "sagemaker_region",
        "sagemaker_container_log_level",
        "sagemaker_job_name",
        "sagemaker_s3_output",
        *_OWN_NAMES,
    }
)
_DISTRIBUTIONS = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_torch_distributed_enabled",
)
_FRAMEWORK_MODULES = {
    "sklearn": "sagemaker_sklearn_container.training:main",
    "xgboost": "sagemaker_xgboost_container.training:main",
    "pytorch": "sagemaker_pytorch_container.training:main",
}


@dataclass(frozen=True)
class Environment:
    """One snapshot of what the platform told this unit.

    Attributes:
        tree: The unit's folders.
        hyperparameters: All of them, decoded; also those meant for the platform.
        resources: resourceconfig.json.
        channels: inputdataconfig.json, by channel name.
    """

    tree: Tree
    hyperparameters: Hyperparameters
    resources: dict[str, Any]
    channels: dict[str, Any]

    @property
    def user_hyperparameters(self) -> Hyperparameters:
        """Those that the user's program gets as arguments."""
        return {name: value for name, value in self.hyperparameters.items() if not _own(name)}

    @property
    def framework_parameters(self) -> Hyperparameters:
        """The sagemaker_ ones that choose how the framework runs (distribution and such)."""
        return {
            name: value
            for name, value in self.hyperparameters.items()
            if _own(name) and name not in _PLATFORM_NAMES
        }

    @property
    def program(self) -> str | None:
        """The user's entry point, relative to the code folder."""
        named = os.environ.get("SAGEMAKER_PROGRAM") or self.hyperparameters.get("sagemaker_program")
        return None if named is None else str(named)

    @property
    def host(self) -> str:
        return str(self.resources["current_host"])

    @property
    def hosts(self) -> list[str]:
        return list(self.resources["hosts"])


def read(tree: Tree) -> Environment:
    """Read the configuration files; a missing one stands for its empty form.

    Raises:
        UnitFailure: a file is not JSON of the expected shape; names the file.
    """
    resources = _read_object(tree.config / "resourceconfig.json")
    resources.setdefault("current_host", "algo-1")
    resources.setdefault("hosts", [resources["current_host"]])
    raw = _read_object(tree.config / "hyperparameters.json")
    return Environment(
        tree=tree,
        hyperparameters={name: decode(value) for name, value in raw.items()},
        resources=resources,
        channels=_read_object(tree.config / "inputdataconfig.json"),
    )


def decode(value: Any) -> Any:
    """A hyperparameter's value: JSON where it is JSON, else the string itself.

    Framework estimators encode each value (`"\\"train.py\\""`, `"0.1"`), others do not.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def arguments(hyperparameters: Hyperparameters) -> list[str]:
    """The command line of a program: sorted by name, `--name value`, single letters `-x value`.

    None becomes an empty word, a mapping `a=1,b=2`, everything else its str() ("True").
    """
    words: list[str] = []
    for name in sorted(hyperparameters):
        words.append(f"--{name}" if len(name) > 1 else f"-{name}")
        words.append(_argument(hyperparameters[name]))
    return words


def variables(environment: Environment) -> dict[str, str]:
    """Every SM_* variable, and the few older names that the toolkit also sets."""
    facts = _facts(environment)
    values: dict[str, Any] = {
        **{name: facts[name] for name in _EXPORTED},
        "hps": environment.user_hyperparameters,
        "framework_params": environment.framework_parameters,
        "channels": sorted(environment.channels),
        "user_args": arguments(environment.user_hyperparameters),
        "training_env": facts,
        "master": facts["master_hostname"],
    }
    if facts["topology"]:
        values["topology"] = facts["topology"]
    values |= {
        f"channel_{name}": str(environment.tree.channel(name)) for name in environment.channels
    }
    values |= {f"hp_{name}": value for name, value in environment.user_hyperparameters.items()}
    shown = {f"SM_{name.upper()}": _text(value) for name, value in values.items()}
    region = environment.hyperparameters.get("sagemaker_region") or os.environ.get("AWS_REGION", "")
    return {
        **shown,
        "CURRENT_HOST": environment.host,
        "SAGEMAKER_JOB_NAME": _text(facts["job_name"]),
        "SAGEMAKER_REGION": _text(region),
    }


def cpu_count() -> int:
    """Processors this unit was given: LOOPWRIGHT_CPUS, else those it may be scheduled on."""
    given = os.environ.get("LOOPWRIGHT_CPUS")
    if given:
        # Half a processor still runs one thread.
        return max(1, int(float(given)))
    return len(os.sched_getaffinity(0))


def gpu_count() -> int:
    """GPUs visible to this unit: CUDA_VISIBLE_DEVICES where set, else the device files."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(glob.glob("/dev/nvidia[0-9]*"))
    return len([name for name in visible.split(",") if name.strip() and name.strip() != "-1"])


# The facts that have an SM_ variable of the same name.
_EXPORTED = (
    "hosts",
    "network_interface_name",
    "user_entry_point",
    "resource_config",
    "input_data_config",
    "output_data_dir",
    "current_host",
    "current_instance_type",
    "current_instance_group",
    "current_instance_group_hosts",
    "instance_groups",
    "instance_groups_dict",
    "distribution_instance_groups",
    "is_hetero",
    "module_name",
    "log_level",
    "framework_module",
    "input_dir",
    "input_config_dir",
    "output_dir",
    "num_cpus",
    "num_gpus",
    "num_neurons",
    "model_dir",
    "module_dir",
    "output_intermediate_dir",
    "job_name",
)


def _facts(environment: Environment) -> dict[str, Any]:
    """The content of SM_TRAINING_ENV."""
    tree, given = environment.tree, environment.hyperparameters
    program = environment.program
    return {
        **_cluster(environment),
        "additional_framework_parameters": environment.framework_parameters,
        "channel_input_dirs": {name: str(tree.channel(name)) for name in environment.channels},
        "framework_module": _framework_module(),
        "hyperparameters": environment.user_hyperparameters,
        "input_config_dir": str(tree.config),
        "input_data_config": environment.channels,
        "input_dir": str(tree.input),
        "is_modelparallel_enabled": bool(given.get("mp_parameters")),
        "is_smddpmprun_installed": False,
        "is_smddprun_installed": False,
        "job_name": os.environ.get("TRAINING_JOB_NAME") or given.get("sagemaker_job_name"),
        "log_level": given.get("sagemaker_container_log_level", logging.INFO),
        "model_dir": str(tree.model),
        "module_dir": str(given.get("sagemaker_submit_directory", tree.code)),
        "module_name": program.removesuffix(".py") if program else program,
        "num_cpus": cpu_count(),
        "num_gpus": gpu_count(),
        "num_neurons": int(os.environ.get("NEURON_RT_NUM_CORES", "0")),
        "output_data_dir": str(tree.output_files),
        "output_dir": str(tree.output),
        "output_intermediate_dir": str(tree.intermediate),
        "user_entry_point": program,
    }


def _cluster(environment: Environment) -> dict[str, Any]:
    resources = environment.resources
    groups: list[dict[str, Any]] = resources.get("instance_groups") or []
    group = resources.get("current_group_name", "homogeneousCluster")
    by_name = {found["instance_group_name"]: found for found in groups}
    parameters = environment.framework_parameters
    default = [group] if any(parameters.get(name) for name in _DISTRIBUTIONS) else []
    chosen = parameters.get("sagemaker_distribution_instance_groups", default)
    spread = [host for name in by_name if name in chosen for host in by_name[name]["hosts"]]
    distribution_hosts = spread if groups else environment.hosts
    master = (distribution_hosts or environment.hosts)[0]
    return {
        "current_host": environment.host,
        "current_instance_group": group,
        "current_instance_group_hosts": by_name.get(group, {}).get("hosts", []),
        "current_instance_type": resources.get("current_instance_type", "local"),
        "distribution_hosts": distribution_hosts,
        "distribution_instance_groups": chosen,
        "hosts": environment.hosts,
        "instance_groups": list(by_name),
        "instance_groups_dict": by_name,
        "is_hetero": len(by_name) > 1,
        "is_master": environment.host == master,
        "master_hostname": master,
        "network_interface_name": resources.get("network_interface_name", "eth0"),
        "resource_config": resources,
        "topology": resources.get("topology", []),
    }


def _framework_module() -> str | None:
    named = os.environ.get("SAGEMAKER_TRAINING_MODULE")
    return named or _FRAMEWORK_MODULES.get(os.environ.get("LOOPWRIGHT_RUNTIME", ""))


def _own(name: str) -> bool:
    return name.startswith(_OWN_PREFIX) or name in _OWN_NAMES


def _argument(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{name}={item}" for name, item in sorted(value.items()))
    return str(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UnitFailure(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(found, dict):
        raise UnitFailure(f"{path} must hold a JSON object, not {type(found).__name__}.")
    return found
