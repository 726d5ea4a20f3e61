import json
import signal
import subprocess
import sys

import pytest

from loopwright.runtime import failure

SCRIPT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://b/sourcedir.tar.gz"}


def train(unit, script, hyperparameters=None, **environment):
    """Run a script from a staged bundle, with hyperparameters."""
    unit.configure({**SCRIPT, **(hyperparameters or {})}, {"train": {}})
    archive = unit.bundle({"train.py": script})
    return unit.run("train", LOOPWRIGHT_SOURCE=str(archive), **environment)


def test_a_script_sees_its_arguments_folders_and_variables(unit):
    script = """
import json, os, sys
import helper
found = {"argv": sys.argv, "cwd": os.getcwd(), "path": sys.path[0], "helper": helper.NAME,
         "model": os.environ["SM_MODEL_DIR"], "channel": os.environ["SM_CHANNEL_TRAIN"]}
json.dump(found, open(os.path.join(os.environ["SM_MODEL_DIR"], "found.json"), "w"))
"""
    unit.write("bundle/helper.py", "NAME = 'helper'\n")
    done = train(unit, script, {"epochs": 3, "x": 0.5, "sagemaker_region": "us-east-1"})
    assert done.returncode == 0, done.stderr
    found = json.loads((unit.base / "model/found.json").read_text())
    code = str(unit.base / "code")
    assert found == {
        "argv": ["train.py", "--epochs", "3", "-x", "0.5"],
        "cwd": code,
        "path": code,
        "helper": "helper",
        "model": str(unit.base / "model"),
        "channel": str(unit.base / "input/data/train"),
    }
    assert not (unit.base / "output/failure").exists()


def test_main_is_a_real_module_for_pickle_and_spawned_processes(unit):
    script = """
import multiprocessing, pickle
class Model: pass
def double(x): return 2 * x
if __name__ == "__main__":
    assert pickle.loads(pickle.dumps(Model())).__class__ is Model
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("doubled", pool.map(double, [1, 2]))
"""
    done = train(unit, script)
    assert (done.returncode, done.stdout) == (0, "doubled [2, 4]\n"), done.stderr


def test_an_exception_is_told_in_full_on_the_log_and_short_in_the_file(unit):
    done = train(unit, "def main():\n    raise ValueError('bad')\nmain()\n", {"a": 1})
    assert done.returncode == 1
    code = unit.base / "code/train.py"
    assert unit.failure() == (
        "ExecuteUserScriptError:\nExitCode 1\n"
        'ErrorMessage "ValueError: bad"\n'
        f"ExtraInfo \"{code}, line 2, in main: raise ValueError('bad')\"\n"
        f'Command "{unit.base}/.loopwright/env/bin/python train.py -a 1"'
    )
    assert done.stderr.startswith(f'Traceback (most recent call last):\n  File "{code}", line 3')
    assert "loopwright" not in done.stderr.partition("ExecuteUserScriptError")[0]


