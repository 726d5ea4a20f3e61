"""`serve` with values that cannot be: one sentence with the way out, and nothing left behind."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright import cli

CASES = [
    ("--port 70000", "65535"),
    ("--port -1", "65535"),
    ("--cpus -1", "above 0"),
    ("--cpus nan", "above 0"),
    ("--time-scale 0", "above 0"),
    ("--time-scale -3", "above 0"),
    ("--time-scale nan", "above 0"),
    ("--time-scale inf", "at most 100000"),
    ("--region Frankfurt", "us-east-1"),
    ("--region us_east_1", "us-east-1"),
    ("--account 12", "12 digits"),
    ("--account ١٢٣٤٥٦٧٨٩٠١٢", "12 digits"),
    ("--engine foo", "podman, docker, none"),
    ("--engine unix://", "unix:///var/run/docker.sock"),
    ("--database foo", "postgresql+psycopg://"),
    ("--database foo://a/b", "postgresql+psycopg://"),
    ("--database mysql://user@host/name", "postgresql+psycopg://"),
    ("--database sqlite://", "sqlite:///PATH"),
    ("--database sqlite:///{folder}", "folder"),
    ("--database sqlite:///{file}/x.db", "lies below a file"),
    ("--database sqlite:///{file}", "The database cannot be used"),
    ("--objects http://host", "s3://ACCESS:SECRET@HOST"),
    ("--objects s3://host", "secret is missing"),
    ("--objects s3://key:secret@", "host is missing"),
    ("--objects s3://key:secret@host:99999", "host or port"),
    ("--objects s3://key:secret@host/bucket", "/bucket"),
    ("--spot-interruptions 7", "SEED:MEAN_S"),
    ("--spot-interruptions x:1", "SEED:MEAN_S"),
    ("--spot-interruptions 7:0", "SEED:MEAN_S"),
    ("--spot-interruptions 7:nan", "SEED:MEAN_S"),
    ("--page-source cdn.example.org", "https://cdn.example.org"),
    ("--page-source https://a.example;script-src", "https://cdn.example.org"),
    ("--gateway-workers 0", "1 to 64"),
    ("--gateway-workers 65", "1 to 64"),
    ("--host no-such-host.invalid", "127.0.0.1"),
    ("--host 203.0.113.7", "no address of this machine"),
]


def _refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit, match="1"):
        cli.main(["serve", *words])
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("loopwright: ") and told.err.count("\n") == 1, told.err
    return told.err


@pytest.mark.parametrize(("words", "told"), CASES, ids=[words for words, _ in CASES])
def test_a_value_that_cannot_be_is_refused_before_anything_is_made(
    words: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("no database")
    words = words.format(folder=tmp_path / "folder", file=tmp_path / "file")
    given = ["--port", "0", *words.split(" ", 1), "--home", str(tmp_path / "home")]
    said = _refused(capsys, *given)
    assert told in said
    assert "key:secret" not in said
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("where", ["file", "file/deep/home", "/proc/loopwright", "/dev/null"])
def test_a_home_that_cannot_be_a_folder_is_refused(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    home = str(tmp_path / where)
    told = _refused(capsys, "--port", "0", "--home", home)
    assert home in told and "--home" in told
    assert (tmp_path / "file").read_text() == "kept"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "a folder with a file"])
def test_a_taken_port_leaves_nothing_behind(
    before: str, taken: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    if before != "nothing":
        home.mkdir()
    if before == "a folder with a file":
        (home / "mine.txt").write_text("kept")
    told = _refused(capsys, "--home", str(home), "--port", str(taken))
    assert f"Port {taken}" in told and "--port" in told
    assert not (home / "keys.json").exists()
    if before == "a folder with a file":
        assert (home / "mine.txt").read_text() == "kept"
    else:
        assert home.exists() == (before != "nothing")
        assert not home.exists() or not os.listdir(home)
