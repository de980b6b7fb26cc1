"""COCO key points: one JSON file of pictures, categories with a skeleton, and their points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fallow.annotations.points.reading import gathered, told
from fallow.annotations.points.store import KeyPoints
from fallow.annotations.reading import json_of
from fallow.files import write_json
from fallow.images.places import place
from fallow.problems import SourceProblem


def read(source: Any) -> KeyPoints:
    """The points of one COCO file."""
    where = place(source)
    with told(where.name, "COCO"):
        return from_coco(json_of(where.read(), where.name, dict), where.name)


def from_coco(found: Mapping[str, Any], name: str) -> KeyPoints:
    """What a COCO object says of points.

    >>> category = {"id": 1, "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    >>> held = from_coco(
    ...     {
    ...         "images": [{"id": 7, "file_name": "a.png", "width": 9, "height": 9}],
    ...         "categories": [category],
    ...         "annotations": [{"image_id": 7, "category_id": 1, "keypoints": [1, 2, 2, 0, 0, 0]}],
    ...     },
    ...     "a.json",
    ... )
    >>> held.values.tolist(), held.bones
    ([[[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]]], ((0, 1),))
    """
    kinds = {one["id"]: one for one in found.get("categories", []) if one.get("keypoints")}
    pictures = {one["id"]: one for one in found["images"]}
    marked = [one for one in found["annotations"] if one.get("keypoints")]
    if not marked:
        raise SourceProblem(f"{name} is a COCO file without key points: give the one that has them")
    used = {one.get("category_id", next(iter(kinds), None)) for one in marked}
    skeletons = {tuple(kinds[one]["keypoints"]) if one in kinds else () for one in used}
    if len(skeletons) != 1:
        raise SourceProblem(
            f"{name} mixes {len(skeletons)} skeletons: keep the annotations of one category"
        )
    (names,) = skeletons
    if not names:
        raise SourceProblem(f"{name} does not name its key points: its categories need keypoints")
    rows = []
    for one in marked:
        picture = pictures.get(one["image_id"])
        if picture is None:
            raise SourceProblem(f"{name} marks a picture {one['image_id']} that it does not list")
        values = np.array(one["keypoints"], np.float64)
        if values.size != 3 * len(names):
            raise SourceProblem(
                f"{name} gives {picture['file_name']} {values.size / 3:g} points where its "
                f"skeleton has {len(names)}"
            )
        scores = one.get("keypoint_scores")
        size = (picture.get("width") or np.nan, picture.get("height") or np.nan)
        rows.append((picture["file_name"], values.reshape(-1, 3), size, scores))
    bones = tuple((a - 1, b - 1) for a, b in kinds[next(iter(used))].get("skeleton") or [])
    return gathered(rows, names, bones, name)


def write(held: KeyPoints, path: Path) -> None:
    """Write one COCO file; what a machine marked keeps its scores."""
    sizes = held.sizes if held.sizes is not None else np.full((len(held.files), 2), np.nan)
    images, annotations = [], []
    for number, (file, values, size) in enumerate(
        zip(held.files, held.values, sizes, strict=True), 1
    ):
        picture: dict[str, Any] = {"id": number, "file_name": file}
        if np.isfinite(size).all():
            picture |= {"width": int(size[0]), "height": int(size[1])}
        images.append(picture)
        seen = values[values[:, 2] > 0, :2]
        if not len(seen):
            continue
        low, high = seen.min(0), seen.max(0)
        one: dict[str, Any] = {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "keypoints": np.round(values, 3).reshape(-1).tolist(),
            "num_keypoints": len(seen),
            "bbox": np.round([*low, *(high - low)], 3).tolist(),
            "area": float(np.prod(high - low)),
            "iscrowd": 0,
        }
        if held.scores is not None:
            scores = np.round(held.scores[number - 1], 4)
            one |= {"keypoint_scores": scores.tolist(), "score": float(scores.mean())}
        annotations.append(one)
    category = {
        "id": 1,
        "name": "object",
        "keypoints": list(held.names),
        "skeleton": [[a + 1, b + 1] for a, b in held.bones],
    }
    write_json(path, {"images": images, "annotations": annotations, "categories": [category]})
