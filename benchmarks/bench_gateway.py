"""The gateway's own CPU a request, against HAProxy in front of the same upstream.

The gateway verifies the signature of every request, which HAProxy does not; the time of that alone
is measured in this process and shown beside.
"""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
from common import (
    HERE,
    REGION,
    await_listening,
    client,
    folder,
    free_port,
    goal,
    load,
    ratio,
    remark,
    sent_by,
    spawned,
    table,
)

from loopwright.keys import KeyFile
from loopwright.router.routes import route_file
from loopwright.wire.http import Request
from loopwright.wire.sigv4 import verify

ROUNDS = 5
SECONDS = 1.0
GOAL = 2.0
ENDPOINT = "bench"
# By endpoint: what its route has more, and the goal of its hop.
WATCHED = {
    "captured": (("capture",), 3.5),
    "captured-shadowed": (("capture", "shadows"), 4.0),
}
ROW = [round(0.137 * n - 4, 3) for n in range(64)]
BODIES = {"1 row": orjson.dumps([ROW]), "38 KB": orjson.dumps([ROW] * 100)[:38_000]}
HAPROXY = """\
global
  nbthread 1
  maxconn 1024
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  option http-keep-alive
  http-reuse always
frontend public
  bind 127.0.0.1:{port}
  default_backend model
backend model
  server one unix@{upstream}
"""


def main() -> None:
    haproxy = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    with folder() as home, contextlib.ExitStack() as stack:
        upstream = stack.enter_context(_upstream(home))
        gateway_port, key = free_port(), KeyFile(home / "keys.json").ensure()
        gateway = stack.enter_context(_gateway(home, gateway_port))
        targets = {
            "upstream alone": (str(home / "run" / "up.sock"), upstream),
            "gateway": (gateway_port, gateway),
        }
        if haproxy is None:
            print("haproxy is not installed, so its row is left out (apt-get install haproxy).")
        else:
            port = free_port()
            proxy = stack.enter_context(_haproxy(haproxy, home, port))
            targets["HAProxy"] = (port, proxy)
        measure(targets, gateway_port, key)
    remark()


def measure(
    targets: dict[str, tuple[str | int, "subprocess.Popen[bytes]"]],
    gateway_port: int,
    key: tuple[str, str],
) -> None:
    """All targets in turn, for each body and number of connections."""
    runtime = client("sagemaker-runtime", f"http://127.0.0.1:{gateway_port}", key)
    for shown, body in BODIES.items():
        checked = [verify_us(key, runtime, body) for _ in range(ROUNDS)]
        for connections in (1, 32):
            request = sent_by(
                runtime, "invoke_endpoint", EndpointName=ENDPOINT, Body=body,
                ContentType="application/json",
            )  # fmt: skip
            found: dict[str, list[float]] = {name: [] for name in targets}
            per_s: dict[str, list[float]] = {name: [] for name in targets}
            for _ in range(ROUNDS):
                for name, (address, process) in targets.items():
                    seen = load(address, connections, SECONDS, [(request, [7])], [process.pid])
                    found[name].append(seen.cpu_us)
                    per_s[name].append(seen.per_s)
            less = [a - b for a, b in zip(found["gateway"], checked, strict=True)]
            report(f"{shown}, {connections} connections", found, per_s, less)
            if "HAProxy" in targets and connections > 1:
                watched(targets, gateway_port, runtime, shown, body)


def watched(
    targets: dict[str, tuple[str | int, "subprocess.Popen[bytes]"]],
    gateway_port: int,
    runtime: object,
    shown: str,
    body: bytes,
) -> None:
    """The hop with capture, and with capture and a shadow that gets every request, to HAProxy."""
    gateway = targets["gateway"][1]
    requests = {
        name: sent_by(
            runtime, "invoke_endpoint", EndpointName=name, Body=body,
            ContentType="application/json",
        )
        for name in (ENDPOINT, *WATCHED)
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in ("HAProxy", *WATCHED)}
    for _ in range(ROUNDS):
        address, process = targets["HAProxy"]
        seen = load(address, 32, SECONDS, [(requests[ENDPOINT], [7])], [process.pid])
        found["HAProxy"].append(seen.cpu_us)
        for name in WATCHED:
            seen = load(gateway_port, 32, SECONDS, [(requests[name], [7])], [gateway.pid])
            found[name].append(seen.cpu_us)
    rows = [
        [name, f"{statistics.median(values):.0f}", f"{ratio(values, found['HAProxy']):.2f}"]
        for name, values in found.items()
    ]
    title = f"{shown}, 32 connections, all requests captured and copied"
    table(title, ["", "CPU us a request", "x HAProxy"], rows)
    for name, (_, wanted) in WATCHED.items():
        goal(f"the hop, {name}, to HAProxy", ratio(found[name], found["HAProxy"]), wanted)


