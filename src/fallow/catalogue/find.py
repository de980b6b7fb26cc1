"""Find cards: by words, by meaning, or by both; among those of a verb, an evidence, a year."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fallow.catalogue.cards import VERDICTS, Card, cards
from fallow.catalogue.meaning import Meaning
from fallow.catalogue.words import Words, terms
from fallow.problems import SettingProblem, did_you_mean

EVIDENCE = (*VERDICTS, "measured", "none")
MOST = 10  # answers
LEAST = 0.35  # of the best answer's score; what is further off only distracts


@dataclass(frozen=True)
class Filter:
    """Which cards are asked at all; empty is every one."""

    verb: str = ""
    evidence: str = ""  # a verdict there is; measured: any; none: nothing measured
    year: str = ""  # 2023, or 2021-2023, or 2021-

    def keeps(self, one: Card) -> bool:
        """
        >>> from fallow.catalogue import card
        >>> Filter(verb="spot", year="2023-").keeps(card("musc"))
        True
        """
        held = one.evidence
        return (
            self.verb in ("", one.verb)
            and (not self.evidence or self._fits(held))
            and (not self.year or one.year in years(self.year))
        )

    def _fits(self, held: dict[str, int]) -> bool:
        if self.evidence not in EVIDENCE:
            known = did_you_mean(self.evidence, EVIDENCE)
            raise SettingProblem(f"there is no evidence {self.evidence!r}: {known}")
        return {"measured": bool(held), "none": not held}.get(self.evidence, self.evidence in held)


@dataclass(frozen=True)
class Hit:
    """A card that answers, and how well beside the best."""

    card: Card
    score: float


def years(said: str) -> range:
    """
    >>> years("2021-2023"), years("2020")
    (range(2021, 2024), range(2020, 2021))
    """
    found = re.fullmatch(r"\s*(\d{4})?\s*(-)?\s*(\d{4})?\s*", said)
    if not found or not (found[1] or found[3]):
        raise SettingProblem(f"a year is written 2023, 2021-2023 or 2021-, not {said!r}")
    first = int(found[1] or 0)
    last = int(found[3] or (9999 if found[2] else first))
    return range(first, last + 1)


def find(asked: str, kept: Filter | None = None, most: int = MOST) -> list[Hit]:
    """The cards that answer best, by words and by meaning together; all, if nothing is asked.

    >>> [hit.card.slug for hit in find("scratches on products, no labels")][0]
    'musc'
    >>> find("which enhancer helps", Filter(verb="grade"))[0].card.slug
    'ug2'
    """
    kept, all_of_them = kept or Filter(), cards()
    chosen = [k for k, one in enumerate(all_of_them) if kept.keeps(one)]
    if not asked.strip():
        return [Hit(all_of_them[k], 1.0) for k in chosen]
    whole = scores(asked, all_of_them)
    best = max((whole[k] for k in chosen), default=0.0)
    order = sorted(chosen, key=lambda k: -whole[k])
    return [
        Hit(all_of_them[k], float(whole[k] / best))
        for k in order[:most]
        if best > 0 and whole[k] >= LEAST * best
    ]


def scores(asked: str, among: Sequence[Card]) -> NDArray[np.float64]:
    """Both ways added, each as a share of its best."""
    words, meaning = _index(tuple(among))
    return _shares(np.array(words.scores(terms(asked)))) + _shares(meaning.scores(asked))


def _shares(found: NDArray[np.float64]) -> NDArray[np.float64]:
    best = found.max(initial=0.0)
    return np.maximum(found, 0) / best if best > 0 else np.zeros_like(found)


@cache
def _index(among: tuple[Card, ...]) -> tuple[Words, Meaning]:
    return Words([terms(weighted(one)) for one in among]), Meaning([weighted(one) for one in among])


def weighted(one: Card) -> str:
    """A card as one text: names count most, then the title and what it is asked for."""
    parts = [f"{one.name} {one.slug}"] * 3 + [one.title, one.asked] * 2
    systems = " ".join(system.partition("/")[2] for system in one.systems)
    return " . ".join([*parts, one.idea, systems, one.verb, one.venue, one.date[:4]])
