"""Tuning jobs through boto3 against a running server."""

import random
import signal
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.real.tuning import (
    EPOCHS,
    METRICS,
    ONE_RANGE,
    QUICK,
    RANGES,
    config,
    create,
    definition,
    ended,
    trials,
    tune,
)
from tests.server import BUCKET, Server, await_that

pytestmark = pytest.mark.real
FAILING = QUICK.replace(
    'print(f"loss', 'assert arguments.rate < 0.6, "rate is too high"\nprint(f"loss'
)


def _value(trial: dict[str, Any]) -> float:
    return float(trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])


def test_random_search_is_told_whole_and_its_best_is_what_its_log_says(server: Server) -> None:
    found = tune(server, "whole", config("Random", 6), Tags=[{"Key": "team", "Value": "blue"}])
    assert found["HyperParameterTuningJobStatus"] == "Completed", found.get("FailureReason")
    assert found["TrainingJobStatusCounters"]["Completed"] == 6
    assert found["ObjectiveStatusCounters"] == {"Succeeded": 6, "Pending": 0, "Failed": 0}
    assert found["TrainingJobDefinition"]["StaticHyperParameters"]["_tuning_objective_metric"]
    assert found["HyperParameterTuningEndTime"] >= found["CreationTime"]
    ranked = trials(server, "whole", SortBy="FinalObjectiveMetricValue")
    assert len(ranked) == 6
    assert [_value(t) for t in ranked] == sorted(_value(t) for t in ranked)
    best = found["BestTrainingJob"]
    assert best["TrainingJobName"] == ranked[0]["TrainingJobName"]
    assert best["TrainingJobName"].startswith("whole-")
    log = server.log_of(best["TrainingJobName"])
    assert f"loss={_value(best):.6f}" in log
    job = server.client("sagemaker").describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert job["TuningJobArn"] == found["HyperParameterTuningJobArn"]
    assert job["HyperParameters"]["rate"] == best["TunedHyperParameters"]["rate"]
    tags = server.client("sagemaker").list_tags(ResourceArn=found["HyperParameterTuningJobArn"])
    assert tags["Tags"] == [{"Key": "team", "Value": "blue"}]
    report = server.client("s3").get_object(Bucket=BUCKET, Key="tuning/whole/report.html")
    page = report["Body"].read().decode()
    assert best["TrainingJobName"] in page
    assert "best so far" in page


def test_the_same_seed_gives_the_same_trials(server: Server) -> None:
    points = []
    for name in ("seed-a", "seed-b"):
        tune(server, name, config("Bayesian", 8, parallel=1))
        points.append([t["TunedHyperParameters"] for t in trials(server, name)])
    assert points[0] == points[1]
    assert len({str(point) for point in points[0]}) == 8


def test_a_grid_tries_every_point_once(server: Server) -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": "kind", "Values": ["a", "b"]},
            {"Name": "depth", "Values": ["3", "4", "5"]},
        ]
    }
    found = tune(server, "grid", config("Grid", None, ParameterRanges=ranges))
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    points = [tuple(sorted(t["TunedHyperParameters"].items())) for t in trials(server, "grid")]
    assert len(points) == len(set(points)) == 6
    assert found["BestTrainingJob"]["TunedHyperParameters"] == {"kind": "b", "depth": "4"}


def test_hyperband_pauses_trials_and_lets_the_best_go_on(server: Server) -> None:
    strategy = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 27}}
    made = config("Hyperband", 9, 1, ParameterRanges=ONE_RANGE, StrategyConfig=strategy)
    request = definition(
        server,
        EPOCHS,
        static={"pause": "0.1", "linger": "10"},
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/paused"},
    )
    found = tune(server, "paused", made, TrainingJobDefinition=request)
    assert found["HyperParameterTuningJobStatus"] == "Completed", found.get("FailureReason")
    names = [trial["TrainingJobName"] for trial in trials(server, "paused")]
    epochs = {
        name: [line for line in server.log_of(name) if line.startswith("epoch")] for name in names
    }
    assert sum(map(len, epochs.values())) < 0.7 * 9 * 27
    best = found["BestTrainingJob"]["TrainingJobName"]
    seen = [int(line.split()[1].rstrip(":")) for line in epochs[best]]
    assert seen[-1] == 27
    steps = {name: _steps(server, name) for name in names}
    gone_on = [name for name in names if "Restarting" in steps[name]]
    assert gone_on, steps
    for name in gone_on:
        numbers = [int(line.split()[1].rstrip(":")) for line in epochs[name]]
        # What was computed between the last checkpoint and the pause may be computed again.
        assert len(numbers) - len(set(numbers)) <= 3 * steps[name].count("Restarting"), name


