"""Addresses of the collection that find pictures: like one, like one that is sent, by words."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from fallow.studio.desk import Desk
from fallow.studio.nearness import Found, Look, State, pairs

Count = Annotated[int, Query(ge=1, le=1000)]
FILE = {"requestBody": {"required": True, "content": {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}  # fmt: skip


class Alike(BaseModel):
    """Rows and their likeness (cosine), the most alike first."""

    rows: list[int]
    likeness: list[float]


class Looked(BaseModel):
    """How far the looks at all pictures are that a search needs."""

    pictures: State
    words: State
    done: int
    total: int
    problem: str
    can_words: bool  # whether a dual encoder was given


class Start(BaseModel):
    """Which look to begin."""

    what: Literal["pictures", "words"] = "pictures"


def router(desk: Desk) -> APIRouter:
    """The addresses."""
    routes, near = APIRouter(), desk.nearness

    def looked() -> Looked:
        going: Look = near.words if near.words.state in ("looking", "failed") else near.pictures
        return Looked(
            pictures=near.pictures.state,
            words=near.words.state,
            done=going.done,
            total=len(desk),
            problem=going.problem,
            can_words=near.words_from is not None,
        )

    @routes.get("/look")
    def look() -> Looked:
        """Whether the pictures have been looked at."""
        return looked()

    @routes.post("/look")
    def begin(start: Start) -> Looked:
        """Begin to look at all pictures, in the background."""
        (near.words if start.what == "words" else near.pictures).start()
        return looked()

    @routes.get("/near/{row}")
    def neighbours(row: int, count: Count = 12) -> Alike:
        """The pictures most like one of them."""
        return _alike(near.like_row(row, count))

    @routes.get("/words")
    def words(text: Annotated[str, Query(max_length=400)], count: Count = 200) -> Alike:
        """The pictures nearest to some words."""
        return _alike(near.like_words(text, count))

    @routes.post("/like", openapi_extra=FILE)
    async def like(request: Request, count: Count = 200) -> Alike:
        """The pictures most like the one that is sent; it is looked at and not kept."""
        data = await request.body()
        return _alike(await run_in_threadpool(near.like_bytes, data, count))

    return routes


def _alike(found: Found) -> Alike:
    rows, likeness = pairs(found)
    return Alike(rows=list(rows), likeness=list(likeness))
