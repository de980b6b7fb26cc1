"""How natural a photo looks, without a reference: statistics of its locally normalised luma.

Every pixel is set against its surroundings (mean taken away, divided by the spread; "MSCN"). In a
sharp, clean photo these values and the products of neighbours follow known shapes; blur, noise and
compression bend them. Two scales of 18 numbers each, for the whole photo (BRISQUE, Mittal et al.
2012) or block by block against a model of good blocks (NIQE, Mittal et al. 2013).

Photos are read part by part: beside the photo itself only a part is held, however large it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numba import njit

from fallow.problems import Problem

WINDOW = 7  # pixels across, with a deviation of a sixth of that
HELD = 1 << 19  # pixels of a whole photo that are read at once
BLOCK = 96
ACROSS, MARGIN = 16, 16  # blocks of a row that are read at once, and pixels beside them
FEATURES = 36
FLAT = 0.1  # levels of spread below which surroundings show nothing but rounding
SHARP = 0.75  # of the sharpest block of a photo: others are not taken for good
Border = Literal["edge", "zero"]


def _window() -> np.ndarray:
    x = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(x**2) / (2 * (WINDOW / 6) ** 2))
    return weights / weights.sum()


def _halving() -> np.ndarray:
    """Weights of eight rows for one of half the size: Keys' cubic, widened to twice its reach."""
    x = (np.arange(8) - 3.5) / 2
    near = 1.5 * np.abs(x) ** 3 - 2.5 * x**2 + 1
    far = -0.5 * np.abs(x) ** 3 + 2.5 * x**2 - 4 * np.abs(x) + 2
    weights = np.where(np.abs(x) <= 1, near, far)
    return weights / weights.sum()


_SEVEN, _EIGHT = _window(), _halving()


class Plane(Protocol):
    """Luma that is read in rows."""

    height: int
    width: int

    def rows(self, first: int, last: int) -> np.ndarray: ...


class Luma:
    """The luma of a photo (H W 3, uint8), 0 to 255 in whole numbers; or luma as it is (H W)."""

    def __init__(self, pixels: np.ndarray, crop: tuple[int, int] | None = None) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2] if crop is None else crop

    def rows(self, first: int, last: int) -> np.ndarray:
        part = self.pixels[first:last, : self.width]
        if part.ndim == 2:
            return np.ascontiguousarray(part, np.float64)
        return _luma(np.ascontiguousarray(part))


class Half:
    """A plane at half its size, smoothed so that nothing aliases."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.height, self.width = (plane.height + 1) // 2, (plane.width + 1) // 2

    def rows(self, first: int, last: int) -> np.ndarray:
        height = self.plane.height
        above, below = max(3 - 2 * first, 0), max(2 * last + 3 - height, 0)
        # a row beyond the border is its mirror image, the border row itself among them
        low = min(max(2 * first - 3, 0), max(height - below, 0))
        high = max(min(2 * last + 3, height), min(above, height))
        return _halved(self.plane.rows(low, high), low, height, first, last, _EIGHT)


def halved(luma: np.ndarray) -> np.ndarray:
    """Luma (H W) at half its size.

    >>> halved(np.full((4, 6), 7.0)).round(6).tolist()
    [[7.0, 7.0, 7.0], [7.0, 7.0, 7.0]]
    """
    half = Half(Luma(luma))
    return half.rows(0, half.height)


def normalised(
    plane: Plane, first: int, last: int, border: Border
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a plane set against their surroundings, and the spread of these.  n W, n W

    Beyond the border lies the nearest row again (NIQE), or nothing (BRISQUE).
    """
    reach = WINDOW // 2
    low, high = max(first - reach, 0), min(last + reach, plane.height)
    found = plane.rows(low, high)
    pad = ((low - (first - reach), last + reach - high), (reach, reach))
    wide = np.pad(found, pad, mode="edge" if border == "edge" else "constant")
    return _normalised(wide, _SEVEN)


def mscn(luma: np.ndarray, border: Border = "edge") -> np.ndarray:
    """All of a luma plane (H W) set against its surroundings.

    >>> float(np.abs(mscn(np.full((9, 9), 50.0))).max()) < 1e-9
    True
    """
    return normalised(Luma(luma), 0, len(luma), border)[0]


# --- shapes ---


