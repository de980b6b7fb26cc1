"""ITIT: do cycles over unpaired pictures and texts help where pairs are few?

Digits with made captions: some pairs, other pictures without a caption, other captions without a
picture. One network is trained on the pairs alone, or goes round with the rest, without (*half*) or
with a gradient through what was made on the way (*full*), for as many steps. Asked are pictures
nobody learnt from: captions right in the digit and in every word; and pictures painted from
sentences, as the nearest of the real ones sorts them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from claims import captioned
from claims.captioned import NAMES, enlarged
from claims.kept import Kept
from claims.record import Entry, by_measure
from fallow.images.captions import open_texts
from fallow.methods.caption.itit import ITIT, PAIRS, PICTURES, TEXTS, Painter
from fallow.train import fit, make_settings

CYCLES = ("paired", "half", "full")
COMPARED = (
    ("cycles help", "half", "paired"),
    ("cycles with a gradient help", "full", "paired"),
    ("the gradient helps cycles", "full", "half"),
)
MEASURES = {
    "digit": "captions name the right digit",
    "caption": "captions are right in every word",
    "painted": "painted digits are recognised",
}


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    pairs: int = 120
    epochs: float = 200  # over the pairs
    batch: int = 32
    width: int = 64
    seeds: int = 5


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("itit", asdict(plan))
    values: dict[str, list[dict[str, float]]] = {
        cycle: [
            kept(f"{cycle} {seed}", partial(learnt, cycle, seed, plan))
            for seed in range(plan.seeds)
        ]
        for cycle in CYCLES
    }
    return by_measure(
        values, COMPARED, MEASURES, settings=asdict(plan),
        data={"name": "digits", "images": captioned.TEACH, "pairs": plan.pairs},
        budget=kept.budget(minutes, epochs=plan.epochs),
    )  # fmt: skip


def learnt(cycle: str, seed: int, plan: Plan) -> dict[str, float]:
    """One training, and how right its captions and pictures are."""
    import fallow

    teach, ask = captioned.pictures(seed)
    order = np.random.default_rng([seed, 79]).permutation(len(teach))
    pairs, bare, spoken = np.split(order, [plan.pairs, (plan.pairs + len(order)) // 2])
    streams: dict[str, Any] = {PAIRS: teach.select(np.sort(pairs))}
    if cycle != "paired":
        streams[PICTURES] = teach.select(np.sort(bare))
        streams[TEXTS] = open_texts(teach.column("caption")[spoken].tolist())
    told = {
        "cycle": cycle, "size": 8, "patch": 2, "codes": 16, "batch": plan.batch,
        "width": plan.width, "layers": 2, "decoder": 1, "heads": 2, "vocabulary": 600,
        "context": 12, "epochs": plan.epochs,
    }  # fmt: skip
    method: Any = fit(
        ITIT, streams, encoder=fallow.encoder("resnet8/8", seed=seed),
        settings=make_settings(ITIT.Settings, told), seed=seed,
    ).method  # fmt: skip
    painter = Painter(method)
    rows, said = painter.of(ask, beams=1)
    wanted = ask.column("caption")[rows]
    texts = [text for text, _ in said]
    painted = painter.pictures([f"a plain wide {name}" for name in NAMES for _ in range(10)], seed)
    return {
        "digit": right([text.split()[-1:] for text in texts], [w.split()[-1:] for w in wanted]),
        "caption": right(texts, wanted.tolist()),
        "painted": recognised(painted, teach),
    }


def right(said: list[Any], wanted: list[Any]) -> float:
    return float(np.mean([a == b for a, b in zip(said, wanted, strict=True)]))


def recognised(painted: np.ndarray, known: Any) -> float:
    """How often the nearest real picture shows the digit that was asked for."""
    from fallow.measure import knn_accuracy

    bank = np.stack([enlarged(one) for _, one in known.map(np.asarray)])
    made = np.stack([enlarged(one) for one in painted])
    flat = [(one.reshape(len(one), -1) / 255.0).astype(np.float32) for one in (bank, made)]
    codes = known.column("label").astype(int)
    return knn_accuracy(flat[0], codes, flat[1], np.arange(len(NAMES)).repeat(10), k=1).top1
