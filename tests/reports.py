"""What reports are made of, without a server: a tuning job, an experiment, a bandit."""

import math
import random
from collections.abc import Sequence
from typing import Any

from loopwright.contract.trials import CURVE, STOP_REASON, TRIAL
from loopwright.hosting.experiments import state as experiment
from loopwright.kernel.records import Record
from loopwright.tuning.definitions import Definition, definitions
from loopwright.tuning.report import Figures
from loopwright.tuning.trials import outcomes

START = 1_764_500_000.0
RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "learning_rate", "MinValue": "1e-4", "MaxValue": "0.1",
         "ScalingType": "Logarithmic"},
        {"Name": "dropout", "MinValue": "0", "MaxValue": "0.5"},
    ],
    "IntegerParameterRanges": [{"Name": "layers", "MinValue": "1", "MaxValue": "8"}],
    "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["adam", "sgd", "<b>lion"]}],
}  # fmt: skip
LONG = "AlgorithmError: ExecuteUserScriptError: ExitCode 1, ErrorMessage: " + "out of memory; " * 40


def _record(kind: str, name: str, spec: dict[str, Any], status: dict[str, Any]) -> Record:
    arn = f"arn:aws:sagemaker:us-east-1:1:{kind}/{name}"
    return Record("us-east-1", kind, name, f"uid-{name}", arn, spec, status, START, START)


def definition(name: str = "") -> dict[str, Any]:
    """A training definition of a request."""
    found: dict[str, Any] = {
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "StaticHyperParameters": {"epochs": "40", "sagemaker_program": '"train.py"'},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/tuning"},
    }
    if name:
        found |= {
            "DefinitionName": name,
            "TuningObjective": {"Type": "Maximize", "MetricName": "validation:auc"},
            "HyperParameterRanges": RANGES,
        }
    return found


def tuning(count: int, names: Sequence[str] = ("",), **config: Any) -> Figures:
    """A tuning job of `count` trials, each with a curve of as many reports as are ever kept."""
    spec: dict[str, Any] = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": count, "MaxParallelTrainingJobs": 4},
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize",
                "MetricName": "validation:auc",
            },
            "ParameterRanges": RANGES,
            "TrainingJobEarlyStoppingType": "Auto",
            "RandomSeed": 7,
            **config,
        },
        "WarmStartConfig": {
            "WarmStartType": "TransferLearning",
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "earlier"}],
        },
    }
    if list(names) == [""]:
        spec["TrainingJobDefinition"] = definition()
    else:
        spec["TrainingJobDefinitions"] = [definition(name) for name in names]
    made = definitions(spec)
    jobs = [_trial(index, made[index % len(made)]) for index in range(count)]
    return Figures(
        _record("HyperParameterTuningJob", "churn", spec, {}), made, outcomes(jobs, made)
    )


def _trial(index: int, made: Definition) -> Record:
    draws = random.Random(index)
    point = {p.name: p.from_unit(draws.random()) for p in made.parameters}
    top = 0.9 - 0.05 * (math.log10(float(point["learning_rate"])) + 2.5) ** 2
    curve = [[step, top * (1 - math.exp(-step / 20)) + draws.gauss(0, 0.004)]
             for step in range(1, 130)]  # fmt: skip
    name = f"churn-{index + 1:03d}-{draws.getrandbits(32):08x}"
    status: dict[str, Any] = {
        "TrainingJobStatus": "Completed",
        "TrainingStartTime": START + 60 * index,
        "TrainingEndTime": START + 60 * index + draws.randint(50, 5000),
        "TrainingTimeInSeconds": draws.randint(5, 5000),
        "FinalMetricDataList": [{"MetricName": made.metric, "Value": curve[-1][1]}],
        CURVE: curve,
    }
    if index % 10 == 3:
        status |= {"TrainingJobStatus": "Failed", "FailureReason": LONG}
    elif index % 10 == 7:
        reason = "No better than the median of the completed trials at step 40"
        status |= {"TrainingJobStatus": "Stopped", STOP_REASON: reason, CURVE: curve[:40]}
    trial = {"index": index, "number": index, "definition": made.name, "point": point,
             "maximize": made.maximize, "rungs": [], "target": None}  # fmt: skip
    return _record("TrainingJob", name, {TRIAL: trial}, status)


def online(rates: dict[str, float], count: int, seed: int = 1, **spec: Any) -> dict[str, Any]:
    """What `DescribeOnlineExperiment` answers after `count` requests with outcomes.

    Args:
        rates: Of outcomes that are 1, by variant; the first is the control.
        spec: More of the request.
    """
    names = list(rates)
    given = {
        "OnlineExperimentName": "checkout", "EndpointName": "ranker",
        "ControlVariantName": names[0], "TreatmentVariantNames": names[1:], **spec,
    }  # fmt: skip
    setting = experiment.setting_of(given)
    state, draws = experiment.empty_state(setting), random.Random(seed)
    chances = dict.fromkeys(names, 1 / len(names))
    for _ in range(count):
        name = draws.choice(names)
        experiment.observe(setting, state, name, chances, 200, draws.uniform(4000, 9000))
        value = float(draws.random() < rates[name])
        experiment.reward(setting, state, name, chances, value)
    effects = [
        {"Outcomes": int(at), "VariantName": setting.treatments[int(index)], "Effect": effect,
         "EffectLow": low, "EffectHigh": high}
        for at, index, effect, low, high in state["history"]
    ]  # fmt: skip
    return {
        **given, "Status": "Running", "CreationTime": START,
        "Variants": experiment.report(setting, state), "TrippedGuards": [], "Effects": effects,
    }  # fmt: skip


def bandit(count: int = 300) -> dict[str, Any]:
    """What `DescribeBandit` answers."""
    allocations = []
    for number in range(count):
        good = 0.9 - 0.6 * math.exp(-number / 60)
        shares = {"A": (1 - good) / 2, "B": good, "C": (1 - good) / 2}
        allocations.append({"Time": START + 7 * number, "Rewards": number * 3, "Shares": shares})
    return {
        "EndpointName": "ranker", "VariantNames": ["A", "B", "C"], "Policy": "ThompsonSampling",
        "FloorShare": 0.05, "Status": "Running", "CreationTime": START,
        "Arms": [{"VariantName": "A", "Rewards": 120, "Mean": 0.101},
                 {"VariantName": "B", "Rewards": 700.0, "Mean": 0.31},
                 {"VariantName": "C", "Rewards": 0}],
        "Allocations": allocations,
    }  # fmt: skip
