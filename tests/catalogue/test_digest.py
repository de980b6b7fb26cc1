"""Subscribers hear of news once, by file or by mail, and can stop it."""

from __future__ import annotations

import email
import json
import socket
import stat
from email.policy import default
from urllib.parse import parse_qs, urlsplit

import pytest

from fallow.catalogue import add, subscribers
from fallow.catalogue.digest import deliver, mail, news, subject
from fallow.catalogue.subscribers import (
    addressed,
    signature,
    signed,
    subscribe,
    unsubscribe,
)
from fallow.problems import Problem

JANE, JOE = "jane@example.org", "joe@example.org"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def paper(place):
    """Add a paper, by title."""

    def more(title: str) -> None:
        (place / "a.json").write_text(json.dumps({"title": title, "idea": "New <i>idea</i>."}))
        add(place / "a.json")

    return more


def test_a_reader_hears_of_what_came_since(place, paper):
    assert subscribe(JANE)
    assert not subscribe(JANE.upper().replace("JANE", "jane"))
    assert deliver(str(place / "out")) == []
    paper("Sheep")
    subscribe(JOE)  # knows of the sheep
    assert deliver(str(place / "out")) == [JANE]
    assert deliver(str(place / "out")) == []
    paper("Goats")
    assert deliver(str(place / "out")) == [JANE, JOE]


def test_more_evidence_is_news_too(monkeypatch):
    subscribe(JANE)
    [reader] = subscribers.subscribers()
    assert news(reader) == ([], [])
    reader.heard["musc"] = "before"
    assert [[one.slug for one in some] for some in news(reader)] == [[], ["musc"]]
    assert subject(0, 1) == "fallow: news of 1"


def test_a_mail_has_both_forms_and_ways_to_stop(place, paper):
    subscribe(JANE)
    paper('Sheep <script>alert("x")</script>')
    deliver(str(place / "out"), "fallow@example.org", "https://studio.example.org/")
    [file] = (place / "out").iterdir()
    letter = email.message_from_bytes(file.read_bytes(), policy=default)
    assert (letter["To"], letter["From"]) == (JANE, "fallow@example.org")
    assert letter["Subject"] == "fallow: 1 new paper"
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = letter["List-Unsubscribe"].strip("<>")
    assert link.startswith("https://studio.example.org/api/papers/unsubscribe?")
    asked = parse_qs(urlsplit(link).query)
    assert signed(asked["address"][0], asked["signature"][0])
    text = letter.get_body(("plain",)).get_content()
    page = letter.get_body(("html",)).get_content()
    assert "New <i>idea</i>." in text
    assert link in text
    assert "New &lt;i&gt;idea&lt;/i&gt;." in page
    assert "<script" not in page
    assert "<img" not in page


def test_signatures_hold_for_one_address_and_one_key(place):
    assert signed(JANE, signature(JANE))
    assert not signed(JOE, signature(JANE))
    assert not signed(JANE, "")
    assert not signed(JANE, "é")
    assert not signed("feed", signature(JANE))
    assert stat.S_IMODE((place / "data/papers/key").stat().st_mode) == 0o600
    before = signature(JANE)
    (place / "data/papers/key").unlink()
    assert signature(JANE) != before


def test_who_unsubscribes_hears_no_more(place, paper):
    subscribe(JANE)
    assert unsubscribe(JANE)
    assert not unsubscribe(JANE)
    paper("Sheep")
    assert deliver(str(place / "out")) == []
    assert stat.S_IMODE((place / "data/papers/subscribers.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text", ["", "jane", "jane@", "@x.org", "a@b\r\nBcc: c@d.org", "a b@c.org", "a@b..c", "ä@b.org",
             "a@" + "b" * 300, "<a@b.org>"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(Problem, match="is no mail address"):
        addressed(text)
    with pytest.raises(Problem, match="is no mail address"):
        deliver("somewhere", sender=text)


def test_a_damaged_list_is_named(place):
    (place / "data/papers").mkdir(parents=True)
    (place / "data/papers/subscribers.json").write_text('[{"address": "x"}]')
    with pytest.raises(Problem, match="cannot be read"):
        subscribe(JANE)


class Kept:
    """An SMTP server's memory; refuses whom it is told to."""

    def __init__(self, refused: str = "") -> None:
        self.letters, self.refused = [], refused

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == self.refused:
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.letters.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK"


@pytest.fixture
def served():
    """Start a server for a handler; what it answers at."""
    aiosmtpd = pytest.importorskip("aiosmtpd.controller")
    running = []

    def start(handler) -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        door = aiosmtpd.Controller(handler, hostname="127.0.0.1", port=port)
        door.start()
        running.append(door)
        return f"smtp://127.0.0.1:{port}"

    yield start
    for door in running:
        door.stop()


def test_mails_go_through_a_server(paper, served):
    kept = Kept()
    subscribe(JANE)
    paper("Schäfchen")
    assert deliver(served(kept), "me@example.org") == [JANE]
    [(sender, to, content)] = kept.letters
    assert (sender, to) == ("me@example.org", [JANE])
    letter = email.message_from_bytes(content, policy=default)
    assert "Schäfchen" in letter.get_body(("plain",)).get_content()
    assert deliver(served(kept)) == []


def test_whom_the_server_refuses_is_told_next_time(paper, served):
    subscribe(JANE)
    paper("Sheep")
    with pytest.raises(Problem, match="did not take it"):
        deliver(served(Kept(refused=JANE)))
    kept = Kept()
    assert deliver(served(kept)) == [JANE]
    assert len(kept.letters) == 1


def test_servers_that_are_none_are_said(paper):
    subscribe(JANE)
    paper("Sheep")
    with pytest.raises(Problem, match="is written smtp://"):
        deliver("http://user:secret@example.org")
    with pytest.raises(Problem, match="did not take it"):
        deliver("smtp://127.0.0.1:1")


def test_no_header_can_be_smuggled_in():
    for reader, sender in (("a@b.org\nBcc: c@d.org", "me@example.org"), (JANE, "me\nBcc: c@d.org")):
        with pytest.raises((Problem, ValueError), match=r"(?i)mail address|linefeed"):
            mail(subscribers.Subscriber(reader, {}), [], [], sender)
