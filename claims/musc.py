"""MuSc on real parts, unlabelled: which of its choices hold, and where the whole idea fails.

Per data set the test split of one kind is scored without labels. A seed draws which images are
there (the same for both sides) and the random filters. `--minutes` sets how many images are drawn,
from a timed first run. Every comparison is one entry: pixel AUPRO (exact, up to 0.3) or image
AUROC of the method minus that of its baseline. The entries of *where it fails* compare the same
images with and without the hindrance.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.photos import archive
from torch import Tensor, nn

from claims.record import Entry, budget, entry, over_sets

# name -> what selects one kind of product among the archive's images
SETS = {
    "magnetic_tile": None,
    "paper_piped": "grade = 'PA_BRG02_RL'",
    "kolektor": None,
}


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    sets: tuple[str, ...] = tuple(SETS)
    size: int = 256
    side: int = 32
    degrees: tuple[int, ...] = (1, 3, 5)
    interval: tuple[float, float] = (0.0, 0.3)
    good_share: float = 0.1  # of the good training images, for the memory bank
    images: int = 120  # at most; fewer where the minutes are short
    seeds: int = 3
    encoder: str = "tiny"


@dataclass(frozen=True)
class Look:
    """Images seen once: what every row is computed from."""

    maps: list[Tensor]  # per layer N h w C, standardised
    vectors: Tensor
    odd: np.ndarray
    masks: list[np.ndarray]
    grid: tuple[int, int]


@dataclass(frozen=True)
class Outcome:
    """Image AUROC and AP, pixel AUROC and AUPRO."""

    image_auroc: float
    image_ap: float
    pixel_auroc: float
    pixel_ap: float
    aupro: float


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    entries = over_sets(plan.sets, minutes, lambda name, share: one_set(data, name, share, plan))
    return entries + [one for name in plan.sets for one in as_spot_does(data, name, plan)]


def as_spot_does(data: Path, name: str, plan: Plan, count: int = 40) -> list[Entry]:
    """Spot's own scoring with lite and with tiny, on `count` pictures drawn by each seed."""
    import fallow

    begin = time.monotonic()
    everything = fallow.open(archive(data, name))
    if (kind := SETS[name]) is not None:
        everything = everything.where(kind)
    test = everything.where("split = 'test'")
    found: dict[str, list[Outcome]] = {"lite": [], "tiny": []}
    for seed in range(plan.seeds):
        drawn = draw(test, count, seed)
        for encoder, outcomes in found.items():
            outcomes.append(spotted(encoder, drawn, seed))
    about = {
        "data": {"name": name, "images": len(test), "drawn": count,
                 "fingerprint": test.fingerprint},
        "budget": budget(0.0, begin),
        "settings": asdict(plan),
        "observed": {row: [asdict(one) for one in each] for row, each in found.items()},
    }  # fmt: skip
    return [
        entry(
            f"{name}: as spot scores, lite {does} better than tiny", "lite", "tiny",
            seeds=[(getattr(a, measure), getattr(b, measure))
                   for a, b in zip(found["lite"], found["tiny"], strict=True)],
            **about,
        )
        for does, measure in (("ranks images", "image_auroc"), ("finds regions", "aupro"))
    ]  # fmt: skip


def spotted(encoder: str, drawn: Any, seed: int) -> Outcome:
    """What `spot` makes of pictures with an encoder and nothing else said."""
    import fallow
    from fallow.measure import image_measures, measures
    from fallow.methods.shared.oddness import suited_sight
    from fallow.methods.spot.musc import Settings, judge

    chosen, settings = fallow.encoder(encoder), Settings()
    judging = judge(chosen, suited_sight(chosen, settings, drawn), settings)
    found, _ = judging.among(drawn, seed, lambda _: None)
    order = np.argsort(found.rows)
    patches, rows_seen = found.patches[order], found.rows[order]
    masks = [shrunk(marks(drawn, int(row)), 128) for row in rows_seen]
    maps = [judging.maps(one[None], (128, 128))[0] for one in patches]
    image = image_measures(
        drawn.column("anomaly").astype(int)[rows_seen], judging.image_scores(patches)
    )
    pixel = measures(masks, maps)
    values = (image["auroc"], image["ap"], pixel["auroc"], pixel["ap"], pixel["aupro"])
    return Outcome(*(float("nan") if value is None else value for value in values))


