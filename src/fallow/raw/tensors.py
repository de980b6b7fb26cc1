"""Developing and un-processing in torch: whole batches, through which derivatives pass.

A batch of mosaics is B H W and of pictures B 3 H W. Every stage may carry derivatives to its input
and, where they are tensors, to gains, matrices and noise. Levels, patterns and curves are those of
the other modules; cutting off happens only where it is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fallow.raw.curves import curve
from fallow.raw.demosaic import linear_tensor
from fallow.raw.levels import normalised, numbers
from fallow.raw.mosaic import bayer, mosaicked
from fallow.raw.noise import noisy


def each(values: Any, like: Tensor) -> Tensor:
    """Three values for all pictures of a batch, or three for each, ready to multiply B 3 H W.

    >>> each([2.0, 1.0, 1.5], torch.zeros(4, 3, 2, 2)).shape
    torch.Size([1, 3, 1, 1])
    """
    found = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return found.reshape(-1, 3, 1, 1)


def through(rgb: Tensor, matrix: Any) -> Tensor:
    """Colours times one 3 x 3 matrix, or one for each picture.  B 3 H W

    >>> through(torch.ones(2, 3, 1, 1), torch.eye(3).repeat(2, 1, 1)).shape
    torch.Size([2, 3, 1, 1])
    """
    taken = torch.as_tensor(matrix, dtype=rgb.dtype, device=rgb.device)
    return torch.einsum("bij,bjhw->bihw", taken.expand(len(rgb), 3, 3), rgb)


def site_gains(values: Any, pattern: Any, like: Tensor) -> Tensor:
    """Red, green and blue gains over a batch of mosaics (B H W), as tensors with derivatives.

    >>> site_gains([2.0, 1.0, 1.5], "RGGB", torch.zeros(1, 2, 2)).tolist()
    [[[2.0, 1.0], [1.0, 1.5]]]
    """
    found = torch.as_tensor(values, dtype=like.dtype, device=like.device).reshape(-1, 3)
    height, width = like.shape[-2:]
    cell = found[:, torch.from_numpy(bayer(pattern)).to(like.device)]  # 1 or B, 2 2
    return cell.repeat(1, -(-height // 2), -(-width // 2))[:, :height, :width]


def developed(
    mosaic: Tensor,
    pattern: Any,
    *,
    black: Any = 0.0,
    white: Any = 1.0,
    gains: Any = (1.0, 1.0, 1.0),
    matrix: Any = None,
    shown: str = "srgb",
    demosaic: str = "malvar",
    cut: bool = True,
) -> Tensor:
    """Mosaics as pictures: the stages of `develop.developed` for tensors.  B H W -> B 3 H W

    Without `cut` nothing is limited to 0...1 on the way, so that derivatives reach every pixel.

    >>> developed(torch.full((1, 6, 6), 543.0), "RGGB", black=64, white=1023).shape
    torch.Size([1, 3, 6, 6])
    """
    light = normalised(mosaic, black, white)
    light = light * site_gains(gains, pattern, light)
    rgb = linear_tensor(light.clip(max=1) if cut else light, pattern, demosaic)
    rgb = rgb.clip(max=1) if cut else rgb
    rgb = through(rgb, np.eye(3) if matrix is None else matrix)
    return curve(shown).forward(rgb.clip(0, 1) if cut else rgb)


def unprocessed(
    pictures: Tensor,
    pattern: Any,
    *,
    black: Any = 0.0,
    white: Any = 1.0,
    gains: Any = (1.0, 1.0, 1.0),
    matrix: Any = None,
    shown: str = "srgb",
    noise: tuple[Any, Any] | None = None,
    normal: Tensor | None = None,
    cut: bool = True,
) -> Tensor:
    """Pictures as mosaics in a sensor's numbers, not rounded.  B 3 H W -> B H W

    `matrix` is that of developing, and is inverted here. `noise` is slope and offset over light,
    each one number or red, green and blue; `normal` is the standard normal field (B H W) to draw
    it from.

    >>> grey = torch.full((1, 3, 6, 6), 0.5)
    >>> back = developed(unprocessed(grey, "RGGB", white=1023), "RGGB", white=1023)
    >>> torch.testing.assert_close(back, grey)
    """
    rgb = curve(shown).backward(pictures)
    forward = torch.as_tensor(
        np.eye(3) if matrix is None else matrix, dtype=rgb.dtype, device=rgb.device
    )
    rgb = through(rgb, torch.linalg.inv(forward)) / each(gains, rgb)
    light = mosaicked(rgb.clip(0, 1) if cut else rgb, pattern)
    if noise is not None:
        if normal is None:
            raise ValueError("noise needs a standard normal field to be drawn from")
        slope, offset = (_over_sites(values, pattern, light) for values in noise)
        light = noisy(light, slope, offset, normal)
    return numbers(light, black, white) if cut else light * (white - black) + black


def _over_sites(values: Any, pattern: Any, like: Tensor) -> Tensor:
    found = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return site_gains(found.expand(3) if found.ndim == 0 else found, pattern, like)
