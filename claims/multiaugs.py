"""MultiAugs on bees and mice: do hard views of unmarked pictures help where few are marked?

Per data set, number of marked pictures and seed some training pictures keep their points, drawn by
video where pictures are frames of one, and all others lose them. Supervised-only, one turned view
(consistency without damage), and MultiAugs train for the same steps from the same weights; the
long plan adds the same view twice, and all damage stacked in one view, and sees twice the size.
Judged on test pictures that no run has seen: by the share of points within a tenth of the size of
the marked points' diagonal (PCK@0.1), and by the mean error in pixels. `--minutes` sets the steps
of each run; the long plan takes two hours or more.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.photos import archive

from claims.masks import labelled_rows
from claims.record import Entry, budget, entry, over_sets

NAME = "pose_small"
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised": ("supervised", {}),
    "one turned view": ("multiaugs", {"hard": ("a",)}),
    "multiaugs": ("multiaugs", {}),
    "the same view twice": ("multiaugs", {"hard": ("jo+co", "jo+co")}),
    "all in one view": ("multiaugs", {"hard": ("jo+co+jc+cm",)}),
}
CLAIMS = (
    ("hard views of unmarked pictures help", "multiaugs", "supervised"),
    ("several damaged views help more than a turned one", "multiaugs", "one turned view"),
    ("a turned view of unmarked pictures helps", "one turned view", "supervised"),
    ("two different views help more than one twice", "multiaugs", "the same view twice"),
    ("separate views help more than all in one", "multiaugs", "all in one view"),
)
MEASURES = (("PCK@0.1", "pck", 1), ("mean error in pixels, less", "error", -1))
TIMED = 6  # steps


@dataclass(frozen=True)
class Plan:
    """What all runs share."""

    sets: tuple[str, ...] = ("bee", "mouse")
    counts: tuple[int, ...] = (10, 25, 50)
    rows: tuple[str, ...] = ("supervised", "one turned view", "multiaugs")
    encoder: str = "tiny"  # as the verb chooses
    size: int = 64
    batch: int = 4
    seeds: int = 3
    steps: int = 2000  # at most; fewer where the minutes are short


LONG = Plan(rows=tuple(ROWS), size=128)


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    chosen = plan or (LONG if minutes >= 120 else Plan())
    return over_sets(chosen.sets, minutes, lambda name, share: one_set(data, name, share, chosen))


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    begin = time.monotonic()
    images = marked(data, name)
    train = images.where("part = 'train' and points is not null")
    costs = [timed(plan, row, images, train) for row in plan.rows]
    left = 60 * minutes - (time.monotonic() - begin)
    each = plan.seeds * len(plan.counts) * sum(costs)
    steps = int(max(TIMED, min(plan.steps, 0.9 * left / each)))
    rows = [one_seed(images, plan, seed, steps) for seed in range(plan.seeds)]
    return entries_of(name, images, plan, rows, budget(minutes, begin, steps=steps))


Outcomes = dict[str, dict[str, float]]  # of a seed: "row, count marked" -> measures


def one_seed(images: Any, plan: Plan, seed: int, steps: int) -> Outcomes:
    """Every row with every count of marked pictures, from the same weights."""
    train = images.where("part = 'train' and points is not null")
    test = images.where("part = 'test' and points is not null")
    found: Outcomes = {}
    for count in plan.counts:
        kept = train.select(np.sort(labelled_rows(train.column("video"), count, seed)))
        for row in plan.rows:
            method = fitted(plan, row, images, kept, seed, steps)
            seen = judged(method, test) | {"on those marked": judged(method, kept)["pck"]}
            found[f"{row}, {count} marked"] = seen
            print(f"{row}, {count} marked, seed {seed}: {seen}", flush=True)
    return found


def entries_of(
    name: str, images: Any, plan: Plan, seeds: list[Outcomes], spent: dict[str, Any]
) -> list[Entry]:
    """Every claim whose two rows were run, by both measures."""
    facts: dict[str, Any] = {
        "data": {"name": f"{NAME}/{name}", "images": len(images),
                 "fingerprint": images.fingerprint, "marked ones drawn by": "video"},
        "budget": spent,
        "settings": asdict(plan),
        "observed": {
            row: {"every seed": [one[row] for one in seeds]}
            | {key: mean(one[row][key] for one in seeds) for key in seeds[0][row]}
            for row in seeds[0]
        },
    }  # fmt: skip
    return [
        entry(
            f"{name}, {count} marked: {claim} ({measure})",
            ours,
            theirs,
            seeds=[
                tuple(sign * one[f"{row}, {count} marked"][key] for row in (ours, theirs))
                for one in seeds
            ],
            **facts,
        )
        for count in plan.counts
        for claim, ours, theirs in CLAIMS
        if ours in plan.rows and theirs in plan.rows
        for measure, key, sign in MEASURES
    ]


def marked(data: Path, name: str) -> Any:
    """All pictures of a set with the columns points, part and video."""
    import fallow

    where = archive(data, NAME)
    with zipfile.ZipFile(where) as opened:
        known = json.load(io.TextIOWrapper(opened.open("keypoints.json"), "utf-8"))
    images = fallow.open(where)
    mine = images.select(np.array([known[key]["set"] == name for key in images.column("id")]))
    rows = [known[key] for key in mine.column("id")]
    cells = [
        None
        if not row.get("points")
        else [value for at in row["points"] for value in ((*at, 2.0) if at else (0.0, 0.0, 0.0))]
        for row in rows
    ]
    table = mine.table
    for column in {"part", "video", "points"} & set(table.column_names):
        table = table.drop_columns([column])
    table = table.append_column("points", pa.array(cells, pa.list_(pa.float32())))
    table = table.append_column("part", [[row["split"] for row in rows]])
    # frames of one video differ in the number at the end; mice are of one video, frame by frame
    videos = [key.rpartition("_f")[0] or key for key in mine.column("id")]
    return mine._with(table.append_column("video", [videos]))


def fitted(plan: Plan, row: str, images: Any, kept: Any, seed: int, steps: int) -> Any:
    """One run: the pictures that keep their points, and all others of training without."""
    import fallow
    from fallow.methods import find
    from fallow.train import fit, make_settings

    slug, changes = ROWS[row]
    kind: Any = find("pose", slug)
    mine = set(kept.column("id"))
    rest = images.where("part != 'test'")
    bare = rest.select(np.array([key not in mine for key in rest.column("id")]))
    leader = kept if kind.streams[0] == "labelled" else bare
    batch = min(plan.batch, len(kept), len(bare))
    given = {
        "points": len(kept.table.column("points")[0]) // 3,
        "size": plan.size,
        "batch": batch,
        "epochs": steps / max(1, len(leader) // batch),
        "learning_rate": 1e-3 * 256 / batch,
        "precision": "32",
        "compile": "off",
    } | changes
    return fit(
        kind,
        {stream: {"unlabelled": bare, "labelled": kept}[stream] for stream in kind.streams},
        encoder=fallow.encoder(plan.encoder, seed=seed, size=plan.size),
        settings=make_settings(kind.Settings, given),
        seed=seed,
    ).method


def timed(plan: Plan, row: str, images: Any, train: Any) -> float:
    """Seconds of a step, once what is done only once has been done."""
    kept = train.select(np.arange(max(plan.counts)))
    fitted(plan, row, images, kept, 0, 2)
    begin = time.monotonic()
    fitted(plan, row, images, kept, 0, TIMED)
    return (time.monotonic() - begin) / TIMED


def judged(method: Any, images: Any) -> dict[str, float]:
    """PCK@0.1 and mean error in pixels of the file, from all marked points together."""
    from fallow.measure.landmarks import pck, sizes
    from fallow.methods.shared.pose import look

    pictures = [images[row] for row in range(len(images))]
    found = look(method, pictures, tilts=(0.0,)).points
    cells = np.array(images.table.column("points").to_pylist()).reshape(len(images), -1, 3)
    truth = np.where(cells[..., 2:] > 0, cells[..., :2], np.nan)
    counts = np.isfinite(truth[..., 0]).sum(0)  # every marked point counts the same
    shares = np.nan_to_num(pck(found, truth, 0.1 * sizes(truth, "diagonal")))
    errors = np.linalg.norm(found - truth, axis=2)
    return {
        "pck": float((shares * counts).sum() / counts.sum()),
        "error": float(np.nanmean(errors)),
        "median error": float(np.nanmedian(errors)),
    }
