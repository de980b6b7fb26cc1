"""The papers in the studio: asked by program and by browser, the feed, and how news end."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

from fallow.catalogue import cards, subscribers
from fallow.catalogue.digest import stop_link
from fallow.images.samples import shapes
from fallow.studio.app import build
from fallow.studio.desk import Desk

AT = "http://127.0.0.1:8000"
JANE = "jane@example.org"


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_DATA", str(tmp_path / "data"))


@pytest.fixture
def stranger() -> TestClient:
    """A client without the cookie: a mail program, a feed reader."""
    return TestClient(build(Desk.opened(shapes(3)), "token", 8000), base_url=AT)


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    stranger.get("/?token=token")
    return stranger


def post(client: TestClient, path: str, body: Any) -> Any:
    return client.post(path, json=body, headers={"origin": AT})


def test_cards_are_found_and_filtered(client):
    everything = client.get("/api/papers/cards").json()
    assert len(everything["cards"]) == len(cards())
    found = client.get("/api/papers/cards", params={"query": "torn letters"}).json()["cards"]
    assert found[0]["slug"] == "pairingnet"
    some = client.get("/api/papers/cards", params={"verb": "spot", "year": "2024"}).json()["cards"]
    assert {one["slug"] for one in some} == {"musc", "uhdiqa"}
    assert some[0]["options"] == {}
    bad = client.get("/api/papers/cards", params={"year": "soon"})
    assert (bad.status_code, list(bad.json())) == (400, ["problem"])


def test_a_card_comes_with_its_claims(client):
    whole = client.get("/api/papers/card/swav").json()
    assert whole["card"]["when"] == "June 2020"
    assert {one["verdict"] for one in whole["claims"]} <= {"shown", "tie", "contradicted"}
    missing = client.get("/api/papers/card/swaw")
    assert "did you mean swav?" in missing.json()["problem"]
    assert client.get("/api/papers/card/..%2f..%2fetc").status_code in (400, 404)


def test_the_feed_opens_by_its_own_address_alone(client):
    path = post(client, "/api/papers/feed-address", {}).json()["path"]
    client.cookies.clear()
    assert client.get("/api/papers/cards").status_code == 403
    assert client.get("/api/papers/feed").status_code == 403
    assert client.post("/api/papers/feed-address").status_code == 403
    answer = client.get(path)
    assert answer.headers["content-type"] == "application/atom+xml"
    assert len(ElementTree.fromstring(answer.content)) > len(cards())


def test_who_subscribes_can_stop_it_from_the_mail(client):
    assert "will hear" in post(client, "/api/papers/subscribe", {"address": JANE}).json()["said"]
    assert "already" in post(client, "/api/papers/subscribe", {"address": JANE}).json()["said"]
    assert post(client, "/api/papers/subscribe", {"address": "no"}).status_code == 400
    client.cookies.clear()
    link = stop_link(JANE, AT)
    page = client.get(link)
    assert page.status_code == 200
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert len(subscribers.subscribers()) == 1  # a link that is looked at changes nothing
    done = client.post(link, content="List-Unsubscribe=One-Click")
    assert "hears no more" in done.text
    assert subscribers.subscribers() == []
    assert "not subscribed any more" in client.post(link).text


def test_links_that_were_not_signed_here_do_nothing(stranger):
    subscribers.subscribe(JANE)
    for wrong in ({}, {"address": JANE}, {"address": JANE, "signature": "x"},
                  {"address": JANE, "signature": subscribers.signature("feed")},
                  {"address": "<script>", "signature": "é"}):  # fmt: skip
        answer = stranger.post(f"/api/papers/unsubscribe?{urlencode(wrong)}")
        assert answer.status_code == 403
        assert "<script>" not in answer.text
    assert len(subscribers.subscribers()) == 1
    assert stranger.get(stop_link(JANE, "http://evil.example:8000")).status_code == 421


def test_subscribing_needs_the_studios_own_page(stranger):
    refused = stranger.post("/api/papers/subscribe", json={"address": JANE})
    assert refused.status_code == 403


# --- in a browser ---


def to(page: Any, studio: Any, words: str = "") -> None:
    page.goto(f"http://127.0.0.1:{studio.port}/#/papers{words}")
    page.wait_for_selector('html[data-shown="papers"]')


def test_search_filter_card_and_back(page, studio):
    from playwright.sync_api import expect

    to(page, studio)
    results = page.locator(".papers-list > li")
    expect(results).to_have_count(len(cards()))
    page.keyboard.press("/")
    page.keyboard.type("put torn paper together")
    first = page.locator(".papers-list h2 a").first
    expect(first).to_have_text("PairingNet")
    expect(page.locator(".papers-count")).to_contain_text("best first")
    page.get_by_label("Verb").select_option("spot")
    expect(first).not_to_have_text("PairingNet")
    page.get_by_label("Search the papers").fill("")
    expect(results).to_have_count(3)
    page.get_by_label("Evidence").select_option("measured")
    measured = [one for one in cards() if one.verb == "spot" and one.evidence]
    expect(results).to_have_count(len(measured))
    page.get_by_role("link", name="MuSc", exact=True).click()
    known = sum(next(one for one in cards() if one.slug == "musc").evidence.values())
    expect(page.locator(".papers-claims tbody tr")).to_have_count(known)
    page.go_back()
    expect(results).to_have_count(len(measured))
    expect(page.get_by_label("Verb")).to_have_value("spot")


def test_nothing_found_is_said_and_left(page, studio):
    from playwright.sync_api import expect

    to(page, studio, "?query=zxqj")
    page.get_by_role("button", name="Show all papers").click()
    expect(page.locator(".papers-list > li")).to_have_count(len(cards()))
    expect(page.get_by_label("Search the papers")).to_have_value("")


def test_a_page_for_every_date(page, studio):
    from playwright.sync_api import expect

    to(page, studio, "?date=2023-05")
    expect(page.locator(".papers-head")).to_have_text("May 2023")
    expect(page.locator(".papers-list h2")).to_have_text(["BCP", "GPC"])
    page.locator("[rel=next]").click()
    expect(page.locator(".papers-head")).to_have_text("August 2023")


def test_a_card_opens_the_form_of_its_verb_with_the_method_chosen(page, studio):
    from playwright.sync_api import expect

    to(page, studio, "?card=bcp")
    page.get_by_role("link", name="Run it on my folder").click()
    page.wait_for_selector('html[data-shown="runs"]')
    assert page.url.endswith("#/runs?new=segment&method=bcp")
    expect(page.get_by_label("method")).to_have_value("bcp")


def test_subscribe_and_stop_in_the_browser(page, studio):
    to(page, studio)
    page.get_by_label("Your mail address").fill(JANE)
    page.get_by_role("button", name="Subscribe").click()
    page.get_by_text(re.compile("will hear of news")).wait_for()
    assert [one.address for one in subscribers.subscribers()] == [JANE]
    page.goto(stop_link(JANE, f"http://127.0.0.1:{studio.port}"))
    page.get_by_role("button", name="Unsubscribe").click()
    page.get_by_text("hears no more news").wait_for()
    assert subscribers.subscribers() == []


@pytest.mark.parametrize("words", ["", "?query=zxqj", "?card=swav", "?date=2023-12"])
def test_nothing_keeps_anybody_out(page, studio, findings_of_axe, words):
    to(page, studio, words)
    assert findings_of_axe(page) == []
