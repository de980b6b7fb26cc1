"""How well labels can be read off vectors: each encoder beside raw pixels, on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fallow.encoders import Preprocessing
from fallow.measure.knn import knn_accuracy
from fallow.measure.probe import logistic_probe
from fallow.problems import Problem

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images

RAW_SIDE = 32


def sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each row of `scores`."""
    return [f"{row['name']}: k-NN {row['knn']:.3f}, probe {row['probe']:.3f}" for row in rows]


def scores(
    encoders: Mapping[str, Encoder], images: Images, *, seed: int = 0
) -> list[dict[str, Any]]:
    """One row per encoder and one for raw pixels: name, knn, probe (accuracies on held-out)."""
    known = images.labelled
    if not len(known):
        raise Problem(f"{images.name} has no labels to probe with: give --labels")
    codes, names = known.labels
    if len(names) < 2:
        raise Problem(f"a probe needs at least two classes; {images.name} has {len(names)}")
    teach, ask = halves(known, codes, seed)
    vectors = {name: encoder.embed(known) for name, encoder in encoders.items()}
    vectors["raw pixels"] = raw_pixels(known)
    found = []
    for name, table in vectors.items():
        readable = np.isfinite(table).all(1)
        one, two = teach & readable, ask & readable
        arrays = table[one], codes[one], table[two], codes[two]
        found.append(
            {
                "name": name,
                "knn": knn_accuracy(*arrays).top1,
                "probe": logistic_probe(*arrays, seed=seed).top1,
            }
        )
    return found


def halves(images: Images, codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which images teach and which are asked: by their split, else one in five of each class.

    >>> from fallow.images.samples import shapes
    >>> images = shapes(60, seed=0, side=24)
    >>> teach, ask = halves(images, images.labels[0], seed=0)
    >>> int(teach.sum() + ask.sum()), bool((teach & ask).any())
    (60, False)
    """
    if (parts := split_of(images)) is not None:
        return parts
    draw = np.random.default_rng(seed)
    ask = np.zeros(len(codes), bool)
    for code in np.unique(codes):
        members = draw.permutation(np.flatnonzero(codes == code))
        ask[members[: max(1, len(members) // 5)] if len(members) > 1 else members[:0]] = True
    if not ask.any():
        raise Problem("every class has a single image: a probe needs two of some class")
    return ~ask, ask


def split_of(images: Images) -> tuple[np.ndarray, np.ndarray] | None:
    """Which images are for training and which for testing, where a column says so."""
    if "split" not in images.columns:
        return None
    split = images.column("split")
    teach, ask = split == "train", split == "test"
    return (teach, ask) if teach.any() and ask.any() else None


def raw_pixels(images: Images, side: int = RAW_SIDE) -> np.ndarray:
    """The pixels of small square copies as vectors (N, side * side * 3); NaN where unreadable."""
    shrink = Preprocessing(size=side, short=side)
    vectors = np.full((len(images), 3 * side * side), np.nan, np.float32)
    for row, pixels in images.map(shrink.fit, side=side):
        if hasattr(pixels, "numpy"):
            values = pixels.numpy().astype(np.float32).ravel()
            vectors[row] = values - values.mean()
    return vectors
