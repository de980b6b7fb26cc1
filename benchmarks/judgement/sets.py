"""Labelled pictures to plant problems in: archives of the data folder, bundled and made ones."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from benchmarks.photos import archive

# archive and the column that names the class
ARCHIVES = {
    "cifar10": ("cifar10_subset", "label"),
    "tiny_imagenet": ("tiny_imagenet50", "label"),
    "grocery": ("grocery", "label"),
    "grocery_coarse": ("grocery", "coarse"),
    "clothing": ("clothing_cc0", "label"),
    "characters": ("omniglot_small1", "label"),
    "alphabets": ("omniglot_small1", "alphabet"),
    "blood_cells": ("white_blood_cells", "label"),
    "tiles": ("magnetic_tile", "label"),
    "paper": ("paper_piped", "grade"),
    "faces": ("faces_lfw", "label"),
    "aerial": ("aerial_ucmerced", "label"),
    "sketches": ("sketch_pairs", "label"),
    "streets": ("camvid", "sequence"),
    "colonoscopies": ("polyp", "sequence"),
    "commutators": ("kolektor", "item"),
    "nights": ("night_lowlight", "modality"),
}
UNLABELLED = {
    "flickr": "flickr8k_sample",
    "quality": "iqa_biq2021",
    "natural": "natural_photos",
    "drone": "drone_survey",
}
# where the classes are what a person would call the groups of the collection
CLASSED = (
    "cifar10",
    "tiny_imagenet",
    "grocery_coarse",
    "clothing",
    "characters",
    "alphabets",
    "blood_cells",
    "paper",
    "faces",
    "aerial",
    "sketches",
    "drawings",
    "digits",
    "textures",
    "figures",
)
LEAST = 5  # pictures of a class; rarer ones are left out


@dataclass(frozen=True)
class Collection:
    """Encoded pictures and what is known of them."""

    name: str
    names: list[str]  # a file name for each
    contents: list[bytes]
    labels: np.ndarray  # N codes; -1 where nothing is known
    classes: list[str]

    def __len__(self) -> int:
        return len(self.contents)

    def take(self, rows: Sequence[int] | np.ndarray) -> Collection:
        return Collection(
            self.name,
            [self.names[row] for row in rows],
            [self.contents[row] for row in rows],
            self.labels[np.asarray(rows, np.int64)],
            self.classes,
        )

    def picture(self, row: int) -> Image.Image:
        """Upright, as everybody shows it."""
        with Image.open(io.BytesIO(self.contents[row])) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")


def collection(data: Path, name: str, *, most: int = 600, seed: int = 0) -> Collection:
    """At most `most` pictures of one set, the same share of every class, drawn by seed.

    A class with fewer than LEAST pictures is left out; a file stored twice is taken once.
    """
    if name in MADE:
        whole = MADE[name](seed)
    else:
        whole = _drawings(data) if name == "drawings" else _archived(data, name)
    first = {content: row for row, content in reversed(list(enumerate(whole.contents)))}
    rows = np.array(sorted(first.values()), np.int64)
    labels = whole.labels[rows]
    if (labels >= 0).any():
        sizes = np.bincount(labels, minlength=len(whole.classes))
        rows = rows[sizes[labels] >= LEAST]
    draw = np.random.default_rng(seed)
    if len(rows) > most:
        kept = []
        for code in np.unique(whole.labels[rows]):
            own = rows[whole.labels[rows] == code]
            share = round(len(own) * most / len(rows))
            kept.append(draw.permutation(own)[: max(share, min(LEAST, len(own)))])
        rows = np.sort(np.concatenate(kept))
    drawn = whole.take(rows)
    codes, labels = np.unique(drawn.labels, return_inverse=True)
    if codes[0] < 0:
        return drawn
    classes = [whole.classes[code] for code in codes]
    return Collection(name, drawn.names, drawn.contents, labels, classes)


def write(collection: Collection, folder: Path, labels: np.ndarray | None = None) -> list[Path]:
    """The files in `folder`, and labels.csv beside them where there are labels; paths in order."""
    folder.mkdir(parents=True, exist_ok=True)
    codes = collection.labels if labels is None else labels
    paths = [folder / name for name in collection.names]
    for path, content in zip(paths, collection.contents, strict=True):
        path.write_bytes(content)
    if (codes >= 0).any():
        with (folder / "labels.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "label"))
            for name, code in zip(collection.names, codes, strict=True):
                writer.writerow((name, collection.classes[code] if code >= 0 else ""))
    return paths


def _archived(data: Path, name: str) -> Collection:
    stored, column = (UNLABELLED[name], "") if name in UNLABELLED else ARCHIVES[name]
    names, contents, labels = [], [], []
    with zipfile.ZipFile(archive(data, stored)) as opened:
        with opened.open("labels.csv") as table:
            lines = list(csv.DictReader(io.TextIOWrapper(table)))
        # in the order of the names, so that frames of one sequence are neighbours
        for line in sorted(lines, key=lambda line: line["path"]):
            path = line["path"]
            if path.lower().endswith((".jpg", ".jpeg", ".png")):
                names.append(f"{len(names):05d}{Path(path).suffix.lower().replace('jpeg', 'jpg')}")
                contents.append(opened.read(path))
                labels.append(line[column] if column else "")
    classes = sorted(set(labels) - {""})
    codes = {text: code for code, text in enumerate(classes)} | {"": -1}
    return Collection(name, names, contents, np.array([codes[text] for text in labels]), classes)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _made(name: str, pictures: list[tuple[Image.Image, str]]) -> Collection:
    classes = sorted({text for _, text in pictures})
    return Collection(
        name,
        [f"{row:05d}.png" for row in range(len(pictures))],
        [_png(picture) for picture, _ in pictures],
        np.array([classes.index(text) for _, text in pictures]),
        classes,
    )


def digits(seed: int) -> Collection:
    """scikit-learn's written digits, eight pixels wide, enlarged."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pictures = []
    for values, digit in zip(found.images, found.target, strict=True):
        small = Image.fromarray((255 - values * 255 / 16).astype(np.uint8))
        pictures.append((small.resize((64, 64), Image.Resampling.BICUBIC), f"{digit}"))
    return _made("digits", pictures)


