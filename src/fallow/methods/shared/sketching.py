"""Sketches beside their photos, and photos found by a sketch while it is drawn."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes

from fallow.encoders import Encoder, load
from fallow.encoders.layout import Layout
from fallow.files import part_of
from fallow.images import Images
from fallow.images.collection import read_bytes
from fallow.images.decode import Unreadable
from fallow.images.sketch_files import ENDINGS, read_sketch, strokes_in
from fallow.images.sketch_forms import STROKES, read_cell, sketch_pixels
from fallow.measure.ranking import accuracy_at, tied_ranks
from fallow.methods.match.fgsbir import FGSBIR
from fallow.parts.sketches import SKETCH, Placed, black_on_white, place
from fallow.problems import SourceProblem
from fallow.regions.keep import kept, stage, weights

SKETCHES = "sketch"  # column of Images: the name of a file
Strokes = list[np.ndarray]


def with_sketches(images: Images, sketches: Any = None) -> Images:
    """The photos that were drawn, each with its strokes; one drawn twice is there twice.

    `sketches` is a folder whose files are called like the photos, or like them with _1, _2 behind;
    without it the photos' own column `sketch` names files beside them.
    """
    rows, drawn = _of_folder(images, sketches) if sketches is not None else _of_column(images)
    if not rows:
        raise SourceProblem(
            f"none of the photos in {images.name} has a sketch: draw a few and name their folder "
            "with sketches, each file called like its photo"
        )
    some = images.select(np.array(rows))
    cells = pa.array([[one.tolist() for one in strokes] for strokes in drawn])
    table = some.table
    if STROKES in table.column_names:
        table = table.drop_columns([STROKES])
    return some._with(table.append_column(STROKES, cells))


def without_sketches(images: Images, sketches: Any = None) -> Images:
    """The photos alone: sketches that lie beside them are no photos."""
    named = set(images.column(SKETCHES)) if SKETCHES in images.columns else set()
    folder = None if sketches is None else Path(os.fspath(sketches)).resolve()
    aside = np.array(
        [
            path in named
            or (folder is not None and folder in Path(images.address(k)).resolve().parents)
            for k, path in enumerate(images.column("path").tolist())
        ],
        bool,
    )
    if aside.all():
        raise SourceProblem(f"all pictures in {images.name} are sketches: give the photos, too")
    return images.select(~aside) if aside.any() else images


def _of_column(images: Images) -> tuple[list[int], list[Strokes]]:
    if SKETCHES not in images.columns:
        return [], []
    rows, drawn = [], []
    for row, name in enumerate(images.table.column(SKETCHES).to_pylist()):
        if name is None:
            continue
        try:
            data = read_bytes(images.store, name)
        except Unreadable as error:
            raise SourceProblem(f"the sketch {name} cannot be read: {error}") from error
        rows.append(row)
        drawn.append(strokes_in(data, name))
    return rows, drawn


def _of_folder(images: Images, sketches: Any) -> tuple[list[int], list[Strokes]]:
    folder = Path(os.fspath(sketches))
    if not folder.is_dir():
        raise SourceProblem(f"there is no folder of sketches {folder}: check the name")
    stems = {Path(key).stem: row for row, key in enumerate(images.column("id").tolist())}
    rows, drawn = [], []
    files = [f for f in sorted(folder.rglob("*")) if f.suffix.lower() in ENDINGS]
    for file in files:
        row = stems.get(file.stem, stems.get(file.stem.rsplit("_", 1)[0]))
        if row is not None:
            rows.append(row)
            drawn.append(read_sketch(file))
    if files and not rows:
        raise SourceProblem(
            f"none of the {len(files)} sketches in {folder} is called like a photo "
            f"({files[0].name} and {images.column('id')[0]}, for example): use the same names"
        )
    return rows, drawn


@dataclass(frozen=True)
class Finder:
    """A trained encoder and layout, and how sketches were shown to them."""

    encoder: Encoder
    layout: Layout | None
    frame: str

    @classmethod
    def of(cls, method: FGSBIR) -> Finder:
        return cls(method.encoder, method.layout, method.settings.frame)

    @property
    def placed(self) -> Encoder:
        """An encoder of photos to where they lie."""
        module = Placed(self.encoder, self.layout)
        how = self.encoder.preprocessing
        return Encoder(module, name=self.encoder.name, preprocessing=how)

    def photos(self, images: Images) -> np.ndarray:
        """Vectors of photos (N D), looked at once and kept; NaN where one cannot be read."""
        placed = self.placed
        about = {
            "encoder": weights(placed),
            "preprocessing": asdict(self.encoder.preprocessing),
            "images": images.fingerprint,
        }
        folder = stage("photos to sketches", about)
        return kept(folder, "vectors", lambda: placed.embed(images))

    @torch.inference_mode()
    def sketches(self, drawn: Sequence[Strokes]) -> np.ndarray:
        """Vectors of sketches.  N D"""
        self.encoder.eval()
        side = self.encoder.preprocessing.size
        pixels = np.stack([sketch_pixels(one, self.frame, side) for one in drawn])
        seen = black_on_white(torch.from_numpy(pixels), self.encoder)
        found = place(self.encoder, self.layout, seen.to(self.encoder.device), SKETCH)
        return found.float().cpu().numpy()


def load_finder(folder: str | os.PathLike[str]) -> Finder:
    """The finder of a finished run; a Problem that says what is missing."""
    run = Path(folder)
    try:
        settings = json.loads((run / "sketches.json").read_text())["settings"]
        encoder = load(run / "encoder")
        return Finder(encoder, _layout(run, encoder, settings), settings["frame"])
    except FileNotFoundError as error:
        raise SourceProblem(
            f"{run} is not a finished run of match on sketches: "
            f"{Path(error.filename).name} is missing"
        ) from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise SourceProblem(f"the run in {run} cannot be used: {error}") from error


def _layout(run: Path, encoder: Encoder, settings: Mapping[str, Any]) -> Layout | None:
    if not settings["cells"]:
        return None
    layout = Layout(encoder, settings["cells"], settings["length"])
    held = from_bytes((run / "generator.safetensors").read_bytes())
    layout.load_state_dict(part_of(held, "layout"))
    return layout


@dataclass(frozen=True)
class Found:
    """The photos nearest to a sketch, the nearest first."""

    rows: np.ndarray  # k
    distances: np.ndarray  # k


class Search:
    """Photos that wait for a sketch: asked again with every stroke, at the cost of one product."""

    def __init__(self, finder: Finder, images: Images) -> None:
        self.finder, self.images = finder, images
        vectors = finder.photos(images)
        self.readable = np.flatnonzero(np.isfinite(vectors).all(1))
        if not len(self.readable):
            raise SourceProblem(f"none of the photos in {images.name} can be read")
        self.vectors = np.ascontiguousarray(vectors[self.readable])

    def find(self, strokes: Strokes, count: int = 12) -> Found:
        """The photos nearest to what is drawn so far."""
        return self._nearest(self.finder.sketches([strokes]), count)[0]

    def while_drawn(self, strokes: Strokes, count: int = 12, steps: int = 10) -> list[Found]:
        """What would have been found after each of some shares of the pen's way, the last all."""
        return self._nearest(self.finder.sketches(prefixes(strokes, steps)), count)

    def _nearest(self, vectors: np.ndarray, count: int) -> list[Found]:
        count = min(count, len(self.vectors))
        alike = vectors @ self.vectors.T
        found = []
        for row in alike:
            best = np.argpartition(-row, count - 1)[:count]
            best = best[np.argsort(-row[best], kind="stable")]
            far = np.sqrt(np.maximum(0.0, 2 - 2 * row[best]))
            found.append(Found(self.readable[best], far))
        return found


