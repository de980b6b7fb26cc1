"""A contact sheet: what a recipe makes of images, to look at before training on it."""

from __future__ import annotations

import numpy as np
import torch

from fallow.views.recipe import Recipe
from fallow.views.render import Rendered


def contact_sheet(rendered: Rendered, recipe: Recipe, images: int = 8, gap: int = 2) -> np.ndarray:
    """One row per image, one column per view, as uint8 pixels (H W 3) on white.

    >>> from fallow.views import pack_arrays, render, swav
    >>> pack = pack_arrays(np.zeros((3, 32, 32, 3), np.uint8))
    >>> contact_sheet(render(pack, [0, 1, 2], swav(32), seed=0), swav(32)).shape
    (104, 142, 3)
    """
    views = [view[:images] for view in rendered.views]
    if not views:
        return np.full((gap, gap, 3), 255, np.uint8)
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in (recipe.mean, recipe.std))
    tall = max(view.shape[2] for view in views) + gap
    wide = sum(view.shape[3] + gap for view in views) + gap
    sheet = np.full((len(views[0]) * tall + gap, wide, 3), 255, np.uint8)
    left = gap
    for view in views:
        size = view.shape[3]
        pixels = ((view.cpu() * std + mean) * 255).round().clamp(0, 255).byte()
        for row, picture in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
            top = gap + row * tall
            sheet[top : top + size, left : left + size] = picture
        left += size + gap
    return sheet
