"""How large known classes are: labels spread over a graph of neighbours, held-out ones say how far.

Some labels of each class are spread, the others judge. A value that a share of the held-out images
of the class exceeds is exceeded by the same share of its images nobody labelled, and by as many of
other classes as of the other labelled ones; what is counted above it then gives the class's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fallow.vectors.space import squared

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Picked on the sets of recipes.judgement.count, all of them in sight.
NEAR = 10  # neighbours of an image
FAR = 0.9  # of what an image holds it hands on
STEPS = 15
QUANTILES = (0.3, 0.5, 0.7)  # of the held-out images, where the border is drawn


def times_known(
    points: np.ndarray,
    known: np.ndarray,
    most: float,
    *,
    sources: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Log of how many times the known classes fit into all rows, if all are as large; 0 to `most`.

    >>> draw = np.random.default_rng(0)
    >>> truth = np.arange(12).repeat(40)
    >>> points = np.eye(12)[truth] + 0.2 * draw.normal(size=(480, 12))
    >>> known = np.where((truth < 4) & (draw.random(480) < 0.5), truth, -1)
    >>> round(4 * float(np.exp(times_known(points, known, 3.0))))
    13
    """
    graph = neighbour_graph(points, sources)
    sizes = class_sizes(graph, known, seed=seed)
    logs = [np.log(max(len(points) / size, 1e-9) / (known.max() + 1)) for size in sizes]
    return float(np.clip(logs, 0, most).mean())


def neighbour_graph(points: np.ndarray, sources: np.ndarray | None = None) -> csr_matrix:
    """Likeness of neighbours (N N), what each row has of it scaled to one.

    Rows of the same one of `sources` are no neighbours.
    """
    from scipy.sparse import csr_matrix, diags

    count = len(points)
    near = min(NEAR, count - 1)
    points = np.asarray(points, np.float32)
    rows, distances = np.empty((count, near), np.int64), np.empty((count, near))
    for first in range(0, count, 1024):
        part = np.arange(first, min(first + 1024, count))
        away = squared(points[part], points)
        away[np.arange(len(part)), part] = np.inf
        if sources is not None:
            away[sources[part][:, None] == sources] = np.inf
        rows[part] = np.argpartition(away, near - 1, axis=1)[:, :near]
        distances[part] = np.take_along_axis(away, rows[part], 1)
    width = np.where(np.isfinite(distances), distances, 0).max(1) + 1e-9
    alike = np.exp(-distances / np.sqrt(width[rows] * width[:, None]))
    whole = csr_matrix(
        (alike.ravel(), (np.arange(count).repeat(near), rows.ravel())), (count, count)
    )
    whole = (whole + whole.T) / 2
    return (diags(1 / (np.asarray(whole.sum(1)).ravel() + 1e-12)) @ whole).tocsr()


def class_sizes(graph: csr_matrix, known: np.ndarray, *, seed: int = 0) -> list[float]:
    """The mean size of a known class, one estimate for each of QUANTILES."""
    total, free = int(known.max()) + 1, known < 0
    draw = np.random.default_rng(seed)
    half = np.full(len(known), -1)
    for code in range(total):
        own = draw.permutation(np.flatnonzero(known == code))
        half[own] = np.arange(len(own)) % 2
    found: dict[float, list[float]] = {quantile: [] for quantile in QUANTILES}
    for kept in (0, 1):
        shown = (half >= 0) & (half != kept)
        held = half == kept
        reached = spread_labels(graph, np.where(shown, known, -1), total)
        for code in range(total):
            own, other = (reached[held & part, code] for part in (known == code, known != code))
            labelled = int((known == code).sum())
            if labelled < 2:
                continue
            for quantile in QUANTILES:
                border = max(float(np.quantile(own, quantile)), 1e-12)
                right = max(float((own >= border).mean()), 0.5 / len(own))
                wrong = float((other >= border).sum()) / (len(other) + 1)
                above = float((reached[free, code] >= border).sum())
                more = (above - free.sum() * wrong) / max(right - wrong, 0.05)
                found[quantile].append(labelled + max(more, 0.0))
    return [float(np.mean(sizes)) for sizes in found.values()]


def spread_labels(graph: csr_matrix, known: np.ndarray, classes: int) -> np.ndarray:
    """What reaches every row from the labels of each class (N C), each class with as much."""
    begun = np.zeros((len(known), classes))
    labelled = known >= 0
    begun[labelled, known[labelled]] = 1
    begun /= np.maximum(begun.sum(0), 1)
    reached = begun
    for _ in range(STEPS):
        reached = FAR * (graph @ reached) + (1 - FAR) * begun
    return reached
