"""Small pictures the tests of images encode."""

import io

import numpy as np
from PIL import Image


def picture(width=40, height=30, seed=0):
    """A smooth picture that survives JPEG well."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (4, 5, 3), np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
