"""WILDS' own folders, read without its package: `wilds:iwildcam`, `wilds:camelyon17`.

A name with `_unlabeled` at its end is the data set's other half. Labels that its table still holds
are left out there. Nothing is ever downloaded.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from fallow.images import tables
from fallow.images.listing import Listing
from fallow.images.places import Local
from fallow.images.stores import Folder
from fallow.problems import SourceProblem, did_you_mean

PREFIX = "wilds:"
# of Camelyon17's hospitals, those that are not trained on
CENTRES = {1: "val", 2: "test"}


def listing(address: str, root: str | os.PathLike[str] | None) -> Listing:
    """The pictures of a WILDS data set below `root`, with label, split and where each is from."""
    name = address.removeprefix(PREFIX)
    base = name.removesuffix("_unlabeled")
    if base not in READERS:
        raise SourceProblem(
            f"fallow reads no WILDS data set called {name!r}: {did_you_mean(base, READERS)}"
        )
    if root is None:
        raise SourceProblem(
            f'{address} lies in a folder: name it, as in open("{address}", root="data")'
        )
    folder = _newest(Path(root).expanduser(), name)
    table = _table(folder / "metadata.csv")
    names, columns = READERS[base](folder, table, name != base)
    return Listing(Folder(Local(str(folder)), names), names, list(names), pa.table(columns))


def _iwildcam(folder: Path, table: pa.Table, bare: bool) -> tuple[list[str], dict[str, list[Any]]]:
    """Camera traps; the place is the trap."""
    if bare:
        names = [f"images/{uid}.jpg" for uid in _column(table, "uid")]
        columns = {"split": ["extra_unlabeled"] * len(names)}
    else:
        names = [f"train/{name}" for name in _column(table, "filename")]
        said = _table(folder / "categories.csv")
        known = dict(zip(_column(said, "y"), _column(said, "name"), strict=True))
        label = [known.get(code, str(code)) for code in _column(table, "y")]
        columns = {"label": label, "split": _column(table, "split")}
    places = {"location": "location_remapped", "sequence": "sequence_remapped"}
    columns |= {ours: _column(table, theirs) for ours, theirs in places.items()}
    return names, columns | {"datetime": _column(table, "datetime")}


def _camelyon17(
    folder: Path, table: pa.Table, bare: bool
) -> tuple[list[str], dict[str, list[Any]]]:
    """Patches of lymph nodes; the place is the hospital."""
    patient, node, x, y, centre = (
        _column(table, key) for key in ("patient", "node", "x_coord", "y_coord", "center")
    )
    names = []
    for p, n, across, down in zip(patient, node, x, y, strict=True):
        whose = f"patient_{int(p):03d}_node_{n}"
        names.append(f"patches/{whose}/patch_{whose}_x_{across}_y_{down}.png")
    columns: dict[str, list[Any]] = {"center": centre, "slide": _column(table, "slide")}
    if bare:
        columns["split"] = [f"{CENTRES.get(one, 'train')}_unlabeled" for one in centre]
        return names, columns
    held = _column(table, "split")  # 1: of the hospitals trained on, but held out
    columns["label"] = ["tumour" if one else "normal" for one in _column(table, "tumor")]
    columns["split"] = [
        CENTRES.get(one, "id_val" if out else "train")
        for one, out in zip(centre, held, strict=True)
    ]
    return names, columns


READERS = {"iwildcam": _iwildcam, "camelyon17": _camelyon17}


def _newest(root: Path, name: str) -> Path:
    """The folder of a data set's highest version."""
    found = {
        tuple(int(part) for part in match[1].split(".")): folder
        for folder in (root.iterdir() if root.is_dir() else ())
        if (match := re.fullmatch(rf"{name}_v(\d+(?:\.\d+)*)", folder.name))
    }
    if not found:
        raise SourceProblem(
            f"there is no folder {name}_v… in {root}: give the folder that WILDS downloads to"
        )
    return found[max(found)]


def _table(path: Path) -> pa.Table:
    if not path.is_file():
        raise SourceProblem(f"{path.parent.name} has no {path.name}: it is not whole")
    return tables.read_table(path.read_bytes(), path.name)


def _column(table: pa.Table, name: str) -> list[Any]:
    if name not in table.column_names:
        raise SourceProblem(
            f"this WILDS table has no column {name}: fallow reads versions from 2.0 (iwildcam) "
            "and 1.0 (camelyon17)"
        )
    return table.column(name).to_pylist()  # type: ignore[no-any-return]