def report(
    title: str,
    found: dict[str, list[float]],
    per_s: dict[str, list[float]],
    less: list[float],
) -> None:
    """One table. `less` is the gateway's time without the verification."""
    peer = found.get("HAProxy")
    rows = []
    for name, values in {**found, "gateway less its verification": less}.items():
        times = f"{ratio(values, peer):.2f}" if peer else "-"
        rate = f"{statistics.median(per_s[name]):,.0f}" if name in per_s else "-"
        rows.append([name, f"{statistics.median(values):.0f}", times, rate])
    table(title, ["", "CPU us a request", "x HAProxy", "requests/s"], rows)
    if peer:
        goal("the hop with its verification, to HAProxy", ratio(found["gateway"], peer), GOAL)
        goal("the hop without the verification, to HAProxy", ratio(less, peer), GOAL)


def verify_us(key: tuple[str, str], runtime: object, body: bytes) -> float:
    """CPU time of one verification of this request."""
    raw = sent_by(
        runtime, "invoke_endpoint", EndpointName=ENDPOINT, Body=body,
        ContentType="application/json",
    )  # fmt: skip
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    request = Request("POST", first.split(" ")[1], "", headers, rest)
    keys, now, count = dict([key]), time.time(), 1000
    started = time.process_time()
    for _ in range(count):
        verify(request, keys, now)
    return (time.process_time() - started) / count * 1e6


@contextlib.contextmanager
def _upstream(home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    (home / "run").mkdir()
    path = str(home / "run" / "up.sock")
    with spawned([sys.executable, str(HERE / "upstream.py"), path]) as process:
        await_listening(path, process)
        yield process


@contextlib.contextmanager
def _gateway(home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The gateway alone, with a route as the control plane would publish it."""
    (home / "routes").mkdir()
    route = {
        "endpoint": ENDPOINT,
        "region": REGION,
        "arn": f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/{ENDPOINT}",
        "variants": [
            {
                "name": "AllTraffic",
                "weight": 1.0,
                "strategy": "RANDOM",
                "instances": [{"id": "bench#0.0", "address": "run/up.sock"}],
            }
        ],
    }
    variant: dict[str, object] = route["variants"][0]  # type: ignore[index]
    told = {"uri": "s3://bucket/captured", "csv": [], "json": ["application/json"]}
    more = {
        "capture": {"share": 1.0, "requests": True, "answers": True, "told": told},
        "shadows": [{**variant, "name": "Shadow", "of": "AllTraffic", "share": 1.0}],
    }
    for name, members in {ENDPOINT: (), **{name: w[0] for name, w in WATCHED.items()}}.items():
        document = {**route, "endpoint": name} | {member: more[member] for member in members}
        path = route_file(home / "routes", f"{REGION}/{name}")
        path.write_bytes(orjson.dumps(document))
    command = [
        sys.executable,
        "-m",
        "loopwright.router.gateway",
        str(home),
        "127.0.0.1",
        str(port),
        "123456789012",
    ]
    with spawned(command) as process:
        await_listening(port, process)
        yield process


@contextlib.contextmanager
def _haproxy(binary: str, home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    settings = home / "haproxy.cfg"
    settings.write_text(HAPROXY.format(port=port, upstream=home / "run" / "up.sock"))
    with spawned([binary, "-f", str(settings), "-db"]) as process:
        await_listening(port, process)
        yield process


if __name__ == "__main__":
    main()
