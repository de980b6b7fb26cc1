"""Part `runs`: start a verb from its form, watch it, stop and resume it, compare two.

What this means for safety: a run does what the user could do in a shell, with the user's rights,
and its fields are addresses of files. So whoever may post here is the user: the guard asks for the
cookie of this session and for the studio's own origin. The server itself opens none of these
addresses; it hands them to `python -m fallow` as single words, past any shell, when the user
presses start. It reads files of fixed names in the folder that such a run was given to write into.
A command of one's own (an enhancer for `grade`) cannot be given here at all.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from fallow.declare import Declaration
from fallow.problems import Problem, SettingProblem, did_you_mean
from fallow.studio import forms, progress
from fallow.studio.desk import Desk
from fallow.studio.queue import Queue

PAGE = "runs"
EVERY = 1.0  # seconds between looks
NOT_HERE = ("studio",)  # a studio in the studio
# a report is a page of its own: it may run its scripts, and reach nothing
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; media-src data:; font-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)


Value = str | bool | int | float | list[str]


class Said(BaseModel):
    """A form as the page has it: texts, and lists of them; settings by name."""

    verb: str = Field(max_length=40)
    given: dict[str, Value | dict[str, Value]] = Field(default_factory=dict)


class Order(BaseModel):
    """The queued runs, first to be worked off first."""

    ids: list[str] = Field(max_length=10_000)


class Listed(BaseModel):
    """All runs as they stand."""

    runs: list[progress.Standing]


class Purpose(BaseModel):
    """What people come for, and the verbs that do it."""

    title: str
    verbs: dict[str, str]


class Offered(BaseModel):
    """All verbs that can be started here."""

    groups: list[Purpose]


def router(desk: Desk) -> APIRouter:
    """The addresses of the part."""
    routes = APIRouter()
    queue = Queue(desk.place / "queue")
    queue.wake()  # runs that were waiting when the last server left

    def listed() -> Listed:
        return Listed(runs=[progress.standing(queue, run) for run in queue.look()])

    def declaration(verb: str) -> Declaration:
        known = [name for name in desk.verbs if name not in NOT_HERE]
        if verb not in known:
            raise SettingProblem(f"there is no verb {verb!r}: {did_you_mean(verb, known)}")
        return desk.verbs[verb]

    @routes.get("/list")
    def all_runs() -> Listed:
        """All runs as they stand."""
        return listed()

    @routes.get("/events", include_in_schema=False)
    async def events(request: Request) -> StreamingResponse:
        """The same again whenever it changes, as server-sent events."""

        async def told() -> AsyncIterator[str]:
            before = None
            while not await request.is_disconnected():
                now = (await run_in_threadpool(listed)).model_dump_json()
                # a comment keeps the line open, and shows when nobody listens any more
                yield f"event: runs\ndata: {now}\n\n" if now != before else ":\n\n"
                before = now
                await asyncio.sleep(EVERY)

        return StreamingResponse(told(), media_type="text/event-stream")

    @routes.get("/verbs")
    def all_verbs() -> Offered:
        """The verbs by what people come for, and what each does in a sentence."""
        return Offered(groups=[
            Purpose(title=title, verbs={name: desk.verbs.summary(name) for name in here})
            for title, names in desk.verbs.purposes.items()
            if (here := [name for name in names if name not in NOT_HERE])
        ])  # fmt: skip

    @routes.get("/form/{verb}")
    def form(verb: str, system: str = "") -> dict[str, Any]:
        """A verb's form, with the settings of a system."""
        return forms.form(declaration(verb), desk, system)

    @routes.post("/judge")
    def judge(said: Said) -> dict[str, Any]:
        """What is wrong with a form, and what it means as a command and as Python."""
        of = declaration(said.verb)
        judged = forms.judge(of, said.given, desk)
        given, out = settled(of, judged)
        return {"problems": judged.problems, "out": out, **meant(of, given)}

    def settled(of: Declaration, judged: forms.Judged) -> tuple[dict[str, Any], str]:
        """The call with a folder to write into, where the verb has one; and that folder."""
        given = judged.given
        if not any(p.name == "out" for p in of.parameters):
            return given, ""
        if not given.get("out") and not judged.problems and (usual := of.folder(given)):
            given = {**given, "out": forms.fresh(usual, [run.out for run in queue.runs()])}
        return given, str(given.get("out", ""))

    @routes.post("/start")
    def start(said: Said) -> Any:
        """Put a run into the queue."""
        of = declaration(said.verb)
        judged = forms.judge(of, said.given, desk)
        if judged.problems:
            first = next(iter(judged.problems.items()))
            sentence = f"{first[0].removeprefix(forms.SETTINGS)}: {first[1]}"
            return JSONResponse({"problem": sentence, "problems": judged.problems}, 400)
        given, out = settled(of, judged)
        return {"id": queue.add(of.name, said.given, of.words(given), out).id}

    @routes.post("/order")
    def order(asked: Order) -> Listed:
        """Work off the queued runs in another order."""
        queue.order(asked.ids)
        return listed()

    @routes.post("/{id}/stop")
    def stop(id: str) -> Listed:
        """Ask a run to save and end, or take it out of the queue."""
        queue.stop(id)
        return listed()

    @routes.post("/{id}/resume")
    def resume(id: str) -> Listed:
        """Put a run that has ended into the queue again."""
        queue.resume(id)
        return listed()

    @routes.post("/{id}/remove")
    def remove(id: str) -> Listed:
        """Take a run off the list; what it wrote stays."""
        queue.remove(id)
        return listed()

    @routes.get("/{id}")
    def details(id: str) -> dict[str, Any]:
        """What there is to know of a run beside its curves."""
        run = queue.run(id)
        said = progress.tail(queue.files(run) / "stdout")
        return {
            **progress.standing(queue, run).model_dump(),
            **progress.told(run),
            "given": run.given,
            "command": spoken([run.verb, *run.words]),
            "cwd": run.cwd,
            "log": said,
            "errors": progress.tail(queue.files(run) / "stderr"),
            "warnings": progress.warnings(said),
            "views": [path.stem for path in progress.views_of(run)],
        }

    @routes.get("/{id}/curves")
    def curves(id: str) -> dict[str, list[list[float]]]:
        """Its measures over its steps."""
        return progress.curves(queue.run(id))

    @routes.get("/{id}/views/{number}", response_class=FileResponse)
    def views(id: str, number: int) -> FileResponse:
        """A sheet of views as the model saw them."""
        sheets = progress.views_of(queue.run(id))
        if not 0 <= number < len(sheets):
            raise Problem("this run has kept no such views")
        return FileResponse(sheets[number], media_type="image/png")

    @routes.get("/{id}/report", response_class=FileResponse)
    def report(id: str) -> FileResponse:
        """Its report, shut into itself."""
        path = progress.report_of(queue.run(id))
        if path is None:
            raise Problem("this run has no report (yet)")
        headers = {"content-security-policy": REPORT_POLICY, "cache-control": "no-store"}
        return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)

    return routes


def meant(of: Declaration, given: dict[str, Any]) -> dict[str, str]:
    """A call as a command and as Python."""
    return {"command": spoken([of.name, *of.words(given)]), "python": of.call(given)}


def spoken(words: Sequence[str]) -> str:
    """Words as they are typed into a shell.

    >>> print(spoken(["learn", "my photos/", "--where", "split = 'train'"]))
    fallow learn 'my photos/' --where "split = 'train'"
    """
    plain = re.compile(r"[^\"$`\\!]*'[^\"$`\\!]*")  # safe, and easier to read, in double quotes
    told = [f'"{word}"' if plain.fullmatch(word) else shlex.quote(word) for word in words]
    return " ".join(["fallow", *told])
