"""FailureReason of a training job, for every way in which a script can end badly."""

import pytest

from tests.server import Server, training_request

LONG = "ValueError: first " + "x" * 3000 + " last"
CASES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    # name: entry, its text, exit code, what the reason holds besides the form
    "text": ("train.py", "import sys\nsys.exit('no rows left')\n", "1", ("no rows left",)),
    "code": (
        "train.py",
        "import sys\nprint('on the log')\nsys.stderr.write('no column price\\n')\nsys.exit(3)\n",
        "3",
        ('ErrorMessage "no column price"',),
    ),
    "silent": (
        "train.py",
        "import sys\nprint('only printed')\nsys.exit(4)\n",
        "4",
        ("only printed",),
    ),
    "argparse": (
        "train.py",
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--alpha', type=float)\n"
        "p.parse_args(['--alpha', 'abc'])\n",
        "2",
        ("train.py: error: argument --alpha: invalid float value: 'abc'",),
    ),
    "signal": (
        "train.py",
        "import os, signal, sys\nsys.stderr.write('before\\n')\nsys.stderr.flush()\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n",
        "139",
        ('ErrorMessage "before"', "killed by signal 11 (SIGSEGV)"),
    ),
    "hard": (
        "train.py",
        "import os, sys\nsys.stderr.write('licence missing\\n')\nsys.stderr.flush()\nos._exit(9)\n",
        "9",
        ('ErrorMessage "licence missing"',),
    ),
    "thread": (
        "train.py",
        "import sys, threading\nt = threading.Thread(target=lambda: {}['price'])\nt.start()\n"
        "t.join()\nsys.exit(1)\n",
        "1",
        ("KeyError: 'price'",),
    ),
    "long": ("train.py", f"import sys\nsys.exit({LONG!r})\n", "1", ("first xxx", 'xxx last"')),
    "module": (
        "train.py",
        "import there_is_none.such\n",
        "1",
        ("ModuleNotFoundError", "put it into requirements.txt"),
    ),
    "shell": ("go.sh", "echo fine\necho disk is full >&2\nexit 7\n", "7", ("disk is full",)),
    "inner": (
        "go.sh",
        "set -e\npython -c \"raise ValueError('labels must be 0 or 1')\"\n",
        "1",
        ("ValueError: labels must be 0 or 1",),
    ),
    "killed": ("go.sh", "echo going on\nkill -9 $$\n", "137", ("going on", "(SIGKILL)")),
    "child": (
        "train.py",
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'raise KeyError(1)'], check=True)\n",
        "1",
        ("CalledProcessError", "returned non-zero exit status 1"),
    ),
}


@pytest.fixture(scope="module")
def reasons(server: Server) -> dict[str, str]:
    """All jobs at once; their reasons by case."""
    sagemaker = server.client("sagemaker")
    for name, (entry, text, _, _) in CASES.items():
        source = server.put_source(f"reason-{name}", {entry: text})
        request = training_request(f"reason-{name}", source)
        request["HyperParameters"]["sagemaker_program"] = entry
        request["HyperParameters"]["words"] = '"two words"' if entry == "go.sh" else "1"
        sagemaker.create_training_job(**request)
    found = {name: server.trained(f"reason-{name}", 180) for name in CASES}
    assert {name: end["TrainingJobStatus"] for name, end in found.items()} == dict.fromkeys(
        CASES, "Failed"
    )
    return {name: end["FailureReason"] for name, end in found.items()}


@pytest.mark.parametrize("case", CASES)
def test_the_reason_holds_the_last_words(reasons: dict[str, str], case: str) -> None:
    entry, _, code, words = CASES[case]
    reason = reasons[case]
    head = f"AlgorithmError: ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "
    assert reason.startswith(head)
    for word in words:
        assert word in reason
    assert f"{entry} --words" in reason.rpartition('\nCommand "')[2]
    assert reason.endswith(f", exit code: {code}")
    assert len(reason) <= 1024


def test_a_requirement_that_isolation_keeps_out_says_so(server: Server) -> None:
    files = {"train.py": "", "requirements.txt": "surely-not-a-package-of-anyone\n"}
    source = server.put_source("reason-isolated", files)
    server.client("sagemaker").create_training_job(
        **training_request("reason-isolated", source),
        EnableNetworkIsolation=True,
        Environment={"PIP_RETRIES": "0"},
    )
    reason = server.trained("reason-isolated")["FailureReason"]
    assert reason.startswith("AlgorithmError: InstallRequirementsError:\nExitCode 1\n")
    assert "EnableNetworkIsolation" in reason
    assert "surely-not-a-package-of-anyone" in reason
