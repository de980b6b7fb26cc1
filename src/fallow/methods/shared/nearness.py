"""Nearest patches: how distances are held, found by one product, and averaged over pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from fallow.problems import SettingProblem

BLOCK = 8  # images whose distances are merged at once
ENTRIES = 1 << 20  # distances held at once: what stays in a processor's cache


def counts(interval: tuple[float, float], others: int) -> tuple[int, int]:
    """The bounds of an interval as numbers of images; never an empty one.

    >>> counts((0, 0.3), 99), counts((2, 6), 8), counts((0, 0.3), 2)
    ((0, 29), (2, 6), (0, 1))
    """
    low, high = (int(bound * others) if bound < 1 else int(bound) for bound in interval)
    if low < 0 or not interval[0] < interval[1]:
        raise SettingProblem(f"an interval rises from 0 or more, such as (0, 0.3), not {interval}.")
    stop = min(max(high, 1), others)
    return min(low, stop - 1), stop


def points_of(features: Tensor, centre: Tensor, bf16: bool) -> Tensor:
    """Patches written so that one product gives minus half the squared distance.  N L C+2k

    With x' = [x, 1, -|x|²/2] and y" = [y, -|y|²/2, 1], x'·y" = -|x - y|²/2, and no step remains
    between the product and its maximum. The common centre is taken away first and the norms are
    those of the rounded vectors, split into parts that bfloat16 can hold: so its rounding is
    relative to the distance, not to the length of the vectors.
    """
    kind = torch.bfloat16 if bf16 else features.dtype
    parts = 3 if bf16 else 1
    width = features.shape[2]
    points = features.new_ones((*features.shape[:2], width + 2 * parts), dtype=kind)
    for image, point in zip(features, points, strict=True):
        point[:, :width] = image - centre
        rest = -point[:, :width].to(features.dtype).square().sum(1) / 2
        for part in range(width + parts, width + 2 * parts):
            point[:, part] = rest
            rest = rest - point[:, part].to(features.dtype)
    return points


def mirrored(points: Tensor) -> Tensor:
    """x' as y": ones and norms change places."""
    parts = 3 if points.dtype == torch.bfloat16 else 1
    body, ones, norms = points.tensor_split([-2 * parts, -parts], dim=2)
    return torch.cat([body, norms, ones], 2)


Near = Callable[[Tensor, Tensor, int], Iterator[tuple[slice, Tensor, Tensor]]]


def searching(length: int, window: int | None, grid: tuple[int, int] | None) -> Near:
    """What finds nearest patches between one image and some: anywhere, or within a window."""
    if window is None:
        both, entries = _anywhere, length**2
    else:
        if window < 0:
            raise SettingProblem(f"a window of {window} patches is not possible: use 0 or more.")
        if grid is None or grid[0] * grid[1] != length:
            raise SettingProblem(f"a window needs the grid its {length} patches lie on.")
        both, entries = partial(_within, grid=grid, window=window), length * grid[1]
    step = max(1, ENTRIES // entries)

    def near(one: Tensor, others: Tensor, first: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        for start in range(first, len(others), step):
            part = slice(start, min(start + step, len(others)))
            yield part, *both(one, others[part])

    return near


def nearest_to(one: Tensor, others: Tensor) -> Tensor:
    """Maxima for the patches of one image (L C) alone, in each of the others (M L C).  M L"""
    step = max(1, ENTRIES // (len(one) * others.shape[1]))
    return torch.cat(
        [
            (one @ some.flatten(0, 1).T).unflatten(1, some.shape[:2]).amax(2).T
            for some in others.split(step)
        ]
    )


def _anywhere(one: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima for the patches of one image, and for those of each other image: n L, n L."""
    close = (one @ others.flatten(0, 1).T).unflatten(1, others.shape[:2])  # L n L
    return close.amax(2).T, close.amax(0)


def _within(
    one: Tensor, others: Tensor, grid: tuple[int, int], window: int
) -> tuple[Tensor, Tensor]:
    """The same among patches at most `window` rows and columns apart."""
    height, width = grid
    one, others = one.unflatten(0, grid), others.unflatten(1, grid)  # h w C, n h w C
    there = one.new_full((len(others), height, width), -torch.inf)
    back = there.clone()
    place = torch.arange(width, device=one.device)
    far = (place[:, None] - place).abs() > window
    for shift in range(-min(window, height - 1), min(window, height - 1) + 1):
        ours = slice(max(0, -shift), height - max(0, shift))
        theirs = slice(max(0, shift), height - max(0, -shift))
        close = one[ours] @ others[:, theirs].transpose(2, 3)  # n h w w
        close.masked_fill_(far, -torch.inf)
        there[:, ours] = torch.maximum(there[:, ours], close.amax(3))
        back[:, theirs] = torch.maximum(back[:, theirs], close.amax(2))
    return there.flatten(1), back.flatten(1)


def keep(nearest: Tensor, rows: slice, found: Tensor) -> None:
    """Only the nearest so far stay."""
    candidates = torch.cat([nearest[rows], found], 2)
    nearest[rows] = candidates.topk(nearest.shape[2], dim=2, sorted=False).values


def mean_distance(nearest: Tensor, start: int) -> Tensor:
    """From maxima of minus half the squared distance to the mean distance, from `start` on."""
    ordered = nearest.sort(dim=2, descending=True).values[:, :, start:]
    return (-2 * ordered).clamp(min=0).sqrt().mean(2)
