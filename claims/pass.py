"""PASS: do the built-in detectors find people, and does exactly what is allowed survive?

*People*: OpenCV's cascades on scikit-image's crops with and without a face, and on photos whose
captions do or do not speak of people; a seed draws half of each. The mean of the shares that are
right of both kinds (a half is what looking at nothing gets). *Attribution*: pictures with what is
said of them in EXIF, XMP, a file beside them or a table, of licences that are allowed, forbidden,
contradictory or missing; how many get the right end, beside reading only the EXIF fields.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive
from PIL import Image

from claims.record import Entry, budget, by_row, entry
from fallow.regions.people import BODIES, FACES, Cascades

LIKELY = 0.5  # score from which curate leaves a picture out
DOUBTED = 0.2  # and from which it asks a person
SIDES = {
    "faces": lambda score: score["faces"] >= LIKELY,
    "faces, doubts too": lambda score: score["faces"] >= DOUBTED,
    "faces and bodies": lambda score: max(score.values()) >= LIKELY,
    "faces and bodies, doubts too": lambda score: max(score.values()) >= DOUBTED,
    "looking at nothing": lambda score: False,
}
BARE = "looking at nothing"
ALLOWED = ("CC BY 4.0", "https://creativecommons.org/licenses/by/2.0/", "CC0 1.0", "CC-BY-3.0")
FORBIDDEN = ("CC BY-NC 4.0", "All rights reserved", "CC BY-ND 2.0", "CC BY-SA 4.0", "")
PLACES = ("exif", "xmp", "beside", "table")


@dataclass(frozen=True)
class Plan:
    """What all sides share."""

    photos: int = 560
    pictures: int = 120  # of the attribution
    seeds: int = 5


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    sets = {"lfw_subset": crops(), "flickr8k_sample": photos(data, plan)}
    entries = []
    for name, (pixels, people) in sets.items():
        entries += found_in(name, pixels, people, minutes, plan)
    return [*entries, survived(minutes, plan)]


# --- people ---


def crops() -> tuple[list[np.ndarray], np.ndarray]:
    """A hundred faces and a hundred other crops, enlarged to 100 pixels on a ground of 160."""
    from skimage.data import lfw_subset

    made = []
    for crop in lfw_subset():
        grey = Image.fromarray((crop * 255).astype(np.uint8)).resize((100, 100), Image.BICUBIC)
        ground = Image.new("L", (160, 160), int(np.median(np.asarray(grey))))
        ground.paste(grey, (30, 30))
        made.append(np.asarray(ground.convert("RGB")))
    return made, np.arange(len(made)) < 100


def photos(data: Path, plan: Plan) -> tuple[list[np.ndarray], np.ndarray]:
    """Photos whose captions say people, or none; those that leave it open are not asked."""
    import fallow

    images = fallow.open(archive(data, "flickr8k_sample")).sample(plan.photos, seed=0)
    told = images.column("people").astype(int)
    images = images.select(np.flatnonzero(told >= 0))
    return [pixels for _, pixels in images.map(np.asarray)], images.column("people").astype(int) > 0


def found_in(
    name: str, pixels: list[np.ndarray], people: np.ndarray, minutes: float, plan: Plan
) -> list[Entry]:
    begin = time.monotonic()
    detectors = {"faces": Cascades(FACES), "bodies": Cascades(BODIES)}
    scores = [
        {kind: max((seen.score for seen in see(one)), default=0.0)
         for kind, see in detectors.items()}
        for one in pixels
    ]  # fmt: skip
    flags = {side: np.array([told(one) for one in scores]) for side, told in SIDES.items()}
    values: dict[str, list[float]] = {side: [] for side in SIDES}
    for seed in range(plan.seeds):
        draw = np.random.default_rng([seed, 11])
        rows = np.concatenate([
            draw.choice(kind, len(kind) // 2, replace=False)
            for kind in (np.flatnonzero(people), np.flatnonzero(~people))
        ])  # fmt: skip
        for side, flag in flags.items():
            values[side].append(balanced(flag[rows], people[rows]))
    about = {
        "data": {"name": name, "images": len(pixels), "with people": int(people.sum())},
        "budget": budget(minutes, begin),
        "settings": asdict(plan),
        "observed": {side: shares(flag, people) for side, flag in flags.items()},
    }
    compared = [(side, BARE) for side in SIDES if side != BARE]
    compared += [("faces and bodies", "faces"), ("faces, doubts too", "faces")]
    said = name + ": {ours} tells pictures with people better than {theirs}"
    return by_row(values, [(said, *pair) for pair in compared], **about)


def balanced(flag: np.ndarray, people: np.ndarray) -> float:
    return float((flag[people].mean() + (~flag[~people]).mean()) / 2)


def shares(flag: np.ndarray, people: np.ndarray) -> dict[str, float | None]:
    """Precision and recall over all pictures, and what is left of people among those kept."""
    return {
        "precision": float(people[flag].mean()) if flag.any() else None,
        "recall": float(flag[people].mean()),
        "wrongly left out": float(flag[~people].mean()),
        "people before": float(people.mean()),
        "people among those kept": float(people[~flag].mean()),
    }


# --- attribution ---


@dataclass(frozen=True)
class Said:
    """Where a picture's licence and creator stand, and a second place that says otherwise."""

    place: str
    licence: str
    creator: str
    against: str | None = None

    @property
    def allowed(self) -> bool:
        return self.licence in ALLOWED and bool(self.creator) and self.against is None


