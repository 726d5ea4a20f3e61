"""The checkpoint library for scripts: a resumed run ends like one that was never interrupted."""

import importlib.util
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier

from loopwright.runtime.checkpoints import CheckpointError, Checkpoints
from tests.conftest import skip


def test_a_torch_run_resumes_as_if_nothing_had_happened(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        skip("torch is not installed: make torch")
    torch = pytest.importorskip("torch")

    def train(folder: Path, stop_at: int | None, total: int = 12) -> list[float]:
        torch.manual_seed(3)
        model = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 1)
        )
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
        checkpoints = Checkpoints(folder, keep=2)
        step = checkpoints.resume(model=model, optimizer=optimizer, scheduler=scheduler)
        while step < total:
            if step == stop_at:
                return []
            loss = model(torch.randn(16, 4)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
            checkpoints.save(step, model=model, optimizer=optimizer, scheduler=scheduler)
        return [float(p.detach().sum()) for p in model.parameters()]

    whole = train(tmp_path / "whole", None)
    for stop_at in (4, 9):
        train(tmp_path / "parts", stop_at)
    assert train(tmp_path / "parts", None) == whole
    kept = Checkpoints(tmp_path / "parts").newest()
    assert kept is not None
    assert (kept / "model.module.pt").exists()
    module = torch.load(kept / "model.module.pt", weights_only=False)
    assert [float(p.detach().sum()) for p in module.parameters()] == whole


def test_boosters_estimators_and_plain_state_come_back(tmp_path: Path) -> None:
    rows, labels = load_breast_cancer(return_X_y=True)
    data = xgboost.DMatrix(rows, labels)
    booster = xgboost.train({"objective": "binary:logistic", "seed": 1}, data, 3)
    linear = SGDClassifier(random_state=1).partial_fit(rows, labels, classes=[0, 1])
    state = {"seen": [1, 2], "mean": np.arange(3.0)}
    saved = Checkpoints(tmp_path, config={"rate": 0.1})
    random.seed(5)
    np.random.seed(5)
    saved.save(7, {"loss": 0.5}, booster=booster, linear=linear, state=state, words=("a", "b"))
    drawn = (random.random(), np.random.rand())
    fresh_booster, fresh_linear, fresh_state = xgboost.Booster(), SGDClassifier(), {}  # type: ignore[var-annotated]
    again = Checkpoints(tmp_path)
    step = again.resume(booster=fresh_booster, linear=fresh_linear, state=fresh_state, words=())
    assert step == 7
    assert (random.random(), np.random.rand()) == drawn
    assert np.array_equal(fresh_booster.predict(data), booster.predict(data))
    assert np.array_equal(fresh_linear.predict(rows), linear.predict(rows))
    assert fresh_state["seen"] == [1, 2]
    assert again.resumed.parts["words"] == ("a", "b")
    assert again.resumed.config == {"rate": 0.1}
    assert again.resumed.metrics == {"loss": 0.5}


def test_the_last_and_the_best_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2, best="loss")
    for step, loss in enumerate([0.9, 0.2, 0.5, 0.6, 0.7], 1):
        checkpoints.save(step, {"loss": loss}, state={"step": step})
    names = [path.name for path in checkpoints.all()]
    assert names == ["step-00000002", "step-00000004", "step-00000005"]


def test_a_part_of_a_checkpoint_and_junk_are_passed_over(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, state={"step": step})
    newest = tmp_path / "step-00000002"
    (newest / "state.pkl").write_bytes((newest / "state.pkl").read_bytes()[:-1])
    (tmp_path / "junk.txt").write_text("junk")
    (tmp_path / "step-abc").mkdir()
    (tmp_path / "step-00000009").mkdir()
    state: dict[str, Any] = {}
    assert Checkpoints(tmp_path).resume(state=state) == 1
    assert state == {"step": 1}


def test_steps_and_seconds_say_when(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, every_steps=3, keep=9)
    written = [step for step in range(1, 10) if checkpoints.save(step, state=step) is not None]
    assert written == [3, 6, 9]
    assert checkpoints.save(10, state=10) is None
    assert checkpoints.save(10, force=True, state=10) is not None
    slow = Checkpoints(tmp_path / "slow", every_s=3600)
    assert slow.save(1, state=1) is None


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="is a file"):
        Checkpoints(tmp_path / "file")
    checkpoints = Checkpoints(tmp_path / "ck")
    checkpoints.save(1, state=1)
    with pytest.raises(CheckpointError, match="no part 'other'"):
        checkpoints.resume(other=1)
    with pytest.raises(CheckpointError, match="step 2 failed"):
        checkpoints.save(2, state=lambda: None)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def test_only_the_first_rank_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert Checkpoints(tmp_path).save(1, state=1) is None
    assert not list(tmp_path.iterdir())
