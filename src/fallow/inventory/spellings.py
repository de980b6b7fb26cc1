"""Label names that differ only in how they were typed: found and named, never merged by itself."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fallow.vectors.space import Neighbours

LONG = 6  # letters from which a name may hold a typing error
MIXED = 0.8  # of the neighbours that chance would give the other name
SLIP = "one letter"  # may be two words, so its pictures are judged apart
FEW = 3  # pictures of a name too rare to say how it looks


@dataclass(frozen=True)
class Variants:
    """Names that may mean one class, the most frequent first."""

    codes: tuple[int, ...]
    why: str
    mixed: float | None  # neighbours across the names, of those chance would give; None: too few

    @property
    def alike(self) -> bool:
        """Whether the pictures do not speak against one class."""
        return self.mixed is None or self.mixed >= MIXED


def variants(
    names: Sequence[str], codes: np.ndarray, near: Neighbours | None = None
) -> list[Variants]:
    """Names to merge, perhaps: other case, blanks, signs or accents, a plural, one wrong letter.

    A wrong letter is only believed where the pictures of both names are mixed or one is rare:
    `horse` and `house` are two words.

    >>> given = np.array([0, 0, 0, 1, 1, 2, 3])
    >>> [one.codes for one in variants(["T-Shirt", "t shirt", "tshirts", "hat"], given)]
    [(0, 1, 2)]
    """
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    used = [code for code in range(len(names)) if sizes[code]]
    written = {code: key(names[code]) for code in used}
    links: dict[tuple[int, int], str] = {}
    for form, why in ((written, "case, blanks or signs"), (_singulars(written), "plural")):
        same = defaultdict(list)
        for code, text in form.items():
            same[text].append(code)
        for alike in same.values():
            for pair in combinations(alike, 2):
                links.setdefault(pair, why)
    for pair in _one_letter(written):
        if pair in links:
            continue
        shared = mixing(pair, codes, near)
        rare = sizes[list(pair)].min() <= FEW
        if (rare and shared is None) or (shared is not None and shared >= MIXED):
            links[pair] = SLIP
    return [
        Variants(
            tuple(sorted(group, key=lambda code: (-sizes[code], code))),
            " and ".join(dict.fromkeys(why for pair, why in links.items() if set(pair) <= group)),
            mixing(tuple(group), codes, near),
        )
        for group in _joined(links)
    ]


def key(name: str) -> str:
    """A name without what typing varies: case, accents, width, blanks and signs.

    >>> key("T-Shirt "), key("Café_au lait"), key("ＡＢＣ"), key("+")
    ('tshirt', 'cafeaulait', 'abc', '+')
    """
    text = unicodedata.normalize("NFKD", name).casefold()
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    # signs between numbers say something: 1-2 is not 12
    text = re.sub(r"(?<=\d)[^\w]+(?=\d)", "·", text.strip())
    return re.sub(r"[^\w·]|_", "", text) or text


def merged(codes: np.ndarray, found: Sequence[Variants]) -> np.ndarray:
    """Codes in which variants whose pictures do not speak against it share their first name's.

    >>> merged(np.array([0, 1, -1]), [Variants((1, 0), "plural", None)]).tolist()
    [1, 1, -1]
    """
    joined = codes.copy()
    for one in found:
        if one.alike and SLIP not in one.why:
            joined[np.isin(codes, one.codes)] = one.codes[0]
    return joined


def related(names: Sequence[str]) -> list[tuple[int, int]]:
    """Codes of names of which one holds the other: several labels in one, or a path of kinds.

    >>> related(["cat", "cat, dog", "dog", "animal/bird", "animal", "hotdog"])
    [(0, 1), (1, 2), (3, 4)]
    """
    parts = [frozenset(key(part) for part in re.split(r"[,;|+&/>]", name)) for name in names]
    places = defaultdict(list)
    for code, part in enumerate(parts):
        for one in part:
            places[one].append(code)
    several = [code for code, part in enumerate(parts) if len(part) > 1]
    pairs = {
        (min(code, other), max(code, other))
        for code in several
        for one in parts[code]
        for other in places[one]
        if other != code and (parts[other] < parts[code])
    }
    return sorted(pairs)


def mixing(
    group: Sequence[int], codes: np.ndarray, near: Neighbours | None, least: int = 10
) -> float | None:
    """Neighbours with another name of the group, of those that chance would give.

    0 where pictures keep to their own name, about 1 where names do not matter; None where fewer
    than `least` neighbours speak.

    >>> near = Neighbours(np.array([[1, 2, 3], [0, 2, 3], [3, 0, 1], [2, 0, 1]]), np.ones((4, 3)))
    >>> mixing((0, 1), np.array([0, 1, 0, 1]), near)
    1.0
    """
    if near is None or near.rows.shape[1] == 0:
        return None
    rows = np.flatnonzero(np.isin(codes, group))
    met = codes[near.rows[rows]]
    heard = np.isin(met, group)
    if heard.sum() < least:
        return None
    sizes = np.array([(codes == code).sum() for code in group])
    places = np.searchsorted(np.sort(group), codes[rows])
    chance = 1 - (sizes[np.argsort(group)][places] - 1) / max(sizes.sum() - 1, 1)
    other = heard & (met != codes[rows][:, None])
    wanted = float((heard * chance[:, None]).sum())
    return round(float(other.sum() / max(wanted, 1e-9)), 3)


def _singulars(written: dict[int, str]) -> dict[int, str]:
    return {code: _singular(text) for code, text in written.items()}


def _singular(text: str) -> str:
    """A word without the ending of its plural.

    >>> [_singular(each) for each in ("shirts", "cherries", "boxes", "glass", "bus", "gas")]
    ['shirt', 'cherry', 'box', 'glass', 'bus', 'gas']
    """
    if len(text) < 4 or not text[-2].isalpha():
        return text
    for ending, instead in (("ies", "y"), ("xes", "x"), ("shes", "sh"), ("ches", "ch")):
        if text.endswith(ending) and len(text) > len(ending) + 1:
            return text.removesuffix(ending) + instead
    return text[:-1] if text.endswith("s") and text[-2] not in "sui" else text


def _one_letter(written: dict[int, str]) -> list[tuple[int, int]]:
    """Long names one letter apart: put in, left out, another one, or two exchanged.

    Found by what is left when a letter is left out, so the work grows with the letters alone.

    >>> _one_letter({0: "sandal", 1: "sandel", 2: "snadal", 3: "class1", 4: "class2"})
    [(0, 1), (0, 2)]
    """
    left = defaultdict(set)
    for code, text in written.items():
        if len(text) >= LONG - 1:
            for place in range(-1, len(text)):
                left[text if place < 0 else text[:place] + text[place + 1 :]].add(code)
    pairs = {pair for codes in left.values() for pair in combinations(sorted(codes), 2)}
    return sorted(
        (one, two)
        for one, two in pairs
        if max(len(written[one]), len(written[two])) >= LONG
        and _slipped(written[one], written[two])
    )


def _slipped(one: str, two: str) -> bool:
    """Whether one slip of the fingers turns the one word into the other; digits do not slip."""
    if one[:1] != two[:1]:  # rarely the first letter, and shirt is no t-shirt
        return False
    start = next((k for k, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
    start = min(len(one), len(two)) if start is None else start
    first, second = one[start:], two[start:]
    end = 0
    while end < min(len(first), len(second)) and first[-1 - end] == second[-1 - end]:
        end += 1
    first, second = first[: len(first) - end], second[: len(second) - end]
    if any(letter.isdigit() for letter in first + second):
        return False
    exchanged = len(first) == len(second) == 2 and first == second[::-1]
    return exchanged or (first != second and max(len(first), len(second)) <= 1)


def _joined(links: dict[tuple[int, int], str]) -> list[set[int]]:
    """Codes that links hold together."""
    groups: list[set[int]] = []
    for pair in links:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if not group & set(pair)]
        groups.append(set(pair).union(*touched))
    return sorted(groups, key=min)
