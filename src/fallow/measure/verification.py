"""What a stranger's model learns from protected copies, beside clean ones and random changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fallow.encoders import Preprocessing
from fallow.measure.scores import halves
from fallow.measure.stranger import jpeg, label_maps, trained_by_stranger
from fallow.problems import SettingProblem, SourceProblem
from fallow.views.perturb import random_signs

if TYPE_CHECKING:
    from fallow.images import Images

LEAST = 8  # px, the smallest side that teaches anything
ROWS = ("clean", "random signs", "protected")
CONDITIONS = ("as published", "JPEG 90", "crop + flip")


@dataclass(frozen=True)
class Verification:
    """How a stranger's model is trained to test the copies."""

    epochs: int = 15
    images: int = 1000  # that it learns from, at most; as many more are half asked
    side: int = 64  # px, at most
    seeds: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "images", "side", "seeds"):
            if getattr(self, name) < 1:
                raise SettingProblem(f"verification: {name} must be 1 or more")


def verified(
    images: Images,
    made: Any,
    clusters: np.ndarray,
    plan: Verification,
    *,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train a stranger's model on clean, randomly changed and protected copies, and ask it.

    Every label map is one the patterns know nothing of; the pictures asked are always clean.
    """
    codes, _ = labels_to_verify(images)
    teach, ask = _halves(images, codes, clusters, plan, seed)
    present = np.unique(codes[teach])
    if len(present) < 2:
        raise SourceProblem("a stranger's model needs two classes to learn from: give more labels")
    place = np.full(int(codes.max()) + 1, -1)
    place[present] = np.arange(len(present))
    ask = ask[place[codes[ask]] >= 0]
    sets, test, side = _learnt_from(images, made, clusters, teach, ask, plan, seed)
    maps = label_maps(len(present), seed)
    cells = [(row, condition) for row in ROWS for condition in CONDITIONS]
    tell(
        f"verifying: {len(maps) * len(cells) * plan.seeds} trainings of {plan.epochs} epochs on "
        f"{len(teach):,} pictures of {side} px"
    )
    found = []
    for one in maps:
        labels, truth = (one.groups[place[codes[rows]]] for rows in (teach, ask))
        scores: dict[str, dict[str, list[float]]] = {row: {} for row in ROWS}
        for row, condition in cells:
            pictures = sets[row]["JPEG 90" if condition == "JPEG 90" else "as published"]
            scores[row][condition] = [
                trained_by_stranger(
                    pictures, labels, test, truth, classes=one.count, epochs=plan.epochs,
                    augment=condition == "crop + flip", seed=seed + number,
                )
                for number in range(plan.seeds)
            ]  # fmt: skip
        chance = float(np.bincount(truth).max() / len(truth))
        found.append({"name": one.name, "groups": one.count, "chance": chance, "scores": scores})
        tell(said(found[-1]))
    return {
        "maps": found,
        "side": side,
        "learnt from": len(teach),
        "asked": len(ask),
        "epochs": plan.epochs,
        "seeds": plan.seeds,
    }


def labels_to_verify(images: Images) -> tuple[np.ndarray, list[str]]:
    codes, names = images.labels
    if len(names) < 2:
        has = f"one label, {names[0]}" if names else "no labels"
        raise SourceProblem(
            f"{images.name} has {has}: to verify, a stranger's model needs two classes or more "
            "to learn (give labels; the patterns never see them)"
        )
    return codes, names


def _halves(
    images: Images, codes: np.ndarray, clusters: np.ndarray, plan: Verification, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that teach and rows that are asked, not more than planned."""

    usable = np.flatnonzero((codes >= 0) & (clusters >= 0))
    teaches, asks = halves(images.select(usable), codes[usable], seed)
    draw = np.random.default_rng(seed)
    taken = []
    for mask, most in ((teaches, plan.images), (asks, max(1, plan.images // 2))):
        taken.append(usable[np.sort(draw.permutation(np.flatnonzero(mask))[:most])])
    return taken[0], taken[1]


def _learnt_from(
    images: Images,
    made: Any,
    clusters: np.ndarray,
    teach: np.ndarray,
    ask: np.ndarray,
    plan: Verification,
    seed: int,
) -> tuple[dict[str, dict[str, Tensor]], Tensor, int]:
    """The pictures of every row of the test, with and without JPEG, and those asked."""

    shorter = np.minimum(images.column("width"), images.column("height"))[teach]
    side = max(LEAST, min(plan.side, int(np.median(shorter))))
    shrink = Preprocessing(side, side).fit
    size = tuple(made.patterns.shape[-2:])
    signs = random_signs(len(made.patterns), size, made.budget, seed)  # type: ignore[arg-type]
    chance = replace(made, patterns=signs, _stretched={})
    held: dict[str, dict[str, list[Tensor]]] = {
        row: {"as published": [], "JPEG 90": []} for row in ROWS
    }
    for row, pixels in images.select(teach).map(lambda pixels: pixels):
        if not isinstance(pixels, np.ndarray):
            raise SourceProblem(f"{images.name} changed while it was read: run again")
        cluster = int(clusters[teach[row]])
        copies = (pixels, chance.protect(pixels, cluster), made.protect(pixels, cluster))
        for name, copy in zip(ROWS, copies, strict=True):
            held[name]["as published"].append(shrink(copy))
            held[name]["JPEG 90"].append(shrink(jpeg(copy)))
    test = [
        pixels for _, pixels in images.select(ask).map(shrink) if isinstance(pixels, torch.Tensor)
    ]
    sets = {row: {kind: torch.stack(x) for kind, x in each.items()} for row, each in held.items()}
    return sets, torch.stack(test), side


def _mean(scores: Mapping[str, Any], row: str, condition: str) -> float:
    return float(np.mean(scores[row][condition]))


def _lower(before: float, after: float, asked: int) -> bool:
    """Whether `after` is lower by more than two standard errors of two such accuracies."""
    error = np.sqrt((before * (1 - before) + after * (1 - after)) / max(asked, 1))
    return bool(before - after > 2 * error)


def said(one: Mapping[str, Any]) -> str:
    clean, chance, ours = (_mean(one["scores"], row, "as published") for row in ROWS)
    return (
        f"{one['name']} ({one['groups']}): {clean:.1%} from the originals, {ours:.1%} from the "
        f"copies, {chance:.1%} with random signs (always the commonest: {one['chance']:.1%})"
    )


def sentences(measured: Mapping[str, Any]) -> list[str]:
    """What the test says, plainly.

    >>> same = {row: {kind: [0.5] for kind in CONDITIONS} for row in ROWS}
    >>> one = {"name": "classes", "groups": 4, "chance": 0.25, "scores": same}
    >>> sentences({"maps": [one], "asked": 100, "seeds": 1, "side": 32, "learnt from": 200})[0]
    'No protection was measured: a stranger learnt from the copies as well as from the originals.'
    """
    if not measured:
        return []
    asked = measured["asked"] * measured["seeds"]
    # where the originals teach nothing, copies cannot teach less
    maps = [
        one
        for one in measured["maps"]
        if _lower(_mean(one["scores"], ROWS[0], CONDITIONS[0]), one["chance"], asked)
    ]

    def less(than: str, condition: str) -> int:
        """On how many maps a stranger learnt less from the copies than from others."""
        pairs = [
            (_mean(one["scores"], than, condition), _mean(one["scores"], ROWS[-1], condition))
            for one in maps
        ]
        return sum(_lower(before, after, asked) for before, after in pairs)

    lines = []
    first, late, moved = (less(ROWS[0], condition) for condition in CONDITIONS)
    if first:
        lines += [
            f"Protection was measured on {first} of {len(maps)} ways to label the pictures: there "
            "a stranger learnt less from the copies than from the originals.",
            f"It remains on {late} of {len(maps)} after JPEG 90, and on {moved} against a stranger "
            "who crops and flips.",
            f"Better than a random pattern of the same strength on {less(ROWS[1], CONDITIONS[0])} "
            f"of {len(maps)}.",
        ]
    elif maps:
        lines.append(
            "No protection was measured: a stranger learnt from the copies as well as from the "
            "originals."
        )
    if silent := len(measured["maps"]) - len(maps):
        lines.append(
            f"{silent} of {len(measured['maps'])} ways to label the pictures say nothing: even the "
            "originals taught a stranger nothing there; more pictures or epochs may."
        )
    lines.append(
        f"Measured with one small network (ResNet-8) on {measured['learnt from']:,} pictures of "
        f"{measured['side']} px, {measured['asked']:,} clean ones asked; differences within two "
        "standard errors do not count."
    )
    return lines
