"""Annotations from and to files, whatever their form: `read` sees which it is, `write` is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fallow.annotations import coco, labelstudio, openimages, voc, yolo
from fallow.annotations.store import Annotations
from fallow.images.places import Place, place
from fallow.problems import SettingProblem, SourceProblem, did_you_mean

READERS: dict[str, Callable[[Any], Annotations]] = {
    "openimages": openimages.read,
    "coco": coco.read,
    "voc": voc.read,
    "yolo": yolo.read,
    "labelstudio": labelstudio.read,
}
WRITERS: dict[str, Callable[[Annotations, Path], list[str]]] = {
    "openimages": openimages.write,
    "coco": coco.write,
    "voc": voc.write,
    "yolo": yolo.write,
    "labelstudio": labelstudio.write,
}
ONE_FILE = {"coco": "annotations.json", "labelstudio": "tasks.json"}


def read(source: Any, form: str | None = None) -> Annotations:
    """Annotations of a file or folder; `form` says which form, if it is not to be guessed."""
    return READERS[_known(form or guess(source))](source)


def write(held: Annotations, folder: str | Path, form: str = "openimages") -> list[str]:
    """Write annotations below a folder, and say what the form has no place for."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    return WRITERS[_known(form)](held, out / ONE_FILE[form] if form in ONE_FILE else out)


def guess(source: Any) -> str:
    """The form of a file or folder, by what is in it."""
    if isinstance(source, (list, tuple)):
        return "openimages"
    where = place(source)
    if where.is_file():
        return _of_file(where)
    if not where.is_folder():
        raise SourceProblem(f"there is no file or folder {where}: check the name")
    endings = {name.rpartition(".")[2].lower() for name in where.walk()}
    for ending, form in (("csv", "openimages"), ("xml", "voc"), ("txt", "yolo")):
        if ending in endings:
            return form
    if "json" in endings:
        raise SourceProblem(f"{where} holds .json files: name the one to read")
    raise SourceProblem(f"there are no annotations in {where}")


def _of_file(where: Place) -> str:
    if where.name.lower().endswith(".csv"):
        return "openimages"
    if where.name.lower().endswith(".xml"):
        return "voc"
    try:
        found = json.loads(where.read())
    except (ValueError, RecursionError) as error:
        raise SourceProblem(f"{where} is no annotation file this package knows: {error}") from error
    if isinstance(found, dict) and "images" in found:
        return "coco"
    if isinstance(found, list) and found and isinstance(found[0], dict) and "data" in found[0]:
        return "labelstudio"
    if isinstance(found, list) and found and isinstance(found[0], dict) and "bbox" in found[0]:
        raise SourceProblem(
            f"{where} is a list of COCO results, whose numbers mean nothing alone: "
            "read it with the COCO file they belong to"
        )
    raise SourceProblem(f"{where} is neither COCO nor Label Studio: say which form it has")


def _known(form: str) -> str:
    if form not in READERS:
        raise SettingProblem(f"there is no form {form!r}: {did_you_mean(form, READERS)}")
    return form
