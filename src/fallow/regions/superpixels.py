"""Regions without any trained network: pixels grouped by colour, neighbours merged by colour."""

from __future__ import annotations

import heapq
from typing import Any

import numba
import numpy as np


def felzenszwalb(
    pixels: np.ndarray, scale: float = 100.0, sigma: float = 0.8, smallest: int = 50
) -> np.ndarray:
    """Regions 0, 1, ... (H W int32) by the graph method of Felzenszwalb and Huttenlocher (2004).

    Two regions are joined where the colour step between them is no larger than the largest step
    within either plus `scale` over its size: a larger scale makes larger regions.

    >>> halves = np.repeat(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8), 8, axis=1)
    >>> np.unique(felzenszwalb(halves.repeat(9, axis=0), sigma=0, smallest=4)).tolist()
    [0, 1]
    """
    from scipy.ndimage import gaussian_filter

    smooth = np.asarray(pixels, np.float32)
    if sigma > 0:
        smooth = gaussian_filter(smooth, (sigma, sigma, 0))
    steps, first, second = _edges(smooth)
    order = np.argsort(steps, kind="stable")
    parents = _grown(steps[order], first[order], second[order], smooth[..., 0].size, scale)
    _absorbed(parents, first[order], second[order], smallest)
    return _labels(parents).reshape(smooth.shape[:2])


