"""In which order an epoch visits the images: the same on every rank and after any resume."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from fallow.distributed import gather
from fallow.problems import SettingProblem


def shuffled(count: int, batch: int, *, seed: int, epoch: int) -> np.ndarray:
    """Rows of every batch of an epoch (steps, batch); the incomplete last batch is dropped.

    >>> shuffled(10, 4, seed=0, epoch=0).shape
    (2, 4)
    >>> bool((shuffled(10, 4, seed=0, epoch=1) == shuffled(10, 4, seed=0, epoch=1)).all())
    True
    """
    rows = np.random.default_rng([seed, epoch]).permutation(count)
    steps = count // batch
    return rows[: steps * batch].reshape(steps, batch)


def distinct(classes: np.ndarray, batch: int, *, seed: int, epoch: int) -> np.ndarray:
    """As `shuffled`, but images of a class meet in a batch only if there are too many of them.

    A class with at most as many images as there are batches never repeats in one. Of a larger
    one every batch gets an equal share, so that both the images that repeat a class of their
    batch and the pairs of equal class are as few as any order allows. What an epoch cannot fit
    in is left out of the largest classes first. A negative class is a class of one image.

    >>> classes = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    >>> rows = distinct(classes, 3, seed=0, epoch=0)
    >>> np.sort(classes[rows], axis=1).tolist()
    [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
    """
    steps = len(classes) // batch
    classes = _named(classes)
    draw = np.random.default_rng([seed, epoch])
    rows = draw.permutation(len(classes))
    too_many = places(classes[rows]) >= steps
    left_out = np.argsort(~too_many, kind="stable")[: len(rows) - steps * batch]
    rows = np.delete(rows, left_out)
    turn = draw.permutation(classes.max(initial=0) + 1)[classes[rows]]
    rows = rows[np.argsort(turn, kind="stable")]  # class after class
    batches = rows.reshape(batch, steps).T  # dealt like cards: neighbours to different batches
    return draw.permuted(batches[draw.permutation(steps)], axis=1)


def weighted(shares: np.ndarray, batch: int, *, seed: int, epoch: int) -> np.ndarray:
    """As `shuffled`, but drawn with replacement: a row comes as often as its share says.

    >>> rows = weighted(np.array([3.0, 1.0, 0.0]), 1, seed=0, epoch=0)
    >>> rows.shape, bool((rows < 2).all())
    ((3, 1), True)
    """
    draw = np.random.default_rng([seed, epoch])
    rows = draw.choice(len(shares), len(shares), p=shares / shares.sum())
    steps = len(shares) // batch
    return rows[: steps * batch].reshape(steps, batch)


def by_group(
    groups: np.ndarray, batch: int, each: int, *, seed: int, epoch: int, uniform: bool = True
) -> np.ndarray:
    """Batches of `each` different groups with equally many images: WILDS' group loader.

    `uniform` draws groups alike, otherwise by their size. An image comes twice in a batch only if
    its group has no more images than its share of the batch.

    >>> groups = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    >>> rows = by_group(groups, 4, 2, seed=0, epoch=0)
    >>> rows.shape, [len(set(groups[batch])) for batch in rows]
    ((2, 4), [2, 2])
    """
    names, sizes = np.unique(groups, return_counts=True)
    if each > len(names):
        raise SettingProblem(
            f"a batch of {each} groups needs as many, and there are {len(names)}: lower groups"
        )
    if each < 1 or batch % each:
        raise SettingProblem(
            f"a batch of {batch} cannot be shared by {each} groups: make it a multiple of them"
        )
    draw = np.random.default_rng([seed, epoch])
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    shares = None if uniform else sizes / sizes.sum()
    share, made = batch // each, []
    for _ in range(len(groups) // batch):
        for place in draw.choice(len(names), each, replace=False, p=shares):
            rows = members[place]
            made.append(draw.choice(rows, share, replace=len(rows) <= share))
    return np.concatenate(made).reshape(-1, batch) if made else np.zeros((0, batch), np.int64)


def places(classes: np.ndarray) -> np.ndarray:
    """How many rows of the same class come before each row.

    >>> places(np.array([7, 7, 3, 7, 3])).tolist()
    [0, 1, 0, 2, 1]
    """
    order = np.argsort(classes, kind="stable")
    _, first, sizes = np.unique(classes[order], return_index=True, return_counts=True)
    place = np.empty(len(classes), np.int64)
    place[order] = np.arange(len(classes)) - np.repeat(first, sizes)
    return place


def repeats(classes: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """How many images of each batch (steps, batch) repeat a class that the batch has already.

    >>> repeats(np.array([0, 0, 1, 1]), np.array([[0, 1], [0, 2]])).tolist()
    [1, 0]
    """
    met = np.sort(_named(classes)[batches], axis=1)
    return (met[:, 1:] == met[:, :-1]).sum(1)


def false_negatives(labels: Tensor) -> Tensor | None:
    """Share of the pairs of a batch, over all ranks, that have the same label; None if unlabelled.

    Contrastive losses push these pairs apart although they belong together.

    >>> import torch
    >>> false_negatives(torch.tensor([0, 0, 1, -1]))
    tensor(0.3333)
    """
    labels = gather(labels)
    labels = labels[labels >= 0]
    if len(labels) < 2:
        return None
    sizes = labels.unique(return_counts=True)[1]
    return (sizes * (sizes - 1)).sum() / (len(labels) * (len(labels) - 1))


def _named(classes: np.ndarray) -> np.ndarray:
    """Classes from 0 without gaps; every negative one becomes a class of its own."""
    alone = classes < 0
    classes = classes.astype(np.int64)
    classes[alone] = classes.max(initial=0) + 1 + np.arange(alone.sum())
    return np.unique(classes, return_inverse=True)[1].reshape(classes.shape)
