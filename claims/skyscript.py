"""SkyScript: is the map joined as it lies, and does filtering by similarity remove wrong captions?

*Joined*: pictures of 150 m are laid at random over map extracts. What lies in each is looked at a
second time, by drawing the thing itself and seeing whether a pixel of the picture is hit. F1 of the
pairs beside those of bounding boxes, and of centres. *Filtered*: three in ten pictures of digits
have another one's caption, and the half that fits best by a dual encoder is kept, learnt from other
pairs that are right, or from the very pairs that are to be filtered.
"""

from __future__ import annotations

import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive
from PIL import Image, ImageDraw

from claims import captioned
from claims.record import Entry, budget, entry
from fallow.images.joins import joined
from fallow.images.maps import Thing, read_map
from fallow.methods.curate.skyscript import Settings, best, pairs


@dataclass(frozen=True)
class Plan:
    """What all sides share."""

    extracts: tuple[str, ...] = ("bautzen.osm", "berlin-siegessaeule.osm.gz", "monaco.osm.gz")
    tiles: int = 60
    metres: float = 150.0  # side of a picture
    drawn: int = 600  # pixels a picture is drawn with to see what is in it
    resolutions: tuple[float, ...] = (0.1, 0.6, 2.0, 10.0)  # metres a pixel
    wrong: float = 0.3
    keep: float = 0.5
    epochs: int = 40
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    entries = []
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(archive(data, "osm_extracts")) as packed,
    ):
        for name in plan.extracts:
            place = packed.extract(f"files/{name}", folder)
            entries += laid(name, read_map(place), minutes, plan)
    return entries + filtered(minutes, plan)


# --- joined ---


def laid(name: str, things: Sequence[Thing], minutes: float, plan: Plan) -> list[Entry]:
    """The join of one extract beside bounding boxes and centres."""
    begin = time.monotonic()
    scores: dict[str, list[float]] = {"shapes": [], "bounding boxes": [], "centres": []}
    told: list[dict[str, Any]] = []
    for seed in range(plan.seeds):
        boxes = grid(things, plan, seed)
        truth = [hit(box, things, plan.drawn) for box in boxes]
        sides = {
            "shapes": joined(boxes, things),
            "bounding boxes": joined_by_boxes(boxes, np.array([one.box for one in things])),
            "centres": joined_by_boxes(
                boxes, np.tile(np.array([one.shape.mean(0) for one in things]), 2)
            ),
        }
        for side, rows in sides.items():
            scores[side].append(f1(truth, rows))
        told.append(captions_at(boxes, things, plan))
    about = {
        "data": {"name": f"osm_extracts/{name}", "images": plan.tiles, "things": len(things)},
        "budget": budget(minutes, begin),
        "settings": asdict(plan),
        "observed": {"F1": scores, "captions": told},
    }
    return [
        entry(
            f"{name}: joined by shape, pairs are nearer to what is drawn than by {other}",
            "shapes", other,
            seeds=list(zip(scores["shapes"], scores[other], strict=True)), **about,
        )
        for other in ("bounding boxes", "centres")
    ]  # fmt: skip


def grid(things: Sequence[Thing], plan: Plan, seed: int) -> np.ndarray:
    """Pictures' boxes around places where the map has things.  N 4"""
    draw = np.random.default_rng([seed, 7])
    rows = draw.choice(len(things), plan.tiles)
    centre = np.array([things[row].shape[draw.integers(len(things[row].shape))] for row in rows])
    up = plan.metres / 111_320
    half = np.stack([up / np.cos(np.radians(centre[:, 1])), np.full(plan.tiles, up)], 1) / 2
    centre = centre + draw.uniform(-1, 1, centre.shape) * half
    return np.concatenate([centre - half, centre + half], 1)


def hit(box: np.ndarray, things: Sequence[Thing], side: int) -> np.ndarray:
    """Which things leave a mark when they are drawn on a picture of the box."""
    found = []
    for row, thing in enumerate(things):
        west, south, east, north = thing.box
        if west > box[2] or east < box[0] or south > box[3] or north < box[1]:
            continue
        places = (thing.shape - box[:2]) / (box[2:] - box[:2]) * side
        picture = Image.new("1", (side, side))
        pen = ImageDraw.Draw(picture)
        flat = [tuple(one) for one in places.tolist()]
        if thing.kind == "area":
            pen.polygon(flat, fill=1, outline=1)
        elif thing.kind == "line":
            pen.line(flat, fill=1)
        else:
            pen.point(flat, fill=1)
        if picture.getbbox() is not None:
            found.append(row)
    return np.array(found, np.int64)


def joined_by_boxes(boxes: np.ndarray, bounds: np.ndarray) -> list[np.ndarray]:
    return [
        np.flatnonzero(
            (bounds[:, 0] <= box[2]) & (bounds[:, 2] >= box[0])
            & (bounds[:, 1] <= box[3]) & (bounds[:, 3] >= box[1])
        )
        for box in boxes
    ]  # fmt: skip


def f1(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """Of all pairs of a picture and a thing together."""
    both = sum(len(np.intersect1d(a, b)) for a, b in zip(truth, found, strict=True))
    return 2 * both / max(1, sum(map(len, truth)) + sum(map(len, found)))


def captions_at(boxes: np.ndarray, things: Sequence[Thing], plan: Plan) -> dict[str, Any]:
    """How many pictures get a caption at each resolution, and how many captions differ."""
    said = {}
    for metres in plan.resolutions:
        made = pairs(boxes, np.full(len(boxes), metres), things, Settings())
        said[f"{metres} m"] = {"pairs": len(made), "different": len({p.captions for p in made})}
    return said


# --- filtered ---


def filtered(minutes: float, plan: Plan) -> list[Entry]:
    """The share of right captions in the half that is kept."""
    begin = time.monotonic()
    names = ("learnt from right pairs", "learnt from these pairs", "any half")
    shares: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(plan.seeds):
        teach, _ = captioned.pictures(seed)
        other, mine = teach.split(0.5, seed=seed)
        noisy, wrong = captioned.exchanged(mine, plan.wrong, seed)
        for name, source in zip(names[:2], (other, noisy), strict=True):
            run = captioned.aligned("clip", source, seed, {"epochs": plan.epochs})
            kept = best(captioned.fit_of(run.method.dual(), noisy), plan.keep)
            shares[name].append(1 - float(wrong[kept].mean()))
        draw = np.random.default_rng([seed, 3])
        kept = draw.choice(len(noisy), round(plan.keep * len(noisy)), replace=False)
        shares[names[2]].append(1 - float(wrong[kept].mean()))
        print({name: values[-1] for name, values in shares.items()}, flush=True)
    about = {
        "data": {"name": "digits", "images": len(noisy), "fingerprint": noisy.fingerprint},
        "budget": budget(minutes, begin, epochs=plan.epochs),
        "settings": asdict(plan) | captioned.SMALL,
        "observed": {"right": shares},
    }
    texts = {
        names[0]: "the half that fits best by a scorer of right pairs holds more right captions",
        names[
            1
        ]: "the half that fits best by a scorer of the noisy pairs holds more right captions",
    }
    return [
        entry(text, name, names[2],
              seeds=list(zip(shares[name], shares[names[2]], strict=True)), **about)
        for name, text in texts.items()
    ] + [
        entry("a scorer of right pairs filters better than one of the noisy pairs", *names[:2],
              seeds=list(zip(shares[names[0]], shares[names[1]], strict=True)), **about)
    ]  # fmt: skip