def test_hyperband_without_checkpoints_stops_trials_at_the_rungs(server: Server) -> None:
    strategy = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 27}}
    made = config("Hyperband", 9, 2, ParameterRanges=ONE_RANGE, StrategyConfig=strategy)
    found = tune(server, "rungs", made, TrainingJobDefinition=definition(server, EPOCHS))
    stopped = trials(server, "rungs", StatusEquals="Stopped")
    assert found["TrainingJobStatusCounters"]["Stopped"] == len(stopped) > 0
    assert all("FinalHyperParameterTuningJobObjectiveMetric" in trial for trial in stopped)
    job = server.client("sagemaker").describe_training_job(
        TrainingJobName=stopped[0]["TrainingJobName"]
    )
    assert "go on" in job["SecondaryStatusTransitions"][-1]["StatusMessage"]


def _steps(server: Server, job: str) -> list[str]:
    found = server.client("sagemaker").describe_training_job(TrainingJobName=job)
    return [step["Status"] for step in found["SecondaryStatusTransitions"]]


def test_the_median_rule_stops_a_bad_trial_and_keeps_its_best(server: Server) -> None:
    rates = ["0.3", "0.31", "0.32", "0.33", "0.99", "0.98"]
    ranges = {"CategoricalParameterRanges": [{"Name": "rate", "Values": rates}]}
    made = config("Grid", None, 1, ParameterRanges=ranges, TrainingJobEarlyStoppingType="Auto")
    request = definition(server, EPOCHS, static={"pause": "0.1", "epochs": "15", "linger": "10"})
    tune(server, "median", made, TrainingJobDefinition=request)
    found = {t["TunedHyperParameters"]["rate"]: t for t in trials(server, "median")}
    assert [found[rate]["TrainingJobStatus"] for rate in rates[:4]] == ["Completed"] * 4
    late = found["0.99"]
    assert late["TrainingJobStatus"] == "Stopped"
    assert 0.4761 < _value(late) < 1.5
    transitions = server.client("sagemaker").describe_training_job(
        TrainingJobName=late["TrainingJobName"]
    )["SecondaryStatusTransitions"]
    assert "median" in transitions[-1]["StatusMessage"]


def test_warm_start_reaches_the_parents_best_at_once(server: Server) -> None:
    parent = tune(server, "parent", config("Bayesian", 14, parallel=1))
    warm = {
        "WarmStartType": "IdenticalDataAndAlgorithm",
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
    }
    algorithm = definition(server, QUICK)
    # The SDK's copies of a tuner lose their metric definitions.
    del algorithm["AlgorithmSpecification"]["MetricDefinitions"]
    child = tune(
        server,
        "child",
        config("Bayesian", 5, parallel=1, RandomSeed=8),
        TrainingJobDefinition=algorithm,
        WarmStartConfig=warm,
    )
    assert child["HyperParameterTuningJobStatus"] == "Completed", child.get("FailureReason")
    first = trials(server, "child")[0]
    assert _value(first) <= _value(parent["BestTrainingJob"])
    overall = child["OverallBestTrainingJob"]
    assert _value(overall) <= _value(parent["BestTrainingJob"])
    other = {**warm, "WarmStartType": "TransferLearning"}
    moved = tune(server, "moved", config("Bayesian", 2, 1), WarmStartConfig=other)
    assert "OverallBestTrainingJob" not in moved


