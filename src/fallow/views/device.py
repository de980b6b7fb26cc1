"""Render views on any torch device: the same numbers as the compiled kernel, in batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.problems import SettingProblem
from fallow.views.recipe import Recipe
from fallow.views.render import Drawn, Rendered


def render_torch(
    pixels: Sequence[Tensor] | Tensor,
    drawn: Drawn,
    recipe: Recipe,
    sizes: Tensor | None = None,
) -> Rendered:
    """Render drawn views of uint8 pictures on the device they are on.

    `pixels` is a list of H W 3 tensors of any sizes, or one B H W 3 tensor; when the pictures in
    that one are padded at the right and below, `sizes` (B 2) gives their height and width.

    >>> import numpy as np
    >>> from fallow.views import draw, simclr
    >>> pictures = torch.zeros(2, 40, 50, 3, dtype=torch.uint8)
    >>> drawn = draw(simclr(32), [40, 40], [50, 50], [0, 1], seed=0)
    >>> render_torch(pictures, drawn, simclr(32)).groups[0].shape
    torch.Size([4, 3, 32, 32])
    """
    if not isinstance(pixels, Tensor):
        sizes = torch.tensor([picture.shape[:2] for picture in pixels])
        tall, wide = sizes.amax(0).tolist()
        pixels = torch.stack(
            [F.pad(p, (0, 0, 0, wide - p.shape[1], 0, tall - p.shape[0])) for p in pixels]
        )
    elif sizes is None:
        sizes = torch.tensor([pixels.shape[1:3]]).expand(len(pixels), 2)
    batch, device = len(pixels), pixels.device
    if drawn.geometry.shape[1] != batch:
        raise SettingProblem(
            f"the parameters are for {drawn.geometry.shape[1]} images, the batch has {batch}"
        )
    sizes = sizes.to(device)
    planes = pixels.permute(0, 3, 1, 2).float()  # B 3 H W
    mean, std = (torch.tensor(t, device=device).view(3, 1, 1) for t in (recipe.mean, recipe.std))

    def on_device(values: object, view: int) -> Tensor:
        return torch.as_tensor(values[view], device=device)  # type: ignore[index]

    groups = []
    for first, last, size in recipe.runs:
        group = torch.empty(
            (last - first) * batch, size, size, 3, device=device, dtype=torch.float32
        ).permute(0, 3, 1, 2)
        for view in range(first, last):
            geometry = on_device(drawn.geometry, view)
            out = _sample(planes, sizes, geometry, size)
            out = _recolour(
                out,
                on_device(drawn.mixing, view).float(),
                on_device(drawn.pull, view).float(),
                on_device(drawn.coloured, view),
            )
            out = _blur(out, on_device(drawn.sigma, view))
            solarised = on_device(drawn.solarise, view).view(-1, 1, 1, 1) & (out >= 128)
            out = torch.where(solarised, 255 - out, out)
            place = (view - first) * batch
            group[place : place + batch] = (out / 255 - mean) / std
        groups.append(group)
    roles = [view.role for view in recipe.every_view]
    return Rendered(groups, torch.as_tensor(drawn.geometry, device=device), roles, drawn)


def resize_matrix(step: Tensor, start: Tensor, extent: Tensor, size: int, length: int) -> Tensor:
    """Triangle filters as dense matrices (B size length): output i reads around start + i step."""
    reach = step.abs().clamp(min=1.0).view(-1, 1, 1)
    counts = torch.arange(size, device=step.device, dtype=torch.float64)
    at = start.view(-1, 1, 1) + step.view(-1, 1, 1) * counts.view(1, -1, 1)  # B size 1
    k = torch.arange(length, device=step.device, dtype=torch.float64)
    extent = extent.view(-1, 1, 1)
    weights = (1 - (k - at).abs() / reach).clamp(min=0) * (k < extent)
    weights = weights * ((at >= -0.5001) & (at <= extent - 0.4999))
    total = weights.sum(-1, keepdim=True)
    return (weights / total.where(total > 0, torch.ones_like(total))).float()


def _sample(planes: Tensor, sizes: Tensor, geometry: Tensor, size: int) -> Tensor:
    upright = (geometry[:, 0, 1] == 0) & (geometry[:, 1, 0] == 0)
    if bool(upright.all()):
        return _sample_upright(planes, sizes, geometry, size)
    out = planes.new_empty(len(planes), 3, size, size)
    straight, turned = torch.nonzero(upright)[:, 0], torch.nonzero(~upright)[:, 0]
    out[straight] = _sample_upright(planes[straight], sizes[straight], geometry[straight], size)
    for item in turned.tolist():
        height, width = (int(side) for side in sizes[item])
        out[item] = _sample_turned(planes[item, :, :height, :width], geometry[item], size)
    return out


def _sample_upright(planes: Tensor, sizes: Tensor, geometry: Tensor, size: int) -> Tensor:
    tall, wide = planes.shape[-2:]
    down = resize_matrix(geometry[:, 1, 1], geometry[:, 1, 2], sizes[:, 0], size, tall)
    across = resize_matrix(geometry[:, 0, 0], geometry[:, 0, 2], sizes[:, 1], size, wide)
    return down[:, None] @ planes @ across[:, None].mT


def _sample_turned(picture: Tensor, geometry: Tensor, size: int) -> Tensor:
    """Shrink first so that the rest of the map never shrinks, then bilinear; black outside."""
    _, height, width = picture.shape
    (a, b, x0), (c, d, y0) = geometry.double().tolist()
    fx, fy = max(1.0, (a * a + b * b) ** 0.5), max(1.0, (c * c + d * d) ** 0.5)
    rest = torch.tensor([[a / fx, b / fx], [c / fy, d / fy]], dtype=torch.float64)
    most = max(1.0, float(torch.linalg.matrix_norm(rest, 2)))
    fx, fy = fx * most, fy * most

    def window(start: float, along: float, across: float, reach: float, extent: int) -> list[int]:
        ends = [start + i * (size - 1) * along + j * (size - 1) * across for i, j in _CORNERS]
        low = max(0, math.floor(min(ends) - reach))
        high = min(extent - 1, math.ceil(max(ends) + reach))
        return [low, max(1, int((high - low) / reach) + 1) if high >= low else 0]

    left, columns = window(x0, a, b, fx, width)
    top, rows = window(y0, c, d, fy, height)
    if columns == 0 or rows == 0:
        return picture.new_zeros(3, size, size)

    def shrink(step: float, start: int, extent: int, count: int) -> Tensor:
        pair = torch.tensor([[step], [start]], dtype=torch.float64, device=picture.device)
        limit = torch.tensor([extent], device=picture.device)
        return resize_matrix(pair[0], pair[1], limit, count, extent)[0]

    small = shrink(fy, top, height, rows) @ picture @ shrink(fx, left, width, columns).mT
    steps = torch.arange(size, dtype=torch.float64, device=picture.device)
    x = x0 + a * steps[None, :] + b * steps[:, None]
    y = y0 + c * steps[None, :] + d * steps[:, None]
    inside = (x >= -0.5001) & (x <= width - 0.4999) & (y >= -0.5001) & (y <= height - 0.4999)
    u, v = ((x - left) / fx).clamp(0, columns - 1), ((y - top) / fy).clamp(0, rows - 1)
    grid = torch.stack([(2 * u + 1) / columns - 1, (2 * v + 1) / rows - 1], -1).float()
    found = F.grid_sample(small[None], grid[None], padding_mode="border", align_corners=False)
    return found[0] * inside


_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def _recolour(out: Tensor, mixing: Tensor, pull: Tensor, coloured: Tensor) -> Tensor:
    mean = out.mean((2, 3))  # B 3
    moved = torch.einsum("bij,bj->bi", pull, mean)[:, :, None, None]
    changed = (torch.einsum("bij,bjhw->bihw", mixing, out) + moved).clamp(0, 255)
    return torch.where(coloured.view(-1, 1, 1, 1), changed, out)


def _blur(out: Tensor, sigma: Tensor) -> Tensor:
    radius = (3 * sigma + 0.5).long()
    reach = int(radius.max()) if len(radius) else 0
    if reach == 0:
        return out
    batch, _, height, width = out.shape
    k = torch.arange(-reach, reach + 1, device=out.device)
    safe = sigma.clamp(min=1e-3)[:, None]
    kernel = torch.exp(-0.5 * (k / safe) ** 2) * (k.abs() <= radius[:, None])
    kernel = (kernel / kernel.sum(1, keepdim=True)).float().repeat_interleave(3, 0)  # B*3 K
    flat = F.pad(out.reshape(1, batch * 3, height, width), [reach] * 4, mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=batch * 3)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=batch * 3)
    return flat.view(batch, 3, height, width)