def one_set(data: Path, name: str, minutes: float, plan: Plan) -> list[Entry]:
    import fallow

    everything = fallow.open(archive(data, name))
    if (kind := SETS[name]) is not None:
        everything = everything.where(kind)
    test, train = (everything.where(f"split = '{part}'") for part in ("test", "train"))
    begin = time.monotonic()
    probe = min(16, len(test))
    rows(plan, look(plan, plan.encoder, draw(test, probe, 0), 0), None)
    seconds = time.monotonic() - begin
    # pairs, and so the time, grow with the square of the images; other encoders double the rest
    count = probe * (60 * minutes / (3 * plan.seeds * max(seconds, 1e-3))) ** 0.5
    count = int(max(min(plan.images, len(test), 12), min(plan.images, len(test), count)))

    found: dict[str, list[Outcome]] = {}
    for seed in range(plan.seeds):
        drawn = draw(test, count, seed)
        good = train.where("label = 'good'")
        bank = good.sample(max(1, round(plan.good_share * len(good))), seed=seed)
        seen = look(plan, plan.encoder, drawn, seed)
        known = look(plan, plan.encoder, bank, seed)
        results = rows(plan, seen, known)
        for other in ("random filters", "raw pixels"):
            results[other] = mutual(plan, look(plan, other, drawn, seed))
        results |= failures(plan, drawn, seed)
        for row, outcome in results.items():
            found.setdefault(row, []).append(outcome)
    about = {
        "data": {"name": name, "images": len(test), "drawn": count,
                 "fingerprint": test.fingerprint},
        "budget": budget(minutes, begin),
        "settings": asdict(plan),
        "observed": {row: [asdict(one) for one in each] for row, each in found.items()},
    }  # fmt: skip
    return [
        entry(
            f"{name}: {claim}", ours, theirs,
            seeds=[(getattr(a, measure), getattr(b, measure))
                   for a, b in zip(found[ours], found[theirs], strict=True)],
            **about,
        )
        for claim, ours, theirs, measure in COMPARED
    ]  # fmt: skip


# claim, method, baseline, measure: rows of what `rows` and `failures` return
COMPARED = [
    ("the nearest 30 % rank images better than all", "interval", "all", "image_auroc"),
    ("the nearest 30 % find regions better than all", "interval", "all", "aupro"),
    ("the nearest 30 % rank images better than the nearest", "interval", "nearest", "image_auroc"),
    ("the nearest 30 % find regions better than the nearest", "interval", "nearest", "aupro"),
    *(
        (f"three degrees rank images better than {r} alone", "interval", f"r={r}", "image_auroc")
        for r in (1, 3, 5)
    ),
    ("look-alikes improve the ranking", "look-alikes", "interval", "image_auroc"),
    ("the encoder ranks better than random filters", "interval", "random filters", "image_auroc"),
    ("the encoder finds regions better than random filters", "interval", "random filters", "aupro"),
    ("the encoder ranks better than raw pixels", "interval", "raw pixels", "image_auroc"),
    ("the encoder finds regions better than raw pixels", "interval", "raw pixels", "aupro"),
    ("no label reaches a memory bank of good images", "interval", "memory bank", "image_auroc"),
    ("no label finds regions like a memory bank", "interval", "memory bank", "aupro"),
    ("few defects are found better than defects on most", "few odd", "most odd", "image_auroc"),
    ("aligned parts are judged better than turned ones", "interval", "turned", "image_auroc"),
]


def draw(images: Any, count: int, seed: int) -> Any:
    """At most `count` images, good and odd in the collection's proportion, two of each at least."""
    odd = images.column("anomaly").astype(int)
    random = np.random.default_rng(seed)
    bad, sound = (random.permutation(np.flatnonzero(odd == flag)) for flag in (1, 0))
    share = round(count * len(bad) / len(odd))
    share = max(2, count - len(sound), min(share, count - 2, len(bad)))
    return images.select(np.sort(np.r_[bad[:share], sound[: count - share]]))


# --- rows ---


def rows(plan: Plan, seen: Look, bank: Look | None) -> dict[str, Outcome]:
    """The method and the variants that share its features."""
    count = len(seen.vectors)
    variants: dict[str, Callable[[], Tensor]] = {
        "interval": partial(patches, plan, seen),
        "all": partial(patches, plan, seen, interval=(0, max(count - 1, 1))),
        "nearest": partial(patches, plan, seen, interval=(0, 1)),
        **{f"r={r}": partial(patches, plan, seen, degrees=(r,)) for r in plan.degrees},
    }
    if bank is not None:
        variants["memory bank"] = partial(patches, plan, seen, interval=(0, 1), bank=bank)
    scores = {name: make() for name, make in variants.items()}
    results = {name: outcome(each, seen) for name, each in scores.items()}
    results["look-alikes"] = outcome(scores["interval"], seen, lookalikes=(1, 2, 3))
    return results


def mutual(plan: Plan, seen: Look) -> Outcome:
    return outcome(patches(plan, seen), seen)


