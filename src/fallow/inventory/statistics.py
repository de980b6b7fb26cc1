"""One pass over an image's pixels: quality measures, perceptual hash, colour and texture vector."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

GRID = 64  # side of the grey picture that hash and texture are read from
HUES, TONES, SATURATED = 12, 8, 2
REGIONS = 6  # across and down, of which the sharpest says how sharp a picture is
LAYOUT, CELLS, ANGLES = 4, 4, 8
COLOURS = HUES * SATURATED + TONES
DIMENSION = COLOURS + LAYOUT * LAYOUT * 3 + CELLS * CELLS * ANGLES
MEASURES = (
    "brightness",
    "contrast",
    "colourfulness",
    "entropy",
    "sharpness",
    "focus",
    "darkest",
    "brightest",
)


class Described(NamedTuple):
    """What one image's pixels say; every field is a plain number or a small array."""

    measures: np.ndarray  # MEASURES, float32
    hash: int  # 64-bit perceptual hash
    statistics: np.ndarray  # DIMENSION, float32


def _cosines(size: int, count: int) -> np.ndarray:
    """The first `count` rows of the DCT-II basis on `size` points, as float32."""
    row = np.arange(count)[:, None]
    column = np.arange(size)[None]
    basis = np.cos(np.pi * (column + 0.5) * row / size) * np.sqrt(2 / size)
    return basis.astype(np.float32)


_BASIS = _cosines(GRID, 9)  # 9 GRID; the hash drops the constant row and column 0


@njit(cache=True, nogil=True, fastmath=True)
def _reduce(plane: np.ndarray, size: int) -> np.ndarray:
    """A `size` x `size` picture by exact area averaging; enlarges by repeating."""
    height, width = plane.shape
    rows = np.zeros((size, height), np.float32)
    for cell in range(size):
        left, right = cell * width / size, (cell + 1) * width / size
        first, last = int(left), min(int(np.ceil(right)), width)
        for x in range(first, last):
            weight = np.float32((min(x + 1.0, right) - max(float(x), left)) / (right - left))
            for y in range(height):
                rows[cell, y] += weight * plane[y, x]
    result = np.zeros((size, size), np.float32)
    for cell in range(size):
        top, bottom = cell * height / size, (cell + 1) * height / size
        first, last = int(top), min(int(np.ceil(bottom)), height)
        for y in range(first, last):
            weight = np.float32((min(y + 1.0, bottom) - max(float(y), top)) / (bottom - top))
            for x in range(size):
                result[cell, x] += weight * rows[x, y]
    return result


