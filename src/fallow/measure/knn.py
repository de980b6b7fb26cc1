"""Weighted k-nearest-neighbour classification of frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fallow.problems import Problem
from fallow.vectors.arrays import codes, similarity_blocks, unit_rows


@dataclass(frozen=True)
class Accuracy:
    """Shares of queries whose label is the best guess, and among the best five."""

    top1: float
    top5: float


def knn_scores(
    bank: Any,
    labels: Any,
    queries: Any,
    k: int = 20,
    temperature: float = 0.07,
    classes: int | None = None,
) -> np.ndarray:
    """Votes (Q, classes): the k nearest by cosine each add exp(similarity / temperature).

    Bank rows labelled -1 do not vote; k shrinks to the rows there are.

    >>> knn_scores(np.eye(2), [0, 1], [[2.0, 0.0]], k=1, temperature=1.0).round(3)
    array([[2.718, 0.   ]])
    """
    features = unit_rows(bank)
    names = codes(labels, len(features)).to(features.device)
    features, names = features[names >= 0], names[names >= 0]
    if not len(features):
        raise Problem("k-NN needs at least one labelled row in its bank.")
    classes = int(names.max()) + 1 if classes is None else classes
    sought = unit_rows(queries).to(features.device)
    scores = torch.zeros(len(sought), classes, dtype=torch.float64, device=features.device)
    for part, similarity in similarity_blocks(sought, features):
        nearest = similarity.topk(min(k, len(features)), dim=1)
        votes = (nearest.values.double() / temperature).exp()
        scores[part].scatter_add_(1, names[nearest.indices], votes)
    return scores.cpu().numpy()


def knn_accuracy(
    bank: Any,
    labels: Any,
    queries: Any,
    query_labels: Any,
    k: int = 20,
    temperature: float = 0.07,
) -> Accuracy:
    """k-NN accuracy over the queries that have a label.

    >>> knn_accuracy(np.eye(2), [0, 1], np.eye(2), [0, 0], k=1)
    Accuracy(top1=0.5, top5=0.5)
    """
    truth = np.asarray(query_labels)
    classes = int(max(np.max(labels), truth.max())) + 1
    scores = knn_scores(bank, labels, queries, k, temperature, classes)
    return accuracy(scores, truth, guesses=min(5, k))


def accuracy(scores: np.ndarray, labels: Any, guesses: int = 5) -> Accuracy:
    """Top-1 and top-5 of class scores (N, classes); rows labelled -1 are left out.

    With fewer than five `guesses`, as k neighbours below five make, `top5` means that many.

    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), [1, 1])
    Accuracy(top1=0.5, top5=1.0)
    """
    truth = np.asarray(labels)
    scores, truth = scores[truth >= 0], truth[truth >= 0]
    if not len(truth):
        raise Problem("accuracy needs at least one labelled row to compare with.")
    order = np.argsort(-scores, axis=1, kind="stable")[:, :guesses]
    right = order == truth[:, None]
    return Accuracy(float(right[:, 0].mean()), float(right.any(1).mean()))
