"""A card for every system: data in cards.yaml, evidence in evidence.json, one's own in a file."""

from __future__ import annotations

import json
import keyword
import shlex
from collections import Counter
from functools import cache
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fallow.catalogue import own
from fallow.files import plain_yaml
from fallow.methods import rooms, slugs
from fallow.problems import SettingProblem, SourceProblem, did_you_mean

HERE = Path(__file__).parent
VERDICTS = ("shown", "tie", "contradicted")  # what a claim can come to


class Card(BaseModel):
    """One published system, or a paper somebody added."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slug: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")
    name: str = Field(min_length=1, max_length=200)
    title: str = Field(min_length=1, max_length=500)
    date: str = Field("", pattern=r"^(\d{4}(-(0[1-9]|1[0-2]))?)?$")  # YYYY or YYYY-MM
    authors: int | None = Field(None, ge=1)
    venue: str = Field("", max_length=300)
    arxiv: str = Field("", pattern=r"^(\d{4}\.\d{4,5}|[a-z.-]+/\d{7})?$")
    doi: str = Field("", pattern=r"^(10\.\d{4,9}/[^\s\"<>]+)?$")
    idea: str = Field("", max_length=5000)
    asked: str = Field("", max_length=500)  # what somebody says who needs it
    verb: str = ""
    systems: tuple[str, ...] = ()  # verb/slug of the files in fallow.methods
    run: str = ""  # a line for the shell; words in capitals are the reader's
    claims: tuple[str, ...] = ()  # files of claims/results; its own if none is named
    mine: bool = False  # added by the reader, not by fallow

    @field_validator("name", "title", "idea", "asked", "venue")
    @classmethod
    def one_line(cls, text: str) -> str:
        return " ".join(text.split())

    @property
    def year(self) -> int | None:
        return int(self.date[:4]) if self.date else None

    @property
    def link(self) -> str:
        """Where the paper is to be read; empty where neither number is known."""
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return f"https://doi.org/{self.doi}" if self.doi else ""

    @property
    def built(self) -> bool:
        """Whether all its systems are in this fallow."""
        return bool(self.systems) and all(one in _systems() for one in self.systems)

    @property
    def options(self) -> dict[str, Any]:
        """What its line in the shell chooses, without what the reader fills in.

        >>> card("bcp").options, card("wscl").options
        ({'method': 'bcp'}, {'for_': 'tampering'})
        """
        words = shlex.split(self.run) if self.run.startswith("fallow ") else []
        found: dict[str, Any] = {}
        for word, after in pairwise([*words, "--"]):
            if word.startswith("--") and not after.isupper():
                name = word[2:].replace("-", "_")
                name += "_" * keyword.iskeyword(name)  # as Python's parameter must be called
                found[name] = True if after.startswith("--") else after
        return found

    @property
    def evidence(self) -> dict[str, int]:
        """How many claims came to which verdict.

        >>> card("faces").model_copy(update={"claims": ("never asked",)}).evidence
        {}
        """
        count = Counter(one["verdict"] for one in claims_of(self))
        return {verdict: count[verdict] for verdict in VERDICTS if count[verdict]}

    def told(self) -> dict[str, Any]:
        """All of it as plain values, with what follows from the rest."""
        return self.model_dump() | {
            "year": self.year,
            "link": self.link,
            "built": self.built,
            "options": self.options,
            "evidence": self.evidence,
        }


def cards() -> list[Card]:
    """Every card: fallow's by name of their file, then the reader's own.

    >>> len(cards()) >= 39
    True
    """
    mine = [Card(**one, mine=True) for one in own.kept()]
    return [*_ours(), *(one for one in mine if one.slug not in {o.slug for o in _ours()})]


def card(slug: str) -> Card:
    """The card of that name.

    >>> card("musc").authors
    4
    """
    known = {one.slug: one for one in cards()}
    if slug not in known:
        raise SettingProblem(f"there is no card {slug!r}: {did_you_mean(slug, known)}")
    return known[slug]


def add(file: str | PathLike[str]) -> list[Card]:
    """Keep the papers of a .bib or .json file as cards of one's own; none if one is wrong."""
    read, ours = own.read(Path(file)), {one.slug for one in _ours()}
    found = []
    for fields in read:
        if fields["slug"] in ours:
            raise SettingProblem(
                f"{fields['slug']} is a card of fallow's: call the paper otherwise"
            )
        try:
            found.append(Card(**fields, mine=True))
        except ValidationError as error:
            first = error.errors()[0]
            raise SourceProblem(
                f"the paper {fields['slug']}: {first['loc'][0]} is wrong ({first['msg']})"
            ) from None
    own.keep(read)
    return found


def claims_of(one: Card) -> list[dict[str, Any]]:
    """What was measured of a system, claim by claim.

    >>> claims_of(card("swav"))[0]["verdict"] in VERDICTS
    True
    """
    if one.mine:
        return []
    return [claim for name in one.claims or (one.slug,) for claim in _evidence().get(name, [])]


def uncarded() -> list[str]:
    """Systems that are on no card: those somebody wrote themselves."""
    return sorted(_systems() - {system for one in _ours() for system in one.systems})


@cache
def _ours() -> tuple[Card, ...]:
    held = plain_yaml((HERE / "cards.yaml").read_text(encoding="utf-8"))
    return tuple(Card(slug=slug, **fields) for slug, fields in held.items())


@cache
def _evidence() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads((HERE / "evidence.json").read_text())
    return found


@cache
def _systems() -> frozenset[str]:
    return frozenset(f"{verb}/{slug}" for verb in rooms() for slug in slugs(verb))
