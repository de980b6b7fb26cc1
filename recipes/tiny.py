"""python -m recipes.tiny --images ZIP --spare ZIP: train the built-in encoder and put it in place.

`--images` is Tiny ImageNet (a folder or archive with paths train/<wordnet id>/...); `--spare` is
an archive whose labels must stay unseen, so that discovery can be tested on those classes. With
`--minutes 5 --most 5000 --out runs/small` the same recipe is tried on any CPU.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import nn
from torch.nn import functional as F

import fallow
from fallow.encoders import Encoder
from fallow.encoders.heads import mlp
from fallow.train import Batch, Loss, Method, Now, fit
from fallow.views import Recipe, crop

HOME = Path(fallow.__file__).parent / "encoders" / "tiny"
NETWORK = "resnet18/32:imagenet"  # 2.8 million weights; trained by its last stage alone
SIZE = 64
CLASS = re.compile(r"/(n\d{8})[/_]")


class Named(Method):
    """Cross-entropy on labels behind a hidden layer that is thrown away (Wang et al. 2022).

    The hidden layer takes up what only these classes need, so the encoder below it serves other
    images better than that of a plain classifier.
    """

    hidden = 1024

    def recipe(self) -> Recipe:
        published = crop(self.settings.size, smallest=0.25)
        mild = replace(published.views[0], jitter=(0.2, 0.2, 0.2, 0.05), gray=0.1)
        return replace(published, views=(mild,))

    def build(self, encoder: Encoder) -> None:
        projector = mlp([encoder.dimension, self.hidden], last_norm="batch", bias=False)
        self.projector = nn.Sequential(projector, nn.ReLU(inplace=True))
        self.classes = nn.Linear(self.hidden, self.facts.classes)

    def loss(self, batch: Batch, now: Now) -> Loss:
        features = self.encoder(batch.groups[0])  # B D
        scores = self.classes(self.projector(features)).float()  # B C
        right = (scores.argmax(1) == batch.labels).float().mean()
        return Loss(F.cross_entropy(scores, batch.labels), {"right": right}, embedding=features)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m recipes.tiny", description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--spare", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--most", type=int, help="train on a sample of this many images")
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"), help="checkpoints go here")
    parser.add_argument("--out", type=Path, default=HOME)
    asked = parser.parse_args(words)
    images = named(fallow.open(asked.images), fallow.open(asked.spare))
    if asked.most:
        images = images.sample(asked.most, seed=0)
    print(f"{len(images):,} images of {len(images.labels[1])} classes")
    settings = Named.Settings(
        minutes=asked.minutes, size=SIZE, batch=256, learning_rate=0.1, warmup=0.03
    )
    encoder = fallow.encoder(NETWORK, size=SIZE)
    run = fit(Named, images, encoder=encoder, settings=settings, out=asked.run, tell=print)
    finish(run.encoder, asked.out, asked.minutes, len(images))


def named(images: Any, spare: Any) -> Any:
    """The training images with their classes as labels, without the classes to spare."""
    kept = set(spare.labels[1])
    found = [(path, CLASS.search(path)) for path in images.column("path")]
    rows = [(path, match[1]) for path, match in found if match and match[1] not in kept]
    table = pa.table({"path": [path for path, _ in rows], "label": [name for _, name in rows]})
    return images.join(table).labelled


def finish(encoder: Any, out: Path, minutes: float, count: int) -> None:
    """Write the weights in half precision, with where they come from."""
    from fallow.encoders import save
    from fallow.encoders.building import describe, rebuild

    shipped = rebuild(describe(encoder) | {"name": "tiny"})  # which looks at all stages
    shipped.plain.load_state_dict(encoder.plain.state_dict())
    shipped.provenance = {
        "weights": f"supervised, {count:,} images of Tiny ImageNet, {minutes:g} minutes on a CPU",
        "terms": "ImageNet images: research use; the weights come with no claim on them",
    }
    save(shipped, out, dtype="fp16")
    size = (out / "model.safetensors").stat().st_size
    print(f"{out}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
