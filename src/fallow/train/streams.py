"""What a method is given of its images: packed streams, the facts, all texts, a fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fallow import distributed
from fallow.images.captions import Texts, captions, captions_fingerprint, holds_texts
from fallow.images.masks import masked_fingerprint, packed_masks
from fallow.problems import Problem
from fallow.train.loader import Stream, VolumeStream
from fallow.train.method import Facts, Method
from fallow.train.streaming import Unpacked, fits
from fallow.train.words import TextStream

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from fallow.images import Images
    from fallow.views import Recipe


def source_side(recipe: Recipe) -> int:
    """Short side at which images are packed for a recipe: room to crop, no more."""
    if recipe.side is not None:
        return recipe.side
    size = max(view.size for view in recipe.views)
    return 2 * size if size <= 64 else round(size * 8 / 7)


def streams_of(
    method: Method,
    images: Mapping[str, Images],
    seed: int,
    fabric: Fabric,
    unpacked: set[str],
    say: Callable[[str], None],
) -> dict[str, Stream | VolumeStream | TextStream]:
    """A packed stream for each recipe; the first rank decodes, the others map what it wrote.

    What no disk has room for is named in `unpacked`, and decoded whenever it is wanted.
    """
    recipe = method.recipe()
    recipes = recipe if isinstance(recipe, Mapping) else dict.fromkeys(images, recipe)
    missing = sorted(set(recipes) - set(images))
    if missing:
        raise Problem(f"this method also needs images called {', '.join(missing)}")
    streams: dict[str, Stream | VolumeStream | TextStream] = {}
    for name, published in recipes.items():
        source: Any = images[name]
        if getattr(source, "dimensions", 2) == 3:  # volumes are in memory, and cut where they are
            streams[name] = VolumeStream(source, published, seed)  # type: ignore[arg-type]
            continue
        if isinstance(source, Texts):
            streams[name] = TextStream(source, published, seed)  # type: ignore[arg-type]
            continue
        # the pixels the encoder will meet later are normalised its way
        mean, std = method.encoder.mean, method.encoder.std
        one = replace(published, mean=mean, std=std)  # type: ignore[arg-type]
        side = source_side(one)
        if name in unpacked or not distributed.from_first(fits(images[name], side)):
            unpacked.add(name)
            say(f"{images[name].name} does not fit the disk: it is decoded anew in every epoch")
            pack: Any = Unpacked(images[name], side)
        else:
            with fabric.rank_zero_first():
                pack = images[name].pack(side=side)
        if "label" in images[name].columns:
            labels = images[name].labels[0]
        else:
            labels = np.full(len(images[name]), -1, np.int64)
        masked = method.wants_masks and "mask" in images[name].columns
        masks = packed_masks(images[name], pack) if masked else None
        beside = method.beside(name, images[name], pack, seed)
        streams[name] = Stream(pack, one, labels, seed, masks, beside)
    return streams


def known_by(method: Method, images: Any) -> str:
    """What a stream is known by: its images, and their masks where these are learnt from."""
    pictures = hasattr(images, "table")  # volumes speak for themselves
    if pictures and method.wants_masks and "mask" in images.columns:
        return masked_fingerprint(images)
    if pictures and method.reads:
        return captions_fingerprint(images, method.reads)
    return images.fingerprint


def facts_of(images: Images, streams: tuple[str, ...]) -> Facts:
    side = int(np.median(np.minimum(images.column("width"), images.column("height"))))
    names = tuple(images.labels[1]) if "label" in images.columns else ()
    dimensions = getattr(images, "dimensions", 2)
    return Facts(len(images), side, len(names), names, dimensions, streams)


def all_texts(named: Mapping[str, Any], columns: Sequence[str]) -> tuple[str, ...]:
    """All texts of all streams, each once, in order."""
    found: dict[str, None] = {}
    for images in named.values():
        if isinstance(images, Texts):
            found |= dict.fromkeys(images.texts)
            continue
        for column in columns:
            if column in images.columns and holds_texts(images, column):
                found |= dict.fromkeys(t for some in captions(images, column) for t in some)
    return tuple(found)
