"""What a folder is distilled from, whether it may be mirrored, and how the outcome is verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fallow.methods.distil import Host
from fallow.methods.distil.fyi import Judgement, judged, named
from fallow.methods.shared.coreset import accuracy_of, embedded, picked, predicted, trained
from fallow.methods.shared.tiny import Real, Refined
from fallow.problems import SourceProblem

if TYPE_CHECKING:
    from fallow.images import Images

SIDES = (8, 16, 32, 64)  # of the synthetic images, the largest only with a GPU
ASKED = 20  # held-out images below which nothing is tested
NETWORKS = 3
EPOCHS = 300  # of a network on the tiny set; 1,000 in the papers


def of_classes(images: Images) -> Images:
    """The labelled images, of at least two classes."""
    labelled = images.labelled
    if not len(labelled):
        raise SourceProblem(
            f"{images.name} has no labels, and a tiny set is made class by class: give labels="
        )
    codes, names = labelled.labels
    if len(names) < 2:
        raise SourceProblem(
            f"all images of {images.name} are labelled {names[0]}: a tiny set needs two classes"
        )
    counts = np.bincount(codes)
    if counts.max() < 2:
        raise SourceProblem(
            f"every class of {images.name} has a single image: there is nothing to distil"
        )
    return labelled


def side_for(images: Images, asked: Any, gpu: bool) -> int:
    """The side of the synthetic images, which no real image is enlarged to."""
    short = np.minimum(images.column("width"), images.column("height"))
    if asked is not None:
        small = int((short < int(asked)).sum())
        if small:
            raise SourceProblem(
                f"{small:,} of {len(images):,} images are smaller than size={asked} "
                f"(the smallest is {short.min()} px): use size={short.min()} or leave them out "
                "with where="
            )
        return int(asked)
    fitting = [side for side in SIDES if side <= short.min() and (gpu or side <= 32)]
    if not fitting:
        raise SourceProblem(
            f"the smallest image has {short.min()} px on its short side, too little to distil: "
            f'leave it out with where="width >= {SIDES[0]} and height >= {SIDES[0]}"'
        )
    return fitting[-1]


def judged_mirror(judge: Any, held: Real | None, names: list[str]) -> Judgement:
    if judge is None or held is None or len(held) < ASKED:
        found = named(names)
        return Judgement(found.keeps, found.sentence or (
            "whether mirroring changes what the images mean was not tested"
        ))  # fmt: skip
    seen, turned = (predicted(judge, held, turned=flag).cpu().numpy() for flag in (False, True))
    return judged(seen, turned, held.labels.cpu().numpy(), names)


def decide_mirror(
    given: dict[str, Any], fyi: bool | None, judgement: Judgement, notes: list[str]
) -> None:
    """Decide on mirroring where it was left open, and say what was decided or should be."""
    sentence = judgement.sentence
    if judgement.keeps is not False:
        notes.append(f"{sentence[0].upper()}{sentence[1:]}.")
        return
    on = given.get("copies") in ("mirror", "random") or given.get("flip") in ("always", "drawn")
    if on:
        notes.append(f"Warning: {sentence}; yet mirror images are used, as asked.")
    else:
        notes.append(f"Mirror images are not used: {sentence}.")
    given.setdefault("copies", "none")
    given.setdefault("flip", "never")


def verified(
    host: Host, refined: Refined, held: Real, judge: Any, flips: bool, seed: int,
    tell: Callable[[str], None],
) -> dict[str, list[float]]:  # fmt: skip
    """Held-out accuracies of fresh networks, trained alike on the same number of images."""
    real, s = host.real, host.settings
    features = embedded(judge, real)
    found: dict[str, list[float]] = {}
    for number in range(NETWORKS):
        draws = torch.Generator().manual_seed(seed + 1 + number)
        drawn = [real.some(code, host.per_class, draws) for code in range(host.classes)]
        rows = {"random real": torch.cat(drawn)}
        for rule in ("k-centre", "herding"):
            rows[rule] = picked(real, features, host.per_class, rule)
        sets = {"distilled": (refined.pixels, refined.labels, host.recipe().get("rate", 0.01))}
        sets |= {name: (real.take(own), real.labels[own], 0.01) for name, own in rows.items()}
        for name, (x, labels, rate) in sets.items():
            net = trained(
                x, labels, host.classes, seed=seed + number, epochs=EPOCHS, mirror=flips,
                rate=rate, width=s.width, depth=s.depth,
            )  # fmt: skip
            found.setdefault(name, []).append(accuracy_of(net, held))
        told = ", ".join(f"{name} {scores[-1]:.3f}" for name, scores in found.items())
        tell(f"network {number + 1} of {NETWORKS}: {told}")
    return found
