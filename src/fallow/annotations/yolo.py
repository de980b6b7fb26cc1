"""YOLO: a text file for each picture, a class number, a centre and a size in each line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fallow.annotations.reading import columns_of, files, listed
from fallow.annotations.store import MACHINE, Annotations, annotated, corners, key_of, marks
from fallow.files import atomic_write, inside, plain_yaml
from fallow.images.places import Place, place
from fallow.problems import SourceProblem

NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")  # where classes get their names


def read(source: Any, names: Any = None) -> Annotations:
    """The boxes below a folder; `names` is a file of class names, or looked for beside them.

    A sixth number in a line is a detector's confidence; an outline becomes the box around it.
    """
    root = place(source)
    if not root.is_folder():
        raise SourceProblem(f"{root} is no folder: YOLO keeps a text file for each picture in one")
    known = _names(place(names) if names is not None else _beside(root))
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    outlines = 0
    base = str(root)
    for where in files(source, (".txt",)):
        if where.name in NAMES:
            continue
        key = _without_folder(key_of(str(where)[len(base) :]))
        images.append({"image": key, "file": None})
        for number, line in enumerate(_lines(where), 1):
            if not line.strip():
                continue
            try:
                row, outline = _line(line, known)
            except ValueError as error:
                raise SourceProblem(f"{where.name}, line {number}: {error}") from error
            outlines += outline
            rows.append(row | {"image": key})
    notes: list[str] = []
    listed(notes, outlines, "outlines are kept as the boxes around them")
    return annotated(
        columns_of(images),
        boxes=columns_of(rows),
        names={name: name for name in known.values()},
        notes=notes,
    )


def write(held: Annotations, folder: str | Path) -> list[str]:
    """Write labels/*.txt and data.yaml; returns what YOLO has no place for."""
    out = Path(folder)
    classes = list(held.classes)
    numbers = {label: number for number, label in enumerate(classes)}
    lines: dict[str, list[str]] = {name: [] for name in held.images.column("image").to_pylist()}
    boxes = corners(held.boxes)
    placed = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    detected = held.boxes.column("source").to_pylist()
    for row, box in enumerate(placed.tolist()):
        words = [str(numbers[held.boxes.column("label")[row].as_py()]), *(f"{v:.17g}" for v in box)]
        if detected[row] == MACHINE:
            words.append(f"{held.boxes.column('confidence')[row].as_py():.17g}")
        lines[held.boxes.column("image")[row].as_py()].append(" ".join(words))
    for name, each in lines.items():
        path = out / "labels" / f"{inside(name)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write("".join(f"{line}\n" for line in each).encode())
    with atomic_write(out / "data.yaml") as file:
        shown = "".join(f"  {n}: {_quoted(held.name(label))}\n" for n, label in enumerate(classes))
        file.write(f"path: .\ntrain: images\nval: images\nnames:\n{shown}".encode())
    notes: list[str] = []
    listed(notes, held.labels.num_rows, "labels of pictures are lost: YOLO has only boxes")
    listed(notes, held.relations.num_rows, "relations are lost: YOLO has none")
    marked = int((marks(held.boxes) >= 0).any(1).sum())
    listed(notes, marked, "boxes lose their attributes: YOLO has none")
    return notes


def _lines(where: Place) -> list[str]:
    try:
        return where.read().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceProblem(f"{where.name} is not text: {error}") from error


def _line(line: str, names: dict[int, str]) -> tuple[dict[str, Any], bool]:
    words = line.split()
    number, values = int(words[0]), [float(word) for word in words[1:]]
    label = names.get(number, str(number))
    if names and number not in names:
        raise ValueError(f"there is no class {number}: the names end at {max(names)}")
    row: dict[str, Any] = {"label": label}
    outline = len(values) >= 6 and len(values) % 2 == 0
    if outline:
        points = np.array(values).reshape(-1, 2)
        low, high = points.min(0).tolist(), points.max(0).tolist()
    elif len(values) in (4, 5):
        x, y, width, height = values[:4]
        low, high = [x - width / 2, y - height / 2], [x + width / 2, y + height / 2]
        if len(values) == 5:
            row |= {"confidence": values[4], "source": MACHINE}
    else:
        raise ValueError(f"{len(words)} numbers are no box: 5 are, or 6 with a confidence")
    return row | dict(zip(("xmin", "ymin", "xmax", "ymax"), low + high, strict=True)), outline


def _beside(root: Place) -> Place | None:
    """The file of names in the folder, or in the one that holds it."""
    for folder in (root, root.parent()):
        for name in NAMES:
            if folder.child(name).is_file():
                return folder.child(name)
    return None


def _names(where: Place | None) -> dict[int, str]:
    if where is None:
        return {}
    text = "\n".join(_lines(where))
    if not where.name.endswith((".yaml", ".yml")):
        return {n: line.strip() for n, line in enumerate(text.splitlines()) if line.strip()}
    import yaml

    try:
        found = plain_yaml(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise SourceProblem(f"{where.name} cannot be read as YAML: {error}") from error
    names = found.get("names") if isinstance(found, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(n, int) for n in names):
        raise SourceProblem(f"{where.name} has no list of names")
    return {number: str(name) for number, name in names.items()}


def _without_folder(key: str) -> str:
    """labels/train/a -> train/a, as its picture is images/train/a."""
    *folders, name = key.split("/")
    return "/".join([*(folder for folder in folders if folder != "labels"), name])


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
