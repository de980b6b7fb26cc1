"""CLIPSep: does a photo take its own sound out of a mixture, do words, and do noise heads help?

Sounds of ten kinds, mixed two by two. Every clip that teaches has photos of its own, and photos
nobody has seen ask for recordings nobody learnt from; then words do, which the separator never met.
No set here shows what it sounds like, so each kind of sound has a kind of photo as its partner,
which fits where one does (a dog, an aeroplane for a helicopter) and is agreed upon where none does.
Photos and words share the space of a small dual encoder, learnt once by `align` from lite and the
names of the photos' kinds: CLIP itself is not at hand, and sorts its photos far better.

Measured is how much nearer the answer is to the sound than the mixture is (SI-SDR in decibels), and
than the answer to the other's query. Noise heads (NIT) are judged where half of the clips that
teach hold a third sound.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmarks.photos import archive

from claims.kept import Kept
from claims.record import Entry, entry
from fallow.encoders.dual import dual_encoder
from fallow.images.captions import with_captions
from fallow.measure.separation import invariant_ratio
from fallow.methods.separate.clipsep import Settings, asking, learnt
from fallow.sounds.reading import read_sound

RATE = 8_000
ASKED_BY = ("photos", "words")
PHOTOS = "cifar10_subset"
PARTNERS = {
    "baby_cry": "cat",
    "chainsaw": "truck",
    "clock_tick": "frog",
    "dog_bark": "dog",
    "fire_crackling": "deer",
    "helicopter": "airplane",
    "person_sneeze": "horse",
    "rain": "automobile",
    "rooster": "bird",
    "sea_waves": "ship",
}
SAID = "a photo of a {}"
SMALL = {"rate": RATE, "size": 256, "hop": 128, "rows": 64, "frames": 64, "width": 16, "batch": 8}
ROWS = {
    "clean, plain": (False, {"noise": False}),
    "noisy, plain": (True, {"noise": False}),
    "noisy, noise heads": (True, {"noise": True}),
}


@dataclass(frozen=True)
class Plan:
    """What all rows share."""

    steps: int = 3000
    photos: int = 10  # that a clip is taught with, as moments of a video would be
    noisy: float = 0.5  # clips that hold a third sound
    asked: int = 60  # mixtures
    seeds: int = 3
    encoder: str = "lite"  # of the photos, as it is; a projection and the words are learnt
    side: int = 96
    named: int = 100  # photos of each kind that teach the dual encoder
    epochs: int = 8
    output: int = 64  # of photos' and words' vectors


def run(data: Path, minutes: float, plan: Plan | None = None) -> list[Entry]:
    plan = plan or Plan()
    kept = Kept("clipsep", asdict(plan) | SMALL)
    with tempfile.TemporaryDirectory() as folder:
        teach, ask = (sounds(data, split, Path(folder)) for split in ("train", "test"))
    seen = Seen(*(np.array(one) for one in kept("photos and words", partial(looked, data, plan))))
    values: dict[str, list[dict[str, float]]] = {
        name: [
            kept(f"{name} {seed}", partial(separated, name, teach, ask, seen, seed, plan))
            for seed in range(plan.seeds)
        ]
        for name in ROWS
    }
    about = {
        "data": {"name": f"sounds_esc10, {PHOTOS}", "images": len(teach[0]) + len(ask[0])},
        "budget": kept.budget(minutes, steps=plan.steps),
        "settings": asdict(plan) | SMALL,
        "observed": values | {"photos sorted by words": seen.sorted_right()},
    }

    def of(name: str, measure: str) -> list[float]:
        return [one[measure] for one in values[name]]

    compared = [
        *((f"the answer to {by} is nearer to the sound asked for than the mixture",
           ("clean, plain", f"answer to {by}"), ("clean, plain", "mixture"))
          for by in ASKED_BY),
        *((f"the answer to {by} is nearer to the sound asked for than that to the other's",
           ("clean, plain", f"answer to {by}"), ("clean, plain", f"answer to the other's {by}"))
          for by in ASKED_BY),
        ("words are answered as well as photos",
         ("clean, plain", "answer to words"), ("clean, plain", "answer to photos")),
        ("a third sound in clips that teach costs nothing",
         ("noisy, plain", "answer to photos"), ("clean, plain", "answer to photos")),
        ("noise heads help where clips hold a third sound",
         ("noisy, noise heads", "answer to photos"), ("noisy, plain", "answer to photos")),
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
        known = list(PARTNERS)
        for row in rows:
            if row["split"] == split:
                samples = read_sound(packed.extract(row["path"], folder), RATE)
                loud = float(np.sqrt(np.square(samples).mean()))
                if loud > 1e-4:
                    clips.append((samples * (0.1 / loud)).clip(-1, 1).astype(np.float32))
                    names.append(known.index(row["label"]))
    return clips, np.array(names)


class Seen(NamedTuple):
    """Vectors of photos that teach and of photos that ask, by kind of sound, and of its words."""

    teach: np.ndarray  # K N D
    ask: np.ndarray  # K M D
    words: np.ndarray  # K D

    def sorted_right(self) -> float:
        """How many of the photos that ask are nearest to the words of their own kind."""
        nearest = (self.ask @ self.words.T).argmax(-1)  # all are of one length
        return float((nearest == np.arange(len(self.words))[:, None]).mean())


def looked(data: Path, plan: Plan) -> list[Any]:
    """What `Seen` holds, by a dual encoder that `align` makes of some of the photos."""
    import fallow

    photos = fallow.open(archive(data, PHOTOS))
    kinds, splits = (np.array(photos.column(name).tolist()) for name in ("label", "split"))
    draw = np.random.default_rng(97)

    def some(kind: str, split: str, most: int) -> np.ndarray:
        rows = np.flatnonzero((kinds == kind) & (splits == split))
        return draw.permutation(rows)[:most]

    named = {kind: some(kind, "train", plan.named) for kind in PARTNERS.values()}
    named_rows = np.sort(np.concatenate(list(named.values())))
    texts = {photos.column("id")[row]: [SAID.format(kinds[row])] for row in named_rows}
    with tempfile.TemporaryDirectory() as folder:
        fallow.align(
            with_captions(photos.select(named_rows), texts), method="clip", encoder=plan.encoder,
            epochs=plan.epochs, seed=0, out=Path(folder) / "words",
            settings={"size": plan.side, "frozen": "pictures", "batch": 50, "output": plan.output,
                      "text_width": 64, "learning_rate": 4e-3, "precision": "32"},
        )  # fmt: skip
        dual = dual_encoder(Path(folder) / "words")
    asked = {kind: some(kind, "test", plan.named) for kind in PARTNERS.values()}
    by_photo = [
        np.stack([dual.embed_images(photos.select(rows[kind]), normalise=True) for kind in rows])
        for rows in (named, asked)
    ]
    said = dual.embed_texts([SAID.format(kind) for kind in named], normalise=True)
    return [asking(vectors).tolist() for vectors in (*by_photo, said)]


def separated(
    name: str, teach: Sounds, ask: Sounds, seen: Seen, seed: int, plan: Plan
) -> dict[str, float]:
    """SI-SDR of answers, of answers to the other's query, and of the mixtures themselves."""
    noisy, told = ROWS[name]
    draw = np.random.default_rng([seed, 83])
    clips, codes = list(teach[0]), teach[1]
    if noisy:
        for row in np.flatnonzero(draw.random(len(clips)) < plan.noisy):
            third = teach[0][int(draw.choice(np.flatnonzero(codes != codes[row])))]
            length = min(len(third), len(clips[row]))
            clips[row] = (clips[row][:length] + third[:length]) / 2
    settings = Settings(**{**SMALL, "training_steps": plan.steps, "seed": seed, **told})
    shown = any_of(seen.teach, np.tile(codes, plan.photos), draw)
    separator = learnt(clips * plan.photos, shown, settings).separator
    pairs = np.random.default_rng([seed, 89])
    found: dict[str, list[float]] = {}
    for _ in range(plan.asked):
        one = int(pairs.integers(len(ask[0])))
        two = int(pairs.choice(np.flatnonzero(ask[1] != ask[1][one])))
        length = min(len(ask[0][one]), len(ask[0][two]))
        wanted, other = ask[0][one][:length], ask[0][two][:length]
        both = ask[1][[one, two]]
        by = (any_of(seen.ask, both, pairs), seen.words[both].astype(np.float32))
        answers = separator.separate(wanted + other, torch.from_numpy(np.concatenate(by)))
        for words, own, others in zip(ASKED_BY, answers[::2], answers[1::2], strict=True):
            found.setdefault(f"answer to {words}", []).append(invariant_ratio(wanted, own))
            found.setdefault(f"answer to the other's {words}", []).append(
                invariant_ratio(wanted, others)
            )
        found.setdefault("mixture", []).append(invariant_ratio(wanted, wanted + other))
    return {key: float(np.median(values)) for key, values in found.items()}


def any_of(vectors: np.ndarray, codes: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """For each code the vector of a photo of its kind.  K N D, C -> C D"""
    return vectors[codes, draw.integers(vectors.shape[1], size=len(codes))].astype(np.float32)
