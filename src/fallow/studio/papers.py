"""Part `papers`: cards found by words and meaning, a feed, and who hears of news."""

from __future__ import annotations

import html
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from fallow import catalogue
from fallow.catalogue import sentences, subscribers
from fallow.catalogue.feed import atom
from fallow.catalogue.find import EVIDENCE
from fallow.problems import SettingProblem
from fallow.studio.desk import Desk

PAGE = "papers"
# a form that posts to where it came from, and a style in the page: nothing else
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"


class Found(BaseModel):
    """Cards that answer, the best first, and what can be filtered by."""

    cards: list[dict[str, Any]]
    verbs: list[str]
    years: list[int]
    evidence: list[str]
    dates: list[str]


class Whole(BaseModel):
    """One card with all that was measured."""

    card: dict[str, Any]
    claims: list[dict[str, Any]]


class Asked(BaseModel):
    """An address that wants to hear of news."""

    address: str = Field(max_length=300)


class Answer(BaseModel):
    """A sentence for the page."""

    said: str


class Feed(BaseModel):
    """Where the feed is, signed: whoever has the address may read it."""

    path: str


def router(desk: Desk) -> APIRouter:
    """The addresses of the part."""
    routes = APIRouter()

    @routes.get("/cards")
    def cards(query: str = "", verb: str = "", evidence: str = "", year: str = "") -> Found:
        """Cards that answer a question; all of them without one."""
        if len(query) > 500:
            raise SettingProblem("a question may have 500 letters at most")
        hits = catalogue.find(query, catalogue.Filter(verb, evidence, year))
        known = catalogue.cards()
        return Found(
            cards=[told(hit.card) for hit in hits],
            verbs=sorted({one.verb for one in known if one.verb}),
            years=sorted({one.year for one in known if one.year}, reverse=True),
            evidence=list(EVIDENCE),
            dates=sorted({one.date for one in known if one.date}),
        )

    @routes.get("/card/{slug}")
    def card(slug: str) -> Whole:
        """One card and its evidence, claim by claim."""
        one = catalogue.card(slug)
        return Whole(card=told(one), claims=catalogue.claims_of(one))

    @routes.get("/feed", response_class=Response)
    def feed(request: Request, signature: str = "") -> Response:
        """The catalogue as an Atom feed, for whoever was given its address."""
        if not subscribers.signed("feed", signature):
            return Response("This address is not whole: copy it from the page.", 403)
        return Response(atom(str(request.url)), media_type="application/atom+xml")

    @routes.post("/feed-address")
    def feed_address() -> Feed:
        """The feed's address; the key that signs it is made when it is first asked for."""
        return Feed(path=f"/api/papers/feed?signature={subscribers.signature('feed')}")

    @routes.post("/subscribe")
    def subscribe(asked: Asked) -> Answer:
        """Tell an address of news from now on."""
        new = subscribers.subscribe(asked.address)
        who = subscribers.addressed(asked.address)
        return Answer(said=f"{who} will hear of news." if new else f"{who} hears of news already.")

    @routes.get("/unsubscribe", response_class=HTMLResponse)
    def asked_to_stop(address: str = "", signature: str = "") -> HTMLResponse:
        """The page behind a mail's link: nothing changes until its button is pressed."""
        if not subscribers.signed(address, signature):
            return _page("This link is not whole", "Copy all of it from the mail.", status=403)
        form = '<form method="post"><button>Unsubscribe</button></form>'
        return _page("No more news?", f"{address} will hear of no more papers.", form)

    @routes.post("/unsubscribe", response_class=HTMLResponse)
    def stop(address: str = "", signature: str = "") -> HTMLResponse:
        """End a subscription: by the page's button, or at once by a mail program (RFC 8058)."""
        if not subscribers.signed(address, signature):
            return _page("This link is not whole", "Copy all of it from the mail.", status=403)
        gone = subscribers.unsubscribe(address)
        word = "hears no more news." if gone else "was not subscribed any more."
        return _page("Done", f"{address} {word}")

    return routes


def told(one: catalogue.Card) -> dict[str, Any]:
    """A card as the page shows it."""
    return one.told() | {"when": sentences.when(one), "figures": sentences.figures(one)}


def _page(title: str, text: str, more: str = "", status: int = 200) -> HTMLResponse:
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>fallow: papers</title><style>'
        ":root{color-scheme:light dark;--paper:#fbfaf7;--ink:#24231f;--accent:#47693a;--on:#fff}"
        "@media(prefers-color-scheme:dark){:root{--paper:#171714;--ink:#e9e6dd;--accent:#a9c78b;"
        "--on:#171714}}body{font:16px/1.55 system-ui,sans-serif;background:var(--paper);"
        "color:var(--ink);max-width:34rem;margin:18vh auto;padding:0 24px}h1{font-size:1.5rem}"
        "button{font:inherit;padding:9px 18px;border:0;border-radius:8px;background:var(--accent);"
        "color:var(--on);cursor:pointer}</style></head>"
        f"<body><main><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>{more}</main></body></html>"
    )
    return HTMLResponse(body, status, headers={"content-security-policy": POLICY})
