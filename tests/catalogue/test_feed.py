"""The feed holds to RFC 4287, whoever wrote the cards."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from fallow.catalogue import Card, cards
from fallow.catalogue.feed import ATOM, atom

MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


def read(data: bytes):
    assert data.startswith(b"<?xml")
    return ElementTree.fromstring(data)


def valid(feed) -> list:
    """What the standard asks of a feed and of every entry; the entries."""
    assert feed.tag == f"{{{ATOM}}}feed"
    entries = feed.findall(f"{{{ATOM}}}entry")
    for one in (feed, *entries):
        for name in ("id", "title", "updated"):
            [held] = one.findall(f"{{{ATOM}}}{name}")
            assert held.text
        assert MOMENT.fullmatch(one.find(f"{{{ATOM}}}updated").text)
        assert one.find(f"{{{ATOM}}}id").text.startswith("urn:uuid:")
        for link in one.findall(f"{{{ATOM}}}link"):
            assert link.get("href").startswith("http")
    [author] = feed.findall(f"{{{ATOM}}}author/{{{ATOM}}}name")  # holds for entries without one
    assert author.text
    ids = [one.find(f"{{{ATOM}}}id").text for one in entries]
    assert len(ids) == len(set(ids))
    for one in entries:  # without content an entry needs another address or a summary
        assert one.find(f"{{{ATOM}}}summary").text
    return entries


def test_the_feed_is_valid_and_newest_first():
    entries = valid(read(atom("http://127.0.0.1:1/api/papers/feed")))
    assert len(entries) == len(cards())
    dates = [one.find(f"{{{ATOM}}}published").text for one in entries]
    assert dates == sorted(dates, reverse=True)
    assert atom() == atom()


def test_strange_cards_stay_text():
    wild = Card(slug="w", name="w", title="<b>&amp;\x00\ufffe ]]> 𝕊", idea="\x1b <script>")
    [one] = valid(read(atom(among=[wild])))
    assert one.find(f"{{{ATOM}}}title").text == "<b>&amp; ]]> 𝕊"
    assert valid(read(atom(among=[]))) == []