def prefixes(strokes: Strokes, steps: int) -> list[Strokes]:
    """A sketch after 1/n, 2/n ... of its points; a stroke may be half drawn.

    >>> [sum(map(len, one)) for one in prefixes([np.zeros((4, 2)), np.zeros((4, 2))], 4)]
    [2, 4, 6, 8]
    """
    total = sum(map(len, strokes))
    found = []
    for k in range(1, steps + 1):
        left = max(1, round(total * k / steps))
        some: Strokes = []
        for one in strokes:
            if left > 0:
                some.append(one[:left])
                left -= len(one)
        found.append(some)
    return found


def asked(finder: Finder, pairs: Images, gallery: Images) -> dict[str, float]:
    """How often a known sketch's photo is the nearest in a gallery, or among ten.

    Whoever is as near as the right photo counts as before it.
    """
    photos = finder.photos(gallery)
    ids = {key: row for row, key in enumerate(gallery.column("id").tolist())}
    own = np.array([ids[key] for key in pairs.column("id").tolist()])
    drawn = [read_cell(cell) for cell in pairs.table.column(STROKES).to_pylist()]
    vectors = finder.sketches(drawn)
    readable = np.isfinite(photos).all(1)
    far = np.sqrt(np.maximum(0.0, 2 - 2 * vectors @ np.nan_to_num(photos).T))
    far[:, ~readable] = np.inf
    share = accuracy_at(tied_ranks(far, own), (1, 10))
    return {"acc@1": share[1], "acc@10": share[10], "sketches": len(own), "among": len(gallery)}
