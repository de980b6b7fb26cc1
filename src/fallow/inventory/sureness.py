"""How sure findings are, and what would change them: counted on parts of what is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fallow.inventory import outliers
from fallow.inventory.judges import probe, views_of
from fallow.inventory.suspects import Suspects
from fallow.vectors.space import Neighbours

NEAREST = 10
OTHERWISE = (0.0, 1.0)  # weights of colours and textures with which strangers are looked for again
LOOKED = 2000  # labelled rows on which ways of seeing are compared


@dataclass(frozen=True)
class Sureness:
    """Numbers behind second opinions; None where there is nothing to count."""

    borders: float | None  # share of images most of whose neighbours are in other groups
    strangers: tuple[int, int]  # of those listed, how many other weights of colours confirm
    doubts: tuple[int, int]  # of those listed, how many every half of the labels confirms
    close: int  # labels almost as doubtful as the last one listed
    curve: tuple[float, ...]  # agreement with a quarter, half and all of the labels
    doubled: float | None  # what twice the labels would bring, going on like this
    seen: dict[str, float]  # agreement by the encoder, by plain statistics, by both


def sureness(
    near: Neighbours,
    member: np.ndarray,
    standing_out: np.ndarray,
    codes: np.ndarray,
    doubted: Suspects,
    embedding: np.ndarray,
    statistics: np.ndarray,
) -> Sureness:
    """Second opinions on groups (N), strangers and labels of one collection.

    >>> from fallow.vectors.space import neighbours
    >>> vectors = np.eye(2).repeat(20, 0) + 0.1 * np.random.default_rng(0).normal(size=(40, 2))
    >>> near, codes = neighbours(vectors.astype(np.float32), 15), np.arange(2).repeat(20)
    >>> none = Suspects(codes[:0], codes[:0], np.zeros(0), None, None)
    >>> sureness(near, codes, codes[:0], -codes, none, vectors, vectors).borders
    0.0
    """
    borders = None
    if near.rows.shape[1] and len(np.unique(member)) > 1:
        other = member[near.rows[:, :NEAREST]] != member[:, None]
        # a small group has no more neighbours to offer than it has members
        _, place, sizes = np.unique(member, return_inverse=True, return_counts=True)
        room = np.clip(sizes[place] - 1, 1, other.shape[1])
        asked = np.arange(other.shape[1]) < room[:, None]
        borders = float(((other & asked).sum(1) >= 0.5 * room).mean())
    firm = np.ones(len(standing_out), bool)
    for weight in OTHERWISE if len(standing_out) else ():
        scores = outliers.outlier_scores(embedding, statistics, textures=weight)
        firm &= np.isin(standing_out, outliers.outliers(scores))
    close = 0
    if len(doubted.rows):
        doubt = np.nan_to_num(doubted.wrong, nan=0.0)
        close = int((doubt >= max(0.5 * doubted.confidence.min(), 0.05)).sum()) - len(doubted.rows)
    return Sureness(
        borders,
        (int(firm.sum()), len(standing_out)),
        (int((doubted.kept >= 1).sum()), len(doubted.rows)),
        max(close, 0),
        doubted.curve,
        doubled(doubted.curve),
        _seen(codes, doubted, embedding, statistics),
    )


def doubled(curve: tuple[float, ...]) -> float | None:
    """The next value of a curve whose steps shrink as the last two did; each doubles the labels.

    >>> round(doubled((0.5, 0.7, 0.8)), 3), doubled((0.5, 0.6, 0.6)), doubled(())
    (0.85, 0.6, None)
    """
    if len(curve) < 3:
        return None
    before, last = curve[-2] - curve[-3], curve[-1] - curve[-2]
    shrinks = min(last / before, 0.9) if before > 1e-6 else 0.5
    return min(curve[-1] + max(last, 0.0) * max(shrinks, 0.0), 1.0)


def _seen(
    codes: np.ndarray, doubted: Suspects, embedding: np.ndarray, statistics: np.ndarray
) -> dict[str, float]:
    """How many labels a probe on either way of seeing meets, each without the row it judges."""
    # a broader name than all others is not told from theirs by any way of seeing
    rows = np.flatnonzero((codes >= 0) & ~np.isin(codes, doubted.broad))
    if not doubted.judged or not statistics.shape[1]:
        return {}
    if len(rows) > LOOKED:
        rows = np.sort(np.random.default_rng(0).choice(rows, LOOKED, replace=False))
    given = np.unique(codes[rows], return_inverse=True)[1]
    trust = 1 - np.nan_to_num(doubted.wrong[rows], nan=0.0)
    plain = statistics[rows].astype(np.float64)
    plain = (plain - plain.mean(0)) / (plain.std(0) + 1e-9)
    ways = {"encoder": views_of(embedding[rows])[0], "statistics": views_of(plain)[0]}
    ways["both"] = np.concatenate([ways["encoder"], ways["statistics"]], axis=1) / np.sqrt(2)
    return {
        name: round(float((probe(way, given, trust).argmax(1) == given).mean()), 4)
        for name, way in ways.items()
    }
