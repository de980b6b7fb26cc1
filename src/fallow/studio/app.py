"""The studio's server: its parts, its pages, and the guard in front of both."""

from __future__ import annotations

from importlib import import_module
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from fallow.problems import Problem
from fallow.studio.desk import Desk
from fallow.studio.guard import Guard

# modules of this package with `PAGE` (the page's name, and of its addresses) and `router(desk)`
PARTS = ("collection", "atlas", "findings", "runs", "papers")


class About(BaseModel):
    """What every page needs to know of the session."""

    name: str
    pictures: int
    pages: list[str]
    run: bool
    vectors: bool
    version: int
    missing: bool  # a run whose pictures are not found


class Said(BaseModel):
    """What is wrong, in a sentence."""

    problem: str


class Pages(StaticFiles):
    """The files of the pages, asked for anew each time: a new version is never half old."""

    def file_response(self, *args: Any, **more: Any) -> Response:
        answer = super().file_response(*args, **more)
        answer.headers["cache-control"] = "no-cache"
        return answer


def build(desk: Desk, token: str, port: int, host: str = "127.0.0.1") -> Guard:
    """The application for one desk, behind its guard; `.app` is the FastAPI inside.

    >>> from fallow.images.samples import shapes
    >>> build(Desk.opened(shapes(4)), "token", 8000).app.title
    'fallow studio'
    """
    wrong: dict[int | str, dict[str, Any]] = {400: {"model": Said, "description": "A Problem"}}
    app = FastAPI(title="fallow studio", docs_url=None, redoc_url=None, responses=wrong)
    parts = [import_module(f"fallow.studio.{name}") for name in PARTS]
    for part in parts:
        app.include_router(part.router(desk), prefix=f"/api/{part.PAGE}", tags=[part.PAGE])

    @app.exception_handler(Problem)
    def said(request: Request, problem: Problem) -> JSONResponse:
        return JSONResponse({"problem": str(problem)}, 400)

    @app.get("/api/desk", tags=["desk"])
    def about() -> About:
        return About(
            name=desk.name,
            pictures=len(desk),
            pages=[part.PAGE for part in parts],
            run=desk.run is not None,
            vectors=desk.vectors is not None,
            version=desk.version,
            missing=desk.images is None and len(desk) > 0,
        )

    # the reports' look, which the studio's own style sheet builds on
    look = files("fallow.report") / "static" / "page.css"

    @app.get("/look.css", include_in_schema=False)
    def tokens() -> FileResponse:
        return FileResponse(str(look), headers={"cache-control": "no-cache"})

    app.mount("/", Pages(directory=str(files("fallow.studio") / "static"), html=True))
    return Guard(app, token=token, port=port, host=host)  # type: ignore[arg-type]
