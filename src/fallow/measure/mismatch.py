"""Texts that may not belong to their pictures: what fits better, and how many are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from fallow.vectors.arrays import unit_rows

BLOCK = 1024  # pairs looked at together


def strangeness(images: Any, texts: Any, pairs: np.ndarray) -> np.ndarray:
    """For each pair of picture and text, the share of others that fit better, both ways.

    0: no foreign text fits the picture better and no foreign picture the text; about a half where
    the two have nothing to do with each other. `pairs` are rows of `images` (N D) and of distinct
    `texts` (T D); what belongs to the picture or text besides is not foreign.

    >>> strangeness(np.eye(3), np.eye(3), np.array([[0, 0], [1, 1], [2, 1]])).tolist()
    [0.0, 0.0, 0.625]
    """
    seen, said = unit_rows(images).numpy(), unit_rows(texts).numpy()
    pairs = np.asarray(pairs, np.int64)
    found = np.empty(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        image, text = pairs[start : start + BLOCK].T
        fit = (seen[image] * said[text]).sum(1)
        among_texts = _better(seen[image] @ said.T, fit, image, pairs)
        among_images = _better(said[text] @ seen.T, fit, text, pairs[:, ::-1])
        found[start : start + BLOCK] = (among_texts + among_images) / 2
    return found


def _better(scores: np.ndarray, fit: np.ndarray, asked: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Share of the foreign whose score beats `fit`; an equal one counts half."""
    foreign = np.ones(scores.shape, bool)
    order = np.argsort(own[:, 0], kind="stable")
    first, last = (np.searchsorted(own[order, 0], asked, side) for side in ("left", "right"))
    for row, (begin, end) in enumerate(zip(first, last, strict=True)):
        foreign[row, own[order[begin:end], 1]] = False
    near = np.isclose(scores, fit[:, None], rtol=0, atol=1e-6)
    better = np.where(near, 0.5, scores > fit[:, None])
    return (better * foreign).sum(1) / np.maximum(foreign.sum(1), 1)


def wrong_share(strange: np.ndarray) -> float:
    """The share of pairs that do not belong together.

    A wrong pair is as likely above a half as below, and a right one hardly ever above: twice the
    share above is that of the wrong ones (Storey's estimate).

    >>> wrong_share(np.array([0.0, 0.1, 0.2, 0.3, 0.9]))
    0.4
    """
    return float(min(1.0, 2 * (strange > 0.5).mean())) if len(strange) else 0.0
