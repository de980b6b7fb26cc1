"""Regions sorted into known and new classes: by masks, by neighbours, by training, and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fallow.device import best_device
from fallow.encoders import Encoder, chosen_encoder
from fallow.encoders import encoder as named_encoder
from fallow.encoders.segmenter import Segmenter
from fallow.images import Images
from fallow.images.classes import IGNORE, Classes
from fallow.images.masks import Masked, read_masks, with_masks
from fallow.inventory.nearest import most_similar
from fallow.measure.novel import ious_of, match_maps, match_novel, read_truth
from fallow.methods import settle
from fallow.methods.discover.gcdss import Discovery, Settings, by_means, by_neighbours
from fallow.methods.shared.segment import enlarged, look
from fallow.methods.shared.selftraining import SelfTraining
from fallow.problems import SettingProblem, SourceProblem, did_you_mean
from fallow.regions import proposer
from fallow.regions.cutting import Cut, Cutter
from fallow.regions.keep import digest, kept, stage, weights
from fallow.train import fit, make_settings

METHODS = ("gcdss", "kmeans")  # the latter is the plain baseline
SEGMENTER = "unet/16"

Maps = Callable[[int], np.ndarray]  # row -> numbers H W, at the image's own size


class PixelSorter(NamedTuple):
    """A way to sort regions, and what it was told."""

    slug: str
    settings: Settings


def pixel_sorter(
    slug: str, settings: Mapping[str, Any] | None = None, preset: str | None = None
) -> PixelSorter:
    """A way to sort regions as asked for.

    >>> pixel_sorter("gcdss", preset="paper").settings.threshold
    0.1
    """
    if slug not in METHODS:
        raise SettingProblem(f"pixels cannot be sorted by {slug!r}: {did_you_mean(slug, METHODS)}")
    given = settle("discover", "gcdss", settings, preset)
    return PixelSorter(slug, make_settings(Settings, given))


def masked_in_part(
    images: Images, masks: Any = None, names: Any = None, ignore: Sequence[Any] | None = None
) -> Masked:
    """Images with and without a mask; there must be both."""
    masked = read_masks(images, masks, names, [IGNORE, *(ignore or ())])
    if not len(masked.bare):
        raise SourceProblem(
            f"all {len(images):,} images of {images.name} have masks: there is nothing left "
            "to discover"
        )
    return masked


class KnownClasses(NamedTuple):
    """Classes the masks hold pixels of; their places are their numbers from here on."""

    names: tuple[str, ...]
    values: tuple[int, ...]  # in the user's own masks
    codes: tuple[int, ...]  # as the masks were read


class KnownRegions(NamedTuple):
    """Regions whose class is known."""

    classes: KnownClasses
    vectors: np.ndarray  # L D
    codes: np.ndarray  # L, numbers of their classes
    weights: np.ndarray  # L, pixels of that class
    images: np.ndarray  # L, row of the image each is of


def known_regions(regions: Cut, classes: Classes) -> KnownRegions:
    """Regions of images with masks, each of the class it holds most pixels of."""
    counts = regions.held(regions.images.mask, len(classes))
    there = np.flatnonzero(counts.any(0))
    if not len(there):
        raise SourceProblem("the masks hold no pixel of a class: check their values and ignore=")
    known = KnownClasses(
        tuple(classes.names[k] for k in there),
        tuple(int(classes.values[k]) for k in there),
        tuple(there.tolist()),
    )
    counts = counts[:, there]
    judged = counts.any(1)
    counts = counts[judged]
    return KnownRegions(
        known, regions.vectors[judged], counts.argmax(1), counts.max(1), regions.rows[judged]
    )


def sort_regions(
    known: KnownRegions,
    regions: Cut,
    settings: Settings,
    method: str,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Discovery:
    """Find the neighbours of all regions, once, and sort the regions by the method."""
    count = settings.neighbours
    total = len(known.codes) + len(regions.rows)
    if count > total - 1:
        raise SettingProblem(
            f"the images have {total} regions, too few for "
            f"{count} neighbours each: set neighbours lower or add images"
        )
    tell(f"{len(regions.rows):,} regions look for their neighbours")
    near = kept(
        stage("region-neighbours", {"neighbours": count}),
        digest(known.vectors, regions.vectors),
        lambda: most_similar(regions.vectors, count, known.vectors).rows,
    )
    areas, classes = regions.areas.astype(float), len(known.classes.names)
    sources = np.r_[known.images, regions.rows + known.images.max() + 1]
    if method == "kmeans":
        return by_means(
            known.vectors, known.codes, known.weights, regions.vectors, areas, settings,
            known=classes, neighbours=near, sources=sources, seed=seed,
        )  # fmt: skip
    return by_neighbours(
        known.vectors, known.codes, regions.vectors, areas, settings,
        known=classes, neighbours=near, images=known.images, sources=sources, seed=seed,
    )  # fmt: skip


class Learnt(NamedTuple):
    """A segmenter that was trained on what was found."""

    maps: Maps
    network: Segmenter
    about: dict[str, Any]


class SortedPixels(NamedTuple):
    """Where the regions of the images without a mask belong, and by what that was seen."""

    masked: Cut
    regions: Cut
    found: Discovery
    known: KnownClasses
    learnt: Learnt | None
    notes: list[str]


def sort_pixels(
    how: PixelSorter,
    masked: Masked,
    *,
    regions: Any = None,
    encoder: Any = None,
    minutes: float = 0.0,
    segmenter: Any = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> SortedPixels:
    """Cut, look, sort; with minutes, a segmenter then learns the masks and what was found."""
    asked = how.settings
    chosen, note = chosen_encoder(encoder)
    chosen.to(best_device())
    cutter = Cutter.of(
        proposer(regions),
        chosen,
        side=asked.side,
        enlarge=asked.enlarge,
        surroundings=asked.surroundings,
    )
    tell(f"regions: {cutter.proposer.name}; encoder: {chosen.name}")
    ours, theirs = cutter.cut(masked.labelled, tell), cutter.cut(masked.bare, tell)
    if not len(theirs.rows):
        raise SourceProblem(
            f"none of the images of {theirs.images.name} without a mask can be decoded"
        )
    known = known_regions(ours, masked.classes)
    found = sort_regions(known, theirs, asked, how.slug, seed, tell)
    learnt = None
    if minutes > 0:
        tell(f"a segmenter learns the masks and the maps found for {minutes:g} minutes")
        learnt = self_trained(
            masked.labelled, theirs, found, known.classes,
            trust=asked.trust, network=segmenter, minutes=minutes, seed=seed, tell=tell,
        )  # fmt: skip
    notes = [*masked.notes, *([note] if note else [])]
    return SortedPixels(ours, theirs, found, known.classes, learnt, notes)


def self_trained(
    labelled: Images,
    regions: Cut,
    found: Discovery,
    known: KnownClasses,
    *,
    trust: float,
    network: Any,
    minutes: float,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Learnt:
    """A segmenter trained on the masks and on the maps found, from a network or its name.

    Regions whose neighbours agree less than `trust` teach nothing. A run that was stopped goes on,
    and one that was done is not done again.
    """
    count = found.first + found.groups
    if count > 254:
        raise SettingProblem(f"a segmenter cannot learn {count} classes: set novel lower")
    name = network or SEGMENTER
    start: Encoder = named_encoder(name, seed=seed) if isinstance(name, str) else name
    rename = np.full(256, IGNORE, np.uint8)
    rename[list(known.codes)] = np.arange(len(known.codes))
    masks = {row: rename[labelled.mask(row)] for row in range(len(labelled))}
    trusted = np.where(found.agreement < trust, IGNORE, found.labels)
    rows = np.unique(regions.rows)
    maps = {
        k: regions.painted(trusted, row).astype(np.uint8) for k, row in enumerate(rows.tolist())
    }
    settings = make_settings(SelfTraining.Settings, {"classes": count, "minutes": minutes})
    about = {
        "encoder": start.name,
        "weights": weights(start),
        "settings": settings.model_dump(),
        "masks": digest(*masks.values()),
        "maps": digest(*maps.values()),
        "seed": seed,
    }
    place = stage("segmenters", about)
    run = fit(
        SelfTraining,
        {
            "unlabelled": with_masks(regions.images.select(rows), maps),
            "labelled": with_masks(labelled, masks),
        },
        encoder=start,
        settings=settings,
        out=place / "run",
        seed=seed,
        tell=tell,
    )
    method = run.method
    assert isinstance(method, SelfTraining)

    def seen(row: int) -> np.ndarray:
        def make() -> np.ndarray:
            pixels = regions.images.read(row)
            return enlarged(look(method, pixels)[0], pixels.shape[:2])

        key = regions.images.table.column("hash")[row].as_py()
        return kept(place, key, make).astype(np.int64)

    told = {"encoder": start.name, "steps": run.steps, "minutes": minutes, "seed": seed}
    return Learnt(seen, method.student, told)


def measured(
    done: SortedPixels,
    truth: Any,
    classes: Any = None,
    ignore: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """IoU of the maps, groups matched to new classes only; and of the best maps regions allow.

    `truth` are masks of all classes; where a segmenter was trained, its maps are measured too.
    """
    regions, found, known = done.regions, done.found, done.known
    rows = np.unique(regions.rows).tolist()
    told = dict(zip(known.values, known.names, strict=True))
    true = read_truth(regions.images, rows, truth, told, classes, [IGNORE, *(ignore or ())])
    names, clusters = true.names, max(found.groups, 1)
    counts = regions.held(true.masks.__getitem__, len(names), list(true.masks))
    seen, best = counts.any(1), counts.argmax(1)
    matched = match_novel(
        best[seen], found.labels[seen], counts.sum(1)[seen],
        known=found.first, classes=len(names), clusters=clusters,
    )  # fmt: skip
    held = np.zeros((found.first + found.groups, len(names)), np.int64)  # pixels
    np.add.at(held, found.labels, counts)
    kinds: Mapping[str, Maps] = {
        "regions": lambda row: matched[regions.painted(found.labels, row)],
        "best the regions allow": lambda row: regions.painted(best, row),
    }
    if done.learnt is not None:
        maps = done.learnt.maps
        own = match_maps(maps, true, known=found.first, clusters=clusters)
        kinds = {"segmenter": lambda row: own[maps(row)], **kinds}
    return {
        "classes": names,
        "new classes": names[found.first :],
        "matched": {int(k): int(v) for k, v in enumerate(matched) if k >= found.first},
        "images": len(true.masks),
        "confusion": held.tolist(),
        "maps": {kind: ious_of(made, true, found.first) for kind, made in kinds.items()},
    }
