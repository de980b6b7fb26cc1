"""Random crops of volumes, with their masks: what a recipe is to pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fallow.problems import SettingProblem


@dataclass(frozen=True)
class Crop:
    """One crop of depth x height x width voxels; smaller volumes are padded with their mean."""

    size: tuple[int, int, int]
    flip: float = 0.5  # chance of a mirror, for each axis
    turns: float = 0.75  # chance of a turn by 90, 180 or 270 degrees in the plane of a slice

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise SettingProblem(f"a crop has at least one voxel along each axis, not {self.size}")
        if self.turns and self.size[1] != self.size[2]:
            raise SettingProblem("crops that are turned must be as high as wide: set turns to 0")


def cut(
    volume: np.ndarray, mask: np.ndarray | None, crop: Crop, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A crop of a normalised volume (D H W) and of its mask; 255 where there is no voxel or mask.

    >>> volume = np.arange(8.0).reshape(2, 2, 2)
    >>> one, mask = cut(volume, None, Crop((1, 2, 2)), np.random.default_rng(0))
    >>> one.shape, int(mask.min())
    ((1, 2, 2), 255)
    """
    made = np.zeros(crop.size, np.float32)
    coded = np.full(crop.size, 255, np.uint8)
    source, target = [], []
    for there, wanted in zip(volume.shape, crop.size, strict=True):
        spare = there - wanted
        start = int(draw.integers(spare + 1)) if spare > 0 else 0
        shift = int(draw.integers(-spare + 1)) if spare < 0 else 0
        length = min(there, wanted)
        source.append(slice(start, start + length))
        target.append(slice(shift, shift + length))
    made[tuple(target)] = volume[tuple(source)]
    if mask is not None:
        coded[tuple(target)] = mask[tuple(source)]
    mirrored = [axis for axis in range(3) if draw.random() < crop.flip]
    quarters = int(draw.integers(1, 4)) if draw.random() < crop.turns else 0
    pair: tuple[np.ndarray, np.ndarray] = (made, coded)
    both: list[np.ndarray] = [
        np.rot90(np.flip(one, tuple(mirrored)), quarters, (1, 2)) for one in pair
    ]
    return np.ascontiguousarray(both[0]), np.ascontiguousarray(both[1])