@pytest.mark.parametrize(
    ("ending", "code", "reason"),
    [
        ("sys.exit()", 0, None),
        ("sys.exit(0)", 0, None),
        (
            "sys.stderr.write('no column price\\n')\nsys.exit(3)",
            3,
            'ErrorMessage "no column price"',
        ),
        ("sys.exit('no data')", 1, 'ErrorMessage "no data"'),
        ("sys.exit(['no', 'data'])", 1, "ErrorMessage \"['no', 'data']\""),
        ("import argparse\nargparse.ArgumentParser().error('bad')", 2, "train.py: error: bad"),
        ("import warnings\nwarnings.warn('low memory')\nsys.exit(4)", 4, "UserWarning: low memory"),
        (
            "import threading\nt = threading.Thread(target=lambda: 1 / 0)\n"
            "t.start(); t.join(); sys.exit(1)",
            1,
            "ZeroDivisionError: division by zero",
        ),
        ("1 +", 1, "SyntaxError"),
        ("import nothing.like.this", 1, "nothing is not installed here: put it into requirements"),
        ("raise KeyError('k')", 1, "KeyError: 'k'"),
        ("sys.exit(-1)", 255, None),
        ("sys.exit(256)", 0, None),
        ("sys.exit(2 ** 70)", 255, None),
        ("sys.stdout.close()", 0, None),
        ("sys.stdout = None", 0, None),
        ("sys.stderr.close()\nraise ValueError('last')", 1, 'ErrorMessage "ValueError: last"'),
        ("sys.stderr = None\nraise ValueError('last')", 1, 'ErrorMessage "ValueError: last"'),
        ("import os\nos.close(2)\nraise ValueError('last')", 1, 'ErrorMessage "ValueError: last"'),
        ("sys.stderr = None\nsys.exit('last')", 1, 'ErrorMessage "last"'),
        ("raise OSError('no \\udcff file')", 1, 'ErrorMessage "OSError: no \\udcff file"'),
        ("sys.exit('\\x1b[1;31mlast\\x1b[0m\\x00')", 1, 'ErrorMessage "last"'),
        ("print('\\x1b[31mlast\\x1b[0m', file=sys.stderr)\nsys.exit(3)", 3, 'Message "last"'),
        (
            "class Bad:\n    def __str__(self): return 1 / 0\nsys.exit(Bad())",
            1,
            "<Bad: its str() failed>",
        ),
        (
            "sys.excepthook = lambda *_: 1 / 0\nraise ValueError('last')",
            1,
            'ErrorMessage "ValueError: last"',
        ),
    ],
)
def test_exit_codes(unit, ending, code, reason):
    done = train(unit, f"import sys\n{ending}\n")
    assert done.returncode == code, done.stderr
    if reason is None:
        assert not (unit.base / "output/failure").exists()
    else:
        assert reason in unit.failure(), done.stderr


@pytest.mark.parametrize(
    "ending",
    [
        "raise ValueError('first ' + 'x' * 5000 + ' last')",
        "sys.exit('ValueError: first ' + 'x' * 5000 + ' last')",
        "sys.stderr.write('ValueError: first ' + 'x' * 3000 + ' last\\n'); sys.exit(1)",
    ],
)
def test_of_a_long_message_both_ends_are_shown(unit, ending):
    train(unit, f"import sys\n{ending}\n", {"words": "y" * 500})
    assert len(unit.failure()) <= failure.TEXT_CHARS_MAX
    assert 'ErrorMessage "ValueError: first xxx' in unit.failure()
    assert 'xxx last"' in unit.failure()
    assert unit.failure().endswith('yyy"')


def test_what_a_program_that_cannot_tell_leaves_is_put_together(unit):
    done = train(unit, "import os, sys\nsys.stderr.write('licence missing\\n')\nos._exit(9)\n")
    assert done.returncode == 9
    assert not (unit.base / "output/failure").exists()
    noted = (unit.base / ".loopwright/running.json").read_text()
    assert failure.told(noted, 139, "licence missing", "") == (
        'ExecuteUserScriptError:\nExitCode 139\nErrorMessage "licence missing"\n'
        'ExtraInfo "killed by signal 11 (SIGSEGV)"\n'
        f'Command "{unit.base}/.loopwright/env/bin/python train.py"'
    )


@pytest.mark.parametrize(
    ("noted", "words", "extra", "said"),
    [
        ("", "the end", "", "the end"),
        ("", "the end", "OutOfMemory: all used", "OutOfMemory: all used: the end"),
        ("", "", "OutOfMemory: all used", "OutOfMemory: all used"),
        ("[1]", "the end", "", "the end"),
        ('{"kind": "K", "command": 7}', "the end", "", "the end"),
    ],
)
def test_without_a_note_the_words_are_told_alone(noted, words, extra, said):
    assert failure.told(noted, 3, words, extra) == said


def test_last_words_are_whole_lines_that_fit():
    assert failure.last_words(["a" * 30, "second", "third", "", ""], 20) == "second\nthird"
    assert failure.last_words(["x", "a" * 30], 20) == "a" * 30
    assert failure.last_words(["", ""]) == ""


def test_threads_and_exit_functions_run_on_after_the_script(unit):
    script = """
import atexit, threading
event = threading.Event()
def late():
    event.wait()
    print("thread", __name__, NAME)
threading.Thread(target=late).start()
atexit.register(lambda: print("exit", NAME))
NAME = "still here"
threading.Timer(0.1, event.set).start()
"""
    done = train(unit, script)
    assert done.stdout == "thread __main__ still here\nexit still here\n", done.stderr


