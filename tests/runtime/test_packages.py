"""What code installs by itself, and what it asks to have installed: for its unit alone."""

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from loopwright import client

SCRIPT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://b/sourcedir.tar.gz"}
SHOW = "\nimport joblib, tiny\nprint('GOT', joblib.VERSION, tiny.VERSION)\n"
PIP = "--no-deps --quiet bundle/joblib-99.0-py3-none-any.whl bundle/tiny-1.0-py3-none-any.whl"
SETUP = """from setuptools import setup
setup(name="proj", version="1", package_dir={"": "src"}, packages=["proj"],
      entry_points={"console_scripts": ["proj-tell=proj:tell"]})
"""
PYPROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "proj"
version = "1"
[project.scripts]
proj-tell = "proj:tell"
"""
PROJECT = {"src/proj/__init__.py": "def tell():\n    print('TOLD')\n"}


def wheel_bytes(name: str, version: str) -> bytes:
    """A wheel made by hand, so that no build tool and no network is needed."""
    info = f"{name}-{version}.dist-info"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as bundle:
        code = f"VERSION = '{version}'\ndef main():\n    print('COMMAND', VERSION)\n"
        bundle.writestr(f"{name}.py", code)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        bundle.writestr(f"{info}/METADATA", metadata)
        bundle.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        commands = f"[console_scripts]\n{name}-tell = {name}:main\n"
        bundle.writestr(f"{info}/entry_points.txt", commands)
        bundle.writestr(f"{info}/RECORD", "")
    return stream.getvalue()


def wheel(unit, name: str, version: str) -> Path:
    return unit.write(f"bundle/{name}-{version}-py3-none-any.whl", wheel_bytes(name, version))


def train(unit, files: dict[str, str | bytes], entry: str = "train.py", **environment: str):
    unit.configure({**SCRIPT, "sagemaker_program": entry})
    archive = unit.bundle(files)
    return unit.run("train", LOOPWRIGHT_SOURCE=str(archive), **environment)


@pytest.fixture
def wheels(unit):
    """A package that the runtime has in another version, and one that it lacks."""
    return wheel(unit, "joblib", "99.0"), wheel(unit, "tiny", "1.0")


@pytest.mark.parametrize(
    "call",
    [
        f"import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', "
        f"*'{PIP}'.split()], cwd=BASE)",
        f"os.chdir(BASE)\nassert os.system('pip install {PIP}') == 0",
        f"os.chdir(BASE)\nassert os.system('pip3 install --user {PIP}') == 0",
        f"os.chdir(BASE)\nassert os.system('python3 -m pip install --upgrade {PIP}') == 0",
        f"os.chdir(BASE)\nfrom pip._internal.cli.main import main\n"
        f"assert main(['install', *'{PIP}'.split()]) == 0",
        # By the runtime's own interpreter, as its console scripts (torchrun ...) start it.
        f"import subprocess\nsubprocess.check_call([{sys.executable!r}, '-m', 'pip', 'install', "
        f"*'{PIP}'.split()], cwd=BASE)",
    ],
    ids=["subprocess", "os.system", "user", "python3", "in process", "the runtime's"],
)
def test_a_script_installs_for_its_unit_alone(unit, wheels, call):
    before = _own_packages()
    script = f"import os\nBASE = {str(unit.base)!r}\n{call}{SHOW}"
    script += "assert os.system('tiny-tell && joblib-tell') == 0\n"
    done = train(unit, {"train.py": script})
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith(("GOT", "COMMAND"))] == [
        "GOT 99.0 1.0",
        "COMMAND 1.0",
        "COMMAND 99.0",
    ]
    assert _own_packages() == before


def _own_packages() -> list[str]:
    """What is installed in the environment that runs the tests."""
    folder = Path(sys.prefix, "lib", f"python3.{sys.version_info.minor}", "site-packages")
    names = sorted(entry.name for entry in folder.iterdir())
    return [*names, *sorted(os.listdir(Path(sys.prefix, "bin")))]


def test_a_shell_script_installs_removes_and_is_told_of_conda(unit, wheels):
    lines = f"""cd {unit.base}
