"""Addresses of objects: which texts are one, who can make one, when they end."""

import re
import time
from pathlib import Path

import pytest

from loopwright.people.links import PATH, NoObject, ObjectLinks, split

BASE = "http://127.0.0.1:8017"


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("s3://bucket/a/b.png", ("bucket", "a/b.png")),
        ("s3://bucket", None),
        ("s3://bucket/", None),
        ("s3:///key", None),
        ("http://s3.amazonaws.com/bucket/a%20b", ("bucket", "a b")),
        ("https://bucket.s3.amazonaws.com/key", ("bucket", "key")),
        ("https://my.dotted.bucket.s3.eu-west-1.amazonaws.com/key", ("my.dotted.bucket", "key")),
        ("https://bucket.s3-us-west-2.amazonaws.com/key", ("bucket", "key")),
        ("https://bucket.s3.dualstack.us-east-1.amazonaws.com/key", ("bucket", "key")),
        (f"{BASE}/bucket/key", ("bucket", "key")),
        ("http://127.0.0.1:9999/bucket/key", None),
        ("https://evil.example/s3.amazonaws.com/x", None),
        ("https://s3.amazonaws.com@evil.example/bucket/x", None),
        ("https://s3.amazonaws.com.evil.example/bucket/x", None),
        ("https://ec2.amazonaws.com/bucket/x", None),
        ("http://[", None),
        ("http://[::1", None),
        ("javascript:alert(1)", None),
        (" s3://bucket/key", None),
        ("s3://bucket/key\n", None),
        ("s3://bucket/a key", ("bucket", "a key")),
        ("s3://a bucket/key", None),
        ("s3://{{ bucket }}/key", None),
        ("   ", None),
        ("", None),
    ],
)
def test_what_is_the_address_of_an_object(uri: str, found: tuple[str, str] | None) -> None:
    assert split(uri, BASE) == found


def links(folder: Path) -> ObjectLinks:
    return ObjectLinks(folder / "links.key", lambda: BASE)


def token_of(address: str) -> str:
    return address.removeprefix(PATH).partition("/")[0]


def test_addresses_are_of_one_home_and_one_object(tmp_path: Path) -> None:
    ours = links(tmp_path)
    token = token_of(ours.to("s3://bucket/ä/../x.png"))
    assert ours.read(token) == ("bucket", "ä/../x.png")
    assert links(tmp_path).read(token) == ("bucket", "ä/../x.png")
    assert (tmp_path / "links.key").stat().st_mode & 0o077 == 0
    other = tmp_path / "other"
    other.mkdir()
    assert links(other).read(token) is None
    for wrong in ("", ".", "a.b", token + "x", token[1:], token.partition(".")[0], "ä.ö"):
        assert ours.read(wrong) is None
    for none, why in (
        ("just text", "'just text'; it must be an S3 URI"), ("", "is empty"),
        (" \n", "only white space"), (" s3://b/k", "remove the white space"),
        ("s3://bucket", "lacks its bucket or its key"), ("s3:///k", "lacks its bucket or its key"),
        ("gs://bucket/key", "it must be an S3 URI"), ("x" * 999, "xxx…'"),
    ):  # fmt: skip
        with pytest.raises(NoObject, match=re.escape(why)):
            ours.to(none)
        with pytest.raises(NoObject):
            ours.absolute(none)
    assert ours.absolute("s3://bucket/k").startswith(f"{BASE}{PATH}")


def test_addresses_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = links(tmp_path)
    token = token_of(ours.to("s3://bucket/k", 3600.0))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3500)
    assert ours.read(token) == ("bucket", "k")
    monkeypatch.setattr(time, "time", lambda: now + 7201)
    assert ours.read(token) is None


def test_a_key_file_that_was_not_written_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "links.key").write_bytes(b"")
    token = token_of(links(tmp_path).to("s3://bucket/k"))
    assert links(tmp_path).read(token) == ("bucket", "k")
