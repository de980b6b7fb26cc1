"""python -m recipes.tiny --images ZIP --spare ZIP: train the built-in encoder and put it in place.

`--images` is Tiny ImageNet (a folder or archive with paths train/<wordnet id>/...); `--spare` is
an archive whose labels must stay unseen, so that discovery can be tested on those classes. With
`--minutes 5 --most 5000 --out runs/small` the same recipe is tried on any CPU.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

import fallow

HOME = Path(fallow.__file__).parent / "encoders" / "tiny"
NETWORK = "resnet18/32:imagenet"  # 2.8 million weights
SIZE = 64
CLASS = re.compile(r"/(n\d{8})[/_]")


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
    result = fallow.learn(
        images,
        method="supervised",
        encoder=NETWORK,
        minutes=asked.minutes,
        out=asked.run,
        settings={"size": SIZE, "batch": 256, "learning_rate": 0.1, "warmup": 0.03},
        tell=print,
    )
    finish(result.encoder, asked.out, asked.minutes, len(images))


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

    encoder.provenance = {
        "weights": f"supervised, {count:,} images of Tiny ImageNet, {minutes:g} minutes on a CPU",
        "terms": "ImageNet images: research use; the weights come with no claim on them",
    }
    save(encoder, out, dtype="fp16")
    size = (out / "model.safetensors").stat().st_size
    print(f"{out}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
