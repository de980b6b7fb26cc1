"""Collections made from a seed, for demonstrations and tests: nothing is downloaded."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fallow.files import atomic_write
from fallow.images.boards import FAULTS, board, faulty, photographed
from fallow.images.collection import Images
from fallow.images.drawing import cell_picture, generator_for, part, resized, shape, smooth, street
from fallow.images.sources import from_arrays
from fallow.problems import MissingPackage

SHAPES = ("disc", "ring", "square", "triangle", "star", "cross", "stripes", "dots")
STREET_CLASSES = ("sky", "building", "road", "pavement", "tree", "car", "lamp")
CELL_KINDS = ("round", "spindle", "clustered")
DEFECTS = ("scratch", "spot", "dent")
# those a wheel of scikit-image carries; it downloads the others, and nothing is downloaded here
_PHOTOGRAPHS = (
    *("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png"),
    *("motorcycle_left.png", "motorcycle_right.png", "retina.jpg", "rocket.jpg"),
)


def shapes(n: int = 256, seed: int = 0, side: int = 64) -> Images:
    """Eight classes of shape and texture in any colour, place, turn and light.

    >>> images = shapes(16, seed=1, side=32)
    >>> len(images), images[0].shape, len(images.labels[1])
    (16, (32, 32, 3), 8)
    """
    pixels, labels = [], []
    for index in range(n):
        random = generator_for(seed, 1, index)
        kind = SHAPES[index % len(SHAPES)]
        labels.append(kind)
        pixels.append(shape(kind, side, random))
    return _collection("shapes", pixels, {"label": labels})


def parts(n: int = 96, seed: int = 0, side: int = 128) -> Images:
    """Photos of machined plates on a bench, a third with a defect and its mask.

    >>> images = parts(6, seed=1, side=48)
    >>> images.column("anomaly").tolist(), images.mask(2).max()
    ([0, 0, 1, 0, 0, 1], np.uint8(1))
    """
    pixels, masks, labels = [], [], []
    for index in range(n):
        random = generator_for(seed, 2, index)
        kind = DEFECTS[(index // 3) % len(DEFECTS)] if index % 3 == 2 else "good"
        picture, mask = part(kind, side, random)
        pixels.append(picture)
        masks.append(mask)
        labels.append(kind)
    anomaly = [int(label != "good") for label in labels]
    return _collection("parts", pixels, {"label": labels, "anomaly": anomaly}, masks)


def streets(n: int = 48, seed: int = 0, size: tuple[int, int] = (96, 160)) -> Images:
    """Street scenes, by day and by night (column `time`), with a mask of STREET_CLASSES.

    >>> images = streets(4, seed=1, size=(48, 80))
    >>> images.column("time").tolist(), images.mask(0).shape
    (['day', 'night', 'day', 'night'], (48, 80))
    """
    pixels, masks, times = [], [], []
    for index in range(n):
        random = generator_for(seed, 3, index)
        time = ("day", "night")[index % 2]
        picture, mask = street(time == "night", *size, random)
        pixels.append(picture)
        masks.append(mask)
        times.append(time)
    return _collection("streets", pixels, {"time": times}, masks)


def cells(n: int = 48, seed: int = 0, side: int = 96) -> Images:
    """Stained cells under a microscope; the mask numbers each cell, column `count` counts them.

    >>> images = cells(3, seed=1, side=48)
    >>> int(images.mask(0).max()) == int(images.column("count")[0])
    True
    """
    pixels, masks, labels, counts = [], [], [], []
    for index in range(n):
        random = generator_for(seed, 4, index)
        kind = CELL_KINDS[index % len(CELL_KINDS)]
        picture, mask = cell_picture(kind, side, random)
        pixels.append(picture)
        masks.append(mask)
        labels.append(kind)
        counts.append(int(mask.max()))
    return _collection("cells", pixels, {"label": labels, "count": counts}, masks)


def torn(
    photos: Images | None = None, seed: int = 0, side: int = 256, turn: float = 180.0
) -> Images:
    """Pictures torn to pieces, each piece with its opacity, turned by up to `turn` degrees.

    Two street scenes, or the photos given. Column `picture` says where a piece comes from, and
    `place` how (x, y) of that picture, its short side at most `side`, become those of the piece.

    >>> pieces = torn(seed=1, side=128)
    >>> len(pieces) > 8, pieces.opacity(0).shape == pieces[0].shape[:2]
    (True, True)
    >>> sorted(set(pieces.column("picture").tolist()))
    ['streets_0000', 'streets_0001']
    """
    from fallow.images.tearing import Tear, on_ground, torn, turned

    photos = streets(2, seed, (side, round(side * 4 / 3))) if photos is None else photos
    pixels, names, places = [], [], []
    for row, key in enumerate(photos.column("id")):
        random = generator_for(seed, 9, row)
        picture = photos.read(row, side)
        for piece in torn(picture, Tear.at(min(picture.shape[:2])), random):
            one = turned(piece, np.deg2rad(random.uniform(-turn, turn)))
            opaque = np.where(one.mask, 255, 0).astype(np.uint8)
            pixels.append(np.concatenate([on_ground(one), opaque[..., None]], 2))
            names.append(str(key))
            places.append(one.place.ravel().tolist())
    order = generator_for(seed, 9, len(photos)).permutation(len(pixels)).tolist()
    shuffled = {"picture": [names[k] for k in order], "place": [places[k] for k in order]}
    return _collection("pieces", [pixels[k] for k in order], shuffled)


def boards(
    n: int = 48, seed: int = 0, side: int = 96, sections: int | None = None
) -> tuple[Images, Images]:
    """Photographs of a board's sections, a quarter with a fault; and of the same without any.

    `sections` is how many different ones there are, by default as many as pictures. The second
    collection shows, under the same name, the section of each picture on a board in order.

    >>> pictures, references = boards(4, seed=1, side=48)
    >>> pictures.column("anomaly").tolist(), pictures[0].shape == references[0].shape
    ([0, 0, 0, 1], True)
    """
    random = generator_for(seed, 5, 0)
    whole = max(6 * side, 480)
    sound = board(whole, random)
    corners = random.integers(8, whole - 2 * side - 8, (sections or n, 2)).tolist()
    pixels, masks, labels, sound_ones = [], [], [], []
    for index in range(n):
        random = generator_for(seed, 6, index)
        left, top = corners[index % len(corners)]
        box = (left, top, left + 2 * side, top + 2 * side)
        kind = FAULTS[(index // 4) % len(FAULTS)] if index % 4 == 3 else "good"
        shown, changed = sound, np.zeros((whole, whole), bool)
        while kind != "good" and changed.sum() < 100:  # what hits a bare place changes nothing
            shown = faulty(sound, box, kind, random)
            changed = (np.asarray(shown) != np.asarray(sound)).any(2)
        masks.append(changed[top : box[3] : 2, left : box[2] : 2].astype(np.uint8))
        pixels.append(photographed(shown, box, random))
        sound_ones.append(photographed(sound, box, random))
        labels.append(kind)
    columns: dict[str, list[Any]] = {
        "label": labels,
        "anomaly": [int(label != "good") for label in labels],
        "section": [index % len(corners) for index in range(n)],
    }
    return (
        _collection("boards", pixels, columns, masks),
        _collection("boards", sound_ones, {"section": columns["section"]}),
    )


def digits() -> Images:
    """The 1,797 handwritten digits that come with scikit-learn, 8 x 8.

    >>> len(digits())
    1797
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = [np.rint(image * (255 / 16)).astype(np.uint8) for image in found.images]
    return _collection("digits", pixels, {"label": [str(label) for label in found.target]})


