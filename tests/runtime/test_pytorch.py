"""PyTorch's defaults. Skipped, with the reason, where PyTorch is not installed."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("torch_installed")

SAVE = """
import os, sys, torch
torch.manual_seed(0)
model = torch.nn.Linear(3, 2)
folder = os.environ["SM_MODEL_DIR"]
print(model(torch.tensor([[1.0, 2.0, 3.0]])).tolist())
"""
SCRIPTED = SAVE + "torch.jit.script(model).save(os.path.join(folder, 'model.pt'))\n"
WHOLE = SAVE + "torch.save(model, os.path.join(folder, 'model.pth'))\n"
STATE = SAVE + "torch.save(model.state_dict(), os.path.join(folder, 'model.pth'))\n"


def train(unit, script):
    unit.configure({"sagemaker_program": "train.py"})
    archive = unit.bundle({"train.py": script})
    done = unit.run("train", LOOPWRIGHT_SOURCE=str(archive), LOOPWRIGHT_RUNTIME="pytorch")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("script", [SCRIPTED, WHOLE], ids=["torchscript", "whole module"])
def test_the_default_hooks_work_on_tensors(unit, script):
    expected = train(unit, script)
    server = unit.serve(LOOPWRIGHT_RUNTIME="pytorch")
    assert server.post(b"[[1, 2, 3]]").json == expected
    reply = server.post(b"1,2,3", "text/csv", accept="text/csv")
    assert [float(value) for value in reply.body.decode().split(",")] == expected[0]


def test_a_state_dict_needs_a_model_fn(unit):
    train(unit, STATE)
    server = unit.start_server(LOOPWRIGHT_RUNTIME="pytorch")
    assert server.process.wait(60) == 1
    assert "a state_dict needs its class" in unit.failure()


def test_no_model_at_all(unit):
    (unit.base / "model").mkdir()
    server = unit.start_server(LOOPWRIGHT_RUNTIME="pytorch")
    assert server.process.wait(60) == 1
    assert "neither model.pt nor model.pth" in unit.failure()
