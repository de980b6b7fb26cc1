"""Self-contained HTML pages: escaped by default, styled once, readable offline from any disk."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

# control characters are legal in file names and illegal in HTML
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in range(32) if chr(code) not in "\t\n\r"}
_VOID = {"br", "hr", "img", "input", "meta"}


class Html(str):
    """Text that is already markup, so that nothing escapes it a second time."""


def escape(value: object) -> Html:
    """Any value as harmless markup; file names may hold tags, control bytes and half characters.

    >>> escape("<script>.jpg")
    '&lt;script&gt;.jpg'
    """
    if isinstance(value, Html):
        return value
    text = str(value).encode("utf-8", "replace").decode().translate(_CONTROLS)
    return Html(html.escape(text))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """One element; children and attributes are escaped, None is left out, `class_` is class.

    >>> element("p", "1 < 2", class_="note", data_rank=3, hidden=True)
    '<p class="note" data-rank="3" hidden>1 &lt; 2</p>'
    """
    opening = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        opening.append(name if value is True else f'{name}="{escape(value)}"')
    start = f"<{' '.join(opening)}>"
    return Html(start if tag in _VOID else f"{start}{join(children)}</{tag}>")


def join(parts: Iterable[object]) -> Html:
    """Several pieces of content as one; None is left out."""
    return Html("".join(escape(part) for part in parts if part is not None))


def paragraphs(sentences: Iterable[object], class_: str | None = None) -> Html:
    """Each sentence as its own paragraph."""
    return join(element("p", sentence, class_=class_) for sentence in sentences)


def bullets(sentences: Iterable[object], class_: str | None = None) -> Html:
    """A plain list."""
    return element("ul", *(element("li", sentence) for sentence in sentences), class_=class_)


def table(header: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "") -> Html:
    """A table that scrolls sideways on a phone; numbers are set to the right.

    >>> "<td class=\\"number\\">1,200</td>" in table(["file", "bytes"], [["a.jpg", 1200]])
    True
    """

    rows = [list(row) for row in rows]
    kinds = [_kind(column) for column in zip(*rows, strict=True)] or [None] * len(header)
    head = element(
        "tr",
        *(
            element("th", name, scope="col", class_=kind)
            for name, kind in zip(header, kinds, strict=True)
        ),
    )
    body = [
        element(
            "tr",
            *(element("td", show(v), class_=kind) for v, kind in zip(row, kinds, strict=True)),
        )
        for row in rows
    ]
    whole = element(
        "table",
        element("caption", caption) if caption else None,
        element("thead", head),
        element("tbody", *body),
    )
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label="table")


def _kind(column: Iterable[object]) -> str | None:
    known = [value for value in column if value is not None]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
    return "number" if known and numeric else None


def facts(values: Mapping[str, object]) -> Html:
    """Names and values, such as settings or a machine."""
    pairs = [
        element("div", element("dt", words(name)), element("dd", show(value)))
        for name, value in values.items()
    ]
    return element("dl", *pairs, class_="facts")


def tiles(values: Mapping[str, object]) -> Html:
    """A few large numbers in a row."""
    pairs = [
        element("div", element("dd", show(value)), element("dt", words(name)))
        for name, value in values.items()
    ]
    return element("dl", *pairs, class_="numbers")


def data(values: object, id_: str) -> Html:
    """Values for the page's scripts; no text in them can end the element early."""
    text = json.dumps(finite(values), separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return element("script", Html(text), type="application/json", id=id_)


def finite(value: Any) -> Any:
    """The same values with what JSON cannot say (nan, infinity) as None.

    >>> finite({"loss": [1.0, float("nan")]})
    {'loss': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value.item() if hasattr(value, "item") else value


def words(name: object) -> str:
    """A key as words.

    >>> words("near_duplicates")
    'near duplicates'
    """
    return str(name).replace("_", " ")


def show(value: object) -> object:
    """A value as a reader wants it.

    >>> [show(value) for value in (1234567, 0.123456, True, None, [1, 2], float("nan"))]
    ['1,234,567', '0.1235', 'yes', '–', '1, 2', '–']
    """
    if hasattr(value, "item"):
        value = value.item()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(str(show(part)) for part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{words(name)} {show(part)}" for name, part in value.items())
    return value


@cache
def static(name: str) -> str:
    """A style sheet or script that ships with the package."""
    return (files("fallow.report") / "static" / name).read_text(encoding="utf-8")


@dataclass
class Page:
    """A page made of a headline block and sections; `html()` is the whole file.

    >>> page = Page("beach", subtitle="12 images")
    >>> page.section("Outliers", empty="No image stands far from the others.")
    >>> "No image stands far" in page.html()
    True
    """

    title: str
    subtitle: str = ""
    scripts: Sequence[str] = ()  # names in static/, after the page's own
    _lead: list[Html] = field(default_factory=list)
    _sections: list[tuple[str, str, int | None, Html]] = field(default_factory=list)
    _tail: list[Html] = field(default_factory=list)

    def lead(self, *content: object) -> None:
        """What a reader must know before scrolling."""
        self._lead.append(join(content))

    def unreadable(self, problems: Sequence[Mapping[str, Any]]) -> None:
        """The section of files that could not be read, each with its reason."""
        rows = [[one["path"], one["reason"]] for one in problems]
        self.section(
            "Unreadable files",
            table(["file", "reason"], rows) if rows else None,
            empty="Every file could be read.",
            count=len(rows) or None,
        )

    def section(
        self,
        title: str,
        *content: object,
        empty: str = "There is nothing to show.",
        count: int | None = None,
        intro: object = None,
        tools: object = None,
    ) -> None:
        """A titled part of the page; without content it says so in one line."""
        anchor = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        filled = bool(content) and any(part for part in content if part is not None)
        heading = element(
            "h2", title, element("span", f" {count:,}", class_="count") if count else None
        )
        body = element(
            "section",
            element("div", heading, tools if filled else None, class_="head"),
            element("p", intro, class_="intro") if intro and filled else None,
            join(content) if filled else element("p", empty, class_="empty"),
            id=anchor,
            aria_label=title,
        )
        self._sections.append((anchor, title, count, body))

    def tail(self, *content: object) -> None:
        """Data and style that must follow the visible part."""
        self._tail.append(join(content))

    def html(self) -> str:
        """The finished file, ready to be written as UTF-8."""
        scripts = [static(name) for name in ("page.js", *self.scripts)]
        # only the scripts that ship with the package may run, whatever a file name manages to say
        hashes = " ".join(f"'sha256-{_digest(text)}'" for text in scripts)
        policy = (
            "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
            f"script-src {hashes}; base-uri 'none'; form-action 'none'"
        )
        head = join(
            [
                element("meta", charset="utf-8"),
                element("meta", http_equiv="Content-Security-Policy", content=Html(policy)),
                element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                element("meta", name="color-scheme", content="light dark"),
                element("meta", name="generator", content="fallow"),
                element("title", self.title),
                element("style", Html(static("page.css"))),
            ]
        )
        links = [
            element(
                "a",
                title,
                element("span", f" {count:,}", class_="count") if count else None,
                href=f"#{anchor}",
            )
            for anchor, title, count, _ in self._sections
        ]
        body = join(
            [
                element("a", "Skip to the content", href="#content", class_="skip"),
                element(
                    "header",
                    element("h1", self.title),
                    element("p", self.subtitle, class_="subtitle") if self.subtitle else None,
                ),
                element("nav", *links, aria_label="Sections") if len(links) > 1 else None,
                element(
                    "main",
                    element("div", *self._lead, class_="lead") if self._lead else None,
                    *(section for *_, section in self._sections),
                    id="content",
                ),
                element("footer", "Made by fallow. This file holds everything it shows."),
                *self._tail,
                *(element("script", Html(text)) for text in scripts),
            ]
        )
        return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
