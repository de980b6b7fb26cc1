"""How the masks of each data set are read, and which of its pictures are nearly the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pictures:
    """How a set's masks are read, and which of its pictures get one."""

    labelled: int
    classes: tuple[str, ...]
    codes: Callable[[np.ndarray], np.ndarray]
    group: str | None = None  # column of what is nearly the same picture
    background: bool = True  # class 0 is not judged
    quarters: bool = False


SETS = {
    "nuclei_cc0": Pictures(6, ("ground", "nucleus"), lambda mask: mask > 0),
    "polyp": Pictures(8, ("ground", "polyp"), lambda mask: mask > 0, group="sequence"),
    "membrane_em": Pictures(
        4, ("inside", "membrane"), lambda mask: mask == 0, group="slice", quarters=True
    ),
    "white_blood_cells": Pictures(6, ("ground", "cytoplasm", "nucleus"), lambda mask: mask),
    "camvid": Pictures(
        8,
        ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
         "pedestrian", "cyclist"),
        lambda mask: np.where(mask > 10, 255, mask),
        group="sequence",
        background=False,
    ),
}  # fmt: skip