def test_output_is_on_the_log_at_once(unit):
    # os._exit throws away whatever is still in a buffer.
    done = train(unit, "import os\nprint('epoch 1')\nos._exit(4)\n")
    assert (done.returncode, done.stdout) == (4, "epoch 1\n")


@pytest.mark.parametrize("handled", [True, False])
def test_sigterm_is_the_scripts(unit, handled):
    handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n" if handled else ""
    script = f"import signal, sys\n{handler}print('ready')\nsignal.pause()\n"
    unit.configure(SCRIPT)
    archive = unit.bundle({"train.py": script})
    with subprocess.Popen(
        [sys.executable, "-m", "loopwright.runtime", "train"],
        env=unit.environment(LOOPWRIGHT_SOURCE=str(archive)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == (7 if handled else -signal.SIGTERM)


def test_a_local_folder_serves_as_source(unit):
    unit.write("mine/train.py", "print('local')\n")
    unit.configure({**SCRIPT, "sagemaker_submit_directory": str(unit.base / "mine")})
    assert unit.run("train").stdout == "local\n"


def test_a_shell_script_is_run_by_bash(unit):
    unit.configure({"sagemaker_program": "go.sh", "n": 2})
    archive = unit.bundle({"go.sh": 'echo "$1 $2 $SM_HP_N $(python -c "print(1+1)")"\nexit $2\n'})
    done = unit.run("train", LOOPWRIGHT_SOURCE=str(archive))
    assert done.stdout == "-n 2 2 2\n"
    assert done.returncode == 2
    # Its words are on the log only.
    assert not (unit.base / "output/failure").exists()
    noted = json.loads((unit.base / ".loopwright/running.json").read_text())
    assert noted["command"] == ["/bin/bash", str(unit.base / "code/go.sh"), "-n", "2"]


@pytest.mark.parametrize(
    ("hyperparameters", "environment", "words"),
    [
        ({}, {"LOOPWRIGHT_RUNTIME": "sklearn"}, "no hyperparameter sagemaker_program"),
        ({"sagemaker_program": "other.py"}, {}, "no such file; it holds train.py"),
        ({**SCRIPT, "sagemaker_parameter_server_enabled": True}, {}, "parameter servers"),
    ],
)
def test_what_is_missing_is_said(unit, hyperparameters, environment, words):
    unit.configure(hyperparameters)
    archive = unit.bundle({"train.py": ""})
    done = unit.run("train", LOOPWRIGHT_SOURCE=str(archive), **environment)
    assert done.returncode == 1
    assert words in unit.failure()


def test_no_source_at_all(unit):
    unit.configure(SCRIPT)
    assert unit.run("train").returncode == 1
    assert "there is no code to run" in unit.failure()


def test_a_bad_bundle_is_named(unit):
    unit.configure(SCRIPT)
    unit.write("bad.tgz", b"not an archive")
    assert unit.run("train", LOOPWRIGHT_SOURCE=str(unit.base / "bad.tgz")).returncode == 1
    assert "bad.tgz could not be unpacked" in unit.failure()


def test_an_unknown_verb(unit):
    done = unit.run("dance")
    assert done.returncode == 2
    assert "must be one of train, serve, run" in done.stderr


# -- the verb run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["python3"], ["python"], [sys.executable], []])
def test_run_takes_a_python_script_in_process(unit, command):
    unit.write("job.py", "import sys\nprint(__name__, sys.argv)\nsys.exit(5)\n")
    done = unit.run("run", *command, "job.py", "--a", "b c")
    assert done.stdout == "__main__ ['job.py', '--a', 'b c']\n"
    assert done.returncode == 5


def test_run_execs_anything_else_and_python_is_ours(unit):
    done = unit.run("run", "/bin/bash", "-c", "python -c 'import sys; print(sys.prefix)'; exit 9")
    assert done.stdout.strip() == str(unit.base / ".loopwright/env")
    assert done.returncode == 9
    done = unit.run("run", "python3", "-c", "print('inline')")
    assert done.stdout == "inline\n"


def test_run_names_a_missing_program(unit):
    done = unit.run("run", "no-such-program")
    assert done.returncode == 127
    assert "no-such-program could not be started" in unit.failure()
