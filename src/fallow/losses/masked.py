"""Losses that compare what was predicted for hidden patches with what is there.

Several ranks: each passes its own images and gets the mean over its own hidden patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (unbiased) deviation of every patch (..., P), to standardise it and to undo that.

    >>> mean, deviation = patch_statistics(torch.tensor([[1.0, 3.0]]))
    >>> round(mean.item(), 4), round(deviation.item(), 4)
    (2.0, 1.4142)
    """
    patches = at_least_float32(patches)
    variance, mean = torch.var_mean(patches, -1, keepdim=True)
    return mean, (variance + 1e-6).sqrt()


def standardise(patches: Tensor) -> Tensor:
    """MAE's normalised pixels: every patch with mean 0 and deviation 1; a flat one becomes 0.

    >>> standardise(torch.tensor([[5.0, 5.0], [1.0, 3.0]])).round(decimals=2)
    tensor([[ 0.0000,  0.0000],
            [-0.7100,  0.7100]])
    """
    mean, deviation = patch_statistics(patches)
    return (at_least_float32(patches) - mean) / deviation


@without_autocast
def masked_square(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """MAE: mean squared error of each patch (B, L, P), averaged over those under `mask` (B, L).

    Nothing hidden gives 0.

    >>> target = torch.tensor([[[0.0, 0.0], [1.0, 3.0]]])
    >>> float(masked_square(torch.zeros(1, 2, 2), target, torch.tensor([[0, 1]])))
    5.0
    """
    error = (at_least_float32(prediction) - at_least_float32(target)).square().mean(-1)  # B L
    return (error * mask).sum() / mask.sum().clamp(min=1)


@without_autocast
def masked_absolute(reconstruction: Tensor, images: Tensor, mask: Tensor) -> Tensor:
    """SimMIM: mean absolute error of the pixels (B, 3, H, W) under a mask of patches (B, h, w).

    >>> images = torch.ones(1, 3, 4, 4)
    >>> round(float(masked_absolute(0 * images, images, torch.tensor([[[1, 0], [0, 1]]]))), 4)
    1.0
    """
    channels, height, width = images.shape[1:]
    rows, columns = mask.shape[1:]
    pixels = mask.repeat_interleave(height // rows, 1).repeat_interleave(width // columns, 2)
    error = (at_least_float32(images) - at_least_float32(reconstruction)).abs() * pixels[:, None]
    return error.sum() / (pixels.sum() + 1e-5) / channels


@without_autocast
def smooth_absolute(prediction: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """data2vec, I-JEPA: squared below `beta`, absolute above, mean over all; no rows give 0.

    >>> float(smooth_absolute(torch.tensor([1.0, 3.0]), torch.zeros(2), beta=2.0))
    1.125
    """
    prediction, target = at_least_float32(prediction), at_least_float32(target).detach()
    if not len(prediction):
        return prediction.sum()
    return F.smooth_l1_loss(prediction, target.to(prediction.dtype), beta=beta)


@torch.no_grad()
@without_autocast
def average_layers(
    layers: Sequence[Tensor], *, norm_each: bool = True, norm_mean: bool = True
) -> Tensor:
    """data2vec's targets: the mean of several layers' tokens (B, T, D), each normed, then normed.

    >>> average_layers([torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[2.0, 8.0]]])]).round()
    tensor([[[-1.,  1.]]])
    """
    each = [at_least_float32(layer) for layer in layers]
    if norm_each:
        each = [plain_norm(layer) for layer in each]
    mean = torch.stack(each).mean(0)
    return plain_norm(mean) if norm_mean else mean


def plain_norm(tokens: Tensor) -> Tensor:
    """Layer norm without gain and shift.

    >>> plain_norm(torch.tensor([1.0, 3.0])).round()
    tensor([-1.,  1.])
    """
    return F.layer_norm(at_least_float32(tokens), tokens.shape[-1:])
