"""Search by meaning, offline: concepts, pieces of words, and what goes together in the cards.

A text becomes three sparse parts: its terms, the concepts its words belong to (concepts.yaml) and
the letters' n-grams of its words, which forgive spelling. Singular vectors of the cards' matrix
(latent semantic analysis) then bring together what occurs together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fallow.catalogue.words import terms
from fallow.files import plain_yaml

RANK = 24  # directions kept of at most one for each card
PARTS = (1.0, 1.5, 0.5)  # weights of terms, concepts and pieces of words


class Meaning:
    """Vectors for texts, and how near another text comes to each."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [[Counter(part) for part in parts_of(text)] for text in texts]
        # one column for every feature of each part that more than no text has
        self.columns = [
            {name: k for k, name in enumerate(sorted({n for one in counts for n in one[part]}))}
            for part in range(len(PARTS))
        ]
        self.rarity = [
            self._rarity(len(texts), Counter(n for one in counts for n in one[part]), columns)
            for part, columns in enumerate(self.columns)
        ]
        whole = np.stack([self._row(one) for one in counts])  # N F
        _, _, directions = np.linalg.svd(whole, full_matrices=False)
        self.directions = directions[:RANK]  # R F
        self.vectors = _unit(whole @ self.directions.T)  # N R
        self.whole = whole

    @staticmethod
    def _rarity(n: int, held: Counter[str], columns: dict[str, int]) -> NDArray[np.float64]:
        return np.array([np.log((1 + n) / (1 + held[name])) + 1 for name in columns])

    def _row(self, counts: Sequence[Counter[str]]) -> NDArray[np.float64]:
        """One text as features; each part has its weight as length."""
        found = []
        for count, columns, rarity, weight in zip(
            counts, self.columns, self.rarity, PARTS, strict=True
        ):
            part = np.zeros(len(columns))
            for name, times in count.items():
                if name in columns:
                    part[columns[name]] = 1 + np.log(times)
            found.append(weight * _unit(part * rarity))
        return np.concatenate(found)

    def scores(self, asked: str) -> NDArray[np.float64]:
        """Cosines, half in the space of all features and half in that of the main directions.

        >>> meaning = Meaning(["defects on products", "torn pieces of paper"])
        >>> bool(np.argmax(meaning.scores("scratches")) == 0)
        True
        """
        row = self._row([Counter(part) for part in parts_of(asked)])
        near = self.vectors @ _unit(self.directions @ row)
        return (near + _unit(self.whole) @ _unit(row)) / 2


def parts_of(text: str) -> tuple[list[str], list[str], list[str]]:
    """Terms, concepts, and pieces of three to five letters of a text."""
    words = terms(text)
    known = concepts()
    meant = [concept for word in words for concept in known.get(word, ())]
    pieces = [
        edged[k : k + n]
        for word in words
        for edged in (f"<{word}>",)
        for n in (3, 4, 5)
        for k in range(len(edged) - n + 1)
    ]
    return words, meant, pieces


@cache
def concepts() -> dict[str, tuple[str, ...]]:
    """The concepts a term belongs to."""
    held = plain_yaml((Path(__file__).parent / "concepts.yaml").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {}
    for concept, words in held.items():
        for word in words.split():
            # a compound is known as a whole; what parts of it mean is said in other lines
            for term in terms(word)[-1:]:
                found.setdefault(term, []).append(concept)
    return {term: tuple(dict.fromkeys(names)) for term, names in found.items()}


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
