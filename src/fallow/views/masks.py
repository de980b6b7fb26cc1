"""Masks through the geometry of rendered views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fallow.views.geometry import map_mask

OUTSIDE = 255


def render_masks(
    masks: Sequence[np.ndarray | None],
    geometry: Tensor,
    sizes: Sequence[int],
    *,
    outside: int = OUTSIDE,
) -> list[Tensor]:
    """One B S S int64 tensor per view, of masks (H W) in the pixels the geometry speaks of.

    Nearest pixels; what lies outside an image, and all of an image without mask, is `outside`.

    >>> still = torch.tensor([[[[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]]])
    >>> render_masks([np.ones((2, 2), np.uint8)], still, [2])[0].tolist()
    [[[255, 1], [255, 1]]]
    """
    rendered = []
    for view, size in zip(geometry, sizes, strict=True):
        one = torch.full((len(masks), size, size), outside, dtype=torch.int64)
        for row, mask in enumerate(masks):
            if mask is not None:
                one[row] = map_mask(torch.from_numpy(mask).long(), view[row], size, outside=outside)
        rendered.append(one)
    return rendered
