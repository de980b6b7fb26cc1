"""Views as a model sees them: a few of a batch as pictures, for whoever watches a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from fallow.files import atomic_write
from fallow.train.method import Batch, Method

IMAGES, VIEWS, GAP = 8, 8, 4
FOLDER = "views"  # of a run: a sheet for each stream of pictures


def save_views(folder: Path, method: Method, batch: Any) -> None:
    """A sheet for each stream of a batch: a column for an image, a row for a view of it."""
    streams = batch if isinstance(batch, dict) else {"images": batch}
    for name, one in streams.items():
        made = one.views if isinstance(one, Batch) else []  # texts have none
        views = [v[:IMAGES].detach().float().cpu() for v in made[:VIEWS] if v.shape[1:2] == (3,)]
        if not views or any(view.ndim != 4 for view in views):
            continue  # volumes are no pictures
        (folder / FOLDER).mkdir(exist_ok=True)
        with atomic_write(folder / FOLDER / f"{name}.png") as file:
            picture = sheet(views, method.encoder.mean, method.encoder.std)
            Image.fromarray(picture.numpy()).save(file, "PNG")


def sheet(views: list[Tensor], mean: Any, std: Any) -> Tensor:
    """Normalised views (each B 3 S S) as one picture (H W 3, uint8), small ones magnified.

    >>> sheet([torch.zeros(2, 3, 48, 48)] * 3, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)).shape
    torch.Size([304, 204, 3])
    """
    size = max(view.shape[-1] for view in views)
    cell = size * math.ceil(96 / size)
    columns = max(map(len, views))
    height, width = len(views) * (cell + GAP) + GAP, columns * (cell + GAP) + GAP
    page = torch.full((height, width, 3), 245, dtype=torch.uint8)
    for row, view in enumerate(views):
        shift, scale = (torch.as_tensor(x).reshape(1, 3, 1, 1).float() for x in (mean, std))
        pixels = ((view * scale + shift).clamp(0, 1) * 255).round().byte()
        large = torch.nn.functional.interpolate(pixels, size=(cell, cell), mode="nearest")
        for column, picture in enumerate(large):
            top, left = GAP + row * (cell + GAP), GAP + column * (cell + GAP)
            page[top : top + cell, left : left + cell] = picture.permute(1, 2, 0)
    return page
