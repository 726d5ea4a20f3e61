import json

import pytest

from loopwright.runtime import environment as environments
from loopwright.runtime.failure import UnitFailure
from loopwright.runtime.paths import Tree


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ('"train.py"', "train.py"),
        ("0.1", 0.1),
        ("true", True),
        ("128", 128),
        ('"128"', "128"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("[1, 2]", [1, 2]),
        ("null", None),
        ("{broken", "{broken"),
    ],
)
def test_hyperparameters_are_json_or_themselves(raw, value):
    assert environments.decode(raw) == value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"b": 1, "alpha": 2}, ["--alpha", "2", "-b", "1"]),
        ({"flag": True, "off": False}, ["--flag", "True", "--off", "False"]),
        ({"none": None}, ["--none", ""]),
        ({"map": {"b": 1, "a": 2}}, ["--map", "a=2,b=1"]),
        ({"list": [1, "x"]}, ["--list", "[1, 'x']"]),
        ({"batch-size": "64"}, ["--batch-size", "64"]),
    ],
)
def test_arguments_have_the_form_of_the_toolkit(given, words):
    assert environments.arguments(given) == words


@pytest.fixture
def configured(unit, monkeypatch):
    unit.configure(
        {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "s3://b/s.tar.gz",
            "sagemaker_mpi_enabled": True,
            "_tuning_objective_metric": "loss",
            "epochs": 3,
            "name": "x",
        },
        {"train": {"TrainingInputMode": "File"}, "a-b": {}},
    )
    groups = [
        {"instance_group_name": "g1", "instance_type": "ml.m5.large", "hosts": ["algo-1"]},
        {"instance_group_name": "g2", "instance_type": "ml.m5.large", "hosts": ["algo-2"]},
    ]
    resources = {
        "current_host": "algo-2",
        "hosts": ["algo-1", "algo-2"],
        "current_group_name": "g2",
        "current_instance_type": "ml.m5.large",
        "instance_groups": groups,
        "network_interface_name": "lo",
    }
    unit.write("input/config/resourceconfig.json", json.dumps(resources))
    monkeypatch.setenv("LOOPWRIGHT_CPUS", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("TRAINING_JOB_NAME", "job-1")
    return unit, environments.variables(environments.read(Tree(unit.base)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SM_HOSTS", '["algo-1","algo-2"]'),
        ("SM_CURRENT_HOST", "algo-2"),
        ("SM_NETWORK_INTERFACE_NAME", "lo"),
        ("SM_HPS", '{"epochs":3,"name":"x"}'),
        ("SM_HP_EPOCHS", "3"),
        ("SM_HP_NAME", "x"),
        ("SM_CHANNELS", '["a-b","train"]'),
        ("SM_USER_ENTRY_POINT", "train.py"),
        ("SM_MODULE_NAME", "train"),
        ("SM_MODULE_DIR", "s3://b/s.tar.gz"),
        ("SM_USER_ARGS", '["--epochs","3","--name","x"]'),
        ("SM_NUM_CPUS", "3"),
        ("SM_NUM_GPUS", "2"),
        ("SM_FRAMEWORK_PARAMS", '{"sagemaker_mpi_enabled":true}'),
        ("SM_CURRENT_INSTANCE_TYPE", "ml.m5.large"),
        ("SM_CURRENT_INSTANCE_GROUP", "g2"),
        ("SM_CURRENT_INSTANCE_GROUP_HOSTS", '["algo-2"]'),
        ("SM_INSTANCE_GROUPS", '["g1","g2"]'),
        ("SM_IS_HETERO", "true"),
        ("SM_LOG_LEVEL", "20"),
        ("SM_MASTER", "algo-2"),
        ("SM_JOB_NAME", "job-1"),
        ("CURRENT_HOST", "algo-2"),
    ],
)
def test_variables(configured, name, value):
    assert configured[1][name] == value


def test_paths_lie_below_the_base_folder(configured):
    unit, variables = configured
    assert variables["SM_CHANNEL_TRAIN"] == str(unit.base / "input/data/train")
    assert variables["SM_CHANNEL_A-B"] == str(unit.base / "input/data/a-b")
    assert variables["SM_MODEL_DIR"] == str(unit.base / "model")
    assert variables["SM_OUTPUT_DATA_DIR"] == str(unit.base / "output/data")
    assert variables["SM_OUTPUT_INTERMEDIATE_DIR"] == str(unit.base / "output/intermediate")
    assert variables["SM_INPUT_CONFIG_DIR"] == str(unit.base / "input/config")


def test_the_training_environment_is_one_json_document(configured):
    facts = json.loads(configured[1]["SM_TRAINING_ENV"])
    assert facts["is_master"] is True
    assert facts["distribution_hosts"] == ["algo-2"]
    assert facts["channel_input_dirs"]["train"].endswith("/input/data/train")
    assert facts["job_name"] == "job-1"


def test_a_broken_file_is_named(unit):
    unit.configure({})
    unit.write("input/config/inputdataconfig.json", "[1]")
    with pytest.raises(UnitFailure, match=r"inputdataconfig\.json must hold a JSON object"):
        environments.read(Tree(unit.base))
    unit.write("input/config/inputdataconfig.json", "{")
    with pytest.raises(UnitFailure, match=r"inputdataconfig\.json is not valid JSON"):
        environments.read(Tree(unit.base))
