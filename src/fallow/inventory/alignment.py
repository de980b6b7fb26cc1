"""Two pictures laid over each other, from a rough map to what they share and what has changed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fallow.inventory.agreement import agreement, passes
from fallow.inventory.differences import differences
from fallow.inventory.keypoints import halved, resized, smooth
from fallow.inventory.registration import normalised, refined, warped

BLOCK = 12  # pixels of a compared block
ROUNDS = 10  # of the dense refinement
COARSELY = 6  # at half the size
SHOWN = 0.96  # share of one picture that the other must show to be a copy
ROUGHLY, RIM = 0.12, 0.03  # by how much less it may seem to show before the map is refined, after
HELD = 8  # blocks that must hold something before a pair can be judged
WINDOW = 6  # pixels around each that local contrast is taken from


class Compared(NamedTuple):
    """How two pictures agree once one is laid over the other."""

    back: np.ndarray  # 3 3: from places in the second picture to places in the first, mirrored
    agreement: float  # correlation of blocks, the worst third left out
    displacement: float  # pixels that blocks still lie beside one another
    held: float  # about the number of blocks that hold anything to compare
    covered: float  # share of the smaller picture that the other shows, at most 1
    noise: float  # usual difference where nothing has changed
    changed: float  # mass of what is in only one of them
    written: float  # 0 to 1: how much that looks written over, not moved


def compared(
    first: np.ndarray,
    second: np.ndarray,
    affine: np.ndarray,
    least: tuple[float, float] = (0.0, 0.0),
) -> Compared | None:
    """Lay one small picture (float32) over another, starting from an affine map between them.

    The coarser picture is the frame. None if the map makes no sense, if they share too little, or
    if at half the size they agree less than `least` under the map as given, or once it is refined:
    refining is what takes the time.
    """
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    if not 0.3 < scale < 3.3:
        return None
    forth = np.vstack([affine, [0.0, 0.0, 1.0]])
    inwards = scale <= 1  # the second is the coarser one
    target, source = (second, first) if inwards else (first, second)
    back = np.linalg.inv(forth) if inwards else forth
    shrunk = np.eye(3)
    ratio = min(scale, 1 / scale)
    if ratio < 0.87:
        height, width = (max(8, round(side * ratio)) for side in source.shape)
        y, x = height / source.shape[0], width / source.shape[1]
        shrunk = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1.0]])
        source = resized(source, height, width)
    back = shrunk @ back
    promising = _promising(target, source, back, least)
    if promising is None:
        return None
    target, source = smooth(target), smooth(source)
    laid = _laid(target, source, promising, ROUNDS)
    covered = _covered(laid.target, source, laid.back)
    if covered < SHOWN - RIM or laid.held < HELD:
        return None
    # blur is no change: the finer picture is brought down to the other, if they agree better then
    first_times, second_times = passes(target, laid.other, laid.seen, BLOCK)
    if first_times or second_times:
        softer = _laid(
            _smoothed(target, first_times), _smoothed(source, second_times), laid.back, 4
        )
        if softer.agreement > laid.agreement:
            laid = softer
    if laid.held < HELD:
        return None
    noise, changed, one_sided, whole, filled = differences(laid.target, laid.other, laid.seen)
    back = laid.back
    # one colour that only covers, or one piece that fills its box, was written or pasted over
    colour = max(one_sided - 0.8, 0.0) / 0.2
    panel = max(whole - 0.85, 0.0) / 0.15 * min(filled / 0.6, 1.0)
    covered = _covered(laid.target, source, back)
    if covered < SHOWN:
        return None
    back = np.linalg.inv(shrunk) @ back
    back = back if inwards else np.linalg.inv(back)
    return Compared(
        back / back[2, 2],
        laid.agreement,
        laid.displacement,
        laid.held,
        float(min(covered, 1.0)),
        noise,
        changed,
        max(colour, panel),
    )


@njit(cache=True, nogil=True)
def _smoothed(plane: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        plane = smooth(plane)
    return plane


def _promising(
    target: np.ndarray, source: np.ndarray, back: np.ndarray, least: tuple[float, float]
) -> np.ndarray | None:
    """The map refined at half the size, if there is some agreement and most of one is shown."""
    if _covered(target, source, back / back[2, 2]) < SHOWN - ROUGHLY:
        return None
    half = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1.0]])
    double = np.linalg.inv(half)
    target_half, source_half = smooth(halved(target)), smooth(halved(source))
    start = half @ back @ double
    if _laid(target_half, source_half, start, 0).agreement < least[0]:
        return None
    laid = _laid(target_half, source_half, start, COARSELY)
    back = double @ laid.back @ half
    if laid.agreement < least[1] or _covered(target, source, back / back[2, 2]) < SHOWN - RIM:
        return None
    return back


def _covered(target: np.ndarray, source: np.ndarray, back: np.ndarray) -> float:
    """The share of one picture that the other shows, of whichever is shown more."""
    there = np.linalg.inv(back)
    return max(
        shown(target, back, *source.shape), shown(source, there / there[2, 2], *target.shape)
    )


@njit(cache=True, nogil=True)
def shown(plane: np.ndarray, back: np.ndarray, height: int, width: int) -> float:
    """Share of a picture that lies inside another of this size; fill of one tone does not count.

    `back` leads from places in the picture to places in the other.
    """
    inside, tones = 0, np.zeros(256, np.int64)
    for y in range(0, plane.shape[0], 2):
        for x in range(0, plane.shape[1], 2):
            deep = back[2, 0] * x + back[2, 1] * y + back[2, 2]
            u = (back[0, 0] * x + back[0, 1] * y + back[0, 2]) / deep
            v = (back[1, 0] * x + back[1, 1] * y + back[1, 2]) / deep
            if deep > 0 and -1.5 < u < width + 0.5 and -1.5 < v < height + 0.5:
                inside += 1
            else:
                tones[min(max(int(plane[y, x] + 0.5), 0), 255)] += 1
    outside = tones.sum()
    most = 0
    for tone in range(2, 254):
        most = max(most, tones[tone - 2 : tone + 3].sum())
    return inside / max(inside + outside - most, 1)


class _Laid(NamedTuple):
    target: np.ndarray
    other: np.ndarray  # the source as it looks in the target's place
    seen: np.ndarray
    back: np.ndarray
    agreement: float
    displacement: float
    held: float


def _laid(target: np.ndarray, source: np.ndarray, back: np.ndarray, rounds: int) -> _Laid:
    back = back / back[2, 2]
    if rounds:
        even, spread = normalised(target, WINDOW)
        back = refined(normalised(source, WINDOW)[0], even, spread, back, rounds)
        back = back / back[2, 2]
    other, seen = warped(source, (target.shape[0], target.shape[1]), back)
    seen = _within(seen, 2)  # at the rim, smoothing has mixed in what surrounds a picture
    return _Laid(target, other, seen, back, *agreement(target, other, seen, BLOCK))


@njit(cache=True, nogil=True)
def _within(seen: np.ndarray, rim: int) -> np.ndarray:
    """Where everything up to so many pixels around is seen as well."""
    height, width = seen.shape
    result = np.zeros_like(seen)
    for y in range(rim, height - rim):
        for x in range(rim, width - rim):
            result[y, x] = (
                seen[y, x]
                and seen[y - rim, x - rim]
                and seen[y - rim, x + rim]
                and seen[y + rim, x - rim]
                and seen[y + rim, x + rim]
            )
    return result
