"""Masks as class codes: which file belongs to which picture, and what its values mean.

In training a mask is 0 ... K - 1, and 255 where nobody is to judge, whatever the files hold.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fallow.files import fingerprint
from fallow.images.addresses import recognised
from fallow.images.classes import IGNORE, Classes, found_classes, named_classes
from fallow.images.collection import Images, read_bytes
from fallow.images.decode import Unreadable, decode_mask
from fallow.images.stores import Arrays, FileProblem, Store
from fallow.problems import SourceProblem

if TYPE_CHECKING:
    from fallow.images.pack import Pack

Reading = tuple[str, Callable[[], np.ndarray]]  # a mask's name, and how to get it

# what people append to a picture's name to name its mask
_TAIL = re.compile(r"[-_. ]?(masks?|labels?|seg|segmentation|gt|groundtruth|annotation)$", re.I)


@dataclass(frozen=True)
class Masked:
    """Pictures with a mask in class codes, those without, and what the codes mean."""

    labelled: Any  # Images, or Volumes
    bare: Any
    classes: Classes
    notes: list[str]


def read_masks(
    images: Images, masks: Any = None, classes: Any = None, ignore: Sequence[Any] = ()
) -> Masked:
    """Sort pictures into those with a mask and those without, and turn masks into codes.

    `masks` is a folder whose files are called like the pictures (or with _mask and the like
    behind), or {id: array}; without it the pictures' own column `mask` counts.
    """
    images, files, notes = _files(images, masks)
    if not files:
        raise SourceProblem(
            f"none of the {len(images):,} pictures has a mask: draw a few and name their folder "
            "with masks"
        )
    arrays: dict[int, np.ndarray] = {}
    for row, (name, read) in files.items():
        arrays[row] = _fitted(_readable(read, name), name, images, row, notes)
    named = {files[row][0]: mask for row, mask in arrays.items()}
    known = named_classes(classes, ignore) if classes is not None else found_classes(named, ignore)
    notes += known.notes
    codes = {row: known.codes(mask, files[row][0]) for row, mask in arrays.items()}
    empty = [files[row][0] for row, code in codes.items() if not (code % IGNORE).any()]
    if len(empty) == len(codes):
        raise SourceProblem(
            f"all {len(codes)} masks are empty: mark what you look for in at least one of them"
        )
    if empty:
        notes.append(f"{len(empty)} of {len(codes)} masks mark nothing, such as {empty[0]}")
    has = np.zeros(len(images), bool)
    has[list(codes)] = True
    rows = np.flatnonzero(has)
    labelled = with_masks(images.select(has), {k: codes[int(r)] for k, r in enumerate(rows)})
    return Masked(labelled, without_masks(images.select(~has)), known, notes)


def _readable(read: Callable[[], np.ndarray], name: str) -> np.ndarray:
    try:
        return np.asarray(read())
    except Unreadable as error:
        raise SourceProblem(f"the mask {name} cannot be used: {error}") from error


def _files(images: Images, masks: Any) -> tuple[Images, dict[int, Reading], list[str]]:
    """The pictures that are no masks, and for each row its mask's name and how to read it."""
    notes: list[str] = []
    if masks is None:
        if "mask" not in images.columns:
            return images, {}, notes
        column = images.table.column("mask").to_pylist()
        own: dict[int, Reading] = {
            row: (str(name), lambda row=row: images.mask(row))  # type: ignore[misc]
            for row, name in enumerate(column)
            if name is not None
        }
        return images, own, notes
    if isinstance(masks, Mapping):
        ids = {key: row for row, key in enumerate(images.column("id"))}
        lost = [key for key in masks if key not in ids]
        if lost:
            raise SourceProblem(f"there is a mask for {lost[0]}, but no such picture")
        given: dict[int, Reading] = {
            ids[key]: (str(key), lambda mask=mask: np.asarray(mask))  # type: ignore[misc]
            for key, mask in masks.items()
        }
        return images, given, notes
    images, store, names = _listed(images, masks)
    found: dict[int, Reading] = {}
    stems: dict[str, str] = {}
    for name in names:
        stem = posixpath.splitext(name)[0]
        stems.setdefault(stem, name)
        stems.setdefault(_TAIL.sub("", stem), name)
    used = set()
    for row, key in enumerate(images.column("id")):
        parts = posixpath.splitext(key)[0].split("/")
        tails = ("/".join(parts[start:]) for start in range(len(parts)))
        hit = next((stems[tail] for tail in tails if tail in stems), None)
        if hit is None:
            continue
        if hit in used:
            raise SourceProblem(
                f"the mask {hit} fits more than one picture, such as {key}: give masks the same "
                "sub-folders as the pictures"
            )
        used.add(hit)
        found[row] = (hit, lambda hit=hit: decode_mask(read_bytes(store, hit)))  # type: ignore[misc]
    if names and not found:
        raise SourceProblem(
            f"none of the {len(names)} masks in {masks} is called like a picture "
            f"({names[0]} and {images.column('id')[0]}, for example): use the same names"
        )
    if len(used) < len(names):
        spare = sorted(set(names) - used)
        notes.append(f"{len(spare)} masks belong to no picture, such as {spare[0]}")
    return images, found, notes


