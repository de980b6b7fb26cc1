"""Cards a reader adds: read from BibTeX or JSON, kept in one file of theirs."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

from fallow.catalogue.bibtex import LARGEST, MONTHS, Entry, entries, people
from fallow.files import data_dir, locked, write_json
from fallow.problems import SourceProblem


def place() -> Path:
    """The folder of what the reader of papers keeps; made when it is first needed."""
    folder = data_dir() / "papers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept() -> list[dict[str, Any]]:
    """The reader's cards, as they were added."""
    file = data_dir() / "papers" / "cards.json"
    if not file.is_file():
        return []
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        assert all(isinstance(one, dict) for one in held)
    except (OSError, ValueError, AssertionError):
        raise SourceProblem(f"{file} cannot be read: put it right, or move it away") from None
    return list(held)


def keep(added: list[dict[str, Any]]) -> None:
    """Add to the reader's cards; one of the same name is replaced."""
    with locked(place() / "cards.lock"):
        names = {one["slug"] for one in added}
        held = [one for one in kept() if one["slug"] not in names]
        write_json(place() / "cards.json", held + added)


def read(path: Path) -> list[dict[str, Any]]:
    """The papers of a .bib or .json file, as fields of cards."""
    try:
        if path.stat().st_size > LARGEST:
            raise SourceProblem(f"{path} is larger than {LARGEST >> 20} MB: split it")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceProblem(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SourceProblem(f"{path} is not text in UTF-8: save it so") from None
    found = of_json(text, path) if path.suffix.lower() == ".json" else of_bibtex(text)
    if not found:
        raise SourceProblem(f"there is no paper in {path}: it needs entries like @article{{…}}")
    return found


def of_bibtex(text: str) -> list[dict[str, Any]]:
    return [of_entry(one) for one in entries(text)]


def of_entry(one: Entry) -> dict[str, Any]:
    """The fields of a card that an entry has.

    >>> fields = {"title": "On Sorting", "year": "2020", "month": "3", "author": "A and B"}
    >>> found = of_entry(Entry("article", "A:2020", fields))
    >>> found["slug"], found["date"], found["authors"]
    ('a-2020', '2020-03', 2)
    """
    said = one.fields
    venue = next((said[k] for k in ("journal", "booktitle", "publisher") if said.get(k)), "")
    return _card({
        "slug": slug(one.key or said.get("title", "")),
        "title": said.get("title", ""),
        "date": _date(said.get("year", "") or said.get("date", ""), said.get("month", "")),
        "authors": _count(people(said.get("author", ""))),
        "venue": "" if "arxiv" in venue.lower() else venue,
        "arxiv": _arxiv(said.get("eprint", ""), said.get("url", ""), said.get("journal", "")),
        "doi": _doi(said.get("doi", "")),
        "idea": said.get("abstract", ""),
    })  # fmt: skip


def of_json(text: str, path: Path) -> list[dict[str, Any]]:
    """A card or a list of them: title, year or date, authors (names or how many), arxiv, doi …"""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceProblem(f"{path} is not JSON: {error}") from None
    found = []
    for one in held if isinstance(held, list) else [held]:
        if not isinstance(one, dict):
            raise SourceProblem(f'{path}: a paper is written as {{"title": …}}, not as {one!r:.40}')
        said = {str(k).lower(): v for k, v in one.items()}
        who = said.get("authors", said.get("author"))
        found.append(_card({
            "slug": slug(str(said.get("slug") or said.get("id") or said.get("title", ""))),
            "title": str(said.get("title", "")),
            "date": _date(str(said.get("date") or said.get("year") or ""), ""),
            "authors": who if isinstance(who, int) else _count(_names(who)),
            "venue": str(said.get("venue") or said.get("journal") or ""),
            "arxiv": _arxiv(str(said.get("arxiv") or ""), str(said.get("url") or ""), ""),
            "doi": _doi(str(said.get("doi") or "")),
            "idea": str(said.get("idea") or said.get("abstract") or ""),
        }))  # fmt: skip
    return found


def slug(text: str) -> str:
    """A card's address from a key or a title.

    >>> slug("Müller & Søn: On Sorting")
    'muller-s-n-on-sorting'
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9._]+", "-", plain.lower()).strip("-._")[:80] or "paper"


def _card(said: dict[str, Any]) -> dict[str, Any]:
    if not said["title"].strip():
        raise SourceProblem(f"the paper {said['slug']} has no title: a card needs one")
    said["title"] = said["title"][:500]
    said["idea"] = said["idea"][:5000]
    said["venue"] = said["venue"][:300]
    return {"name": said["title"][:200], **said}


def _names(who: Any) -> list[str]:
    return people(who) if isinstance(who, str) else [str(one) for one in who or []]


def _count(names: list[str]) -> int | None:
    """How many there are; nobody knows where others are not named."""
    return None if not names or names[-1].lower() == "others" else len(names)


def _date(year: str, month: str) -> str:
    """YYYY or YYYY-MM out of what was said; empty if that is no year."""
    found = re.search(r"\b(1[89]\d\d|20\d\d)(?:-(0[1-9]|1[0-2]))?\b", year)
    if not found:
        return ""
    said = month.strip().lower()[:3]
    number = found[2] or MONTHS.get(said) or said.rstrip(".")
    held = number.isdecimal() and 1 <= int(number) <= 12
    return f"{found[1]}-{int(number):02d}" if held else found[1]


def _arxiv(*said: str) -> str:
    text = " ".join(said)
    found = re.search(r"(?<![\d.])(\d{4}\.\d{4,5}|[a-z]+(?:[.-][a-z]+)?/\d{7})(?!\d)", text, re.I)
    return found[1].lower() if found else ""


def _doi(said: str) -> str:
    found = re.search(r"10\.\d{4,9}/[^\s\"<>]+", said)
    return found[0] if found else ""
