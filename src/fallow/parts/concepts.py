"""Short phrases that a corpus uses often, and the texts of it that say nearly the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fallow.vectors.space import unit

MOST = 3  # words of a phrase
# words that join phrases, and belong to none
_JOINING = """
a about above across after against along among and are around as at be been before behind being
below beside between but by can could did do does down during each for from had has have he her
here his how i if in inside into is it its just like may me might more my near no not of off on
onto or our out outside over per she should so some such than that the their them then there
these they this those through to toward towards under until up upon us very was we were what
when where which while who will with within without would you your
"""
JOINING = frozenset(_JOINING.split())
_WORDS = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


def phrases(texts: Sequence[str], count: int = 1000) -> list[str]:
    """The commonest runs of words that no joining word, digit or mark parts, the commonest first.

    A stand-in for noun chunks that needs no parser and no language model; a phrase is counted
    once for every text. Runs of one script without blanks count as one word.

    >>> phrases(["a red car on a road", "the red car", "a dog on the road"], 3)
    ['car', 'red', 'red car']
    """
    found: Counter[str] = Counter()
    for text in texts:
        seen: set[str] = set()
        for run in _runs(text.lower()):
            for size in range(1, MOST + 1):
                seen.update(" ".join(run[k : k + size]) for k in range(len(run) - size + 1))
        found.update(seen)
    # of equally common ones in the order of the alphabet, so that nothing depends on chance
    return sorted(found, key=lambda phrase: (-found[phrase], phrase))[:count]


def _runs(text: str) -> list[list[str]]:
    runs: list[list[str]] = [[]]
    places = list(_WORDS.finditer(text))
    if places and places[0].group() not in JOINING:
        runs[-1].append(places[0].group())
    for before, word in pairwise(places):
        if text[before.end() : word.start()].strip() or word.group() in JOINING:
            runs.append([])
        if word.group() not in JOINING:
            runs[-1].append(word.group())
    return [run for run in runs if run]


def related(vectors: np.ndarray, texts: Sequence[str], count: int, block: int = 2048) -> np.ndarray:
    """For every text the nearest among those that differ (N count); its own first copy is first.

    >>> related(np.array([[1.0, 0], [1, 0.1], [0, 1]]), ["a", "b", "c"], 2).tolist()
    [[0, 1], [1, 0], [2, 1]]
    """
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    distinct = np.array(list(first.values()))
    rows = unit(np.asarray(vectors, np.float64))
    bank = rows[distinct]
    count = min(count, len(distinct))
    place = {row: k for k, row in enumerate(distinct.tolist())}
    own = np.array([place[first[text]] for text in texts])
    found = np.empty((len(rows), count), np.int64)
    for start in range(0, len(rows), block):
        near = rows[start : start + block] @ bank.T
        itself = own[start : start + block]
        near[np.arange(len(near)), itself] = np.inf  # nothing is nearer than the text itself
        found[start : start + block] = distinct[np.argsort(-near, axis=1, kind="stable")[:, :count]]
    return found