def _edges(smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour steps between pixels that touch, also over a corner, and the two pixels."""
    height, width = smooth.shape[:2]
    place = np.arange(height * width, dtype=np.int32).reshape(height, width)
    pairs: list[tuple[Any, Any]] = [
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ]
    steps = [np.sqrt(((smooth[a] - smooth[b]) ** 2).sum(2)).ravel() for a, b in pairs]
    return (
        np.concatenate(steps),
        np.concatenate([place[a].ravel() for a, _ in pairs]),
        np.concatenate([place[b].ravel() for _, b in pairs]),
    )


@numba.njit(cache=True, nogil=True)
def _root(parents: np.ndarray, pixel: int) -> int:
    while parents[pixel] != pixel:
        parents[pixel] = parents[parents[pixel]]
        pixel = parents[pixel]
    return pixel


@numba.njit(cache=True, nogil=True)
def _grown(
    steps: np.ndarray, first: np.ndarray, second: np.ndarray, count: int, scale: float
) -> np.ndarray:
    parents = np.arange(count).astype(np.int32)
    sizes = np.ones(count, np.int32)
    largest = np.zeros(count, np.float32)  # step within the region of this root
    for edge in range(len(steps)):
        a, b = _root(parents, first[edge]), _root(parents, second[edge])
        if a == b:
            continue
        step = steps[edge]
        if step <= min(largest[a] + scale / sizes[a], largest[b] + scale / sizes[b]):
            parents[b] = a
            sizes[a] += sizes[b]
            largest[a] = step  # steps come in rising order
    return parents


@numba.njit(cache=True, nogil=True)
def _absorbed(parents: np.ndarray, first: np.ndarray, second: np.ndarray, smallest: int) -> None:
    """Regions below `smallest` pixels join the neighbour at their smallest step."""
    sizes = np.zeros(len(parents), np.int32)
    for pixel in range(len(parents)):
        sizes[_root(parents, pixel)] += 1
    for edge in range(len(first)):
        a, b = _root(parents, first[edge]), _root(parents, second[edge])
        if a != b and (sizes[a] < smallest or sizes[b] < smallest):
            parents[b] = a
            sizes[a] += sizes[b]


@numba.njit(cache=True, nogil=True)
def _labels(parents: np.ndarray) -> np.ndarray:
    """Roots as 0, 1, ... in the order of their first pixel."""
    names = np.full(len(parents), -1, np.int32)
    labels = np.empty(len(parents), np.int32)
    number = 0
    for pixel in range(len(parents)):
        root = _root(parents, pixel)
        if names[root] < 0:
            names[root] = number
            number += 1
        labels[pixel] = names[root]
    return labels


def slic(
    pixels: np.ndarray, count: int = 300, compactness: float = 0.1, rounds: int = 8
) -> np.ndarray:
    """About `count` compact regions 0, 1, ... (H W int32) in the manner of SLIC (Achanta 2012).

    Colours are compared in OKLab; a `compactness` of 0.1 weighs the way from one region's middle
    to the next as much as a colour difference of 0.1.

    >>> slic(np.zeros((20, 20, 3), np.uint8), 4).max() + 1
    np.int32(4)
    """
    colours = oklab(pixels)
    height, width = colours.shape[:2]
    step = max(1.0, (height * width / count) ** 0.5)
    rows, columns = (max(1, round(side / step)) for side in (height, width))
    y, x = ((np.arange(n) + 0.5) * side / n for n, side in ((rows, height), (columns, width)))
    places = np.stack(np.meshgrid(y, x, indexing="ij"), 2).reshape(-1, 2)
    middle = colours[places[:, 0].astype(int), places[:, 1].astype(int)]
    owner = _nearby(colours, np.concatenate([places, middle], 1), step, compactness, rounds)
    steps, first, second = _edges(colours.astype(np.float32))
    same = owner.ravel()[first] == owner.ravel()[second]
    parents = _grown(
        np.zeros(int(same.sum()), np.float32), first[same], second[same], owner.size, 1.0
    )
    order = np.argsort(steps, kind="stable")
    _absorbed(parents, first[order], second[order], int(step * step / 4))
    return _labels(parents).reshape(height, width)


@numba.njit(cache=True, nogil=True)
def _nearby(
    colours: np.ndarray, centres: np.ndarray, step: float, compactness: float, rounds: int
) -> np.ndarray:
    """The centre (n 5: y x and colour) nearest each pixel, of those within a step of it."""
    height, width = colours.shape[:2]
    owner = np.zeros((height, width), np.int32)
    weight = (compactness / step) ** 2
    for _ in range(rounds):
        nearest = np.full((height, width), np.inf)
        for centre in range(len(centres)):
            y, x = centres[centre, 0], centres[centre, 1]
            for row in range(max(0, int(y - step)), min(height, int(y + step) + 2)):
                for column in range(max(0, int(x - step)), min(width, int(x + step) + 2)):
                    far = weight * ((row + 0.5 - y) ** 2 + (column + 0.5 - x) ** 2)
                    for part in range(3):
                        far += (colours[row, column, part] - centres[centre, 2 + part]) ** 2
                    if far < nearest[row, column]:
                        nearest[row, column] = far
                        owner[row, column] = centre
        sums = np.zeros((len(centres), 6))
        for row in range(height):
            for column in range(width):
                mine = sums[owner[row, column]]
                mine[0] += row + 0.5
                mine[1] += column + 0.5
                for part in range(3):
                    mine[2 + part] += colours[row, column, part]
                mine[5] += 1
        for centre in range(len(centres)):
            if sums[centre, 5] > 0:
                centres[centre] = sums[centre, :5] / sums[centre, 5]
    return owner


def merged(regions: np.ndarray, pixels: np.ndarray, difference: float = 0.04) -> np.ndarray:
    """Neighbouring regions joined, most alike first, until mean colours differ by `difference`.

    Colours are compared in OKLab, where black and white are 1 apart.

    >>> grey = np.array([[[100, 100, 100], [104, 104, 104], [200, 200, 200]]], np.uint8)
    >>> merged(np.array([[0, 1, 2]], np.int32), grey).tolist()
    [[0, 0, 1]]
    """
    count = int(regions.max()) + 1
    sizes = np.bincount(regions.ravel(), minlength=count).astype(float)
    colours = oklab(pixels).reshape(-1, 3)
    sums = np.stack([np.bincount(regions.ravel(), part, count) for part in colours.T], 1)
    near: list[set[int]] = [set() for _ in range(count)]
    for here, there in ((regions[:, :-1], regions[:, 1:]), (regions[:-1], regions[1:])):
        apart = here != there
        touching = np.unique(np.stack([here[apart], there[apart]], 1), axis=0)
        for one, other in touching.tolist():
            near[one].add(other)
            near[other].add(one)
    parents = list(range(count))
    version = [0] * count  # a distance is stale once either region has grown

    def away(a: int, b: int) -> float:
        return float(np.linalg.norm(sums[a] / sizes[a] - sums[b] / sizes[b]))

    waiting = [(away(a, b), a, b, 0, 0) for a in range(count) for b in near[a] if a < b]
    heapq.heapify(waiting)
    while waiting:
        distance, a, b, seen_a, seen_b = heapq.heappop(waiting)
        if distance > difference:
            break
        if version[a] != seen_a or version[b] != seen_b:
            continue
        parents[b] = a
        sums[a] += sums[b]
        sizes[a] += sizes[b]
        version[a] += 1
        version[b] = -1
        near[a] |= near[b]
        near[a] -= {a, b}
        for other in near[b] - {a}:
            near[other].discard(b)
            near[other].add(a)
        for other in near[a]:
            low, high = min(a, other), max(a, other)
            heapq.heappush(waiting, (away(low, high), low, high, version[low], version[high]))
    return _labels(np.array(parents, np.int32))[regions]


def oklab(pixels: np.ndarray) -> np.ndarray:
    """sRGB pixels (H W 3 uint8) in OKLab (Ottosson 2020), where distances are what eyes see.

    >>> oklab(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)).round(3)[0, :, 0].tolist()
    [0.0, 1.0]
    """
    coded = np.arange(256) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    cones = linear[pixels] @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )
