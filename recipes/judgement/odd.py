"""Sets with odd pictures whose truth is known: archives of parts, pictures of another class among
those of one, and planted faults.

Two to seven good pictures to one odd one; of a planted set no picture is there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.photos import archive
from PIL import Image, ImageDraw, ImageFilter

import fallow
from fallow.images import samples

FINE = 4  # pixels of a drawn fault to one of the picture
GOOD, BAD = 140, 60  # pictures of a set, at most
SHARE = 0.3  # of pictures that get a fault


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
    """Some of the pictures get a fault."""
    order = np.random.default_rng(seed).permutation(len(pictures))
    count = round(SHARE * len(order))
    faulty = [planted(pictures[row], int(row)) for row in order[:count]]
    return Odd([*faulty, *(pictures[row] for row in order[count:])],
               np.arange(len(order)) < count)  # fmt: skip


def archived(
    data: Path,
    name: str,
    where: str | None = None,
    *,
    column: str = "anomaly",
    good: str = "0",
    odd: tuple[str, ...] = ("1",),
    most: int = GOOD,
    seed: int = 0,
) -> Odd:
    """Good and odd pictures of an archive, by what is in a column."""
    images = fallow.open(archive(data, name))
    if where:
        images = images.where(where)
    said = np.array([str(value) for value in images.column(column)])
    random = np.random.default_rng(seed)
    sound = random.permutation(np.flatnonzero(said == good))[:most]
    bad = random.permutation(np.flatnonzero(np.isin(said, odd)))[: min(BAD, most // 2)]
    rows = [*bad.tolist(), *sound.tolist()]
    return Odd([images[row] for row in rows], np.arange(len(rows)) < len(bad))


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
    images = samples.parts(120, seed=3)
    odd = images.column("anomaly").astype(bool)
    rows = [*np.flatnonzero(odd)[:30].tolist(), *np.flatnonzero(~odd).tolist()]
    return Odd([images[row] for row in rows], odd[rows])


def faces(data: Path) -> Odd:
    images = fallow.open(archive(data, "faces_lfw")).sample(100, seed=0)
    return with_planted([images[row] for row in range(len(images))])


def membrane(data: Path) -> Odd:
    """Quarters of slices."""
    images = fallow.open(archive(data, "membrane_em"))
    corners = [(row, y, x) for row in range(len(images)) for y in (0, 256) for x in (0, 256)]
    return with_planted([images[row][y : y + 256, x : x + 256].copy() for row, y, x in corners])


def digits(_: Path) -> Odd:
    """Written threes, and eights among them."""
    from sklearn.datasets import load_digits

    found = load_digits()
    random = np.random.default_rng(0)
    good = random.permutation(np.flatnonzero(found.target == 3))[:60]
    odd = random.permutation(np.flatnonzero(found.target == 8))[:26]
    pictures = [
        Image.fromarray((255 - found.images[row] * 255 / 16).astype(np.uint8))
        for row in (*odd, *good)
    ]
    large = [each.resize((64, 64), Image.Resampling.BICUBIC).convert("RGB") for each in pictures]
    return Odd([np.asarray(each) for each in large], np.arange(len(large)) < len(odd))


def paper(grade: str) -> Callable[[Path], Odd]:
    return lambda data: archived(data, "paper_piped", f"grade = 'PA_{grade}'")


def white_cells(*odd: str) -> Callable[[Path], Odd]:
    """Neutrophils, and other cells among them."""
    return lambda data: archived(
        data, "white_blood_cells", column="label", good="neutrophil", odd=odd, most=60
    )


def kin(name: str) -> str:
    """What sets of one source share: they are left out together.

    >>> kin("paper FVN01"), kin("brick")
    ('paper', 'brick')
    """
    return name.split()[0]


ODD_SETS: dict[str, Callable[[Path], Odd]] = {
    "commutators": lambda data: archived(data, "kolektor"),
    "magnetic tiles": lambda data: archived(data, "magnetic_tile"),
    "paper FVN01": paper("FVN01_TL"),
    "paper BRG02": paper("BRG02_RL"),
    "paper FVN02": paper("FVN02_RL"),
    "paper GLA01": paper("GLA01_TL"),
    "paper BRG01": paper("BRG01_RL"),
    "brick": lambda _: with_planted(texture("brick")),
    "grass": lambda _: with_planted(texture("grass")),
    "gravel": lambda _: with_planted(texture("gravel")),
    "drawn parts": drawn_parts,
    "faces": faces,
    "membrane": membrane,
    "white cells, lymphocytes": white_cells("lymphocyte", "monocyte"),
    "white cells, eosinophils": white_cells("eosinophil"),
    "digits": digits,
}
