"""Groups that `discover` found become labels, or masks, for the next run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from fallow.files import atomic_write
from fallow.images.classes import IGNORE
from fallow.outcomes.maps import save_codes
from fallow.outcomes.result import Result, writable
from fallow.outcomes.sentences import counted
from fallow.outcomes.tables import save_csv, saved_run
from fallow.problems import SettingProblem, SourceProblem, did_you_mean


def accept_labels(
    table: pa.Table,
    groups: Sequence[Mapping[str, Any]],
    accept: Mapping[str, str],
    sure: float,
    target: Path,
) -> Result:
    """Labels of before, of accepted groups now, and of groups accepted earlier, as one CSV."""
    _named(accept, [group["name"] for group in groups], "oak")
    labels: dict[str, str] = {}
    if target.is_file():
        with target.open(newline="", encoding="utf-8") as file:
            labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
    added = 0
    for row in table.select(["path", "group", "confidence", "labelled"]).to_pylist():
        if row["labelled"]:
            labels.setdefault(row["path"], row["group"])
        elif row["group"] in accept and row["confidence"] >= sure:
            labels[row["path"]] = str(accept[row["group"]]).strip()
            added += 1
    if not added:
        raise SettingProblem(
            f"no image of {', '.join(accept)} is at least {sure:.0%} sure: lower sure"
        )
    order = sorted(labels)
    made = pa.table({"path": order, "label": [labels[path] for path in order]})
    writable(target.parent)
    save_csv(target, made)
    return Result(
        made,
        headlines=[
            f"{_said(accept)}: {counted(added, 'image')} labelled",
            f"{len(order):,} labels of {len(set(labels.values()))} classes in {target}",
        ],
        findings={"file": str(target), "added": added},
    )


def accept_masks(folder: str | PathLike[str], accept: Mapping[str, str], out: Any = None) -> Result:
    """Turn groups of a saved run into classes: {"new 1": "bicycle"} in new masks, 255 elsewhere.

    Groups of the same name become one class, also one that was known. The masks and classes.yaml
    are what `masks` and `names` of the next run want.
    """
    place = Path(folder)
    numbers, _ = saved_run(place, "classes.json", "a saved run of discover with masks")
    groups = {one["name"]: one["value"] for one in numbers if not one["known"]}
    names = {one["name"]: one["value"] for one in numbers if one["known"]}
    _named(accept, list(groups), "bicycle")
    values = np.arange(65536)
    values[list(groups.values())] = IGNORE
    for group, name in accept.items():
        values[groups[group]] = names.setdefault(str(name).strip(), groups[group])
    target = writable(out if out is not None else place / "masks")
    done, kept = [], 0
    for path in sorted((place / "labels").rglob("*.png")):
        with Image.open(path) as found:
            mask = values[np.array(found)]
        inner = path.relative_to(place / "labels")
        save_codes(target / inner, mask)
        done.append(inner.as_posix())
        kept += int((mask != IGNORE).sum())
    with atomic_write(target / "classes.yaml") as file:
        file.write(yaml.safe_dump({**names, "ignore": [IGNORE]}, sort_keys=False).encode())
    return Result(
        pa.table({"mask": done}),
        headlines=[f"{_said(accept)}: {len(done):,} masks of {len(names)} classes in {target}"],
        findings={"folder": str(target), "classes": names, "pixels": kept},
    )


def accept_run(
    source: Any, accept: Mapping[str, str], sure: float = 0.0, out: Any = None
) -> Result:
    """Turn groups of a saved run of `discover` into labels, or into masks if it sorted pixels."""
    place = Path(source) if isinstance(source, str | PathLike) else None
    if place is None or not (place / "run.json").is_file():
        raise SourceProblem(f"{source} is not a saved run of discover: name the folder it wrote")
    about, _ = saved_run(place, "run.json", "a saved run of discover")
    if about.get("kind") == "pixels":
        if sure:
            raise SettingProblem("sure is for whole images: leave it out for a run with masks")
        return accept_masks(place, accept, out)
    if about.get("verb") != "discover":
        raise SourceProblem(f"{source} is a run of something else: name the folder discover wrote")
    target = place / "labels.csv" if out is None else Path(fspath(out))
    table = pq.read_table(place / "table.parquet")
    return accept_labels(table, about["groups"], accept, sure, target)


def _named(accept: Mapping[str, str], known: Sequence[str], example: str) -> None:
    """Refuse groups that are not there, and names that say nothing."""
    for group, name in accept.items():
        if group not in known:
            raise SettingProblem(f"there is no group {group!r}: {did_you_mean(group, known)}")
        if not str(name).strip():
            raise SettingProblem(f"give {group} a name: {group}={example}")


def _said(accept: Mapping[str, str]) -> str:
    return ", ".join(f"{group} as {name}" for group, name in accept.items())
