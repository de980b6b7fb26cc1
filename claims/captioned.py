"""What claims about pictures with words share: made captions, wrong ones, and dual encoders.

Small pictures of written digits get a caption each from what can be measured: how much ink there
is, how wide it lies, and which digit it is. A wrong caption is that of another picture, drawn by
the seed. Networks are small and begin alike for the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

ENCODER = "resnet8/8"
SMALL = {
    "size": 16,
    "batch": 128,
    "learning_rate": 4e-3,
    "crop": 0.8,
    "output": 64,
    "text_width": 64,
    "text_layers": 1,
    "text_heads": 2,
    "context": 12,
    "vocabulary": 600,
    "compose": "shuffled",
    "precision": "32",
}
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
INK, WIDTHS = ("faint", "plain", "heavy"), ("narrow", "wide")
TEACH = 1200  # pictures; the others are asked


def pictures(seed: int) -> tuple[Any, Any]:
    """Digits that teach and digits that are asked, each with a made caption."""
    from fallow.images.samples import digits

    images = said(digits())
    order = np.random.default_rng([seed, 5]).permutation(len(images))
    return images.select(np.sort(order[:TEACH])), images.select(np.sort(order[TEACH:]))


def said(images: Any) -> Any:
    """The pictures with a caption of what can be measured.

    >>> from fallow.images.samples import digits
    >>> said(digits().sample(2, seed=0)).column("caption")[0].split()[:2]
    ['a', 'plain']
    """
    import pyarrow as pa

    digits = [NAMES[int(label)] for label in images.column("label")]
    seen = [measured(pixels) for _, pixels in images.map(np.asarray)]
    texts = [f"a {ink} {wide} {digit}" for (ink, wide), digit in zip(seen, digits, strict=True)]
    return images.join(pa.table({"id": images.column("id"), "caption": texts}), on="id")


def enlarged(digit: np.ndarray) -> np.ndarray:
    """16 pixels a side."""
    return digit.repeat(2, 0).repeat(2, 1)


def measured(pixels: np.ndarray) -> tuple[str, str]:
    """How much ink a digit has, and how wide it is; by fixed steps."""
    grey = pixels.mean(2) / 255
    grey = grey if grey.mean() < 0.5 else 1 - grey
    across = np.flatnonzero(grey.max(0) > 0.3)
    ink = INK[int(np.digitize(grey.mean(), (0.28, 0.34)))]
    return ink, WIDTHS[int(np.ptp(across) / grey.shape[1] > 0.55)]


def exchanged(images: Any, share: float, seed: int) -> tuple[Any, np.ndarray]:
    """The images, so many of them with the caption of another, and which those are."""
    import pyarrow as pa

    texts = images.column("caption").copy()
    draw = np.random.default_rng([seed, 31])
    rows = draw.choice(len(texts), round(share * len(texts)), replace=False)
    texts[rows] = texts[np.roll(rows, 1)]
    wrong = texts != images.column("caption")
    return images.join(pa.table({"id": images.column("id"), "caption": texts}), on="id"), wrong


def aligned(
    method: str, images: Any, seed: int, settings: Mapping[str, Any], encoder: str = ENCODER
) -> Any:
    """A run of `align`'s method from scratch: small towers, the same start for the same seed."""
    import fallow
    from fallow.methods import find
    from fallow.train import fit, make_settings

    kind = find("align", method)
    return fit(
        kind,
        images,
        encoder=fallow.encoder(encoder, seed=seed, size=SMALL["size"]),
        settings=make_settings(kind.Settings, {**SMALL, **settings}),
        seed=seed,
    )


def fit_of(dual: Any, images: Any) -> np.ndarray:
    """The cosine of every picture with its own caption.  N"""
    seen = dual.embed_images(images, normalise=True)
    words = dual.embed_texts(images.column("caption").tolist(), normalise=True)
    return (seen * words).sum(1)


def sorted_by_words(dual: Any, images: Any) -> float:
    """How often a picture is nearest to the sentences of its own class."""
    from fallow.measure.words import class_scores, classifier, sorted_right

    templates = [f"a {ink} {wide} {{}}" for ink in INK for wide in WIDTHS]
    columns = classifier(lambda one: dual.embed_texts(one, normalise=True), NAMES, templates)
    scores = class_scores(dual.embed_images(images, normalise=True), columns)
    return sorted_right(scores, images.column("label").astype(int), ks=(1,)).top[1]
