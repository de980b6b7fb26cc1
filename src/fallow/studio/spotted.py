"""A run of `spot` as the studio shows it: scores in order, and heat maps as small numbers."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel

from fallow.colours import ramp
from fallow.files import inside
from fallow.images.decode import reduced_size
from fallow.problems import SourceProblem
from fallow.studio.desk import Desk
from fallow.studio.found import column

SIDE = 240  # short side of a heat map as it is sent


class Spotted(BaseModel):
    """What a page needs to draw the threshold, before any picture."""

    pictures: int
    threshold: float  # of scores, as it was computed
    low: float
    high: float
    heat_low: float  # the same colours for all maps
    heat_high: float
    cut: float  # of heat, above which the run marks places
    known: bool  # whether it is known which pictures are odd
    ramp: list[str]  # colours of heat, from low to high
    headlines: list[str]


def is_spotted(facts: dict[str, Any]) -> bool:
    """Whether the facts of a run are those of `spot` with heat maps."""
    return "mask_threshold" in facts and "heat" in facts


def spotted(desk: Desk, facts: dict[str, Any]) -> Spotted:
    """The range of scores and of heat, and where the run drew its lines."""
    values = scores(desk)
    return Spotted(
        pictures=len(values),
        threshold=facts["threshold"],
        low=float(values.min()),
        high=float(values.max()),
        heat_low=facts["heat"][0],
        heat_high=facts["heat"][1],
        cut=facts["mask_threshold"],
        ramp=ramp(256),
        known=bool((odd(desk) >= 0).any()),
        headlines=[str(line) for line in facts.get("headlines", [])],
    )


def scores(desk: Desk) -> np.ndarray:
    """How odd every picture is; rows come from the oddest on.  N float32"""
    return np.asarray(column(desk.base, "score"), np.float32)


def odd(desk: Desk) -> np.ndarray:
    """1 where a picture is known to be odd, 0 where it is good, -1 where nobody said.  N int8

    Column `anomaly` says so, else the labels, also those given since, if any is called good.
    """
    from fallow.measure.truth import GOOD_NAMES  # brings torch, which a studio opens without

    told, labels = column(desk.base, "anomaly"), column(desk.table, "label")
    if any(one is not None for one in told):
        return np.array([-1 if one is None else int(one) for one in told], np.int8)
    good = [None if one is None else str(one).strip().lower() in GOOD_NAMES for one in labels]
    if not any(good):
        return np.full(len(labels), -1, np.int8)
    return np.array([-1 if one is None else 1 - int(one) for one in good], np.int8)


def heat(desk: Desk, row: int, facts: dict[str, Any]) -> bytes:
    """Height and width as uint32, then a byte for every place: 0 is the lowest heat, 255 the most.

    The run's own numbers of 16 bits are read; only what is sent is coarser.
    """
    from fallow.outcomes.spotted import FARTHEST  # brings torch, too

    name = inside(desk.ids[desk.row(row)])
    path = (desk.run or Path()) / "tiff" / f"{name}.tif"
    try:
        with Image.open(path, formats=("TIFF",)) as picture:
            size = reduced_size(*picture.size, SIDE)
            deep = np.asarray(picture, np.float32)
    except (OSError, ValueError) as error:
        raise SourceProblem(f"the heat map of {name} cannot be read ({error})") from error
    small = np.asarray(Image.fromarray(deep).resize(size, Image.Resampling.BOX))
    low, high = facts["heat"]
    share = (small / 65535 * FARTHEST - low) / (high - low or 1.0)
    levels = np.rint(share.clip(0, 1) * 255).astype(np.uint8)
    return struct.pack("<2I", *levels.shape) + levels.tobytes()
