"""UG2: is the enhancement that looks nearest to the original the one recognisers want?

Photos are spoilt in six ways; the built-in enhancers, and no enhancement, are judged by three
recognisers that learnt from clean photos. On half of the spoilt photos, drawn by the seed, two
enhancers are chosen for each way: the one of highest PSNR, and the one recognisers rank highest.
On the other half only, what the recognisers make of the two, and of no enhancement, is compared:
the mean over ways of the label ranking precision (LRAP).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.photos import archive

from claims.record import Entry, budget, by_row
from fallow.measure.fidelity import psnr
from fallow.methods.grade.ug2 import judged, standings
from fallow.methods.shared.enhancers import ENHANCERS
from fallow.methods.shared.enhancing import enhanced, enhancer
from fallow.methods.shared.recognisers import recognisers
from fallow.views.damage import damaged

WAYS = {
    "white_noise": 5,
    "gaussian_blur": 3,
    "darker": 4,
    "paler": 4,
    "jpeg": 5,
    "contrast": 5,
}


@dataclass(frozen=True)
class Plan:
    """What all sides share."""

    archive: str = "aerial_ucmerced"
    encoder: str = "tiny"
    side: int = 96
    asked: int = 210
    seeds: int = 5


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    import fallow

    plan = plan or Plan()
    begin = time.monotonic()
    images = fallow.open(archive(data, plan.archive))
    teach, ask = images.where("split = 'train'"), images.where("split = 'test'")
    ask = ask.sample(plan.asked, seed=0)
    codes, names = teach.labels
    known = recognisers(fallow.encoder(plan.encoder), small(teach, plan.side), codes)
    truth = ask.labels_in(names).tolist()
    clean = small(ask, plan.side)
    found = {way: one_way(way, grade, clean, truth, known) for way, grade in WAYS.items()}
    rows: dict[str, list[float]] = {"by recognisers": [], "by PSNR": [], "none": []}
    chosen: list[dict[str, dict[str, str]]] = []
    for seed in range(plan.seeds):
        order = np.random.default_rng([seed, 37]).permutation(len(truth))
        one, other = np.split(order, [len(order) // 2])
        picks = {way: picked(table, one) for way, table in found.items()}
        chosen.append(picks)
        for rule, values in rows.items():
            of_ways = [table["LRAP"][picks[way].get(rule, "none")] for way, table in found.items()]
            values.append(float(np.mean([lrap[other].mean() for lrap in of_ways])))
    about = {
        "data": {"name": plan.archive, "images": len(truth), "fingerprint": ask.fingerprint},
        "budget": budget(minutes, begin),
        "settings": asdict(plan) | {"ways": WAYS},
        "observed": {
            "LRAP": rows, "chosen": chosen,
            "ways": {way: table["order"] for way, table in found.items()},
        },
    }  # fmt: skip
    compared = [
        ("what recognisers chose serves them better than what is nearest to the original",
         "by recognisers", "by PSNR"),
        ("what is nearest to the original serves recognisers better than no enhancement",
         "by PSNR", "none"),
        ("what recognisers chose serves them better than no enhancement",
         "by recognisers", "none"),
    ]  # fmt: skip
    return by_row(rows, compared, **about)


def small(images: Any, side: int) -> list[np.ndarray]:
    from PIL import Image

    return [
        np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
        for _, pixels in images.map(np.asarray)
    ]


def one_way(
    way: str, grade: int, clean: list[np.ndarray], truth: list[int], known: Any
) -> dict[str, Any]:
    """LRAP and PSNR of every photo by every enhancer, and the computed order with its interval."""
    draw = np.random.default_rng(41)
    spoilt = [
        np.rint(damaged(one.astype(np.float32) / 255, way, grade, draw) * 255).astype(np.uint8)
        for one in clean
    ]
    pictures = [(f"{row}.png", pixels) for row, pixels in enumerate(spoilt)]
    classes = {code: frozenset({code}) for code in set(truth)}
    runs = {name: enhancer(name) for name in ENHANCERS if name != "none"}
    found = {name: judged(pictures, truth, run, known, classes) for name, run in runs.items()}
    lrap: dict[str, np.ndarray] = {}
    for name, judgement in found.items():
        assert judgement.values is not None
        pairs = list(judgement.values.values())
        lrap["none"] = np.mean([before for before, _ in pairs], 0)
        lrap[name] = np.mean([after for _, after in pairs], 0)
    near = {
        name: np.array([psnr(a, b) for a, b in zip(clean, enhanced(run, pictures), strict=True)])
        for name, run in {**runs, "none": enhancer("none")}.items()
    }
    order = [
        {"enhancer": s.enhancer, "LRAP": [s.lrap.value, s.lrap.low, s.lrap.high],
         "rank": [s.rank.value, s.rank.low, s.rank.high], "by recogniser": dict(s.by_recogniser),
         "PSNR": float(near[s.enhancer].mean())}
        for s in standings(found)
    ]  # fmt: skip
    print(way, [one["enhancer"] for one in order], flush=True)
    return {"LRAP": lrap, "PSNR": near, "order": order}


def picked(table: dict[str, Any], rows: np.ndarray) -> dict[str, str]:
    """The best enhancer of some photos by either rule; none counts as one."""
    return {
        rule: max(table[key], key=lambda name: float(table[key][name][rows].mean()))
        for rule, key in (("by recognisers", "LRAP"), ("by PSNR", "PSNR"))
    }