pip install {PIP}
tiny-tell
python -c 'import tiny, joblib; print(tiny.VERSION, joblib.VERSION)'
pip uninstall --yes --quiet tiny joblib
pip uninstall --yes --quiet numpy
python -c 'import numpy, joblib; print(hasattr(joblib, "VERSION"))'
python -c 'import tiny' 2>/dev/null || echo gone
conda install -y tiny || echo "conda $?"
"""
    done = train(unit, {"go.sh": lines}, "go.sh")
    assert done.returncode == 0, done.stderr
    found = done.stdout.split("\n")
    assert [line for line in found if line in ("COMMAND 1.0", "1.0 99.0", "False", "gone")] == [
        "COMMAND 1.0",
        "1.0 99.0",
        "False",
        "gone",
    ]
    assert "conda 127" in found
    assert "install with pip" in done.stderr


@pytest.mark.parametrize(
    ("requirements", "more"),
    [
        (b"# mine\n./tiny-1.0-py3-none-any.whl\n", {}),
        (b"tiny @ file://{base}/bundle/tiny-1.0-py3-none-any.whl\n", {}),
        (b"\xef\xbb\xbf--no-index\r\n--find-links=.\r\ntiny>=1 ; python_version >= '3'\r\n", {}),
        (b"-r more.txt\n-c limits.txt\n", {"more.txt": "-f .\ntiny\n", "limits.txt": "tiny<2\n"}),
        (b"--find-links .\ntiny==1.0 --hash=sha256:{hash}\n", {}),
    ],
    ids=["path", "address", "find links", "files and limits", "hash"],
)
def test_requirements_keep_their_source(unit, wheels, requirements, more):
    digest = subprocess.run(["sha256sum", wheels[1]], capture_output=True, check=True).stdout[:64]
    text = requirements.replace(b"{base}", str(unit.base).encode()).replace(b"{hash}", digest)
    script = "import os, tiny\nprint(tiny.VERSION)\nos.system('tiny-tell')\n"
    done = train(unit, {"train.py": script, "requirements.txt": text, **more})
    assert done.returncode == 0, done.stderr
    assert "COMMAND 1.0" in done.stdout


def test_satisfied_requirements_need_no_network_and_no_fresh_interpreter(unit):
    script = "import os, sys\nprint(sys.flags.safe_path)\n"
    done = train(unit, {"train.py": script, "requirements.txt": "numpy\npytest>=1\n"})
    # Only an interpreter that was started anew has the flag -P.
    assert done.stdout.endswith("False\n"), done.stderr


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("surely-not-a-package-of-anyone==9", "surely-not-a-package-of-anyone==9"),
        ("./there/is/none", "requirements.txt"),
        # Some versions of pip end with a traceback here: its last line is the reason.
        ("numpy===", "equirement"),
    ],
)
def test_a_failing_installation_is_the_failure(unit, requirement, said):
    script = "print('must not run')\n"
    done = train(unit, {"train.py": script, "requirements.txt": f"{requirement}\n"})
    # Its exit code is pip's, which differs from version to version.
    code = done.returncode
    assert code > 0
    assert "must not run" not in done.stdout
    assert unit.failure().startswith(f"InstallRequirementsError:\nExitCode {code}\n")
    assert said in unit.failure()


@pytest.mark.parametrize(
    "files",
    [
        {"setup.py": SETUP},
        {"pyproject.toml": PYPROJECT},
        {"setup.py": SETUP, "go.sh": "proj-tell\n"},
    ],
    ids=["setup.py", "pyproject.toml", "shell"],
)
def test_a_project_is_installed_before_its_entry_point_runs(unit, files):
    script = "import os, proj\nproj.tell()\nassert os.system('proj-tell') == 0\n"
    entry = "go.sh" if "go.sh" in files else "train.py"
    done = train(unit, {**PROJECT, "train.py": script, **files}, entry)
    assert done.returncode == 0, done.stderr
    assert "TOLD" in done.stdout


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ({"setup.py": "raise SystemExit('no good')\n"}, 1, "InstallModuleError"),
        # AWS's images install setup.py alone, so the other file must not end what runs there.
        ({"pyproject.toml": "[project]\nname = 'no name'\n"}, 0, "as it is"),
        ({"pyproject.toml": "[tool.black]\nline-length = 9\n"}, 0, ""),
        ({"pyproject.toml": "no toml"}, 0, "is not installed"),
    ],
    ids=["setup.py", "pyproject.toml", "settings", "no toml"],
)
def test_a_project_that_cannot_be_installed(unit, files, code, said):
    done = train(unit, {"train.py": "print('ran')\n", **files})
    assert done.returncode == code, done.stderr
    assert ("ran\n" in done.stdout) == (code == 0)
    assert said in done.stderr


def test_a_package_of_the_runtime_s_name_hides_it_from_nobody(unit):
    wheel(unit, "loopwright", "0.0")
    script = "import loopwright, sys\nprint(loopwright.__file__.count('env/lib'), sys.argv)\n"
    more = {"requirements.txt": "--find-links .\nloopwright==0.0\n"}
    done = train(unit, {"train.py": script, **more})
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "0 ['train.py']"), done.stderr


def test_the_machine_s_own_sitecustomize_is_run_as_well(unit):
    unit.write("more/sitecustomize.py", "print('MORE')\n")
    script = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])\n"
    paths = f"{Path(__file__).parents[2] / 'src'}:{unit.base / 'more'}"
    done = train(unit, {"train.py": script}, PYTHONPATH=paths)
    assert done.stdout.count("MORE") == 2, done.stderr


def test_the_log_says_once_what_differs_from_the_image(unit, wheels):
    files = {"train.py": SHOW, "requirements.txt": "".join(f"{path}\n" for path in wheels)}
    done = train(unit, files, LOOPWRIGHT_IMAGE="x/sagemaker-scikit-learn:0.23-1-cpu-py3",
                 LOOPWRIGHT_RUNTIME="sklearn")  # fmt: skip
    assert "GOT 99.0 1.0" in done.stdout, done.stderr
    assert done.stderr.count("The image asks for scikit-learn 0.23") == 1


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one"), ("one", "two", "one")])
def test_the_client_set_ups_of_homes_and_the_unit_s_own_run_one_after_the_other(unit, order):
    """Each runs the next that the interpreter would find, and none runs twice."""
    homes = {name: str(client.write_client(unit.base / name)) for name in order}
    script = """import subprocess, sys
