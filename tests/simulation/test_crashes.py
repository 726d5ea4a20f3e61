"""A crash at every effect of the scenarios, then random histories; planted faults are caught."""

import multiprocessing
import os
import random
import secrets
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from loopwright.compute.simulated import Script, SimulatedBackend
from loopwright.kernel.actions import Start
from loopwright.testing.simulation import Effects
from tests.simulation.scenarios import (
    SCENARIOS,
    _state,
    check_invariants,
    kinds,
    run,
    train,
    training_request,
    world,
)

HISTORIES = 1000
LONG = ("train_many", "tune_random", "tune_hyperband")
SHORT = [name for name in SCENARIOS if name not in LONG]
MEMORY_DISK = Path("/dev/shm")


@pytest.fixture
def folder() -> Iterator[Path]:
    parent = MEMORY_DISK if MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


def _fresh(folder: Path, name: object) -> Path:
    path = folder / str(name)
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    """A process a core: a history is all computing, and none knows of another."""
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("fork")) as pool:
        yield pool


def _crash_at(name: str, when: str, folder: Path, number: int) -> tuple[int, Any]:
    """How many crashes there were, and the final state."""
    crashing = Effects(**{when: frozenset({number})})
    got = run(name, _fresh(folder, number), crashing)
    return crashing.crashes, got.final


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("when", ["crash_before", "crash_after"])
def test_a_crash_at_any_effect_changes_nothing(
    name: str, when: str, folder: Path, workers: ProcessPoolExecutor
) -> None:
    effects = Effects()
    wanted = run(name, _fresh(folder, "calm"), effects).final
    # Many jobs have many effects: every other one crashes before it, the rest after it.
    every = 2 if name in LONG or name.startswith("tune_") else 1
    first = int(when == "crash_after") if every > 1 else 0
    numbers = range(first, effects.count, every)
    crash = partial(_crash_at, name, when, folder)
    for number, (crashes, final) in zip(numbers, workers.map(crash, numbers), strict=True):
        assert crashes == 1, f"{when} {number}"
        assert final == wanted, f"{when} {number}"


def _history(folder: Path, seed: int) -> int:
    """One random history; how many crashes it had."""
    chooser = random.Random(seed)
    effects = Effects(chance=chooser.choice([0.02, 0.1, 0.25]), seed=seed)
    name = chooser.choice(SHORT) if seed % 16 else LONG[seed // 16 % len(LONG)]
    try:
        run(name, _fresh(folder, seed), effects)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, scenario {name}: {error}") from error
    return effects.crashes


@pytest.mark.parametrize("block", range(10))
def test_random_histories_break_no_invariant(
    block: int, folder: Path, workers: ProcessPoolExecutor
) -> None:
    seeds = range(block * HISTORIES // 10, (block + 1) * HISTORIES // 10)
    assert sum(workers.map(partial(_history, folder), seeds)) > 0


def test_a_lost_unit_is_reported_and_not_started_again(folder: Path) -> None:
    simulated = world(folder, Effects())
    simulated.call("CreateTrainingJob", **training_request("job"))
    simulated.run_until(lambda: bool(simulated.backend.running()))
    simulated.backend.kill_shim(simulated.backend.running()[0])
    simulated.run_until(lambda: _state(simulated, "TrainingJob", "job") == "Failed")
    record = simulated.record("TrainingJob", "job")
    assert record is not None
    assert "InternalServerError" in record.status["FailureReason"]
    check_invariants(simulated)


def test_a_failing_unit_fails_its_job_with_its_own_words(folder: Path) -> None:
    simulated = world(folder, Effects())
    simulated.backend.script_of = lambda unit_id, program: Script(5.0, 1, "ValueError: bad data")
    simulated.call("CreateTrainingJob", **training_request("job"))
    simulated.run_until(lambda: _state(simulated, "TrainingJob", "job") == "Failed")
    record = simulated.record("TrainingJob", "job")
    assert record is not None
    assert record.status["FailureReason"] == ("AlgorithmError: ValueError: bad data, exit code: 1")


def test_a_job_over_its_time_is_stopped(folder: Path) -> None:
    simulated = world(folder, Effects())
    simulated.backend.script_of = lambda unit_id, program: Script(None)
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 30}}
    simulated.call("CreateTrainingJob", **training_request("job", **limit))
    simulated.run_until(lambda: _state(simulated, "TrainingJob", "job") == "Stopped")
    record = simulated.record("TrainingJob", "job")
    assert record is not None
    assert record.status["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert 30 <= record.status["TrainingTimeInSeconds"] <= 40


def test_a_random_unit_id_is_caught(folder: Path) -> None:
    """A planted fault: a planner that makes up ids starts a job twice after a crash."""
    made = kinds()
    honest = made[0].planner
    assert honest is not None

    def forgetful(record: Any, view: Any, now: float) -> Any:
        actions = honest(record, view, now)
        return [
            replace(action, unit_id=f"{record.key}#{secrets.token_hex(4)}.0", gang="")
            if isinstance(action, Start)
            else action
            for action in actions
        ]

    made[0] = replace(made[0], planner=forgetful)
    simulated = world(folder, Effects(), made)
    simulated.call("CreateTrainingJob", **training_request("job"))
    for _ in range(30):
        simulated.step()
    with pytest.raises(AssertionError, match="more than once"):
        check_invariants(simulated)


class _Careless(SimulatedBackend):
    """A planted fault: starting the same id twice starts it twice."""

    def start(self, unit_id: str, program: Any) -> None:
        self._units.pop(unit_id, None)
        super().start(unit_id, program)

    def observe(self, unit_id: str, program: Any) -> Any:
        seen = super().observe(unit_id, program)
        return None if seen is not None and self.starts.count(unit_id) == 1 else seen


def test_a_start_that_is_not_idempotent_is_caught(folder: Path) -> None:
    simulated = world(folder, Effects())
    simulated.backend = _Careless(simulated.clock)
    simulated.crashing_backend._backend = simulated.backend
    train(simulated)
    with pytest.raises(AssertionError, match="started twice"):
        check_invariants(simulated)
