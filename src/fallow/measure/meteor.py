"""METEOR, with equal words and equal stems: words found again, and in order."""

from __future__ import annotations

from itertools import pairwise

from fallow.measure.english import stem

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_STEM = 0.6  # what a match by stem counts
# words so common that finding them says little
_COMMON_TEXT = """
a about after all also an and are as at be because been being but by can could did do does down
first for from had has have he her here him his how i if in into is it its just last like made
make many may me more most my new no not now of off on one only or other our out over people
said she should so some such than that the their them then there these they this those three
through time to too two under up us very was we were what when where which while who will with
would year years you your -lrb- -rrb- -lcb- -rcb- 's 't 're 've 'll 'd 'm n't
"""
_COMMON = frozenset(_COMMON_TEXT.split())


def meteor_of(own: list[str], other: list[str]) -> float:
    """How much of two sentences, given as words, is alike.

    >>> meteor_of(["two", "rings"], ["two", "rings"])
    1.0
    """
    pairs = _aligned(own, other)
    if not pairs:
        return 0.0
    matched_own = sum(_weight(own[a]) * (1.0 if own[a] == other[b] else _STEM) for a, b in pairs)
    matched_other = sum(
        _weight(other[b]) * (1.0 if own[a] == other[b] else _STEM) for a, b in pairs
    )
    precision = matched_own / sum(map(_weight, own))
    recall = matched_other / sum(map(_weight, other))
    mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
    chunks = 1 + sum((c, d) != (a + 1, b + 1) for (a, b), (c, d) in pairwise(pairs))
    if chunks == 1 and len(pairs) == len(own) == len(other):
        chunks = 0  # the same sentence
    return mean * (1 - _GAMMA * (chunks / len(pairs)) ** _BETA)


def _weight(word: str) -> float:
    return 1 - _DELTA if word in _COMMON else _DELTA


def _aligned(own: list[str], other: list[str], width: int = 40) -> list[tuple[int, int]]:
    """Places that belong together: as many as can be, then in as few runs as can be.

    The best few ways are carried along from word to word, as the original does.
    """
    stems = [stem(word) for word in other]
    states: list[tuple[tuple[int, int, int], tuple[tuple[int, int], ...]]] = [((0, 0, 0), ())]
    for place, word in enumerate(own):
        root = stem(word)
        matches = [b for b, one in enumerate(other) if one == word or stems[b] == root]
        grown = list(states)
        for (missing, runs, apart), pairs in states:
            taken = {b for _, b in pairs}
            for b in matches:
                if b in taken:
                    continue
                follows = bool(pairs) and pairs[-1] == (place - 1, b - 1)
                score = (missing - 1, runs + (not follows), apart + abs(place - b))
                grown.append((score, (*pairs, (place, b))))
        best: dict[tuple, tuple] = {}
        for score, pairs in sorted(grown, key=lambda one: one[0]):
            best.setdefault((pairs[-1] if pairs else None, frozenset(b for _, b in pairs)),
                            (score, pairs))  # fmt: skip
        states = list(best.values())[:width]
    return list(min(states, key=lambda one: one[0])[1])
