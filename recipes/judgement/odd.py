"""Sets with odd pictures whose truth is known: archives of parts, and pictures with planted faults.

Every set has about four good pictures to one odd one; of a planted set no picture is there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.photos import archive
from PIL import Image, ImageDraw, ImageFilter

import fallow
from fallow.images import samples

FINE = 4  # pixels of a drawn fault to one of the picture
GOOD, SHARE = 42, 0.25


class Odd(NamedTuple):
    """Pictures and which of them are odd."""

    pictures: list[np.ndarray]
    odd: np.ndarray


def planted(pixels: np.ndarray, seed: int) -> np.ndarray:
    """The picture with a scratch, a blob, or a patch of itself turned and blurred."""
    random = np.random.default_rng([seed, 77])
    height, width = pixels.shape[:2]
    side = min(height, width)
    mask = Image.new("L", (width * FINE, height * FINE), 0)
    draw = ImageDraw.Draw(mask)
    x, y = random.uniform(0.15, 0.85, 2) * (width, height)
    kind = ("scratch", "blob", "patch")[seed % 3]
    if kind == "scratch":
        turn, step = random.uniform(0, np.pi), random.uniform(0.2, 0.45) * side / 6
        places = [(x * FINE, y * FINE)]
        for _ in range(6):
            turn += random.normal(0, 0.25)
            x, y = x + step * np.cos(turn), y + step * np.sin(turn)
            places.append((x * FINE, y * FINE))
        draw.line(
            places, fill=255, width=max(FINE, int(FINE * side * random.uniform(0.012, 0.025)))
        )
    else:
        reach = side * random.uniform(*((0.03, 0.08) if kind == "blob" else (0.06, 0.12)))
        high = reach * random.uniform(0.6, 1)
        draw.ellipse(((x - reach) * FINE, (y - high) * FINE, (x + reach) * FINE, (y + high) * FINE),
                     fill=255)  # fmt: skip
    soft = mask.filter(ImageFilter.GaussianBlur(FINE / 2 * max(1, side / 128)))
    share = np.asarray(soft.resize((width, height), Image.Resampling.BOX), float)[..., None] / 255
    if kind == "patch":
        turned = np.ascontiguousarray(np.rot90(pixels, 1 + int(random.integers(3))))
        other = Image.fromarray(turned).resize((width, height))
        new = np.asarray(other.filter(ImageFilter.GaussianBlur(side * 0.02)), float)
    else:
        new = pixels + random.choice([-1, 1]) * random.uniform(50, 90)
    return (pixels * (1 - share) + new * share).clip(0, 255).astype(np.uint8)


def with_planted(pictures: list[np.ndarray], seed: int = 0) -> Odd:
    """A quarter of the pictures gets a fault."""
    order = np.random.default_rng(seed).permutation(len(pictures))[: round(GOOD / (1 - SHARE))]
    count = round(SHARE * len(order))
    faulty = [planted(pictures[row], int(row)) for row in order[:count]]
    return Odd([*faulty, *(pictures[row] for row in order[count:])],
               np.arange(len(order)) < count)  # fmt: skip


def archived(data: Path, name: str, where: str | None = None, seed: int = 0) -> Odd:
    """Good and odd parts of an archive."""
    images = fallow.open(archive(data, name))
    if where:
        images = images.where(where)
    odd = images.column("anomaly").astype(int)
    random = np.random.default_rng(seed)
    bad, good = (random.permutation(np.flatnonzero(odd == flag)) for flag in (1, 0))
    count = min(len(bad), round(SHARE / (1 - SHARE) * GOOD))
    rows = [*bad[:count].tolist(), *good[:GOOD].tolist()]
    return Odd([images[row] for row in rows], np.arange(len(rows)) < count)


def texture(name: str) -> list[np.ndarray]:
    """Pieces of a photograph in scikit-image that do not overlap."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / f"{name}.png"
    with Image.open(path) as opened:
        whole = np.asarray(opened.convert("RGB"))
    side = len(whole) // 8
    corners = [(y * side, x * side) for y in range(8) for x in range(8)]
    return [np.ascontiguousarray(whole[y : y + side, x : x + side]) for y, x in corners]


def drawn_parts(_: Path) -> Odd:
    images = samples.parts(96, seed=3)
    odd = images.column("anomaly").astype(bool)
    rows = [*np.flatnonzero(odd)[:14].tolist(), *np.flatnonzero(~odd)[:GOOD].tolist()]
    return Odd([images[row] for row in rows], odd[rows])


def faces(data: Path) -> Odd:
    images = fallow.open(archive(data, "faces_lfw")).sample(56, seed=0)
    return with_planted([images[row] for row in range(len(images))])


ODD_SETS: dict[str, Callable[[Path], Any]] = {
    "commutators": lambda data: archived(data, "kolektor"),
    "magnetic tiles": lambda data: archived(data, "magnetic_tile"),
    "paper FVN01": lambda data: archived(data, "paper_piped", "grade = 'PA_FVN01_TL'"),
    "paper BRG02": lambda data: archived(data, "paper_piped", "grade = 'PA_BRG02_RL'"),
    "brick": lambda _: with_planted(texture("brick")),
    "grass": lambda _: with_planted(texture("grass")),
    "drawn parts": drawn_parts,
    "faces": faces,
}
