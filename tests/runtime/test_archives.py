import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from loopwright.runtime.archives import ArchiveError, pack, unpack


def tar_of(path: Path, *members: tuple[str, bytes, str, str], mode: str = "w:gz") -> Path:
    """Members are (name, type, content or link target, unused)."""
    with tarfile.open(path, mode) as tar:
        for name, kind, content, _ in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
            else:
                member.linkname = content
                tar.addfile(member)
    return path


def file(name: str, content: str = "x") -> tuple[str, bytes, str, str]:
    return name, tarfile.REGTYPE, content, ""


def link(name: str, target: str) -> tuple[str, bytes, str, str]:
    return name, tarfile.SYMTYPE, target, ""


def hard(name: str, target: str) -> tuple[str, bytes, str, str]:
    return name, tarfile.LNKTYPE, target, ""


ATTACKS = {
    "parent": [file("../evil")],
    "deep parent": [file("a/../../evil")],
    "absolute": [file("/tmp/evil")],
    "absolute link": [link("l", "/etc/passwd")],
    "link to parent": [link("l", "../outside")],
    "file through a link": [link("l", "."), file("l/../x")],
    "write through a link": [file("d/f"), link("l", "d"), file("l/g")],
    "chained links": [link("b", "x/y/.."), file("x/keep"), link("x/y", "..")],
    "hard link outside": [hard("h", "../../etc/passwd")],
    "hard link to nothing": [hard("h", "later"), file("later")],
    "hard link through a link": [link("l", "."), file("f"), hard("h", "l/f")],
    "device": [("d", tarfile.CHRTYPE, "", "")],
    "pipe": [("p", tarfile.FIFOTYPE, "", "")],
    "folder and file": [file("a/b"), file("a")],
    "below a file": [file("a"), file("a/b")],
}


@pytest.mark.parametrize("members", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused_by_name_and_leaves_nothing(tmp_path, members):
    archive = tar_of(tmp_path / "a.tgz", *members)
    into = tmp_path / "deep" / "into"
    with pytest.raises(ArchiveError, match=r"member '|exceeds"):
        unpack(archive, into)
    assert not into.exists()
    assert list((tmp_path / "deep").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tgz", "deep"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_plain_archive_arrives(tmp_path, mode):
    members = [file("./a/b.txt", "hello"), link("a/l", "b.txt"), hard("h", "a/b.txt")]
    unpack(tar_of(tmp_path / "a", *members, mode=mode), tmp_path / "into")
    assert (tmp_path / "into/a/l").read_text() == "hello"
    assert (tmp_path / "into/h").read_text() == "hello"


def test_the_last_member_of_a_name_counts(tmp_path):
    unpack(tar_of(tmp_path / "a", file("f", "1"), file("f", "2")), tmp_path / "into")
    assert (tmp_path / "into/f").read_text() == "2"


def test_zip_is_unpacked_and_its_attacks_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as bundle:
        bundle.writestr("a/b", "x")
    unpack(tmp_path / "good.zip", tmp_path / "good")
    assert (tmp_path / "good/a/b").read_text() == "x"
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as bundle:
        bundle.writestr("../b", "x")
    with pytest.raises(ArchiveError, match=r"'\.\./b'"):
        unpack(tmp_path / "bad.zip", tmp_path / "bad")
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as bundle:
        entry = zipfile.ZipInfo("l")
        entry.external_attr = 0o120777 << 16
        bundle.writestr(entry, "/etc/passwd")
    with pytest.raises(ArchiveError, match="link or device"):
        unpack(tmp_path / "link.zip", tmp_path / "link")


def test_bounds_hold_for_what_is_really_unpacked(tmp_path):
    archive = tar_of(tmp_path / "a", file("zeros", "0" * 100_000))
    with pytest.raises(ArchiveError, match="more than 1000 bytes"):
        unpack(archive, tmp_path / "into", bytes_max=1000)
    archive = tar_of(tmp_path / "b", *[file(f"f{n}") for n in range(5)])
    with pytest.raises(ArchiveError, match="exceeds 4 members"):
        unpack(archive, tmp_path / "into", members_max=4)
    assert not (tmp_path / "into").exists()


def test_a_cut_or_foreign_file_is_no_archive(tmp_path):
    whole = tar_of(tmp_path / "a.tgz", file("f", os.urandom(50_000).hex())).read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        (tmp_path / "cut").write_bytes(content)
        with pytest.raises(ArchiveError, match="cannot be read"):
            unpack(tmp_path / "cut", tmp_path / "into")
        assert not (tmp_path / "into").exists()


def test_an_occupied_folder_is_refused_and_leftovers_are_not_in_the_way(tmp_path):
    archive = tar_of(tmp_path / "a", file("f"))
    into = tmp_path / "into"
    (into / ".unpack-dead").mkdir(parents=True)
    unpack(archive, into)
    assert [path.name for path in into.iterdir()] == ["f"]
    with pytest.raises(ArchiveError, match="already holds f"):
        unpack(archive, into)


def test_where_the_folder_cannot_be_replaced_the_members_move_in(tmp_path, monkeypatch):
    into = tmp_path / "into"
    into.mkdir()

    def busy(source, target):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(os, "rename", busy)
    unpack(tar_of(tmp_path / "a", file("d/f")), into)
    assert (into / "d/f").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "into"]


def test_packing_depends_on_content_only_and_round_trips(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "b").mkdir(parents=True)
        (folder / "b/f").write_text("content")
        (folder / "run").write_text("#!")
        (folder / "run").chmod(0o700)
        (folder / "l").symlink_to("b/f")
    os.utime(tmp_path / "two/b/f", (1, 1))
    pack(tmp_path / "one", tmp_path / "one.tgz")
    pack(tmp_path / "two", tmp_path / "two.tgz")
    assert (tmp_path / "one.tgz").read_bytes() == (tmp_path / "two.tgz").read_bytes()
    unpack(tmp_path / "one.tgz", tmp_path / "back")
    assert (tmp_path / "back/l").read_text() == "content"
    assert os.access(tmp_path / "back/run", os.X_OK)


def test_packing_refuses_what_leaves_the_folder(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f/l").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveError, match="'l' links to '/etc/passwd'"):
        pack(tmp_path / "f", tmp_path / "f.tgz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f"]
