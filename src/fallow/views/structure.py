"""Simplify an image along the tree of its level sets: what branches stays, the rest is flattened.

The max-tree holds the bright regions of an image, each inside the larger one it rises from; the
min-tree the dark ones. Regions below an area go first. Then a region that is alone inside its
parent says nothing about how the image is organised and goes too, so that a chain of regions
within regions keeps its outermost one only (Gu et al. 2023). Edges never move and no new grey
level appears. Both trees use the same connectivity, and the root always stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fallow.problems import SettingProblem
from fallow.views.random import uniform

Tree = Literal["max", "min"]
# how many axes two touching pixels may differ in
CONNECTIVITIES = {2: {4: 1, 8: 2}, 3: {6: 1, 26: 3}}


def structure_filter(
    image: np.ndarray,
    tree: Tree = "max",
    *,
    area: int = 50,
    connectivity: int | None = None,
    keep: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Flatten the regions of an 8-bit picture or volume that are small or an only child.

    `max` lowers bright regions, `min` raises dark ones. Connectivity is 8 in two dimensions and
    26 in three, or 4 and 6. An only child is kept with probability `keep`, drawn by `seed`.

    >>> rows = np.array([[1, 9, 1, 5, 7, 5, 1]] * 2, np.uint8)
    >>> structure_filter(rows, area=2)[0].tolist()  # 7 is alone in 5; 5 and 9 are siblings
    [1, 9, 1, 5, 5, 5, 1]
    >>> structure_filter(rows, "min", area=2)[0].tolist()  # a 1 is alone in each 5 beside the 7
    [1, 9, 5, 5, 7, 5, 5]
    """
    if not 0 <= keep <= 1:
        raise SettingProblem(f"keep is a probability, not {keep}")
    grown = _grow(image, tree, area, connectivity)
    return grown.painted(grown.branching(keep, seed)[0])


def area_filter(
    image: np.ndarray, tree: Tree = "max", *, area: int = 50, connectivity: int | None = None
) -> np.ndarray:
    """Flatten small regions only: the area opening (`max`) or closing (`min`) of an image.

    >>> area_filter(np.array([[1, 9, 1, 5, 7, 5, 1]] * 2, np.uint8), area=3)[0].tolist()
    [1, 1, 1, 5, 5, 5, 1]
    """
    grown = _grow(image, tree, area, connectivity)
    return grown.painted(grown.large()[0])


def count_regions(
    image: np.ndarray, tree: Tree = "max", *, area: int = 50, connectivity: int | None = None
) -> tuple[int, int, int]:
    """Nodes of an image's tree: all, those that are large enough, those the filter keeps.

    >>> count_regions(np.array([[1, 9, 1, 5, 7, 5, 1]] * 2, np.uint8), area=2)
    (4, 4, 3)
    """
    grown = _grow(image, tree, area, connectivity)
    return len(grown.order), grown.large()[1], grown.branching()[1]


