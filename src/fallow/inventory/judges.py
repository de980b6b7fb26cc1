"""Judges of labels: what each class's images would have to look like, by other images alone.

Each gives N K numbers, the larger the likelier, up to a factor that is learnt from the labels.
"""

from __future__ import annotations

import numpy as np

from fallow.inventory.rounded import rounding
from fallow.vectors.space import Neighbours, leading, squared, unit

# Chosen leave-one-set-out by recipes.judgement.
DIMENSIONS = 256  # main directions that the probe sees
FINE = 64  # those in which images are compared with the means of classes
RIDGE = 3e-4  # penalty of the probe, of the sum of all squares
ROUND = 0.3  # of a round spread mixed into that of classes


def views_of(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as the probe sees them, and on fewer directions."""
    points = unit(vectors)
    points -= points.mean(0)
    # directions need no more than float32, and take half the time in it
    points = (points @ leading(points, min(DIMENSIONS, len(points) - 1))[1]).astype(np.float64)
    points /= max(float(np.sqrt((points**2).sum(1).mean())), 1e-12)
    return points, points[:, :FINE]


def probe(points: np.ndarray, given: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Least squares on the other rows, exactly, in one go for all rows.

    >>> draw = np.random.default_rng(0)
    >>> points, given = draw.normal(size=(12, 2)), np.arange(12) % 3
    >>> whole = probe(points, given, np.ones(12))
    >>> rest = np.arange(12) != 5
    >>> wide = np.c_[points, np.ones(12)]
    >>> penalty = np.diag([RIDGE * 12, RIDGE * 12, 1e-9])
    >>> normal = wide[rest].T @ wide[rest] + penalty
    >>> alone = wide[5] @ np.linalg.solve(normal, wide[rest].T @ np.eye(3)[given[rest]])
    >>> bool(np.allclose(whole[5], alone))
    True
    """
    wide = np.c_[points, np.ones(len(points))]
    target = np.eye(int(given.max()) + 1)[given]
    penalty = np.full(wide.shape[1], RIDGE * len(points))
    penalty[-1] = 1e-9
    inverse = np.linalg.inv((wide * trust[:, None]).T @ wide + np.diag(penalty))
    said = wide @ (inverse @ ((wide * trust[:, None]).T @ target))
    own = trust * np.einsum("nd,nd->n", wide @ inverse, wide)[:]
    return (said - own[:, None] * target) / np.maximum(1 - own, 1e-3)[:, None]


def means(points: np.ndarray, given: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Nearness to the means of classes, in a space where classes are round on average.

    A row is left out of its class's mean and of the spread: one with a wrong label would make its
    own way look short. Means are pulled to that of all rows as if by one more image.
    """
    rows = np.arange(len(given))
    onehot = np.eye(int(given.max()) + 1)[given] * trust[:, None]  # N K
    mass = np.maximum(onehot.sum(0), 1e-9)
    away = points - (onehot.T @ points / mass[:, None])[given]
    freedom = max(trust.sum() - len(mass), 1.0)
    turn = rounding((away * trust[:, None]).T @ away / freedom, ROUND)
    points, away = points @ turn, away @ turn
    middle = trust @ points / trust.sum()
    sums = onehot.T @ points
    centres = (sums + middle) / (mass + 1)[:, None]
    left = np.maximum(mass[given] - trust, 0)
    own = (sums[given] - trust[:, None] * points + middle) / (left + 1)[:, None]
    far = squared(points, centres)
    far[rows, given] = ((points - own) ** 2).sum(1)
    # what the spread without the row adds (Sherman and Morrison)
    along = (points * away).sum(1, keepdims=True) - away @ centres.T
    along[rows, given] = ((points - own) * away).sum(1)
    part = (1 - ROUND) / freedom * trust * mass[given] / np.maximum(left, 0.1)
    rest = np.maximum(1 - part * (away**2).sum(1), 0.05)
    return -far - (part / rest)[:, None] * along**2


def votes(
    near: Neighbours, rows: np.ndarray, total: int, given: np.ndarray, trust: np.ndarray, k: int
) -> np.ndarray:
    """What nearest labelled rows are, those nearer than usual counting more."""
    names, weights = np.full(total, -1), np.zeros(total)
    names[rows], weights[rows] = given, trust
    others, far = near.rows[rows, :k], near.distances[rows, :k]
    heard = np.exp(-((far / np.maximum(far.mean(1, keepdims=True), 1e-6)) ** 2)) * weights[others]
    heard_of = np.zeros((len(rows), int(given.max()) + 1))
    asker, place = np.nonzero(names[others] >= 0)
    np.add.at(heard_of, (asker, names[others[asker, place]]), heard[asker, place])
    return np.log(heard_of / np.maximum(heard_of.sum(1, keepdims=True), 1e-9) + 0.02)


def sizes(given: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """How many other images each class has."""
    mass = np.bincount(given, trust)
    others = np.tile(mass, (len(given), 1))
    others[np.arange(len(given)), given] -= trust
    return np.log(np.maximum(others, 0.5))
