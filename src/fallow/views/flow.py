"""Dense flow between two pictures of one scene, by OpenCV's DIS, and how far off it may be."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from fallow.problems import MissingPackage

LEAST = 12  # pixels a side below which DIS finds nothing
FLOOR = 1 / 12  # the variance of a pixel itself: it is one wide


def has_flow() -> bool:
    """Whether the package is there that finds flow."""
    return importlib.util.find_spec("cv2") is not None


def dense_flow(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel of one picture (H W 3 uint8), how much further to read in another.

    The flow is 2 H W (x, then y); with it comes the logarithm of its variance, H W: how far off a
    pixel ends that is followed there and back, and more where the pictures look unlike.
    """
    if not has_flow():
        raise MissingPackage("opencv-python-headless", "flow")
    import cv2

    ours, theirs = (_evened(cv2, picture) for picture in (one, other))
    there, back = _flow(cv2, ours, theirs), _flow(cv2, theirs, ours)
    height, width = ours.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    at = (x + there[..., 0], y + there[..., 1])
    returned = there + cv2.remap(back, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.remap(theirs, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alike = likeness(cv2, ours, seen)
    variance = FLOOR + (returned**2).sum(-1) / 2
    doubt = np.log(variance) - 2 * np.log(np.clip(alike, 0.05, 1))
    return np.ascontiguousarray(there.transpose(2, 0, 1)), doubt.astype(np.float32)


def _evened(cv2: Any, picture: np.ndarray) -> np.ndarray:
    """Grey, its contrast evened out over tiles: night and day then differ less."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    return cv2.createCLAHE(clipLimit=4.0, tileGridSize=(4, 4)).apply(grey)


def _flow(cv2: Any, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    finder.setUseSpatialPropagation(True)
    return finder.calc(one, other, None)


def likeness(cv2: Any, one: np.ndarray, other: np.ndarray, side: int = 9) -> np.ndarray:
    """Correlation of the surroundings of every pixel of two grey pictures: -1 to 1."""

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (side, side))

    a, b = one.astype(np.float32), other.astype(np.float32)
    middle = mean(a), mean(b)
    spread = [mean(v * v) - m * m for v, m in zip((a, b), middle, strict=True)]
    both = mean(a * b) - middle[0] * middle[1]
    found = both / np.sqrt(np.maximum(spread[0] * spread[1], 1.0))
    return np.clip(found, -1, 1)
