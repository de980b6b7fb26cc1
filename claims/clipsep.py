"""CLIPSep: does a query take its own sound out of a mixture, and do noise heads help?

Sounds of ten classes, mixed two by two; a query is the vector of a class with noise of its own each
time, as no encoder of words and pictures is at hand: that is said plainly, for it makes the query
easier than a picture would. Recordings nobody learnt from are mixed and asked for: how much nearer
the answer is to the sound than the mixture is (SI-SDR in decibels), and than the answer to the
other's query. Noise heads (NIT) are judged where half of the clips that teach hold a third sound.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, entry
from fallow.measure.separation import invariant_ratio
from fallow.methods.separate.clipsep import Settings, learnt
from fallow.sounds.reading import read_sound

RATE = 8_000
SMALL = {"rate": RATE, "size": 256, "hop": 128, "rows": 64, "frames": 64, "width": 16, "batch": 8}
ROWS = {
    "clean, plain": (False, {"noise": False}),
    "noisy, plain": (True, {"noise": False}),
    "noisy, noise heads": (True, {"noise": True}),
}


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    steps: int = 1500
    dimension: int = 32  # of queries
    blur: float = 0.1  # noise of a query, beside a vector of length 1
    noisy: float = 0.5  # clips that hold a third sound
    asked: int = 60  # mixtures
    seeds: int = 3


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("clipsep", asdict(plan) | SMALL)
    with tempfile.TemporaryDirectory() as folder:
        teach, ask = (sounds(data, split, Path(folder)) for split in ("train", "test"))
    values: dict[str, list[dict[str, float]]] = {
        name: [
            kept(f"{name} {seed}", partial(separated, name, teach, ask, seed, plan))
            for seed in range(plan.seeds)
        ]
        for name in ROWS
    }
    about = {
        "data": {"name": "sounds_esc10", "images": len(teach[0]) + len(ask[0])},
        "budget": kept.budget(minutes, steps=plan.steps),
        "settings": asdict(plan) | SMALL,
        "observed": values,
    }

    def of(name: str, measure: str) -> list[float]:
        return [one[measure] for one in values[name]]

    compared = [
        ("the answer is nearer to the sound asked for than the mixture",
         ("clean, plain", "answer"), ("clean, plain", "mixture")),
        ("the answer is nearer to the sound asked for than that to the other's query",
         ("clean, plain", "answer"), ("clean, plain", "other query")),
        ("a third sound in clips that teach costs nothing",
         ("noisy, plain", "answer"), ("clean, plain", "answer")),
        ("noise heads help where clips hold a third sound",
         ("noisy, noise heads", "answer"), ("noisy, plain", "answer")),
    ]  # fmt: skip
    return [
        entry(claim, ", ".join(ours), ", ".join(theirs),
              seeds=list(zip(of(*ours), of(*theirs), strict=True)), **about)
        for claim, ours, theirs in compared
    ]  # fmt: skip


Sounds = tuple[list[np.ndarray], np.ndarray]  # clips, and the code of each


def sounds(data: Path, split: str, folder: Path) -> Sounds:
    """The recordings of a split, as loud as each other, and their classes."""
    import csv
    import io

    clips, names = [], []
    with zipfile.ZipFile(archive(data, "sounds_esc10")) as packed:
        rows = list(csv.DictReader(io.TextIOWrapper(packed.open("labels.csv"), "utf-8")))
        known = sorted({row["label"] for row in rows})
        for row in rows:
            if row["split"] == split:
                samples = read_sound(packed.extract(row["path"], folder), RATE)
                loud = float(np.sqrt(np.square(samples).mean()))
                if loud > 1e-4:
                    clips.append((samples * (0.1 / loud)).clip(-1, 1).astype(np.float32))
                    names.append(known.index(row["label"]))
    return clips, np.array(names)


def separated(name: str, teach: Sounds, ask: Sounds, seed: int, plan: Plan) -> dict[str, float]:
    """SI-SDR of answers, of answers to the other's query, and of the mixtures themselves."""
    noisy, told = ROWS[name]
    draw = np.random.default_rng([seed, 83])
    vectors = draw.normal(size=(int(teach[1].max()) + 1, plan.dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    clips, codes = list(teach[0]), teach[1]
    if noisy:
        for row in np.flatnonzero(draw.random(len(clips)) < plan.noisy):
            third = teach[0][int(draw.choice(np.flatnonzero(codes != codes[row])))]
            length = min(len(third), len(clips[row]))
            clips[row] = (clips[row][:length] + third[:length]) / 2
    settings = Settings(**{**SMALL, "training_steps": plan.steps, "seed": seed, **told})
    separator = learnt(clips, queries(vectors, codes, plan, draw), settings).separator
    pairs = np.random.default_rng([seed, 89])
    found: dict[str, list[float]] = {"answer": [], "other query": [], "mixture": []}
    for _ in range(plan.asked):
        one = int(pairs.integers(len(ask[0])))
        two = int(pairs.choice(np.flatnonzero(ask[1] != ask[1][one])))
        length = min(len(ask[0][one]), len(ask[0][two]))
        wanted, other = ask[0][one][:length], ask[0][two][:length]
        asked_for = queries(vectors, ask[1][[one, two]], plan, pairs)
        answers = separator.separate(wanted + other, torch.from_numpy(asked_for))
        found["answer"].append(invariant_ratio(wanted, answers[0]))
        found["other query"].append(invariant_ratio(wanted, answers[1]))
        found["mixture"].append(invariant_ratio(wanted, wanted + other))
    return {key: float(np.median(values)) for key, values in found.items()}


def queries(vectors: np.ndarray, codes: Any, plan: Plan, draw: np.random.Generator) -> np.ndarray:
    """A vector of each one's class, every time a little different."""
    blurred = vectors[codes] + plan.blur * draw.normal(size=(len(codes), plan.dimension))
    return blurred.astype(np.float32)
