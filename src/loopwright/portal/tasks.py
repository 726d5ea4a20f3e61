"""Work: what waits, one task at a time, its page, its answer."""

from typing import Any, Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from loopwright.people.liquid import TemplateError, render
from loopwright.people.operations import library_tag
from loopwright.people.pool import DECLINED, LATE, SUBMITTED, Assignment, Gone
from loopwright.portal.desk import Desk
from loopwright.portal.web import (
    ANSWER_BYTES_MAX,
    HEADERS,
    PAGES,
    Refused,
    as_json,
    check_csrf,
    check_origin,
    form,
    limited,
    origin,
    page,
    to,
)
from loopwright.portal.workers import Worker
from loopwright.wire.depth import read_json

SANDBOX: Final = "allow-scripts allow-forms allow-popups allow-downloads allow-modals"
WAYS: Final = {"decline": True, "return": False}


class TaskRoutes:
    """The pages of a signed-in worker."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def overview(self, request: Request) -> Response:
        """What waits for the worker, and what is in hand."""
        try:
            session, worker = await self._desk.who(request)
        except Refused:
            return to("/work/sign-in")
        now = self._desk.clock.now()
        jobs = await run_in_threadpool(self._desk.pool.jobs, worker.sub, worker.teams, now)
        held = await run_in_threadpool(self._desk.pool.held, worker.sub, worker.teams, now)
        holding = {item.job for item in held}
        waiting = {(job.team, job.name): job.open - 1 for job in jobs}
        return page(
            "overview", title="Your work", worker=worker.name, csrf=session.csrf,
            held=held, waiting=waiting, jobs=[job for job in jobs if job.name not in holding],
            said=request.query_params.get("said", ""), in_team=bool(worker.teams),
        )  # fmt: skip

    async def take(self, request: Request) -> Response:
        """Lease the next task of a job."""
        check_origin(request)
        session, worker = await self._desk.who(request)
        fields = await form(request)
        check_csrf(fields.get("csrf", ""), session.csrf)
        taken = await run_in_threadpool(self._take, worker, fields.get("job", ""))
        return to(f"/work/tasks/{taken.task}" if taken is not None else "/work?said=none")

    def _take(self, worker: Worker, job: str) -> Assignment | None:
        now = self._desk.clock.now()
        return self._desk.pool.take(worker.sub, worker.teams, job, now, worker.identity)

    async def task_page(self, request: Request) -> Response:
        """One task: the frame with its page, the time that is left, the ways out."""
        try:
            session, worker = await self._desk.who(request)
        except Refused:
            return to(f"/work/sign-in?next={quote(request.url.path)}")
        held = await run_in_threadpool(self._held, request, worker)
        if held.state in (SUBMITTED, LATE):
            return to("/work?said=answered")
        if held.state == DECLINED:
            return to("/work?said=declined")
        more = await run_in_threadpool(self._waiting, worker, held)
        left_s = max(0.0, (held.until - self._desk.clock.now()) / self._desk.scale)
        return page(
            "task", title=held.title, worker=worker.name, csrf=session.csrf, task=held,
            left_s=round(left_s, 1), more=more,
        )  # fmt: skip

    def _waiting(self, worker: Worker, held: Assignment) -> int:
        """How many tasks of a task's job wait for the worker, besides the one in hand."""
        jobs = self._desk.pool.jobs(worker.sub, (held.team,), self._desk.clock.now())
        return next((job.open - 1 for job in jobs if job.name == held.job), 0)

    def _held(self, request: Request, worker: Worker) -> Assignment:
        task = request.path_params["task"]
        if "\0" in task:
            raise Refused(404, "There is no such page.")
        try:
            return self._desk.pool.assignment(task, worker.sub, worker.teams)
        except Gone as error:
            raise Refused(404, str(error)) from None

    async def template_page(self, request: Request) -> Response:
        """The rendered template, for the sandboxed frame and nothing else."""
        _, worker = await self._desk.who(request)
        held = await run_in_threadpool(self._held, request, worker)
        content = await run_in_threadpool(self._rendered, held)
        return HTMLResponse(content, headers=self._frame_headers(request))

    def _rendered(self, held: Assignment) -> str:
        record = self._desk.store.by_uid(held.task)
        if record is None:
            raise Refused(404, "This task has been removed.")
        template = self._desk.templates.get(record.spec["TemplateSha"])
        if template is None:
            raise Refused(404, "The template of this task is not there any more.")
        try:
            return render(
                template, {"input": record.spec["Input"]}, self._desk.links.to, library_tag()
            )
        except TemplateError as error:
            return PAGES.get_template("broken.html").render(text=str(error))

    def _frame_headers(self, request: Request) -> dict[str, str]:
        """A page that reaches nothing: neither our cookies nor another host."""
        ours = origin(request)
        more = " ".join(("", *self._desk.sources))
        policy = (
            f"sandbox {SANDBOX}; default-src 'none'; script-src {ours}{more} 'unsafe-inline'; "
            f"style-src {ours}{more} 'unsafe-inline'; img-src {ours}{more} data: blob:; "
            f"media-src {ours}{more} data: blob:; font-src {ours}{more} data:; "
            f"connect-src {ours}/work/objects/ {ours}/work/static/{more}; form-action 'none'; "
            "base-uri 'none'; frame-ancestors 'self'"
        )
        return {**HEADERS, "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}

    async def answer(self, request: Request) -> Response:
        """Keep an answer; the same one again changes nothing."""
        check_origin(request)
        try:
            session, worker = await self._desk.who(request)
        except Refused as error:
            return as_json({"error": error.text, "signed_out": True}, 401)
        check_csrf(request.headers.get("x-csrf", ""), session.csrf)
        answer = _read_answer(await limited(request, ANSWER_BYTES_MAX))
        task = request.path_params["task"]

        def keep() -> dict[str, Any]:
            now = self._desk.clock.now()
            pool = self._desk.pool
            state = pool.submit(task, worker.sub, worker.teams, answer, now)
            self._desk.wake()
            job = pool.assignment(task, worker.sub, worker.teams).job
            following = self._take(worker, job)
            where = f"/work/tasks/{following.task}" if following else "/work?said=done"
            return {"state": state, "next": where}

        try:
            return as_json(await run_in_threadpool(keep))
        except Gone as error:
            return as_json({"error": str(error), "gone": True}, 410)

    async def let_go(self, request: Request) -> Response:
        """Give a task back, or say no to it."""
        check_origin(request)
        way = request.path_params["way"]
        if way not in WAYS:
            raise Refused(404, "There is no such page.")
        session, worker = await self._desk.who(request)
        check_csrf((await form(request)).get("csrf", ""), session.csrf)

        def go() -> None:
            self._desk.pool.let_go(
                request.path_params["task"], worker.sub, worker.teams, self._desk.clock.now(),
                decline=WAYS[way],
            )  # fmt: skip

        try:
            await run_in_threadpool(go)
        except Gone as error:
            raise Refused(404, str(error)) from None
        return to(f"/work?said={'declined' if WAYS[way] else 'returned'}")


def _read_answer(body: bytes) -> dict[str, Any]:
    try:
        answer = read_json(body)["answer"]
    except (ValueError, KeyError, TypeError):
        raise Refused(400, "The answer is no JSON object.") from None
    if not isinstance(answer, dict):
        raise Refused(400, "The answer is no JSON object.")
    return answer
