"""Open Images: fair measures where annotation is not exhaustive, and answers that mend detections.

Boxes are drawn around the parts of six classes in the road scenes of camvid. The detector is made
up: true boxes moved a little, some missed, and others where nothing is, each with a score; a seed
draws its mistakes, and the same detections are judged in every way. *Hidden*: what was said of
three in ten pairs of picture and class is forgotten. *Crowds*: three boxes of a class or more in a
picture become one around all. The measure is how far the mean precision moves from what the whole
annotation gives; nearer is better.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.record import Entry, budget, entry
from fallow.annotations import store
from fallow.annotations.store import Annotations
from fallow.methods.curate.openimages import Settings, judge, without_denied
from fallow.train import make_settings

CLASSES = {2: "pole", 6: "sign", 7: "fence", 8: "car", 9: "pedestrian", 10: "cyclist"}
SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Plan:
    """What all sides share."""

    images: int = 200
    least: int = 60  # pixels of a part
    hidden: float = 0.3
    moved: float = 0.12  # of a box's side
    missed: float = 0.2
    invented: float = 2.0  # boxes a picture where nothing is, on average
    crowd: int = 3
    seeds: int = 5


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    begin = time.monotonic()
    boxes, images = parts(data, plan)
    names = sorted(set(images))
    whole = annotation(boxes, names, np.ones((len(names), len(CLASSES)), bool))
    rows: list[dict[str, float]] = []
    for seed in range(plan.seeds):
        draw = np.random.default_rng([seed, 17])
        found = detected(boxes, names, plan, draw)
        rows.append(one_seed(whole, boxes, names, found, plan, draw))
        print(rows[-1], flush=True)
    about = {
        "data": {"name": "camvid", "images": len(names), "boxes": len(boxes["image"])},
        "budget": budget(minutes, begin),
        "settings": asdict(plan),
        "observed": {"mean precision": rows},
    }

    def nearer(claim: str, fair: str, naive: str, full: str) -> Entry:
        pairs = [(-abs(r[fair] - r[full]), -abs(r[naive] - r[full])) for r in rows]
        return entry(claim, fair, naive, seeds=pairs, **about)

    return [
        nearer("where answers are missing, leaving out what nobody checked stays nearer to the "
               "whole annotation", "hidden, filtered", "hidden, naive", "whole"),
        nearer("one box around a crowd moves the measure that knows of crowds less",
               "crowds, known", "crowds, as boxes", "whole"),
        nearer("a crowd that only excuses moves the measure less",
               "crowds, excused", "crowds, as boxes", "whole"),
        entry("detections less what people denied are more precise, judged as exhaustive",
              "less denied", "whole, exhaustive",
              seeds=[(r["less denied"], r["whole, exhaustive"]) for r in rows], **about),
    ]  # fmt: skip


def one_seed(
    whole: Annotations, boxes: dict[str, Any], names: Sequence[str], found: Annotations,
    plan: Plan, draw: np.random.Generator,
) -> dict[str, float]:  # fmt: skip
    """Mean precision of the same detections by every annotation and measure."""
    fair = make_settings(Settings, {})
    naive = make_settings(Settings, {"filter": False})
    excused = make_settings(Settings, {"group_weight": 0.0})
    known = draw.random((len(names), len(CLASSES))) >= plan.hidden
    hidden = annotation(boxes, names, known)
    crowds, alone = (annotation(crowded(boxes, plan.crowd, as_group), names,
                                np.ones_like(known)) for as_group in (True, False))  # fmt: skip
    asked = {
        "whole": (whole, found, fair),
        "whole, exhaustive": (whole, found, naive),
        "hidden, filtered": (hidden, found, fair),
        "hidden, naive": (hidden, found, naive),
        "crowds, known": (crowds, found, fair),
        "crowds, excused": (crowds, found, excused),
        "crowds, as boxes": (alone, found, fair),
        "less denied": (whole, without_denied(found, whole), naive),
    }
    return {name: judge(*each).mean for name, each in asked.items()}


def parts(data: Path, plan: Plan) -> tuple[dict[str, Any], list[str]]:
    """Boxes around connected parts of the classes, as columns, and the pictures they are in."""
    from skimage.measure import label, regionprops

    import fallow

    images = fallow.open(archive(data, "camvid")).sample(plan.images, seed=0)
    columns: dict[str, Any] = {name: [] for name in ("image", "label", *SIDES)}
    for row, key in enumerate(images.column("id")):
        mask = images.mask(row)
        height, width = mask.shape
        for code, name in CLASSES.items():
            for part in regionprops(label(mask == code)):
                if part.area < plan.least:
                    continue
                y0, x0, y1, x1 = part.bbox
                values = (str(key), name, x0 / width, y0 / height, x1 / width, y1 / height)
                for column, value in zip(columns, values, strict=True):
                    columns[column].append(value)
    return columns, columns["image"]


def annotation(boxes: dict[str, Any], names: Sequence[str], known: np.ndarray) -> Annotations:
    """The boxes of what is known (pictures by classes), and a person's yes or no beside each."""
    place = {name: row for row, name in enumerate(names)}
    code = {name: column for column, name in enumerate(CLASSES.values())}
    there = np.zeros(known.shape, bool)
    rows = [(place[i], code[c]) for i, c in zip(boxes["image"], boxes["label"], strict=True)]
    for row in rows:
        there[row] = True
    keep = [bool(known[row]) for row in rows]
    chosen = {c: [v for v, k in zip(values, keep, strict=True) if k] for c, values in boxes.items()}
    at = np.argwhere(known)
    labels = {
        "image": [names[row] for row, _ in at],
        "label": [list(code)[column] for _, column in at],
        "confidence": [float(there[row, column]) for row, column in at],
        "source": ["verification"] * len(at),
    }
    return store.annotated(images={"image": list(names)}, labels=labels, boxes=chosen)