@pytest.mark.parametrize(
    ("name", "criteria", "word"),
    [
        ("target", {"TargetObjectiveMetricValue": 2.0}, ""),
        ("stale", {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}, "not"),
        ("converged", {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}, "converged"),
    ],
)
def test_completion_criteria_end_the_job(
    server: Server, name: str, criteria: dict[str, Any], word: str
) -> None:
    made = config("Bayesian", 60, 1, TuningJobCompletionCriteria=criteria)
    if name == "converged":
        made["ParameterRanges"] = {
            "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b", "c"]}]
        }
    found = tune(server, f"until-{name}", made)
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    assert 0 < found["TrainingJobStatusCounters"]["Completed"] < 60
    details = found.get("TuningJobCompletionDetails", {})
    if name == "stale":
        assert details["NumberOfTrainingJobsObjectiveNotImproving"] >= 3
    if name == "converged":
        assert details["ConvergenceDetectedTime"] >= found["CreationTime"]


def test_trials_that_fail_do_not_end_the_job(server: Server) -> None:
    request = definition(server, FAILING)
    found = tune(server, "some-fail", config("Random", 8), TrainingJobDefinition=request)
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    counts = found["TrainingJobStatusCounters"]
    assert counts["NonRetryableError"] > 0
    assert counts["Completed"] + counts["NonRetryableError"] == 8
    failed = trials(server, "some-fail", StatusEquals="Failed")
    assert "rate is too high" in failed[0]["FailureReason"]


def test_trials_that_all_fail_end_it_with_their_reason(server: Server) -> None:
    request = definition(server, "raise ValueError('no such thing')")
    found = tune(server, "all-fail", config("Random", 50), TrainingJobDefinition=request)
    assert found["HyperParameterTuningJobStatus"] == "Failed"
    assert "no such thing" in found["FailureReason"]
    assert found["TrainingJobStatusCounters"]["NonRetryableError"] < 50


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("nan", QUICK.replace("{loss:.6f}", "{float('nan')}")),
        ("silent", QUICK.replace("loss={", "lost={")),
    ],
)
def test_a_metric_that_never_comes_is_named(server: Server, name: str, script: str) -> None:
    request = definition(server, script)
    found = tune(server, f"metric-{name}", config("Bayesian", 30), TrainingJobDefinition=request)
    assert found["HyperParameterTuningJobStatus"] == "Failed"
    assert "No objective metrics found" in found["FailureReason"]
    assert found["ObjectiveStatusCounters"]["Failed"] >= 5


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_a_space_of_one_point_works(server: Server, strategy: str) -> None:
    ranges = {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0.3", "MaxValue": "0.3"}]}
    name = f"one-{strategy.lower()}"
    found = tune(server, name, config(strategy, 2, ParameterRanges=ranges))
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    assert found["TrainingJobStatusCounters"]["Completed"] == 2


def test_stop_ends_the_trials_too(server: Server) -> None:
    request = definition(server, EPOCHS, static={"pause": "1"})
    made = config("Random", 6, ParameterRanges=ONE_RANGE)
    create(server, "halted", made, TrainingJobDefinition=request)

    def running() -> bool | None:
        return bool(trials(server, "halted", StatusEquals="InProgress")) or None

    await_that(running, "a trial")
    server.client("sagemaker").stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="halted")
    found = ended(server, "halted")
    assert found["HyperParameterTuningJobStatus"] == "Stopped"
    assert {t["TrainingJobStatus"] for t in trials(server, "halted")} == {"Stopped"}
    client = server.client("sagemaker")
    client.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="halted")
    with pytest.raises(ClientError, match="halted"):
        client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="halted")


