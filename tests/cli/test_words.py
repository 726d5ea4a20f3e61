"""What can be said on the command line: every documented word, lists, near misses, completion."""

import importlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from loopwright import cli
from loopwright.commands.names import possible
from tests.cli.documented import Documented, documented

HEAVY = ("loopwright.server", "loopwright.control", "sqlalchemy", "botocore", "numpy", "rich")


def _commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS = dict(_commands(cli.program))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What commands were called with, none of which runs."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def act(target: str, arguments: Any) -> int:
        calls.append((target, vars(arguments)))
        return 0

    monkeypatch.setattr(cli, "_act", act)
    return calls


def _say(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("found", documented(), ids=lambda found: f"{found.page}: {found.text}")
def test_every_documented_command_is_understood(
    found: Documented, said: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command = cli.program.get_command(click.Context(cli.program), found.words[0])
    bare = isinstance(command, click.Group) and len(found.words) == 1
    code = _say(*found.words, *(["--help"] if bare else []))
    told = capsys.readouterr()
    assert code == 0, told.err
    own = ("--help", "--version", "completion")
    assert len(said) == 1 or any(word in own for word in found.words) or bare
    assert said or told.out


def test_the_documents_name_every_command() -> None:
    named = [found.words for found in documented()]
    for name in COMMANDS:
        words = tuple(name.split())
        assert any(given[: len(words)] == words for given in named), name


def test_what_each_command_runs_is_there(said: list[tuple[str, Any]]) -> None:
    samples = {"ACCESS_KEY...": "AKIA", "EMAIL...": "a@b.c"}
    for name, command in COMMANDS.items():
        words = name.split()
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                choice = getattr(parameter.type, "choices", None)
                words.append(choice[0] if choice else samples.get(str(parameter.metavar), "x"))
            elif parameter.required:
                words += [parameter.opts[0], "x"]
        assert _say(*words) == 0, name
    for target, _ in said:
        module, _, function = target.partition(".")
        assert callable(getattr(importlib.import_module(f"loopwright.commands.{module}"), function))
    assert len(said) == len(COMMANDS) - 1, "all but completion, which is cli's own"


@pytest.mark.parametrize(
    "words",
    [
        ["workers", "invite", "--team", "reviewers", "ana@example.com", "ben@example.com"],
        ["workers", "invite", "ana@example.com", "--team", "reviewers", "ben@example.com"],
        ["workers", "invite", "ana@example.com", "ben@example.com", "--team=reviewers"],
        ["workers", "--home", "h", "invite", "--team", "reviewers", "--json", "ana@example.com",
         "ben@example.com"],
    ],
)  # fmt: skip
def test_a_list_may_stand_around_options(words: list[str], said: list[tuple[str, Any]]) -> None:
    assert _say(*words) == 0
    target, given = said[0]
    assert target == "workers.invite"
    assert given["team"] == "reviewers"
    assert given["email"] == ("ana@example.com", "ben@example.com")


def test_home_is_the_innermost_that_is_given(
    said: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT_HOME", "/of/variable")
    for words, home in (
        (["ps"], "/of/variable"),
        (["--home", "/outer", "ps"], "/outer"),
        (["--home", "/outer", "keys", "--home", "/middle", "list"], "/middle"),
        (["--home", "/outer", "keys", "list", "--home", "/inner"], "/inner"),
    ):
        assert _say(*words) == 0
        assert said.pop()[1]["home"] == Path(home)
    monkeypatch.delenv("LOOPWRIGHT_HOME")
    assert _say("ps") == 0
    assert said.pop()[1]["home"] == Path("~/.loopwright").expanduser()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sevre"], "serve"),
        (["workers", "invit"], "invite"),
        (["ps", "--jsn"], "--json"),
        (["serve", "--port", "abc"], "'abc'"),
        (["serve", "--compute", "cloud"], "process"),
        (["keys", "revoke"], "ACCESS_KEY"),
        (["workers", "invite", "--team", "x"], "EMAIL"),
        (["workers", "invite", "a@b.c"], "--team"),
        (["workers", "show", "a@b.c"], "a@b.c"),
        (["describe"], "NAME"),
        (["completion", "tcsh"], "fish"),
    ],
)
def test_what_is_not_understood_is_one_sentence(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _say(*words) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert told in found.err
    assert found.err.startswith("loopwright: ") and found.err.count("\n") == 1
    assert "--help` says what it takes" in found.err


def _python(text: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", text], env={**os.environ, **variables}, capture_output=True,
        text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("words", [["--help"], ["serve", "--help"], ["--version"]])
def test_help_imports_neither_the_server_nor_a_library_of_it(words: list[str]) -> None:
    text = f"""
import sys
from loopwright import cli
try:
    cli.main({words!r})
except SystemExit as ended:
    assert ended.code == 0, ended.code
print("MODULES", *sys.modules)
"""
    shown, _, modules = _python(text).partition("MODULES")
    assert "loopwright" in shown
    assert not {*HEAVY} & {*modules.split()}
    assert not [name for name in modules.split() if name.startswith("loopwright.commands.")
                and name != "loopwright.commands.arguments"]  # fmt: skip


@pytest.mark.parametrize(
    "words", [["keys", "list"], ["env"], ["ps"], ["logs", "x"], ["workers", "show"], ["images"]]
)
def test_no_other_command_imports_the_server(words: list[str], tmp_path: Path) -> None:
    text = f"""
import sys
from loopwright import cli
try:
    cli.main([*{words!r}, "--home", {str(tmp_path)!r}])
except SystemExit:
    print("MODULES", *sys.modules)
"""
    modules = _python(text).partition("MODULES")[2].split()
    assert "loopwright.commands" in modules
    assert not {"loopwright.server", "loopwright.control", "sqlalchemy", "numpy"} & {*modules}


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert _say("--version") == 0
    version = importlib.import_module("importlib.metadata").version("loopwright")
    assert capsys.readouterr().out == f"loopwright {version}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _say("completion", shell) == 0
    script = capsys.readouterr().out
    assert cli.COMPLETE in script and f"{shell}_complete" in script
    main = "from loopwright import cli\ncli.main([])"
    for line, last, wanted in (
        ("loopwright wor", "wor", "workers"),
        ("loopwright workers in", "in", "invite"),
        ("loopwright tuning show --fo", "--fo", "--follow"),
    ):
        found = _python(
            main,
            **{cli.COMPLETE: f"{shell}_complete", "COMP_WORDS": line,
               "COMP_CWORD": last if shell == "fish" else str(len(line.split()) - 1)},
        )  # fmt: skip
        assert wanted in found, (line, found)


@pytest.mark.parametrize("command", ["ps", "env", "describe x"])
def test_a_printed_command_can_be_typed_as_it_stands(command: str, tmp_path: Path) -> None:
    home = tmp_path / "my own's home"
    done = subprocess.run(
        [sys.executable, "-m", "loopwright.cli", *command.split(), "--home", str(home)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    printed = done.stderr.split("`")[1]
    assert shlex.split(printed) == ["loopwright", "serve", "--home", str(home)]


@pytest.mark.parametrize("command", [["--version"], ["images"], ["completion", "bash"]])
def test_what_cannot_be_written_is_said_in_one_sentence(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "loopwright.cli", *command],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.stderr == "loopwright: The output could not be written: No space left on device.\n"
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["", "a b", "*", "é", "../x", "a--", "x" * 10_000, "n-1", "A"])
def test_a_name_that_no_job_can_have_is_one_that_is_not_there(name: str) -> None:
    assert possible(name) == (name in ("n-1", "A") or set(name) == {"x"})
