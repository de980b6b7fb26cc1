"""`discover` for pixels: masks of some classes on some images; every pixel of the others sorted."""

from __future__ import annotations

import datetime
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.device import best_device
from fallow.encoders import chosen_encoder
from fallow.images import opened
from fallow.outcomes.result import Result, writable
from fallow.problems import SettingProblem, SourceProblem, did_you_mean

if TYPE_CHECKING:
    from fallow.encoders import Encoder
    from fallow.encoders.segmenter import Segmenter
    from fallow.images import Images
    from fallow.images.masks import Classes
    from fallow.methods.discover.gcdss import Discovery, Settings
    from fallow.regions import Proposer

IGNORE = 255
SEGMENTER = "unet/16"
METHODS = ("gcdss", "kmeans")
SHOWN = 8  # regions that stand for a group
UNSURE = 0.5  # of the neighbours' votes: below it a region could go either way


class PixelDiscovery(Result):
    """What `discover_pixels` returns: a row for every region, and a map for every image.

    `.classes` lists the numbers in the maps: known classes first, then the groups found.
    """

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        *,
        images: Images,
        maps: Callable[[int], np.ndarray],
        pseudo: Callable[[int], np.ndarray],
        network: Segmenter | None = None,
    ) -> None:
        super().__init__(table, headlines=findings["headlines"], findings=findings, page=_page)
        self.images = images  # those without a mask
        self.map = maps  # row of `images` -> numbers H W, at the image's own size
        self.pseudo = pseudo  # the same straight from the regions
        self.network = network  # trained on what was found, if it was

    @property
    def classes(self) -> list[dict[str, Any]]:
        return list(self.findings["classes"])

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write regions.csv, label maps, classes.json, run.json and the report."""
        from fallow.encoders.segmenter import save_segmenter
        from fallow.files import atomic_write

        place = writable(folder)
        super().save(place)
        _write_regions(place / "regions.csv", self.table)
        if self.network is not None:
            save_segmenter(self.network, place / "segmenter", {"classes": self.classes})
        about = {k: v for k, v in self.findings.items() if k not in _UNWRITTEN}
        values = np.array([one["value"] for one in self.classes])
        kinds = {"labels": self.map}
        if self.findings["segmenter"]:
            kinds["pseudo"] = self.pseudo
        for kind, made in kinds.items():
            for row in self.findings["rows"]:
                path = (
                    place / kind / f"{_mask_name(self.images.table.column('id')[row].as_py())}.png"
                )
                _write_map(path, values[made(row)])
        for name, content in (
            ("classes.json", self.classes),
            ("run.json", {"verb": "discover", "kind": "pixels", **about}),
        ):
            with atomic_write(place / name) as target:
                target.write(json.dumps(content, indent=1, default=str).encode())
        return place


_UNWRITTEN = ("pictures", "examples", "rows")


def discover_pixels(
    source: Any,
    masks: Any = None,
    *,
    labels: Any = None,
    classes: Any = None,
    ignore: Sequence[int] = (),
    truth: Any = None,
    regions: Any = None,
    encoder: Any = None,
    method: str = "gcdss",
    minutes: float = 0.0,
    segmenter: Any = None,
    out: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> PixelDiscovery:
    """Give every pixel of the images without a mask a known class or a newly found group.

    `masks` are a folder of masks of some images (by default those of the column `mask`), `classes`
    their names, `ignore` values in them that are no class. Images are cut into `regions`
    ("superpixels", "sam:NAME" or a callable), each region is looked at by the `encoder` and sorted
    by its neighbours (`method` "kmeans" is the plain baseline). With `minutes`, a segmenter is
    then trained on the masks and the maps found (on the network `segmenter`, by default a U-Net),
    and its maps are the result. `truth`, masks of
    all classes, only serves to measure. Regions, features and neighbours are kept in the cache:
    a run that was stopped goes on where it was. Everything is written into `out`, if given.
    """
    from fallow.images.masks import read_masks
    from fallow.regions import proposer

    if method not in METHODS:
        raise SettingProblem(
            f"pixels cannot be sorted by {method!r}: {did_you_mean(method, METHODS)}"
        )
    chosen_settings = _settings(settings or {}, preset)
    images = opened(source, labels)
    masked = read_masks(images, masks, classes, [IGNORE, *ignore])
    labelled, unlabelled = masked.labelled, masked.bare
    if not len(unlabelled):
        raise SourceProblem(
            f"all {len(labelled):,} images of {images.name} have masks: there is nothing left "
            "to discover"
        )
    clock = time.perf_counter()
    chosen, note = chosen_encoder(encoder)
    chosen.to(best_device())
    work = Work.of(proposer(regions), chosen, chosen_settings)
    tell(f"regions: {work.proposer.name}; encoder: {chosen.name}")
    ours = cut(work, labelled, tell)
    theirs = cut(work, unlabelled, tell)
    if not len(theirs.rows):
        raise SourceProblem(f"none of the images of {images.name} without a mask can be decoded")
    known, codes, weights = known_regions(work, ours, labelled, masked.classes)
    kept = codes >= 0
    given = Labels(
        ours.vectors[kept], codes[kept], weights[kept], len(known.names), ours.rows[kept]
    )
    found = sort_regions(given, theirs, chosen_settings, method, seed, tell)
    sorted_maps = partial(painted, work, theirs, found.labels)
    numbers = list_classes(known, theirs, found)
    maps: Callable[[int], np.ndarray] = sorted_maps
    learnt: dict[str, Any] | None = None
    trained: Segmenter | None = None
    if minutes > 0:
        tell(f"a segmenter learns the masks and the maps found for {minutes:g} minutes")
        network = chosen_segmenter(segmenter, seed)
        maps, learnt, trained = self_trained(
            labelled, theirs, found, known, work, network, minutes, seed, tell
        )
    measured: dict[str, Any] = {}
    if truth is not None:
        measured = measure(
            work, theirs, found, known, maps if learnt else None, truth, classes, ignore
        )
    seconds = time.perf_counter() - clock
    table = _table(theirs, found, numbers)
    findings: dict[str, Any] = {
        "headlines": [],
        "classes": numbers,
        "measured": measured,
        "source": images.name,
        "fingerprint": images.fingerprint,
        "created": datetime.datetime.now().isoformat(" ", "minutes"),
        "encoder": chosen.name,
        "regions": dict(work.proposer.about),
        "method": method,
        "threshold": found.threshold,
        "settings": chosen_settings.model_dump(),
        "segmenter": learnt,
        "counts": {
            "images with masks": len(labelled),
            "images sorted": len(np.unique(theirs.rows)),
            "regions": len(theirs.rows),
            "known classes": found.first,
            "new groups": found.groups,
        },
        "unsure": int((found.agreement < UNSURE).sum()),
        "problems": [{"path": p.path, "reason": p.reason} for p in images.problems],
        "rows": np.unique(theirs.rows).tolist(),
        "seed": seed,
        "seconds": round(seconds, 2),
        "examples": _Examples(theirs, found, numbers),
    }
    findings["notes"] = [*masked.notes, *_notes(work, ours, known, found, unlabelled, note)]
    findings["headlines"] = [*_headlines(findings), *findings["notes"]]
    result = PixelDiscovery(
        table, findings, images=unlabelled, maps=maps, pseudo=sorted_maps, network=trained
    )
    findings["pictures"] = result.findings["pictures"] = _Pictures(result)
    if out is not None:
        result.save(out)
    return result


# --- what is asked ---


def _settings(given: Mapping[str, Any], preset: str | None) -> Settings:
    from fallow.methods.discover.gcdss import PRESETS, Settings
    from fallow.train.method import make_settings

    if preset is not None and preset not in PRESETS:
        raise SettingProblem(f"discover has no preset {preset!r}: {did_you_mean(preset, PRESETS)}")
    return make_settings(Settings, {**(PRESETS[preset] if preset else {}), **given})


def chosen_segmenter(name: Any, seed: int) -> Encoder:
    """The network a segmenter is made of; an encoder passes through."""
    import fallow

    if name is None or isinstance(name, str):
        return fallow.encoder(name or SEGMENTER, seed=seed)
    return name


# --- regions and what they look like ---


@dataclass(frozen=True)
class Work:
    """How images are cut and looked at, and where what that gives is kept."""

    proposer: Proposer
    encoder: Encoder
    settings: Settings
    regions: Path
    features: Path

    @classmethod
    def of(cls, proposer: Proposer, encoder: Encoder, settings: Settings) -> Work:
        from fallow.regions.keep import stage, weights

        cut = {"regions": dict(proposer.about), "side": settings.side}
        look = {
            **cut,
            "encoder": encoder.name,
            "weights": weights(encoder),
            "preprocessing": asdict(encoder.preprocessing),
            "enlarge": settings.enlarge,
            "surroundings": settings.surroundings,
        }
        return cls(
            proposer, encoder, settings, stage("regions", cut), stage("region-features", look)
        )

    def regions_of(self, images: Images, row: int) -> np.ndarray:
        """The map of an image's regions, made at most once.  H W int32"""
        from fallow.regions.keep import kept

        def make() -> np.ndarray:
            return self.proposer(images.read(row, self.settings.side)).astype(np.int32)

        return kept(self.regions, images.table.column("hash")[row].as_py(), make)

    def features_of(self, images: Images, row: int, regions: np.ndarray) -> np.ndarray:
        """Their vectors, made at most once.  n D"""
        from fallow.regions import look_at_regions
        from fallow.regions.keep import kept

        def make() -> np.ndarray:
            return look_at_regions(
                self.encoder,
                images.read(row, self.settings.side),
                regions,
                enlarge=self.settings.enlarge,
                surroundings=self.settings.surroundings,
            )

        return kept(self.features, images.table.column("hash")[row].as_py(), make)


