"""Vectors of pictures and texts, kept by what they were made from, so that each is made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from fallow.encoders.dual import DualEncoder
from fallow.files import fingerprint
from fallow.regions.keep import kept, stage, weights

if TYPE_CHECKING:
    from fallow.images import Images


def _of(dual: DualEncoder) -> dict[str, Any]:
    """What a dual encoder's vectors depend on."""
    return {
        "encoder": weights(dual.image),
        "words": weights(dual.words),
        "preprocessing": asdict(dual.image.preprocessing),
        "tokeniser": dual.words.tokeniser.describe(),
    }


def picture_vectors(
    dual: DualEncoder, images: Images, *, normalise: bool, batch: int = 64
) -> np.ndarray:
    """Vectors (N, D float32) of pictures, from the cache if they are there.

    Of unit length or not is part of what they are kept under: both are asked for, and to take one
    for the other spoils results without a word.

    >>> from fallow.encoders.dual import tiny
    >>> from fallow.images.samples import shapes
    >>> picture_vectors(tiny(), shapes(2, side=16), normalise=True).shape
    (2, 32)
    """
    about = {**_of(dual), "images": images.fingerprint, "normalise": normalise}
    folder = stage("vectors of pictures", about)
    return kept(
        folder, "vectors", lambda: dual.embed_images(images, normalise=normalise, batch=batch)
    )


def text_vectors(
    dual: DualEncoder, texts: Sequence[str], *, normalise: bool, batch: int = 256
) -> np.ndarray:
    """Vectors (N, D float32) of texts, from the cache if they are there.

    >>> from fallow.encoders.dual import tiny
    >>> text_vectors(tiny(), ["a dog"], normalise=False).shape
    (1, 32)
    """
    told = fingerprint("\0".join(texts).encode())
    folder = stage("vectors of texts", {**_of(dual), "texts": told, "normalise": normalise})
    return kept(
        folder, "vectors", lambda: dual.embed_texts(texts, normalise=normalise, batch=batch)
    )
