"""Which patches a method hides: random ones, squares, blocks, or several blocks and a context.

Patches are numbered row by row. Where an original draws badly there are two functions: the one as
published, to compare with, and a corrected one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fallow.problems import SettingProblem

Grid = tuple[int, int]  # rows, columns
Range = tuple[float, float]


def numpy_generator() -> np.random.Generator:
    """A generator that continues torch's, so that a step that seeds torch seeds it too.

    >>> _ = torch.manual_seed(0)
    >>> first = numpy_generator().random()
    >>> _ = torch.manual_seed(0)
    >>> first == numpy_generator().random()
    True
    """
    return np.random.default_rng(int(torch.randint(2**62, ())))


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens (B, L, D) at an index (B, K) of each image.

    >>> take(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[2, 0]])).flatten().tolist()
    [3.0, 1.0]
    """
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))  # B K D


def take_blocks(tokens: Tensor, blocks: Tensor) -> Tensor:
    """The tokens (B, L, D) in each of M blocks (M, B, K): all images' first block, then second.

    >>> blocks = torch.tensor([[[0], [1]], [[1], [0]]])
    >>> take_blocks(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), blocks).flatten().tolist()
    [1.0, 4.0, 2.0, 3.0]
    """
    return take(tokens.repeat(len(blocks), 1, 1), blocks.flatten(0, 1))  # M*B K D


def repeat_batches(rows: Tensor, batch: int, times: int) -> Tensor:
    """Every batch of a stack of batches, `times` times in a row.

    >>> repeat_batches(torch.tensor([1, 2, 3, 4]), batch=2, times=2).tolist()
    [1, 2, 1, 2, 3, 4, 3, 4]
    """
    return rows.unflatten(0, (-1, batch)).repeat_interleave(times, 0).flatten(0, 1)


def as_mask(index: Tensor, length: int) -> Tensor:
    """True at the patches of an index (B, K).

    >>> as_mask(torch.tensor([[2, 0]]), 4).tolist()
    [[True, False, True, False]]
    """
    mask = torch.zeros(len(index), length, dtype=torch.bool, device=index.device)
    return mask.scatter_(1, index, True)  # B L


# random patches: MAE


class Split(NamedTuple):
    """The patches of each image, cut in two."""

    keep: Tensor  # B K
    hide: Tensor  # B L-K


def kept_as_published(length: int, ratio: float) -> int:
    """MAE's number of visible patches; rounding may cost one (5 patches, 0.8 hidden: none left).

    >>> kept_as_published(196, 0.75), kept_as_published(5, 0.8)
    (49, 0)
    """
    return int(length * (1 - ratio))


def kept(length: int, ratio: float) -> int:
    """The same, with the arithmetic of the page, and at least one.

    >>> kept(196, 0.75), kept(5, 0.8), kept(3, 0.9)
    (49, 1, 1)
    """
    return max(1, math.floor(length * (1 - ratio) + 1e-6))


def split_by(noise: Tensor, count: int) -> Split:
    """Keep the `count` patches with the least noise (B, L), in that order.

    >>> split_by(torch.tensor([[0.9, 0.1, 0.5]]), 1)
    Split(keep=tensor([[1]]), hide=tensor([[2, 0]]))
    """
    order = noise.argsort(1)
    return Split(order[:, :count], order[:, count:])


# squares: SimMIM


def hidden_squares(grid: Grid, side: int, ratio: float) -> tuple[int, int]:
    """How many squares of `side` patches cover a grid, and how many of them SimMIM hides.

    >>> hidden_squares((14, 14), 2, 0.6)
    (49, 30)
    """
    squares = math.ceil(grid[0] / side) * math.ceil(grid[1] / side)
    return squares, min(squares, math.ceil(squares * ratio))


