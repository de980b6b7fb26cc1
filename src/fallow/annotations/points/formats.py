"""Key points from and to files: `read` sees which form a file has, `write` is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fallow.annotations.points import coco, deeplabcut, labelstudio, sleap
from fallow.annotations.points.store import KeyPoints
from fallow.images.places import place
from fallow.problems import SettingProblem, SourceProblem, did_you_mean

READERS: dict[str, Callable[[Any], KeyPoints]] = {
    "coco": coco.read,
    "deeplabcut": deeplabcut.read,
    "labelstudio": labelstudio.read,
    "sleap": sleap.read,
}
WRITERS: dict[str, tuple[str, Callable[[KeyPoints, Path], None]]] = {
    "coco": ("points.json", coco.write),
    "deeplabcut": (f"CollectedData_{deeplabcut.SCORER}.csv", deeplabcut.write),
    "deeplabcut-h5": (f"CollectedData_{deeplabcut.SCORER}.h5", deeplabcut.write),
    "labelstudio": ("tasks.json", labelstudio.write),
    "sleap": ("labels.json", sleap.write),
}
FORMS = tuple(WRITERS)


def read(source: Any) -> KeyPoints:
    """Key points of a file, or of the folder of a DeepLabCut project."""
    return READERS[guess(source)](source)


def write(held: KeyPoints, folder: str | Path, form: str = "coco") -> Path:
    """Write key points below a folder, under the name that form has for them."""
    if form not in WRITERS:
        raise SettingProblem(f"there is no form {form!r}: {did_you_mean(form, WRITERS)}")
    name, write_ = WRITERS[form]
    target = Path(folder) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    write_(held, target)
    return target


def guess(source: Any) -> str:
    """The form of a file, by what is in it."""
    where = place(source)
    if not where.exists():
        raise SourceProblem(f"there is no file {where} of key points: check the name")
    name = where.name.lower()
    if where.is_folder() or name.endswith((".csv", ".h5", ".hdf5", ".yaml", ".yml")):
        return "deeplabcut"
    try:
        found = json.loads(where.read())
    except (ValueError, RecursionError) as error:
        raise SourceProblem(
            f"{where.name} is no file of key points fallow knows: {error}"
        ) from error
    if isinstance(found, list):
        return "labelstudio"
    if "skeletons" in found and "labels" in found:
        return "sleap"
    if "images" in found and "annotations" in found:
        return "coco"
    raise SourceProblem(
        f"{where.name} is neither COCO, Label Studio nor SLEAP: export the points as one of them"
    )
