"""Label Studio JSON: tasks with rectangles in percent, choices for pictures, relations.

Choices called `absent` say what a picture does not show; choices for a rectangle its attributes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fallow.annotations.reading import columns_of, json_of, listed
from fallow.annotations.store import (
    ATTRIBUTES,
    CORNERS,
    MACHINE,
    Annotations,
    annotated,
    key_of,
)
from fallow.files import atomic_write
from fallow.images.places import place
from fallow.problems import SourceProblem

Row = dict[str, Any]
ABSENT = "absent"  # the name of the choices that say what a picture does not show


def read(source: Any) -> Annotations:
    """The tasks of one exported file; predictions are machines' work, skipped tasks say nothing."""
    where = place(source)
    try:
        return _read(json_of(where.read(), where.name, list))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise SourceProblem(f"{where.name} is not as Label Studio has it: {said}") from error


def _read(tasks: list[Any]) -> Annotations:
    images: list[Row] = []
    found = _Found()
    for task in tasks:
        file = file_of(task["data"])
        image: Row = {"image": key_of(file), "file": file}
        for said, human in said_of(task):
            results = said["result"]
            image |= _size(results)
            found.add(results, image["image"], human, said.get("score"))
        images.append(image)
    notes: list[str] = []
    listed(notes, found.turned, "boxes are turned, and are kept as the upright boxes around them")
    listed(notes, found.other, "results of other kinds are left out")
    return annotated(
        columns_of(images),
        columns_of(found.labels),
        columns_of(found.boxes),
        columns_of(found.relations),
        notes=notes,
    )


class _Found:
    """What the results of all tasks say."""

    def __init__(self) -> None:
        self.labels: list[Row] = []
        self.boxes: list[Row] = []
        self.relations: list[Row] = []
        self.turned = self.other = 0

    def add(self, results: list[Row], image: str, human: bool, score: Any) -> None:
        marks = _marks(results)
        regions: dict[str, Row] = {}
        for one in results:
            kind, value = one["type"], one.get("value", {})
            if kind in ("rectanglelabels", "rectangle") and value.get("rectanglelabels"):
                row = {"image": image, "label": value["rectanglelabels"][0], **_box(value)}
                row |= {"source": "human" if human else MACHINE, **marks.get(one["id"], {})}
                row["confidence"] = 1.0 if human else _sure(one, score)
                self.turned += bool(value.get("rotation"))
                self.boxes.append(row)
                regions[one["id"]] = row
            elif kind == "choices" and one.get("id", "") not in marks:
                sure = 1.0 if human else _sure(one, score)
                row = {"image": image, "source": "verification" if human else MACHINE}
                row["confidence"] = 0.0 if one.get("from_name") == ABSENT else sure
                self.labels += [row | {"label": word} for word in value["choices"]]
            elif kind not in ("relation", "choices"):
                self.other += 1
        for one in results:
            if one["type"] == "relation":
                for word in one.get("labels") or ["related"]:
                    self.relations.append(_relation(one, word, regions, image))


def write(held: Annotations, path: str | Path, prefix: str = "") -> list[str]:
    """Write tasks Label Studio can import; `prefix` goes before the name of each picture."""
    pictures = held.images.to_pylist()
    people: dict[str, list[Row]] = {row["image"]: [] for row in pictures}
    machines: dict[str, list[Row]] = {row["image"]: [] for row in pictures}
    sizes = {row["image"]: _written_size(row) for row in pictures}
    places: dict[tuple[Any, ...], str] = {}
    for number, row in enumerate(held.boxes.to_pylist()):
        name, image = f"box{number}", row["image"]
        said = (machines if row["source"] == MACHINE else people)[image]
        said.append(_rectangle(row, held.name(row["label"]), name) | sizes[image])
        marks = [f"{kind}={row[kind]}" for kind in ATTRIBUTES if row[kind] >= 0]
        if marks:
            said.append(_choices(name, "attributes", marks))
        places[(image, row["label"], *(row[side] for side in CORNERS))] = name
    for number, row in enumerate(held.labels.to_pylist()):
        name, shown = f"label{number}", [held.name(row["label"])]
        if row["source"] == MACHINE:
            sure = {"score": row["confidence"]}
            machines[row["image"]].append(_choices(name, "labels", shown) | sure)
        else:
            group = "labels" if row["confidence"] else ABSENT
            people[row["image"]].append(_choices(name, group, shown))
    lost = 0
    for row in held.relations.to_pylist():
        subject, other = (
            places.get((row["image"], row[end], *(row[f"{end}_{side}"] for side in CORNERS)))
            for end in ("subject", "object")
        )
        if subject is None or other is None:
            lost += 1
            continue
        word = held.name(row["relation"])
        people[row["image"]].append(
            {"type": "relation", "from_id": subject, "to_id": other, "labels": [word]}
        )
    made = []
    for row in pictures:
        task: Row = {"data": {"image": f"{prefix}{row['file'] or row['image'] + '.jpg'}"}}
        for key, all_said in (("annotations", people), ("predictions", machines)):
            if all_said[row["image"]]:
                task[key] = [{"result": all_said[row["image"]]}]
        made.append(task)
    with atomic_write(path) as file:
        file.write(json.dumps(made, ensure_ascii=False).encode())
    notes: list[str] = []
    listed(notes, lost, "relations are lost: their boxes are not among the boxes")
    listed(notes, len(held.hierarchy), "classes of the hierarchy are lost: Label Studio has none")
    return notes