def failures(plan: Plan, drawn: Any, seed: int) -> dict[str, Outcome]:
    """The same good images among few or many odd ones, and everything turned at random."""
    odd = drawn.column("anomaly").astype(int)
    random = np.random.default_rng(seed)
    bad, sound = (random.permutation(np.flatnonzero(odd == flag)) for flag in (1, 0))
    fewer = max(1, min(len(bad) // 3, len(sound) // 4))
    kept = max(2, min(len(sound), len(bad) // 3))
    few = drawn.select(np.sort(np.r_[bad[:fewer], sound]))
    most = drawn.select(np.sort(np.r_[bad, sound[:kept]]))
    turned = look(plan, plan.encoder, drawn, seed, turn=True)
    return {
        "few odd": mutual(plan, look(plan, plan.encoder, few, seed)),
        "most odd": mutual(plan, look(plan, plan.encoder, most, seed)),
        "turned": mutual(plan, turned),
    }


def patches(
    plan: Plan,
    seen: Look,
    *,
    interval: tuple[float, float] | None = None,
    degrees: Sequence[int] | None = None,
    bank: Look | None = None,
) -> Tensor:
    """Patch scores N h w: the mean over layers and degrees."""
    from fallow.device import fast_bf16
    from fallow.methods.spot.musc import mutual_scores, neighbourhoods, scores_against

    bf16 = fast_bf16(torch.device("cpu"))
    interval = interval or plan.interval
    total, terms = torch.zeros(len(seen.vectors), seen.grid[0] * seen.grid[1]), 0
    for layer, maps in enumerate(seen.maps):
        for degree in degrees or plan.degrees:
            z = neighbourhoods(maps, degree)
            if bank is None:
                total += mutual_scores(z, interval, bf16=bf16)
            else:
                known = neighbourhoods(bank.maps[layer], degree)
                total += scores_against(z, known, interval, bf16=bf16)
            terms += 1
    return (total / terms).unflatten(1, seen.grid)


def outcome(scores: Tensor, seen: Look, lookalikes: Sequence[int] = ()) -> Outcome:
    from fallow.measure import image_measures, measures
    from fallow.methods.spot.musc import over_lookalikes, upsampled

    images = scores.flatten(1).amax(1)
    if lookalikes:
        images = over_lookalikes(images, seen.vectors, lookalikes)
    maps = [
        upsampled(one[None], mask.shape)[0].numpy()
        for one, mask in zip(scores, seen.masks, strict=True)
    ]
    image, pixel = image_measures(seen.odd, images.numpy()), measures(seen.masks, maps)
    values = (image["auroc"], image["ap"], pixel["auroc"], pixel["ap"], pixel["aupro"])
    return Outcome(*(float("nan") if value is None else value for value in values))


# --- images and encoders ---


def look(plan: Plan, encoder: str, images: Any, seed: int, turn: bool = False) -> Look:
    """Features, and masks at half the encoder's size; `turn` by quarters, drawn by `seed`."""
    from fallow.encoders.maps import look as views
    from fallow.encoders.maps import sight
    from fallow.methods.spot.musc import standardised

    chosen = made(encoder, seed, plan)
    how = sight(chosen, size=plan.size, side=plan.side)
    turns = np.random.default_rng(seed).integers(0, 4, len(images)) if turn else [0] * len(images)
    pixels = [np.rot90(images[row], turns[row]).copy() for row in range(len(images))]
    seen = list(views(chosen, pixels, how))
    masks = [np.rot90(marks(images, row), turns[row]) for row in range(len(images))]
    return Look(
        maps=[standardised(torch.cat(each)) for each in zip(*(s.maps for s in seen), strict=True)],
        vectors=torch.cat([s.vectors for s in seen]),
        odd=images.column("anomaly").astype(int),
        masks=[shrunk(mask, plan.size // 2) for mask in masks],
        grid=how.grid,
    )


def marks(images: Any, row: int) -> np.ndarray:
    if images.column("mask")[row] is None:
        return np.zeros(images[row].shape[:2], bool)
    return images.mask(row) != 0


def shrunk(mask: np.ndarray, side: int) -> np.ndarray:
    """On side x side cells, marked where anything in the cell is."""
    marked = torch.from_numpy(mask.copy())[None, None].float()
    return F.adaptive_max_pool2d(marked, side)[0, 0].numpy() > 0


def made(name: str, seed: int, plan: Plan) -> Any:
    import fallow
    from fallow.encoders import Encoder
    from fallow.encoders.base import Preprocessing

    if name not in ("random filters", "raw pixels"):
        return fallow.encoder(name, seed=seed)
    network = RandomFilters(seed) if name == "random filters" else RawPixels(plan.side)
    return Encoder(network, name=name, preprocessing=Preprocessing(plan.size, plan.size))


class RandomFilters(nn.Module):
    """Two layers of 48 random 5 x 5 filters."""

    depth = 2
    dimension = 48

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, 48, 5, 4, 2)
            self.second = nn.Conv2d(48, 48, 5, 2, 2)

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        low = F.relu(self.first(x))
        maps = [low, F.relu(self.second(low))]
        return [maps[layer].permute(0, 2, 3, 1) for layer in layers]

    def forward(self, x: Tensor) -> Tensor:
        return self.patches(x, [1])[0].mean((1, 2))


class RawPixels(nn.Module):
    """Every patch is its own pixels."""

    depth = 1

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.dimension = 3 * 16
        self.still = nn.Parameter(torch.zeros(1), requires_grad=False)  # says where it lives

    def patches(self, x: Tensor, layers: Sequence[int], norm: bool = True) -> list[Tensor]:
        small = F.adaptive_avg_pool2d(x, 4 * self.side)
        cells = F.pixel_unshuffle(small, 4).permute(0, 2, 3, 1)  # B h w 48
        return [cells for _ in layers]

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 4).flatten(1)
