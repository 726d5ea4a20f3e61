"""The worker portal with 100 workers and 10,000 open tasks, and what its page costs a browser.

Pages a second and their latencies beside a Starlette application that sends the same bytes from
memory without looking anything up: the limit of this way of serving. The page of a task in
Chromium: weight over the wire, and time until the first answer can be chosen; `--peer URL` measures
a page of another tool for the same task, such as Label Studio's, in the same browser
(`--peer-storage FILE`: a Playwright storage state that signs in; `--peer-ready SELECTOR`: what
must be there).

    python benchmarks/portal.py [--workers 100] [--tasks 10000] [--seconds 15]
"""

import argparse
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from common import folder, table

from loopwright.database import Database
from loopwright.kernel.records import Record
from loopwright.kernel.store import Store, insert_record, new_uid
from loopwright.people.accounts import CONFIRMED, Accounts
from loopwright.people.kinds import HUMAN_TASK_KIND
from loopwright.people.sessions import Sessions
from loopwright.people.tables import TASKS
from loopwright.people.templates import Templates
from tests.real.people import TEMPLATE, open_browser
from tests.server import Server

LIMIT = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

PAGE = open(sys.argv[1], encoding="utf-8").read()


async def page(request):
    return HTMLResponse(PAGE)


app = Starlette(routes=[Route("/{path:path}", page, methods=["GET", "POST"])])
uvicorn.run(app, port=int(sys.argv[2]), log_level="error", http="httptools", loop="uvloop")
"""


def seed(server: Server, workers: int, tasks: int) -> list[str]:
    """Workers who are signed in, and open tasks for them, as rows; the workers' cookies."""
    own = server.client("loopwright")
    first = own.invite_worker(WorkteamName="bench", Email="worker-0@example.com")
    pool, arn = first["UserPoolId"], first["WorkteamArn"]
    server.stop()
    database = Database(f"sqlite:///{server.home / 'loopwright.db'}")
    accounts, sessions = Accounts(database), Sessions(database)
    sha = Templates(database).keep(TEMPLATE)
    now = time.time()
    cookies = []
    for number in range(workers):
        name = f"worker-{number}@example.com"
        user = (
            accounts.find(pool, name)
            if number == 0
            else accounts.add(pool, name, {"email": name}, now, status=CONFIRMED)
        )
        accounts.join(user, "bench")
        cookies.append(sessions.open(user.sub, now))
    Store(database).database.write(lambda connection: _tasks(connection, tasks, arn, sha, now))
    database.close()
    server.start()
    return cookies


def _tasks(connection: Any, count: int, team: str, sha: str, now: float) -> None:
    for number in range(count):
        uid = new_uid()
        spec = {
            "WorkteamArn": team, "Job": f"review/flow-{number % 5}", "TaskTitle": "Judge a message",
            "TaskDescription": "Is it spam?", "TemplateSha": sha,
            "Input": {"text": f"message {number} " + "word " * 40}, "Count": 1,
            "TaskTimeLimitInSeconds": 3600, "AvailabilityLifetimeInSeconds": 86_400,
        }  # fmt: skip
        record = Record(
            "us-east-1", HUMAN_TASK_KIND.name, f"t-{uid}", uid, f"arn:{uid}", spec,
            {"HumanTaskStatus": "Open"}, now, now,
        )  # fmt: skip
        insert_record(connection, record, state="Open", due=None)
        row = {
            "uid": uid, "region": "us-east-1", "team": team, "job": spec["Job"],
            "title": "Judge a message", "description": "Is it spam?", "created": now + number / 1e6,
            "until": now + 86_400, "limit_s": 3600.0, "wanted": 1, "given": 0, "state": "open",
        }  # fmt: skip
        connection.execute(TASKS.insert().values(**row))


