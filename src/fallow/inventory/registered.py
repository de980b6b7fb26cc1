"""A picture's reference laid over it: registered, warped into its place, and how well it lies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fallow.inventory.agreement import agreement
from fallow.inventory.alignment import BLOCK, ROUNDS, WINDOW
from fallow.inventory.keypoints import keypoints, luma, small, smooth
from fallow.inventory.matching import aligned
from fallow.inventory.registration import normalised, refined, warped

POINTS = 8  # matched points that must agree before they say where the reference lies
AGREED = 0.4  # correlation from which the reference counts as laid


class Laid(NamedTuple):
    """A reference in the place of the picture."""

    pixels: np.ndarray  # H W 3 uint8; where the reference shows nothing, the picture itself
    seen: np.ndarray  # H W bool, where the reference shows something
    agreement: float  # correlation of small blocks

    @property
    def lies(self) -> bool:
        return self.agreement >= AGREED


def laid_over(picture: np.ndarray, reference: np.ndarray) -> Laid:
    """The reference seen as the picture was taken, under a homography.

    It begins at what matched points agree on and at the shift of the best phase correlation, and
    goes on from the one under which the two agree better.

    >>> random = np.random.default_rng(0)
    >>> whole = np.kron(random.integers(40, 220, (20, 20)), np.ones((8, 8))).astype(np.uint8)
    >>> whole = np.repeat(whole[..., None], 3, 2)
    >>> laid = laid_over(whole[8:136, 4:132], whole[:128, :128])
    >>> laid.lies, abs(laid.pixels[20:90, 20:90].astype(int) - whole[28:98, 24:94]).mean() < 12
    (True, np.True_)
    """
    target, source = small(luma(picture)), small(luma(reference))
    number, affine = aligned(keypoints(target), keypoints(source), target.shape[1], False)
    starts = [np.vstack([shift(target, source), [0.0, 0.0, 1.0]])]
    if number >= POINTS:
        starts.append(np.vstack([affine, [0.0, 0.0, 1.0]]))
    target, source = smooth(target), smooth(source)
    even, spread = normalised(target, WINDOW)
    other = normalised(source, WINDOW)[0]
    tried = [*starts, *(refined(other, even, spread, start, ROUNDS) for start in starts)]
    best, agreed = tried[0], -1.0
    for back in (each / each[2, 2] for each in tried):
        if np.isfinite(back).all():
            agrees = agreement(target, *warped(source, target.shape, back), BLOCK)[0]
            if agrees > agreed:
                best, agreed = back, float(agrees)
    back = _enlarged(source.shape, reference.shape, inverse=True) @ best
    back = back @ _enlarged(target.shape, picture.shape, inverse=False)
    pixels = picture.copy()
    for channel in range(3):
        plane = np.ascontiguousarray(reference[..., channel], np.float32)
        found, seen = warped(plane, picture.shape[:2], back / back[2, 2])
        pixels[..., channel][seen] = np.rint(found[seen]).clip(0, 255)
    return Laid(pixels, seen, agreed)


def shift(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """From places in one small picture to the other's by phase correlation: a shift, 2 3.

    >>> one = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    >>> shift(one, np.roll(one, (3, -5), (0, 1)))[:, 2].tolist()
    [-5.0, 3.0]
    """
    height, width = (max(a, b) for a, b in zip(target.shape, source.shape, strict=True))
    first, second = (
        np.fft.rfft2((each - each.mean()) * _fading(*each.shape), (height, width))
        for each in (target, source)
    )
    cross = second * first.conj()
    peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), (height, width))
    y, x = np.unravel_index(int(peak.argmax()), peak.shape)
    down = float(y) - (height if y > height // 2 else 0)
    across = float(x) - (width if x > width // 2 else 0)
    return np.array([[1.0, 0.0, across], [0.0, 1.0, down]])


def _fading(height: int, width: int) -> np.ndarray:
    """1 in the middle, 0 at the rim, which is no edge of what is shown."""
    return np.hanning(height)[:, None] * np.hanning(width)  # type: ignore[no-any-return]


def _enlarged(tiny: tuple[int, ...], full: tuple[int, ...], *, inverse: bool) -> np.ndarray:
    """From places in the full picture to those in its small copy, or back."""
    y, x = tiny[0] / full[0], tiny[1] / full[1]
    there = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1.0]])
    return np.linalg.inv(there) if inverse else there
