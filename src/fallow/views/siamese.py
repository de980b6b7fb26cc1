"""Differentiable augmentation drawn once and applied alike to several batches (DSA, Zhao 2021).

A `Draw` is plain numbers: whoever holds it can apply the same transform again, to other images, in
a second pass, tomorrow. Gradients flow through it to the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

# in the published order, of which one is drawn
ITEMS = ("color", "crop", "cutout", "flip", "scale", "rotate")
Flip = Literal["always", "drawn", "never"]

SHIFT = 0.125  # of a side, at most
HOLE = 0.5  # of a side
SCALE = 1.2
DEGREES = 15.0
BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5


class Numbers:
    """Where random numbers come from: `count` at a time, one for each image or 1 for all."""

    def __init__(self, generator: torch.Generator, count: int = 1) -> None:
        self.generator, self.count = generator, count

    def uniform(self) -> Tensor:
        return torch.rand(self.count, generator=self.generator)

    def integers(self, low: int, high: int) -> Tensor:
        """From `low` up to, not including, `high`."""
        return torch.randint(low, high, (self.count,), generator=self.generator)

    def one_of(self, count: int) -> int:
        return int(torch.randint(count, (1,), generator=self.generator))


@dataclass(frozen=True)
class Draw:
    """Transforms in the order they are applied: a name, and its numbers (1 or one per image)."""

    steps: tuple[tuple[str, tuple[Tensor, ...]], ...]
    corners: bool = True  # turning and scaling about the corners' centres, not their outer edges

    def __call__(self, x: Tensor) -> Tensor:
        """The images (B, C, H, W), transformed."""
        for name, numbers in self.steps:
            values: list[Any] = [value.to(x.device) for value in numbers]
            if name in ("scale", "rotate"):
                values.append(self.corners)
            x = APPLIED[name](x, *values)
        return x


def draw(
    numbers: Numbers,
    size: tuple[int, int],
    *,
    flip: Flip = "always",
    items: Sequence[str] = ITEMS,
    corners: bool = True,
) -> Draw:
    """One item of the list for images of `size`, drawn anew for every call.

    `flip`: "always" mirrors first with probability one half, then draws one of the others (FYI);
    "drawn" has mirroring as one of the items (DSA); "never" leaves it out.

    >>> numbers = Numbers(torch.Generator().manual_seed(0))
    >>> [name for name, _ in draw(numbers, (8, 8)).steps]
    ['flip', 'rotate']
    """
    steps = [one("flip", numbers, size)] if flip == "always" else []
    left = [item for item in items if item != "flip" or flip == "drawn"]
    if left:
        steps += kind(left[numbers.one_of(len(left))], numbers, size)
    return Draw(tuple(steps), corners)


def kind(
    item: str, numbers: Numbers, size: tuple[int, int]
) -> list[tuple[str, tuple[Tensor, ...]]]:
    """The transforms an item of the list stands for."""
    names = ("brightness", "saturation", "contrast") if item == "color" else (item,)
    return [one(name, numbers, size) for name in names]


def one(name: str, numbers: Numbers, size: tuple[int, int]) -> tuple[str, tuple[Tensor, ...]]:
    """One transform with its numbers."""
    if name == "crop":
        reach = [int(side * SHIFT + 0.5) for side in size]
        return name, tuple(numbers.integers(-far, far + 1) for far in reach)
    if name == "cutout":
        holes = [hole(side) for side in size]
        return name, tuple(
            numbers.integers(0, side + 1 - wide % 2) for side, wide in zip(size, holes, strict=True)
        )
    if name == "scale":
        span = SCALE - 1 / SCALE
        return name, tuple(numbers.uniform() * span + 1 / SCALE for _ in range(2))
    if name == "rotate":
        return name, ((numbers.uniform() - 0.5) * 2 * DEGREES / 180 * math.pi,)
    return name, (numbers.uniform(),)


def hole(side: int) -> int:
    """Pixels a cut-out takes along a side."""
    return int(side * HOLE + 0.5)


# --- the transforms; every value is one number for all images or one for each ---


def flip(x: Tensor, u: Tensor) -> Tensor:
    """Mirrored left to right where u < 0.5."""
    if len(u) == 1:
        return x.flip(3) if float(u) < 0.5 else x
    return torch.where(_wide(u, x) < 0.5, x.flip(3), x)


def brightness(x: Tensor, u: Tensor) -> Tensor:
    return x + (_wide(u, x) - 0.5) * BRIGHTNESS


def saturation(x: Tensor, u: Tensor) -> Tensor:
    """Colours nearer to, or farther from, each pixel's grey."""
    grey = x.mean(1, keepdim=True)
    return (x - grey) * (_wide(u, x) * SATURATION) + grey


def contrast(x: Tensor, u: Tensor) -> Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (_wide(u, x) + CONTRAST) + mean


def crop(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Each pixel becomes the one so many rows below and columns to the right; zeros beyond."""
    height, width = x.shape[2:]
    rows = (torch.arange(height, device=x.device) + down[:, None] + 1).clamp(0, height + 1)
    columns = (torch.arange(width, device=x.device) + across[:, None] + 1).clamp(0, width + 1)
    framed = F.pad(x, (1, 1, 1, 1))
    if len(down) == 1:
        return framed[:, :, rows[0]][:, :, :, columns[0]]
    images = torch.arange(len(x), device=x.device)[:, None, None]
    return framed.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def cutout(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Zeros in a rectangle of half the sides around (down, across), clipped at the border."""
    masks = [
        ((place >= centre[:, None] - hole(side) // 2)
         & (place < centre[:, None] - hole(side) // 2 + hole(side)))
        for side, centre in zip(x.shape[2:], (down, across), strict=True)
        for place in [torch.arange(side, device=x.device)]
    ]  # fmt: skip
    cut = masks[0][:, None, :, None] & masks[1][:, None, None, :]
    return x * ~cut


def scale(x: Tensor, sx: Tensor, sy: Tensor, corners: bool = True) -> Tensor:
    """Seen sx times as wide and sy times as high a window: above 1 everything gets smaller."""
    zero = torch.zeros_like(sx)
    return _affine(x, [[sx, zero, zero], [zero, sy, zero]], corners)


def rotate(x: Tensor, radians: Tensor, corners: bool = True) -> Tensor:
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    return _affine(x, [[cos, -sin, zero], [sin, cos, zero]], corners)


def _affine(x: Tensor, rows: list[list[Tensor]], corners: bool) -> Tensor:
    matrices = torch.stack([torch.stack(row, -1) for row in rows], 1).to(x)  # b 2 3
    if len(matrices) > 1:
        grid = F.affine_grid(matrices, list(x.shape), align_corners=corners)
        return F.grid_sample(x, grid, align_corners=corners)
    # one transform for all: the images are channels of one picture, whose places are found once
    layers = x.reshape(1, -1, *x.shape[2:])
    grid = F.affine_grid(matrices, [1, 1, *x.shape[2:]], align_corners=corners)
    return F.grid_sample(layers, grid, align_corners=corners).reshape(x.shape)


def _wide(u: Tensor, x: Tensor) -> Tensor:
    return u.to(x.dtype if x.is_floating_point() else u.dtype).view(-1, 1, 1, 1)


APPLIED: dict[str, Callable[..., Tensor]] = {
    "flip": flip,
    "brightness": brightness,
    "saturation": saturation,
    "contrast": contrast,
    "crop": crop,
    "cutout": cutout,
    "scale": scale,
    "rotate": rotate,
}
