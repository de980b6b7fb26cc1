"""Rawformer: does a recogniser for one camera serve another once its frames are translated?

Aerial photos are un-processed to two made-up sensors, as in rawformer.py. A probe on an encoder
learns land uses from one camera's frames, shown plainly with that camera's white. It is asked about
other photos as the other camera recorded them: untranslated, with statistics matched, translated,
and, which is the bound, as its own camera would have recorded them. No frame the translator learns
from is among those asked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims import rawformer
from claims.kept import Kept
from claims.rawformer import OTHERS, other_sensor, seen, ways
from claims.record import Entry, by_row
from fallow.raw.curves import power
from fallow.raw.levels import gains_of
from fallow.raw.unprocess import plain_sensor, unprocessed

BOUND = "its own camera"


@dataclass(frozen=True)
class Plan(rawformer.Plan):
    """What all rows share."""

    encoder: str = "tiny"
    teach: int = 210
    asked: int = 210


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan()
    kept = Kept("translated", asdict(plan))
    photos = fallow.open(archive(data, "aerial_ucmerced")).labelled
    values = kept.seeds(plan.seeds, lambda seed: one_seed(photos, seed, plan))
    compared = [
        *((f"a recogniser of the other camera knows more of translated frames than after {other}",
           "translator", other) for other in OTHERS),
        ("a recogniser knows more of its own camera's frames than of translated ones",
         BOUND, "translator"),
        ("a recogniser knows more of its own camera's frames than of the other's",
         BOUND, "no translation"),
    ]  # fmt: skip
    return by_row(
        values, compared, data={"name": "aerial_ucmerced", "images": len(photos)},
        budget=kept.budget(minutes, steps=plan.steps), settings=asdict(plan),
        observed={"accuracy": values},
    )  # fmt: skip


def one_seed(photos: Any, seed: int, plan: Plan) -> dict[str, float]:
    """Share of answers that are right, of a probe taught with frames of the other camera."""
    import fallow
    from fallow.measure.ridge import ridge

    order = np.random.default_rng([seed, 157]).permutation(len(photos))
    ends = np.cumsum([plan.scenes, plan.scenes, plan.teach, plan.asked])
    mine, theirs, teach, ask = np.split(order[: ends[-1]], ends[:-1])
    one, two = plain_sensor(), other_sensor()
    maps = ways(
        [unprocessed(photos[int(row)], one) for row in mine],
        [unprocessed(photos[int(row)], two) for row in theirs], plan, seed,
    )  # fmt: skip
    gains = gains_of(two.neutral)
    shown = {
        name: [plainly(way(seen(unprocessed(photos[int(row)], one))), gains) for row in ask]
        for name, way in maps.items()
    }
    shown[BOUND] = [plainly(seen(unprocessed(photos[int(row)], two)), gains) for row in ask]
    taught = [plainly(seen(unprocessed(photos[int(row)], two)), gains) for row in teach]
    encoder = fallow.encoder(plan.encoder)
    codes, names = photos.labels
    probe = ridge(encoder.embed(taught).astype(np.float64), np.eye(len(names))[codes[teach]])
    return {
        name: float((probe(encoder.embed(some)).argmax(1) == codes[ask]).mean())
        for name, some in shown.items()
    }


def plainly(planes: np.ndarray, gains: Any) -> np.ndarray:
    """Red, both greens, blue as a picture: white balance, and 1/2.2.  4 h w -> h w 3

    >>> plainly(np.full((4, 1, 1), 0.25), (2.0, 1.0, 2.0)).tolist()
    [[[186, 136, 186]]]
    """
    rgb = np.stack([planes[0], planes[1:3].mean(0), planes[3]], -1) * np.asarray(gains)
    return np.rint(255 * power(rgb.clip(0, 1))).astype(np.uint8)
