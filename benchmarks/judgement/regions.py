"""How many classes of regions nobody named, where some of camvid's are taken out of the masks.

Streets are cut into regions once; then 2, 4 or 6 of eleven classes are hidden. gcdss is told
nothing. GCD's estimator searches on the same regions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.judgement.common import compared, nearest_to_zero
from benchmarks.judgement.discover import GCD, TRIES
from benchmarks.judgement.measures import off
from benchmarks.peer import Peer
from benchmarks.photos import archive
from benchmarks.record import Line
from fallow.inventory.counting import Count, count_classes
from fallow.methods.discover import gcd
from fallow.vectors.space import unit

ENCODER = "tiny"
PICTURES = 10  # with a mask, and as many without
HIDDEN = (2, 4, 6)
SEEDS = (0, 1)
NAMES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
         "pedestrian", "bicyclist")  # fmt: skip


def run(data: Path, peers: Peer, quick: bool) -> list[Line]:
    pairs, held, lines = [], [], []
    for seed in SEEDS[:1] if quick else SEEDS:
        vectors, classes, sources, masked = regions(data, 2 if quick else PICTURES, seed)
        for hidden in HIDDEN[:1] if quick else HIDDEN:
            codes, total = some_hidden(classes, masked, hidden, seed)
            count = count_classes(vectors, codes, sources=sources, seed=seed)
            searched = gcd.search(unit(vectors), codes, most=200, tries=TRIES, seed=seed)
            pairs.append((count, searched, total))
            held.append(count.low <= total <= count.high)
            work = f"camvid, draw {seed}, {hidden} of {len(NAMES)} classes hidden"
            lines.append(_beside(f"{work}: 1 / (1 + error of the number)", count, searched, total))
    errors = [float(np.median([off(one, total) for one, total in each])) for each in (
        [(count.classes, total) for count, _, total in pairs],
        [(searched, total) for _, searched, total in pairs],
    )]  # fmt: skip
    median = "all problems: 1 / (1 + median error of the number)"
    return [
        *lines,
        compared(median, "goal", "", *nearest_to_zero(errors[0], 0.25), 1),
        compared(median, GCD, "", *nearest_to_zero(*errors), 1),
        compared("all problems: share of ranges that hold the number", "goal", "",
                 float(np.mean(held)), 0.8, 1),
    ]  # fmt: skip


def _beside(work: str, count: Count, searched: int, total: int) -> Line:
    errors = off(count.classes, total), off(searched, total)
    return compared(work, GCD, "", *nearest_to_zero(*errors), 1)


def regions(
    data: Path, pictures: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of regions, the class each holds most pixels of, their picture, whether masked."""
    import fallow
    from fallow.regions import proposer
    from fallow.regions.cutting import Cutter

    everything = fallow.open(archive(data, "camvid"))
    cutter = Cutter.of(proposer("superpixels"), fallow.encoder(ENCODER))
    parts = []
    for place, split in enumerate(("train", "test")):
        cut = cutter.cut(everything.where(f"split = '{split}'").sample(pictures, seed))
        counts = cut.held(cut.images.mask, len(NAMES))
        there = counts.any(1)
        parts.append((
            cut.vectors[there], counts[there].argmax(1), cut.rows[there] + place * pictures,
            np.full(int(there.sum()), not place),
        ))  # fmt: skip
    vectors, classes, sources, masked = (np.concatenate(one) for one in zip(*parts, strict=True))
    return vectors, classes, sources, masked


def some_hidden(
    classes: np.ndarray, masked: np.ndarray, hidden: int, seed: int
) -> tuple[np.ndarray, int]:
    """Codes of the regions of masked pictures, -1 for hidden classes and elsewhere; all classes.

    >>> some_hidden(np.array([0, 1, 2, 0]), np.array([True, True, True, False]), 1, 0)[1]
    3
    """
    there = np.unique(classes)
    gone = np.random.default_rng([seed, hidden]).permutation(there)[:hidden]
    told = masked & ~np.isin(classes, gone)
    codes = np.full(len(classes), -1)
    codes[told] = np.unique(classes[told], return_inverse=True)[1]
    return codes, len(there)
