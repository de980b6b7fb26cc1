"""Many images cut into regions: what each looks like, what a mask holds of it, maps of numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fallow.encoders import Encoder
from fallow.images import Images
from fallow.images.masks import resized
from fallow.problems import SourceProblem
from fallow.regions.keep import kept, stage, weights
from fallow.regions.look import Surroundings, boxes, look_at_regions
from fallow.regions.propose import Proposer


@dataclass(frozen=True)
class Cutter:
    """How images are cut and looked at, and where what that gives is kept."""

    proposer: Proposer
    encoder: Encoder
    side: int | None
    enlarge: float
    surroundings: Surroundings
    regions: Path
    features: Path

    @classmethod
    def of(
        cls,
        proposer: Proposer,
        encoder: Encoder,
        *,
        side: int | None = 480,
        enlarge: float = 0.0,
        surroundings: Surroundings = "mean",
    ) -> Cutter:
        cut = {"regions": dict(proposer.about), "side": side}
        look = {
            **cut,
            "encoder": encoder.name,
            "weights": weights(encoder),
            "preprocessing": asdict(encoder.preprocessing),
            "enlarge": enlarge,
            "surroundings": surroundings,
        }
        places = stage("regions", cut), stage("region-features", look)
        return cls(proposer, encoder, side, enlarge, surroundings, *places)

    def regions_of(self, images: Images, row: int) -> np.ndarray:
        """The map of an image's regions, made at most once.  H W int32"""

        def make() -> np.ndarray:
            return self.proposer(images.read(row, self.side)).astype(np.int32)

        return kept(self.regions, images.table.column("hash")[row].as_py(), make)

    def features_of(self, images: Images, row: int, regions: np.ndarray) -> np.ndarray:
        """Their vectors, made at most once.  n D"""

        def make() -> np.ndarray:
            return look_at_regions(
                self.encoder,
                images.read(row, self.side),
                regions,
                enlarge=self.enlarge,
                surroundings=self.surroundings,
            )

        return kept(self.features, images.table.column("hash")[row].as_py(), make)

    def cut(self, images: Images, tell: Callable[[str], None] = lambda line: None) -> Cut:
        """Cut all readable images and look at every region; those done before are only read."""
        parts: list[tuple[np.ndarray, ...]] = []
        clock = time.monotonic()
        for row in range(len(images)):
            try:
                regions = self.regions_of(images, row)
                vectors = self.features_of(images, row, regions)
            except SourceProblem:
                continue  # it is among the images' problems now
            areas = np.bincount(regions.ravel())
            numbers = np.arange(len(areas))
            parts.append((np.full_like(numbers, row), numbers, areas, np.array(boxes(regions)),
                          vectors))  # fmt: skip
            if time.monotonic() - clock > 10:
                clock = time.monotonic()
                tell(f"{row + 1} of {len(images)} images cut into regions")
        if not parts:
            none = np.zeros(0, np.int64)
            parts = [(none, none, none, np.zeros((0, 4), int), np.zeros((0, 1), np.float32))]
        return Cut(self, images, *(np.concatenate(part) for part in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Cut:
    """The regions of some images, one entry each, image after image."""

    cutter: Cutter
    images: Images
    rows: np.ndarray  # R, of `images`, ascending
    numbers: np.ndarray  # R, in their image
    areas: np.ndarray  # R, pixels of the map of regions
    boxes: np.ndarray  # R 4: top, left, bottom, right
    vectors: np.ndarray  # R D

    def of(self, row: int) -> slice:
        """The entries of one image."""
        return slice(*np.searchsorted(self.rows, [row, row + 1]))

    def map(self, row: int) -> np.ndarray:
        """The regions of one image by their numbers.  H W int32"""
        return self.cutter.regions_of(self.images, row)

    def painted(self, values: np.ndarray, row: int) -> np.ndarray:
        """A value for each region (R) as a map of one image, at the image's own size.  H W"""
        size = (self.images.table.column(name)[row].as_py() for name in ("height", "width"))
        height, width = size
        return resized(values[self.of(row)][self.map(row)], (height, width))

    def shown(self, entry: int) -> np.ndarray:
        """What a region's box holds of its image, at the image's own size."""
        row = int(self.rows[entry])
        pixels = self.images.read(row)
        last = self.boxes[self.of(row)].max(0)  # the map's height and width
        scale = np.tile(np.array(pixels.shape[:2]) / last[2:], 2)
        top, left, bottom, right = (self.boxes[entry] * scale).astype(int)
        return pixels[top : max(bottom, top + 1), left : max(right, left + 1)]

    def held(
        self, mask: Callable[[int], np.ndarray], classes: int, rows: Sequence[int] | None = None
    ) -> np.ndarray:
        """Pixels of every class (R classes) that masks (row -> codes) hold of every region.

        Codes that are no class count for nothing; images outside `rows` have no mask.
        """
        counts = np.zeros((len(self.rows), classes), np.int64)
        for row in np.unique(self.rows).tolist() if rows is None else rows:
            numbers = self.map(row)
            codes = resized(mask(row), numbers.shape)
            valid = codes < classes
            here = counts[self.of(row)]
            cell = numbers[valid].astype(np.int64) * classes + codes[valid]
            here += np.bincount(cell, minlength=here.size).reshape(here.shape)
        return counts
