"""Recognisers of whole pictures made from labelled clean ones, to judge changed pictures by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fallow.encoders import Encoder
from fallow.problems import Problem

Pictures = Sequence[np.ndarray]  # each H W 3, uint8
Recogniser = Callable[[Pictures], np.ndarray]  # scores N K, one column a label
Features = Callable[[Pictures], np.ndarray]  # N D


def recognisers(encoder: Encoder, pictures: Pictures, labels: Any) -> dict[str, Recogniser]:
    """Three that see differently: a probe and neighbours over an encoder, and bare pixels.

    Labels are codes from 0; column k of the scores belongs to code k.
    """
    names = np.asarray(labels)
    if len(names) != len(pictures) or len(np.unique(names)) < 2:
        raise Problem("recognisers learn from pictures of two classes or more, each with its label")
    seen = encoder.embed(list(pictures))
    tiny = thumbnails(pictures)
    return {
        f"{encoder.name}, probe": by_probe(encoder.embed, seen, names),
        f"{encoder.name}, neighbours": by_neighbours(encoder.embed, seen, names),
        "pixels, kernel machine": by_kernel(thumbnails, tiny, names),
    }


def by_probe(features: Features, seen: np.ndarray, labels: np.ndarray) -> Recogniser:
    """Logistic regression on standardised features.

    >>> corner = lambda pictures: np.stack([p[0, 0] for p in pictures]).astype(float)
    >>> black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    >>> recognise = by_probe(corner, corner([black, white] * 4), np.array([0, 1] * 4))
    >>> recognise([white, black]).argmax(1).tolist()
    [1, 0]
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=0.1, max_iter=300)
    return _fitted(model, features, seen, labels)


def by_neighbours(
    features: Features, seen: np.ndarray, labels: np.ndarray, k: int = 10
) -> Recogniser:
    """Votes of the nearest clean pictures by the angle between features."""
    from fallow.measure.knn import knn_scores

    classes = int(labels.max()) + 1

    def recognise(pictures: Pictures) -> np.ndarray:
        return knn_scores(seen, labels, features(list(pictures)), k=k, classes=classes)

    return recognise


def by_kernel(features: Features, seen: np.ndarray, labels: np.ndarray) -> Recogniser:
    """A support vector machine with a Gaussian kernel."""
    from sklearn.svm import SVC

    return _fitted(SVC(C=10.0, decision_function_shape="ovr"), features, seen, labels)


def thumbnails(pictures: Pictures, side: int = 16) -> np.ndarray:
    """Pixels of small copies as features.  N side*side*3

    >>> thumbnails([np.zeros((40, 60, 3), np.uint8)], 4).shape
    (1, 48)
    """
    from PIL import Image

    small = [
        np.array(Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR))
        for one in pictures
    ]
    return np.stack(small).reshape(len(small), -1) / 255.0


def _fitted(model: Any, features: Features, seen: np.ndarray, labels: np.ndarray) -> Recogniser:
    from threadpoolctl import threadpool_limits

    mean, deviation = seen.mean(0), seen.std(0) + 1e-6
    with threadpool_limits(1, "blas"):
        model.fit((seen - mean) / deviation, labels)
    classes = int(labels.max()) + 1

    def recognise(pictures: Pictures) -> np.ndarray:
        rows = (features(list(pictures)) - mean) / deviation
        decide = getattr(model, "predict_proba", None) or model.decision_function
        found = decide(rows)
        if found.ndim == 1:  # of two classes a kernel machine gives one number
            found = np.stack([-found, found], 1)
        scores = np.full((len(rows), classes), -np.inf)
        scores[:, model.classes_] = found
        return scores

    return recognise