def test_several_definitions_share_the_budget(server: Server) -> None:
    objective = {"Type": "Minimize", "MetricName": "loss"}
    several = [
        {
            **definition(server, QUICK, static={"kind": kind}),
            "DefinitionName": f"kind-{kind}",
            "TuningObjective": objective,
            "HyperParameterRanges": ONE_RANGE,
        }
        for kind in ("a", "b")
    ]
    made = {
        "Strategy": "Bayesian",
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 1},
    }
    server.client("sagemaker").create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="several",
        HyperParameterTuningJobConfig=made,
        TrainingJobDefinitions=several,
    )
    found = ended(server, "several")
    assert found["HyperParameterTuningJobStatus"] == "Completed", found.get("FailureReason")
    assert found["BestTrainingJob"]["TrainingJobDefinitionName"] == "kind-b"
    names = [t["TrainingJobDefinitionName"] for t in trials(server, "several")]
    assert len(names) == 6
    assert set(names) == {"kind-a", "kind-b"}


def test_autotune_chooses_ranges_from_hints(server: Server) -> None:
    given = {"rate": "0.2", "depth": "4"}
    hints = [{"Name": name, "ValueHint": hint} for name, hint in given.items()]
    made = {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"AutoParameters": hints},
    }
    found = tune(server, "auto", made, Autotune={"Mode": "Enabled"})
    assert found["HyperParameterTuningJobStatus"] == "Completed", found.get("FailureReason")
    for trial in trials(server, "auto"):
        assert 0.02 <= float(trial["TunedHyperParameters"]["rate"]) <= 0.6
        assert 1 <= int(trial["TunedHyperParameters"]["depth"]) <= 16


def test_the_users_own_strategy_decides(server: Server) -> None:
    strategy = server.put(
        "strategies/steps.py",
        "def suggest(space, history, rng):\n"
        "    if len(history) == 3:\n"
        "        return None\n"
        "    return {'rate': len(history) / 10}\n",
    )
    tags = [{"Key": "loopwright:strategy", "Value": strategy}]
    made = config("Random", 10, 1, ParameterRanges=ONE_RANGE)
    found = tune(server, "own", made, Tags=tags)
    assert found["HyperParameterTuningJobStatus"] == "Completed", found.get("FailureReason")
    points = [t["TunedHyperParameters"]["rate"] for t in trials(server, "own")]
    assert points == ["0.0", "0.1", "0.2"]
    broken = server.put("strategies/broken.py", "def suggest(a, b, c):\n    return {'rate': 9}\n")
    tags = [{"Key": "loopwright:strategy", "Value": broken}]
    found = tune(server, "own-broken", made, Tags=tags)
    assert found["HyperParameterTuningJobStatus"] == "Failed"
    assert "outside the space" in found["FailureReason"]


def test_a_hundred_parallel_trials_queue(server: Server) -> None:
    made = config("Random", 30, 100)
    found = tune(server, "crowd", made)
    assert found["TrainingJobStatusCounters"]["Completed"] == 30


def test_kills_at_random_instants_lose_and_repeat_no_trial(own_server: Server) -> None:
    create(own_server, "killed", config("Bayesian", 50, 4))
    chooser = random.Random(5)
    for _ in range(4):
        time.sleep(chooser.uniform(0.3, 3))  # The instant of the kill is what is tried.
        assert own_server.process is not None
        own_server.process.send_signal(signal.SIGKILL)
        own_server.process.wait(10)
        own_server.start()
    found = ended(own_server, "killed")
    assert found["TrainingJobStatusCounters"]["Completed"] == 50, found
    made = trials(own_server, "killed")
    assert len({t["TrainingJobName"] for t in made}) == 50
    numbers = sorted(int(t["TrainingJobName"].split("-")[1]) for t in made)
    assert numbers == list(range(1, 51))
    for trial in made:
        lines = [line for line in own_server.log_of(trial["TrainingJobName"]) if "loss=" in line]
        assert len(lines) == 1, trial["TrainingJobName"]


def _refused(server: Server, made: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ClientError) as refusal:
        create(server, "refused", made, **more)
    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    return str(refusal.value.response["Error"]["Message"])


def _range(**more: str) -> dict[str, Any]:
    entry = {"Name": "rate", "MinValue": "0", "MaxValue": "1", **more}
    return {"ContinuousParameterRanges": [entry]}


