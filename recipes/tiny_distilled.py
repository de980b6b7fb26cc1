"""python -m recipes.tiny_distilled --data DIR: what tiny can still learn from lite, without labels.

Only teaching pictures of sets with open licences are looked at. lite looks at a picture, tiny at
the same one, smaller and in changed colours: a layer that is thrown away turns its vector into
lite's, and what is alike to lite becomes alike to tiny. How far tiny goes towards the outcome is
chosen on halves of teaching images (`--judge`), for each set by others whose pictures were not
looked at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from benchmarks.photos import archive
from benchmarks.record import commit, machine, write_json
from claims.tiny import Plan, labelled
from torch import Tensor, nn
from torch.nn import functional as F

import fallow
from fallow.encoders import Encoder, Preprocessing, load
from fallow.encoders.whitening import half_whitening
from fallow.measure import knn_accuracy
from fallow.measure.scores import halves
from fallow.train import Batch, Loss, Method, Now, fit
from fallow.views import Recipe, View
from recipes.vectors import SETS, least_squares, scores, teach

FREE = (
    "clothing_cc0",
    "drone_survey",
    "grocery",
    "nuclei_cc0",
    "omniglot_small1",
    "paper_piped",
)
SIDE = 128  # what lite looks at; tiny sees the same at its own 64
MIXED = 0.4  # of the views show two pictures
COLOURS = (0.3, 0.3, 0.3, 0.05)  # tiny's view only: lite's answer is that to the true colours
SHARPNESS = 0.1  # temperature of likeness
KEPT = 0.5  # weight of what was alike to tiny before
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way from tiny to what was distilled
OUT = Path(__file__).parent / "results" / "tiny_distilled.json"


def views(pictures: Sequence[np.ndarray], count: int, seed: int = 0) -> Iterator[Tensor]:
    """Random crops of every picture, some with the one before showing through.  3 S S uint8"""
    draw = np.random.default_rng(seed)
    before: Tensor | None = None
    for number in draw.permutation(len(pictures) * count) % len(pictures):
        made = cropped(pictures[number], draw)
        mixed = made
        if before is not None and draw.random() < MIXED:
            mixed = torch.lerp(made.float(), before.float(), draw.uniform(0.1, 0.5)).byte()
        before = made
        yield mixed


def cropped(picture: np.ndarray, draw: np.random.Generator) -> Tensor:
    """A part of a picture, flipped or not, at the size lite looks at."""
    height, width = picture.shape[:2]
    area, aspect = draw.uniform(0.15, 1.0), np.exp(draw.uniform(-0.3, 0.3))
    rows = min(height, round((height * width * area / aspect) ** 0.5))
    columns = min(width, round((height * width * area * aspect) ** 0.5))
    top, left = draw.integers(height - rows + 1), draw.integers(width - columns + 1)
    part = picture[top : top + rows, left : left + columns]
    if draw.random() < 0.5:
        part = part[:, ::-1]
    return Preprocessing(SIDE, SIDE).squash(np.ascontiguousarray(part))


def learner(said: Tensor, before: Tensor) -> type[Method]:
    """What learns from vectors of each picture: lite's, and its own before."""

    class Distilled(Method):
        """The encoder learns what a larger one says about pictures and mixtures of them."""

        def recipe(self) -> Recipe:
            return Recipe((View(self.settings.size, centre=1.0, flip=0, jitter=COLOURS),))

        def build(self, encoder: Encoder) -> None:
            self.turned = nn.Linear(encoder.dimension, said.shape[1])

        def beside(self, name: str, images: Any, pack: Any, seed: int) -> Any:
            return lambda rows, epoch: {"said": said[rows], "before": before[rows]}

        def train(self, mode: bool = True) -> Method:
            """Norms keep their statistics: each step is one of the encoder as it is used."""
            super().train(mode)
            self.encoder.eval()
            return self

        def loss(self, batch: Batch, now: Now) -> Loss:
            vectors = self.encoder(batch.views[0]).float()  # B D
            said, before = batch.beside["said"].float(), batch.beside["before"].float()
            turned = F.cosine_similarity(self.turned(vectors).float(), said)
            parts = {
                "said": 1 - turned.mean(),
                "alike": unlike(vectors, said),
                "kept": KEPT * unlike(vectors, before),
            }
            told = {name: part.detach() for name, part in parts.items()}
            return Loss(torch.stack(list(parts.values())).sum(), told, embedding=vectors)

    return Distilled


