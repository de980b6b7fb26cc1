"""Sketches as a network meets them: turned as their photo is, in its units, black on white."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fallow.encoders import Encoder
from fallow.encoders.layout import Layout

PHOTO, SKETCH = 0, 1  # kinds of pictures that show the same


def scaled(five: Tensor, unit: Tensor) -> Tensor:
    """Steps (... 5) in units of their usual size."""
    return torch.cat([five[..., :2] / unit, five[..., 2:]], -1)


def mirrored(five: Tensor, geometry: Tensor) -> Tensor:
    """Sketches (B T 5) turned left to right where their photo's view (B 2 3) is.

    >>> steps, flip = torch.ones(1, 1, 5), torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])
    >>> mirrored(steps, flip)[0, 0, :2].tolist()
    [-1.0, 1.0]
    """
    sign = torch.where(geometry[:, 0, 0] < 0, -1.0, 1.0).to(five)
    across = five[..., :1] * sign[:, None, None]
    return torch.cat([across, five[..., 1:]], -1)


def flipped(pictures: Tensor, geometry: Tensor) -> Tensor:
    """Pictures (B ... W) turned left to right where their photo's view (B 2 3) is."""
    around = (geometry[:, 0, 0] < 0).view(-1, *[1] * (pictures.ndim - 1))
    return torch.where(around, pictures.flip(-1), pictures)


def black_on_white(sketch: Tensor, encoder: Encoder) -> Tensor:
    """Sketches in pixels (B S S, 1 on 0) as an encoder's input."""
    mean, std = (
        torch.tensor(v, device=sketch.device).view(1, 3, 1, 1) for v in (encoder.mean, encoder.std)
    )
    return (1 - sketch[:, None].float() - mean) / std


def nudged(pictures: Tensor, most: float) -> Tensor:
    """Pictures (B S S), each moved by up to that part of its side and scaled by as much.

    >>> square = torch.zeros(1, 8, 8)
    >>> square[:, 2:6, 2:6] = 1
    >>> torch.equal(nudged(square, 0.0), square)
    True
    """
    if most == 0:
        return pictures
    count = len(pictures)
    # across and down, each for itself, as people draw things too wide or too flat
    scale, shift = most * (2 * torch.rand(2, count, 2, device=pictures.device) - 1)
    matrix = torch.cat([torch.diag_embed(1 + scale), shift[..., None]], 2)  # B 2 3
    grid = F.affine_grid(matrix, [count, 1, *pictures.shape[1:]], align_corners=False)
    return F.grid_sample(pictures[:, None], grid, align_corners=False)[:, 0]


def place(encoder: Encoder, layout: Layout | None, pictures: Tensor, kind: int) -> Tensor:
    """Where photos, or sketches as pictures (B 3 S S), lie in the space both share.  B D"""
    if layout is None:
        return F.normalize(encoder(pictures), dim=1, eps=1e-12)
    return layout(encoder, pictures, kind)  # type: ignore[no-any-return]


class Placed(nn.Module):
    """An encoder and its layout together: pictures to where they lie.  B 3 S S -> B D"""

    def __init__(self, encoder: Encoder, layout: Layout | None) -> None:
        super().__init__()
        self.encoder, self.layout = encoder, layout
        self.dimension = encoder.dimension if layout is None else len(layout.directions)

    def forward(self, pictures: Tensor, kind: int = PHOTO) -> Tensor:
        return place(self.encoder, self.layout, pictures, kind)