def survived(minutes: float, plan: Plan) -> Entry:
    """The share of pictures with the right end, and of those kept with the right name."""
    begin = time.monotonic()
    pairs, ends = [], []
    for seed in range(plan.seeds):
        draw = np.random.default_rng([seed, 13])
        said = {f"{row:03d}.jpg": drawn(draw) for row in range(plan.pictures)}
        with tempfile.TemporaryDirectory() as place:
            kept, plain = (made(said, Path(place), draw, how) for how in (curated, by_exif))
        allowed = {name: one.creator for name, one in said.items() if one.allowed}
        pairs.append((right(kept, said), right(plain, said)))
        ends.append({"allowed": len(allowed), "kept": len(kept),
                     "kept as allowed, by name": sum(kept.get(n) == c for n, c in allowed.items()),
                     "kept by EXIF alone": len(plain)})  # fmt: skip
    return entry(
        "exactly the pictures with a creator and an allowed licence survive, with their creator",
        "curate", "EXIF fields alone",
        data={"name": "made pictures", "images": plan.pictures},
        budget=budget(minutes, begin), seeds=pairs, settings=asdict(plan),
        observed={"ends": ends},
    )  # fmt: skip


def drawn(draw: np.random.Generator) -> Said:
    place = str(draw.choice(PLACES))
    licence = str(draw.choice(ALLOWED if draw.random() < 0.5 else FORBIDDEN))
    creator = "" if draw.random() < 0.15 else f"Creator {draw.integers(1000)}"
    against = "All rights reserved" if draw.random() < 0.15 and place != "beside" else None
    return Said(place, licence, creator, against)


def made(
    said: Mapping[str, Said], place: Path, draw: np.random.Generator, how: Callable[..., Any]
) -> dict[str, str]:
    """Write the pictures with what is said of them, and ask who is kept, and whose they are."""
    folder = place / how.__name__
    folder.mkdir()
    table: dict[str, list[str]] = {"path": [], "License": [], "Author": []}
    for name, one in said.items():
        coarse = draw.integers(0, 255, (6, 6, 3)).astype(np.uint8)
        picture = Image.fromarray(coarse).resize((96, 96), Image.BICUBIC)
        exif, extra = Image.Exif(), {}
        if one.place == "exif":
            exif[0x013B], exif[0x8298] = one.creator, one.licence
        elif one.place == "xmp":
            extra["xmp"] = XMP.format(creator=one.creator, licence=one.licence).encode()
        elif one.place == "table":
            for key, value in zip(table, (name, one.licence, one.creator), strict=True):
                table[key].append(value)
        picture.save(folder / name, quality=95, exif=exif, **extra)
        beside = {"author": one.creator, "license": one.licence}
        if one.against is not None:
            beside = {"license": one.against}
        if one.place == "beside" or one.against is not None:
            (folder / name).with_suffix(".json").write_text(json.dumps(beside))
    kept: dict[str, str] = how(folder, table, place / f"{how.__name__}-out")
    return kept


XMP = """<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator><rdf:Seq><rdf:li>{creator}</rdf:li>
</rdf:Seq></dc:creator><dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{licence}</rdf:li>
</rdf:Alt></dc:rights></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>"""


def curated(folder: Path, table: Mapping[str, list[str]], out: Path) -> dict[str, str]:
    import fallow
    from fallow.methods.curate.people_free import curate
    from fallow.methods.shared.policy import Settings
    from fallow.train import make_settings

    images = fallow.open(folder)
    if table["path"]:
        images = images.join(table)
    policy = make_settings(Settings, {"duplicates": False, "quality": ()})
    return {row.path: row.attribution.creator for row in curate(images, out, policy).kept}


def by_exif(folder: Path, table: Mapping[str, list[str]], out: Path) -> dict[str, str]:
    """Keep what names a creator, and a licence of Creative Commons that is not NC, ND or SA."""
    kept = {}
    for path in sorted(folder.glob("*.jpg")):
        exif = Image.open(path).getexif()
        creator, words = str(exif.get(0x013B, "")), str(exif.get(0x8298, "")).upper()
        free = "CC" in words or "CREATIVECOMMONS" in words
        if creator and free and not any(bar in words for bar in ("NC", "ND", "SA")):
            kept[path.name] = creator
    return kept


def right(kept: Mapping[str, str], said: Mapping[str, Said]) -> float:
    """The share of pictures that are kept with their creator's name, or rightly left out."""
    ends = [(kept.get(n) == one.creator) if one.allowed else n not in kept
            for n, one in said.items()]  # fmt: skip
    return float(np.mean(ends))