def squares(order: Tensor, hidden: int, grid: Grid, side: int) -> Tensor:
    """Hide the squares that come first in each row of `order` (B, number of squares).

    At the edge of a grid that is no multiple of the side, squares are cut off.

    >>> squares(torch.tensor([[1, 0]]), 1, (2, 3), 2).int().tolist()
    [[0, 0, 1, 0, 0, 1]]
    """
    rows, columns = grid
    coarse = as_mask(order[:, :hidden], order.shape[1])
    coarse = coarse.unflatten(1, (math.ceil(rows / side), -1))
    fine = coarse.repeat_interleave(side, 1).repeat_interleave(side, 2)
    return fine[:, :rows, :columns].flatten(1)  # B L


# blocks: BEiT, data2vec, iBOT


def blocks(
    grid: Grid,
    count: int,
    random: np.random.Generator,
    *,
    smallest: float = 16,
    aspect: Range = (0.3, 1 / 0.3),
    tries: int = 10,
) -> np.ndarray:
    """Hide rectangles of one image until `count` patches are hidden, or a few less; never more.

    Areas are uniform from `smallest` patches to what is left, aspects uniform in their logarithm.

    >>> hidden = blocks((14, 14), 75, np.random.default_rng(0))
    >>> hidden.shape, 60 < int(hidden.sum()) <= 75
    ((14, 14), True)
    """
    mask = np.zeros(grid, bool)
    left = count
    while left > 0 and (added := _hide_one(mask, left, random, smallest, aspect, tries)):
        left -= added
    return mask  # rows columns


def _hide_one(
    mask: np.ndarray,
    left: int,
    random: np.random.Generator,
    smallest: float,
    aspect: Range,
    tries: int,
) -> int:
    """Add one rectangle that hides 1 to `left` new patches; how many it hid."""
    rows, columns = mask.shape
    for _ in range(tries):
        area = smallest + random.random() * (left - smallest)
        ratio = math.exp(random.uniform(math.log(aspect[0]), math.log(aspect[1])))
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if height >= rows or width >= columns:
            continue
        top, start = random.integers(rows - height + 1), random.integers(columns - width + 1)
        window = mask[top : top + height, start : start + width]
        new = window.size - int(window.sum())
        if 0 < new <= left:
            window[:] = True
            return new
    return 0


def smallest_block(grid: Grid) -> float:
    """BEiT's 16 of 14 x 14 patches, as a share of another grid.

    >>> smallest_block((14, 14)), round(smallest_block((8, 8)), 1)
    (16.0, 5.2)
    """
    return grid[0] * grid[1] * 16 / 196


# several target blocks and what is left of a context block: I-JEPA


class Blocks(NamedTuple):
    """Row-major patches, sorted within a block."""

    context: Tensor  # C B K
    targets: Tensor  # M B P


def block_size(
    grid: Grid, scale: Range, aspect: Range, scale_at: float, aspect_at: float
) -> tuple[int, int]:
    """Height and width of a block, smaller than the grid; `..._at` in [0, 1) place it in its range.

    >>> block_size((14, 14), (0.15, 0.2), (0.75, 1.5), 0.5, 0.5)
    (6, 5)
    """
    area = int(grid[0] * grid[1] * (scale[0] + scale_at * (scale[1] - scale[0])))
    ratio = aspect[0] + aspect_at * (aspect[1] - aspect[0])
    height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    return max(1, min(height, grid[0] - 1)), max(1, min(width, grid[1] - 1))