@dataclass(frozen=True)
class Cut:
    """The regions of some images, one entry each, image after image."""

    images: Images
    rows: np.ndarray  # R, of `images`, ascending
    numbers: np.ndarray  # R, in their image
    areas: np.ndarray  # R, pixels of the map of regions
    boxes: np.ndarray  # R 4: top, left, bottom, right
    vectors: np.ndarray  # R D

    def of(self, row: int) -> slice:
        """The entries of one image."""
        return slice(*np.searchsorted(self.rows, [row, row + 1]))


def cut(work: Work, images: Images, tell: Callable[[str], None] = lambda line: None) -> Cut:
    """Cut all readable images and look at every region; those done before are only read."""
    from fallow.regions.look import boxes

    parts: list[tuple[np.ndarray, ...]] = []
    clock = time.monotonic()
    for row in range(len(images)):
        try:
            regions = work.regions_of(images, row)
            vectors = work.features_of(images, row, regions)
        except SourceProblem:
            continue  # it is among the images' problems now
        areas = np.bincount(regions.ravel())
        parts.append(
            (np.full(len(areas), row), np.arange(len(areas)), areas,
             np.array(boxes(regions)), vectors)
        )  # fmt: skip
        if time.monotonic() - clock > 10:
            clock = time.monotonic()
            tell(f"{row + 1} of {len(images)} images cut into regions")
    if not parts:
        none = np.zeros(0, np.int64)
        return Cut(images, none, none, none, np.zeros((0, 4), int), np.zeros((0, 1), np.float32))
    return Cut(images, *(np.concatenate(part) for part in zip(*parts, strict=True)))


