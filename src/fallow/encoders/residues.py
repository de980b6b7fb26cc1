"""What a camera, a codec or an editor leaves in a picture beside its content: noise filters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 5
OFF_CENTRE = SIDE * SIDE - 1


def steganalysis_kernel() -> Tensor:
    """Three high-pass filters of steganalysis (SRM), each over the sum of all channels.  3 3 5 5"""
    second = torch.tensor([[-1.0, 2, -1], [2, -4, 2], [-1, 2, -1]]) / 4
    third = (
        torch.tensor(
            [
                [-1.0, 2, -2, 2, -1],
                [2, -6, 8, -6, 2],
                [-2, 8, -12, 8, -2],
                [2, -6, 8, -6, 2],
                [-1, 2, -2, 2, -1],
            ]
        )
        / 12
    )
    first = torch.tensor([[1.0, -2, 1]]) / 2
    filters = [F.pad(second, (1, 1, 1, 1)), third, F.pad(first, (1, 1, 2, 2))]
    return torch.stack(filters)[:, None].repeat(1, 3, 1, 1)


class Steganalysis(nn.Module):
    """Fixed high-pass residues, cut off at a size beyond which they are edges of the content."""

    kernel: Tensor

    def __init__(self, limit: float = 5.0) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("kernel", steganalysis_kernel(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # B 3 H W, normalised
        return F.conv2d(x, self.kernel, padding=SIDE // 2).clamp(-self.limit, self.limit)


def prediction_weights(raw: Tensor, least: float = 0.0) -> Tensor:
    """Weights (O I 24) that sum to 1; a sum nearer to zero than `least` is kept away from it."""
    total = raw.sum(2, keepdim=True)
    away = torch.where(total < 0, -1.0, 1.0) * total.abs().clamp_min(least)
    return raw / away


def prediction_kernel(weights: Tensor) -> Tensor:
    """A pixel predicted from its 24 neighbours, less the pixel itself.  O I 24 -> O I 5 5"""
    centre = weights.new_full((*weights.shape[:2], 1), -1.0)
    half = OFF_CENTRE // 2
    whole = torch.cat([weights[..., :half], centre, weights[..., half:]], 2)
    return whole.unflatten(2, (SIDE, SIDE))


class Prediction(nn.Module):
    """Learnt residues (Bayar and Stamm): what neighbours do not foretell of a pixel.

    The published code divides the parameter by its sum in every forward pass, in place: the
    optimiser's memory then belongs to other numbers, and a sum near zero explodes. Here the
    parameter is left alone, the gradient passes through the division, and the sum has a floor.
    """

    def __init__(self, least: float = 0.1) -> None:
        super().__init__()
        self.least = least
        self.weight = nn.Parameter(torch.rand(3, 3, OFF_CENTRE))

    def forward(self, x: Tensor) -> Tensor:  # B 3 H W, normalised
        kernel = prediction_kernel(prediction_weights(self.weight, self.least))
        return F.conv2d(x, kernel, padding=SIDE // 2)
