"""Tampered pictures made of whole ones: a part from elsewhere, a part moved, a part resampled."""

from __future__ import annotations

import io
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

Kind = Literal["splice", "copy-move", "resample"]
KINDS: tuple[Kind, ...] = ("splice", "copy-move", "resample")
FEATHER = 1.0  # pixels over which a pasted part fades in
SHARE = (0.02, 0.3)  # of the picture that is tampered with
SCALES = (0.8, 1.3)  # how much a part from elsewhere is enlarged


class Forged(NamedTuple):
    """A tampered picture, and where."""

    pixels: np.ndarray  # H W 3 uint8
    mask: np.ndarray  # H W bool
    kind: Kind


def forged(pixels: np.ndarray, donor: np.ndarray, kind: Kind, draw: np.random.Generator) -> Forged:
    """Tamper with a picture (H W 3 uint8); `donor` is what a splice takes its part from.

    >>> plain, other = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 200, np.uint8)
    >>> made = forged(plain, other, "splice", np.random.default_rng(0))
    >>> bool(made.pixels[made.mask].mean() > 100), bool(made.pixels[~made.mask].mean() < 10)
    (True, True)
    """
    height, width = pixels.shape[:2]
    mask = blob(height, width, draw)
    if kind == "splice":
        part = _covering(donor, height, width, draw)
    elif kind == "copy-move":
        part = np.roll(pixels, _away(mask, draw), axis=(0, 1))
    else:
        part = _resampled(pixels, float(draw.uniform(1.1, 1.5)))
    soft = gaussian_filter(mask.astype(np.float32), FEATHER)[..., None]
    mixed = soft * part + (1 - soft) * pixels
    return Forged(np.clip(np.rint(mixed), 0, 255).astype(np.uint8), mask, kind)


def saved_once(pixels: np.ndarray, quality: int) -> np.ndarray:
    """As a JPEG of that quality leaves it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def blob(height: int, width: int, draw: np.random.Generator) -> np.ndarray:
    """A round, uneven region somewhere in a picture.  H W bool"""
    share = draw.uniform(*SHARE)
    radius = np.sqrt(share * height * width / np.pi)
    y, x = np.ogrid[:height, :width]
    reach_y, reach_x = min(radius, height / 2), min(radius, width / 2)
    top = draw.uniform(reach_y, height - reach_y)
    left = draw.uniform(reach_x, width - reach_x)
    angle = np.arctan2(y - top, x - left)
    uneven = 1 + sum(
        draw.uniform(0, 0.25 / wave) * np.cos(wave * angle + draw.uniform(0, 2 * np.pi))
        for wave in (2, 3, 5)
    )
    region: np.ndarray = np.hypot((y - top) / reach_y, (x - left) / reach_x) < uneven
    return region


def _covering(donor: np.ndarray, height: int, width: int, draw: np.random.Generator) -> np.ndarray:
    """A part of the donor as large as the picture, enlarged or reduced, of its own JPEG history."""
    donor = saved_once(donor, int(draw.integers(60, 96)))
    scale = float(draw.uniform(*SCALES))
    scale = max(scale, height / donor.shape[0], width / donor.shape[1])
    size = (max(width, round(donor.shape[1] * scale)), max(height, round(donor.shape[0] * scale)))
    large = np.asarray(Image.fromarray(donor).resize(size, Image.Resampling.BICUBIC))
    top = int(draw.integers(large.shape[0] - height + 1))
    left = int(draw.integers(large.shape[1] - width + 1))
    return large[top : top + height, left : left + width]


def _away(mask: np.ndarray, draw: np.random.Generator) -> tuple[int, int]:
    """A shift by a quarter of each side at least, so that the part comes from elsewhere."""
    height, width = mask.shape
    return (
        int(draw.integers(height // 4, max(height // 4 + 1, 3 * height // 4))),
        int(draw.integers(width // 4, max(width // 4 + 1, 3 * width // 4))),
    )


def _resampled(pixels: np.ndarray, scale: float) -> np.ndarray:
    """The middle enlarged: what was there stays about there, its pixels are new ones."""
    height, width = pixels.shape[:2]
    size = (round(width * scale), round(height * scale))
    large = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]
