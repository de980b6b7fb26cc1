"""What is known of images and what only judges: labels of some of them, and the truth of others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fallow.images import Images, opened, tables
from fallow.images.listing import SUFFIXES
from fallow.images.where import where as holds
from fallow.problems import SettingProblem, SourceProblem, did_you_mean


class Known(NamedTuple):
    """Images, which of them are labelled, and what they really are as far as anybody says."""

    images: Images
    names: list[str]  # labelled classes, by code
    codes: np.ndarray  # N, class or -1
    truth: list[str | None]  # N


def read_known(
    source: Any, labels: Any = None, hide: str | None = None, truth: Any = None,
    where: str | None = None,
) -> Known:  # fmt: skip
    """Open the images and split what is known from what only judges.

    `hide` takes labels away from images it holds for; `labels` and `truth` are tables of two
    columns. Without `truth`, what was hidden judges, and the source's own labels do where they say
    of every labelled image what the given ones say.
    """
    images = opened(source)
    own = _label_names(images)
    if labels is not None:
        images = images.join(label_table(labels))
    known = _label_names(images)
    real: list[str | None] = [None] * len(images)
    if truth is not None:
        real = _label_names(images.join(label_table(truth)))
    elif hide is not None:
        real = list(known)
    elif labels is not None and _agree(own, known):
        real = own
    if hide is not None:
        hidden = set(np.flatnonzero(holds(images.table, hide)).tolist())
        known = [None if row in hidden else name for row, name in enumerate(known)]
    if where is not None:
        kept = np.flatnonzero(holds(images.table, where)).tolist()
        images = images.select(kept)
        known, real = ([values[row] for row in kept] for values in (known, real))
    names = sorted({name for name in known if name is not None})
    place = {name: code for code, name in enumerate(names)}
    codes = np.array([-1 if name is None else place[name] for name in known], np.int64)
    return Known(images, names, codes, real)


def label_table(labels: Any) -> pa.Table:
    """Labels as a table with the columns path and label; two columns may have other names.

    >>> label_table({"file": ["a.jpg"], "species": ["oak"]}).column_names
    ['path', 'label']
    """
    if isinstance(labels, str | os.PathLike):
        path, name = Path(labels), Path(labels).name
        if not path.is_file():
            raise SourceProblem(f"there is no label file {labels}: check the name")
        table = tables.read_table(path.read_bytes(), name)
    else:
        table, name = tables.as_table(labels), "the label table"
    columns = list(table.column_names)
    if len(columns) == 2 and Path(columns[0]).suffix.lower() in SUFFIXES:  # there is no header
        first = pa.table({"path": [columns[0]], "label": [columns[1]]})
        rest = table.rename_columns(["path", "label"]).cast(first.schema)
        table = pa.concat_tables([first, rest])
    elif len(columns) == 2 and "label" not in columns:
        spoken = [one for one in columns if one in tables.PATH_COLUMNS] or columns[:1]
        table = table.rename_columns(["path" if one in spoken else "label" for one in columns])
    elif len(columns) == 2:
        table = table.rename_columns(["label" if one == "label" else "path" for one in columns])
    if "label" not in table.column_names:
        raise SourceProblem(
            f"{name} has no column label: {did_you_mean('label', table.column_names)}"
        )
    return table


def _label_names(images: Images) -> list[str | None]:
    codes, names = images.labels
    shown = [name.strip() for name in names]
    return [shown[code] if code >= 0 and shown[code] else None for code in codes.tolist()]


def _agree(own: Sequence[str | None], known: Sequence[str | None]) -> bool:
    """Whether the source's own labels say of every labelled image what the given labels say."""
    pairs = [(a, b) for a, b in zip(own, known, strict=True) if b is not None]
    return bool(pairs) and all(a == b for a, b in pairs)


def enough_to_discover(known: Known, classes: int | None = None) -> None:
    """One sentence where the labels cannot show what a class is, or nothing is left to sort."""
    images, names, name = known.images, known.names, known.images.name
    sizes = np.bincount(known.codes[known.codes >= 0], minlength=len(names))
    free = int((known.codes < 0).sum())
    if not len(images):
        raise SourceProblem(f"no image of {name} is left: loosen where")
    if not names:
        raise SourceProblem(
            f"no image of {name} is labelled: give labels= for some images of some classes, "
            "or look at groups without labels with explore"
        )
    if not free:
        raise SourceProblem(
            f"all {len(images):,} images of {name} are labelled: there is nothing to discover"
        )
    if len(names) == 1:
        raise SourceProblem(
            f"only {names[0]} is labelled: label a second class, so that it shows how far "
            "apart two classes are"
        )
    if sizes.max() == 1:
        raise SourceProblem(
            "every class has one labelled image: label at least two of some class, so that it "
            "shows how far apart images of one class are"
        )
    if classes is not None and classes < len(names):
        raise SettingProblem(
            f"{len(names)} classes are labelled, more than the {classes} asked for"
        )
    if classes is not None and classes - len(names) > free:
        raise SettingProblem(
            f"{classes} classes cannot be found in {len(images):,} images, of which {free:,} are "
            "not labelled: ask for fewer"
        )
