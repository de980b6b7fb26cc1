"""Drawn photos with edges and textures of many scales, and the same photos damaged."""

from __future__ import annotations

import numpy as np

from fallow.views.damage import damaged


def photo(seed=0, height=192, width=240):
    """A picture with edges and textures of many scales, as photos have them."""
    random = np.random.default_rng(seed)
    made = np.zeros((height, width, 3))
    for scale in (1, 2, 4, 8, 16, 32):
        shape = (-(-height // scale), -(-width // scale), 3)
        coarse = np.kron(random.normal(size=shape), np.ones((scale, scale, 1)))
        made += coarse[:height, :width] * scale**0.9
    made -= made.min()
    return np.round(made / made.max() * 255).astype(np.uint8)


def spoilt(pixels, name, grade):
    picture = damaged(pixels / np.float32(255), name, grade, np.random.default_rng(0))
    return np.round(picture * 255).astype(np.uint8)
