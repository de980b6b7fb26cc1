"""Real pictures in the sizes a benchmark needs, from the archives of a data folder."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fallow.problems import SourceProblem

PHOTOS = ("flickr8k_sample", "grocery")


def archive(data: Path, name: str) -> Path:
    found = data / f"{name}.zip"
    if not found.is_file():
        raise SourceProblem(f"{found} is missing: --data names the folder with the archives")
    return found


def files(data: Path, names: tuple[str, ...] = PHOTOS) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every picture, in the archives' own order."""
    for name in names:
        with zipfile.ZipFile(archive(data, name)) as opened:
            for entry in opened.namelist():
                if entry.lower().endswith((".jpg", ".jpeg", ".png")):
                    yield f"{name}/{entry}", opened.read(entry)


def extract(data: Path, names: tuple[str, ...], folder: Path, limit: int | None = None) -> int:
    """Write the pictures below `folder`, bytes unchanged; how many."""
    count = 0
    for name, content in files(data, names):
        if count == limit:
            break
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        count += 1
    return count


def squares(data: Path, side: int, count: int) -> np.ndarray:
    """Central squares of photos, shrunk to side x side.  count side side 3, uint8.

    At 32 pixels they are the CIFAR pictures themselves.
    """
    names = ("cifar10_subset",) if side == 32 else ("flickr8k_sample",)
    taken = []
    for _, content in files(data, names):
        with Image.open(io.BytesIO(content)) as opened:
            picture = opened.convert("RGB")
        if min(picture.size) < min(side, 160):
            continue
        short = min(picture.size)
        left, top = (picture.width - short) // 2, (picture.height - short) // 2
        box = (left, top, left + short, top + short)
        taken.append(np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS, box)))
        if len(taken) == count:
            break
    return np.stack(taken)


def crops(data: Path, side: int, count: int, folder: Path, seed: int = 0) -> None:
    """`count` JPEG crops of the photos, side x side, in one sub-folder per hundred.

    No two are alike: each has its own place, scale and mirror.
    """
    generator = np.random.default_rng(seed)
    sources = [content for _, content in files(data)]
    for number in range(count):
        content = sources[number % len(sources)]
        with Image.open(io.BytesIO(content)) as opened:
            picture = opened.convert("RGB")
        part = int(min(picture.size) * generator.uniform(0.5, 1.0))
        left = int(generator.integers(0, picture.width - part + 1))
        top = int(generator.integers(0, picture.height - part + 1))
        box = (left, top, left + part, top + part)
        crop = picture.resize((side, side), Image.Resampling.BICUBIC, box)
        if generator.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        target = folder / f"{number // 100:03d}" / f"{number:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        crop.save(target, quality=90)


def sheet(data: Path, height: int, width: int, name: str = "natural_photos") -> np.ndarray:
    """One large picture of photos side by side, none enlarged.  height width 3, uint8"""
    made, filled = np.empty((height, width, 3), np.uint8), np.zeros((height, width), bool)
    while not filled.all():  # few photos come round again
        for _, content in files(data, (name,)):
            if filled.all():
                break
            with Image.open(io.BytesIO(content)) as opened:
                photo = np.asarray(opened.convert("RGB"))
            top, left = np.unravel_index(int(filled.argmin()), filled.shape)
            free = filled[top, left:]
            wide = int(free.argmax()) if free.any() else len(free)
            part = photo[: height - top, :wide]
            here = np.s_[top : top + part.shape[0], left : left + part.shape[1]]
            made[here], filled[here] = part, True
    return made
