"""Pictures and texts of one class near each other, of two classes a margin apart."""

from __future__ import annotations

from torch import Tensor

from fallow.losses.precision import at_least_float32


def class_contrast(image: Tensor, text: Tensor, labels: Tensor, margin: float = 0.2) -> Tensor:
    """Squared distance of pairs of one class, what others lack to the margin; sum over pairs / B.

    >>> import torch
    >>> x = torch.eye(2)
    >>> float(class_contrast(x, x, torch.tensor([0, 1])))
    0.0
    """
    image, text = at_least_float32(image), at_least_float32(text)
    away = (image[:, None] - text[None]).square().sum(2)  # B B
    same = labels[:, None] == labels[None]
    return (away * same + (margin - away).clamp_min(0) * ~same).sum() / len(image)
