"""A cache of its own for each test, and a small folder of pictures."""

import pytest
from pictures import encoded, picture


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FALLOW_CACHE", str(tmp_path / "cache"))


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