class Sums(NamedTuple):
    """What the shape of a distribution follows from; arrays of any shape."""

    number: np.ndarray
    absolute: np.ndarray  # sum of |x|
    below: np.ndarray  # sum of squares of x < 0
    above: np.ndarray
    number_below: np.ndarray
    number_above: np.ndarray


@cache
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shapes from 0.2 to 10, and what follows from them: moment ratio, and three factors."""
    from scipy.special import gammaln

    shape = np.arange(0.2, 10.001, 0.001)
    one, two, three = (gammaln(k / shape) for k in (1, 2, 3))
    ratio = np.exp(2 * two - one - three)  # (E|x|)² / E[x²], which rises with the shape
    width = np.exp((one - three) / 2)
    return shape, ratio, width, np.exp(two - one), np.exp(two - (one + three) / 2)


def _nearest(ratio: np.ndarray) -> np.ndarray:
    """Places in the table whose ratio is nearest."""
    known = _table()[1]
    right = np.clip(np.searchsorted(known, ratio), 1, len(known) - 1)
    return np.where(ratio - known[right - 1] <= known[right] - ratio, right - 1, right)


def _sides(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place of the shape, and the spread to the left and to the right; NaN where there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt(sums.below / sums.number_below)
        right = np.sqrt(sums.above / sums.number_above)
        skew = left / right
        even = (sums.absolute / sums.number) ** 2 / ((sums.below + sums.above) / sums.number)
        ratio = even * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    known = np.isfinite(ratio)
    return _nearest(np.where(known, ratio, 0.5)), np.where(known, left, np.nan), right


def niqe_18(sums: Sums) -> np.ndarray:
    """18 numbers of NIQE from the sums (... 5) of a normalised map and of its four products."""
    shape, _, width, spread, _ = _table()
    place, left, right = _sides(sums)
    alpha = np.where(np.isnan(left), np.nan, shape[place])
    left, right = left * width[place], right * width[place]
    mean = (right - left) * spread[place]
    rest = np.stack([alpha, mean, left, right], -1)[..., 1:, :]
    first = np.stack([alpha[..., 0], (left[..., 0] + right[..., 0]) / 2], -1)
    return np.concatenate([first, rest.reshape(*rest.shape[:-2], -1)], -1)


def brisque_18(sums: Sums) -> np.ndarray:
    """18 numbers of BRISQUE from the same sums."""
    shape, _, _, _, spread = _table()
    place, left, right = _sides(sums)
    mean = (right - left) * spread[place]
    alpha = np.where(np.isnan(left), np.nan, shape[place])
    rest = np.stack([alpha, mean, left**2, right**2], -1)[..., 1:, :]
    square = (sums.below + sums.above) / sums.number
    with np.errstate(invalid="ignore", divide="ignore"):
        even = (sums.absolute / sums.number) ** 2 / square
    symmetric = np.where(np.isfinite(even), shape[_nearest(np.nan_to_num(even, nan=0.5))], np.nan)
    first = np.stack([symmetric[..., 0], square[..., 0]], -1)
    return np.concatenate([first, rest.reshape(*rest.shape[:-2], -1)], -1)


def sums_of(normal: np.ndarray) -> Sums:
    """The sums (5) of a normalised map (H W), whose rows and columns run in a circle."""
    found = np.zeros((5, 5))
    rows = np.ascontiguousarray(normal, np.float64)
    _add(rows, rows[-1], found)
    return _as_sums(found, normal.size)


def _as_sums(found: np.ndarray, number: int) -> Sums:
    absolute, below, above, number_below, number_above = np.moveaxis(found, -1, 0)
    whole = np.full(absolute.shape, float(number))
    return Sums(whole, absolute, below, above, number_below, number_above)


# --- whole photos ---


def brisque(pixels: np.ndarray) -> np.ndarray:
    """36 numbers of a photo (H W 3, uint8): its statistics at full and at half size.

    NaN for a photo that is flat throughout.

    >>> photo = np.random.default_rng(0).integers(0, 255, (64, 80, 3)).astype(np.uint8)
    >>> brisque(photo).shape
    (36,)
    """
    _large_enough(pixels, 16)
    plane = Luma(pixels)
    return np.concatenate([_whole(plane), _whole(Half(plane))])


def _whole(plane: Plane) -> np.ndarray:
    found, lively = np.zeros((5, 5)), 0
    first = before = np.zeros(0)
    tall = max(8, HELD // plane.width)
    for start in range(0, plane.height, tall):
        rows, spread = normalised(plane, start, min(start + tall, plane.height), "zero")
        lively += int((spread > FLAT).sum())
        if start == 0:  # its neighbour above is the last row, which comes last
            first, before, rows = rows[0].copy(), rows[0], rows[1:]
        if len(rows):
            _add(rows, before, found)
            before = rows[-1].copy()
    if not lively:
        return np.full(FEATURES // 2, np.nan)
    _add(first[None], before, found)
    return brisque_18(_as_sums(found, plane.height * plane.width))


class Blocks(NamedTuple):
    """What NIQE sees of a photo: numbers of each block, how sharp it is, and how they lie."""

    features: np.ndarray  # N 36, row by row; NaN where most of a block is flat
    sharpness: np.ndarray  # N, mean spread of surroundings
    shape: tuple[int, int]  # rows and columns of blocks


def blocks(pixels: np.ndarray, block: int = BLOCK) -> Blocks:
    """Statistics of every whole block of a photo (H W 3 uint8, or luma H W)."""
    if block % 2:
        raise Problem(f"blocks of {block} have no half: use an even number.")
    _large_enough(pixels, block)
    down, across = pixels.shape[0] // block, pixels.shape[1] // block
    found = np.zeros((2, down, across, 5, 5))  # at full and at half size
    sharpness, lively = np.zeros((down, across)), np.zeros((down, across))
    for left in range(0, across, ACROSS):
        right = min(left + ACROSS, across)
        # what lies beside the blocks shapes their surroundings, at half size as well
        begin, end = max(left * block - MARGIN, 0), min(right * block + MARGIN, across * block)
        luma = Luma(pixels[:, begin:end], (down * block, end - begin))
        planes: tuple[Plane, Plane] = (luma, Half(luma))
        for scale, plane in enumerate(planes):
            side = block // (scale + 1)
            inset = (left * block - begin) // (scale + 1)
            for row in range(down):
                normal, spread = normalised(plane, row * side, (row + 1) * side, "edge")
                for column in range(left, right):
                    start = inset + (column - left) * side
                    part = slice(start, start + side)
                    own = np.ascontiguousarray(normal[:, part])
                    _add(own, own[-1], found[scale, row, column])
                    if scale == 0:
                        sharpness[row, column] = spread[:, part].mean()
                        lively[row, column] = (spread[:, part] > FLAT).mean()
    sides = (block, block // 2)
    features = [niqe_18(_as_sums(each, s * s)) for each, s in zip(found, sides, strict=True)]
    whole = np.concatenate(features, -1).reshape(-1, FEATURES)
    whole[lively.reshape(-1) < 0.5] = np.nan
    return Blocks(whole, sharpness.reshape(-1), (down, across))


@dataclass(frozen=True)
class Natural:
    """What good blocks look like: their mean and how they vary."""

    mean: np.ndarray  # 36
    covariance: np.ndarray  # 36 36
    block: int = BLOCK


def natural(found: Iterable[Blocks], block: int = BLOCK) -> Natural:
    """The model of some good photos; of each only its sharper blocks count."""
    good = []
    for one in found:
        known = np.isfinite(one.features).all(1)
        if known.any():
            sharp = one.sharpness > SHARP * one.sharpness[known].max()
            good.append(one.features[known & sharp])
    chosen = np.concatenate(good) if good else np.zeros((0, FEATURES))
    if len(chosen) <= FEATURES:
        raise Problem(
            f"{len(chosen)} sharp blocks say too little of what is natural: "
            f"more than {FEATURES} are needed, so give more or larger sharp photos."
        )
    return Natural(chosen.mean(0), np.cov(chosen.T), block)


def niqe(found: Blocks, model: Natural) -> float:
    """How far the blocks of a photo lie from natural ones: the lower the better.

    NaN if fewer than two blocks show anything.
    """
    known = found.features[np.isfinite(found.features).all(1)]
    if len(known) < 2:
        return float("nan")
    away = model.mean - np.nanmean(found.features, 0)
    inverse = np.linalg.pinv((model.covariance + np.cov(known.T)) / 2)
    return float(np.sqrt(away @ inverse @ away))


def unnatural(found: Blocks, model: Natural) -> np.ndarray:
    """How far each block alone lies from natural ones: rows x columns, NaN where it is flat."""
    inverse = np.linalg.pinv(model.covariance)
    away = found.features - model.mean
    return np.sqrt(np.einsum("nd,de,ne->n", away, inverse, away)).reshape(found.shape)


def _large_enough(pixels: np.ndarray, least: int) -> None:
    height, width = pixels.shape[:2]
    if min(height, width) < least:
        raise Problem(
            f"a photo of {width} x {height} pixels is too small for blocks of {least}: leave it out"
        )


# --- compiled ---


@njit(cache=True, nogil=True)
def _luma(pixels: np.ndarray) -> np.ndarray:
    height, width, _ = pixels.shape
    found = np.empty((height, width), np.float64)
    for y in range(height):
        for x in range(width):
            value = 0.299 * pixels[y, x, 0] + 0.587 * pixels[y, x, 1] + 0.114 * pixels[y, x, 2]
            found[y, x] = np.floor(value + 0.5)
    return found


@njit(cache=True, nogil=True)
def _mirrored(place: int, count: int) -> int:
    if place < 0:
        place = -1 - place
    if place >= count:
        place = 2 * count - 1 - place
    return min(max(place, 0), count - 1)


@njit(cache=True, nogil=True)
def _halved(
    rows: np.ndarray, low: int, height: int, first: int, last: int, weights: np.ndarray
) -> np.ndarray:
    width = rows.shape[1]
    half = (width + 1) // 2
    found = np.empty((last - first, half), np.float64)
    line = np.empty(width + 8, np.float64)  # three more to the left, the rest to the right
    for y in range(first, last):
        line[3 : 3 + width] = 0.0
        for k in range(8):
            source = _mirrored(2 * y - 3 + k, height) - low
            weight = weights[k]
            for x in range(width):
                line[3 + x] += weight * rows[source, x]
        for x in range(3):
            line[x] = line[3 + _mirrored(x - 3, width)]
        for x in range(5):
            line[3 + width + x] = line[3 + _mirrored(width + x, width)]
        for x in range(half):
            value = 0.0
            for k in range(8):
                value += weights[k] * line[2 * x + k]
            found[y - first, x] = value
    return found


@njit(cache=True, nogil=True)
def _normalised(wide: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows with three more on every side -> the rows, normalised, and their spread."""
    height, width = wide.shape[0] - 6, wide.shape[1] - 6
    normal = np.empty((height, width), np.float64)
    spread = np.empty((height, width), np.float64)
    mean, square = np.empty(width + 6), np.empty(width + 6)
    for y in range(height):
        mean[:] = 0.0
        square[:] = 0.0
        for k in range(7):
            weight = weights[k]
            for x in range(width + 6):
                value = wide[y + k, x]
                mean[x] += weight * value
                square[x] += weight * value * value
        for x in range(width):
            m, s = 0.0, 0.0
            for k in range(7):
                m += weights[k] * mean[x + k]
                s += weights[k] * square[x + k]
            deviation = np.sqrt(abs(s - m * m))
            spread[y, x] = deviation
            normal[y, x] = (wide[y + 3, x + 3] - m) / (deviation + 1.0)
    return normal, spread


