"""Whether pictures show the same thing: how well the patches of each are found in the others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ASKED = 16  # pictures that are compared with each other, at most
# chosen on twelve sets of one thing and five of many with lite, seven and five with tiny
STRANGE = 1.1  # other pictures hold worse likenesses than the picture itself, from here on
ELSEWHERE = 0.82  # at the same place the others are nearly as unlike as any place is
REPEATED = 0.93  # other pictures hold clearly better likenesses than the picture itself


class Alike(NamedTuple):
    """Mean distances of patches to their nearest, as shares of two floors."""

    others: float  # in the most similar pictures, to 1 within the picture itself, away from it
    place: float  # at the same place in the others, to 1 between places drawn at random

    @property
    def doubt(self) -> str:
        """What is said where spot may judge the wrong thing; nothing where all is well.

        >>> Alike(1.3, 0.9).doubt.startswith("these do not look like pictures of one thing")
        True
        >>> Alike(0.9, 0.6).doubt
        ''
        """
        if self.place <= ELSEWHERE:
            return ""
        if self.others > STRANGE:
            return (
                "these do not look like pictures of one thing: what one shows is found "
                f"{self.others - 1:.0%} worse in the others than in itself"
            )
        if self.others < REPEATED:
            return (
                "these look like different sections of one thing: the same parts, "
                "but never at the same place"
            )
        return ""


def alike(features: Tensor, grid: tuple[int, int]) -> Alike:
    """How well unit vectors of places (M pictures, L, C) are found again.

    >>> one = torch.nn.functional.normalize(torch.randn(1, 64, 8), dim=2)
    >>> found = alike(one + 0.01 * torch.randn(6, 64, 8), (8, 8))
    >>> found.others < 0.5, found.place < 0.5
    (True, True)
    """
    features = features[:ASKED].float()
    count = len(features)
    y, x = torch.meshgrid(*(torch.arange(side) for side in grid), indexing="ij")
    rows = (y.flatten()[:, None] - y.flatten()).abs()
    columns = (x.flatten()[:, None] - x.flatten()).abs()
    around = (rows <= grid[0] // 5) & (columns <= grid[1] // 5)  # no evidence within the picture
    here = (rows <= 1) & (columns <= 1)
    anywhere, there = (features.new_full((count, count), torch.inf) for _ in range(2))
    own, random = features.new_zeros(count), features.new_zeros(count, count)
    for i, one in enumerate(features):
        for j, other in enumerate(features):
            apart = torch.cdist(one, other)
            if i == j:
                own[i] = apart.masked_fill(around, torch.inf).amin(1).mean()
            else:
                anywhere[i, j] = apart.amin(1).mean()
                there[i, j] = apart.masked_fill(~here, torch.inf).amin(1).mean()
                random[i, j] = apart.mean()
    floor = float(random.sum()) / max(count * (count - 1), 1)
    nearest = anywhere.sort(1).values[:, : max(1, int(0.3 * (count - 1)))].mean(1)
    # each row's own entry is infinite and comes last
    middle = there.sort(1).values[:, (count - 2) // 2]
    return Alike(
        float((nearest / own.clamp(min=1e-6)).median()), float(middle.median()) / max(floor, 1e-6)
    )
