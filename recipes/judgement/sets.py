"""The labelled sets that judgements are chosen and tried on, as vectors an encoder made once."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

MOST = 3000  # pictures of a set; more would only make trials slower


@dataclass(frozen=True)
class Vectors:
    """One set as an encoder sees it."""

    name: str
    seen: np.ndarray  # N F float32, as the encoder gives them
    truth: np.ndarray  # N, codes from 0, of the finest labels
    coarse: np.ndarray  # N, of the label above it, where there is one; else the same

    @property
    def classes(self) -> int:
        return int(self.truth.max()) + 1


@dataclass(frozen=True)
class Listed:
    """Where a set's pictures are, and the columns of its table that name classes."""

    label: str = "label"
    coarse: str | None = None
    where: str | None = None


# archive -> what is taken of it
ARCHIVES = {
    "aerial_ucmerced": Listed(),
    "cifar10_subset": Listed(),
    "clothing_cc0": Listed(),
    "faces_lfw": Listed(where="split = 'train'"),
    "grocery": Listed(coarse="coarse"),
    "magnetic_tile": Listed(),
    "omniglot_small1": Listed(coarse="alphabet"),
    "paper_piped": Listed(label="grade"),
    "tiny_imagenet50": Listed(),
    "white_blood_cells": Listed(),
}
SETS = (*ARCHIVES, "digits", "quickdraw_strokes", "shapes")


def pictures(data: Path, name: str, seed: int = 0) -> tuple[Any, list[str], list[str]]:
    """Images or pixels of a set, their labels and coarse labels; MOST of them drawn by `seed`."""
    import fallow
    from fallow.images.samples import digits, shapes

    if name == "quickdraw_strokes":
        drawn = list(drawings(data / f"{name}.zip"))
        return [pixels for pixels, _ in drawn], [label for _, label in drawn], []
    if name in ("digits", "shapes"):
        images, listed = digits() if name == "digits" else shapes(800, seed=seed), Listed()
    else:
        listed = ARCHIVES[name]
        images = fallow.open(data / f"{name}.zip")
        if listed.where:
            images = images.where(listed.where)
    if len(images) > MOST:
        images = images.sample(MOST, seed)
    labels = [str(one) for one in images.column(listed.label)]
    coarse = [str(one) for one in images.column(listed.coarse)] if listed.coarse else []
    return images, labels, coarse


def drawings(archive: Path, side: int = 96) -> Iterator[tuple[np.ndarray, str]]:
    """Quick, Draw! drawings as dark strokes on white, largest side to the margin."""
    with zipfile.ZipFile(archive) as opened:
        for entry in sorted(opened.namelist()):
            if not entry.endswith(".ndjson"):
                continue
            for line in io.TextIOWrapper(opened.open(entry), "utf-8"):
                told = json.loads(line)
                strokes = [np.array(stroke[:2], float).T for stroke in told["drawing"]]
                every = np.concatenate(strokes)
                low, size = every.min(0), max(float(np.ptp(every, axis=0).max()), 1.0)
                picture = Image.new("L", (2 * side, 2 * side), 255)
                pen = ImageDraw.Draw(picture)
                for stroke in strokes:
                    path = (stroke - low) / size * (2 * side - 24) + 12
                    pen.line([(x, y) for x, y in path.tolist()], fill=0, width=5, joint="curve")
                small = picture.resize((side, side), Image.Resampling.BOX)
                yield np.asarray(small.convert("RGB")), told["word"]


def load(
    data: Path, name: str, cache: Path, encoder: str, embed: Callable[[Any], np.ndarray] | None
) -> Vectors:
    """A set's vectors, from `cache` where they are there; else seen by the encoder and kept."""
    import fallow
    from fallow.files import atomic_write

    kept = cache / f"{encoder}-{name}.npz"
    if not kept.is_file():
        images, labels, coarse = pictures(data, name)
        look = embed or fallow.encoder(encoder).embed
        seen = np.asarray(look(images), np.float32)
        good = np.isfinite(seen).all(1)
        truth = np.unique(np.array(labels)[good], return_inverse=True)[1]
        above = np.unique(np.array(coarse or labels)[good], return_inverse=True)[1]
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as target:
            np.savez(target, seen=seen[good], truth=truth, coarse=above)
    with np.load(kept) as found:
        return Vectors(name, found["seen"], found["truth"], found["coarse"])