class Known(NamedTuple):
    """Classes the masks hold pixels of; their places are their numbers from here on."""

    names: tuple[str, ...]
    values: tuple[int, ...]  # in the user's own masks
    codes: tuple[int, ...]  # as the masks were read


class Labels(NamedTuple):
    """Regions whose class is known."""

    vectors: np.ndarray  # L D
    codes: np.ndarray  # L
    weights: np.ndarray  # L, pixels of that class
    known: int  # classes
    images: np.ndarray  # L, row of the image each is of


def known_regions(
    work: Work, regions: Cut, masked: Images, classes: Classes
) -> tuple[Known, np.ndarray, np.ndarray]:
    """What is known, the most frequent class of every region (-1: no valid pixel), its pixels."""
    counts = histograms(work, regions, masked, len(classes))
    there = np.flatnonzero(counts.any(0))
    if not len(there):
        raise SourceProblem("the masks hold no pixel of a class: check their values and ignore=")
    known = Known(
        tuple(classes.names[k] for k in there),
        tuple(int(classes.values[k]) for k in there),
        tuple(there.tolist()),
    )
    counts = counts[:, there]
    return known, np.where(counts.any(1), counts.argmax(1), -1), counts.max(1)


def histograms(work: Work, regions: Cut, masked: Images, classes: int) -> np.ndarray:
    """Pixels of every class in every region (R classes), by masks of the same rows of `masked`."""
    counts = np.zeros((len(regions.rows), classes), np.int64)
    for row in np.unique(regions.rows):
        numbers = work.regions_of(regions.images, row)
        mask = resized(masked.mask(row), numbers.shape)
        valid = mask < classes
        here = counts[regions.of(row)]
        place = numbers[valid].astype(np.int64) * classes + mask[valid]
        here += np.bincount(place, minlength=here.size).reshape(here.shape)
    return counts


