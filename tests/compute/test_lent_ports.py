"""Which ports of this machine's loopback a serving container reaches."""

import pytest

from loopwright.compute import driver


@pytest.mark.parametrize(
    ("url", "objects", "ports"),
    [
        ("http://127.0.0.1:8017", None, [8017]),
        ("http://127.0.0.1:8017", "http://127.0.0.1:4566", [4566, 8017]),
        ("http://127.0.0.1:8017", "http://localhost:9000", [8017, 9000]),
        ("http://127.0.0.1:8017", "http://127.0.0.1:8017", [8017]),
        ("http://127.0.0.1:8017", "https://s3.example.com", [8017]),
        ("http://127.0.0.1:8017", "https://s3.example.com:9000", [8017]),
        ("http://192.0.2.7:8017", "http://127.0.0.1:4566", [4566]),
        # The container's own server is there.
        ("http://127.0.0.1:8017", "http://127.0.0.1:8080", [8017]),
        ("", None, []),
    ],
)
def test_loopwright_and_an_object_store_beside_it(
    monkeypatch: pytest.MonkeyPatch, url: str, objects: str | None, ports: list[int]
) -> None:
    lent: list[int] = []
    monkeypatch.setattr(driver, "lend", lambda pid, port: lent.append(port))
    made = driver.Driver.__new__(driver.Driver)
    environment = {"AWS_ENDPOINT_URL": url}
    if objects is not None:
        environment["AWS_ENDPOINT_URL_S3"] = objects
    made._program = {"environment": environment}
    made._lend_own(1)
    assert lent == ports
