"""How well classes found beside known ones agree with the truth: one matching over everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class DiscoveryAccuracy(NamedTuple):
    """Shares of all rows, of old classes' rows and of new classes' rows; NaN where there are none.

    >>> print(DiscoveryAccuracy(0.5, 0.75, 0.25))
    all 0.500, old 0.750, new 0.250
    """

    all: float
    old: float
    new: float

    def __str__(self) -> str:
        return f"all {self.all:.3f}, old {self.old:.3f}, new {self.new:.3f}"


def matching(labels: Any, clusters: Any) -> dict[int, int]:
    """The class each cluster stands for: the one-to-one matching most rows agree with.

    A cluster that no class is left for, or that shares no row with its class, is not in it.

    >>> matching([0, 0, 1, 1], [2, 2, 0, 2])
    {0: 1, 2: 0}
    """
    counts = _contingency(labels, clusters)
    return {k: int(one) for k, one in enumerate(_matched(counts)) if counts[k, one]}


def discovery_accuracy(labels: Any, clusters: Any, old: Any) -> DiscoveryAccuracy:
    """Generalized category discovery's accuracy ("v2"): clusters are matched to classes once.

    `labels` and `clusters` are codes from 0; `old` says of every row whether its class has labels
    somewhere. Rows that were labelled must be left out by the caller: they are known, not found.

    >>> discovery_accuracy([0, 0, 1, 1], [1, 1, 1, 0], [True, True, False, False])
    DiscoveryAccuracy(all=0.75, old=1.0, new=0.5)
    """
    counts = _contingency(labels, clusters)  # clusters x classes
    truth, old = np.asarray(labels), np.asarray(old, bool)
    right = np.zeros(counts.shape[1], np.int64)  # rows of each class in the cluster it got
    for cluster, one in enumerate(_matched(counts)):
        right[one] = counts[cluster, one]
    sizes = counts.sum(0)

    def share(classes: np.ndarray) -> float:
        rows = sizes[classes].sum()
        return float(right[classes].sum() / rows) if rows else float("nan")

    return DiscoveryAccuracy(
        float(right.sum() / len(truth)), share(np.unique(truth[old])), share(np.unique(truth[~old]))
    )


def discovery_accuracy_v1(labels: Any, clusters: Any, old: Any) -> DiscoveryAccuracy:
    """The legacy measure: old and new rows are matched apart, which flatters.

    Two classes may both claim the same cluster, so a method that mixes them is not punished.

    >>> discovery_accuracy_v1([0, 0, 1, 1], [1, 1, 1, 1], [True, True, False, False])
    DiscoveryAccuracy(all=1.0, old=1.0, new=1.0)
    """
    from fallow.measure.cluster import clustering_accuracy

    truth, found, old = np.asarray(labels), np.asarray(clusters), np.asarray(old, bool)
    parts = [
        clustering_accuracy(truth[part], found[part]) if part.any() else float("nan")
        for part in (old, ~old)
    ]
    weight = old.mean()
    whole = sum(w * p for w, p in zip((weight, 1 - weight), parts, strict=True) if w)
    return DiscoveryAccuracy(float(whole), *parts)


def judged(
    truth: Sequence[str], groups: Any, old: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """Accuracy of rows that are in `groups` (codes of `names`), and who was taken for whom.

    `truth` names the class of every row; `old` are the classes with labels, in their order.

    >>> judged(["oak", "elm"], [0, 1], ["oak"], ["oak", "new 1"])["confusion"]["matched"]
    [0, 1]
    """
    classes = [*old, *sorted(set(truth) - set(old))]
    place = {name: code for code, name in enumerate(classes)}
    codes, groups = np.array([place[name] for name in truth]), np.asarray(groups)
    counts = np.zeros((len(classes), len(names)), np.int64)
    np.add.at(counts, (codes, groups), 1)
    stands = matching(codes, groups)
    return {
        "accuracy": discovery_accuracy(codes, groups, codes < len(old))._asdict(),
        "judged": len(truth),
        "true_classes": len(classes),
        "confusion": {
            "truth": classes,
            "old": len(old),
            "groups": list(names),
            "counts": counts.tolist(),
            "matched": [stands.get(k) for k in range(len(names))],
        },
    }


def _contingency(labels: Any, clusters: Any) -> np.ndarray:
    """Rows in each cluster of each class, square: clusters x classes."""
    truth, found = np.asarray(labels), np.asarray(clusters)
    if len(truth) != len(found):
        raise ValueError(f"{len(truth)} labels but {len(found)} clusters")
    if not len(truth) or min(truth.min(), found.min()) < 0:
        raise ValueError(
            "accuracy needs at least one row, and codes from 0: leave unknown ones out"
        )
    side = int(max(truth.max(), found.max())) + 1
    counts = np.zeros((side, side), np.int64)
    np.add.at(counts, (found, truth), 1)
    return counts


def _matched(counts: np.ndarray) -> np.ndarray:
    """The class of every cluster."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(counts.max() - counts)[1]