def resized(numbers: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A map of numbers at another size: of each new pixel's middle, the old pixel it lies in.

    >>> resized(np.array([[1, 2]]), (2, 4)).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    if tuple(numbers.shape) == tuple(size):
        return numbers
    places = [
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, numbers.shape, strict=True)
    ]
    return numbers[np.ix_(*places)]


def sort_regions(
    labels: Labels,
    regions: Cut,
    settings: Settings,
    method: str,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Discovery:
    """Find the neighbours of all regions, once, and sort the regions by the method."""
    from fallow.inventory.nearest import most_similar
    from fallow.methods.discover.gcdss import by_means, by_neighbours
    from fallow.regions.keep import digest, kept, stage

    count = settings.neighbours
    total = len(labels.codes) + len(regions.rows)
    if count > total - 1:
        raise SettingProblem(
            f"the images have {total} regions, too few for "
            f"{count} neighbours each: set neighbours lower or add images"
        )
    tell(f"{len(regions.rows):,} regions look for their neighbours")
    near = kept(
        stage("region-neighbours", {"neighbours": count}),
        digest(labels.vectors, regions.vectors),
        lambda: most_similar(regions.vectors, count, labels.vectors).rows,
    )
    areas = regions.areas.astype(float)
    if method == "kmeans":
        return by_means(
            labels.vectors, labels.codes, labels.weights, regions.vectors, areas, settings,
            known=labels.known, neighbours=near, seed=seed,
        )  # fmt: skip
    return by_neighbours(
        labels.vectors, labels.codes, regions.vectors, areas, settings,
        known=labels.known, neighbours=near, images=labels.images, seed=seed,
    )  # fmt: skip


def painted(work: Work, regions: Cut, labels: np.ndarray, row: int) -> np.ndarray:
    """The numbers of an image's regions as a map at the image's own size.  H W int64"""
    height, width = (regions.images.table.column(name)[row].as_py() for name in ("height", "width"))
    return resized(labels[regions.of(row)][work.regions_of(regions.images, row)], (height, width))


# --- training on what was found ---


def self_trained(
    labelled: Images,
    regions: Cut,
    found: Discovery,
    known: Known,
    work: Work,
    encoder: Encoder,
    minutes: float,
    seed: int,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[Callable[[int], np.ndarray], dict[str, Any], Segmenter]:
    """A segmenter trained on the masks and on the maps found: its maps, what it was, itself.

    Regions whose neighbours disagree teach nothing. A run that was stopped goes on, and one that
    was done is not done again.
    """
    from fallow.images.masks import with_masks
    from fallow.methods.shared.segment import enlarged, look
    from fallow.methods.shared.selftraining import SelfTraining
    from fallow.regions.keep import digest, kept, stage, weights
    from fallow.train.loop import fit
    from fallow.train.method import make_settings

    count = found.first + found.groups
    if count > 254:
        raise SettingProblem(f"a segmenter cannot learn {count} classes: set novel lower")
    rename = np.full(256, IGNORE, np.uint8)
    rename[list(known.codes)] = np.arange(len(known.codes))
    masks = {row: rename[labelled.mask(row)] for row in range(len(labelled))}
    trusted = np.where(found.agreement < work.settings.trust, IGNORE, found.labels)
    rows = np.unique(regions.rows)
    maps = {
        k: painted(work, regions, trusted, int(row)).astype(np.uint8) for k, row in enumerate(rows)
    }
    settings = make_settings(SelfTraining.Settings, {"classes": count, "minutes": minutes})
    about = {
        "encoder": encoder.name,
        "weights": weights(encoder),
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
        encoder=encoder,
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

    told = {"encoder": encoder.name, "steps": run.steps, "minutes": minutes, "seed": seed}
    return seen, told, method.student


# --- measures ---


def measure(
    work: Work,
    regions: Cut,
    found: Discovery,
    known: Known,
    maps: Callable[[int], np.ndarray] | None,
    truth: Any,
    classes: Any = None,
    ignore: Sequence[int] = (),
) -> dict[str, Any]:
    """IoU of the maps, groups matched to new classes only; and of the best maps regions allow."""
    from fallow.images.masks import read_masks
    from fallow.measure.novel import match_novel

    if isinstance(truth, Mapping):
        sorted_ids = set(regions.images.table.column("id").to_pylist())
        truth = {key: mask for key, mask in truth.items() if key in sorted_ids}
    masked = read_masks(regions.images, truth, classes, [IGNORE, *ignore])
    whole, every = masked.labelled, masked.classes
    new = [k for k, value in enumerate(every.values) if value not in known.values]
    order = {value: k for k, value in enumerate(known.values)}
    order |= {every.values[k]: len(known.values) + n for n, k in enumerate(new)}
    rename = np.full(256, IGNORE, np.uint8)
    rename[: len(every.values)] = [order[value] for value in every.values]
    names = [*known.names, *(every.names[k] for k in new)]
    place = {key: row for row, key in enumerate(whole.table.column("id").to_pylist())}
    ids = regions.images.table.column("id").to_pylist()
    rows = [row for row in np.unique(regions.rows) if ids[row] in place]
    if not rows:
        raise SourceProblem("none of the images without a mask has one in truth=")
    counts = np.zeros((len(regions.rows), len(names)), np.int64)
    truths = {}
    for row in rows:
        mask = rename[whole.mask(place[ids[row]])]
        truths[row] = mask
        numbers = work.regions_of(regions.images, row)
        small = resized(mask, numbers.shape)
        here, valid = counts[regions.of(row)], small < len(names)
        cell = numbers[valid].astype(np.int64) * len(names) + small[valid]
        here += np.bincount(cell, minlength=here.size).reshape(here.shape)
    seen = counts.any(1)
    best = counts.argmax(1)
    matched = match_novel(
        best[seen], found.labels[seen], counts.sum(1)[seen],
        known=found.first, classes=len(names), clusters=max(found.groups, 1),
    )  # fmt: skip
    held = np.zeros((found.first + found.groups, len(names)), np.int64)  # pixels
    np.add.at(held, found.labels, counts)
    sorted_maps = partial(painted, work, regions, found.labels)
    kinds: dict[str, Callable[[int], np.ndarray]] = {
        "regions": lambda row: matched[sorted_maps(row)],
        "best the regions allow": partial(painted, work, regions, best),
    }
    if maps is not None:
        own = _match_maps(maps, truths, found, len(names))
        kinds = {"segmenter": lambda row: own[maps(row)], **kinds}
    return {
        "classes": names,
        "new classes": names[found.first :],
        "matched": {int(k): int(v) for k, v in enumerate(matched) if k >= found.first},
        "images": len(rows),
        "confusion": held.tolist(),
        "maps": {kind: _ious(made, truths, found.first, names) for kind, made in kinds.items()},
    }


def _match_maps(
    maps: Callable[[int], np.ndarray],
    truths: Mapping[int, np.ndarray],
    found: Discovery,
    count: int,
) -> np.ndarray:
    """The class of every number in maps of pixels, each pair of numbers weighing its pixels."""
    from fallow.measure.novel import match_novel

    total = found.first + max(found.groups, 1)
    shared = np.zeros((total, count), np.int64)
    for row, mask in truths.items():
        valid = mask < count
        cell = maps(row)[valid].astype(np.int64) * count + mask[valid]
        shared += np.bincount(cell, minlength=shared.size).reshape(shared.shape)
    number, truth = np.nonzero(shared)
    return match_novel(
        truth, number, shared[number, truth],
        known=found.first, classes=count, clusters=total - found.first,
    )  # fmt: skip


def _ious(
    maps: Callable[[int], np.ndarray],
    truths: Mapping[int, np.ndarray],
    known: int,
    names: Sequence[str],
) -> dict[str, Any]:
    from fallow.measure.novel import confusion, dataset_iou, image_iou, means

    counts = np.stack([confusion(mask, maps(row), len(names)) for row, mask in truths.items()])
    whole, each = dataset_iou(counts), image_iou(counts)
    return {
        "dataset": means(whole, known),
        "image": means(each, known),
        "class": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(names, whole, strict=True)
        },
    }


# --- found groups become masks ---


def accept_pixels(
    folder: str | os.PathLike[str], accept: Mapping[str, str], out: Any = None
) -> Result:
    """Turn groups of a saved run into classes: {"new 1": "bicycle"} in new masks, 255 elsewhere.

    Groups of the same name become one class, also one that was known. The masks and classes.yaml
    are what `masks` and `classes` of the next run want.
    """
    import yaml
    from PIL import Image

    from fallow.files import atomic_write

    place = Path(folder)
    try:
        numbers = json.loads((place / "classes.json").read_text())
    except (OSError, ValueError):
        raise SourceProblem(f"{place} is not a saved run of discover with masks") from None
    groups = {one["name"]: one["value"] for one in numbers if not one["known"]}
    names = {one["name"]: one["value"] for one in numbers if one["known"]}
    values = np.arange(65536)
    values[list(groups.values())] = IGNORE
    for group, name in accept.items():
        if group not in groups:
            raise SettingProblem(f"there is no group {group!r}: {did_you_mean(group, groups)}")
        if not str(name).strip():
            raise SettingProblem(f"give {group} a name: {group}=bicycle")
        values[groups[group]] = names.setdefault(str(name).strip(), groups[group])
    target = writable(out if out is not None else place / "masks")
    done, kept = [], 0
    for path in sorted((place / "labels").rglob("*.png")):
        with Image.open(path) as opened_map:
            mask = values[np.array(opened_map)]
        _write_map(target / path.relative_to(place / "labels"), mask)
        done.append(path.relative_to(place / "labels").as_posix())
        kept += int((mask != IGNORE).sum())
    with atomic_write(target / "classes.yaml") as file:
        file.write(yaml.safe_dump({**names, "ignore": [IGNORE]}, sort_keys=False).encode())
    named = ", ".join(f"{group} as {name}" for group, name in accept.items())
    return Result(
        pa.table({"mask": done}),
        headlines=[f"{named}: {len(done):,} masks of {len(names)} classes in {target}"],
        findings={"folder": str(target), "classes": names, "pixels": kept},
    )


# --- result ---


def list_classes(known: Known, regions: Cut, found: Discovery) -> list[dict[str, Any]]:
    """What every number stands for: its value in written masks, its name, and how much there is."""
    taken = {int(value) for value in known.values} | {0, IGNORE}
    free = (value for value in range(1, 65536) if value not in taken)
    listed = []
    for number in range(found.first + found.groups):
        mine = found.labels == number
        old = number < found.first
        listed.append(
            {
                "number": number,
                "value": int(known.values[number]) if old else next(free),
                "name": str(known.names[number]) if old else f"new {number - found.first + 1}",
                "known": old,
                "regions": int(mine.sum()),
                "pixels": int(regions.areas[mine].sum()),
                "images": len(np.unique(regions.rows[mine])),
                "agreement": float(found.agreement[mine].mean()) if mine.any() else None,
            }
        )
    return listed


def _table(regions: Cut, found: Discovery, numbers: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A row for each region, image after image."""
    pictures = regions.images.table
    names = np.array([one["name"] for one in numbers])
    top, left, bottom, right = regions.boxes.T
    return pa.table(
        {
            "id": pictures.column("id").take(pa.array(regions.rows)),
            "path": pictures.column("path").take(pa.array(regions.rows)),
            "row": regions.rows,
            "region": regions.numbers,
            "number": found.labels,
            "class": names[found.labels].tolist(),
            "known": found.labels < found.first,
            "agreement": found.agreement,
            "unsure": found.agreement < UNSURE,
            "area": regions.areas,
            "top": top,
            "left": left,
            "bottom": bottom,
            "right": right,
        }
    )


def _headlines(findings: Mapping[str, Any]) -> list[str]:
    counts = findings["counts"]
    lines = [
        f"{counts['images sorted']:,} images cut into {counts['regions']:,} regions, sorted into "
        f"{counts['known classes']} known classes and {counts['new groups']} new groups",
    ]
    pixels = sum(one["pixels"] for one in findings["classes"])
    new = sum(one["pixels"] for one in findings["classes"] if not one["known"])
    lines.append(f"{new / pixels:.1%} of the pixels are new; {findings['unsure']:,} regions are "
                 "unsure: most of their neighbours went elsewhere")  # fmt: skip
    for kind, values in findings["measured"].get("maps", {}).items():
        shown = ", ".join(
            f"{name} {'undefined' if value is None else f'{value:.3f}'}"
            for name, value in values["dataset"].items()
        )
        lines.append(f"IoU of {kind}: {shown}")
    if findings["problems"]:
        lines.append(f"{len(findings['problems']):,} files could not be read")
    return lines


def _notes(
    work: Work, ours: Cut, known: Known, found: Discovery, unlabelled: Images, note: str
) -> list[str]:
    """What a reader must know before trusting the maps."""
    notes = [note] if note else []
    if work.proposer.name in ("superpixels", "slic"):
        notes.append("Regions are superpixels: parts of one colour, not whole objects.")
    if not found.groups:
        notes.append(
            "No region is new at this threshold: every one has labelled neighbours enough. "
            "Set threshold higher if the images hold something unknown."
        )
    elif found.groups < work.settings.novel:
        notes.append(
            f"Only {found.groups} new groups were formed: there are no more different new regions."
        )
    if len(known.names) == 1:
        notes.append("One known class tells little apart: whatever is near it is taken for it.")
    if len(np.unique(ours.rows)) == 1:
        notes.append("All masks are of one image: what differs from it may be taken for new.")
    hashes = unlabelled.table.column("hash").to_pylist()
    copies = len(hashes) - len(set(hashes))
    if copies:
        notes.append(
            f"{copies:,} {'image repeats' if copies == 1 else 'images repeat'} another byte for "
            "byte: their regions confirm each other."
        )
    return notes


class _Examples:
    """Small pictures of the regions that stand for each number, made when the report is."""

    def __init__(
        self, regions: Cut, found: Discovery, numbers: Sequence[Mapping[str, Any]]
    ) -> None:
        self._regions, self._found, self._numbers = regions, found, numbers

    def __call__(self, side: int) -> Iterator[tuple[str, list[bytes]]]:
        """Names of groups and of what is unsure, with pictures."""
        found, areas = self._found, self._regions.areas
        for one in self._numbers:
            if not one["known"]:
                rows = np.flatnonzero(found.labels == one["number"])
                best = rows[np.argsort(-(found.agreement[rows] * areas[rows]), kind="stable")]
                yield one["name"], [self._picture(row, side) for row in best[:SHOWN]]
        unsure = np.flatnonzero(found.agreement < UNSURE)
        largest = unsure[np.argsort(-areas[unsure], kind="stable")]
        yield "unsure", [self._picture(row, side) for row in largest[:SHOWN]]

    def _picture(self, entry: int, side: int) -> bytes:
        regions = self._regions
        row = int(regions.rows[entry])
        pixels = regions.images.read(row)
        last = regions.boxes[regions.of(row)].max(0)  # the map's height and width
        scale = np.array(pixels.shape[:2]) / last[2:]
        top, left, bottom, right = (regions.boxes[entry] * np.tile(scale, 2)).astype(int)
        return _jpeg(pixels[top : max(bottom, top + 1), left : max(right, left + 1)], side)


class _Pictures:
    """Images beside their maps in colour, made when the report is written."""

    def __init__(self, result: PixelDiscovery) -> None:
        self._result = result

    def __call__(self, count: int, side: int) -> Iterator[tuple[str, bytes, bytes]]:
        from fallow.report.discover_pixels import class_colours

        result = self._result
        tint = class_colours(len(result.classes))
        rows = result.findings["rows"]
        for row in rows[:: max(1, len(rows) // count)][:count]:
            pixels = result.images.read(row)
            laid = (0.4 * pixels.mean(2, keepdims=True) + 0.6 * tint[result.map(row)]).astype(
                np.uint8
            )
            path = result.images.table.column("path")[row].as_py()
            yield path, _jpeg(pixels, side), _jpeg(laid, side)


def _jpeg(pixels: np.ndarray, side: int) -> bytes:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return file.getvalue()


def _write_map(path: Path, values: np.ndarray) -> None:
    from PIL import Image

    from fallow.files import atomic_write

    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if values.max(initial=0) < 256 else np.uint16
    with atomic_write(path) as target:
        Image.fromarray(values.astype(kind)).save(target, "PNG")


def _write_regions(path: Path, table: pa.Table) -> None:
    import pyarrow.csv as csv

    from fallow.files import atomic_write

    with atomic_write(path) as target:
        csv.write_csv(table, target)


def _page(findings: Mapping[str, Any]) -> str:
    from fallow.report.discover_pixels import discover_pixels_page

    return discover_pixels_page(findings)


def _mask_name(key: str) -> str:
    from fallow.verbs.segment import _mask_name as name

    return name(key)
