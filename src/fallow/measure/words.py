"""Do pictures and texts find each other? Retrieval both ways, and classes named by words alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fallow.encoders.tokeniser import CLIP, clean
from fallow.problems import Problem, SettingProblem
from fallow.vectors.arrays import rows, similarity_blocks, unit_rows

PHOTO = ("a photo of a {}.", "a close-up of a {}.", "a picture that shows a {}.", "the {}.")
AERIAL = ("a satellite image of {}.", "an aerial photo of {}.")


# retrieval


@dataclass(frozen=True)
class Merged:
    """Distinct texts, and which picture each belongs to, as pairs."""

    texts: tuple[str, ...]
    pairs: np.ndarray  # P 2: picture, text


def merged(captions: Iterable[Sequence[str]]) -> Merged:
    """The texts of all pictures, a text that several pictures share once.

    >>> found = merged([["A dog.", "a puppy"], ["a dog. "]])
    >>> found.texts, found.pairs.tolist()
    (('A dog.', 'a puppy'), [[0, 0], [0, 1], [1, 0]])
    """
    place: dict[str, int] = {}
    texts: list[str] = []
    pairs: dict[tuple[int, int], None] = {}
    for picture, some in enumerate(captions):
        for text in some:
            key = clean(text)
            if key not in place:
                place[key] = len(texts)
                texts.append(text)
            pairs[picture, place[key]] = None
    return Merged(tuple(texts), np.array(list(pairs), np.int64).reshape(-1, 2))


def as_pairs(positives: Any) -> np.ndarray:
    """Pairs of picture and text (P 2) of a mask (pictures, texts), or such pairs as they are."""
    found = np.asarray(positives)
    if found.dtype == bool:
        return np.argwhere(found)
    if found.ndim != 2 or found.shape[1] != 2:
        raise SettingProblem(
            "what belongs together is a mask of pictures x texts, or pairs of their numbers"
        )
    return found.astype(np.int64)


def ranks(queries: Any, bank: Any, pairs: np.ndarray) -> np.ndarray:
    """How many wrong rows come before a query's first right one, by cosine; -1 without any.

    A wrong row that is as near as the right one comes before it: vectors that are all alike find
    nothing. `pairs` (P 2) name a query and a row of the bank that is right for it.

    >>> ranks(np.eye(2), np.eye(2), np.array([[0, 0], [1, 0]])).tolist()
    [0, 1]
    """
    sought, held = unit_rows(queries), unit_rows(bank)
    order = np.argsort(pairs[:, 0], kind="stable")
    query, right = pairs[order, 0], pairs[order, 1]
    found = np.full(len(sought), -1, np.int64)
    for part, cosines in similarity_blocks(sought, held):
        first, last = np.searchsorted(query, [part.start, part.stop])
        row = torch.from_numpy(query[first:last] - part.start).to(cosines.device)
        column = torch.from_numpy(right[first:last]).to(cosines.device)
        best = torch.full((len(cosines),), -torch.inf, device=cosines.device)
        best.scatter_reduce_(0, row, cosines[row, column], "amax")
        cosines[row, column] = -torch.inf
        before = (cosines >= best[:, None]).sum(1)
        before[best == -torch.inf] = -1
        found[part] = before.cpu().numpy()
    return found


@dataclass(frozen=True)
class Retrieval:
    """Shares of queries with a right answer among their k nearest, and where the first one is."""

    recall: dict[int, float]
    median: float  # place of the first right answer, 1 the best
    mean: float
    queries: int


@dataclass(frozen=True)
class BothWays:
    """Retrieval of pictures by text, and of texts by picture."""

    text_to_image: Retrieval
    image_to_text: Retrieval

    @property
    def mean_recall(self) -> float:
        """The mean of all recalls of both ways."""
        both = (self.text_to_image, self.image_to_text)
        return float(np.mean([share for way in both for share in way.recall.values()]))


def retrieval(found: np.ndarray, ks: Sequence[int] = (1, 5, 10)) -> Retrieval:
    """The measures of some ranks; queries without a right answer (-1) are left out.

    >>> retrieval(np.array([0, 3, -1])).recall
    {1: 0.5, 5: 1.0, 10: 1.0}
    """
    able = found[found >= 0]
    if not len(able):
        raise Problem("retrieval needs at least one picture with a text that belongs to it.")
    recall = {k: float((able < k).mean()) for k in ks}
    return Retrieval(recall, float(np.median(able + 1)), float((able + 1).mean()), len(able))


def both_ways(images: Any, texts: Any, positives: Any, ks: Sequence[int] = (1, 5, 10)) -> BothWays:
    """Retrieval between distinct pictures (I, D) and distinct texts (T, D).

    `positives` is a mask (I, T) or pairs, as `merged` makes them; any right answer counts.

    >>> both_ways(np.eye(2), np.eye(2), np.eye(2, dtype=bool), ks=(1,)).mean_recall
    1.0
    """
    pairs = as_pairs(positives)
    return BothWays(
        retrieval(ranks(texts, images, pairs[:, ::-1]), ks),
        retrieval(ranks(images, texts, pairs), ks),
    )


# classes by their names


@lru_cache(maxsize=1)
def imagenet_templates() -> tuple[str, ...]:
    """The 80 sentences of CLIP's authors.

    >>> len(imagenet_templates())
    80
    """
    return tuple((CLIP / "templates.txt").read_text(encoding="utf-8").splitlines())


def sentences(classes: Sequence[str], templates: Sequence[str] = PHOTO) -> list[list[str]]:
    """Every class in every template; underscores become spaces.

    >>> sentences(["red_shoe"], ["a photo of a {}."])
    [['a photo of a red shoe.']]
    """
    tidy = [" ".join(one.replace("_", " ").split()) for one in classes]
    if not tidy or not all(tidy):
        raise SettingProblem("classes are words, at least one and none of them empty")
    seen: dict[str, str] = {}
    for name, given in zip(tidy, classes, strict=True):
        if seen.setdefault(name.lower(), given) != given or tidy.count(name) > 1:
            raise SettingProblem(f"the class {name!r} is named twice: name each class once")
    if not templates or any("{}" not in one for one in templates):
        raise SettingProblem('a template is a sentence with a place for the class, as "a {}."')
    return [[template.replace("{}", name) for template in templates] for name in tidy]


def class_vectors(vectors: Any) -> Tensor:
    """One column for each class (D, C), of the vectors of its sentences (C, T, D).

    Each sentence counts alike: made of length 1, averaged, and made of length 1 again.

    >>> class_vectors([[[2.0, 0.0], [0.0, 5.0]]]).flatten().tolist()
    [0.7071067811865475, 0.7071067811865475]
    """
    table = torch.as_tensor(np.asarray(vectors))
    return F.normalize(F.normalize(table, dim=2).mean(1), dim=1).T


def classifier(
    embed: Callable[[list[str]], np.ndarray],
    classes: Sequence[str],
    templates: Sequence[str] = PHOTO,
) -> Tensor:
    """Columns (D, C) of classes by what `embed` makes of their sentences."""
    filled = sentences(classes, templates)
    vectors = embed([text for some in filled for text in some])
    return class_vectors(vectors.reshape(len(filled), len(templates), -1))


def class_scores(images: Any, columns: Tensor, scale: float = 100.0) -> np.ndarray:
    """Scores (N, C) of pictures' vectors: cosines, times a scale.

    >>> class_scores([[3.0, 4.0]], torch.eye(2)).round(3).tolist()
    [[60.0, 80.0]]
    """
    return (scale * unit_rows(images).double() @ columns.double()).numpy()


@dataclass(frozen=True)
class Sorted:
    """How often a picture's class is its best guess, or among the first few."""

    top: dict[int, float]
    per_class: float  # mean over classes of the share of their pictures that are right
    pictures: int


def sorted_right(scores: Any, labels: Any, ks: Sequence[int] = (1, 5)) -> Sorted:
    """Accuracy of class scores (N, C) over all pictures; those labelled -1 are left out.

    A class that scores as much as the right one counts as preferred to it: a model that says the
    same of every class has learnt nothing, and gets nothing.

    >>> sorted_right([[0.0, 1.0], [1.0, 1.0]], [1, 0], ks=(1, 2)).top
    {1: 0.5, 2: 1.0}
    """
    truth = np.asarray(labels)
    table = rows(scores).double().numpy()[truth >= 0]
    truth = truth[truth >= 0]
    if not len(truth):
        raise Problem("accuracy needs at least one labelled picture.")
    right = table[np.arange(len(truth)), truth]
    before = (table >= right[:, None]).sum(1) - 1
    each = [float((before[truth == name] < 1).mean()) for name in np.unique(truth)]
    top = {k: float((before < k).mean()) for k in ks}
    return Sorted(top, float(np.mean(each)), len(truth))
