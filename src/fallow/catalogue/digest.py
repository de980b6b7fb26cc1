"""News for subscribers: a mail of HTML and text for each, written to files or sent."""

from __future__ import annotations

import html
import os
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from urllib.parse import quote, unquote, urlencode, urlsplit

from fallow.catalogue.cards import Card, cards
from fallow.catalogue.sentences import figures, origin
from fallow.catalogue.subscribers import (
    Subscriber,
    addressed,
    signature,
    state,
    states,
    subscribers,
    told,
)
from fallow.files import atomic_write
from fallow.problems import Problem, SettingProblem

HOME = ("localhost", "127.0.0.1", "::1")
WAIT = 30.0  # seconds for a server
Letters = Sequence[tuple[str, EmailMessage]]
STUDIO = "http://127.0.0.1:8899"  # where `fallow studio --port 8899` answers


class PostProblem(Problem):
    """Mail cannot be sent as asked."""


def news(reader: Subscriber) -> tuple[list[Card], list[Card]]:
    """Cards this reader has not heard of, and those of which more is known than they heard."""
    new = [one for one in cards() if one.slug not in reader.heard]
    more = [one for one in cards() if reader.heard.get(one.slug, state(one)) != state(one)]
    return new, more


def stop_link(address: str, studio: str = STUDIO) -> str:
    """The signed address that ends a subscription."""
    asked = urlencode({"address": address, "signature": signature(addressed(address))})
    return f"{studio.rstrip('/')}/api/papers/unsubscribe?{asked}"


def mail(reader: Subscriber, new: Sequence[Card], more: Sequence[Card], sender: str,
         studio: str = STUDIO) -> EmailMessage:  # fmt: skip
    """One reader's mail: what is new, and how to stop it (RFC 2369 and 8058)."""
    link = stop_link(reader.address, studio)
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject(len(new), len(more))
    message["From"], message["To"] = sender, reader.address
    message["List-Unsubscribe"] = f"<{link}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(as_text(new, more, link))
    message.add_alternative(as_html(new, more, link), subtype="html")
    return message


def subject(new: int, more: int) -> str:
    """
    >>> subject(1, 2)
    'fallow: 1 new paper, news of 2'
    """
    parts = [f"{new} new paper{'s' * (new != 1)}"] * bool(new) + [f"news of {more}"] * bool(more)
    return f"fallow: {', '.join(parts) or 'nothing new'}"


def as_text(new: Sequence[Card], more: Sequence[Card], link: str) -> str:
    parts = []
    for head, some in (("New papers", new), ("More is known of", more)):
        if some:
            parts.append(f"{head}\n{'=' * len(head)}")
        for one in some:
            lines = (one.title, origin(one), one.idea, figures(one), one.run, one.link)
            parts.append("\n".join(line for line in lines if line))
    return "\n\n".join([*parts, f"No more of this: {link}"]) + "\n"


def as_html(new: Sequence[Card], more: Sequence[Card], link: str) -> str:
    """A page that mail programs show as it is: no script, no picture, nothing from elsewhere."""
    parts = []
    for head, some in (("New papers", new), ("More is known of", more)):
        if some:
            parts.append(f'<h2 style="font-size:18px;margin:28px 0 8px">{head}</h2>')
        parts += [_block(one) for one in some]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>fallow</title></head>'
        '<body style="font:15px/1.5 system-ui,sans-serif;color:#1d2420;background:#fff;'
        'max-width:640px;margin:0 auto;padding:16px">'
        '<h1 style="font-size:22px;margin:0">fallow: papers</h1>'
        + "".join(parts)
        + f'<p style="margin-top:32px;color:#5b665f;font-size:13px">You asked for this. '
        f'<a href="{html.escape(link)}" style="color:#5b665f">Unsubscribe</a></p></body></html>\n'
    )


def _block(one: Card) -> str:
    told_ = [html.escape(text) for text in (one.title, origin(one), one.idea, figures(one))]
    title, where, idea, known = told_
    if one.link:
        title = f'<a href="{html.escape(one.link)}" style="color:#2c6e49">{title}</a>'
    run = f'<p style="margin:4px 0"><code>{html.escape(one.run)}</code></p>' if one.run else ""
    return (
        '<div style="border-top:1px solid #d9dfda;padding:12px 0">'
        f'<h3 style="font-size:16px;margin:0">{title}</h3>'
        f'<p style="margin:2px 0;color:#5b665f;font-size:13px">{where}</p>'
        f'<p style="margin:6px 0">{idea}</p><p style="margin:4px 0">{known}</p>{run}</div>'
    )


def deliver(to: str, sender: str = "fallow@localhost", studio: str = STUDIO) -> list[str]:
    """Everybody's news, into a folder or through an smtp:// or smtps:// server; who was told.

    A reader counts as told only when the mail is written or the server took it.
    """
    addressed(sender)
    known = states()
    waiting = [(one, *news(one)) for one in subscribers()]
    letters = [
        (one.address, mail(one, new, more, sender, studio))
        for one, new, more in waiting
        if new or more
    ]
    if letters:
        (_send if "://" in to else _write)(to, letters, known)
    return [address for address, _ in letters]


def _write(to: str, letters: Letters, known: dict[str, str]) -> None:
    folder = Path(to)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for address, message in letters:
            with atomic_write(folder / f"{quote(address, safe='@.-_+')}.eml") as file:
                file.write(message.as_bytes())
            told(address, known)
    except OSError as error:
        raise PostProblem(f"cannot write mails to {folder} ({error.strerror})") from None


def _send(to: str, letters: Letters, known: dict[str, str]) -> None:
    server = urlsplit(to)
    if server.scheme not in ("smtp", "smtps") or not server.hostname:
        raise SettingProblem("a mail server is written smtp://host:port or smtps://host")
    try:
        with _door(server.scheme, server.hostname, server.port) as door:
            if server.username:
                if not isinstance(door.sock, ssl.SSLSocket) and server.hostname not in HOME:
                    raise PostProblem(f"{server.hostname} offers no TLS: no password is sent to it")
                secret = server.password or os.environ.get("FALLOW_SMTP_PASSWORD", "")
                door.login(unquote(server.username), unquote(secret))
            for address, message in letters:
                door.send_message(message)
                told(address, known)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise PostProblem(f"the mail server {server.hostname} did not take it: {error}") from None


def _door(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(
            host, port or 465, timeout=WAIT, context=ssl.create_default_context()
        )
    door = smtplib.SMTP(host, port or 25, timeout=WAIT)
    door.ehlo()
    if door.has_extn("starttls"):
        door.starttls(context=ssl.create_default_context())
        door.ehlo()
    return door
