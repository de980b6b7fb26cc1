"""Which labels look wrong: where an image, judged without its own label, says something else.

A few simple judges are asked, each without the row it judges. How far to believe each of them, how
many labels are wrong, and whether those were exchanged at random or between classes that look
alike, is read off the collection: what makes the labels that were given likeliest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fallow.inventory.rounded import rounding
from fallow.vectors.space import Neighbours, leading, squared, unit

# Chosen leave-one-set-out by recipes.judgement.
DIMENSIONS = 256  # main directions that the probe sees
FINE = 64  # those in which images are compared with the means of classes
RIDGE = 3e-4  # penalty of the probe, of the sum of all squares
ROUND = 0.3  # of a round spread mixed into that of classes
MOST = 1000  # images from which the weights of judges are learnt
DOUBT = 0.5  # times the logarithm of their number is what similar classes must add
LEAST = 0.1  # chance to be wrong that a suspect has
SHOWN = 6  # pictures that argue for another label


@dataclass(frozen=True)
class Suspects:
    """Rows with a doubtful label, most doubtful first, and how far images predict labels."""

    rows: np.ndarray
    suggested: np.ndarray  # codes
    confidence: np.ndarray  # chance that the label is wrong
    agreement: float | None  # share of labelled rows that look like what their label says
    chance: float | None  # the same for always saying the most frequent label
    judged: bool = False  # whether images say enough of labels to doubt any
    expected: float = 0.0  # number of wrong labels
    interval: tuple[int, int] = (0, 0)  # which holds that number eight times of ten
    wrong: np.ndarray = field(default_factory=lambda: np.zeros(0))  # N, chance; NaN: not judged
    pictures: list[list[int]] = field(default_factory=list)  # rows that argue for the suggestion
    alike: list[tuple[int, int, float]] = field(default_factory=list)  # codes that look the same


def suspects(
    near: Neighbours, codes: np.ndarray, vectors: np.ndarray | None = None, *, k: int = 15
) -> Suspects:
    """Doubtful labels among `codes` (N, -1 where there is none); `vectors` are the encoder's.

    Without vectors the k nearest neighbours judge alone. A class with a single image is not
    judged: nothing says what it looks like. As many rows are returned as labels are expected to
    be wrong, if the collection bears out that some are.

    >>> from fallow.vectors.space import neighbours
    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(4).repeat(50)
    >>> vectors = (np.eye(4)[truth] + 0.2 * draw.normal(size=(200, 4))).astype(np.float32)
    >>> codes = truth.copy()
    >>> codes[[3, 77]] = 2, 0
    >>> found = suspects(neighbours(vectors, 15), codes, vectors)
    >>> sorted(found.rows.tolist()), found.pictures[0][0] // 50 == found.suggested[0]
    ([3, 77], np.True_)
    """
    labelled = np.flatnonzero(codes >= 0)
    counts = np.bincount(codes[labelled], minlength=1)
    rows = labelled[counts[codes[labelled]] > 1]
    nothing = Suspects(*(np.zeros(0, np.int64),) * 2, np.zeros(0), None, None)
    if len(rows) < 10 or (vectors is None and near.rows.shape[1] == 0):
        return nothing
    kinds, given = np.unique(codes[rows], return_inverse=True)
    frequent = float(np.bincount(given).max() / len(given))
    if len(kinds) < 2:
        return Suspects(*(np.zeros(0, np.int64),) * 2, np.zeros(0), 1.0, 1.0)
    views = None if vectors is None else _views(vectors[rows])
    trust = np.ones(len(rows))
    for _ in range(2):  # the second time doubtful labels teach less
        judges = [_votes(near, rows, len(codes), given, trust, k), _sizes(given, trust)]
        if views is not None:
            judges += [_probe(views[0], given, trust), _means(views[1], given, trust)]
        verdict = _weigh(judges, given)
        trust = 1 - verdict.wrong
    return _named(verdict, near, rows, codes, kinds, given, frequent)


class Verdict(NamedTuple):
    """What all judges together say."""

    takes: np.ndarray  # N K, chances of what an image is
    wrong: np.ndarray  # N, chance that its label is wrong
    gain: float  # log likelihood, above that of no wrong label
    spread: float  # standard deviation of the number of wrong labels


# --- judges: N K, the larger the likelier, up to a factor that is learnt ---


def _views(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as the probe sees them, and on fewer directions."""
    points = unit(vectors).astype(np.float64)
    points -= points.mean(0)
    points = points @ leading(points, min(DIMENSIONS, len(points) - 1))[1]
    points /= max(float(np.sqrt((points**2).sum(1).mean())), 1e-12)
    return points, points[:, :FINE]