def crowded(boxes: dict[str, Any], least: int, as_group: bool) -> dict[str, Any]:
    """Where a picture has many boxes of a class, one around all, said to be a crowd or not."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(boxes["image"], boxes["label"], strict=True)):
        groups.setdefault(key, []).append(row)
    columns: dict[str, Any] = {name: [] for name in ("image", "label", *SIDES, "group")}
    for (image, name), rows in groups.items():
        corners = np.array([[boxes[side][row] for side in SIDES] for row in rows])
        if crowd := len(rows) >= least:
            corners = np.r_[corners[:, :2].min(0), corners[:, 2:].max(0)][None]
        for one in corners:
            values = (image, name, *one.tolist(), int(crowd and as_group))
            for column, value in zip(columns, values, strict=True):
                columns[column].append(value)
    return columns


def detected(
    boxes: dict[str, Any], names: Sequence[str], plan: Plan, draw: np.random.Generator
) -> Annotations:
    """True boxes moved, some missed, and others where nothing is; scores tell them half apart."""
    corners = np.array([boxes[side] for side in SIDES]).T
    stays = draw.random(len(corners)) >= plan.missed
    size = np.tile(corners[:, 2:] - corners[:, :2], 2)
    moved = (corners + draw.normal(0, plan.moved, corners.shape) * size).clip(0, 1)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1e-4)
    count = int(draw.poisson(plan.invented * len(names)))
    low = draw.uniform(0, 0.8, (count, 2))
    other = np.concatenate([low, low + draw.uniform(0.02, 0.2, (count, 2))], 1)
    image = [n for n, s in zip(boxes["image"], stays, strict=True) if s]
    label = [n for n, s in zip(boxes["label"], stays, strict=True) if s]
    image += draw.choice(list(names), count).tolist()
    label += draw.choice(list(CLASSES.values()), count).tolist()
    scores = np.r_[draw.beta(4, 2, int(stays.sum())), draw.beta(2, 3, count)]
    table = np.concatenate([moved[stays], other])
    columns = {side: table[:, place] for place, side in enumerate(SIDES)}
    return store.annotated(
        images={"image": list(names)},
        boxes={"image": image, "label": label, **columns, "confidence": scores},
    )