def textures(seed: int) -> Collection:
    """Tiles of scikit-image's own pictures that do not overlap; a class is a picture."""
    from skimage import data

    draw = np.random.default_rng(seed)
    named: dict[str, Callable[[], np.ndarray]] = {
        "brick": data.brick,
        "grass": data.grass,
        "gravel": data.gravel,
        "stain": data.immunohistochemistry,
        "stars": data.hubble_deep_field,
        "eye": data.retina,
        "fur": data.chelsea,
        "craters": data.moon,
    }
    pictures = []
    for name, load in named.items():
        image = load()
        image = np.stack([image] * 3, axis=2) if image.ndim == 2 else image[..., :3]
        corners = [
            (top, left)
            for top in range(0, image.shape[0] - 63, 64)
            for left in range(0, image.shape[1] - 63, 64)
        ]
        tiles = [image[top : top + 64, left : left + 64] for top, left in corners]
        tiles = [tile for tile in tiles if tile.std() > 4]  # the black around an eye says nothing
        chosen = draw.permutation(len(tiles))[:50]
        pictures += [(Image.fromarray(tiles[place]), name) for place in chosen]
    return _made("textures", pictures)


def figures(seed: int, each: int = 40) -> Collection:
    """Drawn figures of any colour, size and place on a grainy ground; a class is a shape."""
    draw = np.random.default_rng(seed)
    pictures = [
        (_figure(shape, draw), shape)
        for shape in ("disc", "square", "triangle", "cross", "ring", "bars", "star", "arrow")
        for _ in range(each)
    ]
    return _made("figures", pictures)


def _figure(shape: str, draw: np.random.Generator, side: int = 96) -> Image.Image:
    ground = draw.integers(0, 256, 3)
    colour = draw.integers(0, 256, 3)
    while np.abs(colour - ground).sum() < 200:
        colour = draw.integers(0, 256, 3)
    large = 4 * side  # drawn large and reduced, so that edges are smooth
    picture = Image.new("RGB", (large, large), tuple(int(value) for value in ground))
    pen = ImageDraw.Draw(picture)
    radius = draw.uniform(0.18, 0.35) * large
    middle = draw.uniform(radius, large - radius, 2)
    turn = draw.uniform(0, 2 * np.pi)
    fill = tuple(int(value) for value in colour)

    def polygon(points: np.ndarray) -> None:
        spun = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        pen.polygon([tuple(point) for point in middle + radius * spun], fill=fill)

    def corners(count: int, length: float = 1.0) -> np.ndarray:
        angles = np.arange(count) * 2 * np.pi / count
        return length * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    box = [*(middle - radius), *(middle + radius)]
    bar = np.array([[-1, -0.22], [1, -0.22], [1, 0.22], [-1, 0.22]])
    if shape == "disc":
        pen.ellipse(box, fill=fill)
    elif shape == "ring":
        pen.ellipse(box, outline=fill, width=int(radius / 3))
    elif shape == "square":
        polygon(corners(4))
    elif shape == "triangle":
        polygon(corners(3))
    elif shape == "cross":
        polygon(bar)
        polygon(bar[:, ::-1])
    elif shape == "bars":
        for shift in (-0.7, 0.0, 0.7):
            polygon(bar + np.array([0, shift]))
    elif shape == "star":
        points = np.empty((10, 2))
        points[::2] = corners(5)
        angles = (np.arange(5) + 0.5) * 2 * np.pi / 5
        points[1::2] = 0.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        polygon(points)
    else:  # an arrow
        polygon(np.array([[1, 0], [0, 0.8], [0, 0.3], [-1, 0.3], [-1, -0.3], [0, -0.3], [0, -0.8]]))
    values = np.asarray(picture.resize((side, side), Image.Resampling.BOX), np.float32)
    values = values + draw.normal(0, draw.uniform(2, 12), values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _drawings(data: Path) -> Collection:
    """Quick, Draw! strokes as black lines on white, 128 pixels wide."""
    pictures = []
    with zipfile.ZipFile(archive(data, "quickdraw_strokes")) as opened:
        for entry in sorted(opened.namelist()):
            if not entry.endswith(".ndjson"):
                continue
            for line in opened.read(entry).decode().splitlines():
                drawing = json.loads(line)
                strokes = [np.array(stroke[:2], np.float64).T for stroke in drawing["drawing"]]
                pictures.append((_strokes(strokes), drawing["word"]))
    return _made("drawings", pictures)


def _strokes(strokes: list[np.ndarray], side: int = 128) -> Image.Image:
    points = np.concatenate(strokes)
    least = points.min(axis=0)
    scale = (4 * side - 48) / max(float((points.max(axis=0) - least).max()), 1.0)
    picture = Image.new("L", (4 * side, 4 * side), 255)
    pen = ImageDraw.Draw(picture)
    for stroke in strokes:
        pen.line([tuple(point) for point in (stroke - least) * scale + 24], fill=0, width=12)
    return picture.resize((side, side), Image.Resampling.BOX)


MADE: dict[str, Callable[[int], Collection]] = {
    "digits": digits,
    "textures": textures,
    "figures": figures,
}