def multi_block_as_published(
    grid: Grid,
    batch: int,
    random: np.random.Generator,
    *,
    targets: int = 4,
    contexts: int = 1,
    target_scale: Range = (0.15, 0.2),
    target_aspect: Range = (0.75, 1.5),
    context_scale: Range = (0.85, 1.0),
    least: int = 10,
) -> Blocks:
    """I-JEPA's blocks with the faults of the original, but for its endless search on small grids.

    One number sets both scale and aspect; no block reaches the last row or column; contexts are
    cut to the batch's shortest from below, so that their bottom is rarely seen. When no context
    of more than `least` patches is found, target blocks are let back into it one by one.

    >>> made = multi_block_as_published((14, 14), 2, np.random.default_rng(0))
    >>> made.targets.shape[:2], bool((made.targets % 14 < 13).all())
    (torch.Size([4, 2]), True)
    """
    one, two = random.random(2)
    size = block_size(grid, target_scale, target_aspect, one, one)
    around = block_size(grid, context_scale, (1.0, 1.0), two, two)
    images = []
    for _ in range(batch):
        own = [_place(grid, size, random, edge=0) for _ in range(targets)]
        seen = []
        for _ in range(contexts):
            for tried in range(20 * (targets + 1)):  # twenty tries, then one target less
                context = _place(grid, around, random, edge=0)
                for target in own[: targets - tried // 20]:
                    context = context & ~target
                if context.sum() > least:
                    break
            seen.append(context)
        images.append((seen, own))
    shortest = min(int(context.sum()) for seen, _ in images for context in seen)
    return _stack(images, lambda patches: patches[:shortest])


def multi_block(
    grid: Grid,
    batch: int,
    random: np.random.Generator,
    *,
    targets: int = 4,
    contexts: int = 1,
    target_scale: Range = (0.15, 0.2),
    target_aspect: Range = (0.75, 1.5),
    context_scale: Range = (0.85, 1.0),
    least: int = 4,
) -> Blocks:
    """I-JEPA's blocks as described: own numbers for scale and aspect, the whole grid in reach.

    Contexts shrink to the batch's shortest by leaving out random patches. An image whose
    contexts keep fewer than `least` patches is drawn again, a few times.

    >>> made = multi_block((8, 8), 2, np.random.default_rng(0))
    >>> shared = set(made.context[0, 0].tolist()) & set(made.targets[:, 0].flatten().tolist())
    >>> len(shared), made.context.shape[2] >= 4
    (0, True)
    """
    size = block_size(grid, target_scale, target_aspect, *random.random(2))
    around = block_size(grid, context_scale, (1.0, 1.0), *random.random(2))
    images = []
    for _ in range(batch):
        best = max(
            (_with_context(grid, size, around, targets, contexts, random, least)),
            key=lambda found: min(int(context.sum()) for context in found[0]),
        )
        images.append(best)
    shortest = min(int(context.sum()) for seen, _ in images for context in seen)
    if shortest == 0:
        raise SettingProblem(
            f"{targets} target blocks leave nothing to see of {grid[0]} x {grid[1]} patches: "
            "take larger views, a smaller patch, or fewer targets"
        )
    return _stack(images, lambda patches: np.sort(random.permutation(patches)[:shortest]))


Masks = tuple[list[np.ndarray], list[np.ndarray]]  # contexts, targets


def _with_context(
    grid: Grid,
    size: tuple[int, int],
    around: tuple[int, int],
    targets: int,
    contexts: int,
    random: np.random.Generator,
    least: int,
) -> list[Masks]:
    """Draws for one image, the last of them with enough to see, if any has."""
    found: list[Masks] = []
    for _ in range(20):
        own = [_place(grid, size, random, edge=1) for _ in range(targets)]
        hidden = np.logical_or.reduce(own)
        seen = [_place(grid, around, random, edge=1) & ~hidden for _ in range(contexts)]
        found.append((seen, own))
        if min(int(context.sum()) for context in seen) >= least:
            break
    return found


def _place(grid: Grid, size: tuple[int, int], random: np.random.Generator, edge: int) -> np.ndarray:
    """A block somewhere in the grid; with `edge` 1 it may touch the last row and column."""
    top, start = (random.integers(grid[axis] - size[axis] + edge) for axis in (0, 1))
    mask = np.zeros(grid, bool)
    mask[top : top + size[0], start : start + size[1]] = True
    return mask


def _stack(images: list[Masks], shorten: Callable[[np.ndarray], np.ndarray]) -> Blocks:
    context = [[shorten(np.flatnonzero(one)) for one in seen] for seen, _ in images]  # B C K
    targets = [[np.flatnonzero(one) for one in own] for _, own in images]  # B M P
    first, second = (torch.from_numpy(np.array(x)).transpose(0, 1) for x in (context, targets))
    return Blocks(first.contiguous(), second.contiguous())
