"""How well groups found without labels agree with labels."""

from __future__ import annotations

from typing import Any

import numpy as np


def clustering_accuracy(labels: Any, clusters: Any) -> float:
    """Share of rows right under the best one-to-one matching of clusters to labels.

    >>> clustering_accuracy([0, 0, 1, 1], [7, 7, 3, 7])
    0.75
    """
    from scipy.optimize import linear_sum_assignment

    _, label_codes = np.unique(np.asarray(labels), return_inverse=True)
    _, cluster_codes = np.unique(np.asarray(clusters), return_inverse=True)
    if len(label_codes) != len(cluster_codes):
        raise ValueError(f"{len(label_codes)} labels but {len(cluster_codes)} clusters")
    counts = np.zeros((label_codes.max() + 1, cluster_codes.max() + 1), dtype=np.int64)
    np.add.at(counts, (label_codes, cluster_codes), 1)
    matched = linear_sum_assignment(counts, maximize=True)
    return float(counts[matched].sum() / len(label_codes))


def nmi(labels: Any, clusters: Any) -> float:
    """Normalised mutual information (arithmetic mean of the entropies).

    >>> nmi([0, 0, 1, 1], [1, 1, 0, 0])
    1.0
    """
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(labels, clusters))


def ari(labels: Any, clusters: Any) -> float:
    """Adjusted Rand index: 1 for equal partitions, about 0 for random ones.

    >>> ari([0, 0, 1, 1], [1, 1, 0, 0])
    1.0
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(labels, clusters))