def photographs() -> Images:
    """The colour photographs that come inside scikit-image."""
    try:
        import skimage
    except ImportError as error:
        raise MissingPackage("scikit-image", "dev") from error
    folder = Path(skimage.__file__).parent / "data"
    from fallow.images.decode import decode

    there = [name for name in _PHOTOGRAPHS if (folder / name).is_file()]
    pixels = [decode((folder / name).read_bytes()) for name in there]
    names = [name.split(".")[0] for name in there]
    return _collection("photographs", pixels, {"subject": names}, ids=names)


def write(images: Images, folder: str | os.PathLike[str], quality: int | None = None) -> Path:
    """The pictures as PNG (or JPEG of a quality), masks beside them, and labels.csv."""
    root = Path(folder)
    (root / "images").mkdir(parents=True, exist_ok=True)
    ending = "png" if quality is None else "jpg"
    extra = [name for name in images.columns[7:] if name != "mask"]
    masked = "mask" in images.columns
    rows = []
    for index, key in enumerate(images.column("id")):
        name = f"images/{key}.{ending}"
        pixels, opacity = images[index], images.opacity(index)
        if opacity is not None and quality is None:
            pixels = np.concatenate([pixels, opacity[..., None]], 2)
        _save(pixels, root / name, quality)
        row = {"path": name, **{c: images.table.column(c)[index].as_py() for c in extra}}
        if masked and images.table.column("mask")[index].is_valid:
            (root / "masks").mkdir(exist_ok=True)
            row["mask"] = f"masks/{key}.png"
            _save(images.mask(index), root / row["mask"], None)
        rows.append(row)
    _save_table(rows, root / "labels.csv")
    return root


