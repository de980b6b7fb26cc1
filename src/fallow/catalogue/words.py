"""Search by words: terms of a text, and BM25 over texts of several fields."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

FILLING = """
a about all also am an and any are as at be because been but by can do does for from had has have
how i if in into is it its just me my no not of on one or our own so some such than that the their
them then there these they this those to too up us use used using want was we were what when where
which while who whose why will with without would you your
"""
STOP = frozenset(FILLING.split())
ENDS = ("ations", "ation", "ingly", "ings", "ising", "izing", "ing", "ised", "ized", "edly",
        "ies", "ers", "ors", "ments", "ment", "ness", "ity", "ise", "ize", "er", "or", "ed", "es",
        "ly", "al", "s", "e", "y")  # fmt: skip


def terms(text: str) -> list[str]:
    """Stems of the words that carry meaning, in their order.

    A compound counts as its parts and as a whole, so that re-identification finds both.

    >>> terms("Learning from self-supervised Clusters: the nearest neighbours!")
    ['learn', 'self', 'superv', 'selfsuperv', 'clust', 'nearest', 'neighbour']
    """
    folded = unicodedata.normalize("NFKD", text.lower())
    folded = "".join(c for c in folded if not unicodedata.combining(c)).replace("²", "2")
    found = []
    for word in re.findall(r"[^\W_]+(?:-[^\W_]+)*", folded):
        parts = word.split("-")
        found += [stem(part) for part in parts if part not in STOP]
        if len(parts) > 1:
            found.append(stem("".join(parts)))
    return found


def stem(word: str) -> str:
    """A word without its ending: cut once, and never below four letters.

    >>> [stem(word) for word in "segments segmentation labelled labels colour color".split()]
    ['segment', 'segment', 'label', 'label', 'colour', 'colour']
    """
    word = SPELT.get(word, word)
    for end in ENDS:
        if word.endswith(end) and len(word) - len(end) >= 4:
            word = word[: -len(end)]
            break
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word


SPELT = {
    "color": "colour", "colors": "colour", "neighbor": "neighbour", "neighbors": "neighbour",
    "photos": "photo", "photograph": "photo", "photographs": "photo",
    "image": "picture", "images": "picture", "pictures": "picture", "aesthetics": "aesthetic",
    "gray": "grey", "unlabeled": "unlabelled", "labeled": "labelled", "disk": "disc",
    "center": "centre", "centers": "centre", "tumor": "tumour",
}  # fmt: skip


class Words:
    """BM25: how well each of some texts answers a few words (Robertson's k1 and b)."""

    def __init__(self, texts: Sequence[Sequence[str]], k1: float = 1.2, b: float = 0.75) -> None:
        self.counts = [Counter(text) for text in texts]
        self.lengths = [len(text) for text in texts]
        self.mean = sum(self.lengths) / len(texts) if texts and sum(self.lengths) else 1.0
        self.within = Counter(term for count in self.counts for term in count)
        self.k1, self.b = k1, b

    def weight(self, term: str) -> float:
        """How much a term tells: much if few texts have it."""
        held = self.within[term]
        return math.log(1 + (len(self.counts) - held + 0.5) / (held + 0.5))

    def scores(self, asked: Sequence[str]) -> list[float]:
        """One number for each text; 0 where no word is in it.

        >>> words = Words([["raw", "file"], ["sketch", "photo"], ["photo"]])
        >>> [round(score, 2) for score in words.scores(["photo"])]
        [0.0, 0.43, 0.56]
        """
        found = []
        for count, length in zip(self.counts, self.lengths, strict=True):
            norm = self.k1 * (1 - self.b + self.b * length / self.mean)
            hits = (term for term in dict.fromkeys(asked) if term in count)
            parts = [
                self.weight(term) * count[term] * (self.k1 + 1) / (count[term] + norm)
                for term in hits
            ]
            found.append(sum(parts, 0.0))
        return found
