"""Sketches as a network meets them: turned as their photo is, in its units, black on white."""

from __future__ import annotations

import torch
from torch import Tensor

from fallow.encoders import Encoder


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
