"""PairingNet: are the neighbours of a torn piece found, and the points where two pieces touch?

Photos are torn by the machine, and their pieces turned. A network learns from some photos; the
pieces of others are searched among each other: how many of the true neighbours stand among the
first five, within one photo and among all photos together, beside histograms of colour along the
outline, histograms of how the outline bends, and chance. For pairs that do touch, the map that lays
one at the other is looked for: by the network's points, by points of contour or of texture alone,
by points seen in the frame of the picture, as published, though pieces are turned, and by the true
ones, which is the bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, entry
from fallow.images.tearing import Tear, between, whole
from fallow.measure.ranking import pair_recall
from fallow.methods.match.pairingnet import Matcher, PairingNet, ranking
from fallow.methods.shared.pieces import Look, Outline, Torn, seen, torn_up
from fallow.regions.rigid import Ransac, hypotheses, moved
from fallow.train import fit, make_settings
from fallow.vectors.space import unit

FIRST = 5
ROWS: Mapping[str, dict[str, Any]] = {
    "contour and texture": {},
    "contour alone": {"streams": "contour"},
    "texture alone": {"streams": "texture"},
    "in the picture's frame": {"frame": "picture"},
}
PLAIN = ("colours", "bends", "chance")


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    side: int = 160  # short side of the photos that are torn
    teach: int = 30
    asked: int = 6
    epochs: float = 80
    learning_rate: float = 0.128  # at batch 256
    batch: int = 4
    blocks: int = 2
    matched: int = 40  # touching pairs whose map is looked for
    right: float = 4.0  # pixels by which a piece may lie away
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan()
    kept = Kept("pairingnet", asdict(plan) | {"rows": ROWS})
    photos = fallow.open(archive(data, "natural_photos")).where("\"set\" = 'bsds'")
    values: dict[str, list[dict[str, float]]] = {}
    for seed in range(plan.seeds):
        for name, told in ROWS.items():
            make = partial(learnt, photos, told, seed, plan)
            values.setdefault(name, []).append(kept(f"{name} {seed}", make))
        for name, found in kept(f"plain {seed}", partial(plainly, photos, seed, plan)).items():
            values.setdefault(name, []).append(found)
    whole_one, *others = ROWS
    compared = [
        *((whole_one, other, measure, f"finds neighbours {words} better than {other}")
          for measure, words in (("within", "within a photo"), ("among", "among all photos"))
          for other in (*PLAIN, *others)),
        *((whole_one, other, "laid", f"lays more pieces rightly than {other}")
          for other in others),
        ("true points", whole_one, "laid", f"lay more pieces rightly than {whole_one}"),
    ]  # fmt: skip
    return [
        entry(f"{ours} {words}", ours, theirs,
              data={"name": "natural_photos", "images": len(photos)},
              budget=kept.budget(minutes, epochs=plan.epochs),
              seeds=[(a[measure], b[measure])
                     for a, b in zip(values[ours], values[theirs], strict=True)],
              settings=asdict(plan), observed=values)
        for ours, theirs, measure, words in compared
    ]  # fmt: skip


def parts(photos: Any, seed: int, plan: Plan) -> tuple[Any, list[Torn]]:
    """Photos to learn from, and others already torn."""
    order = np.random.default_rng([seed, 97]).permutation(len(photos))
    teach = photos.select(np.sort(order[: plan.teach]))
    draw = np.random.default_rng([seed, 101])
    torn = []
    for row in order[plan.teach : plan.teach + plan.asked]:
        picture = whole(smaller(photos[int(row)], plan.side))
        torn.append(torn_up(picture, Tear.at(plan.side), Look(2), draw, turn=180, touching=12))
    return teach, torn


def smaller(pixels: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    scale = side / min(pixels.shape[:2])
    size = [round(length * scale) for length in pixels.shape[1::-1]]
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def learnt(photos: Any, row: Mapping[str, Any], seed: int, plan: Plan) -> dict[str, float]:
    """Recall of neighbours, and the share of touching pairs laid where they belong."""
    teach, torn = parts(photos, seed, plan)
    matcher = taught(teach, {"pairs": 2, "layouts": 2, **row}, seed, plan)
    torn = [replace(one, outlines=[seen(piece, matcher.look) for piece in one.pieces])
            for one in torn]  # fmt: skip
    known = [matcher.know(one.outlines) for one in torn]
    laid = []
    for one, pair in chosen(torn, seed, plan):
        two = [one.outlines[pair.source], one.outlines[pair.target]]
        found = matcher.match(matcher.know(two), two, 0, 1, seed)
        laid.append(bool(found.fits) and lies_right(one, pair, found.fits[0].map, plan))
    codes = [(one.codes, one.met_codes) for one in known]
    return {**searched(codes, torn), "laid": float(np.mean(laid))}


def taught(teach: Any, more: Mapping[str, Any], seed: int, plan: Any) -> Matcher:
    """A matcher that has learnt from photos, as long and as fast as a plan says."""
    import fallow

    told = {"size": plan.side, "batch": plan.batch, "epochs": plan.epochs, "blocks": plan.blocks,
            "learning_rate": plan.learning_rate, **more}  # fmt: skip
    method: Any = fit(
        PairingNet, teach, encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=make_settings(PairingNet.Settings, told), seed=seed,
    ).method  # fmt: skip
    return Matcher.of(method)


def plainly(photos: Any, seed: int, plan: Plan) -> dict[str, dict[str, float]]:
    """The same by what nobody has to learn, and maps by the true points."""
    _, torn = parts(photos, seed, plan)
    draw = np.random.default_rng([seed, 103])
    plain = {
        "colours": [np.stack([colours(o) for o in t.outlines]) for t in torn],
        "bends": [np.stack([bends(o) for o in t.outlines]) for t in torn],
        "chance": [draw.normal(size=(len(t.outlines), 16)) for t in torn],
    }
    said = {name: searched([(unit(one), unit(one)) for one in codes], torn)
            for name, codes in plain.items()}  # fmt: skip
    laid = []
    for one, pair in chosen(torn, seed, plan):
        places = (one.outlines[pair.source].points[pair.ours].astype(float),
                  one.outlines[pair.target].points[pair.theirs].astype(float))  # fmt: skip
        fits = hypotheses(*places, Ransac(near=5.0, agreeing=8), draw)
        laid.append(bool(fits) and lies_right(one, pair, fits[0].map, plan))
    return {**said, "true points": {"laid": float(np.mean(laid))}}


def searched(
    codes: Sequence[tuple[np.ndarray, np.ndarray]], torn: Sequence[Torn]
) -> dict[str, float]:
    """Recall among the first few: within each photo (mean), and among the pieces of all.

    `codes` are those of pieces as they are, and as pieces that touch them show them.
    """
    within = [
        pair_recall(ranking(*one), [(p.source, p.target) for p in t.pairs], (FIRST,))[FIRST]
        for one, t in zip(codes, torn, strict=True)
        if t.pairs
    ]
    starts = np.cumsum([0, *(len(one) for one, _ in codes)])
    pairs = [(start + p.source, start + p.target)
             for start, t in zip(starts, torn, strict=False) for p in t.pairs]  # fmt: skip
    everywhere = (np.concatenate(side) for side in zip(*codes, strict=True))
    among = pair_recall(ranking(*everywhere), pairs, (FIRST,))[FIRST]
    return {"within": float(np.mean(within)), "among": among}


def chosen(torn: Sequence[Torn], seed: int, plan: Plan) -> list[tuple[Torn, Any]]:
    """Some touching pairs, each once."""
    every = [(one, pair) for one in torn for pair in one.pairs if pair.source < pair.target]
    order = np.random.default_rng([seed, 107]).permutation(len(every))
    return [every[row] for row in order[: plan.matched]]


def lies_right(one: Torn, pair: Any, map_: np.ndarray, plan: Plan) -> bool:
    """Whether a map takes the source's outline where it lies beside the target."""
    points = one.outlines[pair.source].points.astype(float)
    truth = moved(points, between(one.pieces[pair.source], one.pieces[pair.target]))
    return bool(np.linalg.norm(moved(points, map_) - truth, axis=1).mean() <= plan.right)


def colours(outline: Outline, bins: int = 4) -> np.ndarray:
    """A joint histogram of the colours along an outline."""
    middle = outline.colours.shape[-1] // 2
    seen = outline.colours[:, :, middle, middle].astype(int) * bins // 256  # n 3
    flat = (seen * [bins * bins, bins, 1]).sum(1)
    return np.sqrt(np.bincount(flat, minlength=bins**3) / len(flat))


def bends(outline: Outline, reach: int = 6, bins: int = 24) -> np.ndarray:
    """A histogram of how much an outline turns at its points."""
    points = outline.points.astype(float)
    before, after = (points - np.roll(points, reach, 0), np.roll(points, -reach, 0) - points)
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    turn = np.arctan2(cross, (before * after).sum(1))
    return np.sqrt(np.histogram(turn, bins, (-np.pi, np.pi))[0] / len(turn))
