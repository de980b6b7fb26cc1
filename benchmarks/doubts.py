"""Captions exchanged between photos: does the doubt score of `align` find them?"""

from __future__ import annotations

import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.pairs import written
from benchmarks.photos import archive
from benchmarks.record import Line, line

ALONE = True  # chance is the peer

EXCHANGED = 0.1


@dataclass(frozen=True)
class Amount:
    epochs: float = 40
    size: int = 64
    seeds: int = 3


QUICK = Amount(epochs=1, size=32, seeds=1)


def run(data: Path, python: str | None, quick: bool) -> list[Line]:
    """From scratch; with FALLOW_DUAL, a folder or hf:NAME, also by a dual encoder that is given."""
    amount = QUICK if quick else Amount()
    given = os.environ.get("FALLOW_DUAL")
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FALLOW_CACHE"] = f"{folder}/cache"
        with zipfile.ZipFile(archive(data, "flickr8k_sample")) as opened:
            opened.extractall(folder)
        for seed in range(amount.seeds):
            captions, wrong = exchanged(written(data), seed)
            named = [("learnt from these alone", learnt(Path(folder), captions, amount, seed))]
            if given:
                named.append((given, asked(given, Path(folder), captions)))
            for name, doubts in named:
                found.setdefault(name, []).append((precision(doubts, wrong), EXCHANGED))
    work = f"{EXCHANGED:.0%} of captions exchanged: average precision of the doubt score"
    return [line(f"{work}, {name}", "chance", "", pairs, None) for name, pairs in found.items()]


def exchanged(
    captions: dict[str, list[str]], seed: int
) -> tuple[dict[str, list[str]], set[tuple[str, str]]]:
    """Captions of which a tenth went to another photo, and which pairs are wrong."""
    draw = np.random.default_rng(seed)
    places = [(path, number) for path, some in captions.items() for number in range(len(some))]
    count = round(EXCHANGED * len(places))
    chosen = [places[row] for row in draw.choice(len(places), count, replace=False)]
    chosen.sort(key=lambda place: place[0])
    half = count // 2  # the nth photo's go to one half of the list further on
    made = {path: list(some) for path, some in captions.items()}
    wrong = set()
    for (path, number), (other, its) in zip(chosen, [*chosen[half:], *chosen[:half]], strict=True):
        made[path][number] = captions[other][its]
        if made[path][number] not in captions[path]:
            wrong.add((path, made[path][number]))
    return made, wrong


def learnt(folder: Path, captions: dict[str, list[str]], amount: Amount, seed: int) -> pa.Table:
    import fallow

    return fallow.align(
        folder / "images", captions=by_name(captions), encoder="resnet18",
        epochs=amount.epochs, seed=seed, settings={"size": amount.size, "batch": 64},
    ).doubts  # fmt: skip


def asked(name: str, folder: Path, captions: dict[str, list[str]]) -> pa.Table:
    """What a dual encoder doubts that has not learnt from these photos."""
    from fallow.encoders.dual import dual_encoder
    from fallow.images import opened
    from fallow.images.captions import captioned, with_captions
    from fallow.outcomes.aligned import aligned
    from fallow.report.align import align_page

    images = captioned(with_captions(opened(folder / "images"), by_name(captions)))
    about = {"headlines": [], "notes": []}
    return aligned(dual_encoder(name), images, images, [], about, align_page).doubts


def by_name(captions: dict[str, list[str]]) -> dict[str, list[str]]:
    return {Path(path).name: some for path, some in captions.items()}


def precision(doubts: pa.Table, wrong: set[tuple[str, str]]) -> float:
    from fallow.measure import average_precision

    names = {(Path(path).name, caption.strip()) for path, caption in wrong}
    pairs = zip(doubts.column("path").to_pylist(), doubts.column("caption").to_pylist(),
                strict=True)  # fmt: skip
    truth = np.array([(Path(path).name, caption.strip()) in names for path, caption in pairs])
    return float(average_precision(truth, doubts.column("doubt").to_numpy()) or 0.0)