@njit(cache=True, nogil=True, fastmath=True)
def _add(rows: np.ndarray, before: np.ndarray, found: np.ndarray) -> None:
    """Add rows to the sums of the map and of its products with the four neighbours before it."""
    height, width = rows.shape
    ones = np.ones(width)
    shifted = np.empty((2, width + 2))  # with their ends joined: a row, and the one before it
    for y in range(height):
        row = rows[y]
        above = before if y == 0 else rows[y - 1]
        shifted[0, 1:-1], shifted[0, 0] = row, row[-1]
        shifted[1, 1:-1], shifted[1, 0], shifted[1, -1] = above, above[-1], above[0]
        _tally(row, ones, found[0])
        _tally(row, shifted[0, :width], found[1])
        _tally(row, above, found[2])
        _tally(row, shifted[1, :width], found[3])
        _tally(row, shifted[1, 2:], found[4])


@njit(cache=True, nogil=True, fastmath=True)
def _tally(row: np.ndarray, other: np.ndarray, found: np.ndarray) -> None:
    absolute, below, above, number_below, number_above = 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(len(row)):
        value = row[x] * other[x]
        square = value * value
        low, high = value < 0, value > 0
        absolute += abs(value)
        below += square if low else 0.0
        above += square if high else 0.0
        number_below += 1.0 if low else 0.0
        number_above += 1.0 if high else 0.0
    found[0] += absolute
    found[1] += below
    found[2] += above
    found[3] += number_below
    found[4] += number_above
