"""MultiCapCLIP: does noise in training let a writer that saw only texts caption pictures?

A dual encoder learns from half of some digits with made captions, and is frozen. A writer learns to
say the other half's captions again from their vectors, and never sees a picture. Asked are pictures
that neither saw: how many captions are right in every word, and how many name the right digit. The
texts themselves, said again, are beside: every variant can do that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from claims import captioned
from claims.kept import Kept
from claims.record import Entry, by_measure
from fallow.encoders import dual
from fallow.images.captions import open_texts
from fallow.methods.caption.multicapclip import TEXTS, MultiCapCLIP, gap
from fallow.train import fit, make_settings

BARE = {"noise": 0.0, "prompts": 0, "related": 1}
ROWS: Mapping[str, dict[str, float]] = {
    "bare": BARE,
    "with noise": BARE | {"noise": 0.1},
    "with much noise": BARE | {"noise": 0.3},
    "with noise and phrases": BARE | {"noise": 0.1, "prompts": 4},
}
COMPARED = (
    ("noise helps a writer that saw no picture", "with noise", "bare"),
    ("some noise is better than much", "with noise", "with much noise"),
    ("phrases help beside noise", "with noise and phrases", "with noise"),
)
MEASURES = {"digit": "the right digit", "caption": "every word"}


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    dual_epochs: int = 30
    epochs: int = 25
    width: int = 64
    layers: int = 1
    rate: float = 8e-3
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("multicapclip", asdict(plan) | captioned.SMALL)
    values: dict[str, list[dict[str, float]]] = {name: [] for name in ROWS}
    for seed in range(plan.seeds):
        for name, found in kept(f"seed {seed}", partial(one_seed, seed, plan)).items():
            values[name].append(found)
    return by_measure(
        values, COMPARED, MEASURES, "{claim}, by {words}",
        data={"name": "digits", "images": captioned.TEACH},
        budget=kept.budget(minutes, epochs=plan.epochs),
        settings=asdict(plan) | {"dual": captioned.SMALL},
    )  # fmt: skip


def one_seed(seed: int, plan: Plan) -> dict[str, dict[str, float]]:
    """Every row, in the space of the same dual encoder."""
    teach, ask = captioned.pictures(seed)
    pairs, others = teach.split(0.5, seed=seed)
    texts = others.column("caption").tolist()
    with tempfile.TemporaryDirectory() as folder:
        made: Any = captioned.aligned("clip", pairs, seed, {"epochs": plan.dual_epochs}).method
        dual.save(made.dual(), folder)
        return {
            name: written(folder, texts, ask, settings, seed, plan)
            for name, settings in ROWS.items()
        }


def written(
    folder: str, texts: list[str], ask: Any, settings: Mapping[str, float], seed: int, plan: Plan
) -> dict[str, float]:
    """How many captions of unseen pictures are right after learning from texts alone."""
    start = dual.dual_encoder(folder)
    told = {
        "start": folder, "epochs": plan.epochs, "width": plan.width, "layers": plan.layers,
        "heads": 2, "vocabulary": 600, "context": 12, "phrases": 40, "batch": 32,
        "learning_rate": plan.rate, "dropout": 0.0, **settings,
    }  # fmt: skip
    learnt: Any = fit(
        MultiCapCLIP, {TEXTS: open_texts(texts)}, encoder=start.image,
        settings=make_settings(MultiCapCLIP.Settings, told), seed=seed,
    ).method  # fmt: skip
    captioner = learnt.captioner()
    seen = start.embed_images(ask, normalise=True)
    known = start.embed_texts(texts, normalise=True)
    said = [text for text, _, _ in captioner.write(seen, beams=1)]
    again = [text for text, _, _ in captioner.write(known, beams=1)]
    wanted = ask.column("caption").tolist()
    return {
        "caption": float(np.mean([a == b for a, b in zip(said, wanted, strict=True)])),
        "digit": float(np.mean([a.split()[-1:] == b.split()[-1:]
                                for a, b in zip(said, wanted, strict=True)])),
        "texts said again": float(np.mean([a == b for a, b in zip(again, texts, strict=True)])),
        "nearest sentence": gap(seen, known),
    }  # fmt: skip
