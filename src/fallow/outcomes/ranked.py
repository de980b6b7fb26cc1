"""Photos ranked by their quality, or by how likely they were tampered with, and what decided."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.colours import heat
from fallow.encoders import encoder
from fallow.images import Images, opened
from fallow.images.collection import with_columns
from fallow.measure.dense import auroc
from fallow.measure.detected import detected
from fallow.methods.spot import uhdiqa, wscl
from fallow.outcomes.pictures import jpeg, save_picture, shrunk, stretched
from fallow.outcomes.result import Result
from fallow.outcomes.sentences import counted, unreadable
from fallow.outcomes.tables import save_csv, save_json
from fallow.train import fit, make_settings

RATINGS = ("rating", "mos", "quality")  # columns that may hold what people said
SHOWN, SIDE = 12, 200
MADE = 400  # pictures that tampering is learnt from, at most, and eight of each trusted one


class Ranked(Result):
    """A row for each photo, the first to look at first; its pictures show what decided."""

    def __init__(
        self,
        table: pa.Table,
        findings: Mapping[str, Any],
        shown: Sequence[tuple[str, float, bytes, list[bytes]]],
        page: Callable[[Mapping[str, Any]], str],
    ) -> None:
        super().__init__(
            table,
            findings=findings,
            page=lambda found: page({**found, "shown": shown}),
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """scores.csv, findings.json, table and report."""
        place = super().save(folder)
        save_csv(place / "scores.csv", self.table)
        save_json(place / "findings.json", self.findings)
        return place


def by_quality(
    images: Images,
    given: Mapping[str, Any],
    good: Images | None,
    seed: int,
    page: Callable[[Mapping[str, Any]], str],
) -> Ranked:
    """From the poorest photo on; what is natural is learnt from good photos, or the sharpest."""
    settings = make_settings(uhdiqa.Settings, {"seed": seed, **given})
    looked = uhdiqa.look(images, settings=settings)
    natural = None
    if good is not None:
        natural = uhdiqa.natural_of(uhdiqa.look(good, settings=settings), range(len(good)))
    column = next((name for name in RATINGS if name in images.columns), None)
    ratings = None
    if column is not None:
        cells = images.table.column(column).to_pylist()
        ratings = np.array([np.nan if cell is None else float(cell) for cell in cells])
    judged = uhdiqa.judge(looked, ratings, natural=natural, settings=settings)
    best = judged.best
    order = best.order()[::-1]
    order = order[np.isfinite(best.values[order])]
    paths = images.table.column("path")
    shown = []
    for row in order[:SHOWN].tolist():
        pixels = images[row]
        boxes = uhdiqa.worst_blocks(looked, row, judged.natural)
        crops = [jpeg(pixels[y : y + h, x : x + w], SIDE) for (y, x, h, w), _ in boxes]
        shown.append((paths[row].as_py(), float(best.values[row]), jpeg(pixels, SIDE), crops))
    table = pa.table({
        "path": paths.take(pa.array(order)),
        **{tier.name: tier.values[order] for tier in judged.tiers},
    })  # fmt: skip
    lines = [f"{counted(len(order), 'photo')} ranked by {best.name}, the poorest first"]
    lines += [
        f"{tier.name}: rank correlation {tier.agreement.srcc:.3f} with ratings, on photos it was "
        "not fitted to"
        for tier in judged.tiers
        if tier.agreement is not None
    ]
    skipped = [f"{len(looked.skipped):,} could not be judged"] if looked.skipped else []
    findings = {
        "name": f"quality of {images.name}",
        "headlines": lines,
        "notes": [*judged.notes, *skipped, *unreadable(images.problems)],
        "tiers": uhdiqa.told(judged),
        "what": "the least natural parts",
        "settings": settings.model_dump(),
        "problems": [{"path": each.path, "reason": each.reason} for each in images.problems],
    }
    return Ranked(table, findings, shown, page)


def by_tampering(
    images: Images,
    given: Mapping[str, Any],
    trusted: Images | None,
    out: Path | None,
    seed: int,
    tell: Callable[[str], None],
    page: Callable[[Mapping[str, Any]], str],
) -> Ranked:
    """From the likeliest on; learnt from trusted photos, half of them tampered with by fallow."""
    with tempfile.TemporaryDirectory() as place:
        source = images if trusted is None else trusted
        taught = made_set(source, min(MADE, 8 * len(source)), Path(place), seed)
        tell(f"learning from {len(taught):,} pictures, half of them tampered with")
        teach, kept = taught.split(0.8, seed=seed)
        settings = make_settings(wscl.WSCL.Settings, {"minutes": 5.0, **given})
        start = encoder("resnet18/16", seed=seed, size=settings.size)
        run = fit(wscl.WSCL, teach, encoder=start, settings=settings, seed=seed, tell=tell,
                  out=None if out is None else out / "run")  # fmt: skip
        method: Any = run.method
        aside = [one for _, one in wscl.judged(method, kept) if isinstance(one, wscl.Judgement)]
        truth = [label == wscl.TAMPERED for label in kept.column("label").tolist()]
    scores = [one.score for one in aside]
    bar = wscl.at_best(scores, truth)
    worth = auroc(truth, scores)
    rows, values, shown = [], [], []
    maps: dict[int, np.ndarray] = {}
    for row, one in wscl.judged(method, images):
        if isinstance(one, wscl.Judgement):
            rows.append(row)
            values.append(one.score)
            maps[row] = shrunk_map(one.map)
    order = np.argsort(-np.array(values), kind="stable")
    paths = images.table.column("path")
    for place_of in order[:SHOWN].tolist():
        row = rows[place_of]
        pixels = images[row]
        where = jpeg(laid_over(pixels, maps[row]), SIDE)
        shown.append((paths[row].as_py(), values[place_of], jpeg(pixels, SIDE), [where]))
    ranked = np.array(rows)[order]
    scored = np.array(values)[order]
    flagged = int((scored > bar).sum())
    lines = [f"{flagged:,} of {counted(len(rows), 'photo')} look tampered with"]
    known = None
    if "tampered" in images.columns:
        cells = images.table.column("tampered").take(pa.array(ranked)).to_pylist()
        known = np.array([str(cell).lower() in ("1", "true", "yes") for cell in cells])
        found = detected(scored > bar, known)
        lines.append(
            f"beside what is known: AUROC {auroc(known, scored) or float('nan'):.3f}, "
            f"{found.hits} found, {found.misses} missed, {found.alarms} wrongly"
        )
    notes = [
        f"Of made pictures kept aside it tells tampered ones with an AUROC of "
        f"{float('nan') if worth is None else worth:.2f}: kinds it never saw may pass.",
        "A finding is a reason to look, not a proof.",
    ]
    table = pa.table({"path": paths.take(pa.array(ranked)), "score": scored,
                      "flagged": scored > bar})  # fmt: skip
    findings = {
        "name": f"tampering in {images.name}",
        "headlines": lines,
        "notes": [*notes, *unreadable(images.problems)],
        "what": "where",
        "aside": worth,
        "threshold": bar,
        "settings": settings.model_dump(exclude_none=True),
        "problems": [{"path": each.path, "reason": each.reason} for each in images.problems],
    }
    return Ranked(table, findings, shown, page)


def made_set(images: Images, count: int, place: Path, seed: int) -> Images:
    """Pictures made of trusted ones, with their labels, as files in a folder."""
    labels = []
    for number, (pixels, label, _) in enumerate(wscl.made(images, count, seed)):
        save_picture(place / f"{number:04d}.png", pixels)
        labels.append(label)
    taught = opened(place)
    names = [labels[int(Path(path).stem)] for path in taught.table.column("path").to_pylist()]
    return taught._with(with_columns(taught.table, pa.table({"label": names}))[0])


def shrunk_map(values: np.ndarray, side: int = 256) -> np.ndarray:
    """A map small enough to keep for every picture."""
    step = max(1, max(values.shape) // side)
    return values[::step, ::step]


def laid_over(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A picture with a map of 0 ... 1 over it."""
    small = shrunk(pixels, 2 * SIDE)
    return heat(small, stretched(values, small.shape[:2]), 0.0, 1.0)
