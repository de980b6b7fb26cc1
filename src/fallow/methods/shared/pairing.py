"""Which reference belongs to which picture: told, by name, place or order, or the most alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fallow.images import Images
from fallow.images.pairs import Paired, by_name, by_order, by_position, by_table, paired
from fallow.problems import SettingProblem, SourceProblem, did_you_mean
from fallow.vectors.space import unit

WAYS: dict[str, Callable[[Images, Images], np.ndarray]] = {
    "name": by_name,
    "order": by_order,
    "position": by_position,
}
SAID = {
    "name": "by name",
    "order": "by the order of their names",
    "position": "by where they were taken",
    "nearest": "by how alike they look; this finds no matching viewpoint where there is none",
}

Embed = Callable[[Images], np.ndarray]


def pair_up(images: Images, references: Images, how: Any, embed: Embed) -> tuple[Paired, str]:
    """Every picture with its reference, and a sentence on how it was found.

    `how` is name, order, position or nearest, a table of path and reference, or None: by name if
    all have a reference of their name, else the nearest by embedding.
    """
    if not len(references):
        raise SourceProblem(f"there are no references in {references.name}")
    if how is None:
        match = by_name(images, references)
        if (match >= 0).all():
            return paired(images, references, match), f"references were matched {SAID['name']}"
        how = "nearest"
    if isinstance(how, str) and how == "nearest":
        match = nearest(embed(images), embed(references))
    elif isinstance(how, str) and how in WAYS:
        match = WAYS[how](images, references)
    elif isinstance(how, Mapping) or Path(str(how)).suffix:
        match, how = by_table(images, references, how), "as the table says"
    else:
        known = [*WAYS, "nearest"]
        raise SettingProblem(f"references cannot be matched by {how!r}: {did_you_mean(how, known)}")
    return paired(images, references, match), f"references were matched {SAID.get(how, how)}"


def nearest(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """For each row of ours the most alike of theirs, apart from what all of either have in common.

    Rows of NaN, of pictures that cannot be read, are nobody's nearest; their own is any.

    >>> ours = np.array([[9.0, 1.0], [9.0, -1.0]])
    >>> nearest(ours, np.array([[0.0, -1.0], [0.0, 1.0]])).tolist()
    [1, 0]
    """
    known = np.flatnonzero(np.isfinite(theirs).all(1))
    one, other = np.nan_to_num(ours - np.nanmean(ours, 0)), theirs[known] - theirs[known].mean(0)
    near = unit(one.astype(np.float64)) @ unit(other.astype(np.float64)).T
    return known[near.argmax(1)]