def demo(folder: str | os.PathLike[str], seed: int = 0) -> Path:
    """About 300 pictures in files, with what a real folder suffers from, and labels.csv.

    Shapes, cells and parts; copies, near-copies, blurred, dark and tiny pictures; one file cut
    short and one that is no image; and a few labels that are wrong.
    """
    root = Path(folder)
    random = np.random.default_rng((seed, 5))
    rows: list[dict[str, Any]] = []
    kept: dict[str, np.ndarray] = {}

    def add(name: str, pixels: np.ndarray, label: str | None, quality: int = 92) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(pixels, path, quality)
        rows.append({"path": name, "label": label})
        kept[name] = pixels

    for group, images in (
        ("shapes", shapes(120, seed, 96)),
        ("cells", cells(66, seed, 128)),
        ("parts", parts(78, seed, 128)),
    ):
        labels = images.column("label")
        for index in range(len(images)):
            label = str(labels[index])
            label = label if group == "shapes" else group.removesuffix("s")
            add(f"{group}/{group[:-1]}_{index:03d}.jpg", images[index], label)

    originals = sorted(kept)
    chosen = [originals[at] for at in random.permutation(len(originals))[:40]]
    by_name = {row["path"]: row for row in rows}
    for number, name in enumerate(chosen[:8]):  # the same bytes under another name
        copy = f"inbox/IMG_{2040 + 7 * number}.jpg"
        (root / "inbox").mkdir(exist_ok=True)
        (root / copy).write_bytes((root / name).read_bytes())
        rows.append({"path": copy, "label": None})
    for number, name in enumerate(chosen[8:18]):  # the same picture, smaller and re-encoded
        height, width = kept[name].shape[:2]
        scale = (0.6, 0.75, 0.9)[number % 3]
        smaller = resized(kept[name], round(width * scale), round(height * scale))
        add(f"inbox/resized_{number:02d}.jpg", smaller, None, quality=(60, 75, 85)[number % 3])
    for number, name in enumerate(chosen[18:24]):
        blurred = smooth(kept[name], 2.5 + 0.5 * number)
        add(f"inbox/blurred_{number:02d}.jpg", blurred, by_name[name]["label"])
    for number, name in enumerate(chosen[24:29]):
        dark = (kept[name] * (0.06 + 0.015 * number)).astype(np.uint8)
        add(f"inbox/dark_{number:02d}.jpg", dark, by_name[name]["label"])
    for number, name in enumerate(chosen[29:33]):
        add(f"inbox/tiny_{number:02d}.jpg", resized(kept[name], 14 + number, 14), None)
    street = streets(4, seed, (120, 200))
    for number in range(4):  # pictures that belong to none of the groups
        add(f"inbox/street_{number:02d}.jpg", street[number], None)

    names = sorted({row["label"] for row in rows if row["label"] and "shapes/" in row["path"]})
    for name in sorted(chosen[33:], key=lambda name: not name.startswith("shapes/"))[:6]:
        others = [label for label in names if label != by_name[name]["label"]]
        by_name[name]["label"] = others[int(random.integers(len(others)))]

    whole = (root / chosen[0]).read_bytes()
    (root / "inbox" / "cut_short.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "inbox" / "notes.jpg").write_text("Notes of the shoot, saved under a wrong name.\n")
    _save_table(rows, root / "labels.csv")
    return root


# drawing: coverage maps in 0..1 are laid over float pictures in 0..255, twice too large,
# then halved, which smooths the edges


def _collection(
    name: str,
    pixels: Sequence[np.ndarray],
    columns: dict[str, list[Any]],
    masks: Sequence[np.ndarray] | None = None,
    ids: Sequence[str] | None = None,
) -> Images:
    keys = list(ids) if ids is not None else [f"{name}_{row:04d}" for row in range(len(pixels))]
    arrays = dict(zip(keys, pixels, strict=True))
    table = pa.table(columns)
    if masks is not None:
        arrays.update({f"mask/{key}": mask for key, mask in zip(keys, masks, strict=True)})
        table = table.append_column("mask", pa.array([f"mask/{key}" for key in keys]))
    return from_arrays(arrays, keys, table, name)


def _save(pixels: np.ndarray, path: Path, quality: int | None) -> None:
    from PIL import Image

    packed = io.BytesIO()
    image = Image.fromarray(pixels)
    if quality is None:
        image.save(packed, "PNG")
    else:
        image.save(packed, "JPEG", quality=quality)
    path.write_bytes(packed.getvalue())


def _save_table(rows: Sequence[dict[str, Any]], path: Path) -> None:
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: "" if value is None else value for key, value in row.items()} for row in rows
    )
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
