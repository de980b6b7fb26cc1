"""The few things in a picture that stand out: boxes, vectors, and words for them if there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from fallow.problems import SettingProblem
from fallow.regions.keep import kept, stage, weights
from fallow.regions.look import boxes as boxes_of
from fallow.regions.propose import Proposer, Superpixels
from fallow.regions.superpixels import oklab

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.images import Images

REGIONS, TAGS = "regions", "tags"  # columns of Images
SMALLEST = 0.004  # share of the picture below which a region is no thing


@dataclass(frozen=True)
class Objects:
    """The things found in one picture, the most salient first."""

    boxes: np.ndarray  # M 4: top, left, bottom, right as shares of the sides
    vectors: np.ndarray  # M D
    tags: tuple[str, ...] = ()  # a word or two for each, or none at all


class RegionProvider(Protocol):
    """What finds things in a picture (H W 3 uint8)."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Whatever changes what is found: what is kept is kept under it."""

    def __call__(self, pixels: np.ndarray) -> Objects: ...


@dataclass(frozen=True)
class Salient:
    """Things without a detector: regions whose colour stands out, seen by a frozen encoder.

    `name_them`, if given, says words for vectors: a dual encoder's, over some vocabulary.
    """

    encoder: Encoder
    count: int = 10
    proposer: Proposer = field(default_factory=Superpixels)
    name_them: Callable[[np.ndarray], Sequence[str]] | None = None
    naming: str = ""  # what `name_them` depends on, such as its words

    @property
    def about(self) -> Mapping[str, Any]:
        return {
            "provider": "salient",
            "encoder": weights(self.encoder),
            "count": self.count,
            "proposer": dict(self.proposer.about),
            "naming": self.naming,
        }

    def __call__(self, pixels: np.ndarray) -> Objects:
        regions = self.proposer(pixels)
        height, width = regions.shape
        salience = stands_out(pixels, regions)
        order = np.argsort(-salience, kind="stable")[: self.count]
        chosen = [int(one) for one in order if salience[one] > 0]
        if not chosen:
            return Objects(np.zeros((0, 4)), np.zeros((0, self.encoder.dimension)))
        every = boxes_of(regions)
        found = [every[one] for one in chosen]
        seen = self.encoder.embed([pixels[t:b, left:r] for t, left, b, r in found])
        seen = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-12)
        shares = np.array(found, float) / [height, width, height, width]
        tags = () if self.name_them is None else tuple(self.name_them(seen))
        return Objects(shares, seen, tags)


def stands_out(pixels: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """How much each region differs from the rest of the picture, weighed by the root of its size.

    A region that is nearly nothing or nearly everything is no thing, and has 0.

    >>> pixels = np.zeros((10, 10, 3), np.uint8)
    >>> pixels[2:5, 2:5] = 255
    >>> found = stands_out(pixels, (pixels[..., 0] > 0).astype(int))
    >>> bool(found[1] > found[0])
    True
    """
    colours = oklab(pixels).reshape(-1, 3)
    names = regions.reshape(-1)
    sizes = np.bincount(names)
    sums = np.stack([np.bincount(names, colours[:, axis]) for axis in range(3)], 1)
    rest = (colours.sum(0) - sums) / np.maximum(len(names) - sizes, 1)[:, None]
    share = sizes / len(names)
    apart = np.linalg.norm(sums / sizes[:, None] - rest, axis=1)
    return np.where((share < SMALLEST) | (share > 0.5), 0.0, apart * np.sqrt(share))


def with_objects(images: Images, provider: RegionProvider, side: int = 256) -> Images:
    """The same pictures with columns `regions` (vectors and boxes) and, if named, `tags`.

    What is found is kept in the cache, under the pictures and all that changes it.
    """
    folder = stage("objects", {**provider.about, "images": images.fingerprint, "side": side})

    @cache
    def found() -> list[Objects | None]:
        return [
            provider(pixels) if isinstance(pixels, np.ndarray) else None
            for _, pixels in images.map(np.asarray, side=side)
        ]

    table = kept(folder, REGIONS, lambda: _padded(found()))
    tags = kept(folder, TAGS, lambda: _encoded(found()))
    return with_region_columns(images, table, json.loads(tags.tobytes()))


def _padded(found: Sequence[Objects | None]) -> np.ndarray:
    """Vectors and boxes of all pictures (N, M, F), rows of NaN where there is no more."""
    some = [one for one in found if one is not None and len(one.boxes)]
    most = max((len(one.boxes) for one in some), default=0)
    width = some[0].vectors.shape[1] + 4 if some else 4
    table = np.full((len(found), most, width), np.nan, np.float32)
    for row, one in enumerate(found):
        if one is not None and len(one.boxes):
            table[row, : len(one.boxes)] = np.concatenate([one.vectors, one.boxes], 1)
    return table


def _encoded(found: Sequence[Objects | None]) -> np.ndarray:
    texts = ["" if one is None else ", ".join(dict.fromkeys(one.tags)) for one in found]
    return np.frombuffer(json.dumps(texts).encode(), np.uint8)


def with_region_columns(images: Images, table: np.ndarray, tags: Sequence[str]) -> Images:
    """Pictures with given regions (N, M, F; rows of NaN where there is none) and texts of tags."""
    cells = [[row.tolist() for row in some if not np.isnan(row).any()] or None for some in table]
    kind = pa.list_(pa.list_(pa.float32()))
    columns = {"path": images.table.column("path"), REGIONS: pa.array(cells, kind)}
    if any(tags):
        columns[TAGS] = pa.array([one or None for one in tags], pa.string())
    return images.join(pa.table(columns))


def region_table(images: Images, rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Regions (n, M, F float32; zeros where there is none) of rows, and which are real (n, M)."""
    cells = images.table.column(REGIONS).take(pa.array(rows)).to_pylist()
    widths = {len(one) for some in cells for one in some or ()}
    if len(widths) != 1:
        raise SettingProblem(
            f"the regions of {images.name} must all be lists of as many numbers"
            + (f", not of {sorted(widths)[:3]}" if widths else ", and there are none")
        )
    table = np.zeros((len(cells), most, widths.pop()), np.float32)
    known = np.zeros((len(cells), most), bool)
    for row, some in enumerate(cells):
        few = np.array((some or [])[:most], np.float32)
        if len(few):
            if not np.isfinite(few).all():
                raise SettingProblem(f"a region of {images.name} holds values that are no numbers")
            table[row, : len(few)], known[row, : len(few)] = few, True
    return table, known