def structure_view(
    image: np.ndarray,
    tree: Tree = "max",
    *,
    area: int = 50,
    connectivity: int | None = None,
    gamma: float = 1.0,
    turns: int = 0,
    keep: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """The filter for floats in 0..1: contrast, quarter turns, 8 bits by truncation, filter.

    `turns` go counter-clockwise in the last two axes. The result is float32.

    >>> structure_view(np.array([[0.0, 0.9, 0.0, 0.5, 0.7]]), area=1).round(2)
    array([[0. , 0.9, 0. , 0.5, 0.5]], dtype=float32)
    """
    bent = np.clip(image, 0, 1) ** gamma
    turned = np.rot90(bent, turns, axes=(-2, -1))
    levels = (turned * 255).astype(np.uint8)
    flat = structure_filter(
        levels, tree, area=area, connectivity=connectivity, keep=keep, seed=seed
    )
    return flat.astype(np.float32) / np.float32(255)


def unit_range(image: np.ndarray) -> tuple[np.ndarray, float, float]:
    """An image scaled by its own extremes to 0..1, its least value, and its range.

    The range is widened by 1e-8 as the authors have it: 1 is never quite reached, so that white
    becomes level 254, and an image of one colour becomes 0.

    >>> unit, least, extent = unit_range(np.array([[2.0, 4.0, 6.0]]))
    >>> unit.round(3).tolist(), least, extent
    ([[0.0, 0.5, 1.0]], 2.0, 4.0)
    """
    image = image.astype(np.float64)
    least = float(image.min())
    extent = float(image.max()) - least
    return (image - least) / (extent + 1e-8), least, extent


@dataclass(frozen=True)
class _Grown:
    """A tree with what its pruning needs; `node_of` has a frame of one pixel around the image."""

    node_of: np.ndarray
    level_of: np.ndarray
    parent: np.ndarray
    size: np.ndarray
    children: np.ndarray
    order: np.ndarray
    least: int
    framed: tuple[int, ...]
    palette: np.ndarray  # level -> grey value

    def large(self) -> tuple[np.ndarray, int]:
        from fallow.views import trees

        return trees.levels_of_large(self.level_of, self.parent, self.size, self.order, self.least)

    def branching(self, keep: float = 0.0, seed: int = 0) -> tuple[np.ndarray, int]:
        from fallow.views import trees

        count = len(self.order)
        spared = np.zeros(count, np.bool_)
        if keep > 0:
            spared = uniform(seed, 0, np.arange(count), 0, 0) < keep
        return trees.levels_of_branching(
            self.level_of, self.parent, self.size, self.children, self.order, self.least, spared
        )

    def painted(self, levels: np.ndarray) -> np.ndarray:
        from fallow.views import trees

        out = np.empty(len(self.node_of), self.palette.dtype)
        trees.paint(self.node_of, self.palette[levels], out)
        return np.ascontiguousarray(_inside(out.reshape(self.framed)))


def _grow(image: np.ndarray, tree: Tree, area: int, connectivity: int | None) -> _Grown:
    """The tree of an image, or of its negative."""
    from fallow.views import trees

    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in CONNECTIVITIES or not image.size:
        raise SettingProblem(
            f"the structure filter takes an 8-bit image (uint8) of two or three axes, not "
            f"{image.dtype} {image.shape}: scale other values to 0..255 first, as structure_view "
            "does, and filter the channels of a colour image one by one"
        )
    if tree not in ("max", "min"):
        raise SettingProblem(f"a tree is max (bright regions) or min (dark ones), not {tree!r}")
    if area < 0:
        raise SettingProblem(f"area is a number of pixels, not {area}")
    framed = tuple(side + 2 for side in image.shape)
    levels = image if tree == "max" else 255 - image
    state = np.full(framed, -1, np.int16)
    _inside(state)[...] = levels
    first = np.zeros(257, np.int64)
    np.cumsum(np.bincount(levels.reshape(-1), minlength=256), out=first[1:])
    offsets = _offsets(framed, connectivity)
    start = np.uint64(np.ravel_multi_index((1,) * image.ndim, framed))
    node_of, level_of, parent, size, children, order = trees.grow(
        state.reshape(-1), first, offsets, start, area
    )
    greys = np.arange(256, dtype=np.uint8)
    palette = greys if tree == "max" else greys[::-1]
    return _Grown(node_of, level_of, parent, size, children, order, area, framed, palette)


def _offsets(framed: tuple[int, ...], connectivity: int | None) -> np.ndarray:
    """Steps in a flattened framed array that lead to the neighbours of a pixel."""
    known = CONNECTIVITIES[len(framed)]
    reach = known.get(max(known) if connectivity is None else connectivity)
    if reach is None:
        raise SettingProblem(
            f"connectivity is {' or '.join(map(str, known))} in {len(framed)} dimensions, "
            f"not {connectivity}"
        )
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * len(framed), indexing="ij"), -1)
    steps = steps.reshape(-1, len(framed))
    away = np.abs(steps).sum(1)
    strides = np.cumprod((1, *framed[:0:-1]))[::-1]
    # unsigned sums wrap around: adding a step back works
    return (steps[(away > 0) & (away <= reach)] @ strides).astype(np.uint64)


def _inside(framed: np.ndarray) -> Any:
    return framed[(slice(1, -1),) * framed.ndim]
