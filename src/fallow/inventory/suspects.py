"""Which labels look wrong: where an image's neighbours confidently say something else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fallow.vectors.space import Neighbours


@dataclass(frozen=True)
class Suspects:
    """Rows with a doubtful label, most doubtful first, and how far neighbours predict labels."""

    rows: np.ndarray
    suggested: np.ndarray  # codes
    confidence: np.ndarray
    agreement: float | None  # share of labelled rows whose neighbours vote for their label
    chance: float | None  # the same for always voting the most frequent label
    judged: bool = False  # whether agreement sufficed to doubt anything


def suspects(near: Neighbours, codes: np.ndarray, *, k: int = 15, least: float = 0.5) -> Suspects:
    """Doubtful labels by confident voting of the k nearest labelled rows, self left out.

    A row is doubtful when its neighbours are as sure of another label as they are, on average,
    of rows that carry that label, and less sure of its own than of that label's typical row by
    far. Nothing is flagged unless the neighbours predict labels at all: their agreement must
    reach `least`, and halve the error of the most frequent label.
    """
    nothing = np.zeros(0, np.int64)
    labelled = codes >= 0
    if labelled.sum() < 10 or near.rows.shape[1] == 0:
        return Suspects(nothing, nothing, np.zeros(0), None, None)
    classes = int(codes.max()) + 1
    rows, distances = near.rows[:, :k], near.distances[:, :k]
    votes = codes[rows]
    # weights fall with distance on the scale of each row's own neighbourhood
    scale = np.maximum(distances.mean(axis=1, keepdims=True), 1e-6)
    weights = np.exp(-((distances / scale) ** 2)) * (votes >= 0)
    chances = np.zeros((len(codes), classes), np.float32)
    for place in range(rows.shape[1]):
        voted = votes[:, place]
        known = np.flatnonzero(voted >= 0)
        chances[known, voted[known]] += weights[known, place]
    total = chances.sum(axis=1)
    judged = np.flatnonzero(labelled & (total > 0))
    if len(judged) == 0:
        return Suspects(nothing, nothing, np.zeros(0), None, None)
    chances = chances[judged] / total[judged, None]
    own_code = codes[judged]
    agreement = float((chances.argmax(axis=1) == own_code).mean())
    chance = float(np.bincount(own_code).max() / len(own_code))
    if agreement < least or 1 - agreement > 0.5 * (1 - chance) or (own_code == own_code[0]).all():
        return Suspects(nothing, nothing, np.zeros(0), agreement, chance)
    order = np.arange(len(judged))
    own = chances[order, own_code]
    sizes = np.bincount(own_code, minlength=classes)
    usual = np.bincount(own_code, own, minlength=classes) / np.maximum(sizes, 1)
    rivals = chances.copy()
    rivals[order, own_code] = -1
    rival = rivals.argmax(axis=1)
    strength = rivals[order, rival]
    doubtful = (strength >= np.maximum(usual[rival], 0.6)) & (own <= 0.5 * usual[own_code])
    doubtful &= own < 0.25
    chosen = np.flatnonzero(doubtful)
    confidence = strength[chosen] - own[chosen]
    chosen = chosen[np.argsort(-confidence, kind="stable")]
    return Suspects(
        judged[chosen],
        rival[chosen],
        (strength - own)[chosen].astype(float),
        agreement,
        chance,
        judged=True,
    )