def unlike(vectors: Tensor, target: Tensor) -> Tensor:
    """How differently likeness to the others in the batch is spread, in nats (Tung & Mori 2019).

    >>> some = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    >>> unlike(some, 2 * some).item() < 1e-6
    True
    """
    ours, theirs = (likeness(part) for part in (vectors, target))  # B B-1
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def likeness(vectors: Tensor) -> Tensor:
    """Logarithms of each row's shares of likeness to the other rows, seen from their mean."""
    unit = F.normalize(vectors.float() - vectors.float().mean(0))
    count = len(unit)
    itself = torch.eye(count, dtype=torch.bool)
    others = (unit @ unit.T / SHARPNESS)[~itself].view(count, count - 1)
    return others.log_softmax(1)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.tiny_distilled", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of archives")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--most", type=int, default=1250, help="pictures of a set")
    parser.add_argument("--views", type=int, default=5, help="of each picture")
    parser.add_argument("--run", type=Path, default=Path("runs/tiny_distilled"))
    parser.add_argument("--judge", action="store_true", help="a finished run, and nothing else")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args(words)
    if asked.judge:
        write_json(asked.out, judged(asked.data, asked.run))
        return
    found = [one for name in FREE for one in pictures(asked.data, name, asked.most)]
    tiny, lite = fallow.encoder("tiny"), fallow.encoder("lite", size=SIDE)
    small = Preprocessing(tiny.size, tiny.size)
    seen, said = [], []
    for part in batched(views(found, asked.views), 64):
        pixels = torch.stack(part).permute(0, 2, 3, 1).numpy()
        said.append(lite.embed(pixels))
        seen += list(small.fit_all(pixels).permute(0, 2, 3, 1).numpy())
    print(f"{len(seen):,} views of {len(found):,} pictures", flush=True)
    vectors = np.concatenate(said)
    target = half_whitening(vectors)(torch.from_numpy(vectors)).bfloat16()
    before = torch.from_numpy(tiny.embed(np.stack(seen))).bfloat16()
    settings = Method.Settings(
        minutes=asked.minutes,
        size=tiny.size,
        optimiser="adamw",
        learning_rate=5e-4,
        weight_decay=1e-4,
        precision="bf16",
    )
    how = learner(target, before)
    fit(how, fallow.open(seen), encoder=tiny, settings=settings, out=asked.run, tell=print)


def batched(some: Iterable[Tensor], count: int) -> Iterator[list[Tensor]]:
    left = iter(some)
    while part := list(islice(left, count)):
        yield part


def pictures(data: Path, name: str, most: int) -> list[np.ndarray]:
    """Teaching pictures of a set; of one that has no parts, all."""
    images = fallow.open(archive(data, name))
    if "split" in images.columns and (taught := images.where("split = 'train'")):
        images = taught
    return [np.array(one) for _, one in images.sample(most, seed=0).map(np.asarray, side=2 * SIDE)]


def between(one: Mapping[str, Tensor], other: Mapping[str, Tensor], share: float) -> dict[str, Any]:
    """Weights at a share of the way from one network to another that grew out of it."""
    return {
        key: torch.lerp(value.float(), other[key].float(), share).to(value.dtype)
        for key, value in one.items()
    }


def judged(data: Path, run: Path, images: int = 300) -> dict[str, Any]:
    """Every share on halves of teaching images, which choose for others; the whole way on others.

    Halves as recipes.vectors has them; test images as claims.tiny, with a least-squares probe.
    """
    learnt = load(run / "encoder").plain.state_dict()
    sides = {share: moved(learnt, share) for share in SHARES}
    table: dict[float, dict[str, float]] = {share: {} for share in SHARES}
    for name in SETS:
        taught = teach(data, name, images)
        codes = taught.labels[0]
        for share, encoder in sides.items():
            table[share][name] = mean(scores(encoder.embed(taught), codes).values())
        print(name, {share: round(row[name], 3) for share, row in table.items()}, flush=True)
    rows = []
    for name in Plan().sets:
        others = [one for one in SETS if one not in (name, *FREE)]
        share = max(SHARES, key=lambda share: mean(table[share][one] for one in others))
        before, after = (accuracies(data, name, sides[one]) for one in (0.0, 1.0))
        rows.append(
            {"set": name, "seen": name in FREE, "chosen": share, "before": before, "after": after}
        )
        print(rows[-1], flush=True)
    return {
        "run": json.loads((run / "run.json").read_text())["settings"],
        "halves": {f"{share:g}": row for share, row in table.items()},
        "asked": rows,
        "machine": machine(),
        "commit": commit(),
    }


def moved(after: Mapping[str, Tensor], share: float) -> Encoder:
    """tiny, so far on the way to what was distilled."""
    encoder = fallow.encoder("tiny")
    encoder.plain.load_state_dict(between(encoder.plain.state_dict(), after, share))
    return encoder


def accuracies(data: Path, name: str, encoder: Encoder, most: int = 1000) -> dict[str, list[float]]:
    """Accuracy on test images, for each draw of the teaching images."""
    plan = Plan()
    images = labelled(data, name, most)
    codes, vectors = images.labels[0], encoder.embed(images)
    found: dict[str, list[float]] = {"k-NN": [], "probe": [], "whitened k-NN": []}
    white = half_whitening(vectors)(torch.from_numpy(vectors)).numpy()
    for seed in range(plan.seeds):
        taught, rest = halves(images, codes, seed)
        taught &= np.random.default_rng(seed).random(len(taught)) < plan.share
        arrays = vectors[taught], codes[taught], vectors[rest], codes[rest]
        found["k-NN"].append(knn_accuracy(*arrays, k=plan.neighbours).top1)
        found["probe"].append(least_squares(*arrays))
        arrays = white[taught], codes[taught], white[rest], codes[rest]
        found["whitened k-NN"].append(knn_accuracy(*arrays, k=plan.neighbours).top1)
    return found


if __name__ == "__main__":
    main()