@njit(cache=True, nogil=True, fastmath=True)
def _colour(pixels: np.ndarray, measures: np.ndarray, vector: np.ndarray) -> None:
    """Colour histogram, colour layout and colourfulness, on a grid of at most ~8k pixels."""
    height, width, _ = pixels.shape
    step = max(1, int(np.sqrt(height * width / 8192)))
    layout = np.zeros((LAYOUT, LAYOUT, 4), np.float64)
    tones = np.zeros(TONES, np.float64)
    hues = np.zeros((SATURATED, HUES + 2), np.float64)  # the circle goes on for what rounding does
    zero, half, one, four = np.float32(0), np.float32(0.5), np.float32(1), np.float32(4)
    count = 0
    red_green, red_green2, yellow_blue, yellow_blue2 = 0.0, 0.0, 0.0, 0.0
    for y in range(0, height, step):
        row = y * LAYOUT // height
        # sums along a row are short: float32 does
        rg, rg2, yb, yb2 = zero, zero, zero, zero
        for column in range(LAYOUT):
            left = -(-column * width // LAYOUT)  # the first pixel of a cell, then of the grid
            left = -(-left // step) * step
            reds, greens, blues, many = zero, zero, zero, 0
            for x in range(left, -(-(column + 1) * width // LAYOUT), step):
                r = np.float32(pixels[y, x, 0])
                g = np.float32(pixels[y, x, 1])
                b = np.float32(pixels[y, x, 2])
                many += 1
                reds += r
                greens += g
                blues += b
                first, second = r - g, half * (r + g) - b
                rg += first
                rg2 += first * first
                yb += second
                yb2 += second * second
                high, low = max(r, g, b), min(r, g, b)
                spread = high - low
                # grey pixels vote for a tone, coloured ones for a hue; between, both do
                saturation = spread / max(high, one)
                grey = max(zero, one - four * saturation)
                tones[int(high * np.float32(TONES / 256))] += grey
                if grey < one:
                    turn = np.float32(HUES / 6) / spread
                    if high == r:
                        place = (g - b) * turn
                        if place < 0:
                            place += np.float32(HUES)
                    elif high == g:
                        place = (b - r) * turn + np.float32(HUES / 3)
                    else:
                        place = (r - g) * turn + np.float32(2 * HUES / 3)
                    lower = int(place)
                    part = place - np.float32(lower)
                    strong = 1 if saturation > half else 0
                    hues[strong, lower] += (one - grey) * (one - part)
                    hues[strong, lower + 1] += (one - grey) * part
            count += many
            layout[row, column, 0] += reds
            layout[row, column, 1] += greens
            layout[row, column, 2] += blues
            layout[row, column, 3] += many
        red_green += float(rg)
        red_green2 += float(rg2)
        yellow_blue += float(yb)
        yellow_blue2 += float(yb2)
    for strong in range(SATURATED):
        for over in range(2):
            hues[strong, over] += hues[strong, HUES + over]
        for hue in range(HUES):
            vector[strong * HUES + hue] = np.sqrt(hues[strong, hue] / count)
    for tone in range(TONES):
        vector[HUES * SATURATED + tone] = np.sqrt(tones[tone] / count)
    at = COLOURS
    for row in range(LAYOUT):
        for column in range(LAYOUT):
            total = max(layout[row, column, 3], 1.0)
            for channel in range(3):
                vector[at] = (layout[row, column, channel] / total / 255.0 - 0.5) * 0.5
                at += 1
    red_green /= count
    yellow_blue /= count
    deviation = max(red_green2 / count - red_green**2, 0.0)
    deviation += max(yellow_blue2 / count - yellow_blue**2, 0.0)
    measures[2] = np.sqrt(deviation) + 0.3 * np.sqrt(red_green**2 + yellow_blue**2)


@njit(cache=True, nogil=True, fastmath=True)
def _tone(luma: np.ndarray, measures: np.ndarray) -> None:
    """Brightness, contrast, entropy, tails of the tone curve, sharpness, focus."""
    height, width = luma.shape
    histogram = np.zeros(256, np.int64)
    total, total2 = 0.0, 0.0
    zero, four = np.float32(0), np.float32(4)
    for y in range(height):
        row, row2 = zero, zero  # sums per row in float32, so that the loop runs in wide registers
        for x in range(width):
            row += luma[y, x]
            row2 += luma[y, x] * luma[y, x]
        for x in range(width):
            histogram[int(luma[y, x] + np.float32(0.5))] += 1
        total += float(row)
        total2 += float(row2)
    count = height * width
    mean = total / count
    measures[0] = mean / 255
    measures[1] = np.sqrt(max(total2 / count - mean * mean, 0.0)) / 255
    entropy, seen, dark, bright = 0.0, 0, -1, -1
    for value in range(256):
        if histogram[value]:
            share = histogram[value] / count
            entropy -= share * np.log2(share)
        seen += histogram[value]
        if dark < 0 and seen >= 0.05 * count:
            dark = value
        if (
            bright < 0 and seen >= 0.99 * count
        ):  # lamps in a picture of the night are lit on purpose
            bright = value
    measures[3] = entropy
    measures[6] = dark / 255
    measures[7] = bright / 255
    if height < 3 or width < 3:
        return
    edge, edge2 = 0.0, 0.0
    for y in range(1, height - 1):
        row, row2 = zero, zero
        for x in range(1, width - 1):
            value = luma[y - 1, x] + luma[y + 1, x] + luma[y, x - 1] + luma[y, x + 1]
            value -= four * luma[y, x]
            row += value
            row2 += value * value
        edge += float(row)
        edge2 += float(row2)
    count = (height - 2) * (width - 2)
    edge /= count
    measures[4] = max(edge2 / count - edge * edge, 0.0)
    measures[5] = _focus(luma)


@njit(cache=True, nogil=True, fastmath=True)
def _focus(luma: np.ndarray) -> float:
    """How sharp the sharpest region is: a soft ground behind a sharp subject is style.

    A region's sharpness is how much of the change over four pixels already happens over one: a
    step edge gives 1/4, a wide ramp 1/16, whatever the contrast. The lower of both directions sees
    motion blur. Regions with little change are not asked: there is only noise in them.
    """
    height, width = luma.shape[0] - 4, luma.shape[1] - 4
    if height < 1 or width < 1:
        return 1.0
    across, down = min(REGIONS, width), min(REGIONS, height)
    sums = np.zeros((down, across, 4), np.float64)
    zero = np.float32(0)
    for y in range(height):
        for region in range(across):
            one_x, four_x, one_y, four_y = zero, zero, zero, zero
            for x in range(region * width // across, (region + 1) * width // across):
                here = luma[y, x]
                one_x += (luma[y, x + 1] - here) ** 2
                four_x += (luma[y, x + 4] - here) ** 2
                one_y += (luma[y + 1, x] - here) ** 2
                four_y += (luma[y + 4, x] - here) ** 2
            row = sums[y * down // height, region]
            row[0] += one_x
            row[1] += four_x
            row[2] += one_y
            row[3] += four_y
    change = sums[:, :, 1] + sums[:, :, 3]
    least = max(0.25 * change.mean(), 1e-9)
    sharpest = 0.0
    for i in range(down):
        for j in range(across):
            one_x, four_x, one_y, four_y = sums[i, j]
            if change[i, j] >= least and four_x > 0 and four_y > 0:
                sharpest = max(sharpest, min(one_x / four_x, one_y / four_y))
    return sharpest if sharpest > 0 else 1.0


@njit(cache=True, nogil=True, fastmath=True)
def _angle(across: np.float32, down: np.float32) -> np.float32:
    """Direction of a change that points down (0 to pi), to 2e-6: a fifth of arctan2's time."""
    long, short = max(abs(across), down), min(abs(across), down)
    ratio = short / long
    s = ratio * ratio
    # the odd powers that arctan is nearest to on 0 to 1
    series = np.float32(0.05265332) - np.float32(0.01172120) * s
    series = np.float32(-0.11643287) + series * s
    series = np.float32(0.19354346) + series * s
    series = np.float32(-0.33262347) + series * s
    angle = ratio * (np.float32(0.99997726) + series * s)
    if down > abs(across):
        angle = np.float32(np.pi / 2) - angle
    return angle if across >= 0 else np.float32(np.pi) - angle


@njit(cache=True, nogil=True, fastmath=True)
def _texture(grid: np.ndarray, vector: np.ndarray) -> None:
    """Gradient orientations in cells, contrast-normalised, into the vector's tail."""
    start = COLOURS + LAYOUT * LAYOUT * 3
    side = GRID // CELLS
    for y in range(1, GRID - 1):
        for x in range(1, GRID - 1):
            across = grid[y, x + 1] - grid[y, x - 1]
            down = grid[y + 1, x] - grid[y - 1, x]
            length = np.sqrt(across * across + down * down)
            if length > 0:
                # a direction and its opposite are one
                if down < 0 or (down == 0 and across < 0):
                    down, across = -down, -across
                angle = _angle(across, down) * np.float32(ANGLES / np.pi)
                lower = int(angle)
                part = angle - np.float32(lower)
                cell = start + (y // side * CELLS + x // side) * ANGLES
                vector[cell + lower % ANGLES] += length * (1 - part)
                vector[cell + (lower + 1) % ANGLES] += length * part
    total = 0.0
    for i in range(start, DIMENSION):
        total += vector[i]
    for i in range(start, DIMENSION):
        vector[i] = np.sqrt(vector[i] / total) if total > 0 else 0.0


@njit(cache=True, nogil=True, fastmath=True)
def _describe(
    pixels: np.ndarray, basis: np.ndarray, measures: np.ndarray, vector: np.ndarray
) -> np.uint64:
    height, width, _ = pixels.shape
    luma = np.empty((height, width), np.float32)
    red, green, blue = np.float32(0.299), np.float32(0.587), np.float32(0.114)
    for y in range(height):
        for x in range(width):
            luma[y, x] = (
                red * np.float32(pixels[y, x, 0])
                + green * np.float32(pixels[y, x, 1])
                + blue * np.float32(pixels[y, x, 2])
            )
    _tone(luma, measures)
    _colour(pixels, measures, vector)
    grid = _reduce(luma, GRID)
    _texture(grid, vector)
    # the 8x8 lowest waves without the constant ones; a bit is "above the median"
    waves = np.zeros((8, GRID), np.float32)
    for i in range(8):
        for y in range(GRID):
            for x in range(GRID):
                waves[i, x] += basis[i + 1, y] * grid[y, x]
    spectrum = np.zeros(64, np.float32)
    for i in range(8):
        for j in range(8):
            for x in range(GRID):
                spectrum[i * 8 + j] += waves[i, x] * basis[j + 1, x]
    middle = np.median(spectrum)
    bits = np.uint64(0)
    for i in range(64):
        if spectrum[i] > middle:
            bits |= np.uint64(1) << np.uint64(i)
    return bits


def describe(pixels: np.ndarray) -> Described:
    """Measures, perceptual hash and statistics of one uint8 picture (H W 3).

    >>> picture = np.zeros((40, 60, 3), np.uint8)
    >>> picture[:, 30:] = 255
    >>> described = describe(picture)
    >>> [round(float(x), 2) for x in described.measures[:2]]
    [0.5, 0.5]
    """
    measures = np.zeros(len(MEASURES), np.float32)
    vector = np.zeros(DIMENSION, np.float32)
    bits = _describe(pixels, _BASIS, measures, vector)
    return Described(measures, int(bits), vector)
