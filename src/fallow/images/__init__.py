"""Images from anywhere: `open` a source, select, read pixels, pack them."""

from __future__ import annotations

from fallow.images.collection import Images
from fallow.images.pack import CachedPack, Pack, cached_packs, clear_packs
from fallow.images.sources import open, opened
from fallow.images.stores import FileProblem

__all__ = [
    "CachedPack",
    "FileProblem",
    "Images",
    "Pack",
    "cached_packs",
    "clear_packs",
    "open",
    "opened",
]
