"""How much a pixel counts whose label is a guess, and which pixels are hard.

The weights go into a cross-entropy that is divided by the number of all valid pixels (those that
are no padding), also the ones nobody is sure about: fewer confident pixels, a smaller loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fallow.losses.precision import at_least_float32, without_autocast

IGNORED = 255  # the label of pixels that are not judged


def confident_pixels(confidence: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """1 where a guess is at least `threshold` sure, else 0.  B H W, B H W -> B H W

    >>> sure = torch.tensor([[[0.95, 0.94]]])
    >>> confident_pixels(sure, torch.ones_like(sure) > 0, 0.95)
    tensor([[[1., 0.]]])
    """
    return (valid & (confidence >= threshold)).to(confidence.dtype)


def share_confident(confidence: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """For all pixels of an image: the share of its valid pixels that are confident.  -> B H W

    >>> sure = torch.tensor([[[0.95, 0.94]]])
    >>> share_confident(sure, torch.ones_like(sure) > 0, 0.95)
    tensor([[[0.5000, 0.5000]]])
    """
    sure = (valid & (confidence >= threshold)).sum((1, 2), keepdim=True)
    return (sure / _number(valid)).expand_as(confidence)


def mean_confidence(confidence: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """For all pixels of an image: its mean confidence, whatever the threshold.  -> B H W

    (The published code multiplies the loss of the whole batch by the confidence of each image
    and adds the products up, which is as many times too much as there are images.)

    >>> sure = torch.tensor([[[0.5, 0.7]]])
    >>> mean_confidence(sure, torch.ones_like(sure) > 0, 0.95)
    tensor([[[0.6000, 0.6000]]])
    """
    mean = (confidence * valid).sum((1, 2), keepdim=True) / _number(valid)
    return mean.expand_as(confidence)


@without_autocast
def hard_pixels(
    logits: Tensor, target: Tensor, threshold: float = 0.7, least: int = 100_000
) -> Tensor:
    """Mean cross-entropy of the pixels whose own class has at most `threshold` probability.

    At least `least` pixels count, the hardest; all, if there are not more than that.

    >>> logits = torch.tensor([[0.0, 0.0], [0.0, 4.0]]).T.view(1, 2, 1, 2)
    >>> round(float(hard_pixels(logits, torch.ones(1, 1, 2).long(), 0.7, least=1)), 4)
    0.6931
    """
    logits, known = at_least_float32(logits), target != IGNORED
    with torch.no_grad():
        classes = torch.where(known, target, 0)
        own = logits.softmax(1).gather(1, classes[:, None])[:, 0]  # B H W
        bound = own.new_tensor(threshold)
        if int(known.sum()) < least:
            bound = own.new_tensor(1.0)
        elif least > 0:
            bound = own[known].kthvalue(least).values.clamp(min=threshold)
        kept = known & (own <= bound)
    total = F.cross_entropy(
        logits, torch.where(kept, target, IGNORED), ignore_index=IGNORED, reduction="sum"
    )
    return total / kept.sum().clamp(min=1)


def _number(valid: Tensor) -> Tensor:
    return valid.sum((1, 2), keepdim=True).clamp(min=1)  # B 1 1
