"""Open Images CSV: labels with who said so, boxes of 8 or 13 columns, relations, classes, images.

A file is known by its header, not by its name; columns this package has no place for are noted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fallow.annotations import hierarchy
from fallow.annotations.hierarchy import Hierarchy
from fallow.annotations.reading import files, once
from fallow.annotations.store import (
    ATTRIBUTES,
    MACHINE,
    SCHEMAS,
    Annotations,
    annotated,
    by_people,
    marks,
    table,
)
from fallow.files import atomic_write
from fallow.problems import SourceProblem

# their names, in their order, for ours
LABELS = {"ImageID": "image", "Source": "source", "LabelName": "label", "Confidence": "confidence"}
PLACED = {"XMin": "xmin", "XMax": "xmax", "YMin": "ymin", "YMax": "ymax"}  # X before Y
MARKS = dict(
    zip(("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside"), ATTRIBUTES,
        strict=True)
)  # fmt: skip
BOXES = LABELS | PLACED | MARKS
RELATIONS = {
    "ImageID": "image", "LabelName1": "subject", "LabelName2": "object",
    "XMin1": "subject_xmin", "XMax1": "subject_xmax",
    "YMin1": "subject_ymin", "YMax1": "subject_ymax",
    "XMin2": "object_xmin", "XMax2": "object_xmax", "YMin2": "object_ymin", "YMax2": "object_ymax",
    "RelationshipLabel": "relation",
}  # fmt: skip
IMAGES = {
    "ImageID": "image", "Subset": "split", "OriginalURL": "source_url",
    "OriginalLandingURL": "landing_url", "License": "licence", "AuthorProfileURL": "creator_url",
    "Author": "creator", "Title": "title", "OriginalSize": "bytes", "OriginalMD5": "md5",
    "Thumbnail300KURL": "thumbnail_url", "Rotation": "rotation",
}  # fmt: skip
SAME = {"RelationLabel": "RelationshipLabel", "Score": "Confidence"}  # as some releases say it
SUBSETS = ("train", "validation", "test")


def read(source: Any) -> Annotations:
    """Everything in a folder, or in a list of files: .csv of any of the kinds, and a .json tree."""
    found: dict[str, list[pa.Table]] = {kind: [] for kind in SCHEMAS}
    names: dict[str, str] = {}
    tree = Hierarchy()
    notes: list[str] = []
    for where in files(source, (".csv", ".json")):
        data = where.read()
        if where.name.lower().endswith(".json"):
            tree = hierarchy.from_json(data, where.name)
            continue
        header = _first_row(data, where.name)
        header = [SAME.get(name, name) for name in header]
        kind, columns = _kind(header)
        if kind == "names":
            names |= _names(data, where.name, skip=header == ["LabelName", "DisplayName"])
            continue
        if not kind:
            raise SourceProblem(
                f"{where.name} is none of the Open Images tables: its columns are "
                f"{', '.join(header[:6])}"
            )
        rows = _rows(data, where.name, header, columns, kind)
        if kind == "boxes" and "Source" not in header:  # detections: a score, and no source
            rows["source"] = pa.repeat(MACHINE, len(rows["image"]))
        if kind == "images" and "Subset" not in header:
            rows["split"] = pa.repeat(_subset(where.name), len(rows["image"]))
        found[kind].append(table(kind, rows))
        if more := [name for name in header if name not in columns]:
            notes.append(f"{where.name}: {len(more)} columns are left out ({', '.join(more[:4])})")
    if not any(found.values()) and not names:
        raise SourceProblem(f"there are no Open Images tables in {source}")
    whole = {
        kind: pa.concat_tables(tables) if tables else table(kind, {})
        for kind, tables in found.items()
    }
    whole["images"] = once(whole["images"], notes)
    return annotated(**whole, names=names, hierarchy=tree, notes=notes)


def write(
    held: Annotations, folder: str | Path, *, attributes: bool = True, split: str = "train"
) -> list[str]:
    """Write a folder `read` understands; boxes without `attributes` have the older 8 columns."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    _write(held.images, IMAGES, out / f"{split}-images.csv")
    human = by_people(held.labels)
    for who, rows in (("human", human), ("machine", pc.invert(human))):
        name = f"{split}-annotations-{who}-imagelabels.csv"
        _write(held.labels.filter(rows), LABELS, out / name)
    columns = BOXES if attributes else LABELS | PLACED
    _write(held.boxes, columns, out / f"{split}-annotations-bbox.csv")
    _write(held.relations, RELATIONS, out / f"{split}-annotations-vrd.csv")
    with atomic_write(out / "class-descriptions.csv") as file:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            (label, held.name(label)) for label in held.classes
        )
        file.write(text.getvalue().encode())
    if len(held.hierarchy):
        with atomic_write(out / "hierarchy.json") as file:
            file.write(hierarchy.to_json(held.hierarchy).encode())
    notes = []
    if not attributes and (marks(held.boxes) != -1).any():
        notes.append("boxes of 8 columns have no attributes: occluded, group and others are lost")
    if (held.relations.column("confidence").to_numpy() != 1).any():
        notes.append("relations have no confidence in Open Images: it is lost")
    if pc.any(pc.is_valid(held.images.column("width"))).as_py():
        notes.append("Open Images keeps no width and height: they are lost")
    return notes


