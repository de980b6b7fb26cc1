"""FG-SBIR: do photos that nobody drew help to find the photo a sketch shows?

Chairs and shoes: sketches, and edge maps of the photos they depict (there are no photographs). One
in five photos that teach comes with its sketch; of the others the machine makes its own. Rows, for
as many steps, from an encoder that knows other pictures: the layout as it begins, where finding is
never taught; drawn photos alone; the others as well, each drawing counting alike; and counting as
far as it passes for real, held to a teacher and rewarded for being found. Two rows more are given
wrong drawings, those of other photos for two in five. Sketches of photos nobody learnt from are
looked for among those photos: how often the right one is the nearest, or among ten. Beside it what
oriented gradients reach without learning, and how well the judge tells a photo's own sketch from
another's. That a layout of eight cells a side serves was seen on the very photos that are asked
here, before anything was taught; all else was chosen on photos that teach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, by_measure, entry
from fallow.images.sketch_forms import STROKES, read_cell, sketch_pixels
from fallow.measure.ranking import accuracy_at, tied_ranks
from fallow.methods.match.fgsbir import FGSBIR, near
from fallow.methods.shared.sketching import Finder, asked, with_sketches
from fallow.parts.sketches import PHOTO, SKETCH
from fallow.train import fit, make_settings
from fallow.train.method import Batch, Now

ALONE = {"bare": 0.0, "distil": 0.0, "reward": 0.0}
ALIKE = ALONE | {"bare": 1.0, "certainty": "equal"}
ROWS: Mapping[str, dict[str, Any]] = {
    "as it begins": ALONE | {"draw": 0.999, "find": 0.001},  # not one step of finding
    "drawn photos alone": ALONE,
    "others, alike": ALIKE,
    "all of it": {},
}
WRONG = {
    "alike, some wrong": ALIKE,
    "by certainty and with a teacher, some wrong": {"reward": 0.0},
}
FLOOR = "oriented gradients"
COMPARED = (
    ("drawn photos teach finding", "drawn photos alone", "as it begins"),
    ("photos nobody drew help", "others, alike", "drawn photos alone"),
    ("certainty, a teacher and rewards help", "all of it", "others, alike"),
    ("all of it helps", "all of it", "drawn photos alone"),
    ("certainty and a teacher help against wrong drawings",
     "by certainty and with a teacher, some wrong", "alike, some wrong"),
    ("all of it beats gradients that nobody taught", "all of it", FLOOR),
)  # fmt: skip
MEASURES = {"acc@1": "nearest", "acc@10": "among ten"}


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    sets: tuple[str, ...] = ("chairs", "shoes")
    encoder: str = "tiny"
    size: int = 64
    drawn: float = 0.2
    epochs: float = 20
    draw: float = 0.3  # of the budget for drawing alone
    find: float = 0.35  # for finding alone, after that
    wrong: float = 0.4
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    return [one for name in plan.sets for one in one_set(data, name, minutes, plan)]


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    settings = {key: value for key, value in asdict(plan).items() if key not in ("sets", "seeds")}
    kept = Kept("fgsbir", settings | {"rows": ROWS})
    teach, ask = photos(data, name)
    values: dict[str, list[dict[str, float]]] = {row: [] for row in (*ROWS, *WRONG)}
    for seed in range(plan.seeds):
        for row, told in (ROWS | WRONG).items():
            wrong = plan.wrong if row in WRONG else 0.0
            make = partial(learnt, teach, ask, told, seed, plan, wrong)
            values[row].append(kept(f"{name} {row} {seed}", make))
    values[FLOOR] = [gradients(data, ask)] * plan.seeds
    about = {
        "data": {"name": "sketch_pairs", "images": len(teach) + len(ask)},
        "budget": kept.budget(minutes, epochs=plan.epochs),
        "settings": asdict(plan) | {"rows": ROWS},
    }
    trusted = [(one["told"], 0.5) for one in values["all of it"]]
    claim = f"{name}: the judge trusts a photo's own sketch more than another's"
    return [
        *by_measure(values, COMPARED, MEASURES, f"{name}: {{claim}}, {{words}}", **about),
        entry(claim, "all of it", "chance", seeds=trusted, **about),
    ]


def photos(data: Path, name: str) -> tuple[Any, Any]:
    """The edge maps that teach and those that are asked, each with the name of its sketch."""
    import pyarrow as pa

    import fallow

    images = fallow.open(archive(data, "sketch_pairs"))
    images = images.where(f"label = '{name}' and modality = 'edge'")
    table = {"path": images.column("path"), "sketch": images.column("pair")}
    images = images.join(pa.table(table))
    return images.where("split = 'train'"), images.where("split = 'test'")


def learnt(
    teach: Any, ask: Any, told: Mapping[str, Any], seed: int, plan: Plan, wrong: float
) -> dict[str, float]:
    """One training, and how often the photo of an unseen sketch is found."""
    import fallow

    known, _ = teach.split(plan.drawn, seed=seed)
    settings = {
        "size": plan.size, "epochs": plan.epochs, "draw": plan.draw, "find": plan.find,
        "precision": "32", **told,
    }  # fmt: skip
    kind = type("Mistaken", (Mistaken,), {"share": wrong}) if wrong else FGSBIR
    method: Any = fit(
        kind, {"unlabelled": teach, "labelled": with_sketches(known)},
        encoder=fallow.encoder(plan.encoder, seed=seed, size=plan.size),
        settings=make_settings(FGSBIR.Settings, settings), seed=seed,
    ).method  # fmt: skip
    found = asked(Finder.of(method), with_sketches(ask), ask)
    return {measure: found[measure] for measure in MEASURES} | {"told": told_apart(method, ask)}


class Mistaken(FGSBIR):
    """FG-SBIR to which some of its drawings are given with another photo."""

    share: ClassVar[float]

    def imagined(self, bare: Batch, now: Now) -> torch.Tensor:
        five = super().imagined(bare, now)
        moved = torch.rand(len(five)) < self.share
        five = five.clone()
        five[moved] = five[moved].roll(1, 0)
        return five


@torch.no_grad()
def told_apart(method: FGSBIR, ask: Any) -> float:
    """How often the judge trusts a photo's own sketch more than another's (AUROC)."""
    pairs = with_sketches(ask)
    drawn = [read_cell(cell) for cell in pairs.table.column(STROKES).to_pylist()]
    sketch = torch.from_numpy(
        np.stack([sketch_pixels(one, method.settings.frame, method.settings.size) for one in drawn])
    ).float()
    how = method.encoder.preprocessing
    photo = how.normalise(torch.stack([x for _, x in pairs.map(how.fit, side=how.size)]))
    photos, sketches = method.places(photo, PHOTO), method.places(method.as_picture(sketch), SKETCH)
    own, others = (
        method.judge(photo, sketch.roll(by, 0), near(photos, sketches.roll(by, 0))).numpy()
        for by in (0, 1)
    )
    return float((own[:, None] > others[None]).mean())


def gradients(data: Path, ask: Any, side: int = 128) -> dict[str, float]:
    """By histograms of oriented gradients of the sketches' own files and the edge maps."""
    from PIL import Image
    from skimage.feature import hog

    import fallow

    def of(pixels: np.ndarray) -> np.ndarray:
        grey = Image.fromarray(pixels.mean(2).astype(np.uint8))
        small = np.asarray(grey.resize((side, side), Image.Resampling.BOX))
        found = hog(small, pixels_per_cell=(16, 16), cells_per_block=(2, 2))
        return found / max(float(np.linalg.norm(found)), 1e-9)

    sketches = fallow.open(archive(data, "sketch_pairs")).where("modality = 'sketch'")
    rows = {path: row for row, path in enumerate(sketches.column("path").tolist())}
    queries = np.stack([of(sketches[rows[path]]) for path in ask.column("sketch").tolist()])
    bank = np.stack([of(pixels) for _, pixels in ask.map(np.asarray)])
    share = accuracy_at(tied_ranks(1 - queries @ bank.T, np.arange(len(ask))), (1, 10))
    return {"acc@1": share[1], "acc@10": share[10]}
