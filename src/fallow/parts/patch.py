"""A square pasted onto pictures: where it lies, and how it gets there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fallow.problems import SettingProblem

MARGIN = 1 / 16  # of the side, between the square and the corner: 14 of 224 pixels


class Square(NamedTuple):
    """Rows and columns of a square."""

    top: int
    left: int
    side: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.side)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.side)


def lower_right(size: int, share: float) -> Square:
    """The square of that share of a picture's area, in the lower right corner, with a margin.

    >>> lower_right(224, 0.03)
    Square(top=172, left=172, side=38)
    """
    side = int((share * size * size) ** 0.5)
    start = size - int(size * MARGIN) - side
    if not 0 < share < 1 or side < 1 or start < 0:
        raise SettingProblem(f"a patch of {share:g} of the area does not fit into {size} pixels")
    return Square(start, start, side)


def mask_of(square: Square, size: int) -> Tensor:
    """1 on the square.  3 S S"""
    mask = torch.zeros(3, size, size)
    mask[:, square.rows, square.columns] = 1
    return mask


def pasted(pictures: Tensor, patch: Tensor, square: Square) -> Tensor:
    """Pictures (B 3 S S) with the patch (3 S S, of which only the square counts) on them."""
    mask = mask_of(square, pictures.shape[-1]).to(pictures)
    return mask * patch.to(pictures) + (1 - mask) * pictures
