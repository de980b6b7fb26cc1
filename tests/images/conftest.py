"""Small pictures and folders the tests of images share."""

import io

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path / "cache"))


def picture(width=40, height=30, seed=0):
    """A smooth picture that survives JPEG well."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (4, 5, 3), np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Four sound pictures in two sub-folders."""
    root = tmp_path / "photos"
    for index, name in enumerate(["cats/a.jpg", "cats/b.png", "dogs/c.webp", "dogs/deep/d.gif"]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF"}[name.split(".")[-1]]
        path.write_bytes(encoded(picture(seed=index), kind))
    return root