def _listed(images: Images, masks: Any) -> tuple[Images, Store, list[str]]:
    """The files of a folder (or archive) of masks, and the pictures that do not lie in it."""
    address = os.fspath(masks)
    try:
        listing = recognised(address)
    except OSError as error:
        raise SourceProblem(f"cannot read masks from {address}: {error.strerror}") from error
    if not listing.names:
        raise SourceProblem(f"there are no masks in {address}: give a folder of PNG files")
    folder = Path(address)
    if folder.is_dir():
        inside = np.array(
            [
                folder.resolve() in Path(images.address(k)).resolve().parents
                for k in range(len(images))
            ]
        )
        images = images.select(~inside)
        if not len(images):
            raise SourceProblem(f"all pictures lie in the folder of masks {address}")
    return images, listing.store, listing.names


def _fitted(mask: np.ndarray, name: str, images: Images, row: int, notes: list[str]) -> np.ndarray:
    """A mask at its picture's size."""
    height, width = (int(images.table.column(side)[row].as_py()) for side in ("height", "width"))
    if mask.ndim != 2:
        raise SourceProblem(f"the mask {name} has shape {mask.shape}, not height x width")
    if mask.shape == (height, width):
        return mask
    if abs(mask.shape[0] * width - mask.shape[1] * height) > max(height, width):
        raise SourceProblem(
            f"the mask {name} is {mask.shape[1]} x {mask.shape[0]} pixels and its picture "
            f"{width} x {height}: a mask must show all of its picture and nothing else"
        )
    note = "some masks are of another size than their pictures and are stretched to fit"
    if note not in notes:
        notes.append(note)
    return resized(mask, (height, width))


def resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The nearest pixels of a mask at another height and width.

    >>> resized(np.array([[1, 2], [3, 4]]), (4, 2)).tolist()
    [[1, 2], [1, 2], [3, 4], [3, 4]]
    """
    rows, columns = (
        ((np.arange(wanted) + 0.5) * there / wanted).astype(int)
        for wanted, there in zip(size, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def packed_masks(images: Images, pack: Pack) -> list[np.ndarray | None]:
    """The mask of each entry of a pack at that entry's size; None where there is none."""
    names = images.table.column("mask").to_pylist()
    return [
        None if names[row] is None else resized(images.mask(int(row)), (int(height), int(width)))
        for row, height, width in zip(pack.rows, pack.heights, pack.widths, strict=True)
    ]


def masked_fingerprint(images: Images) -> str:
    """Equal for equal pictures with equal masks: what a run on masks is known by.

    >>> import fallow.images
    >>> images = fallow.images.open([np.zeros((2, 2, 3), np.uint8)])
    >>> one, other = (with_masks(images, {0: np.full((2, 2), k, np.uint8)}) for k in (0, 1))
    >>> one.fingerprint == other.fingerprint, masked_fingerprint(one) == masked_fingerprint(other)
    (True, False)
    """
    names = images.table.column("mask").to_pylist()
    parts = [images.fingerprint.encode()]
    for row, name in enumerate(names):
        parts.append(b"-" if name is None else np.ascontiguousarray(images.mask(row)).tobytes())
    return fingerprint(b"".join(fingerprint(part).encode() for part in parts))


class WithFiles:
    """A store with a few files of its own before those of another."""

    def __init__(self, inner: Store, files: Mapping[str, bytes]) -> None:
        self.inner, self.files = inner, dict(files)
        self.names = [*self.files, *inner.names]
        self.problems: list[FileProblem] = inner.problems
        self.sequential = inner.sequential

    def read(self, name: str) -> bytes:
        return self.files[name] if name in self.files else self.inner.read(name)

    def address(self, name: str) -> str:
        return name if name in self.files else self.inner.address(name)


def with_masks(images: Images, codes: Mapping[int, np.ndarray]) -> Images:
    """The same pictures with masks of class codes, by row; the other rows have none.

    >>> import fallow.images
    >>> images = fallow.images.open([np.zeros((2, 2, 3), np.uint8)] * 2)
    >>> masked = with_masks(images, {1: np.eye(2, dtype=np.uint8)})
    >>> masked.table.column("mask").is_valid().to_pylist(), masked.mask(1).tolist()
    ([False, True], [[1, 0], [0, 1]])
    """
    from PIL import Image

    keys = images.column("id")
    names = {row: f"\0codes/{keys[row]}.png" for row in codes}
    store: Store
    if isinstance(images.store, Arrays):
        pixels = {**images.store.pixels, **{names[row]: codes[row] for row in codes}}
        store = Arrays(pixels)
    else:
        files = {}
        for row, mask in codes.items():
            packed = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(mask, np.uint8)).save(packed, "PNG")
            files[names[row]] = packed.getvalue()
        store = WithFiles(images.store, files)
    column = pa.array([names.get(row) for row in range(len(images))], pa.string())
    table = without_masks(images).table.append_column("mask", column)
    return Images(table, store, name=images.name, problems=images.problems, notes=images.notes)


def without_masks(images: Images) -> Images:
    """The same pictures, of which nothing is known where things are."""
    if "mask" not in images.columns:
        return images
    return images._with(images.table.drop_columns(["mask"]))