def _probe(points: np.ndarray, given: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Least squares on the other rows, exactly, in one go for all rows.

    >>> draw = np.random.default_rng(0)
    >>> points, given = draw.normal(size=(12, 2)), np.arange(12) % 3
    >>> whole = _probe(points, given, np.ones(12))
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


def _means(points: np.ndarray, given: np.ndarray, trust: np.ndarray) -> np.ndarray:
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


def _votes(
    near: Neighbours, rows: np.ndarray, total: int, given: np.ndarray, trust: np.ndarray, k: int
) -> np.ndarray:
    """What nearest labelled rows are, those nearer than usual counting more."""
    names, weights = np.full(total, -1), np.zeros(total)
    names[rows], weights[rows] = given, trust
    others, far = near.rows[rows, :k], near.distances[rows, :k]
    heard = np.exp(-((far / np.maximum(far.mean(1, keepdims=True), 1e-6)) ** 2)) * weights[others]
    votes = np.zeros((len(rows), int(given.max()) + 1))
    asker, place = np.nonzero(names[others] >= 0)
    np.add.at(votes, (asker, names[others[asker, place]]), heard[asker, place])
    return np.log(votes / np.maximum(votes.sum(1, keepdims=True), 1e-9) + 0.02)


def _sizes(given: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """How many other images each class has."""
    mass = np.bincount(given, trust)
    others = np.tile(mass, (len(given), 1))
    others[np.arange(len(given)), given] -= trust
    return np.log(np.maximum(others, 0.5))


# --- judges together ---


def _weigh(judges: list[np.ndarray], given: np.ndarray) -> Verdict:
    """Weights of the judges and shares of wrong labels under which the given ones are likeliest.

    Labels exchanged between similar classes need a share of their own; it counts as much as the
    likelihood it adds is worth (by the Bayesian criterion).
    """
    count, total = judges[0].shape
    judges = [judge - judge.max(1, keepdims=True) for judge in judges]
    judges = [judge / max(float(judge.std()), 1e-3) for judge in judges]
    learnt = np.arange(count)
    if count > MOST:
        learnt = np.sort(np.random.default_rng(0).choice(count, MOST, replace=False))
    some = [judge[learnt] for judge in judges]
    anywhere = (1 - np.eye(total)) / max(total - 1, 1)
    plain = _likeliest(some, given[learnt], [])
    random = _likeliest(some, given[learnt], [anywhere])
    # what images that are taken for each class might also be
    takes = _taken(judges, random.weights)
    near = np.zeros((total, total))
    np.add.at(near, takes.argmax(1), takes)
    near = (near + 1e-6) * (1 - np.eye(total))
    near /= np.maximum(near.sum(1, keepdims=True), 1e-12)
    both = _likeliest(some, given[learnt], [anywhere, near])
    better = random.score - both.score + np.log(len(learnt)) * DOUBT
    better = 1 / (1 + np.exp(np.clip(better, -50, 50)))
    wrong_random = _wrong(takes, given, random.shares, [anywhere])
    taken = _taken(judges, both.weights)
    wrong = (1 - better) * wrong_random + better * _wrong(
        taken, given, both.shares, [anywhere, near]
    )
    gain = max(random.score, both.score - np.log(count) * DOUBT) - plain.score
    spread = float(np.sqrt((wrong * (1 - wrong)).sum() + (wrong.sum() * 0.2) ** 2))
    return Verdict((1 - better) * takes + better * taken, wrong, float(gain), spread)


class _Fit(NamedTuple):
    weights: np.ndarray  # of judges
    shares: np.ndarray  # of labels that went wrong in each way
    score: float  # log likelihood


def _likeliest(judges: list[np.ndarray], given: np.ndarray, ways: list[np.ndarray]) -> _Fit:
    """Weights of judges (N K each) and shares of the ways a label goes wrong, by ascent.

    A way (K K) is the chance that an image of the one class is given the label of the other.
    """
    from scipy.optimize import minimize

    count, many = len(given), len(judges)
    rows = np.arange(count)

    def cost(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights, shares = np.exp(values[:many]), _shares(values[many:])
        takes = _taken(judges, weights)
        gets = (1 - shares.sum()) * np.eye(takes.shape[1])
        gets = gets + sum(share * way for share, way in zip(shares, ways, strict=True))
        met = takes * gets[:, given].T
        likely = np.maximum(met.sum(1), 1e-30)
        part = met / likely[:, None] - takes
        slopes = [
            -weight * (part * judge).sum() for weight, judge in zip(weights, judges, strict=True)
        ]
        own = takes[rows, given]
        moves = np.array([-(((takes * way[:, given].T).sum(1) - own) / likely).sum()
                          for way in ways])  # fmt: skip
        moves = shares * (moves - shares @ moves) if ways else moves
        # hardly any pull: judges that say the same are not told apart by the labels
        pull = 1e-4 * count * values[:many]
        whole = -np.log(likely).sum() + 0.5 * float(pull @ values[:many])
        if ways:  # before anything is seen, one label is taken to be wrong
            whole -= np.log(shares.sum())
            moves = moves - shares * (1 - shares.sum()) / shares.sum()
        return whole / count, np.r_[np.array(slopes) + pull, moves] / count

    start = np.r_[np.full(many, -1.0), np.full(len(ways), -3.0)]
    best = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 60})
    return _Fit(np.exp(best.x[:many]), _shares(best.x[many:]), float(-best.fun * count))


def _shares(values: np.ndarray) -> np.ndarray:
    """Shares, together below one, of free numbers."""
    return np.exp(values) / (1 + np.exp(values).sum())


def _taken(judges: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Chances (N K) of what each image is."""
    sums = sum(weight * judge for weight, judge in zip(weights, judges, strict=True))
    sums = np.exp(sums - sums.max(1, keepdims=True))
    return sums / sums.sum(1, keepdims=True)


def _wrong(
    takes: np.ndarray, given: np.ndarray, shares: np.ndarray, ways: list[np.ndarray]
) -> np.ndarray:
    """The chance that each label is wrong (N)."""
    right = (1 - shares.sum()) * takes[np.arange(len(given)), given]
    astray = np.zeros(len(given))
    for share, way in zip(shares, ways, strict=True):
        astray += share * (takes * way[:, given].T).sum(1)
    return astray / np.maximum(astray + right, 1e-30)


def _named(
    verdict: Verdict,
    near: Neighbours,
    rows: np.ndarray,
    codes: np.ndarray,
    kinds: np.ndarray,
    given: np.ndarray,
    frequent: float,
) -> Suspects:
    """The verdict in the collection's own rows and codes."""
    agreement = float((verdict.takes.argmax(1) == given).mean())
    wrong = np.full(len(codes), np.nan)
    wrong[rows] = verdict.wrong
    expected = float(verdict.wrong.sum())
    judged = agreement - frequent > 0.3 * (1 - frequent)
    order = np.argsort(-verdict.wrong, kind="stable")
    order = order[: round(expected) if judged else 0]
    chosen = order[verdict.wrong[order] >= LEAST]
    rivals = verdict.takes.copy()
    rivals[np.arange(len(rows)), given] = -1
    suggested = kinds[rivals.argmax(1)]
    low, high = (max(0, round(expected + side * 1.28 * verdict.spread)) for side in (-1, 1))
    pictures = [
        [int(row) for row in near.rows[rows[one]] if codes[row] == suggested[one]][:SHOWN]
        for one in chosen
    ]
    return Suspects(
        rows[chosen],
        suggested[chosen],
        verdict.wrong[chosen],
        agreement,
        frequent,
        judged,
        expected if judged else 0.0,
        (low, high) if judged else (0, 0),
        wrong,
        pictures,
    )