def _written_size(picture: Row) -> Row:
    size = {f"original_{side}": picture[side] for side in ("width", "height")}
    return {name: value for name, value in size.items() if value is not None}


def _choices(name: str, group: str, words: list[str]) -> Row:
    return {"id": name, "type": "choices", "from_name": group, "to_name": "image",
            "value": {"choices": words}}  # fmt: skip


def said_of(task: Mapping[str, Any]) -> Iterator[tuple[Row, bool]]:
    for said in task.get("annotations") or []:
        if not said.get("was_cancelled"):
            yield said, True
    for said in task.get("predictions") or []:
        yield said, False


def file_of(data: Mapping[str, Any]) -> str:
    """The picture's file name of a task: a path, an address, or an upload with its number."""
    said = data.get("image") or next(v for v in data.values() if isinstance(v, str))
    parts = urlsplit(said)
    path = parse_qs(parts.query).get("d", [parts.path])[0]
    if parts.scheme or said.startswith("/data/"):  # an address, where a path has no escapes
        path = unquote(path)
    uploaded = re.fullmatch(r"/?data/upload/\d+/[0-9a-f]{8}-(.+)", path)
    return uploaded[1] if uploaded else path.lstrip("/").removeprefix("data/local-files/")


def _size(results: list[Row]) -> Row:
    for one in results:
        if one.get("original_width") and one.get("original_height"):
            return {"width": one["original_width"], "height": one["original_height"]}
    return {}


def _marks(results: list[Row]) -> dict[str, Row]:
    """Attributes of boxes, which are choices for a region: "occluded=1", or "occluded" alone."""
    regions = {one["id"] for one in results if one["type"].startswith("rectangle")}
    found: dict[str, Row] = {}
    for one in results:
        if one["type"] == "choices" and one.get("id") in regions:
            for word in one["value"]["choices"]:
                name, _, value = word.partition("=")
                if name in ATTRIBUTES:
                    found.setdefault(one["id"], {})[name] = int(value or 1)
    return found


def _box(value: Mapping[str, Any]) -> Row:
    import numpy as np

    x, y, width, height = (float(value[k]) for k in ("x", "y", "width", "height"))
    turn = np.deg2rad(float(value.get("rotation") or 0))
    if not turn:
        low, high = [x / 100, y / 100], [(x + width) / 100, (y + height) / 100]
    else:  # about the upper left corner
        across = np.array([np.cos(turn), np.sin(turn)]) * width
        down = np.array([-np.sin(turn), np.cos(turn)]) * height
        points = np.array([x, y]) + np.array([across * 0, across, down, across + down])
        low, high = (points.min(0) / 100).tolist(), (points.max(0) / 100).tolist()
    return dict(zip(CORNERS, low + high, strict=True))


def _sure(one: Mapping[str, Any], score: Any) -> float:
    return float(one.get("score", score) if one.get("score", score) is not None else 1.0)


def _relation(one: Row, word: str, regions: Mapping[str, Row], image: str) -> Row:
    row: Row = {"image": image, "relation": word}
    swapped = one.get("direction") == "left"
    for end, key in (("subject", "from_id"), ("object", "to_id")):
        if one[key] not in regions:
            raise ValueError(f"a relation names the region {one[key]}, which is no box")
        place = {"subject": "object", "object": "subject"}[end] if swapped else end
        box = regions[one[key]]
        row[place] = box["label"]
        row |= {f"{place}_{side}": box[side] for side in CORNERS}
    return row


def _rectangle(row: Row, shown: str, name: str) -> Row:
    value = {"x": row["xmin"] * 100, "y": row["ymin"] * 100, "rotation": 0,
             "width": (row["xmax"] - row["xmin"]) * 100,
             "height": (row["ymax"] - row["ymin"]) * 100, "rectanglelabels": [shown]}  # fmt: skip
    made: Row = {"id": name, "type": "rectanglelabels", "from_name": "boxes", "to_name": "image",
                 "value": value}  # fmt: skip
    return made | ({"score": row["confidence"]} if row["source"] == MACHINE else {})