def _first_row(data: bytes, name: str) -> list[str]:
    try:
        line = data[: 1 << 16].decode("utf-8-sig", "replace").splitlines()[0]
    except IndexError:
        raise SourceProblem(f"{name} is empty: its first line must name the columns") from None
    return [cell.strip() for cell in next(csv.reader([line]))]


def _kind(header: Sequence[str]) -> tuple[str, Mapping[str, str]]:
    """Which table a header belongs to, and what its columns are called here."""
    have = set(header)
    if "ImageID" not in have:
        return ("names" if len(header) == 2 else ""), {}
    if set(RELATIONS) <= have:
        return "relations", RELATIONS | {"Confidence": "confidence"}
    if {"ImageID", "LabelName", *PLACED} <= have:
        return "boxes", BOXES
    if {"ImageID", "LabelName", "Confidence"} <= have:
        return "labels", LABELS
    if have & {"OriginalURL", "License", "Subset", "Author"}:
        return "images", IMAGES
    return "", {}


def _rows(
    data: bytes, name: str, header: Sequence[str], columns: Mapping[str, str], kind: str
) -> dict[str, Any]:
    used = [column for column in header if column in columns]
    types = {column: SCHEMAS[kind].field(columns[column]).type for column in used}
    try:
        read = pyarrow.csv.read_csv(
            io.BytesIO(data),
            read_options=pyarrow.csv.ReadOptions(column_names=list(header), skip_rows=1),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=used, null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException as error:
        said = " ".join(str(error).split())[:200]
        raise SourceProblem(f"{name} cannot be read: {said}") from error
    return {columns[column]: read.column(column) for column in used}


def _names(data: bytes, name: str, skip: bool) -> dict[str, str]:
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceProblem(f"{name} cannot be read as classes: {error}") from error
    if wrong := next((row for row in rows if row and len(row) != 2), None):
        raise SourceProblem(f"{name} must give a class and its name in each row, not {wrong}")
    return {row[0]: row[1] for row in rows[skip:] if row}


def _subset(name: str) -> str | None:
    return next((subset for subset in SUBSETS if subset in name.lower()), None)


def _write(rows: pa.Table, columns: Mapping[str, str], path: Path) -> None:
    if rows.num_rows:
        chosen = pa.table([rows.column(ours) for ours in columns.values()], list(columns))
        with atomic_write(path) as file:
            file.write((",".join(columns) + "\n").encode())
            pyarrow.csv.write_csv(
                _plain(chosen), file, pyarrow.csv.WriteOptions(include_header=False)
            )


def _plain(rows: pa.Table) -> pa.Table:
    """Confidences of 0 and 1 as they are in the originals, without a point."""
    name = "Confidence"
    if name in rows.column_names:
        values = rows.column(name)
        if pc.all(pc.equal(values, pc.round(values))).as_py():
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, values.cast(pa.int64()))
    return rows
