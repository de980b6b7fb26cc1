"""Problems with known truth, planted in a collection by seed: the same seed, the same problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.judgement.changes import KINDS, STRENGTHS, change, jpeg
from benchmarks.judgement.sets import Collection


@dataclass(frozen=True)
class Copy:
    """One planted copy: the row it is at, the row it was made of, and what was done."""

    row: int
    of: int
    kind: str
    strength: int


@dataclass(frozen=True)
class Copies:
    collection: Collection
    copies: list[Copy]


@dataclass(frozen=True)
class Exchanged:
    """Labels of which some are wrong."""

    labels: np.ndarray  # N codes
    wrong: np.ndarray  # rows


@dataclass(frozen=True)
class Strangers:
    collection: Collection
    rows: np.ndarray
    source: str


@dataclass(frozen=True)
class Broken:
    """Rows of each kind of trouble, and rows that only look like it: style, not trouble."""

    collection: Collection
    rows: dict[str, np.ndarray]
    style: np.ndarray


@dataclass(frozen=True)
class Known:
    """Some pictures of some classes carry their label; everything else is to be found out."""

    codes: np.ndarray  # N; -1 where no label is given; known classes have the codes 0 .. old-1
    truth: np.ndarray  # N; known classes first, in the same codes
    old: int

    @property
    def total(self) -> int:
        return int(self.truth.max()) + 1


def copies(
    collection: Collection,
    *,
    each: int = 3,
    kinds: Sequence[str] = KINDS,
    strengths: Sequence[int] = range(STRENGTHS),
    seed: int = 0,
) -> Copies:
    """`each` copies for every kind and strength, of pictures drawn without repeat while they last.

    Copies stand at random places among the pictures, with names that say nothing.
    """
    draw = np.random.default_rng([seed, 1])
    jobs = [(kind, strength) for kind in kinds for strength in strengths for _ in range(each)]
    sources: list[int] = []
    while len(sources) < len(jobs):
        sources += draw.permutation(len(collection)).tolist()
    made = [
        change(collection.picture(of), kind, strength, np.random.default_rng([seed, 2, place]))
        for place, (of, (kind, strength)) in enumerate(zip(sources, jobs, strict=False))
    ]
    whole, order = _mixed(collection, made, collection.labels[sources[: len(jobs)]], draw)
    place = np.argsort(order)
    planted = [
        Copy(int(place[len(collection) + number]), int(place[of]), kind, strength)
        for number, (of, (kind, strength)) in enumerate(zip(sources, jobs, strict=False))
    ]
    return Copies(whole, planted)


def exchanged(
    collection: Collection, share: float, *, similar: bool = False, seed: int = 0
) -> Exchanged:
    """A share of the labels replaced: by any other, or by one of the three most similar classes."""
    draw = np.random.default_rng([seed, 3])
    count = len(collection)
    wrong = np.sort(draw.choice(count, max(1, round(share * count)), replace=False))
    labels = collection.labels.copy()
    total = len(collection.classes)
    others = (
        _similar(collection)[:, :3]
        if similar
        else np.stack([np.delete(np.arange(total), code) for code in range(total)])
    )
    for row in wrong:
        labels[row] = draw.choice(others[labels[row]])
    return Exchanged(labels, wrong)


def strangers(collection: Collection, other: Collection, share: float, seed: int = 0) -> Strangers:
    """Pictures of another set among these: `share` of all, brought to about the usual size."""
    draw = np.random.default_rng([seed, 4])
    number = max(1, round(share / (1 - share) * len(collection)))
    chosen = draw.choice(len(other), number, replace=False)
    sides = [min(collection.picture(row).size) for row in range(0, len(collection), 7)]
    usual = int(np.median(sides))
    contents = []
    for row in chosen:
        picture = other.picture(row)
        scale = usual / min(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        contents.append(jpeg(picture.resize(size, Image.Resampling.LANCZOS), 92))
    whole, order = _mixed(collection, contents, np.full(number, -1), draw)
    return Strangers(whole, np.flatnonzero(order >= len(collection)), other.name)


def broken(collection: Collection, *, each: int = 6, seed: int = 0) -> Broken:
    """`each` pictures spoilt in every way of SPOILT, as many again in the ways of STYLE.

    The spoilt picture takes the place of the original, so that nothing is a copy.
    """
    draw = np.random.default_rng([seed, 5])
    jobs = [kind for kind in SPOILT for _ in range(each)]
    styles = [kind for kind in STYLE for _ in range(each)]
    chosen = draw.choice(len(collection), len(jobs) + len(styles), replace=False)
    contents = list(collection.contents)
    names = list(collection.names)
    for row, kind in zip(chosen, jobs + styles, strict=True):
        make = SPOILT[kind] if kind in SPOILT else STYLE[kind]
        contents[row] = jpeg(make(collection.picture(row), draw), 92)
        names[row] = f"{names[row].split('.')[0]}.jpg"
    rows = {
        kind: np.sort(chosen[[place for place, job in enumerate(jobs) if job == kind]])
        for kind in SPOILT
    }
    spoilt = Collection(collection.name, names, contents, collection.labels, collection.classes)
    return Broken(spoilt, rows, np.sort(chosen[len(jobs) :]))


def known(
    collection: Collection, classes: int | None, *, per_class: int | None = 30, seed: int = 0
) -> Known:
    """So many classes known (None: half of them), with labels for at most `per_class` pictures.

    At most half of a known class carries labels, so that there is something left to find.
    """
    draw = np.random.default_rng([seed, 6])
    total = len(collection.classes)
    old = total // 2 if classes is None else classes
    order = draw.permutation(total)
    place = np.empty(total, np.int64)
    place[order] = np.arange(total)
    truth = place[collection.labels]
    codes = np.full(len(collection), -1)
    for code in range(old):
        own = draw.permutation(np.flatnonzero(truth == code))
        number = len(own) // 2 if per_class is None else min(per_class, len(own) // 2)
        codes[own[:number]] = code
    return Known(codes, truth, old)


def _mixed(
    collection: Collection, contents: list[bytes], labels: np.ndarray, draw: np.random.Generator
) -> tuple[Collection, np.ndarray]:
    """The collection with more pictures at random places, and the old number of each new row.

    The collection's own pictures keep their order: frames of a burst stay neighbours.
    """
    count = len(collection) + len(contents)
    added = np.sort(draw.choice(count, len(contents), replace=False))
    order = np.empty(count, np.int64)
    order[added] = len(collection) + draw.permutation(len(contents))
    order[np.setdiff1d(np.arange(count), added)] = np.arange(len(collection))
    everything = [*collection.contents, *contents]
    suffixes = [name.rpartition(".")[2] for name in collection.names] + ["jpg"] * len(contents)
    whole = Collection(
        collection.name,
        [f"{row:05d}.{suffixes[old]}" for row, old in enumerate(order)],
        [everything[old] for old in order],
        np.concatenate([collection.labels, labels])[order],
        collection.classes,
    )
    return whole, order


def _similar(collection: Collection) -> np.ndarray:
    """For each class the others, the one with the nearest mean picture first.  C C-1."""
    small = np.stack(
        [
            np.asarray(collection.picture(row).resize((16, 16), Image.Resampling.BOX), np.float32)
            for row in range(len(collection))
        ]
    ).reshape(len(collection), -1)
    small = small / 255
    middles = np.stack(
        [small[collection.labels == code].mean(axis=0) for code in range(len(collection.classes))]
    )
    away = ((middles[:, None] - middles[None]) ** 2).sum(axis=2)
    np.fill_diagonal(away, np.inf)
    return np.argsort(away, axis=1)[:, :-1]


# --- pictures that something is wrong with ---


def _dark(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    return picture.point([round(value * 0.13) for value in range(256)] * 3)


def _light(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    return picture.point([round(255 - (255 - value) * 0.13) for value in range(256)] * 3)


def _blurry(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    """Out of focus, or moved while it was taken."""
    share = draw.uniform(0.02, 0.04) * min(picture.size)
    if draw.random() < 0.5:
        return picture.filter(ImageFilter.GaussianBlur(max(share, 1.2)))
    values = np.asarray(picture, np.float32)
    steps = max(5, round(4 * share))
    axis = int(draw.integers(2))
    moved = sum(np.roll(values, step - steps // 2, axis=axis) for step in range(steps)) / steps
    return Image.fromarray(np.asarray(moved).astype(np.uint8))


def _blank(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    """One colour with a little grain."""
    values = draw.integers(30, 226, 3) + draw.normal(0, 0.7, (picture.height, picture.width, 1))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _tiny(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    scale = draw.uniform(0.08, 0.2)
    return picture.resize((max(8, int(picture.width * scale)), max(8, int(picture.height * scale))))


def _strip(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    """A fifth to a tenth of the height, or of the width."""
    share = draw.uniform(0.1, 0.2)
    if draw.random() < 0.5:
        return picture.crop((0, 0, picture.width, max(8, round(picture.height * share))))
    return picture.crop((0, 0, max(8, round(picture.width * share)), picture.height))


def _soft_ground(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    """Sharp in an ellipse, soft everywhere else, as a near subject is before its ground."""
    width, height = picture.size
    soft = picture.filter(ImageFilter.GaussianBlur(max(0.035 * min(picture.size), 1.5)))
    mask = Image.new("L", picture.size, 0)
    across, down = draw.uniform(0.22, 0.35) * width, draw.uniform(0.22, 0.35) * height
    x, y = draw.uniform(0.4, 0.6) * width, draw.uniform(0.4, 0.6) * height
    ImageDraw.Draw(mask).ellipse((x - across, y - down, x + across, y + down), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(0.02 * min(picture.size)))
    return Image.composite(picture, soft, mask)


def _night(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    """Dark all over but for a lit place: as a picture taken at night is meant to be."""
    values = np.asarray(picture, np.float32)
    down, across = np.mgrid[0 : picture.height, 0 : picture.width]
    x, y = draw.uniform(0.3, 0.7) * picture.width, draw.uniform(0.3, 0.7) * picture.height
    away = ((down - y) / picture.height) ** 2 + ((across - x) / picture.width) ** 2
    light = 0.15 + 0.95 * np.exp(-away / 0.03)
    return Image.fromarray((values * light[..., None]).clip(0, 255).astype(np.uint8))


SPOILT = {
    "dark": _dark,
    "bright": _light,
    "blurry": _blurry,
    "blank": _blank,
    "low_resolution": _tiny,
    "odd_aspect": _strip,
}
STYLE = {"soft_ground": _soft_ground, "night": _night}
