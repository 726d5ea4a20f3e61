"""What `images` and `doctor` say is there, and what to type for what is not."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from loopwright import cli
from loopwright.commands import machine

ROOT = Path(__file__).parents[2]


def _told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    with pytest.raises(SystemExit, match="0"):
        cli.main([*words, "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.fixture(params=["pip", "make"])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(machine, "_is_made", lambda: request.param == "make")
    return str(request.param)


@pytest.mark.parametrize(
    ("lacking", "repository", "installed", "extra"),
    [
        ({"pandas"}, "sagemaker-scikit-learn", "in part", "runtimes"),
        ({"pandas"}, "sagemaker-data-science", "in part", "runtimes"),
        ({"pandas", "xgboost"}, "sagemaker-xgboost", "no", "runtimes"),
        ({"torch"}, "pytorch-training", "no", "torch"),
        ({"torch"}, "sagemaker-scikit-learn", "yes", ""),
        ({"pandas", "xgboost", "torch"}, "kmeans", "yes", ""),
    ],
)
def test_images_say_what_is_there_and_what_to_install(
    lacking: set[str], repository: str, installed: str, extra: str, installer: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(machine, "is_there", lambda name: name not in lacking)
    found = {item["repository"]: item for item in _told(capsys, "images")}[repository]
    assert found["installed"] == installed
    words = {"pip": f"pip install 'loopwright[{extra}]'",
             "make": "make torch" if extra == "torch" else "make setup"}[installer]  # fmt: skip
    assert (words in found["missing"]) == bool(extra)
    assert found["missing"].count("install") <= 1, "each way is told once"


@pytest.mark.parametrize("name", machine.EXTRAS)
def test_doctor_says_how_to_have_each_module(
    name: str, installer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "is_there", lambda module: module != name)
    found = _told(capsys, "doctor")
    assert found[name]["value"] == "no"
    assert machine.remedy(name) in found[name]["meaning"]
    assert installer in found[name]["meaning"]


def test_the_extras_are_those_of_the_package() -> None:
    """That each module comes with the extra that is told."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {"sklearn": "scikit-learn", "rapidocr_onnxruntime": "rapidocr-onnxruntime"}
    for module, (extra, _) in machine.EXTRAS.items():
        wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
        assert any(line.startswith(names.get(module, module)) for line in wanted), module