def test_bad_requests_are_refused_by_name(server: Server) -> None:
    def with_ranges(ranges: dict[str, Any]) -> dict[str, Any]:
        return config("Random", 3, ParameterRanges=ranges)

    assert "above its MaxValue" in _refused(server, with_ranges(_range(MinValue="2")))
    assert "must be a number" in _refused(server, with_ranges(_range(MinValue="low")))
    assert "above 0" in _refused(server, with_ranges(_range(ScalingType="Logarithmic")))
    assert "0 <= x < 1" in _refused(server, with_ranges(_range(ScalingType="ReverseLogarithmic")))
    assert "categorical" in _refused(server, config("Grid", 3))
    assert "no parameter" in _refused(server, with_ranges({}))
    assert "Hyperband" in _refused(server, config("Hyperband", 3))
    hyperband = config("Hyperband", 3, TrainingJobEarlyStoppingType="Auto")
    hyperband["StrategyConfig"] = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}}
    assert "Off" in _refused(server, hyperband)
    assert "MaxNumberOfTrainingJobs" in _refused(server, config("Random", None))
    static = definition(server, QUICK, static={"rate": "1"})
    assert "both static" in _refused(server, config("Random", 3), TrainingJobDefinition=static)
    other = definition(server, QUICK)
    other["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "acc", "Regex": "acc=(.*)"}]
    assert "'loss'" in _refused(server, config("Random", 3), TrainingJobDefinition=other)
    bare = definition(server, QUICK)
    bare["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss"}]
    assert "parentheses" in _refused(server, config("Random", 3), TrainingJobDefinition=bare)
    unknown = definition(server, QUICK)
    unknown["AlgorithmSpecification"]["TrainingImage"] = "mine:1"
    assert "mine" in _refused(server, config("Random", 3), TrainingJobDefinition=unknown)


def test_warm_starts_that_cannot_be_are_refused(server: Server) -> None:
    def warm(name: str, kind: str = "IdenticalDataAndAlgorithm") -> dict[str, Any]:
        parents = [{"HyperParameterTuningJobName": name}]
        return {"WarmStartType": kind, "ParentHyperParameterTuningJobs": parents}

    made = config("Random", 1)
    assert "no tuning job" in _refused(server, made, WarmStartConfig=warm("nobody"))
    tune(server, "warm-parent", made)
    other = config("Random", 1)
    other["HyperParameterTuningJobObjective"] = {"Type": "Maximize", "MetricName": "loss"}
    assert "objective" in _refused(server, other, WarmStartConfig=warm("warm-parent"))
    fewer = config("Random", 1, ParameterRanges=ONE_RANGE)
    assert "hyperparameters" in _refused(server, fewer, WarmStartConfig=warm("warm-parent"))
    typed = config("Random", 1)
    typed["ParameterRanges"] = {
        **RANGES,
        "IntegerParameterRanges": [],
        "ContinuousParameterRanges": [
            *RANGES["ContinuousParameterRanges"],
            {"Name": "depth", "MinValue": "1", "MaxValue": "9"},
        ],
    }
    assert "type" in _refused(server, typed, WarmStartConfig=warm("warm-parent"))
    data = definition(server, QUICK)
    data["InputDataConfig"] = [
        {
            "ChannelName": "train",
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/code/"}
            },
        }
    ]
    text = _refused(server, made, TrainingJobDefinition=data, WarmStartConfig=warm("warm-parent"))
    assert "TransferLearning" in text


def test_lists_filter_and_page(server: Server) -> None:
    tune(server, "paged", config("Random", 5))
    client = server.client("sagemaker")
    page = client.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="paged", MaxResults=2
    )
    assert len(page["TrainingJobSummaries"]) == 2
    assert len(trials(server, "paged", PaginationConfig={"PageSize": 2})) == 5
    names = [t["TrainingJobName"] for t in trials(server, "paged", SortOrder="Descending")]
    assert names == sorted(names, reverse=True)
    found = client.list_hyper_parameter_tuning_jobs(NameContains="paged")
    (listed,) = found["HyperParameterTuningJobSummaries"]
    assert listed["Strategy"] == "Random"
    assert listed["ObjectiveStatusCounters"]["Succeeded"] == 5
    assert METRICS[0]["Name"] == "loss"
