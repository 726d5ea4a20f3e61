"""Listings against a model: any keys, prefixes, delimiters, markers and page sizes."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.objects.listing import after_marker, scan
from loopwright.objects.store import LocalObjects

# Few characters, so that prefixes and groups meet often; some of them at the edges of UTF-8.
TEXT = st.text(st.sampled_from("ab/\x00\x7f\x80é\uffff\U0010ffff"), max_size=6)
KEYS = st.text(st.sampled_from("ab/\x00\x7f\x80é\uffff\U0010ffff"), min_size=1, max_size=8)
ANY_KEY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


class Row:
    """A row that has only a key."""

    def __init__(self, key: bytes) -> None:
        self.key = key


def model(keys: set[bytes], prefix: bytes, delimiter: bytes, marker: bytes) -> list[bytes]:
    """Every entry of a listing, by the rule as S3's documentation tells it."""
    entries = set()
    for key in keys:
        if not key.startswith(prefix):
            continue
        found = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = key if found < 0 else key[: found + len(delimiter)]
        if (entry != marker if found >= 0 else True) and key > marker:
            entries.add(entry)
    return sorted(entries)


@given(
    st.sets(KEYS, max_size=40), TEXT, st.sampled_from(["", "/", "a", "/a", "é"]), TEXT,
    st.integers(1, 5),
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_pages_are_the_model(
    keys: set[str], prefix: str, delimiter: str, marker: str, limit: int
) -> None:
    raw = sorted(key.encode() for key in keys)
    reads = 0

    def fetch(low: bytes, count: int) -> Any:
        nonlocal reads
        reads += 1
        return [Row(key) for key in raw if key >= low][:count]

    low = after_marker(marker.encode(), prefix.encode(), delimiter.encode())
    shown: list[bytes] = []
    while True:
        page = scan(fetch, low, prefix.encode(), delimiter.encode(), limit)
        assert len(page.entries) <= limit
        shown += [entry.name for entry in page.entries]
        if page.next is None:
            break
        assert page.entries
        low = page.next
    wanted = model(set(raw), prefix.encode(), delimiter.encode(), marker.encode())
    assert shown == wanted


def test_a_group_is_passed_without_reading_it() -> None:
    raw = [b"a/%06d" % number for number in range(50_000)] + [b"b"]
    rows = 0

    def fetch(low: bytes, count: int) -> Any:
        nonlocal rows
        found = [Row(key) for key in raw if key >= low][:count]
        rows += len(found)
        return found

    page = scan(fetch, b"", b"", b"/", 1000)
    assert [entry.name for entry in page.entries] == [b"a/", b"b"]
    assert rows < 200


@given(st.dictionaries(ANY_KEY, st.binary(max_size=50), max_size=8))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_keys_through_the_face(s3: Any, bucket: str, contents: dict[str, bytes]) -> None:
    fitting = {key: body for key, body in contents.items() if len(key.encode()) <= 1024}
    for key, body in fitting.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    assert [found["Key"] for found in listed] == sorted(fitting, key=str.encode)
    for key, body in fitting.items():
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
        s3.delete_object(Bucket=bucket, Key=key)


def test_a_listing_while_others_write(local: LocalObjects, bucket: str, tmp_path: Path) -> None:
    for number in range(10):
        local.put(bucket, f"{number}", [b"x"])
    listing = local.list(bucket, "")
    first = next(listing)
    for number in range(10):
        local.delete(bucket, f"{number}")
    assert first.key == "0"
    assert all(found.key in "0123456789" for found in listing)
