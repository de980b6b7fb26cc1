"""T2UE: do patterns made of texts alone ruin what a stranger learns, and how many must have them?

Digits with made captions. A generator learns against a dual encoder of the owner; then patterns are
made of texts: of each picture's own caption, or of one sentence for its class. A stranger trains a
small network on the copies from scratch and is asked about clean pictures: accuracy, of which less
is better protection. Patterns of a class that are pure chance are beside, as they may ruin it as
well, and random signs of the same strength for each picture; and shares of the pictures that are
protected, while the others are not.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from claims import captioned
from claims.captioned import NAMES, enlarged
from claims.kept import Kept
from claims.record import Entry, entry
from fallow.encoders import dual
from fallow.measure.stranger import trained_by_stranger
from fallow.methods.protect.t2ue import T2UE, protected
from fallow.train import fit, make_settings
from fallow.views.perturb import Budget, random_signs

SIDE = 16


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    eps: float = 8.0
    shares: tuple[float, ...] = (0.8,)
    surrogate_epochs: int = 25
    pattern_epochs: int = 25
    stranger_epochs: int = 15
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("t2ue", asdict(plan) | captioned.SMALL)
    values = kept.seeds(plan.seeds, lambda seed: one_seed(seed, plan))
    about = {
        "data": {"name": "digits", "images": captioned.TEACH},
        "budget": kept.budget(minutes),
        "settings": asdict(plan) | captioned.SMALL,
        "observed": {"accuracy": values, "chance": 0.1},
    }
    compared = [
        ("patterns of captions", "random signs", "protect more than random signs"),
        ("patterns of classes", "random signs", "protect more than random signs"),
        ("patterns of classes", "random patterns of classes",
         "protect more than random ones, one a class"),
        ("patterns of classes", "patterns of captions", "protect more than those of captions"),
        *((f"patterns of captions on {share:.0%}", "clean", "protect at all")
          for share in plan.shares),
        ("patterns of captions", f"patterns of captions on {plan.shares[-1]:.0%}",
         f"protect more than on {plan.shares[-1]:.0%} of the pictures"),
    ]  # fmt: skip
    return [
        entry(f"{ours} {words}", ours, theirs,
              seeds=[(-a, -b) for a, b in zip(values[ours], values[theirs], strict=True)], **about)
        for ours, theirs, words in compared
    ]  # fmt: skip


def one_seed(seed: int, plan: Plan) -> dict[str, float]:
    """A stranger's accuracy on clean pictures after each way to protect."""
    teach, ask = captioned.pictures(seed)
    codes = teach.column("label").astype(int)
    pixels = [enlarged(one) for _, one in teach.map(np.asarray)]
    made = writer(teach, seed, plan)
    own = made.patterns(teach.column("caption").tolist())
    classes = made.patterns([f"a plain wide {name}" for name in NAMES])
    size = (int(own.shape[-2]), int(own.shape[-1]))
    chance = random_signs(len(NAMES), size, made.budget, seed)
    each = random_signs(len(teach), size, made.budget, seed)
    everyone = np.ones(len(teach), bool)
    rows: dict[str, tuple[Tensor, np.ndarray]] = {
        "clean": (own, ~everyone),
        "random signs": (each, everyone),
        "random patterns of classes": (chance[codes], everyone),
        "patterns of classes": (classes[codes], everyone),
        "patterns of captions": (own, everyone),
    }
    order = np.random.default_rng([seed, 53]).permutation(len(teach))
    for share in plan.shares:
        some = np.isin(np.arange(len(teach)), order[: round(share * len(teach))])
        rows[f"patterns of captions on {share:.0%}"] = (own, some)
    asked = tensor([enlarged(one) for _, one in ask.map(np.asarray)])
    truth = ask.column("label").astype(int)
    return {
        name: trained_by_stranger(
            tensor(copies(pixels, patterns, chosen, made.budget)), codes, asked, truth,
            classes=len(NAMES), epochs=plan.stranger_epochs, width=8, seed=seed,
        )
        for name, (patterns, chosen) in rows.items()
    }  # fmt: skip


def writer(teach: Any, seed: int, plan: Plan) -> Any:
    """What makes patterns of texts, learnt against a dual encoder of the owner."""
    with tempfile.TemporaryDirectory() as folder:
        own = captioned.aligned("clip", teach, seed, {"epochs": plan.surrogate_epochs})
        method: Any = own.method
        dual.save(method.dual(), folder)
        settings = {
            "start": folder, "size": SIDE, "eps": plan.eps, "blocks": 3, "width": 16,
            "batch": 64, "epochs": plan.pattern_epochs, "precision": "32", "compose": "shuffled",
            "learning_rate": 8e-3,
        }  # fmt: skip
        told = make_settings(T2UE.Settings, settings)
        learnt: Any = fit(T2UE, teach, encoder=method.encoder, settings=told, seed=seed).method
    return learnt.writer(seed)


def copies(
    pixels: list[np.ndarray], patterns: Tensor, chosen: np.ndarray, budget: Budget
) -> list[np.ndarray]:
    return [
        protected(one, pattern, budget) if hidden else one
        for one, pattern, hidden in zip(pixels, patterns, chosen, strict=True)
    ]


def tensor(pixels: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