class Client(threading.Thread):
    """A worker who works without rest."""

    def __init__(self, host: str, cookie: str, number: int, end: float) -> None:
        super().__init__()
        self.host, self.cookie, self.end = host, cookie, end
        self.job = f"review/flow-{number % 5}"
        self.took: dict[str, list[float]] = {"list": [], "task": [], "page": [], "answer": []}
        self.failed = 0

    def ask(self, kind: str, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        began = time.perf_counter()
        self.connection.request(method, path, body, {"Cookie": self.cookie, **headers})
        answer = self.connection.getresponse()
        text = answer.read().decode()
        self.took[kind].append(time.perf_counter() - began)
        self.failed += answer.status >= 400
        return answer, text

    def run(self) -> None:
        self.connection = http.client.HTTPConnection(self.host, timeout=60)
        while time.perf_counter() < self.end:
            _, text = self.ask("list", "GET", "/work")
            token = re.search(r'name="csrf" value="([^"]+)"', text)
            assert token is not None, text[:200]
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode({"csrf": token[1], "job": self.job}).encode()
            self.connection.request("POST", "/work/take", body, {"Cookie": self.cookie, **kind})
            answer = self.connection.getresponse()
            answer.read()
            path = answer.headers["Location"]
            if not path.startswith("/work/tasks/"):
                return
            self.ask("task", "GET", path)
            self.ask("page", "GET", f"{path}/page")
            self.ask("answer", "POST", f"{path}/answer", b'{"answer":{"verdict":{"label":"spam"}}}',
                     **{"X-CSRF": token[1]})  # fmt: skip


def load(host: str, cookies: list[str], seconds: float) -> tuple[dict[str, list[float]], int]:
    """What each request took, by its kind, and how many failed."""
    end = time.perf_counter() + seconds
    clients = [Client(host, f"loopwright_work={c}", n, end) for n, c in enumerate(cookies)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    kinds = ("list", "task", "page", "answer")
    return {k: [t for c in clients for t in c.took[k]] for k in kinds}, sum(
        c.failed for c in clients
    )


def limit(host: str, workers: int, seconds: float) -> float:
    """Requests a second of the same clients' number against constant pages."""
    counts = [0] * workers
    end = time.perf_counter() + seconds

    def run(number: int) -> None:
        connection = http.client.HTTPConnection(host, timeout=60)
        while time.perf_counter() < end:
            connection.request("GET", "/x", headers={"Cookie": "loopwright_work=x"})
            connection.getresponse().read()
            counts[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def browse(
    url: str, ready: str, cookie: tuple[str, str] | None, storage: str | None
) -> list[float]:
    """KB over the wire and ms until `ready` is there, of a page that nothing has cached."""
    with open_browser() as browser:
        context = browser.new_context(storage_state=storage)
        if cookie is not None:
            context.add_cookies([{"name": cookie[0], "value": cookie[1], "url": url}])
        page = context.new_page()
        wire = context.new_cdp_session(page)
        wire.send("Network.enable")
        sizes: list[float] = []
        wire.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        began = time.perf_counter()
        page.goto(url, wait_until="commit")
        for frame_selector in ("#page", None):
            scope = page.frame_locator(frame_selector) if frame_selector else page
            try:
                scope.locator(ready).first.wait_for(timeout=30_000 if frame_selector else 60_000)
                break
            except Exception as error:  # noqa: BLE001 - the page of a peer has no frame
                if frame_selector is None:
                    raise SystemExit(f"{url} never showed {ready}: {error}") from None
        took = (time.perf_counter() - began) * 1000
        page.wait_for_load_state("networkidle")
        return [sum(sizes) / 1024, took]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--peer", default="", help="a page of another tool for the same task")
    parser.add_argument("--peer-ready", default="body")
    parser.add_argument("--peer-storage", default=None)
    arguments = parser.parse_args()
    with folder() as home:
        server = Server(Path(home) / "home", cpus=1)
        server.start()
        cookies = seed(server, arguments.workers, arguments.tasks)
        host = urlsplit(server.url).netloc
        took, failed = load(host, cookies, arguments.seconds)
        rows = []
        total = sum(len(times) for times in took.values())
        for kind, times in took.items():
            ordered = sorted(times)
            rows.append([
                kind, f"{len(times) / arguments.seconds:.0f}",
                f"{statistics.median(times) * 1e3:.0f}",
                f"{ordered[int(len(ordered) * 0.99)] * 1e3:.0f}",
            ])  # fmt: skip
        table(f"{arguments.workers} workers, {arguments.tasks} open tasks",
              ["page", "a second", "p50 ms", "p99 ms"], rows)  # fmt: skip
        print(f"{failed} of {total} requests failed")
        compare(host, cookies, arguments, total / arguments.seconds, Path(home))
        weigh(server, cookies, arguments)
        server.stop()


def compare(host: str, cookies: list[str], arguments: Any, ours: float, home: Path) -> None:
    """Beside constant pages of the same size."""
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", "/work", headers={"Cookie": f"loopwright_work={cookies[0]}"})
    (home / "page.html").write_bytes(connection.getresponse().read())
    with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as script:
        script.write(LIMIT)
    port = 18_217
    command = [sys.executable, script.name, str(home / "page.html"), str(port)]
    process = subprocess.Popen(command)
    try:
        time.sleep(2)
        most = limit(f"127.0.0.1:{port}", arguments.workers, arguments.seconds / 2)
    finally:
        process.terminate()
        process.wait()
    print(f"constant pages from memory, same clients: {most / ours:.1f} x our requests a second")


def weigh(server: Server, cookies: list[str], arguments: Any) -> None:
    """The page of a task in a browser."""
    host = urlsplit(server.url).netloc
    connection = http.client.HTTPConnection(host, timeout=60)
    cookie = f"loopwright_work={cookies[1]}"
    connection.request("GET", "/work", headers={"Cookie": cookie})
    text = connection.getresponse().read().decode()
    path = re.search(r'href="(/work/tasks/[^"]+)"', text)
    if path is None:
        token = re.search(r'name="csrf" value="([^"]+)"', text)
        job = re.search(r'name="job" value="([^"]+)"', text)
        assert token is not None
        assert job is not None
        body = urlencode({"csrf": token[1], "job": job[1]}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
        connection.request("POST", "/work/take", body, kind)
        where = connection.getresponse().headers["Location"]
    else:
        where = path[1]
    own = browse(f"{server.url}{where}", "input[type=radio], [role=radio]",
                 ("loopwright_work", cookies[1]), None)  # fmt: skip
    rows = [["Loopwright", f"{own[0]:.0f}", f"{own[1]:.0f}", "1.0"]]
    if arguments.peer:
        other = browse(arguments.peer, arguments.peer_ready, None, arguments.peer_storage)
        rows.append(["peer", f"{other[0]:.0f}", f"{other[1]:.0f}", f"{other[1] / own[1]:.1f}"])
    table("A classification task in Chromium, nothing cached",
          ["page", "KB", "ms until it can be answered", "ratio"], rows)  # fmt: skip


if __name__ == "__main__":
    main()