from pathlib import Path
from loopwright.runtime.packages import site_packages
(site_packages(Path(sys.prefix)) / "sitecustomize.py").write_text("print('INSTALLED')")
subprocess.run([sys.executable, "-c", ""], check=True)
"""
    source = Path(__file__).parents[2] / "src"
    paths = ":".join([str(source), *map(homes.__getitem__, order)])
    done = train(unit, {"train.py": script}, PYTHONPATH=paths)
    assert "sitecustomize" not in done.stderr
    assert (done.returncode, done.stdout.count("INSTALLED")) == (0, 1), done.stderr


def test_other_interpreters_of_the_unit_see_what_it_installed(unit, wheels):
    """Console scripts of the runtime name its interpreter; virtual environments are their own."""
    own = shutil.which("python", path=f"{sys.prefix}/bin")
    script = f"""import os, subprocess, sys
from multiprocessing import get_context
if __name__ == "__main__":
    os.chdir({str(unit.base)!r})
    os.system('pip install {PIP}')
    for python in (sys.executable, {own!r}):
        show = "import sys, tiny, joblib; print('SEEN', joblib.VERSION, sys.prefix)"
        subprocess.run([python, "-c", show], check=True)
    import joblib, tiny
    with get_context("spawn").Pool(1) as pool:
        print("SPAWNED", pool.apply(tiny.main))
"""
    done = train(unit, {"train.py": script})
    assert done.returncode == 0, done.stderr
    seen = [line for line in done.stdout.splitlines() if line.startswith("SEEN")]
    assert seen == [f"SEEN 99.0 {unit.base}/.loopwright/env"] * 2
