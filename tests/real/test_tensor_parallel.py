"""`tensor_parallel_degree` through boto3: what several ranks train is what one trains."""

import json
from typing import Any

import pytest

from tests.real.test_distributed import PIPELINE
from tests.server import PYTORCH, Server, training_request

pytestmark = pytest.mark.real
SCRIPT = (
    PIPELINE.replace("smp.dp_", "smp.rdp_")
    .replace(
        "held = sum(p.numel() for p in model.module.parameters())",
        'held = sum(getattr(p, "_local_tensor", p).numel() for p in model.module.parameters())\n'
        "model.load_state_dict(state)\n"
        "assert all(v.equal(state[k]) for k, v in model.state_dict().items())",
    )
    .replace("smp.DistributedModel(Net())", "smp.DistributedModel(marked(Net()))")
    .replace(
        "smp.init()",
        """
def marked(net):
    import os
    if os.environ.get("ONLY"):
        smp.set_tensor_parallelism(getattr(net, os.environ["ONLY"]))
    return net

smp.init()""",
    )
)
WHOLE = 64 * 32 + 32 + 32 * 10 + 10


def _train(
    server: Server, name: str, hosts: int, per_host: int, only: str = "", **given: Any
) -> dict[str, Any]:
    source = server.put_source("tensors", {"train.py": SCRIPT})
    request = training_request(name, source, PYTORCH)
    request["HyperParameters"] |= {
        "mp_parameters": json.dumps({"microbatches": 2, **given}),
        "sagemaker_mpi_enabled": "true",
        "sagemaker_mpi_num_of_processes_per_host": str(per_host),
    }
    request["Environment"] = {"ONLY": only}
    request["ResourceConfig"]["InstanceCount"] = hosts
    server.client("sagemaker").create_training_job(**request)
    return server.trained(name, 200)


def _told(server: Server, name: str, word: str) -> list[str]:
    return [line.split()[-1] for line in server.log_of(name) if line.startswith(word)]


def test_layers_over_ranks_train_what_one_process_trains(server: Server) -> None:
    weights = {}
    runs = {"tensor-one": (1, 1, 1), "tensor-two": (2, 1, 2), "tensor-both": (2, 2, 2)}
    for name, (hosts, per_host, degree) in runs.items():
        given = {"tensor_parallel_degree": degree, "prescaled_batch": True}
        found = _train(server, name, hosts, per_host, **given)
        assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
        weights[name] = float(_told(server, name, "weights")[0])
        held = {int(count) for count in _told(server, name, "stage")}
        assert held == {WHOLE // degree}
    given = {"tensor_parallel_degree": 2, "prescaled_batch": True}
    assert _train(server, "tensor-only", 1, 2, "first", **given)["TrainingJobStatus"] == "Completed"
    weights["tensor-only"] = float(_told(server, "tensor-only", "weights")[0])
    assert set(_told(server, "tensor-only", "stage")) == {str(WHOLE - (64 * 32 + 32) // 2)}
    for name, value in weights.items():
        assert value == pytest.approx(weights["tensor-one"], rel=1e-4), name


REFUSED: dict[str, tuple[int, dict[str, Any], str]] = {
    "width": (3, {"tensor_parallel_degree": 3, "prescaled_batch": True}, "has a width of 32"),
    "rows": (2, {"tensor_parallel_degree": 2}, "set prescaled_batch to true"),
    "ranks": (1, {"tensor_parallel_degree": 2, "prescaled_batch": True}, "divide the 1 ranks"),
    "both": (
        2,
        {"tensor_parallel_degree": 2, "partitions": 2, "prescaled_batch": True},
        "neither with a pipeline nor with",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_split_is_refused_by_name(server: Server, case: str) -> None:
    processes, given, words = REFUSED[case]
    found = _train(server, f"no-tensor-{case}", 1, processes, **given)
    assert found["TrainingJobStatus"] == "Failed"
    assert words in found["FailureReason"]
