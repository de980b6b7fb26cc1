"""PASCAL VOC: one XML file for each picture, boxes in pixels counted from 1, both ends inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from fallow.annotations.reading import columns_of, files, listed
from fallow.annotations.store import (
    Annotations,
    annotated,
    corners,
    key_of,
    sizes,
)
from fallow.files import atomic_write, inside, plain_xml
from fallow.images.places import Place
from fallow.problems import SourceProblem

SIDES = ("xmin", "ymin", "xmax", "ymax")
# what VOC says of an object and we keep
MARKS = ("occluded", "truncated", "group")


def read(source: Any) -> Annotations:
    """The pictures and boxes of a folder of .xml files."""
    pictures: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    pixels: list[list[float]] = []
    difficult = 0
    for where in files(source, (".xml",)):
        picture, objects, boxes = _file(where)
        if picture["image"] in pictures:
            raise SourceProblem(
                f"{where.name} describes {picture['image']}, as another file does: keep one"
            )
        pictures[picture["image"]] = picture
        difficult += sum(bool(one.pop("difficult")) for one in objects)
        rows += objects
        pixels += boxes
    notes: list[str] = []
    listed(notes, difficult, "boxes are marked difficult, and are kept like all others")
    places = np.array(pixels, np.float64).reshape(-1, 4)
    if (places[:, :2] < 1).any():  # a tool that counts from 0: the far end is not inside then
        notes.append("some boxes begin at 0: all are taken to be counted from 0, not from 1")
    else:
        places[:, :2] -= 1
    places /= np.array(
        [[pictures[row["image"]][k] for k in ("width", "height") * 2] for row in rows], np.float64
    ).reshape(-1, 4)
    for row, box in zip(rows, places.tolist(), strict=True):
        row |= dict(zip(SIDES, box, strict=True))
    return annotated(columns_of(pictures.values()), boxes=columns_of(rows), notes=notes)


def write(held: Annotations, folder: str | Path) -> list[str]:
    """Write one XML file for each picture, boxes rounded to pixels; returns what VOC cannot say."""
    size = sizes(held, held.images.column("image"))
    if len(size) and not (size > 0).all():
        image = held.images.column("image")[int(np.flatnonzero(~(size > 0).all(1))[0])]
        raise SourceProblem(f"VOC counts in pixels: give {image} a width and a height first")
    out = Path(folder)
    boxes: dict[str, list[tuple[dict[str, Any], np.ndarray]]] = {}
    pixels = corners(held.boxes) * np.tile(sizes(held, held.boxes.column("image")), 2)
    pixels[:, :2] += 1
    whole = np.rint(pixels).astype(np.int64)
    for row, box in zip(held.boxes.to_pylist(), whole, strict=True):
        boxes.setdefault(row["image"], []).append((row, box))
    for picture in held.images.to_pylist():
        root = Element("annotation")
        SubElement(root, "folder").text = picture["split"] or ""
        SubElement(root, "filename").text = picture["file"] or f"{picture['image']}.jpg"
        measures = SubElement(root, "size")
        for name, value in (("width", picture["width"]), ("height", picture["height"]),
                            ("depth", 3)):  # fmt: skip
            SubElement(measures, name).text = str(value)
        for row, box in boxes.get(picture["image"], []):
            _written(root, row, box, held.name(row["label"]))
        ElementTree.indent(root)
        path = out / f"{inside(picture['image'])}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(ElementTree.tostring(root, encoding="utf-8"))
    notes: list[str] = []
    listed(notes, held.labels.num_rows, "labels of pictures are lost: VOC has only boxes")
    listed(notes, held.relations.num_rows, "relations are lost: VOC has none")
    listed(notes, len(held.hierarchy), "classes of the hierarchy are lost: VOC has none")
    return notes


def _file(where: Place) -> tuple[dict[str, Any], list[dict[str, Any]], list[list[float]]]:
    """The picture of one file, its objects, and their boxes in pixels."""
    try:
        root = plain_xml(where.read())
        picture = _picture(root, where.name)
        objects = list(root.iter("object"))
        boxes = [[float(_text(one, f"bndbox/{side}")) for side in SIDES] for one in objects]
        return picture, [_object(one, picture["image"]) for one in objects], boxes
    except ValueError as error:
        raise SourceProblem(f"{where.name} is not as VOC has it: {error}") from error


def _picture(root: Element, name: str) -> dict[str, Any]:
    if root.tag != "annotation":
        raise ValueError(f"its first element is <{root.tag}>, not <annotation>")
    file = (root.findtext("filename") or name).strip()
    found = {side: int(float(_text(root, f"size/{side}"))) for side in ("width", "height")}
    if min(found.values()) < 1:
        raise ValueError(f"its size is {found['width']} x {found['height']}")
    return {"image": key_of(file), "file": file, **found}


def _object(found: Element, image: str) -> dict[str, Any]:
    row: dict[str, Any] = {"image": image, "label": _text(found, "name")}
    for name in (*MARKS, "difficult"):
        value = found.findtext(name)
        row[name] = int(value) if value and value.strip() else None
    return row


def _written(root: Element, row: dict[str, Any], box: np.ndarray, name: str) -> None:
    one = SubElement(root, "object")
    SubElement(one, "name").text = name
    for name in MARKS:
        if row[name] >= 0:
            SubElement(one, name).text = str(row[name])
    SubElement(one, "difficult").text = "0"
    places = SubElement(one, "bndbox")
    for side, value in zip(SIDES, box.tolist(), strict=True):
        SubElement(places, side).text = str(value)


def _text(root: Element, path: str) -> str:
    found = root.findtext(path)
    if not found or not found.strip():
        raise ValueError(f"there is no <{path.replace('/', '><')}>")
    return found.strip()
