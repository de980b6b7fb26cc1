"""COCO JSON: boxes in pixels; crowds, the checked classes of LVIS, attributes as CVAT has them.

A file of results, a bare list of boxes with scores, names pictures and classes by the numbers of
another file: `like` says what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fallow.annotations.hierarchy import Hierarchy
from fallow.annotations.reading import columns_of, json_of, listed
from fallow.annotations.store import (
    ATTRIBUTES,
    MACHINE,
    Annotations,
    annotated,
    by_people,
    corners,
    key_of,
    marks,
    sizes,
)
from fallow.files import atomic_write
from fallow.images.places import place
from fallow.problems import SourceProblem


def read(source: Any) -> Annotations:
    """The pictures, boxes and checked classes of one COCO file."""
    where = place(source)
    found = json_of(where.read(), where.name, dict)
    return from_coco(found, where.name)


def read_results(source: Any, like: Any) -> Annotations:
    """Detections with scores; `like` is the COCO file whose numbers they use."""
    where, other = place(source), place(like)
    rows = json_of(where.read(), where.name, list)
    known = json_of(other.read(), other.name, dict)
    return from_coco({**known, "annotations": rows}, where.name, who=MACHINE)


def from_coco(found: Mapping[str, Any], name: str, who: str = "human") -> Annotations:
    """What a COCO object says.

    >>> held = from_coco(
    ...     {
    ...         "images": [{"id": 1, "file_name": "a.jpg", "width": 10, "height": 20}],
    ...         "categories": [{"id": 3, "name": "cat"}],
    ...         "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 4, 8]}],
    ...     },
    ...     "a.json",
    ... )
    >>> [held.boxes.column(side)[0].as_py() for side in ("xmin", "ymin", "xmax", "ymax")]
    [0.1, 0.1, 0.5, 0.5]
    """
    try:
        return _read(found, name, who)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise SourceProblem(f"{name} is not as COCO has it: {said}") from error


def _read(found: Mapping[str, Any], name: str, who: str) -> Annotations:
    labels = {c["id"]: str(c.get("label", c["name"])) for c in found.get("categories", [])}
    licences = {c["id"]: c.get("url") or c.get("name") for c in found.get("licenses") or []}
    pictures: dict[Any, dict[str, Any]] = {}
    for image in found["images"]:
        pictures[image["id"]] = {
            "image": key_of(image["file_name"]),
            "file": image["file_name"],
            "width": image.get("width"),
            "height": image.get("height"),
            "licence": licences.get(image.get("license")),
            "source_url": image.get("coco_url") or image.get("flickr_url"),
        }
    rows, dropped = [], 0
    for one in found["annotations"]:
        image, label = _known(pictures, one["image_id"], "picture", name), one["category_id"]
        label = _known(labels, label, "category", name)
        if not one.get("bbox"):
            dropped += 1  # a caption, or key points alone
            continue
        if not (image["width"] and image["height"]):
            raise SourceProblem(f"{name} gives no size for {image['file']}, but boxes in pixels")
        x, y, width, height = (float(value) for value in one["bbox"])
        size = (image["width"], image["height"]) * 2
        box = np.array([x, y, x + width, y + height]) / size
        row = dict(zip(("xmin", "ymin", "xmax", "ymax"), box.tolist(), strict=True))
        row |= {"image": image["image"], "label": label, "source": one.get("source", who)}
        row["confidence"] = float(one.get("score", 1.0))
        row |= {k: int(v) for k, v in (one.get("attributes") or {}).items() if k in ATTRIBUTES}
        if one.get("iscrowd") is not None:
            row["group"] = int(one["iscrowd"])
        rows.append(row)
    checked = [
        {"image": pictures[image["id"]]["image"], "label": _known(labels, c, "category", name),
         "confidence": answer, "source": "verification"}
        for image in found["images"]
        for key, answer in (("pos_category_ids", 1.0), ("neg_category_ids", 0.0))
        for c in image.get(key) or []
    ]  # fmt: skip
    edges = [
        (str(c["supercategory"]), labels[c["id"]])
        for c in found.get("categories", [])
        if c.get("supercategory") and c["supercategory"] not in (c["name"], "none")
    ]
    notes: list[str] = []
    listed(notes, dropped, "annotations have no box and are left out")
    outlines = sum(bool(one.get("segmentation")) for one in found["annotations"])
    listed(notes, outlines, "boxes have an outline, which is left out")
    return annotated(
        columns_of(pictures.values()),
        columns_of(checked),
        columns_of(rows),
        names={labels[c["id"]]: str(c["name"]) for c in found.get("categories", [])},
        hierarchy=Hierarchy(edges),
        notes=notes,
    )


def write(held: Annotations, path: str | Path) -> list[str]:
    """Write one COCO file; returns what COCO has no place for."""
    made, notes = to_coco(held)
    with atomic_write(path) as file:
        file.write(json.dumps(made, ensure_ascii=False).encode())
    return notes


def to_coco(held: Annotations) -> tuple[dict[str, Any], list[str]]:
    """The same as a COCO object, and what it has no place for."""
    size = sizes(held, held.boxes.column("image"))
    if len(size) and not (size > 0).all():
        image = held.boxes.column("image")[int(np.flatnonzero(~(size > 0).all(1))[0])]
        raise SourceProblem(f"COCO counts in pixels: give {image} a width and a height first")
    classes = held.classes
    numbers = {label: number for number, label in enumerate(classes, 1)}
    checked: dict[tuple[str, float], list[int]] = {}
    for row in held.by_people.to_pylist():
        checked.setdefault((row["image"], row["confidence"]), []).append(numbers[row["label"]])
    urls = sorted({url for url in held.images.column("licence").to_pylist() if url})
    images = []
    for number, row in enumerate(held.images.to_pylist(), 1):
        image = {"id": number, "file_name": row["file"] or f"{row['image']}.jpg"}
        image |= {key: row[key] for key in ("width", "height") if row[key] is not None}
        if row["licence"]:
            image["license"] = urls.index(row["licence"]) + 1
        if row["source_url"]:
            image["coco_url"] = row["source_url"]
        for key, answer in (("pos_category_ids", 1.0), ("neg_category_ids", 0.0)):
            if found := checked.get((row["image"], answer)):
                image[key] = found
        images.append(image)
    places = {row: number for number, row in enumerate(held.images.column("image").to_pylist(), 1)}
    pixels = corners(held.boxes) * np.tile(size, 2)
    pixels[:, 2:] -= pixels[:, :2]
    rows = []
    each = zip(held.boxes.to_pylist(), pixels, marks(held.boxes).tolist(), strict=True)
    for number, (row, box, said) in enumerate(each, 1):
        one: dict[str, Any] = {
            "id": number,
            "image_id": places[row["image"]],
            "category_id": numbers[row["label"]],
        }
        one |= {"bbox": box.tolist(), "area": float(box[2] * box[3]), "source": row["source"]}
        one |= {"iscrowd": int(row["group"] == 1)}
        if row["confidence"] != 1:
            one["score"] = row["confidence"]
        known = {k: bool(v) for k, v in zip(ATTRIBUTES, said, strict=True) if v >= 0}
        rows.append(one | ({"attributes": known} if known else {}))
    categories = []
    for label in classes:
        kind = {"id": numbers[label], "name": held.name(label), "label": label}
        parents = held.hierarchy.parents.get(label, ())
        categories.append(kind | ({"supercategory": parents[0]} if parents else {}))
    notes: list[str] = []
    listed(notes, held.relations.num_rows, "relations are lost: COCO has none")
    machine = held.labels.num_rows - int(np.asarray(by_people(held.labels)).sum())
    listed(notes, machine, "labels of machines are lost: COCO has only a person's yes and no")
    several = sum(len(parents) > 1 for parents in held.hierarchy.parents.values())
    listed(notes, several, "classes have several parents: COCO keeps the first")
    licences = [{"id": number, "url": url} for number, url in enumerate(urls, 1)]
    whole = {"images": images, "annotations": rows, "categories": categories, "licenses": licences}
    return whole, notes


def _known(table: Mapping[Any, Any], number: Any, what: str, name: str) -> Any:
    if number not in table:
        raise SourceProblem(f"{name} names {what} {number}, which it does not list")
    return table[number]
