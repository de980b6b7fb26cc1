"""How a made picture differs from another, or how rough it is; with derivatives for both."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_DARK, _FLAT = 0.01**2, 0.03**2  # of white's square, as the authors of SSIM chose them
_TO_Y = (0.212671, 0.715160, 0.072169)  # linear sRGB to brightness
_BEND = 0.008856  # where the straight start of CIE lightness ends


def roughness(pictures: Tensor) -> Tensor:
    """Squared steps between neighbours: the mean of those down plus that of those right.  B C H W

    >>> float(roughness(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])))
    1.0
    """
    down = (pictures[..., 1:, :] - pictures[..., :-1, :]).square()
    right = (pictures[..., 1:] - pictures[..., :-1]).square()
    return down.mean() + right.mean()


def lightness(pictures: Tensor) -> Tensor:
    """CIE lightness (0...1) of sRGB pictures, three times over for networks that want colours.

    Values outside 0...1 go on along the same curves, so that a derivative stays there.

    >>> lightness(torch.full((1, 3, 1, 1), 1.0)).flatten().tolist()
    [1.0, 1.0, 1.0]
    """
    bent = ((pictures.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    light = torch.where(pictures > 0.04045, bent, pictures / 12.92)
    shown = torch.einsum("bchw,c->bhw", light, light.new_tensor(_TO_Y))[:, None]
    # a cube root is infinitely steep at 0, where only the straight part may count
    curved = shown.clamp(min=_BEND) ** (1 / 3)
    f = torch.where(shown > _BEND, curved, 7.787 * shown + 16 / 116)
    return ((116 * f - 16) / 100).expand(-1, 3, -1, -1)


def features_apart(features: Tensor, others: Tensor) -> Tensor:
    """Twice the mean squared distance of feature maps, summed over the batch.  B C h w

    >>> float(features_apart(torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)))
    6.0
    """
    return 2 * len(features) * F.mse_loss(features, others)


# --- blurred colours ---


def soft_window(side: int = 21, reach: float = 3.0) -> Tensor:
    """A blurring window: square roots of products of a normal law's shares.  side side

    `reach` is how many spreads of the law lie on either side of the middle. The square root makes
    the window wider than that law by a factor of 1.41.

    >>> round(float(soft_window(11, 2).sum()), 6)
    1.0
    """
    step = (2 * reach + 1) / side
    ends = torch.linspace(-reach - step / 2, reach + step / 2, side + 1, dtype=torch.float64)
    shares = (torch.erf(ends / math.sqrt(2)) / 2).diff()
    window = torch.outer(shares, shares).sqrt()
    return window / window.sum()


def blurred(pictures: Tensor, window: Tensor) -> Tensor:
    """Each channel under the window, with black around the picture.  B C H W

    >>> blurred(torch.ones(1, 3, 5, 5), soft_window(3, 1))[0, 0, 2, 2].round(decimals=4)
    tensor(1.)
    """
    channels = pictures.shape[1]
    taps = window.to(pictures).expand(channels, 1, -1, -1)
    return F.conv2d(pictures, taps, padding=window.shape[-1] // 2, groups=channels)


def colours_apart(pictures: Tensor, others: Tensor, window: Tensor) -> Tensor:
    """Half the squared distance of blurred pictures: summed over pixels, a mean over pictures.

    >>> one, other = torch.ones(2, 3, 1, 1), torch.zeros(2, 3, 1, 1)
    >>> float(colours_apart(one, other, torch.ones(1, 1)))
    1.5
    """
    apart = blurred(pictures, window) - blurred(others, window)
    return apart.square().sum() / (2 * len(pictures))


# --- structure ---


def structure(pictures: Tensor, others: Tensor, side: int = 11, sigma: float = 1.5) -> Tensor:
    """SSIM of a batch with derivatives: one mean over pictures in 0...1, black around them.

    >>> grey = torch.full((1, 3, 9, 9), 0.4)
    >>> round(float(structure(grey, grey)), 4)
    1.0
    """
    away = torch.arange(side, dtype=pictures.dtype, device=pictures.device) - side // 2
    bell = torch.exp(-(away**2) / (2 * sigma**2))
    window = torch.outer(bell, bell) / bell.sum() ** 2
    mean, other_mean = blurred(pictures, window), blurred(others, window)
    spread = blurred(pictures * pictures, window) - mean**2
    other_spread = blurred(others * others, window) - other_mean**2
    shared = blurred(pictures * others, window) - mean * other_mean
    bright = (2 * mean * other_mean + _DARK) / (mean**2 + other_mean**2 + _DARK)
    return (bright * (2 * shared + _FLAT) / (spread + other_spread + _FLAT)).mean()


def pixels_apart(pictures: Tensor, others: Tensor, share: float = 0.15) -> Tensor:
    """Mean absolute difference, and a share of what SSIM lacks to 1.

    >>> grey = torch.full((1, 1, 4, 4), 0.5)
    >>> round(float(pixels_apart(grey, grey)), 4)
    0.0
    """
    return F.l1_loss(pictures, others) + share * (1 - structure(pictures, others))
