"""The catalogue as an Atom feed (RFC 4287), the newest paper first."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from xml.etree import ElementTree as xml

from fallow.catalogue.cards import Card, cards
from fallow.catalogue.sentences import figures

ATOM = "http://www.w3.org/2005/Atom"
SPACE = uuid.UUID("5b1d6f0e-9d0f-5a54-8a3c-6f8b2f0f7c11")  # ours: the same card, the same id
UNHELD = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
UNDATED = "1970-01-01T00:00:00Z"


def atom(address: str = "", among: Sequence[Card] | None = None) -> bytes:
    """The feed; `address` is where it is served, where it is. The same cards, the same bytes.

    >>> b"<title>MuSc: Zero-Shot" in atom()
    True
    """
    chosen = sorted(cards() if among is None else among, key=lambda one: (one.date, one.slug))
    xml.register_namespace("", ATOM)
    root = xml.Element(f"{{{ATOM}}}feed")
    _add(root, "title", "fallow: papers that put unlabelled images to work")
    _add(root, "id", f"urn:uuid:{uuid.uuid5(SPACE, 'feed')}")
    _add(root, "updated", moment(chosen[-1].date) if chosen else UNDATED)
    _add(_add(root, "author"), "name", "fallow")
    if address:
        _add(root, "link", rel="self", type="application/atom+xml", href=address)
    for one in reversed(chosen):
        _entry(root, one)
    text: bytes = xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _entry(root: xml.Element, one: Card) -> None:
    entry = _add(root, "entry")
    _add(entry, "title", clean(one.title))
    _add(entry, "id", f"urn:uuid:{uuid.uuid5(SPACE, one.slug)}")
    _add(entry, "updated", moment(one.date))
    _add(entry, "published", moment(one.date))
    if one.link:
        _add(entry, "link", rel="alternate", href=one.link)
    if one.verb:
        _add(entry, "category", term=one.verb)
    _add(entry, "summary", clean(f"{one.idea or one.title} {figures(one)}"), type="text")


def moment(date: str) -> str:
    """A date as Atom writes it: the first moment of the month or year.

    >>> moment("2023-05"), moment("2021")
    ('2023-05-01T00:00:00Z', '2021-01-01T00:00:00Z')
    """
    if not date:
        return UNDATED
    year, _, month = date.partition("-")
    return f"{year}-{month or '01'}-01T00:00:00Z"


def clean(text: str) -> str:
    """Without characters that XML cannot hold, whoever wrote them."""
    return UNHELD.sub("", text)


def _add(parent: xml.Element, name: str, text: str = "", **said: str) -> xml.Element:
    found = xml.SubElement(parent, f"{{{ATOM}}}{name}", said)
    if text:
        found.text = text
    return found
